"""The work on one assembly file: read, judge by the first three stages, mask, sketch, store. One idempotent task."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from plantgfm.curation import assembly_score, completeness, contamination, screens
from plantgfm.curation.config import CurationConfig
from plantgfm.curation.facts import RecordFacts, Verdict, measure
from plantgfm.curation.references import Reference, load_references
from plantgfm.curation.repeats import low_complexity, repeat_masks
from plantgfm.curation.store import Artefact, FileHashes
from plantgfm.formats.busco import GeneCompleteness, read_completeness
from plantgfm.formats.errors import FormatError
from plantgfm.formats.fasta import read_fasta
from plantgfm.formats.gff3 import read_gff3
from plantgfm.formats.manifest import REPORTS
from plantgfm.identity import fingerprint, plain
from plantgfm.schema import Assembly, Outcome, Record
from plantgfm.sequence import REPEAT_BIT, UNKNOWN, mask_of, reverse_complement, runs_of
from plantgfm.sketch import densify, distinct, fraction, minhash, one_permutation, window_sketches

PREPARE_VERSION = 3


@dataclass(frozen=True)
class Task:
    """What a worker needs to prepare one assembly."""

    assembly: Assembly
    config: CurationConfig
    references: tuple[Reference, ...]
    artefact: Artefact


def artefact_key(assembly: Assembly, config: CurationConfig, references_key: str, hashes: FileHashes) -> str:
    """Identity of what preparing an assembly yields: content of its files, what is claimed of it, settings, version."""
    index = _index_path(assembly.fasta)
    reports = {column: getattr(assembly, column) for column in REPORTS}
    content = {
        "version": [PREPARE_VERSION, assembly_score.SCORE_VERSION],
        "fasta": hashes.sha256(assembly.fasta),
        "index": hashes.sha256(index) if index.is_file() else "",
        "annotation": hashes.sha256(assembly.annotation) if assembly.annotation else "",
        "reports": {column: hashes.sha256(path) for column, path in reports.items() if path},
        "compartment": assembly.compartment,
        "expected_size_bp": assembly.expected_size_bp,
        "references": references_key,
        "stages": [config.completeness, config.assembly_score, config.repeats, _sketching(config)],
    }
    return fingerprint(content) + fingerprint(["second half", content])


def _sketching(config: CurationConfig) -> list:
    # Thresholds of the joins across assemblies are no part of it: changing one prepares nothing again.
    duplicates = config.duplicates
    sizes = [duplicates.permutations, duplicates.bins, duplicates.window_bp, duplicates.window_bins]
    return [duplicates.k, duplicates.seed, *sizes]


def prepare(task: Task) -> str:
    """Prepare one assembly and store the result; returns the key of the artefact.

    Raises:
        FormatError: for a file that is not what it should be.
    """
    assembly, config = task.assembly, task.config
    records = list(read_fasta(assembly.fasta))
    lengths = _other_lengths(assembly)
    facts = [measure(r.name, r.description, r.codes, lengths.get(r.name, {})) for r in records]
    verdicts = completeness.judge_records(facts, config.completeness)
    left = _survivors(facts, verdicts)
    known_bp = sum(fact.length_bp - fact.unknown_bp for fact in left)
    verdicts += completeness.judge_assembly(left, assembly.expected_size_bp, config.completeness)
    left = _survivors(left, verdicts)
    genes = _genes(assembly)
    verdicts += completeness.judge_genes(left, genes, assembly.expected_size_bp, config.completeness)
    left = _survivors(left, verdicts)
    others = screens.read_screens(assembly, {fact.name: fact.length_bp for fact in facts}, config.contamination)
    by_name = {record.name: record for record in records}
    screened = [_screen(fact, by_name[fact.name], task, others) for fact in left]
    verdicts += [verdict for found, _, _ in screened for verdict in found]
    clean = {fact.name: record for fact, (_, record, _) in zip(left, screened)}
    masked = {fact.name: runs.tolist() for fact, (_, _, runs) in zip(left, screened)}
    low = {fact.name: low_complexity(clean[fact.name].codes, config.repeats) for fact in _survivors(left, verdicts)}
    left = [_with_masks(fact, clean[fact.name], low[fact.name]) for fact in left if fact.name in low]
    metrics = assembly_score.assembly_metrics(left, assembly.expected_size_bp, config.assembly_score)
    verdicts += assembly_score.judge_assembly(left, assembly.expected_size_bp, config.assembly_score)
    left = _survivors(left, verdicts)
    description = {
        "records": [_figures(fact, masked.get(fact.name, []), config) for fact in facts],
        "verdicts": [plain(verdict) for verdict in verdicts],
        "score_version": assembly_score.SCORE_VERSION,
        "metrics": plain(metrics),
        "genes": plain(genes),
        "known_bp": known_bp,
    }
    kept = [fact.name for fact in left]
    _store(task, description, [clean[name] for name in kept], [low[name] for name in kept])
    return task.artefact.key


def _with_masks(fact: RecordFacts, record: Record, low: np.ndarray) -> RecordFacts:
    soft_bp, low_bp = (int((runs[:, 1] - runs[:, 0]).sum()) for runs in (record.soft_mask, low))
    return replace(fact, soft_mask_bp=soft_bp, low_complexity_bp=low_bp)


def _figures(fact: RecordFacts, masked: list[list[int]], config: CurationConfig) -> dict[str, Any]:
    """What is told of a record later on, whatever becomes of it: the fields of `RecordMeasures`."""
    return {
        **{name: getattr(fact, name) for name in ("name", "length_bp", "unknown_bp", "gaps", "terminal_unknown_bp")},
        "stated": [f"{source} states {bp:,} bp" for source, bp in fact.stated_lengths.items()],
        "truncation_signs": completeness.truncation_signs(fact, config.completeness.truncation_fraction),
        "masked": masked,
    }


def _survivors(facts: list[RecordFacts], verdicts: list[Verdict]) -> list[RecordFacts]:
    rejected = {verdict.record for verdict in verdicts if verdict.outcome is Outcome.REJECTED}
    return [fact for fact in facts if fact.name not in rejected]


def _genes(assembly: Assembly) -> GeneCompleteness | None:
    if assembly.busco is None:
        return None
    genes = read_completeness(assembly.busco)
    if genes.mode and "geno" not in genes.mode:
        raise FormatError(assembly.busco, f"BUSCO ran in mode {genes.mode!r}; an assembly takes a run in mode genome")
    return genes


def _screen(
    fact: RecordFacts, record: Record, task: Task, others: screens.Screens
) -> tuple[list[Verdict], Record, np.ndarray]:
    """Verdicts on a record, the record with what is foreign in it masked, and where; of a reject nothing is masked."""
    settings = task.config.contamination
    references = load_references(task.references, settings.k, settings.scaled, settings.vector_seed_k)
    hashes, places = fraction(record.codes, k=settings.k, scaled=settings.scaled)
    verdicts, runs = contamination.judge_record(
        fact,
        record.codes,
        hashes,
        places,
        compartment=task.assembly.compartment,
        references=references,
        config=settings,
    )
    more, more_runs = screens.judge_record(fact, others, task.assembly.compartment, settings)
    verdicts, runs = screens.settle([*verdicts, *more]), np.concatenate([runs, more_runs])
    if not runs.size or any(verdict.outcome is Outcome.REJECTED for verdict in verdicts):
        return verdicts, record, runs[:0]
    codes, mask = record.codes.copy(), mask_of(runs, record.codes.size)
    codes[mask] = UNKNOWN
    return verdicts, Record(record.name, record.description, codes, record.soft_mask), runs_of(mask)


def _store(task: Task, description: dict[str, Any], records: list[Record], low: list[np.ndarray]) -> None:
    source, masks = repeat_masks(records, task.config.repeats, low)
    bases = [record.codes | (mask * np.uint8(REPEAT_BIT)) for record, mask in zip(records, masks)]
    kept = [_describe(record, part) for record, part in zip(records, bases)]
    described = {**description, "repeat_source": source, "kept": kept}
    task.artefact.write(described, _sketches(records, task.config), bases)


def _describe(record: Record, bases: UInt8[np.ndarray, "P"]) -> dict[str, Any]:
    return {
        "name": record.name,
        "length_bp": record.length_bp,
        "unknown_bp": int(np.count_nonzero(record.codes == UNKNOWN)),
        "repeat_bp": int(np.count_nonzero(bases & REPEAT_BIT)),
        "sha256": hashlib.sha256(bases).hexdigest(),
        "forward": hashlib.sha256(record.codes).hexdigest(),
        "reverse": hashlib.sha256(np.ascontiguousarray(reverse_complement(record.codes))).hexdigest(),
    }


def _sketches(records: list[Record], config: CurationConfig) -> dict[str, np.ndarray]:
    settings, screen = config.duplicates, config.contamination
    k, empty = settings.k, np.full(settings.bins, np.iinfo(np.uint64).max, dtype=np.uint64)
    signatures = [minhash(r.codes, k=k, permutations=settings.permutations, seed=settings.seed) for r in records]
    bins = [one_permutation(r.codes, k=k, bins=settings.bins) for r in records]
    windows = [window_sketches(r.codes, k=k, bins=settings.window_bins, window_bp=settings.window_bp) for r in records]
    hashes = [distinct([fraction(r.codes, k=screen.k, scaled=screen.scaled)[0]]) for r in records]
    return {
        "signatures": np.array(signatures, dtype=np.uint64).reshape(-1, settings.permutations),
        "sketch": np.minimum.reduce([empty, *bins]),
        "windows": densify(np.concatenate([np.empty((0, settings.window_bins), dtype=np.uint64), *windows])),
        "hashes": np.concatenate([np.empty(0, dtype=np.uint64), *hashes]),
        "hash_counts": np.array([part.size for part in hashes], dtype=np.int64),
    }


def _index_path(fasta: Path) -> Path:
    return fasta.with_name(f"{fasta.name}.fai")


def _other_lengths(assembly: Assembly) -> dict[str, dict[str, int]]:
    """Per record, what a `.fai` and the annotation say of its length, by source."""
    lengths: dict[str, dict[str, int]] = {}
    index = _index_path(assembly.fasta)
    if index.is_file():
        for number, line in enumerate(index.read_text(errors="replace").splitlines(), start=1):
            cells = line.split("\t")
            if len(cells) < 2 or not cells[1].isdigit():
                raise FormatError(index, "a .fai line needs a name and a length, tab-separated", line=number)
            lengths.setdefault(cells[0], {})[".fai"] = int(cells[1])
    if assembly.annotation:
        ends: dict[str, int] = {}
        for feature in read_gff3(assembly.annotation):
            name = feature.interval.sequence
            ends[name] = max(ends.get(name, 0), feature.interval.end)
        for name, end in ends.items():
            lengths.setdefault(name, {})["annotation"] = end
    return lengths

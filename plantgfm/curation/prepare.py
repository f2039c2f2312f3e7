"""The work on one assembly file: read, judge by the first three stages, mask, sketch, store. One idempotent task."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from plantgfm.curation import assembly_score, completeness, contamination, screens
from plantgfm.curation.config import ContaminationConfig, CurationConfig, IntervalAction
from plantgfm.curation.facts import RecordFacts, Verdict, measure
from plantgfm.curation.findings import Finding, Screened, cuts_between, pieces_of, runs_with
from plantgfm.curation.references import Reference, load_references
from plantgfm.curation.repeats import low_complexity, repeat_masks
from plantgfm.curation.store import Artefact, FileHashes
from plantgfm.formats.busco import GeneCompleteness, read_completeness
from plantgfm.formats.errors import FormatError
from plantgfm.formats.fasta import read_fasta
from plantgfm.formats.gff3 import read_gff3
from plantgfm.formats.manifest import REPORTS
from plantgfm.formats.numbers import is_whole
from plantgfm.formats.streams import text_lines
from plantgfm.identity import fingerprint, plain
from plantgfm.schema import Assembly, Outcome, Record
from plantgfm.sequence import REPEAT_BIT, UNKNOWN, mask_of, reverse_complement
from plantgfm.sketch import densify, distinct, fraction, minhash, one_permutation, window_sketches

PREPARE_VERSION = 4


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
    verdicts += [verdict for one in screened for verdict in one.verdicts]
    clean = {one.record.name: one for one in screened}
    low = {
        fact.name: low_complexity(clean[fact.name].record.codes, config.repeats) for fact in _survivors(left, verdicts)
    }
    left = [_with_masks(fact, clean[fact.name].record, low[fact.name]) for fact in left if fact.name in low]
    metrics = assembly_score.assembly_metrics(left, assembly.expected_size_bp, config.assembly_score)
    verdicts += assembly_score.judge_assembly(left, assembly.expected_size_bp, config.assembly_score)
    left = _survivors(left, verdicts)
    description = {
        "records": [_figures(fact, clean.get(fact.name), config) for fact in facts],
        "verdicts": [plain(verdict) for verdict in verdicts],
        "findings": [plain(finding) for one in screened for finding in one.findings],
        "score_version": assembly_score.SCORE_VERSION,
        "metrics": plain(metrics),
        "genes": plain(genes),
        "known_bp": known_bp,
    }
    _store(task, description, [clean[fact.name] for fact in left], [low[fact.name] for fact in left])
    return task.artefact.key


def _with_masks(fact: RecordFacts, record: Record, low: np.ndarray) -> RecordFacts:
    soft_bp, low_bp = (int((runs[:, 1] - runs[:, 0]).sum()) for runs in (record.soft_mask, low))
    return replace(fact, soft_mask_bp=soft_bp, low_complexity_bp=low_bp)


@dataclass(frozen=True)
class _Clean:
    """A screened record: verdicts and findings, and its bases with what is masked or cut set to unknown."""

    record: Record
    verdicts: list[Verdict]
    findings: list[Finding]
    masked: list[list[int]]
    masked_bp: int  # known bases that masking made unknown
    pieces: list[tuple[int, int]]  # what cuts leave of it; the whole of it where nothing is cut


def _figures(fact: RecordFacts, clean: _Clean | None, config: CurationConfig) -> dict[str, Any]:
    """What is told of a record later on, whatever becomes of it: the fields of `RecordMeasures`."""
    return {
        **{name: getattr(fact, name) for name in ("name", "length_bp", "unknown_bp", "gaps", "terminal_unknown_bp")},
        "stated": [f"{source} states {bp:,} bp" for source, bp in fact.stated_lengths.items()],
        "truncation_signs": completeness.truncation_signs(fact, config.completeness.truncation_fraction),
        "masked": clean.masked if clean else [],
        "masked_bp": clean.masked_bp if clean else 0,
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


def _screen(fact: RecordFacts, record: Record, task: Task, others: screens.Screens) -> _Clean:
    settings = task.config.contamination
    references = load_references(task.references, settings.k, settings.scaled, settings.vector_seed_k)
    hashes, places = fraction(record.codes, k=settings.k, scaled=settings.scaled)
    found = contamination.judge_record(
        fact,
        record.codes,
        hashes,
        places,
        compartment=task.assembly.compartment,
        references=references,
        config=settings,
    )
    found += screens.judge_record(fact, others, task.assembly.compartment, settings)
    return _clean(record, Screened(screens.settle(found.verdicts), found.findings), settings)


def _clean(record: Record, found: Screened, config: ContaminationConfig) -> _Clean:
    """The record without what is to be masked or cut; of a reject nothing is."""
    verdicts, length = found.verdicts, record.length_bp
    cut = runs_with(found.findings, IntervalAction.CUT, length)
    pieces = pieces_of(cut, length, min_piece_bp=config.min_piece_bp) if cut.size else [(0, length)]
    if not pieces:
        verdicts = [contamination.nothing_left(record.name, len(cut), config)]
    if any(verdict.outcome is Outcome.REJECTED for verdict in verdicts):
        dropped = [replace(finding, action=IntervalAction.DROP) for finding in found.findings]
        return _Clean(record, verdicts, dropped, [], 0, [])
    masked = runs_with(found.findings, IntervalAction.MASK, length)
    if not cut.size and not masked.size:
        return _Clean(record, verdicts, found.findings, [], 0, pieces)
    codes = record.codes.copy()
    for start, end in cuts_between(pieces, length):
        codes[start:end] = UNKNOWN
    known = np.count_nonzero(codes != UNKNOWN)
    codes[mask_of(masked, length)] = UNKNOWN
    masked_bp = int(known - np.count_nonzero(codes != UNKNOWN))
    clean = Record(record.name, record.description, codes, record.soft_mask)
    return _Clean(clean, verdicts, found.findings, masked.tolist(), masked_bp, pieces)


def _store(task: Task, description: dict[str, Any], clean: list[_Clean], low: list[np.ndarray]) -> None:
    records = [one.record for one in clean]
    source, masks = repeat_masks(records, task.config.repeats, low)
    bases = [record.codes | (mask * np.uint8(REPEAT_BIT)) for record, mask in zip(records, masks)]
    kept = [{**_describe(one.record, part), "pieces": one.pieces} for one, part in zip(clean, bases)]
    described = {**description, "repeat_source": source, "kept": kept}
    task.artefact.write(described, _sketches(clean, task.config), bases)


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


def _sketches(clean: list[_Clean], config: CurationConfig) -> dict[str, np.ndarray]:
    records = [one.record for one in clean]
    settings, screen = config.duplicates, config.contamination
    k, empty = settings.k, np.full(settings.bins, np.iinfo(np.uint64).max, dtype=np.uint64)
    signatures = [minhash(r.codes, k=k, permutations=settings.permutations, seed=settings.seed) for r in records]
    bins = [one_permutation(r.codes, k=k, bins=settings.bins) for r in records]
    pieces = [one.record.codes[start:end] for one in clean for start, end in one.pieces]
    windows = [window_sketches(p, k=k, bins=settings.window_bins, window_bp=settings.window_bp) for p in pieces]
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
        for number, line in text_lines(index):
            cells = line.split("\t")
            if len(cells) < 2 or not is_whole(cells[1]):
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

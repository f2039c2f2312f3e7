"""The work on one assembly file: read, judge by the first three stages, mask, sketch, store. One idempotent task."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8, UInt64

from plantgfm.curation import assembly_score, completeness, contamination, screens
from plantgfm.curation.config import CurationConfig, IntervalAction
from plantgfm.curation.digests import strand_digests
from plantgfm.curation.dust import low_complexity_runs
from plantgfm.curation.facts import RecordFacts, Verdict, measure, unknown_bp
from plantgfm.curation.findings import Finding, Screened, as_told, cuts_between, pieces_of, runs_with
from plantgfm.curation.markers import MarkerSearch
from plantgfm.curation.references import Reference, load_references
from plantgfm.curation.repeats import (
    COMPUTED,
    SOFT_MASK,
    mark_frequent,
    mark_runs,
    settle_mask,
    source_of_mask,
)
from plantgfm.curation.store import Artefact, FileHashes, Writing
from plantgfm.formats.busco import GeneCompleteness, read_completeness
from plantgfm.formats.errors import FormatError
from plantgfm.formats.fasta import fasta_lengths, read_fasta
from plantgfm.formats.gff3 import read_gff3
from plantgfm.formats.manifest import REPORTS
from plantgfm.formats.numbers import is_whole
from plantgfm.formats.streams import text_lines
from plantgfm.identity import fingerprint, plain
from plantgfm.schema import Assembly, Outcome, Record
from plantgfm.sequence import REPEAT_BIT, UNKNOWN, mask_of
from plantgfm.sketch import EMPTY, Survey, densify, distinct, fraction, survey, window_sketches

PREPARE_VERSION = 15  # names that hold a compartment, or a length as SPAdes writes it, state it

_INDEX = ".fai"
_JUDGED = (completeness.STAGE, contamination.STAGE, assembly_score.STAGE)  # here; the others wait for all assemblies
_LOW_BIT = 16  # beside the repeat bit, of bases that are stored and wait for the whole assembly


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
    if told := [stage for stage in config.flag_only if stage in _JUDGED]:
        content["flag_only"] = told
    return fingerprint(content) + fingerprint(["second half", content])


def _sketching(config: CurationConfig) -> list:
    # Thresholds of the joins across assemblies are no part of it: changing one prepares nothing again.
    duplicates = config.duplicates
    sizes = [duplicates.permutations, duplicates.bins, duplicates.window_bp, duplicates.window_bins]
    return [duplicates.k, duplicates.seed, duplicates.signature_scaled, *sizes]


@dataclass
class _Reading:
    """What one pass over the records of a file gathers; of what is as long as the genome, nothing."""

    markers: MarkerSearch | None = None
    multiplicity: assembly_score.KmerMultiplicity = field(default_factory=assembly_score.KmerMultiplicity)
    facts: list[RecordFacts] = field(default_factory=list)  # of all records
    completeness: list[Verdict] = field(default_factory=list)
    contamination: list[Verdict] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    masked: dict[str, tuple[list[list[int]], int]] = field(default_factory=dict)  # intervals, and known bases in them
    screened: list[RecordFacts] = field(default_factory=list)  # of those stored, with their masks
    stored: list[dict[str, Any]] = field(default_factory=list)  # and what is told of them
    signatures: list[np.ndarray] = field(default_factory=list)
    sketch: np.ndarray | None = None  # of all of them

    def screens(self) -> tuple[list[Verdict], list[Finding], dict[str, tuple[list[list[int]], int]], list[RecordFacts]]:
        """What came of screening."""
        return self.contamination, self.findings, self.masked, self.screened


def prepare(task: Task) -> str:
    """Prepare one assembly and store the result; returns the key of the artefact.

    Records are read, judged, sketched and stored one by one; what only the whole assembly tells (its size, its genes,
    its score, the k-mers that it repeats) is judged at the end. Memory is bounded by the largest record.

    Raises:
        FormatError: for a file that is not what it should be.
    """
    assembly, config = task.assembly, task.config
    lengths, genes, others = _other_lengths(assembly), _genes(assembly), _reports(task)
    with task.artefact.writing() as out:
        reading = _Reading(_markers(assembly, config))
        for record in read_fasta(assembly.fasta):
            _read(record, lengths.get(record.name, {}), task, others, reading, out)
        verdicts, left = list(reading.completeness), _survivors(reading.facts, reading.completeness, config)
        known_bp = sum(fact.length_bp - fact.unknown_bp for fact in left)
        verdicts += completeness.judge_index(left, _missing(lengths, reading.facts))
        verdicts += completeness.judge_assembly(left, assembly.expected_size_bp, config.completeness)
        left = _survivors(left, verdicts, config)
        genes = reading.markers.count(config.completeness) if reading.markers else genes
        verdicts += completeness.judge_genes(left, genes, assembly.expected_size_bp, config.completeness)
        left = _survivors(left, verdicts, config)
        # A rejected assembly has no other reason to go.
        more, findings, masked, scored = reading.screens() if left else ([], [], {}, [])
        verdicts += more
        metrics = assembly_score.assembly_metrics(scored, assembly.expected_size_bp, config.assembly_score)
        metrics = replace(metrics, **reading.multiplicity.figures(config.repeats.min_count))
        verdicts += assembly_score.judge_assembly(scored, assembly.expected_size_bp, config.assembly_score)
        if not _survivors(scored, verdicts, config):
            out.clear()
            reading.stored, reading.signatures, reading.sketch = [], [], None
        source = _finish_masks(reading, out, config)
    description = {
        "records": [_figures(fact, masked.get(fact.name, ([], 0)), config) for fact in reading.facts],
        "facts": [plain(replace(fact, contigs_bp=())) for fact in reading.facts],  # to judge again
        "verdicts": [plain(verdict) for verdict in verdicts],
        "findings": [plain(finding) for finding in findings],
        "score_version": assembly_score.SCORE_VERSION,
        "metrics": plain(metrics),
        "genes": plain(genes),
        "known_bp": known_bp,
        "repeat_source": source,
        "kept": reading.stored,
    }
    task.artefact.finish(description, _arrays(reading, config))
    return task.artefact.key


def _reports(task: Task) -> screens.Screens:
    """Reports of other tools; they are checked against the records' lengths, which takes a reading of the file."""
    assembly = task.assembly
    named = any((assembly.fcs_gx, assembly.fcs_adaptor, assembly.kraken2))
    return screens.read_screens(assembly, fasta_lengths(assembly.fasta) if named else {}, task.config.contamination)


def _read(
    record: Record, lengths: dict[str, int], task: Task, others: screens.Screens, reading: _Reading, out: Writing
) -> None:
    """Judge one record; sketch and store it where no stage rejects it."""
    config, codes = task.config, record.codes
    fact = measure(record.name, record.description, codes, lengths)
    reading.facts.append(fact)
    verdicts = completeness.judge_records([fact], config.completeness)
    reading.completeness += verdicts
    if not _survivors([fact], verdicts, config):
        return
    found = _survey(codes, config)
    if reading.markers:
        reading.markers.add(found.hashes)
    clean = _screen(fact, record, found, task, others)
    reading.contamination += clean.verdicts
    reading.findings += clean.findings
    reading.masked[fact.name] = clean.masked, clean.masked_bp
    if not _survivors([fact], clean.verdicts, config):
        return
    reading.multiplicity.add(found.hashes)
    if clean.record is not record:
        codes = clean.record.codes
        found = replace(_survey(codes, config), windows=_windows_of_pieces(codes, clean.pieces, config))
    settings = config.repeats
    low = low_complexity_runs(codes, window_bp=settings.dust_window, threshold=settings.dust_threshold)
    reading.screened.append(_with_masks(fact, record, low))
    hashes = distinct([found.hashes])
    reading.stored.append({**_describe(record, codes), "hashes": int(hashes.size), "pieces": clean.pieces})
    reading.signatures.append(found.signature)
    reading.sketch = found.bins if reading.sketch is None else np.minimum(reading.sketch, found.bins)
    out.add("windows", densify(found.windows))
    out.add("hashes", hashes)
    mark_runs(codes, record.soft_mask, REPEAT_BIT)  # in place: nobody reads them any more
    mark_runs(codes, low, _LOW_BIT)
    out.bases.write(codes)


def _windows_of_pieces(
    codes: UInt8[np.ndarray, "P"], pieces: list[tuple[int, int]], config: CurationConfig
) -> UInt64[np.ndarray, "windows bins"]:
    sizes, k = {"bins": config.duplicates.window_bins, "window_bp": config.duplicates.window_bp}, config.duplicates.k
    return np.concatenate([window_sketches(codes[start:end], k=k, **sizes) for start, end in pieces])


def _survey(codes: UInt8[np.ndarray, "P"], config: CurationConfig) -> Survey:
    """All sketches of a record, in one pass where screening and duplicates take k-mers of one length."""
    screen, sizes = config.contamination, config.duplicates
    one = screen.k == sizes.k
    found = survey(
        codes,
        k=sizes.k,
        bins=sizes.bins,
        window_bins=sizes.window_bins,
        window_bp=sizes.window_bp,
        permutations=sizes.permutations,
        seed=sizes.seed,
        signature_scaled=sizes.signature_scaled,
        scaled=screen.scaled if one else 0,
    )
    if one:
        return found
    hashes, places = fraction(codes, k=screen.k, scaled=screen.scaled)
    return replace(found, hashes=hashes, places=places)


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


def _figures(fact: RecordFacts, masked: tuple[list[list[int]], int], config: CurationConfig) -> dict[str, Any]:
    """What is told of a record later on, whatever becomes of it: the fields of `RecordMeasures`."""
    return {
        **{name: getattr(fact, name) for name in ("name", "length_bp", "unknown_bp", "gaps", "terminal_unknown_bp")},
        "stated": [f"{source} states {bp:,} bp" for source, bp in fact.stated_lengths.items()],
        "truncation_signs": completeness.truncation_signs(fact, config.completeness.truncation_fraction),
        "masked": masked[0],
        "masked_bp": masked[1],
    }


def _survivors(facts: list[RecordFacts], verdicts: list[Verdict], config: CurationConfig) -> list[RecordFacts]:
    rejected = {verdict.record for verdict in verdicts if verdict.rejects(config.flag_only)}
    return [fact for fact in facts if fact.name not in rejected]


def _genes(assembly: Assembly) -> GeneCompleteness | None:
    if assembly.busco is None:
        return None
    genes = read_completeness(assembly.busco)
    if genes.mode and "geno" not in genes.mode:
        raise FormatError(assembly.busco, f"BUSCO ran in mode {genes.mode!r}; an assembly takes a run in mode genome")
    return genes


def _markers(assembly: Assembly, config: CurationConfig) -> MarkerSearch | None:
    """Genes to look for by their k-mers, where there is no summary of marker genes."""
    if assembly.busco or not assembly.marker_genes:
        return None
    return MarkerSearch(assembly.marker_genes, config.contamination)


def _screen(fact: RecordFacts, record: Record, survey_of_it: Survey, task: Task, others: screens.Screens) -> _Clean:
    settings = task.config.contamination
    references = load_references(task.references, settings.k, settings.scaled, settings.vector_seed_k)
    found = contamination.judge_record(
        fact,
        record.codes,
        survey_of_it.hashes,
        survey_of_it.places,
        compartment=task.assembly.compartment,
        references=references,
        config=settings,
    )
    found += screens.judge_record(fact, others, task.assembly.compartment, settings)
    return _clean(record, Screened(screens.settle(found.verdicts), found.findings), task.config)


def _clean(record: Record, found: Screened, config: CurationConfig) -> _Clean:
    """The record without what is to be masked or cut; of a reject nothing is."""
    if contamination.STAGE in config.flag_only:
        found = as_told(found)
        return _Clean(record, found.verdicts, found.findings, [], 0, [(0, record.length_bp)])
    settings = config.contamination
    verdicts, length = found.verdicts, record.length_bp
    cut = runs_with(found.findings, IntervalAction.CUT, length)
    pieces = pieces_of(cut, length, min_piece_bp=settings.min_piece_bp) if cut.size else [(0, length)]
    if not pieces:
        verdicts = [contamination.nothing_left(record.name, len(cut), settings)]
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


def _describe(record: Record, codes: UInt8[np.ndarray, "P"]) -> dict[str, Any]:
    forward, reverse = strand_digests(codes)
    return {
        "name": record.name,
        "length_bp": record.length_bp,
        "unknown_bp": unknown_bp(codes),
        "forward": forward,
        "reverse": reverse,
    }


def _finish_masks(reading: _Reading, out: Writing, config: CurationConfig) -> str:
    """Turn the marks of the stored bases into the repeat mask, in place; returns where the mask comes from."""
    total, soft = (sum(getattr(fact, name) for fact in reading.screened) for name in ("length_bp", "soft_mask_bp"))
    source = source_of_mask(soft, total, config.repeats)
    kept, keep_bit = reading.stored, REPEAT_BIT if source == SOFT_MASK else _LOW_BIT
    if not kept:
        return COMPUTED

    def marked() -> Iterator[np.ndarray]:
        at = 0
        for row in kept:
            bases = np.empty(row["length_bp"], dtype=np.uint8)
            out.bases.seek(at)
            out.bases.readinto(bases)
            at += bases.size
            settle_mask(bases, keep_bit)
            yield bases

    at = 0
    for row, bases in zip(kept, marked() if source == SOFT_MASK else mark_frequent(marked, total, config.repeats)):
        row["repeat_bp"] = int(np.count_nonzero(bases & np.uint8(REPEAT_BIT)))
        row["sha256"] = hashlib.sha256(bases).hexdigest()
        out.bases.seek(at)
        out.bases.write(bases)
        at += bases.size
    return source


def _arrays(reading: _Reading, config: CurationConfig) -> dict[str, np.ndarray]:
    settings = config.duplicates
    return {
        "signatures": np.array(reading.signatures, dtype=np.uint64).reshape(-1, settings.permutations),
        "sketch": np.full(settings.bins, EMPTY) if reading.sketch is None else reading.sketch,
        "hash_counts": np.array([row["hashes"] for row in reading.stored], dtype=np.int64),
    }


def _index_path(fasta: Path) -> Path:
    return fasta.with_name(f"{fasta.name}.fai")


def _missing(lengths: dict[str, dict[str, int]], facts: list[RecordFacts]) -> dict[str, int]:
    """Records that the index names and the file lacks, with the length that it states. (Annotation may be of more.)"""
    there = {fact.name for fact in facts}
    return {name: found[_INDEX] for name, found in lengths.items() if _INDEX in found and name not in there}


def _other_lengths(assembly: Assembly) -> dict[str, dict[str, int]]:
    """Per record, what a `.fai` and the annotation say of its length, by source."""
    lengths: dict[str, dict[str, int]] = {}
    index = _index_path(assembly.fasta)
    if index.is_file():
        for number, line in text_lines(index):
            cells = line.split("\t")
            if len(cells) < 2 or not is_whole(cells[1]):
                raise FormatError(index, "a .fai line needs a name and a length, tab-separated", line=number)
            lengths.setdefault(cells[0], {})[_INDEX] = int(cells[1])
    if assembly.annotation:
        ends: dict[str, int] = {}
        for feature in read_gff3(assembly.annotation):
            name = feature.interval.sequence
            ends[name] = max(ends.get(name, 0), feature.interval.end)
        for name, end in ends.items():
            lengths.setdefault(name, {})["annotation"] = end
    return lengths

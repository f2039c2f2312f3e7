"""Stage 2, further evidence: what FCS-GX, FCS-adaptor and Kraken 2 say of the records, from the reports they wrote.

FCS is followed: EXCLUDE rejects; TRIM and FIX mask their interval and flag the record (more than the share that this
stage allows rejects it, as with intervals of its own); REVIEW, INFO and calls of plasmids and organelles flag, but in a
file of that very organelle. Kraken 2 places a whole record: one outside the plants is rejected where more of its k-mers
than that share are foreign, and more than may be of plants; below, it is flagged. K-mers of taxa that its report does
not list (it lists those with sequences, all of them with `--report-zero-counts`) may be of plants. A report must speak
of this very file: names and lengths are compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from plantgfm.curation.config import ContaminationConfig
from plantgfm.curation.contamination import STAGE
from plantgfm.curation.facts import RecordFacts, Verdict
from plantgfm.formats.errors import FormatError
from plantgfm.formats.fcs import ScreenRow, read_fcs_adaptor, read_fcs_gx
from plantgfm.formats.kraken2 import (
    UNCLASSIFIED,
    Classification,
    Taxon,
    lineage,
    read_kraken2_output,
    read_kraken2_report,
)
from plantgfm.schema import Assembly, Compartment, Outcome
from plantgfm.sequence import mask_of, runs_of

_MASKED = ("TRIM", "FIX")
_ORGANELLES = {"PLASTID": Compartment.PLASTID, "MITOCHONDRION": Compartment.MITOCHONDRION}


@dataclass(frozen=True)
class Screens:
    """Reports on one assembly, by record; empty where the manifest names none."""

    gx: dict[str, list[ScreenRow]] = field(default_factory=dict)
    adaptor: dict[str, list[ScreenRow]] = field(default_factory=dict)
    kraken2: dict[str, Classification] = field(default_factory=dict)
    taxa: dict[int, Taxon] = field(default_factory=dict)  # that Kraken 2 found
    sides: dict[int, str] = field(default_factory=dict)  # of each of them: plant, foreign or neither


def read_screens(assembly: Assembly, lengths_bp: dict[str, int], config: ContaminationConfig) -> Screens:
    """The reports that a manifest row names.

    Args:
        assembly: the row.
        lengths_bp: of every record of its FASTA file, by name.
        config: which taxa are plants.

    Raises:
        FormatError: for a malformed report, a record that the FASTA file has not or not of that length, a taxon of
            sequence that Kraken 2's report lacks.
    """
    gx = _by_record(assembly.fcs_gx, read_fcs_gx, lengths_bp)
    adaptor = _by_record(assembly.fcs_adaptor, read_fcs_adaptor, lengths_bp)
    if assembly.kraken2 is None or assembly.kraken2_report is None:
        return Screens(gx, adaptor)
    taxa = read_kraken2_report(assembly.kraken2_report)
    found = read_kraken2_output(assembly.kraken2)
    for one in found:
        _check(assembly.kraken2, one.name, one.length_bp, one.line, lengths_bp)
        if one.taxon not in taxa and one.taxon != UNCLASSIFIED:
            text = f"taxon {one.taxon} is not in {assembly.kraken2_report}; give output and report of one run"
            raise FormatError(assembly.kraken2, text, one.name, one.line)
    sides = {taxon: _side(taxon, taxa, config) for taxon in {UNCLASSIFIED, *taxa}}
    return Screens(gx, adaptor, {one.name: one for one in found}, taxa, sides)


def judge_record(
    fact: RecordFacts, screens: Screens, compartment: Compartment, config: ContaminationConfig
) -> tuple[list[Verdict], Int64[np.ndarray, "runs 2"]]:
    """Verdicts of the reports on one record, and the intervals of it that they ask to mask."""
    rows = [row for row in screens.gx.get(fact.name, []) if _ORGANELLES.get(row.action) is not compartment]
    gx, gx_runs = _judge_rows(fact, rows, "FCS-GX", "foreign", config.max_foreign_fraction)
    adaptor, adaptor_runs = _judge_rows(
        fact, screens.adaptor.get(fact.name, []), "FCS-adaptor", "vector", config.max_vector_fraction
    )
    kraken2 = _judge_kraken2(fact, screens, config)
    return [*gx, *adaptor, *kraken2], np.concatenate([gx_runs, adaptor_runs])


def settle(verdicts: list[Verdict]) -> list[Verdict]:
    """All flags, or where there are rejections the first one alone, with the evidence of all: a record ends once."""
    rejected = [verdict for verdict in verdicts if verdict.outcome is Outcome.REJECTED]
    if not rejected:
        return verdicts
    return [replace(rejected[0], evidence="; also ".join(verdict.evidence for verdict in rejected))]


def _by_record(path: Path | None, read, lengths_bp: dict[str, int]) -> dict[str, list[ScreenRow]]:
    found: dict[str, list[ScreenRow]] = {}
    for row in read(path) if path else []:
        _check(path, row.interval.sequence, row.sequence_bp, row.line, lengths_bp)
        found.setdefault(row.interval.sequence, []).append(row)
    return found


def _check(path: Path, name: str, length_bp: int, line: int, lengths_bp: dict[str, int]) -> None:
    if name not in lengths_bp:
        raise FormatError(path, "the FASTA file has no such record; give the report of this file", name, line)
    if length_bp != lengths_bp[name]:
        text = f"states {length_bp:,} bp, the FASTA file has {lengths_bp[name]:,}; give the report of this file"
        raise FormatError(path, text, name, line)


def _judge_rows(
    fact: RecordFacts, rows: list[ScreenRow], tool: str, kind: str, max_fraction: float
) -> tuple[list[Verdict], np.ndarray]:
    suffix, nothing = f"by_{tool.lower().replace('-', '_')}", np.empty((0, 2), dtype=np.int64)

    def verdict(outcome: Outcome, reason: str, evidence: str) -> Verdict:
        return Verdict(fact.name, outcome, STAGE, reason, evidence)

    if excluded := [row for row in rows if row.action == "EXCLUDE"]:
        return [verdict(Outcome.REJECTED, f"{kind}_{suffix}", _describe(tool, excluded))], nothing
    flags = [
        verdict(Outcome.FLAGGED, f"{row.action.lower()}_{suffix}", _describe(tool, [row]))
        for row in rows
        if row.action not in _MASKED
    ]
    masked = [row for row in rows if row.action in _MASKED]
    if not masked:
        return flags, nothing
    runs = runs_of(mask_of(np.array([(row.interval.start, row.interval.end) for row in masked]), fact.length_bp))
    covered = int((runs[:, 1] - runs[:, 0]).sum())
    share = covered / max(1, fact.length_bp - fact.unknown_bp)
    text = f"{_describe(tool, masked)}: {covered:,} of {fact.length_bp:,} bp ({share:.1%})"
    if share > max_fraction:
        return [verdict(Outcome.REJECTED, f"{kind}_{suffix}", f"{text}, at most {max_fraction:.0%} may be")], nothing
    return [*flags, verdict(Outcome.FLAGGED, f"{kind}_{suffix}_masked", f"{text}; masked as unknown")], runs


def _describe(tool: str, rows: list[ScreenRow]) -> str:
    clauses = []
    for row in rows[:3]:
        share = "" if row.coverage_percent is None else f", {row.coverage_percent} % covered"
        clauses.append(f"{row.action} {row.interval.start:,}-{row.interval.end:,} ({row.source}{share})")
    rest = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    return f"{tool} says {'; '.join(clauses)}{rest}"


def _judge_kraken2(fact: RecordFacts, screens: Screens, config: ContaminationConfig) -> list[Verdict]:
    found = screens.kraken2.get(fact.name)
    if found is None or screens.sides[found.taxon] != "foreign":
        return []
    sides = {"foreign": 0, "plant": 0, "neither": 0, "unlisted": 0}
    for taxon, count in found.kmers.items():
        sides[screens.sides.get(taxon, "unlisted")] += count
    total = sum(sides.values())
    share = sides["foreign"] / max(1, total)
    name = screens.taxa[found.taxon].name
    text = (
        f"Kraken 2 says {name} (taxon {found.taxon}): {sides['foreign']:,} of {total:,} k-mers ({share:.1%}) are "
        f"foreign, {sides['plant']:,} of plants, {sides['unlisted']:,} of taxa that the report does not list"
    )
    if share > config.max_foreign_fraction and sides["foreign"] > sides["plant"] + sides["unlisted"]:
        return [Verdict(fact.name, Outcome.REJECTED, STAGE, "foreign_by_kraken2", text)]
    text = f"{text}; more than {config.max_foreign_fraction:.0%}, and than may be of plants, reject"
    return [Verdict(fact.name, Outcome.FLAGGED, STAGE, "review_by_kraken2", text)]


def _side(taxon: int, taxa: dict[int, Taxon], config: ContaminationConfig) -> str:
    """Plant, foreign, or neither: unclassified, or so high in the tree that it holds plants, too."""
    if taxon == UNCLASSIFIED or taxon in config.plant_lineage[:-1]:
        return "neither"
    return "plant" if config.plant_lineage[-1] in lineage(taxa, taxon) else "foreign"

"""Stage 2, further evidence: what FCS-GX, FCS-adaptor and Kraken 2 say of the records, from the reports they wrote.

FCS is followed: EXCLUDE rejects; TRIM and FIX do with their interval what the settings ask for intervals of this
stage's own (mask, cut, or drop; more than the share that it allows rejects the record, too); REVIEW, INFO and calls of
plasmids and organelles flag, but in a file of that very organelle. Kraken 2 places a whole record: one outside the
plants is rejected where more of its k-mers than that share are foreign, and more than may be of plants; below, it is
flagged. K-mers of taxa that its report does not list (it lists those with sequences, all of them with
`--report-zero-counts`) may be of plants. A report must speak of this very file: names and lengths are compared. FCS
has put `lcl|` before names, and capitals into them (ncbi/fcs issue 73, assemblyqc issue 28): both are seen through.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from plantgfm.curation.config import ContaminationConfig, IntervalAction
from plantgfm.curation.contamination import STAGE
from plantgfm.curation.facts import RecordFacts, Verdict
from plantgfm.curation.findings import Finding, Screened, act, coverage
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

_MASKED = ("TRIM", "FIX")
_KINDS = {"PLASTID": "organelle", "MITOCHONDRION": "organelle"}
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
) -> Screened:
    """Verdicts of the reports on one record, and the intervals that they speak of."""
    rows = [row for row in screens.gx.get(fact.name, []) if _ORGANELLES.get(row.action) is not compartment]
    limits = config.max_foreign_fraction, config.foreign_intervals
    gx = _judge_rows(fact, rows, "FCS-GX", "foreign", limits)
    limits = config.max_vector_fraction, config.vector_intervals
    adaptor = _judge_rows(fact, screens.adaptor.get(fact.name, []), "FCS-adaptor", "vector", limits)
    return gx + adaptor + Screened(_judge_kraken2(fact, screens, config), [])


def settle(verdicts: list[Verdict]) -> list[Verdict]:
    """All flags, or where there are rejections the first one alone, with the evidence of all: a record ends once."""
    rejected = [verdict for verdict in verdicts if verdict.outcome is Outcome.REJECTED]
    if not rejected:
        return verdicts
    return [replace(rejected[0], evidence="; also ".join(verdict.evidence for verdict in rejected))]


def _by_record(path: Path | None, read, lengths_bp: dict[str, int]) -> dict[str, list[ScreenRow]]:
    found: dict[str, list[ScreenRow]] = {}
    by_plain: dict[str, list[str]] = {}
    for name in lengths_bp if path else ():
        by_plain.setdefault(_plain(name), []).append(name)
    for row in read(path) if path else []:
        name = row.interval.sequence
        alike = by_plain.get(_plain(name), [])
        if name not in lengths_bp and len(alike) == 1:
            (name,) = alike
        _check(path, name, row.sequence_bp, row.line, lengths_bp)
        found.setdefault(name, []).append(replace(row, interval=replace(row.interval, sequence=name)))
    return found


def _plain(name: str) -> str:
    return name.casefold().removeprefix("lcl|")


def _check(path: Path, name: str, length_bp: int, line: int, lengths_bp: dict[str, int]) -> None:
    if name not in lengths_bp:
        raise FormatError(path, "the FASTA file has no such record; give the report of this file", name, line)
    if length_bp != lengths_bp[name]:
        text = f"states {length_bp:,} bp, the FASTA file has {lengths_bp[name]:,}; give the report of this file"
        raise FormatError(path, text, name, line)


def _judge_rows(
    fact: RecordFacts, rows: list[ScreenRow], tool: str, kind: str, limits: tuple[float, IntervalAction]
) -> Screened:
    reason = f"{kind}_by_{tool.lower().replace('-', '_')}"
    if excluded := [row for row in rows if row.action == "EXCLUDE"]:
        findings = [_finding(row, kind, tool) for row in excluded]
        text = _describe(tool, excluded)
        return act(fact, findings, IntervalAction.DROP, stage=STAGE, reason=reason, evidence=text)
    suffix = reason.removeprefix(f"{kind}_")
    others = [row for row in rows if row.action not in _MASKED]
    flags = [
        Verdict(fact.name, Outcome.FLAGGED, STAGE, f"{row.action.lower()}_{suffix}", _describe(tool, [row]))
        for row in others
    ]
    flagged = Screened(flags, [_finding(row, _KINDS.get(row.action, kind), tool) for row in others])
    masked = [row for row in rows if row.action in _MASKED]
    if not masked:
        return flagged
    findings = [_finding(row, kind, tool) for row in masked]
    covered, share = coverage(fact, findings)
    text = f"{_describe(tool, masked)}: {covered}"
    max_fraction, action = limits
    if share > max_fraction:
        action, text = IntervalAction.DROP, f"{text}, at most {max_fraction:.0%} may be"
    acted = act(fact, findings, action, stage=STAGE, reason=reason, evidence=text)
    return acted if action is IntervalAction.DROP else flagged + acted


def _finding(row: ScreenRow, kind: str, tool: str) -> Finding:
    where, score = row.interval, float(row.coverage_percent or 0)
    return Finding(where.sequence, where.start, where.end, kind, f"{row.action} {row.source}", tool, score)


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

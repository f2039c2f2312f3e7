"""Intervals of records that a screen found something in: what is done with them, and the pieces that cuts leave."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from plantgfm.curation.config import IntervalAction
from plantgfm.curation.facts import RecordFacts, Verdict
from plantgfm.formats.bed import BedRow, write_bed
from plantgfm.schema import Outcome
from plantgfm.sequence import Interval, mask_of, runs_of


@dataclass(frozen=True)
class Finding:
    """One interval of a record, 0-based and half-open, in which a screen found something."""

    record: str
    start: int
    end: int
    kind: str  # "foreign", "vector", "organelle", "rdna", "chimera"
    name: str  # what it is like: a reference, a vector, what a report says
    tool: str  # what found it: "hashes", "VecScreen", "FCS-GX", "FCS-adaptor", "other assemblies"
    score: float  # of that tool: distinct shared hashes, alignment score, percent covered
    action: IntervalAction = IntervalAction.FLAG  # what was done with it; DROP: the whole record was rejected
    assembly: str = ""  # Assembly.key, once it is known

    @classmethod
    def restore(cls, row: dict[str, Any]) -> Finding:
        """The finding that `identity.plain` made a row of."""
        return cls(**{**row, "action": IntervalAction(row["action"])})


@dataclass(frozen=True)
class Screened:
    """What screens say of one record."""

    verdicts: list[Verdict]
    findings: list[Finding]

    def __add__(self, other: Screened) -> Screened:
        return Screened([*self.verdicts, *other.verdicts], [*self.findings, *other.findings])


_SUFFIX = {IntervalAction.FLAG: "", IntervalAction.MASK: "_masked", IntervalAction.CUT: "_cut"}
_DONE = {IntervalAction.FLAG: "", IntervalAction.MASK: "; masked as unknown", IntervalAction.CUT: "; cut out"}


def runs_with(findings: list[Finding], action: IntervalAction, length_bp: int) -> Int64[np.ndarray, "runs 2"]:
    """Maximal runs of a record of that length that the findings of an action cover."""
    rows = [(found.start, found.end) for found in findings if found.action is action]
    return runs_of(mask_of(np.array(rows, dtype=np.int64), length_bp)) if rows else np.empty((0, 2), dtype=np.int64)


def coverage(fact: RecordFacts, findings: list[Finding]) -> tuple[str, float]:
    """How much of a record's known bases findings cover: as a clause, and as a share."""
    covered, reached = 0, 0
    for start, end in sorted((found.start, found.end) for found in findings):
        covered += max(0, end - max(start, reached))
        reached = max(reached, end)
    share = covered / max(1, fact.length_bp - fact.unknown_bp)
    return f"{covered:,} of {fact.length_bp:,} bp ({share:.1%})", share


def act(
    fact: RecordFacts, findings: list[Finding], action: IntervalAction, *, stage: str, reason: str, evidence: str
) -> Screened:
    """Do with findings as the settings say: one flag for all of them, or the rejection of their record."""
    done = [replace(found, action=action) for found in findings]
    if action is IntervalAction.DROP:
        return Screened([Verdict(fact.name, Outcome.REJECTED, stage, reason, evidence)], done)
    text = f"{evidence}{_DONE[action]}"
    return Screened([Verdict(fact.name, Outcome.FLAGGED, stage, f"{reason}{_SUFFIX[action]}", text)], done)


def as_told(found: Screened) -> Screened:
    """The same where contamination only flags: nothing was done with any interval, whatever befits its record."""
    return Screened(found.verdicts, [replace(finding, action=IntervalAction.FLAG) for finding in found.findings])


def pieces_of(cut: Int64[np.ndarray, "runs 2"], length_bp: int, *, min_piece_bp: int) -> list[tuple[int, int]]:
    """What is left between cuts of a record, as (start, end) in it; what is shorter than `min_piece_bp` is not."""
    kept = runs_of(~mask_of(cut, length_bp))
    return [(start, end) for start, end in kept.tolist() if end - start >= min_piece_bp]


def cuts_between(pieces: list[tuple[int, int]], length_bp: int) -> list[tuple[int, int]]:
    """The complement of pieces in a record of that length, as (start, end)."""
    borders = [0, *(place for piece in pieces for place in piece), length_bp]
    return [(start, end) for start, end in zip(borders[::2], borders[1::2]) if end > start]


def write_intervals(folder: Path, findings: list[Finding]) -> None:
    """One BED file an assembly that has findings, in place of what the folder held before.

    A file is named by the assembly's key with `_` for what is no letter, digit, dot or hyphen; a row by kind, action,
    tool and source, and its score is the tool's.
    """
    draft = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    by_name: dict[str, list[BedRow]] = {}
    owner: dict[str, str] = {}
    for key in sorted({found.assembly for found in findings}):
        name = stem = re.sub(r"[^\w.-]+", "_", key)
        number = 1
        while name in owner:
            number += 1
            name = f"{stem}_{number}"
        owner[name] = key
        by_name[name] = [_bed_row(found) for found in findings if found.assembly == key]
    if by_name:
        draft.mkdir(parents=True)
        for name, rows in by_name.items():
            write_bed(draft / f"{name}.bed", sorted(rows, key=lambda row: row.interval))
    shutil.rmtree(folder, ignore_errors=True)
    if by_name:
        draft.rename(folder)


def _bed_row(found: Finding) -> BedRow:
    name = re.sub(r"\s+", " ", f"{found.kind}|{found.action.value}|{found.tool}|{found.name}")
    return BedRow(Interval(found.record, found.start, found.end), name, found.score)

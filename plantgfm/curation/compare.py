"""What differs between two ledgers: records that came, went, or were decided otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plantgfm.curation.ledger import ACCEPTED, Ledger
from plantgfm.schema import Decision, Outcome


@dataclass(frozen=True)
class DecisionChange:
    """One record of the input whose end or whose flags differ; "" where it is not in that input."""

    species: str
    assembly: str  # Assembly.key
    record: str
    length_bp: int  # in the later ledger, where it is in both
    before: str  # "accepted", "duplicates: near_duplicate"; flags in brackets
    after: str
    evidence: str  # of the decision after, or before where the record is gone


@dataclass(frozen=True)
class SpeciesDecisions:
    """Sums over the input of a species."""

    species: str
    input_before: int
    input_after: int
    input_bp_before: int
    input_bp_after: int
    kept_bp_before: int
    kept_bp_after: int
    decided_otherwise: int  # records in both whose outcome, reason or flags differ
    decided_otherwise_bp: int


def compare_decisions(before: Ledger, after: Ledger) -> list[DecisionChange]:
    """Records that are in one input only or were decided otherwise, in order of assembly and name."""
    known, found = _by_record(before), _by_record(after)
    changes = []
    for key in sorted(known.keys() | found.keys()):
        was, now = (_said(side.get(key, [])) for side in (known, found))
        if was != now:
            end = _final(found.get(key) or known[key])
            changes.append(DecisionChange(end.species, *key, end.length_bp, was, now, end.evidence))
    return changes


def summarise_decisions(before: Ledger, after: Ledger, changes: Sequence[DecisionChange]) -> list[SpeciesDecisions]:
    """One row a species, in order of name."""
    ends = [[d for d in side.decisions if d.outcome is not Outcome.FLAGGED] for side in (before, after)]
    rows = []
    for species in sorted({d.species for side in ends for d in side}):
        mine = [[d for d in side if d.species == species] for side in ends]
        kept = [sum(d.out_bp for d in side) for side in mine]
        otherwise = [c for c in changes if c.species == species and c.before and c.after]
        rows.append(
            SpeciesDecisions(
                species,
                *map(len, mine),
                *(sum(d.length_bp for d in side) for side in mine),
                *kept,
                decided_otherwise=len(otherwise),
                decided_otherwise_bp=sum(c.length_bp for c in otherwise),
            )
        )
    return rows


def _by_record(ledger: Ledger) -> dict[tuple[str, str], list[Decision]]:
    found: dict[tuple[str, str], list[Decision]] = {}
    for d in ledger.decisions:
        found.setdefault((d.assembly, d.record), []).append(d)
    return found


def _final(decisions: list[Decision]) -> Decision:
    return next(d for d in decisions if d.outcome is not Outcome.FLAGGED)


def _said(decisions: list[Decision]) -> str:
    if not decisions:
        return ""
    end = _final(decisions)
    flags = sorted({d.reason for d in decisions if d.outcome is Outcome.FLAGGED})
    text = ACCEPTED if end.outcome is Outcome.KEPT else f"{end.stage}: {end.reason}"
    return f"{text} [{', '.join(flags)}]" if flags else text

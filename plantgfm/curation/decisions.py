"""The end of each record of a prepared assembly, out of all verdicts on it: kept, cut or rejected, and its flags."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from plantgfm.curation.facts import Verdict
from plantgfm.curation.ledger import ACCEPTED, CUT, STAGES
from plantgfm.curation.prepared import Prepared
from plantgfm.schema import Decision, Outcome

ONLY_FLAGGED = "only flagged, as flag_only says of"
_SHOWN = 3  # intervals named in an evidence


def decisions_on(one: Prepared) -> list[Decision]:
    """The decisions on its records, in file order: of each its flags, then its end."""
    by_record: dict[str, list[Verdict]] = {}
    for verdict in one.verdicts:
        by_record.setdefault(verdict.record, []).append(verdict)
    decisions, kept = [], {row["name"]: row for row in one.description["kept"]}
    for row in one.description["records"]:
        cut_bp = 0
        found = sorted(by_record.get(row["name"], []), key=lambda v: (STAGES.index(v.stage), v.reason, v.evidence))
        found = [v if v.outcome is Outcome.FLAGGED or v.rejects(one.flag_only) else _told(v) for v in found]
        if not any(verdict.outcome is Outcome.REJECTED for verdict in found):
            flags = len(found)
            text = f"passed every stage with {flags} flag{'s' * (flags != 1)}" if flags else "passed every stage"
            text += f"; label verified: {one.verified}" if one.verified else ""
            end = Verdict(row["name"], Outcome.KEPT, ACCEPTED, ACCEPTED, text)
            if cuts := one.cuts(kept[row["name"]]):
                cut_bp = sum(end - start for start, end in cuts)
                text = f"{_describe_cuts(one, row, cuts, cut_bp)}; {text}"
                end = Verdict(row["name"], Outcome.CUT, ACCEPTED, CUT, text)
            found = [*found, end]
        who = (one.assembly.key, one.assembly.species, row["name"], row["length_bp"])
        decisions += [
            Decision(
                *who,
                outcome=v.outcome,
                stage=v.stage,
                reason=v.reason,
                evidence=v.evidence,
                kept_assembly=v.kept_assembly,
                kept_record=v.kept_record,
                cut_bp=cut_bp if v.outcome is Outcome.CUT else 0,
            )
            for v in found
        ]
    return decisions


def _told(verdict: Verdict) -> Verdict:
    """A rejection by a stage that only flags."""
    text = f"{verdict.evidence}; {ONLY_FLAGGED} {verdict.stage}"
    return replace(verdict, outcome=Outcome.FLAGGED, evidence=text, kept_assembly="", kept_record="")


def _describe_cuts(one: Prepared, row: dict[str, Any], cuts: list[tuple[int, int]], cut_bp: int) -> str:
    places = ", ".join(f"{start:,}-{end:,}" for start, end in cuts[:_SHOWN])
    more = f" and {len(cuts) - _SHOWN} more" if len(cuts) > _SHOWN else ""
    pieces, left = len(one.pieces[row["name"]]), row["length_bp"] - cut_bp
    return (
        f"{cut_bp:,} of {row['length_bp']:,} bp cut out in {len(cuts)} interval{'s' * (len(cuts) != 1)} "
        f"({places}{more}); {left:,} bp left in {pieces} piece{'s' * (pieces != 1)}"
    )

"""The ledger of curation: every record of the input ends as kept or rejected, once, and the sums say so."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from plantgfm.formats.streams import atomic_binary, atomic_text
from plantgfm.identity import canonical_json, plain
from plantgfm.schema import Decision, Outcome

ACCEPTED = "accepted"
STAGES = ("completeness", "contamination", "assembly_score", "duplicates", "label", ACCEPTED)


@dataclass(frozen=True)
class LedgerRow:
    """One cell of the ledger's table."""

    stage: str
    species: str
    outcome: str
    reason: str
    records: int
    bp: int


@dataclass(frozen=True)
class Ledger:
    """All decisions of a curation, sorted, beside the input they must sum to.

    Raises:
        ValueError: where the final decisions (kept or rejected) do not cover each record of the input exactly once.
    """

    decisions: list[Decision]
    input_records: int
    input_bp: int

    def __post_init__(self):
        final = Counter((d.assembly, d.record) for d in self.decisions if d.outcome is not Outcome.FLAGGED)
        if twice := [name for name, count in final.items() if count > 1]:
            raise ValueError(f"record {twice[0]} has {final[twice[0]]} final decisions; a record ends once")
        unsettled = {(d.assembly, d.record) for d in self.decisions} - set(final)
        if unsettled:
            raise ValueError(f"record {min(unsettled)} is flagged but neither kept nor rejected")
        records, bp = len(final), sum(d.length_bp for d in self.decisions if d.outcome is not Outcome.FLAGGED)
        if (records, bp) != (self.input_records, self.input_bp):
            raise ValueError(
                f"the ledger holds {records} records of {bp} bp, "
                f"the input {self.input_records} of {self.input_bp}: a record was lost or counted twice"
            )

    def rows(self) -> list[LedgerRow]:
        """Counts and base pairs per stage x species x outcome x reason, in order of stage.

        Rows with outcome "flagged" stand beside the sum: their records are also counted as kept or rejected.
        """
        records, bp = Counter(), Counter()
        for d in self.decisions:
            cell = (STAGES.index(d.stage), d.species, d.outcome.value, d.reason)
            records[cell] += 1
            bp[cell] += d.length_bp
        return [
            LedgerRow(STAGES[stage], species, outcome, reason, records[stage, species, outcome, reason], total)
            for (stage, species, outcome, reason), total in sorted(bp.items())
        ]

    def of_record(self, assembly: str, record: str) -> list[Decision]:
        """All decisions on one record, in order of stage: its story."""
        found = [d for d in self.decisions if (d.assembly, d.record) == (assembly, record)]
        return sorted(found, key=lambda d: STAGES.index(d.stage))

    def totals(self) -> dict[str, tuple[int, int]]:
        """Records and bp by outcome: kept, rejected, and flagged (records with a flag, whatever became of them)."""
        result = {}
        for outcome in Outcome:
            records = {(d.assembly, d.record): d.length_bp for d in self.decisions if d.outcome is outcome}
            result[outcome.value] = (len(records), sum(records.values()))
        return result

    def write(self, folder: Path) -> None:
        """Write `ledger.parquet` (one row a decision) and `ledger.json` (table, sums), each atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        names = ["assembly", "species", "record", "length_bp", "outcome", "stage", "reason", "evidence"]
        rows = [plain(decision) for decision in self.decisions]
        kinds = [pa.int64() if name == "length_bp" else pa.string() for name in names]
        table = pa.table({n: pa.array([row[n] for row in rows], type=kind) for n, kind in zip(names, kinds)})
        with atomic_binary(folder / "ledger.parquet") as stream:
            pq.write_table(table, stream)
        summary = {
            "input": {"records": self.input_records, "bp": self.input_bp},
            "totals": self.totals(),
            "rows": [plain(row) for row in self.rows()],
        }
        with atomic_text(folder / "ledger.json") as stream:
            stream.write(canonical_json(summary) + "\n")

"""The ledger of curation: every record of the input ends as kept, cut or rejected, once, and the sums say so."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from plantgfm.curation import config
from plantgfm.curation.findings import Finding, write_intervals
from plantgfm.curation.measures import AssemblyMeasures, RecordMeasures, Step
from plantgfm.formats.streams import atomic_binary, atomic_text
from plantgfm.identity import canonical_json, plain, read_json
from plantgfm.schema import Decision, Outcome

ACCEPTED = "accepted"
CUT = "cut"  # reason of a record that was accepted in pieces
LEDGER_FILE = "ledger.json"
STAGES = (*config.STAGES, ACCEPTED)


@dataclass(frozen=True)
class LedgerRow:
    """One cell of the ledger's table."""

    stage: str
    species: str
    outcome: str
    reason: str
    records: int
    bp: int
    cut_bp: int = 0  # of it, what was cut out


@dataclass(frozen=True)
class Ledger:
    """All decisions of a curation, sorted, beside the input they must sum to.

    Raises:
        ValueError: where the final decisions (kept, cut or rejected) do not cover each record of the input exactly
            once, or a cut takes nothing or everything.
    """

    decisions: list[Decision]
    input_records: int
    input_bp: int
    measures: list[RecordMeasures] = field(default_factory=list)  # empty in a ledger that older code wrote
    assemblies: list[AssemblyMeasures] = field(default_factory=list)  # as well
    settings: dict[str, Any] = field(default_factory=dict)  # CurationConfig, as JSON
    references: list[str] = field(default_factory=list)  # what records were screened against
    findings: list[Finding] = field(default_factory=list)  # intervals that screens found; empty in an older ledger
    steps: list[Step] = field(default_factory=list)  # what other thresholds would have done; empty where not asked

    def __post_init__(self):
        final = Counter((d.assembly, d.record) for d in self.decisions if d.outcome is not Outcome.FLAGGED)
        if twice := [name for name, count in final.items() if count > 1]:
            raise ValueError(f"record {twice[0]} has {final[twice[0]]} final decisions; a record ends once")
        unsettled = {(d.assembly, d.record) for d in self.decisions} - set(final)
        if unsettled:
            raise ValueError(f"record {min(unsettled)} is flagged but neither kept nor rejected")
        for d in self.decisions:
            if not (0 < d.cut_bp < d.length_bp if d.outcome is Outcome.CUT else d.cut_bp == 0):
                raise ValueError(f"record {d.record} is {d.outcome.value} with {d.cut_bp} of {d.length_bp} bp cut out")
        records, bp = len(final), sum(d.length_bp for d in self.decisions if d.outcome is not Outcome.FLAGGED)
        if (records, bp) != (self.input_records, self.input_bp):
            raise ValueError(
                f"the ledger holds {records} records of {bp} bp, "
                f"the input {self.input_records} of {self.input_bp}: a record was lost or counted twice"
            )

    def rows(self) -> list[LedgerRow]:
        """Records and their base pairs per stage x species x outcome x reason, in order of stage; a record counts once.

        Rows with outcome "flagged" stand beside the sum: their records are also counted as kept or rejected.
        """
        records, bp, cut_bp = Counter(), Counter(), Counter()
        distinct = {(d.stage, d.outcome, d.reason, d.assembly, d.record): d for d in self.decisions}
        for d in distinct.values():
            cell = (STAGES.index(d.stage), d.species, d.outcome.value, d.reason)
            records[cell] += 1
            bp[cell] += d.length_bp
            cut_bp[cell] += d.cut_bp
        return [
            LedgerRow(STAGES[cell[0]], *cell[1:], records=records[cell], bp=total, cut_bp=cut_bp[cell])
            for cell, total in sorted(bp.items())
        ]

    def of_record(self, assembly: str, record: str) -> list[Decision]:
        """All decisions on one record, in order of stage: its story."""
        found = [d for d in self.decisions if (d.assembly, d.record) == (assembly, record)]
        return sorted(found, key=lambda d: STAGES.index(d.stage))

    def totals(self) -> dict[str, tuple[int, int]]:
        """Records and their bp by outcome: kept, cut, rejected, and flagged (with a flag, whatever became of them).

        Kept, cut and rejected sum to the input; of what was cut, `out_bp` went on.
        """
        result = {}
        for outcome in Outcome:
            records = {(d.assembly, d.record): d.length_bp for d in self.decisions if d.outcome is outcome}
            result[outcome.value] = (len(records), sum(records.values()))
        return result

    @property
    def out_bp(self) -> int:
        """Base pairs that go on to the corpus: the input less what was rejected and what was cut out."""
        return sum(d.out_bp for d in self.decisions)

    def write(self, folder: Path) -> None:
        """Write the ledger, each file atomically.

        `ledger.parquet` has one row a decision, `measures.parquet` one a record, `findings.parquet` one an interval
        that a screen found (and `intervals/` the same as BED, a file an assembly), `ledger.json` the table, the sums,
        the settings and the figures of the assemblies.
        """
        folder.mkdir(parents=True, exist_ok=True)
        _write_rows(folder / "ledger.parquet", Decision, self.decisions)
        _write_rows(folder / "measures.parquet", RecordMeasures, self.measures)
        _write_rows(folder / "findings.parquet", Finding, self.findings)
        write_intervals(folder / "intervals", self.findings)
        summary = {
            "input": {"records": self.input_records, "bp": self.input_bp},
            "out_bp": self.out_bp,
            "totals": self.totals(),
            "rows": [plain(row) for row in self.rows()],
            "assemblies": self.assemblies,
            "settings": self.settings,
            "references": self.references,
            "steps": self.steps,
        }
        with atomic_text(folder / LEDGER_FILE) as stream:
            stream.write(canonical_json(summary) + "\n")


_KINDS = {
    "str": pa.string(),
    "Outcome": pa.string(),
    "IntervalAction": pa.string(),
    "float": pa.float64(),
    "int": pa.int64(),
    "int | None": pa.int64(),
    "list[str]": pa.list_(pa.string()),
    "list[list[int]]": pa.list_(pa.list_(pa.int64())),
}


def _write_rows(path: Path, kind: type, values: list) -> None:
    rows = [plain(value) for value in values]
    columns = {f.name: pa.array([row[f.name] for row in rows], type=_KINDS[f.type]) for f in fields(kind)}
    with atomic_binary(path) as stream:
        pq.write_table(pa.table(columns), stream)


def _read_findings(path: Path) -> list[Finding]:
    return [Finding.restore(row) for row in pq.read_table(path).to_pylist()]


def read_ledger(folder: Path) -> Ledger:
    """The ledger that `Ledger.write` left in a folder; one of older code lacks measures and settings.

    Raises:
        ValueError: when the folder holds no ledger, or a damaged one.
    """
    if not (folder / LEDGER_FILE).is_file():
        raise ValueError(f"{folder} holds no ledger ({LEDGER_FILE} is missing): name a run, or a folder of a curation")
    try:
        stated = read_json(folder / LEDGER_FILE, remedy="it is none of ours")
        rows = pq.read_table(folder / "ledger.parquet").to_pylist()
        known = "settings" in stated
        measures = pq.read_table(folder / "measures.parquet").to_pylist() if known else []
        return Ledger(
            [Decision(**{**row, "outcome": Outcome(row["outcome"])}) for row in rows],
            stated["input"]["records"],
            stated["input"]["bp"],
            measures=[RecordMeasures(**row) for row in measures],
            assemblies=[AssemblyMeasures(**row) for row in stated["assemblies"]] if known else [],
            settings=stated["settings"] if known else {},
            references=stated["references"] if known else [],
            findings=_read_findings(folder / "findings.parquet") if "out_bp" in stated else [],
            steps=[Step(**row) for row in stated["steps"]] if "steps" in stated else [],
        )
    except (KeyError, TypeError, ValueError, OSError) as error:
        what = " ".join(str(error).split())
        raise ValueError(f"{folder} holds a damaged ledger ({what}): curate again to renew it") from None

"""The ledger: it sums to its input or it is not made; what is written is what was decided."""

import json

import pyarrow.parquet as pq
import pytest

from plantgfm.curation.ledger import Ledger
from plantgfm.schema import Decision, Outcome


def decision(record, outcome=Outcome.KEPT, stage="accepted", reason="accepted", bp=100, species="Testus unus"):
    return Decision("a", species, record, bp, outcome, stage, reason, "because")


REJECTED = decision("y", Outcome.REJECTED, "completeness", "n_rich", 40)
FLAG = decision("x", Outcome.FLAGGED, "completeness", "length_disagrees")


def test_rows_count_and_sum():
    ledger = Ledger([decision("x"), FLAG, REJECTED, decision("z", species="Alter duo")], 3, 240)
    rows = [(r.stage, r.species, r.outcome, r.reason, r.records, r.bp) for r in ledger.rows()]
    assert rows == [
        ("completeness", "Testus unus", "flagged", "length_disagrees", 1, 100),
        ("completeness", "Testus unus", "rejected", "n_rich", 1, 40),
        ("accepted", "Alter duo", "kept", "accepted", 1, 100),
        ("accepted", "Testus unus", "kept", "accepted", 1, 100),
    ]
    assert sum(r.bp for r in ledger.rows() if r.outcome != "flagged") == 240
    assert ledger.totals() == {"kept": (2, 200), "flagged": (1, 100), "rejected": (1, 40)}


@pytest.mark.parametrize(
    ("decisions", "records", "bp", "message"),
    [
        ([decision("x")], 2, 200, "lost"),
        ([decision("x")], 1, 101, "lost"),
        ([decision("x"), decision("x")], 1, 100, "ends once"),
        ([decision("x"), decision("x", Outcome.REJECTED, "label", "label_mismatch")], 1, 100, "ends once"),
        ([FLAG], 0, 0, "neither kept nor rejected"),
    ],
)
def test_a_ledger_that_does_not_sum_is_refused(decisions, records, bp, message):
    with pytest.raises(ValueError, match=message):
        Ledger(decisions, records, bp)


def test_story_of_one_record_is_in_order_of_stage():
    ledger = Ledger([decision("x"), FLAG, decision("z")], 2, 200)
    assert [d.stage for d in ledger.of_record("a", "x")] == ["completeness", "accepted"]


def test_written_files_hold_every_decision(tmp_path):
    ledger = Ledger([decision("x"), FLAG, REJECTED], 2, 140)
    ledger.write(tmp_path / "new")
    table = pq.read_table(tmp_path / "new" / "ledger.parquet").to_pylist()
    assert [(row["record"], row["outcome"], row["length_bp"]) for row in table] == [
        ("x", "kept", 100),
        ("x", "flagged", 100),
        ("y", "rejected", 40),
    ]
    summary = json.loads((tmp_path / "new" / "ledger.json").read_text())
    assert summary["input"] == {"records": 2, "bp": 140} and len(summary["rows"]) == 3
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["ledger.json", "ledger.parquet"]

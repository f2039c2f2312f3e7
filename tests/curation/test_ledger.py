"""The ledger: it sums to its input or it is not made; what is written is what was decided."""

import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from plantgfm.curation.config import IntervalAction
from plantgfm.curation.findings import Finding
from plantgfm.curation.ledger import Ledger, read_ledger
from plantgfm.curation.measures import AssemblyMeasures, RecordMeasures
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
    assert ledger.totals() == {"kept": (2, 200), "cut": (0, 0), "flagged": (1, 100), "rejected": (1, 40)}


def test_a_cut_record_counts_whole_and_says_what_is_left():
    piece = replace(decision("x", Outcome.CUT, reason="cut"), cut_bp=30)
    ledger = Ledger([piece, replace(FLAG, stage="contamination"), REJECTED, decision("z")], 3, 240)
    assert ledger.totals() == {"kept": (1, 100), "cut": (1, 100), "flagged": (1, 100), "rejected": (1, 40)}
    assert ledger.out_bp == 240 - 40 - 30
    assert [(r.outcome, r.bp, r.cut_bp) for r in ledger.rows() if r.cut_bp] == [("cut", 100, 30)]


@pytest.mark.parametrize(
    ("decisions", "records", "bp", "message"),
    [
        ([decision("x")], 2, 200, "lost"),
        ([decision("x")], 1, 101, "lost"),
        ([decision("x"), decision("x")], 1, 100, "ends once"),
        ([decision("x"), decision("x", Outcome.REJECTED, "label", "label_mismatch")], 1, 100, "ends once"),
        ([FLAG], 0, 0, "neither kept nor rejected"),
        ([decision("x", Outcome.CUT)], 1, 100, "0 of 100 bp cut out"),
        ([replace(decision("x", Outcome.CUT), cut_bp=100)], 1, 100, "100 of 100 bp cut out"),
        ([replace(decision("x"), cut_bp=1)], 1, 100, "is kept with 1 of"),
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
    names = ["findings.parquet", "ledger.json", "ledger.parquet", "measures.parquet"]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == names


def measured():
    row = RecordMeasures("a", "x", 100, 7, 1, 0, ["header states 9 bp"], [], [[3, 5], [8, 9]], 3, None, "", 0, 0)
    whole = AssemblyMeasures("a", "Testus unus", "", "a", "nuclear", "", None, 90, 1, 7, 100, 100, None, 0.5, "")
    settings = {"completeness": {"min_record_bp": 10}}
    twin = Decision("a", "Testus unus", "y", 40, Outcome.REJECTED, "duplicates", "near_duplicate", "~", "a", "x")
    found = [Finding("x", 3, 5, "foreign", "Some bacterium", "hashes", 3.0, IntervalAction.MASK, "a")]
    return Ledger([decision("x"), twin], 2, 140, [row], [whole], settings, ["Some bacterium (foreign)"], found)


def test_a_written_ledger_is_read_back_whole(tmp_path):
    measured().write(tmp_path)
    assert read_ledger(tmp_path) == measured()


def test_a_ledger_of_older_code_is_read_without_measures(tmp_path):
    measured().write(tmp_path)
    for name in ("measures.parquet", "findings.parquet"):
        (tmp_path / name).unlink()
    table = pq.read_table(tmp_path / "ledger.parquet")
    pq.write_table(table.drop_columns(["kept_assembly", "kept_record", "cut_bp"]), tmp_path / "ledger.parquet")
    stated = json.loads((tmp_path / "ledger.json").read_text())
    new = ("assemblies", "settings", "references", "out_bp")
    (tmp_path / "ledger.json").write_text(json.dumps({k: v for k, v in stated.items() if k not in new}))
    found = read_ledger(tmp_path)
    assert [d.record for d in found.decisions] == ["x", "y"] and found.decisions[1].kept_record == ""
    assert (found.measures, found.assemblies, found.settings, found.references) == ([], [], {}, [])
    assert found.findings == []


def test_a_ledger_from_before_cuts_is_read_with_its_measures(tmp_path):
    measured().write(tmp_path)
    (tmp_path / "findings.parquet").unlink()
    table = pq.read_table(tmp_path / "measures.parquet")
    pq.write_table(table.drop_columns(["cut", "known_bp"]), tmp_path / "measures.parquet")
    stated = json.loads((tmp_path / "ledger.json").read_text())
    stated.pop("out_bp")
    (tmp_path / "ledger.json").write_text(json.dumps(stated))
    assert read_ledger(tmp_path).measures == measured().measures and read_ledger(tmp_path).findings == []


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def shorten(path):
    pq.write_table(pq.read_table(path).slice(1), path)


def lose_column(path):
    pq.write_table(pq.read_table(path).drop_columns(["stage"]), path)


HARMS = {
    "cut parquet": ("ledger.parquet", cut),
    "cut measures": ("measures.parquet", cut),
    "no parquet": ("ledger.parquet", lambda path: path.unlink()),
    "no findings": ("findings.parquet", lambda path: path.unlink()),
    "cut findings": ("findings.parquet", cut),
    "no measures": ("measures.parquet", lambda path: path.unlink()),
    "lost record": ("ledger.parquet", shorten),
    "lost column": ("ledger.parquet", lose_column),
    "cut json": ("ledger.json", cut),
    "other json": ("ledger.json", lambda path: path.write_text("[]")),
    "lost key": ("ledger.json", lambda path: path.write_text('{"settings": {}}')),
    "bytes": ("ledger.json", lambda path: path.write_bytes(b"\xff\xfe")),
}


@pytest.mark.parametrize("name", HARMS)
def test_a_damaged_ledger_is_one_clear_error(tmp_path, name):
    measured().write(tmp_path)
    file, harm = HARMS[name]
    harm(tmp_path / file)
    with pytest.raises(ValueError, match="holds a damaged ledger") as error:
        read_ledger(tmp_path)
    assert str(tmp_path) in str(error.value) and "curate again" in str(error.value)


def test_a_folder_without_a_ledger_is_named(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ValueError, match=r"holds no ledger \(ledger.json is missing\)"):
            read_ledger(folder)

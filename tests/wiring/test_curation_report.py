"""The report of a curation: every section says what the ledger holds, and a page that is up to date stays."""

import subprocess
import sys
from dataclasses import replace

import pytest

from plantgfm.curation.curate import Curation
from plantgfm.curation.ledger import Ledger
from plantgfm.curation.measures import Step
from plantgfm.report import figures
from plantgfm.schema import Outcome
from plantgfm.wiring.curation_report import (
    clusters_table,
    curation_sections,
    funnel_table,
    reasons_table,
    steps_note,
    steps_table,
    write_curation_report,
)
from tests.curation.small import curate_world, make_world


@pytest.fixture(scope="module")
def curation(tmp_path_factory) -> Curation:
    folder = tmp_path_factory.mktemp("world")
    return curate_world(folder, make_world(folder))


@pytest.fixture(scope="module")
def ledger(curation) -> Ledger:
    return curation.ledger


STEPS = [
    Step("completeness.min_record_bp", "stricter", "x 2", 1_000, 2_000, "Testus unus", 2, 3_000, 0, 0),
    Step("completeness.min_record_bp", "looser", "x 2", 1_000, 500, "Testus unus", 0, 0, 1, 500),
    Step("label.margin", "stricter", "x 2", 0.001, 0.0005, "", 0, 0, 0, 0),
    Step("duplicates.record_identity", "looser", "± 0.005", 1.0, 1.0, "", 0, 0, 0, 0),
]


def section(ledger, heading, folder):
    return next(one for one in curation_sections(ledger, folder) if one.heading.startswith(heading))


def test_the_funnel_sums_to_the_input_and_to_what_is_kept(ledger):
    table = funnel_table(ledger)
    finals = [d for d in ledger.decisions if d.outcome is not Outcome.FLAGGED]
    assert sum(row[1] for row in table.rows) == ledger.input_records
    assert sum(row[2] for row in table.rows) == pytest.approx(ledger.input_bp / 1e6)
    assert sum(row[-3] for row in table.rows) == pytest.approx(
        sum(d.length_bp for d in finals if d.outcome is not Outcome.REJECTED) / 1e6
    )
    assert sum(row[-2] for row in table.rows) == sum(d.outcome is not Outcome.REJECTED for d in finals)
    assert all(list(row[2:-2]) == sorted(row[2:-2], reverse=True) for row in table.rows), "stages only take"


def test_every_reason_has_its_line_and_its_sum(ledger):
    found = {(row[0], row[2]): row[4] for row in reasons_table(ledger).rows}
    told = [d for d in ledger.decisions if d.outcome is not Outcome.KEPT]
    assert sum(found.values()) == len(told)
    assert found["completeness", "truncated"] == 1 and found["duplicates", "reverse_complement_twin"] == 1
    assert found["label", "label_mismatch"] == 1


def test_clusters_say_who_represents_whom_and_why(ledger):
    rows = {row[0].split(" of ")[0]: row for row in clusters_table(ledger).rows}
    assert "twin of Testus unus first" in rows["chr2"][1] and "reverse_complement_twin" in rows["chr2"][4]
    assert "kept, for it" in rows["chr2"][5]
    assert sum(row[2] for row in rows.values()) == sum(
        d.stage == "duplicates" and d.outcome is Outcome.REJECTED for d in ledger.decisions
    )
    cut = clusters_table(ledger, most=1)
    assert len(cut.rows) == 1 and "more stand in ledger.parquet" in cut.note


def test_tracks_draw_the_intervals_that_were_found(ledger, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(figures, "tracks", lambda *given, **named: (drawn.update(given=given), b"\x89PNG\r\n\x1a\n")[1])
    assert len(section(ledger, "Contamination", tmp_path).figures) == 1
    labels, lengths, intervals = drawn["given"]
    assert any("chimera, Testus unus (43,000 bp)" in label for label in labels)
    row = next(i for i, label in enumerate(labels) if label.startswith("chimera, Testus unus (43,000"))
    (interval,) = [one for one in intervals if one[0] == row]
    assert interval[3] == "foreign, masked"
    assert lengths[row] == 43_000 and abs(interval[1] - 20_000) < 200 and abs(interval[2] - 23_000) < 200


def test_steps_are_told_and_drawn_where_they_touch_something(ledger, tmp_path):
    table = steps_table(STEPS)
    assert [row[2:] for row in table.rows] == [
        ("stricter", 2_000, "Testus unus", 2, 3_000, 0, 0),
        ("looser", 500, "Testus unus", 0, 0, 1, 500),
    ]
    assert "no record would change at label.margin 0.0005" in table.note
    assert "at the end of their range already: duplicates.record_identity 1" in steps_note(STEPS)
    touched = section(replace(ledger, steps=STEPS), "What one step", tmp_path)
    assert len(touched.figures) == len(touched.tables) == 1
    idle = section(replace(ledger, steps=STEPS[2:]), "What one step", tmp_path)
    assert not idle.figures and not idle.tables and "no record would change" in idle.text
    for text in (touched.text, idle.text):
        assert "Not tried: " in text and "contamination.scaled, " in text and "takes another run" in text
    assert "Not computed" in section(ledger, "What one step", tmp_path).text


def test_the_page_needs_nothing_else_and_is_drawn_again_only_after_a_change(curation, tmp_path):
    curation.write(tmp_path)
    path = write_curation_report(tmp_path)
    text = path.read_text()
    for heading in ("Funnel", "Reasons", "Duplicate clusters", "Contamination", "Assemblies", "Evidence"):
        assert f"<h2>{heading}</h2>" in text
    assert "http" not in text.replace("http://www.w3.org", "") and text.count("data:image/png;base64,") == 2
    drawn = path.stat().st_mtime_ns
    assert write_curation_report(tmp_path).stat().st_mtime_ns == drawn
    replace(curation, ledger=replace(curation.ledger, steps=STEPS)).write(tmp_path)
    assert write_curation_report(tmp_path).stat().st_mtime_ns != drawn
    assert "completeness.min_record_bp" in path.read_text()
    elsewhere = write_curation_report(tmp_path, tmp_path / "new" / "page.html")
    assert elsewhere.read_text() == path.read_text()


def test_a_page_that_is_up_to_date_loads_neither_jax_nor_matplotlib(curation, tmp_path):
    curation.write(tmp_path)
    write_curation_report(tmp_path)
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from plantgfm.wiring.curation_report import write_curation_report\n"
        f"write_curation_report(Path({str(tmp_path)!r}))\n"
        "print([name for name in ('jax', 'matplotlib') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr

"""The report of a run that trains: what it shows of a run on its way, and that it never ends the training."""

import json

from plantgfm.wiring import report
from plantgfm.wiring.report import LiveReport


def test_what_can_not_be_drawn_is_told_and_training_goes_on(tmp_path):
    said = []
    LiveReport(tmp_path, write=said.append).update()
    (line,) = said
    assert line.startswith(f"the report could not be drawn (ValueError: {tmp_path} is no run folder")
    assert line.endswith("training goes on") and not (tmp_path / "report.html").exists()


def test_what_a_run_stands_on_is_read_once_and_the_rest_every_time(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(report, "_ground_of", lambda run_dir, measure: done.append(("ground", measure)) or "ground")
    monkeypatch.setattr(report, "_write", lambda ground, path: done.append((ground, path.name)))
    live = LiveReport(tmp_path, write=done.append)
    live.update()
    live.update()
    assert done == [("ground", False), ("ground", "report.html"), ("ground", "report.html")]


def test_the_training_section_shows_repeats_blocks_and_where_time_goes(tmp_path):
    metrics = {"repeats/inside": 1.0, "repeats/outside": 2.0, "gradient_norm/layers/0": 0.5, "species/Zea mays": 8.0}
    rows = [{"step": step, **metrics} for step in (10, 20)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    call = {
        "from_step": 0, "to_step": 20, "device": "cpu", "devices": 1, "tokens_per_second": 20_000.0,
        "model_flop_utilisation": None, "seconds": {"start": 1.0, "compute": 9.0},
    }  # fmt: skip
    later = {**call, "from_step": 20, "seconds": {"compute": 4.0, "report": 1.0}}
    (tmp_path / "throughput.json").write_text(json.dumps({"calls": [call, later]}))
    section = report._training_section(tmp_path)
    captions = [picture.caption for picture in section.figures]
    assert [part for part in ("species", "repeats", "by block") if any(part in caption for caption in captions)] == [
        "species",
        "repeats",
        "by block",
    ]
    (table,) = section.tables
    assert table.columns[-3:] == ("start", "compute", "report")
    assert [row[-3:] for row in table.rows] == [(0.1, 0.9, 0.0), (0.0, 0.8, 0.2)]
    assert report._logged_step(tmp_path) == 20 and report._logged_step(tmp_path / "none") == 0


def test_of_many_species_the_figure_tells_the_spread():
    rows = [{"step": step, **{f"species/s{n}": float(n + step) for n in range(15)}} for step in (1, 2)]
    rows.append({"step": 3, "species/s4": 9.0, "species/s5": None})  # not every step sees every species
    rows.append({"step": 4})
    keys = [f"species/s{n}" for n in range(15)]
    curves = report._species_curves(rows, keys)
    assert curves == {
        "largest of 15 species": ([1, 2, 3], [15.0, 16.0, 9.0]),
        "median of 15 species": ([1, 2, 3], [8.0, 9.0, 9.0]),
        "least of 15 species": ([1, 2, 3], [1.0, 2.0, 9.0]),
    }
    assert list(report._species_curves(rows, keys[:14])) == [f"s{n}" for n in range(14)]

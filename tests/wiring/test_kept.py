"""What is kept of a run, and what is refused: the rest is seen on a real run, in `end_to_end/test_job.py`."""

import gzip
import json

import pytest

from plantgfm.training.run_folder import locked
from plantgfm.wiring import kept
from plantgfm.wiring.kept import keep_run, write_kept_report

IDENTITY = {"corpus": "aa", "run": {"steps": 4}}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A folder that says of itself that it is a finished, evaluated run; nothing of it is read before refusals."""
    folder = tmp_path / "run"
    (folder / "evaluation").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"identity": IDENTITY, "lineage": []}))
    for name in ("result.json", "evaluation/evaluation.json"):
        (folder / name).write_text("{}")
    monkeypatch.setattr(kept, "open_run_folder", lambda path: None)
    return folder


def test_a_run_that_is_not_finished_or_not_evaluated_is_not_kept(run, tmp_path):
    with locked(run), pytest.raises(ValueError, match="run is not finished: the same command of train.py goes on"):
        keep_run(run, tmp_path / "out")
    (run / "evaluation" / "evaluation.json").unlink()
    with pytest.raises(ValueError, match="run is not evaluated: `plantgfm evaluate .*run` first"):
        keep_run(run, tmp_path / "out")
    (run / "result.json").unlink()
    with pytest.raises(ValueError, match="run is not finished"):
        keep_run(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("run.json", {"format": kept.KEPT_FORMAT, "name": "b", "identity": {}}, "holds the run 'b' of other settings"),
        ("run.json", {"identity": IDENTITY}, "holds the run '\\?' of other settings: choose another folder"),
        ("notes.txt", {}, "holds files that are no kept run: choose another folder"),
    ],
)
def test_a_folder_of_something_else_is_left_as_it_is(run, tmp_path, name, content, said):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=said):
        keep_run(run, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    with pytest.raises(ValueError, match="is a file: name a folder"):
        keep_run(run, tmp_path / "out" / name)


def test_folders_of_the_machine_are_cut_to_names_and_other_paths_stay():
    settings = {"corpus": {"path": "/home/x/m.csv", "more": ["~/p.csv", "../b/q.csv"], "seed": 7}, "run": {"name": "a"}}
    cut = {"path": "m.csv", "more": ["p.csv", "../b/q.csv"], "seed": 7}
    assert kept._portable(settings) == {"corpus": cut, "run": {"name": "a"}}


@pytest.mark.parametrize("measured", ["no gzip", {}, {"evaluation": {"a": 1}}])
def test_what_was_kept_and_is_damaged_is_said_in_a_line(tmp_path, measured):
    (tmp_path / "run.json").write_text(json.dumps({"format": kept.KEPT_FORMAT}))
    content = json.dumps(measured).encode()
    (tmp_path / "measured.json.gz").write_bytes(content if isinstance(measured, str) else gzip.compress(content))
    with pytest.raises(ValueError, match="keep the run again: `plantgfm report RUN --keep FOLDER`"):
        write_kept_report(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="run.json is no plantgfm kept run"):
        write_kept_report(tmp_path)
    assert not list(tmp_path.glob("report*"))

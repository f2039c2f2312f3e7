import math

import pytest

from plantgfm.training import checkpoint
from plantgfm.training.bad_steps import NonFiniteLoss
from plantgfm.training.run_folder import locked, open_run
from plantgfm.wiring.run_list import RunState, list_runs, runs_table
from tests.training.quadratic import train_point


class Falling:
    """An evaluator whose value falls, then rises."""

    name, every_steps = "watch", 4

    def __init__(self):
        self._values = iter([3.0, 1.0, 2.0, 2.0])

    def run(self, params):
        return {"bits": next(self._values)}


def by_name(folder):
    return {run.name: run for run in list_runs(folder)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    train_point(folder / "finished", evaluators=[Falling()], best_metric="watch/bits")
    train_point(folder / "stopped", stop_at=4)
    with pytest.raises(NonFiniteLoss):
        train_point(folder / "failed", poison={7: math.nan})
    identity = {"corpus": "c0", "run": {"steps": 1200}}
    open_run(folder / "claimed", identity)
    open_run(folder / "claimed", {**identity, "corpus": "c1"}, accept=["corpus"])
    (folder / ".store").mkdir()
    (folder / "something else").mkdir()
    return folder


def test_each_run_stands_there_with_its_state_step_and_best_metric(folder):
    runs = by_name(folder)
    assert {name: (run.state, run.step) for name, run in runs.items()} == {
        "claimed": (RunState.STOPPED, 0),
        "failed": (RunState.FAILED, 7),
        "finished": (RunState.FINISHED, 12),
        "stopped": (RunState.STOPPED, 5),
    }
    assert runs["finished"].best == ("watch/bits", 1.0, 8)
    assert (runs["stopped"].why, runs["stopped"].best) == ("SIGTERM", None)
    assert runs["failed"].why.startswith("NonFiniteLoss: step 8 has loss nan")


def test_the_corpora_before_are_its_lineage(folder):
    run = by_name(folder)["claimed"]
    assert (run.corpus, run.earlier_corpora, run.steps) == ("c1", ("c0",), 1200)
    assert "c0 > c1" in runs_table([run]).to_text()
    assert "0 of 1,200" in runs_table([run]).to_text()


def test_a_run_that_somebody_trains_is_running_and_one_folder_is_enough(folder):
    with locked(folder / "stopped"):
        assert by_name(folder)["stopped"].state is RunState.RUNNING
        assert [run.state for run in list_runs(folder / "stopped")] == [RunState.RUNNING]
    assert by_name(folder)["stopped"].state is RunState.STOPPED


def test_what_failed_and_goes_on_is_no_longer_failed(folder):
    train_point(folder / "failed")
    assert by_name(folder)["failed"].state is RunState.FINISHED
    assert by_name(folder)["failed"].why == ""


def test_a_best_checkpoint_that_is_replaced_while_it_is_listed_hides_nothing(folder, monkeypatch):
    read, seen = checkpoint._read_position, []

    def once(run_dir, step):
        if (run_dir, step) in seen:  # by then the run that trains has deleted it
            raise checkpoint.DamagedCheckpoint("gone")
        seen.append((run_dir, step))
        return read(run_dir, step)

    monkeypatch.setattr(checkpoint, "_read_position", once)
    run = by_name(folder)["finished"]
    assert (run.state, run.best) == (RunState.FINISHED, ("watch/bits", 1.0, 8))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("metrics.jsonl", "5\n", "TypeError"),
        ("metrics.jsonl", '{"loss": 1}\n', "KeyError: 'step'"),
        ("ended.json", '{"why": "x"}', "KeyError: 'failed'"),
        ("run.json", '{"identity": {"run": 5}, "lineage": []}', "AttributeError"),
    ],
)
def test_a_run_with_odd_files_does_not_hide_the_others(tmp_path, name, content, said):
    for run in ("odd", "sound"):
        open_run(tmp_path / run, {"corpus": "c0", "run": {"steps": 4}})
    (tmp_path / "odd" / name).write_text(content)
    runs = by_name(tmp_path)
    assert runs["odd"].state is RunState.FAILED and runs["odd"].why.startswith(said)
    assert runs["sound"].state is RunState.STOPPED


def test_a_damaged_run_is_listed_as_such_and_a_folder_that_is_none_is_refused(tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    (run,) = list_runs(tmp_path)
    assert run.state is RunState.FAILED and "run.json" in run.why
    with pytest.raises(ValueError, match="is no folder"):
        list_runs(tmp_path / "nowhere")

import functools
import itertools
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.training.bad_steps import NonFiniteLoss
from plantgfm.training.checkpoint import folder_of, restore_params, steps_of
from plantgfm.training.config import OptimizerKind
from plantgfm.training.loop import peak_memory_bytes
from plantgfm.training.metrics import read_metrics
from plantgfm.training.run_folder import RunBusy, RunMismatch, locked, open_run

from .quadratic import train_point
from .toy import IDENTITY, SPECIES, Norm, assert_same_bits, batch_of, batches, parts, train_toy

STEPS = 8


def lines(run):
    """Metric lines without what depends on the machine."""
    return [{k: v for k, v in row.items() if k != "tokens_per_second"} for row in read_metrics(run / "metrics.jsonl")]


def stopping_at(position):
    """Batches that bring SIGTERM together with the batch of a step."""

    def source(start):
        for step, batch in enumerate(batches(start), start):
            if step == position:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    return source


@pytest.fixture(scope="module")
def undisturbed_by(tmp_path_factory):
    """The undisturbed run of an optimizer, and its result."""

    @functools.cache
    def of(kind):
        run = tmp_path_factory.mktemp("runs") / "undisturbed"
        return run, train_toy(run, steps=STEPS, kind=kind)

    return of


@pytest.fixture(scope="module")
def undisturbed(undisturbed_by):
    return undisturbed_by(OptimizerKind.MUON)


def test_a_run_leaves_what_the_folder_promises(undisturbed):
    run, result = undisturbed
    assert (result.step, result.resumed_from, result.interrupted) == (STEPS, 0, "")
    assert result.tokens == STEPS * 8 * 16
    assert steps_of(run) == [6, 8]
    assert {"start", "input", "compute", "evaluation", "checkpoint"} == set(result.seconds)
    assert result.tokens_per_second > 0
    assert peak_memory_bytes() >= result.peak_memory_bytes > 50e6
    rows = lines(run)
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    assert {f"species/{name}" for name in SPECIES} <= set(rows[0])
    assert [row["step"] for row in rows if "norm/bias" in row] == [4, 8]
    assert json.loads((run / "result.json").read_text())["step"] == STEPS


def test_what_the_batches_cut_stands_in_the_result(tmp_path):
    assert train_toy(tmp_path / "run", steps=STEPS, cut_bp=lambda: 17).cut_bp == 17
    assert json.loads((tmp_path / "run" / "result.json").read_text())["cut_bp"] == 17


@pytest.mark.parametrize("kind", OptimizerKind)
@pytest.mark.parametrize("position", range(STEPS))
def test_stopped_at_any_step_and_restarted_it_ends_the_same(undisturbed_by, tmp_path, position, kind):
    run, undisturbed = tmp_path / "run", undisturbed_by(kind)
    first = train_toy(run, steps=STEPS, source=stopping_at(position), log_every_steps=3, kind=kind)
    if position < STEPS - 1:  # a signal in the last step finds the run done
        assert (first.step, first.interrupted) == (position + 1, "SIGTERM")
        assert steps_of(run)[-1] == position + 1
        assert not (run / "result.json").exists()
        second = train_toy(run, steps=STEPS, log_every_steps=3, kind=kind)
        assert (second.step, second.resumed_from, second.interrupted) == (STEPS, position + 1, "")
    assert_same_bits(restore_params(run).params, restore_params(undisturbed[0]).params)
    # averages over three steps go on across the restart
    wanted = [np.mean([row["loss"] for row in lines(undisturbed[0])[i : i + 3]]) for i in (0, 3, 6)]
    np.testing.assert_allclose([row["loss"] for row in lines(run) if "loss" in row], wanted, rtol=1e-7)


def of_two_lengths(start, *, stop=None):
    """Short windows in the first four steps; a signal with the batch of a step."""
    for step in itertools.count(start):
        if step == stop:
            os.kill(os.getpid(), signal.SIGTERM)
        yield batch_of(step, windows=16, length=8) if step < 4 else batch_of(step)


def test_a_run_whose_windows_get_longer_ends_the_same_wherever_it_is_stopped_and_compiles_once_a_length(tmp_path):
    said, (_, step) = [], parts(steps=STEPS, kind=OptimizerKind.MUON)
    whole = train_toy(tmp_path / "whole", steps=STEPS, source=of_two_lengths, write=said.append)
    told = [line for line in said if line.startswith("windows of")]
    assert told == ["windows of 16 tokens from step 5 on, 8 before: compiling the step for them"]
    assert whole.tokens == STEPS * 128
    for stop in (2, 3, 4):  # before, at and behind the last short step
        run, said = tmp_path / f"stopped{stop}", []
        first = train_toy(run, steps=STEPS, source=functools.partial(of_two_lengths, stop=stop))
        assert first.step == stop + 1
        train_toy(run, steps=STEPS, source=of_two_lengths, write=said.append)
        assert_same_bits(restore_params(run).params, restore_params(tmp_path / "whole").params)
        assert lines(run) == lines(tmp_path / "whole")
        assert sum(line.startswith("windows of") for line in said) == (stop < 3)
    assert step._cache_size() == 2


def test_what_it_takes_to_compile_for_another_length_is_no_part_of_the_speed(tmp_path):
    now, (_, step) = [0.0], parts(steps=STEPS, kind=OptimizerKind.MUON)

    def slow(state, batch):
        now[0] += 100.0 if int(state.step) in (0, 4) else 1.0  # seconds: both lengths are compiled
        return step(state, batch)

    result = train_toy(tmp_path / "run", steps=STEPS, source=of_two_lengths, step=slow, clock=lambda: now[0])
    assert result.tokens_per_second == 128.0


def test_the_metrics_read_as_if_nothing_had_happened(undisturbed, tmp_path):
    run = tmp_path / "run"
    train_toy(run, steps=STEPS, source=stopping_at(4))
    (folder_of(run) / "5").rename(tmp_path / "lost")  # back to step 3: two lines are ahead
    train_toy(run, steps=STEPS)
    assert lines(run) == lines(undisturbed[0])


def test_a_finished_run_says_so_and_computes_nothing(undisturbed):
    run, result = undisturbed
    said = []
    again = train_toy(run, steps=STEPS, source=None, step=pytest.fail, write=said.append)
    assert again == result
    assert said == [f"{run} is done: nothing is left to train"]


def test_killed_between_the_last_checkpoint_and_the_result(undisturbed, tmp_path):
    run = tmp_path / "run"
    result = train_toy(run, steps=STEPS)
    (run / "result.json").unlink()
    again = train_toy(run, steps=STEPS, step=pytest.fail)
    assert (again.step, again.tokens, again.evaluations) == (STEPS, 0, result.evaluations)
    assert again.metrics == result.metrics
    assert lines(run) == lines(undisturbed[0])


def test_who_watches_is_called_behind_every_evaluation(tmp_path):
    run, seen = tmp_path / "run", []
    result = train_toy(run, steps=STEPS, watch=lambda: seen.append(lines(run)[-1]["step"]), log_every_steps=3)
    assert seen == [4, 8]  # and finds the line on disk
    assert result.seconds["report"] >= 0


def test_a_missing_tensorboard_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    said = []
    train_toy(tmp_path / "run", steps=STEPS, tensorboard=True, write=said.append)
    assert said[0] == "run.tensorboard: tensorboardX is not installed here, so there will be no event files"


def test_the_first_step_is_timed_with_what_comes_before_it(tmp_path):
    run, shape = tmp_path / "run", {"optimizer": {"width": 11}}  # which no other test has compiled
    first = train_point(run, stop_at=4, **shape)
    assert first.first_step_seconds > first.compile_seconds > 0
    again = train_point(run, **shape)
    assert again.first_step_seconds > again.compile_seconds == 0


def test_other_settings_are_refused_before_anything_is_touched(undisturbed):
    run, _ = undisturbed
    with pytest.raises(RunMismatch, match="training.seed: 3 there, 4 here"):
        train_toy(run, steps=STEPS, identity={**IDENTITY, "training": {"seed": 4}})
    assert (run / "result.json").exists()


def test_another_corpus_is_taken_over_by_name_and_stays_taken_over(tmp_path):
    run = tmp_path / "run"
    train_toy(run, steps=STEPS, source=stopping_at(3))
    other = {**IDENTITY, "corpus": {"fingerprint": "c1"}}
    with pytest.raises(RunMismatch, match="corpus.fingerprint"):
        train_toy(run, steps=STEPS, identity=other)
    train_toy(run, steps=STEPS, identity=other, accept=["corpus"], source=stopping_at(4), checkpoint_every_steps=100)
    assert train_toy(run, steps=STEPS, identity=other).step == STEPS
    assert restore_params(run).identity == other


def test_a_run_that_somebody_trains_is_left_to_them(tmp_path):
    run = tmp_path / "run"
    open_run(run, IDENTITY)
    with locked(run), pytest.raises(RunBusy, match="another process"):
        train_toy(run, steps=STEPS)


def poisoned(position):
    """A step whose loss is not a number at one step."""
    _, step = parts(steps=STEPS)

    def poison(state, batch):
        bad = int(state.step) == position
        state, metrics = step(state, batch)
        return state, {**metrics, "loss": jnp.where(bad, jnp.nan, metrics["loss"])}

    return poison


@pytest.mark.parametrize(("position", "good"), [(4, 3), (5, 3), (7, 6)])
def test_a_step_that_is_not_finite_stops_the_run_and_is_not_saved(tmp_path, position, good):
    with pytest.raises(NonFiniteLoss, match=rf"step {position + 1} has loss nan .* checkpoint is of step {good}"):
        train_toy(tmp_path / "run", steps=STEPS, step=poisoned(position), log_every_steps=100, evaluators=[])
    assert steps_of(tmp_path / "run")[-1] == good


def test_evaluators_run_when_due_and_once_more_at_the_end(tmp_path):
    seen = []

    class Spy(Norm):
        def run(self, params):
            seen.append((self.every_steps, len(jax.tree.leaves(params))))
            return super().run(params)

    rare, last = Spy(3), Spy(0)
    last.name = "last"
    result = train_toy(tmp_path / "run", steps=STEPS, evaluators=[rare, last], log_every_steps=5)
    assert [every for every, _ in seen] == [3, 3, 3, 0]
    assert set(result.evaluations) == {"norm/bias", "last/bias"}
    rows = lines(tmp_path / "run")
    assert [(row["step"], "loss" in row) for row in rows] == [(3, False), (5, True), (6, False), (8, True)]


def test_the_best_checkpoint_is_kept_and_nan_is_never_the_best(tmp_path):
    values = iter([5.0, 1.0, float("nan"), 3.0])

    class Valley(Norm):
        def run(self, params):
            return {"bias": next(values)}

    run = tmp_path / "run"
    settings = {"best_metric": "norm/bias", "checkpoint_every_steps": 100, "keep_last": 1}
    train_toy(run, steps=STEPS, evaluators=[Valley(2)], **settings)
    assert steps_of(run) == [4, 8]
    assert restore_params(run, step="best").metrics == {"norm/bias": 1.0}


def test_a_best_metric_that_nobody_measures_is_refused(tmp_path):
    with pytest.raises(ValueError, match="evaluators are"):
        train_toy(tmp_path / "one", steps=STEPS, best_metric="held_out/bits")
    with pytest.raises(ValueError, match=r"norm gives \['norm/bias'\]"):
        train_toy(tmp_path / "two", steps=STEPS, best_metric="norm/bits")


def test_batches_that_end_early_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="ended before step 2"):
        train_toy(tmp_path / "run", steps=STEPS, source=lambda start: iter([batch_of(0), batch_of(1)]))


def test_the_source_is_closed_and_signals_are_given_back(tmp_path):
    closed = []

    def source(start):
        try:
            yield from batches(start)
        finally:
            closed.append(start)

    before = signal.getsignal(signal.SIGTERM)
    train_toy(tmp_path / "run", steps=STEPS, source=source)
    assert closed == [0]
    assert signal.getsignal(signal.SIGTERM) is before


def test_time_is_told_by_use_with_the_clock_that_was_given(tmp_path):
    now = [0.0]

    def clock():
        return now[0]

    def source(start):
        for batch in batches(start):
            now[0] += 2.0
            yield batch

    _, plain_step = parts(steps=STEPS)

    def step(state, batch):
        now[0] += 100.0 if int(state.step) == 0 else 6.0
        return plain_step(state, batch)

    result = train_toy(tmp_path / "run", steps=STEPS, source=source, step=step, clock=clock)
    assert result.seconds["input"] == 2.0 * STEPS
    assert result.seconds["compute"] == 100.0 + 6.0 * (STEPS - 1)
    assert result.tokens_per_second == 8 * 16 / 8.0  # the first step compiles and is left out

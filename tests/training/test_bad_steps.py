import json
import math

import jax
import pytest

from plantgfm.training.bad_steps import LossSpike, NonFiniteLoss
from plantgfm.training.checkpoint import restore_params, steps_of
from plantgfm.training.config import OnBadStep, TrainingConfig
from plantgfm.training.metrics import read_metrics

from .quadratic import batch_of, parts, train_point
from .toy import assert_same_bits

STEPS = 12
NAN = {7: math.nan}
SPIKE = {8: 30.0}
WARY = {"spike": 6.0, "window": 4}


def end_of(run):
    """Final parameters, losses by step, and what was done about bad steps."""
    rows = read_metrics(run / "metrics.jsonl")
    return restore_params(run).params, {row["step"]: row.get("loss") for row in rows}


def test_a_bad_step_stops_by_default(tmp_path):
    with pytest.raises(NonFiniteLoss, match=r"step 8 has loss nan .* checkpoint is of step 6\. .*run.on_bad_step SKIP"):
        train_point(tmp_path / "run", poison=NAN)
    assert steps_of(tmp_path / "run") == [3, 6]


def test_a_spike_stops_only_where_spikes_are_looked_for(tmp_path):
    assert train_point(tmp_path / "calm", poison=SPIKE).bad_steps == []
    with pytest.raises(LossSpike, match=r"step 9 has loss .* more than run.spike_deviations 6.0 above its mean"):
        train_point(tmp_path / "wary", poison=SPIKE, **WARY)
    assert steps_of(tmp_path / "wary") == [3, 6]


def test_what_comes_before_the_window_is_full_does_not_spike(tmp_path):
    assert train_point(tmp_path / "run", poison={2: 30.0}, spike=6.0, window=4).bad_steps == []


@pytest.mark.parametrize(("poison", "wary"), [(NAN, {}), (SPIKE, WARY)], ids=["not finite", "spike"])
def test_a_skipped_step_leaves_everything_as_it_was(poison, wary):
    (at,) = poison
    init, step = parts(STEPS, on_bad_step=OnBadStep.SKIP, **wary)
    state = init()
    for number in range(at):
        state, metrics = step(state, batch_of(number))
        assert int(metrics["verdict"]) == 0
    before = jax.device_get(state)
    state, metrics = step(state, batch_of(at, times=poison[at]))
    after = jax.device_get(state)
    assert int(metrics["verdict"]) > 0
    assert_same_bits((before.params, before.opt_state.inner), (after.params, after.opt_state.inner))
    assert (before.opt_state.mean, before.opt_state.variance) == (after.opt_state.mean, after.opt_state.variance)
    assert int(after.step) == at + 1 and int(after.opt_state.bad) == 1
    _, metrics = step(state, batch_of(at + 1))  # the schedule goes on where it was
    init, plain = parts(STEPS)
    fresh = init()
    _, there = plain(fresh._replace(step=fresh.step + at), batch_of(0))
    assert metrics["learning_rate"] == there["learning_rate"]


def test_a_skipped_step_is_told_counted_and_out_of_the_averages(tmp_path):
    said, run = [], tmp_path / "run"
    result = train_point(run, poison=NAN, on_bad_step=OnBadStep.SKIP, log_every_steps=4, write=said.append)
    assert result.bad_steps == [{"step": 8, "loss": None, "why": "NonFiniteLoss", "done": "skipped"}]
    assert [line for line in said if line.startswith("step 8 has loss nan") and line.endswith(": skipped")]
    assert all(loss is not None and math.isfinite(loss) for loss in end_of(run)[1].values())
    assert json.loads((run / "result.json").read_text())["bad_steps"] == result.bad_steps


def test_rolling_back_goes_on_behind_the_bad_step(tmp_path):
    run, seen, said = tmp_path / "run", [], []
    result = train_point(run, poison=NAN, on_bad_step=OnBadStep.ROLL_BACK, seen=seen, write=said.append)
    done = "rolled back to step 6, the data goes on behind it"
    assert result.bad_steps == [{"step": 8, "loss": None, "why": "NonFiniteLoss", "done": done}]
    assert any(line.endswith(done) for line in said)
    again = seen.index(8, seen.index(8) + 1) if seen.count(8) > 1 else seen.index(8)
    assert seen[again:] == [8, 9, 10, 11, 12, 13]  # steps 7 to 12, two batches ahead
    params, losses = end_of(run)
    assert list(losses) == list(range(1, STEPS + 1))
    # the very same steps by hand
    init, step = parts(STEPS)
    state = init()
    for number in [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13]:
        state, _ = step(state, batch_of(number))
    assert_same_bits(params, jax.device_get(state.params))


def test_rolling_back_without_a_checkpoint_starts_anew_and_twice_goes_further(tmp_path):
    seen, run = [], tmp_path / "run"
    poison = {1: math.nan, 3: math.nan}
    result = train_point(run, poison=poison, on_bad_step=OnBadStep.ROLL_BACK, seen=seen, checkpoint_every_steps=100)
    assert [(bad["step"], bad["done"].split(",")[0]) for bad in result.bad_steps] == [
        (2, "rolled back to step 0"),
        (2, "rolled back to step 0"),
    ]
    assert seen[-STEPS:] == list(range(4, 4 + STEPS))


@pytest.mark.parametrize("policy", [OnBadStep.SKIP, OnBadStep.ROLL_BACK])
@pytest.mark.parametrize("position", [5, 8, 10])
def test_stopped_around_a_bad_step_and_restarted_it_ends_the_same(tmp_path, policy, position):
    settings = {"poison": {**NAN, **{9: 30.0}}, "on_bad_step": policy, **WARY}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    wanted = train_point(whole, **settings)
    first = train_point(cut, stop_at=position, **settings)
    assert first.interrupted == "SIGTERM"
    second = train_point(cut, **settings)
    assert second.step == STEPS
    assert second.bad_steps == wanted.bad_steps and len(wanted.bad_steps) == 2
    assert_same_bits(restore_params(cut).params, restore_params(whole).params)
    assert end_of(cut)[1] == end_of(whole)[1]


def test_rolling_back_passes_over_what_signals_saved_and_deletes_it(tmp_path):
    settings = {"poison": {9: math.nan}, "on_bad_step": OnBadStep.ROLL_BACK, "checkpoint_every_steps": 5}
    wanted, run = train_point(tmp_path / "whole", **settings), tmp_path / "cut"
    for position in (6, 7, 8):
        train_point(run, stop_at=position, **settings)
    assert steps_of(run) == [5, 8, 9]  # the last two, and the last regular one
    again = train_point(run, **settings)
    assert again.bad_steps == wanted.bad_steps and "rolled back to step 5" in wanted.bad_steps[0]["done"]
    assert steps_of(run) == [10, 12]
    assert_same_bits(restore_params(run).params, restore_params(tmp_path / "whole").params)


@pytest.mark.parametrize("policy", [OnBadStep.SKIP, OnBadStep.ROLL_BACK])
def test_too_many_bad_steps_stop_the_run(tmp_path, policy):
    poison = dict.fromkeys(range(5, 40), math.nan)
    with pytest.raises(NonFiniteLoss, match="run.max_bad_steps 3 are used up"):
        train_point(tmp_path / "run", poison=poison, on_bad_step=policy, max_bad_steps=3)


def test_settings_that_cannot_be_meant_are_refused():
    for name, value in {"spike_deviations": -1.0, "spike_window_steps": 0, "max_bad_steps": 0}.items():
        with pytest.raises(ValueError, match=f"{name} is {value}"):
            TrainingConfig(**{name: value})

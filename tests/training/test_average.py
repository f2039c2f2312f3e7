import jax
import numpy as np
import pytest

from plantgfm.training.checkpoint import folder_of, restore_params
from plantgfm.training.config import OnBadStep, OptimizerConfig
from plantgfm.training.run_folder import RunMismatch

from .quadratic import batch_of, parts, train_point
from .toy import assert_same_bits

DECAY = {"optimizer": {"average_decay": 0.8}}
STEPS = 12


class Spy:
    """An evaluator that keeps what it was given."""

    name, every_steps = "spy", 0

    def run(self, params):
        self.seen = jax.device_get(params)
        return {}


def test_the_average_forgets_quickly_at_first_and_then_at_its_decay():
    init, step = parts(STEPS, average_decay=0.8)
    state = init()
    average = np.asarray(state.params["kernel"])
    for number in range(STEPS):
        state, _ = step(state, batch_of(number))
        share = 1 - min(0.8, (1 + number) / (10 + number))
        average = average + np.float32(share) * (np.asarray(state.params["kernel"]) - average)
        np.testing.assert_allclose(state.average["kernel"], average, rtol=1e-5)
    assert not np.allclose(average, state.params["kernel"])


def test_the_average_changes_no_parameter_and_is_what_is_evaluated_and_exported(tmp_path):
    spy = Spy()
    train_point(tmp_path / "averaged", evaluators=[spy], **DECAY)
    train_point(tmp_path / "plain")
    served = restore_params(tmp_path / "averaged").params
    assert_same_bits(served, spy.seen)
    init, step = parts(STEPS, average_decay=0.8)
    state = init()
    for number in range(STEPS):
        state, _ = step(state, batch_of(number))
    assert_same_bits(served, jax.device_get(state.average))
    assert_same_bits(restore_params(tmp_path / "plain").params, jax.device_get(state.params))


@pytest.mark.parametrize("position", [4, 7])
def test_stopped_and_restarted_the_average_is_the_same_bits(tmp_path, position):
    settings = {**DECAY, "on_bad_step": OnBadStep.SKIP, "poison": {6: float("nan")}}
    train_point(tmp_path / "whole", **settings)
    assert train_point(tmp_path / "cut", stop_at=position, **settings).interrupted
    train_point(tmp_path / "cut", **settings)
    assert_same_bits(restore_params(tmp_path / "cut").params, restore_params(tmp_path / "whole").params)


def test_a_damaged_average_falls_back_and_one_that_is_not_there_is_refused(tmp_path):
    run, wide = tmp_path / "run", {"optimizer": {"average_decay": 0.8, "width": 20_000}}
    train_point(run, stop_at=7, **wide)
    with pytest.raises(RunMismatch, match="another optimizer.average_decay"):
        train_point(run)
    files = (path for path in (folder_of(run) / "8" / "average").rglob("*") if path.is_file())
    max(files, key=lambda path: path.stat().st_size).unlink()
    with pytest.warns(RuntimeWarning, match="falling back"):
        assert train_point(run, **wide).resumed_from == 6


def test_settings_that_cannot_be_meant_are_refused():
    with pytest.raises(ValueError, match="average_decay is 1"):
        OptimizerConfig(average_decay=1.0)
    with pytest.raises(ValueError, match="never_decay"):
        OptimizerConfig(never_decay=[""])

import shutil
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from plantgfm.training import checkpoint
from plantgfm.training.checkpoint import (
    Checkpoints,
    DamagedCheckpoint,
    best_step,
    folder_of,
    restore_params,
    steps_of,
)
from plantgfm.training.config import OptimizerConfig, OptimizerKind
from plantgfm.training.optimizer import build_optimizer
from plantgfm.training.run_folder import RunMismatch, open_run
from plantgfm.training.state import abstract_state, state_init
from tests.damage import cut, flip

from .toy import assert_same_bits

IDENTITY = {"model": {"width": 6}, "corpus": {"fingerprint": "aa"}}
OPTIMIZER = build_optimizer(OptimizerConfig(warmup_steps=1), 100)


def init_params(key):
    return {"a": {"w": jax.random.normal(key, (64, 48)), "half": jnp.ones(7, jnp.bfloat16)}, "empty": {}}


INIT = state_init(init_params, OPTIMIZER, seed=0)


def state_at(step):
    """A state whose every array depends on the step."""
    state = INIT()
    moved = jax.tree.map(lambda x: x + jnp.asarray(step, x.dtype), state)
    return moved._replace(step=jnp.int32(step))


def save(run, steps, *, metrics=None, **settings):
    checkpoints = Checkpoints(run, **{"keep_last": 2, **settings})
    for step in steps:
        checkpoints.save(state_at(step), identity=IDENTITY, metrics=(metrics or {}).get(step, {}))
    checkpoints.wait()
    checkpoints.close()


def restore(run, *, identity=None, sharding=None):
    checkpoints = Checkpoints(run, keep_last=2)
    restored = checkpoints.restore(abstract_state(INIT, sharding=sharding), identity=identity or IDENTITY)
    checkpoints.close()
    return restored


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    run = tmp_path_factory.mktemp("saved")
    save(run, [3, 5])
    return run


@pytest.fixture
def run(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "run")


def largest_file(run, step, item):
    files = [path for path in (folder_of(run) / str(step) / item).rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


def test_a_state_comes_back_bit_for_bit_with_position_and_identity(saved):
    restored = restore(saved)
    assert restored.step == 5
    assert restored.identity == IDENTITY
    assert_same_bits(restored.state, state_at(5))
    assert jax.tree.structure(restored.state) == jax.tree.structure(state_at(5))


def test_an_empty_run_has_nothing_to_restore(tmp_path):
    assert restore(tmp_path) is None
    with pytest.raises(ValueError, match="holds no checkpoint"):
        restore_params(tmp_path)


def test_arrays_are_copied_before_a_step_takes_them_over(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep_last=1)
    state = state_at(1)
    wanted = jax.tree.map(np.array, state)
    checkpoints.save(state, identity=IDENTITY, metrics={})
    spoil = jax.jit(lambda state: jax.tree.map(lambda x: x * 0 - 9, state), donate_argnums=0)
    jax.block_until_ready(spoil(state))
    checkpoints.wait()
    checkpoints.close()
    assert_same_bits(restore(tmp_path).state, wanted)


def test_the_last_and_the_best_are_kept_also_over_a_restart(tmp_path):
    values = {step: {"held_out/bits": abs(step - 2.0)} for step in (1, 2, 3, 5, 6)}
    save(tmp_path, [1, 2, 3, 4], metrics=values, best_metric="held_out/bits")
    save(tmp_path, [5, 6], metrics=values, best_metric="held_out/bits")
    assert steps_of(tmp_path) == [2, 5, 6]
    assert best_step(tmp_path) == 2
    best = restore_params(tmp_path, step="best")
    assert best.step == 2 and best.metrics == {"held_out/bits": 0.0}


def test_the_best_can_be_the_highest(tmp_path):
    values = {step: {"a/b": float(step % 4)} for step in range(1, 7)}
    save(tmp_path, range(1, 7), metrics=values, best_metric="a/b", best_is_lowest=False, keep_last=1)
    assert steps_of(tmp_path) == [3, 6]
    assert best_step(tmp_path) == 3


def test_a_step_that_is_on_disk_is_left_alone(run):
    before = (folder_of(run) / "5" / "position" / "metadata").read_bytes()
    checkpoints = Checkpoints(run, keep_last=2)
    checkpoints.save(state_at(5), identity={"other": 1}, metrics={})
    checkpoints.close()
    assert (folder_of(run) / "5" / "position" / "metadata").read_bytes() == before


def test_parameters_come_back_without_model_and_optimizer(saved):
    for step, wanted in ((None, 5), (3, 3)):
        restored = restore_params(saved, step=step)
        assert restored.step == wanted and restored.state.opt_state is None
        assert_same_bits(restored.params, state_at(wanted).params)
        assert restored.params["empty"] == {}


def test_a_step_that_is_not_there_is_named_with_those_that_are(saved):
    with pytest.raises(ValueError, match=r"no checkpoint of step 4; there are \[3, 5\]"):
        restore_params(saved, step=4)
    with pytest.raises(ValueError, match="best metric"):
        restore_params(saved, step="best")


# Orbax leaves reading tasks behind when one of them fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("damage", [cut, flip, lambda path: path.unlink()])
@pytest.mark.parametrize("item", ["params", "opt_state", "position"])
def test_a_damaged_newest_falls_back_to_the_one_before(run, damage, item):
    damage(largest_file(run, 5, item))
    with pytest.warns(RuntimeWarning, match="falling back"):
        restored = restore(run)
    assert restored.step == 3
    assert_same_bits(restored.state, state_at(3))
    assert steps_of(run) == [3]
    assert (run / "damaged_checkpoints" / "5").is_dir()
    save(run, [5])  # its step is free again
    assert restore(run).step == 5


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")
def test_a_run_whose_checkpoints_are_all_damaged_does_not_start_anew(run):
    for step in (3, 5):
        flip(largest_file(run, step, "params"))
    with pytest.raises(DamagedCheckpoint, match=r"none of the checkpoints \[3, 5\]"):
        restore(run)
    assert steps_of(run) == [3, 5]
    with pytest.raises(DamagedCheckpoint, match="checksums differ"):
        restore_params(run, step=5)


def test_what_a_kill_left_half_written_is_ignored_and_cleared(run):
    torn = folder_of(run) / "7.orbax-checkpoint-tmp"
    shutil.copytree(folder_of(run) / "5", torn)
    assert restore_params(run).step == 5
    assert restore(run).step == 5
    save(run, [7])
    assert restore_params(run).step == 7
    assert not torn.exists()


def test_a_state_of_another_optimizer_is_refused_and_not_called_damaged(run):
    config = OptimizerConfig(OptimizerKind.MUON, warmup_steps=0)
    muon = state_init(init_params, build_optimizer(config, 10), seed=0)
    checkpoints = Checkpoints(run, keep_last=2)
    with pytest.raises(RunMismatch, match="the state of another optimizer"):
        checkpoints.restore(abstract_state(muon), identity=IDENTITY)
    checkpoints.close()


def test_parameters_of_another_model_are_refused_and_not_called_damaged(run):
    def with_one_more(key):
        return {**init_params(key), "copy_bias": jnp.zeros(())}

    other = state_init(with_one_more, OPTIMIZER, seed=0)
    checkpoints = Checkpoints(run, keep_last=2)
    with pytest.raises(RunMismatch, match="the parameters of another model, or of another version"):
        checkpoints.restore(abstract_state(other), identity=IDENTITY)
    checkpoints.close()
    assert steps_of(run) == [3, 5]  # nothing was set aside


def test_a_checkpoint_of_other_settings_is_refused_unless_the_run_had_them(run):
    other = {**IDENTITY, "corpus": {"fingerprint": "bb"}}
    with pytest.raises(RunMismatch, match="corpus.fingerprint"):
        restore(run, identity=other)
    claimed = run.parent / "claimed"
    open_run(claimed, IDENTITY)
    shutil.copytree(folder_of(run), folder_of(claimed))
    open_run(claimed, other, accept=["corpus"])
    assert restore(claimed, identity=other).step == 5


def test_a_state_comes_back_on_another_mesh(saved):
    mesh = Mesh(np.array(jax.devices()), ("data",))
    restored = restore(saved, sharding=NamedSharding(mesh, PartitionSpec()))
    assert_same_bits(restored.state, state_at(5))
    assert len(restored.params["a"]["w"].devices()) == 8
    rows = jax.tree.map(lambda x: NamedSharding(mesh, PartitionSpec("data" if x.ndim == 2 else None)), state_at(0))
    rows = jax.tree.map(lambda x, s: s if x.ndim else NamedSharding(mesh, PartitionSpec()), state_at(0), rows)
    restored = restore(saved, sharding=rows)
    assert_same_bits(restored.state, state_at(5))
    assert restored.params["a"]["w"].addressable_shards[0].data.shape == (8, 48)


def test_no_thread_is_left_behind(tmp_path):
    save(tmp_path, [1])
    before = threading.active_count()
    for step in (2, 3, 4):
        save(tmp_path, [step])
    assert threading.active_count() <= before + 1


def test_of_several_processes_the_first_alone_deletes_what_is_rolled_back(run, monkeypatch):
    met = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(checkpoint.multihost_utils, "sync_global_devices", lambda name: met.append(steps_of(run)))
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    checkpoint._delete_behind(run, 3)
    monkeypatch.setattr(jax, "process_index", lambda: 0)
    checkpoint._delete_behind(run, 3)
    assert met == [[3, 5], [3]]  # all wait until they are gone

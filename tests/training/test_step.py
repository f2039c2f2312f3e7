import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from plantgfm.partition import batch_sharding, drawn_rows, make_mesh, total
from plantgfm.training.config import OptimizerConfig, Schedule
from plantgfm.training.optimizer import build_optimizer
from plantgfm.training.state import TrainState, abstract_state, state_init
from plantgfm.training.step import block_names, make_step

from .toy import assert_same_bits, batch_of, leaves, parts

LINE = build_optimizer(
    OptimizerConfig(peak_learning_rate=0.01, warmup_steps=2, schedule=Schedule.CONSTANT, clip_norm=0.0), 10
)


def line_loss(params, batch, key):
    """A linear model of the tokens; tells the draw of its key and its count."""
    x = batch.tokens.astype(jnp.float32) / 40
    error = x @ params["w"] - batch.distance_bp.astype(jnp.float32) / 1000
    return jnp.mean(error**2), {"draw": jax.random.uniform(key), "windows": jnp.float32(batch.tokens.shape[0])}


INIT = state_init(lambda key: {"w": jax.random.normal(key, (16,))}, LINE, seed=1)


def run(step, *, steps=3, state=None):
    state, rows = state or INIT(), []
    for n in range(steps):
        state, metrics = step(state, batch_of(n))
        rows.append(jax.device_get(metrics))
    return state, rows


def test_a_step_counts_and_reports():
    state, rows = run(make_step(line_loss, LINE, seed=1))
    assert int(state.step) == 3
    assert [round(float(row["learning_rate"]), 6) for row in rows] == [0.005, 0.01, 0.01]
    assert set(rows[0]) == {"loss", "gradient_norm", "block_gradient_norms", "learning_rate", "draw", "windows"}


def test_gradient_norms_by_block_make_up_that_of_all():
    scales = (3.0, 4.0, 12.0, 5.0, 2.0)

    def loss_fn(params, batch, key):
        return sum(jnp.sum(leaf * scale) for leaf, scale in zip(jax.tree.leaves(params), scales)), {}

    tree = {"heads": {"bias": 0, "kernel": 0}, "layers": {"0": {"attn": 0}, "1": {"mlp": 0}}, "table": 0}
    ones = jax.tree.map(lambda _: jnp.ones(4), tree)
    assert block_names(ones) == ["heads", "layers/0", "layers/1", "table"]
    step = make_step(loss_fn, LINE, seed=1)
    _, metrics = step(state_init(lambda key: jax.tree.map(jnp.array, ones), LINE, seed=1)(), batch_of(0))
    np.testing.assert_allclose(metrics["block_gradient_norms"], [10.0, 24.0, 10.0, 4.0], rtol=1e-6)
    np.testing.assert_allclose(metrics["gradient_norm"], np.linalg.norm([10.0, 24.0, 10.0, 4.0]), rtol=1e-6)


def test_randomness_is_derived_from_seed_and_step():
    _, rows = run(make_step(line_loss, LINE, seed=1))
    _, again = run(make_step(line_loss, LINE, seed=1))
    _, other = run(make_step(line_loss, LINE, seed=2))
    draws = [[float(row["draw"]) for row in each] for each in (rows, again, other)]
    assert draws[0] == draws[1]
    assert len({*draws[0], *draws[2]}) == 6
    third, _ = run(make_step(line_loss, LINE, seed=1), steps=2)
    _, metrics = make_step(line_loss, LINE, seed=1)(third, batch_of(2))
    assert float(metrics["draw"]) == draws[0][2]


def test_the_state_is_used_up():
    state = INIT()
    make_step(line_loss, LINE, seed=1)(state, batch_of(0))
    assert state.params["w"].is_deleted()


def test_micro_batches_give_the_gradient_of_the_whole_batch():
    whole, rows = run(make_step(line_loss, LINE, seed=1))
    for micro_batches in (2, 4):
        cut, cut_rows = run(make_step(line_loss, LINE, seed=1, micro_batches=micro_batches))
        np.testing.assert_allclose(cut.params["w"], whole.params["w"], atol=1e-5)
        for row, cut_row in zip(rows, cut_rows):
            assert cut_row["windows"] == row["windows"]
            np.testing.assert_allclose(cut_row["loss"], row["loss"], atol=1e-5)
            np.testing.assert_allclose(cut_row["gradient_norm"], row["gradient_norm"], atol=1e-5)


def test_micro_batches_draw_apart_and_keep_all_species():
    def loss_fn(params, batch, key):
        seen = jnp.zeros(8).at[batch.species].add(1.0)
        return jnp.sum(params["w"] ** 2), {"square": jax.random.uniform(key) ** 2, "seen": seen}

    _, (metrics,) = run(make_step(loss_fn, LINE, seed=1, micro_batches=4), steps=1)
    assert list(metrics["seen"]) == [1.0] * 8  # every window of the step, each once
    _, (single,) = run(make_step(loss_fn, LINE, seed=1, micro_batches=1), steps=1)
    assert not np.isclose(metrics["square"], 4 * single["square"])


def test_windows_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="8 windows a step do not divide into 3 micro batches"):
        run(make_step(line_loss, LINE, seed=1, micro_batches=3))


def test_the_real_loss_goes_down_and_repeats_bit_for_bit():
    init, step = parts(steps=8)
    first, rows = run(step, steps=8, state=init())
    assert np.mean([row["loss"] for row in rows[-3:]]) < np.mean([row["loss"] for row in rows[:3]])
    again, _ = run(step, steps=8, state=init())
    assert_same_bits(first, again)


@functools.cache
def mesh():
    return Mesh(np.array(jax.devices()), ("data",))


def test_a_step_on_eight_devices_equals_the_step_on_one():
    everywhere, rows = NamedSharding(mesh(), PartitionSpec()), NamedSharding(mesh(), PartitionSpec("data"))
    spread = make_step(line_loss, LINE, seed=1, state_sharding=everywhere, batch_sharding=rows)
    init = state_init(lambda key: {"w": jax.random.normal(key, (16,))}, LINE, seed=1, sharding=everywhere)
    one, one_rows = run(make_step(line_loss, LINE, seed=1))
    eight, eight_rows = run(spread, state=init())
    assert len(eight.params["w"].devices()) == 8
    for path, leaf in leaves(one).items():
        np.testing.assert_allclose(leaves(eight)[path], leaf, atol=1e-5)
    np.testing.assert_allclose(eight_rows[-1]["loss"], one_rows[-1]["loss"], atol=1e-5)


def noisy_sum_loss(params, batch, key):
    """A loss whose parts add up, with noise drawn for every window."""
    rows = batch.tokens.astype(jnp.float32)
    noise = drawn_rows(lambda shape: jax.random.normal(key, shape), rows.shape)
    error = (rows / 40 + 0.1 * noise) @ params["w"] - batch.distance_bp.astype(jnp.float32) / 1000
    count = jnp.sum(batch.distance_bp >= 0).astype(jnp.float32)
    return jnp.sum(error**2) / total(count), {"windows": count}


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_devices_that_add_up_their_parts_equal_one(micro_batches):
    on = make_mesh(data=4)
    everywhere = NamedSharding(on, PartitionSpec())
    settings = {"seed": 1, "micro_batches": micro_batches, "adds_up": True}
    spread = make_step(noisy_sum_loss, LINE, state_sharding=everywhere, batch_sharding=batch_sharding(on), **settings)
    init = state_init(lambda key: {"w": jax.random.normal(key, (16,))}, LINE, seed=1, sharding=everywhere)
    one, one_rows = run(make_step(noisy_sum_loss, LINE, **settings))
    four, four_rows = run(spread, state=init())
    np.testing.assert_allclose(four.params["w"], one.params["w"], atol=1e-5)
    for name in ("loss", "windows", "gradient_norm"):
        np.testing.assert_allclose([row[name] for row in four_rows], [row[name] for row in one_rows], rtol=1e-5)


def test_the_abstract_state_is_the_state_without_its_numbers():
    abstract, state = abstract_state(INIT), INIT()
    assert isinstance(abstract, TrainState)
    assert jax.tree.structure(abstract) == jax.tree.structure(state)
    for shape, array in zip(jax.tree.leaves(abstract), jax.tree.leaves(state)):
        assert (shape.shape, shape.dtype, shape.sharding) == (array.shape, array.dtype, array.sharding)

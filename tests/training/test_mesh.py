"""A step on a mesh: the losses of one device, parameters that stay split, a checkpoint that goes from mesh to mesh."""

import functools
import math
import re

import jax
import numpy as np
import pytest

from plantgfm.model.build import build
from plantgfm.model.config import AttentionKind, ModelConfig
from plantgfm.objectives import joint
from plantgfm.objectives.config import ObjectiveConfig
from plantgfm.partition import batch_sharding, make_mesh, state_shardings
from plantgfm.training.checkpoint import Checkpoints
from plantgfm.training.config import OptimizerConfig
from plantgfm.training.optimizer import build_optimizer
from plantgfm.training.state import abstract_state, state_init
from plantgfm.training.step import make_step

from .toy import SPECIES, VOCABULARY_SIZE, assert_same_bits, batch_of, leaves

LAYOUTS = [{"fsdp": 8}, {"data": 8}, {"data": 4, "tensor": 2}, {"data": 2, "fsdp": 2, "tensor": 2}]
BY_WINDOW = {"data": 4, "tensor": 2}  # computes attention window by window, the others whole, as one device does
STEPS = 4
OBJECTIVE = ObjectiveConfig(z_loss_weight=1e-2, nucleotide_weight=0.5)  # every part that divides by a count of windows
_NUMBERS = np.arange(VOCABULARY_SIZE, dtype=np.int32)[:, None]
TOKEN_BASES = np.where(_NUMBERS < 6, -1, _NUMBERS // 4 ** np.arange(3, dtype=np.int32) % 4).astype(np.int32)


# How a program is split over devices does not depend on it.
pytestmark = pytest.mark.usefixtures("quick_compilation")


@functools.cache
def parts(**layout):
    """Initialiser, compiled step and shardings of the state on a mesh; on one device without a layout."""
    features = np.random.default_rng(1).normal(size=(VOCABULARY_SIZE, 12)).astype(np.float32)
    attention = AttentionKind.BY_WINDOW if layout == BY_WINDOW else AttentionKind.XLA
    config = ModelConfig(d_model=16, n_layers=1, n_heads=2, d_ff=16, max_tokens=16, attention=attention)
    network = build(config, VOCABULARY_SIZE, features=features)
    optimizer = build_optimizer(OptimizerConfig(peak_learning_rate=1e-2, warmup_steps=3), STEPS)

    def loss_fn(params, batch, key):
        return joint.loss(network, params, batch, key, OBJECTIVE, n_species=len(SPECIES), token_bases=TOKEN_BASES)

    make_init = functools.partial(state_init, network.init, optimizer, seed=3)
    placed, on = None, {}
    if layout:
        mesh = make_mesh(**layout)
        placed = state_shardings(mesh, jax.eval_shape(make_init()))
        on = {"state_sharding": placed, "batch_sharding": batch_sharding(mesh)}
    init = make_init(sharding=placed)
    step = make_step(loss_fn, optimizer, seed=3, adds_up=True, **on)
    return init, step.lower(abstract_state(init, sharding=placed), batch_of(0)).compile(), placed


@functools.cache
def trained(**layout):
    """Parameters on the host, losses and last metrics of a few steps, and the last state."""
    init, step, _ = parts(**layout)
    state, losses = init(), []
    for number in range(STEPS):
        batch = batch_of(number)
        if layout:
            batch = jax.device_put(batch, batch_sharding(make_mesh(**layout)))
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    return state, losses, metrics


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_every_layout_has_the_losses_of_one_device(layout):
    alone, expected, _ = trained()
    state, losses, metrics = trained(**layout)
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-5)
    kernel = state.params["layers"]["0"]["mlp"]["Wi"]["kernel"]
    split = layout.get("fsdp", 1) * layout.get("tensor", 1)
    assert kernel.addressable_shards[0].data.size * split == kernel.size
    assert all(value.sharding.is_fully_replicated for value in metrics.values())
    for path, leaf in leaves(alone.params).items():
        np.testing.assert_allclose(leaves(state.params)[path], leaf, atol=1e-4, err_msg=path)


def test_copies_exchange_what_losses_divide_by_and_then_all_gradients_at_once():
    program = parts(data=8)[1].as_text()
    exchanged = re.findall(r"= (.*?) all-reduce(?:-start)?\(", program)
    values = [
        sum(math.prod(map(int, dims.split(","))) for dims in re.findall(r"\[([\d,]+)\]", one)) for one in exchanged
    ]
    params = jax.eval_shape(parts()[0]).params
    whole = sum(leaf.size for leaf in jax.tree.leaves(params))
    # Weights of slots and windows, which are scalars; every parameter once, and the sums that are reported.
    assert sorted(values)[:-1] == [0] * (len(values) - 1) and len(values) <= 3
    assert whole < max(values) < whole + 64


def gathered(program: str) -> list[int]:
    """Values that each all-gather of a compiled program gives, all its results together."""
    found = re.findall(r"= (.*?) all-gather(?:-start)?\(", program)
    return [sum(math.prod(map(int, dims.split(","))) for dims in re.findall(r"\w+\[([\d,]+)\]", one)) for one in found]


def test_a_split_step_never_gathers_all_parameters_at_once():
    init, step, _ = parts(fsdp=8)
    sizes = [leaf.size for leaf in jax.tree.leaves(jax.eval_shape(init).params)]
    found = gathered(step.as_text())
    # Each one a single parameter at most; with activations of this size, none is anything else.
    assert found and max(found) <= max(sizes) < sum(sizes) / 2
    # Selections and scatters of windows stay where the windows are.
    assert not re.search(r"all-gather(-start)?\(.*(top_k|scatter)", step.as_text())
    state = step.input_shardings[0][0]
    held = sum(
        math.prod(sharding.shard_shape(leaf.shape))
        for leaf, sharding in zip(jax.tree.leaves(jax.eval_shape(init).params), jax.tree.leaves(state.params))
    )
    assert held < sum(sizes) / 4  # norms and biases are whole everywhere


def test_arrays_are_born_split():
    init, _, placed = parts(fsdp=8)
    program = init.lower().compile()
    assert jax.tree.leaves(program.output_shardings) == jax.tree.leaves(placed)
    table = placed.params["embeddings"]["table"]
    assert table.shard_shape((64, 16)) == (8, 16)


def test_a_checkpoint_goes_on_on_another_mesh(tmp_path):
    state, _, _ = trained(fsdp=8)
    kept = Checkpoints(tmp_path, keep_last=1)
    kept.save(state, identity={}, metrics={})
    kept.wait()
    for layout in ({"data": 2, "fsdp": 2, "tensor": 2}, {}):
        init, step, placed = parts(**layout)
        restored = kept.restore(abstract_state(init, sharding=placed), identity={}).state
        assert_same_bits(restored, state)
        kernel = restored.params["layers"]["0"]["mlp"]["Wi"]["kernel"]
        assert kernel.sharding.num_devices == (8 if layout else 1)
        batch = batch_of(STEPS)
        if layout:
            batch = jax.device_put(batch, batch_sharding(make_mesh(**layout)))
        _, metrics = step(restored, batch)
        assert np.isfinite(metrics["loss"])
    kept.close()

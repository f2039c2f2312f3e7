"""Layers scanned or unrolled, kept or computed again: the same states, losses and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.model.build import build
from plantgfm.model.config import ComputeType, Layers, ModelConfig, Remat, Size, model_size
from plantgfm.model.depth import group_of
from tests.conftest import composed
from tests.fixtures import QUICK, fresh

V = 90


def network(**settings):
    return build(ModelConfig(**{"d_model": 16, "n_layers": 6, "n_heads": 2, "d_ff": 24, **settings}), V)


def tokens(length=24):
    found = np.random.default_rng(0).integers(5, V, (2, length)).astype(np.int32)
    found[:, 0], found[0, 18:] = 1, 0
    return jnp.asarray(found)


def loss_of(net, *, ends):
    weight = jnp.asarray(np.random.default_rng(1).normal(size=(2, 24, 16)), jnp.float32) * (tokens() != 0)[..., None]

    def loss(params):
        states = net.states(params, tokens(), ends=ends)
        return jnp.sum(states[-1] * weight), states

    return loss


@pytest.mark.parametrize(
    ("width", "n_layers", "remat"),
    [(0, 3, Remat.FULL), (4, 8, Remat.NONE)],  # a loop over two layers; over two groups of three, and one behind it
)
def test_scanned_layers_equal_unrolled_ones_in_states_loss_and_gradients(width, n_layers, remat):
    shape = {"local_attention": width, "n_layers": n_layers}
    net, other = network(**shape), network(**shape, layers=Layers.SCANNED, remat=remat)
    # Far enough from their start that every layer does something.
    params = jax.tree.map(lambda leaf: leaf * 5 if leaf.ndim == 2 else leaf, fresh(net))
    (loss, states), gradient = jax.jit(
        jax.value_and_grad(loss_of(net, ends=False), has_aux=True), compiler_options=QUICK
    )(params)
    ends = remat is Remat.FULL
    scanned = jax.jit(jax.value_and_grad(loss_of(other, ends=ends), has_aux=True), compiler_options=QUICK)(params)
    np.testing.assert_allclose(scanned[0][0], loss, rtol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), scanned[1], gradient)
    np.testing.assert_allclose(scanned[0][1], [states[0], states[-1]] if ends else states, rtol=0, atol=1e-4)
    assert len(states) == n_layers + 1


def program(**settings):
    net = network(**{"n_layers": 7, **settings})
    shapes = net.shapes
    return jax.jit(jax.grad(loss_of(net, ends=True), has_aux=True)).lower(shapes)


def test_a_scanned_program_does_not_grow_with_the_layers():
    unrolled, scanned, sliding = (
        program(layers=layers, local_attention=width, n_layers=13).as_text().count("stablehlo.dot_general")
        for layers, width in ((Layers.UNROLLED, 0), (Layers.SCANNED, 0), (Layers.SCANNED, 4))
    )
    assert scanned * 6 < unrolled  # layer 0, and one layer of the loop
    assert scanned < sliding < 0.5 * unrolled  # layer 0, and a group of three


def test_what_is_computed_again_costs_arithmetic_and_spares_memory():
    flops, memory = {}, {}
    for remat in Remat:
        flops[remat] = program(layers=Layers.UNROLLED, remat=remat, n_layers=2).cost_analysis()["flops"]
        compiled = program(layers=Layers.SCANNED, remat=remat).compile(compiler_options=QUICK)
        memory[remat] = compiled.memory_analysis().temp_size_in_bytes
    assert flops[Remat.NONE] < flops[Remat.DOTS] < flops[Remat.FULL]
    assert memory[Remat.NONE] > memory[Remat.DOTS] > memory[Remat.FULL]


def test_products_in_bfloat16_are_stacked_in_bfloat16_and_norms_are_not():
    net = network(layers=Layers.SCANNED, compute_type=ComputeType.BFLOAT16)
    text = jax.jit(net.states).lower(net.shapes, tokens()).as_text()
    assert "tensor<5x16x48xbf16>" in text and "tensor<5x16x48xf32>" not in text
    assert "tensor<5x16xf32>" in text


def test_processors_unroll_and_other_devices_scan_unless_told():
    assert group_of(Layers.AUTO, sliding=False, platform="cpu") == 0
    assert group_of(Layers.AUTO, sliding=False, platform="cuda") == 1
    assert group_of(Layers.AUTO, sliding=True, platform="tpu") == 3
    assert group_of(Layers.SCANNED, sliding=True, platform="cpu") == 3
    assert group_of(Layers.UNROLLED, sliding=True, platform="cuda") == 0


def test_each_named_size_has_its_policy_in_its_file_too():
    for size in Size:
        assert composed(f"model={size.value}").model.remat is model_size(size).remat
    assert model_size(Size.ONE_B).remat is Remat.DOTS and model_size(Size.BASE).remat is Remat.NONE
    assert composed("model.remat=FULL", "model.layers=SCANNED").model.layers is Layers.SCANNED

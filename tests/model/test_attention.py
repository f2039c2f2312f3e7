from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.model import encoder, ways
from plantgfm.model.attention import Pattern, attend, position_scores, rotate
from plantgfm.model.blocked import attend_by_window
from plantgfm.model.build import build
from plantgfm.model.config import AttentionKind, ComputeType, ModelConfig
from plantgfm.model.fused import attend_fused
from plantgfm.model.local import attend_locally
from plantgfm.model.ways import Device
from tests.fixtures import QUICK

PATTERNS = [
    Pattern(n_heads=2, theta=1e4),
    Pattern(n_heads=2, theta=1e4, reach=3),
    Pattern(n_heads=2, theta=1e4, causal=True),
    Pattern(n_heads=2, theta=1e4, reach=3, causal=True),
]


def case(batch=3, length=12, width=16):
    rng = np.random.default_rng(0)
    visible = np.ones((batch, length), bool)
    visible[0, 9:] = False
    return (
        jnp.asarray(rng.normal(size=(batch, length, 3 * width)), jnp.float32),
        jnp.asarray(visible),
        jnp.asarray(rng.normal(size=(batch, length, width)) * visible[..., None], jnp.float32),
    )


@cache
def with_gradient(way, pattern):
    """Gives what a way of attention gives, and the gradient of its sum by weight: of qkv, visible and weight."""

    def both(qkv, visible, weight):
        found, back = jax.vjp(lambda x: way(x, visible, pattern), qkv)
        return found, back(weight)[0]

    return jax.jit(both, compiler_options=QUICK)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_by_window_equals_whole_with_its_gradient(pattern):
    whole, back = with_gradient(attend, pattern)(*case())
    parts, back_parts = with_gradient(attend_by_window, pattern)(*case())
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-5)
    np.testing.assert_allclose(back_parts, back, rtol=0, atol=1e-5)


def test_hidden_keys_change_nothing_and_get_no_gradient():
    qkv, visible, weight = case()
    for way in (attend, attend_by_window):
        function = with_gradient(way, PATTERNS[0])
        found, gradient = function(qkv, visible, weight)
        changed, _ = function(qkv.at[0, 9:, 16:].add(5.0), visible, weight)
        np.testing.assert_array_equal(found[0, :9], changed[0, :9])
        assert not np.any(gradient[0, 9:, 16:])


def test_a_window_without_any_token_gives_finite_gradients():
    qkv, visible, weight = case()
    _, gradient = with_gradient(attend_by_window, PATTERNS[1])(qkv, visible & False, weight)
    assert np.all(np.isfinite(gradient))


def test_windows_reach_as_far_as_the_reference_says():
    # transformers: |i - j| <= local/2 in the encoder; the decoder sees itself and local/2 - 1 tokens back.
    def seen(**kind):
        return np.flatnonzero(position_scores(12, Pattern(n_heads=1, theta=1.0, **kind))[6] == 0).tolist()

    assert seen(reach=2) == [4, 5, 6, 7, 8]
    assert seen(reach=2, causal=True) == [5, 6]
    assert seen(causal=True) == list(range(7))
    assert position_scores(12, Pattern(n_heads=1, theta=1.0)) is None


def test_rotation_preserves_length_depends_on_distance_only_and_inverts():
    x, y = jnp.asarray(np.random.default_rng(1).normal(size=(2, 1, 8)), jnp.float32)
    many_x, many_y = rotate(jnp.tile(x, (10, 1)), 1e4), rotate(jnp.tile(y, (10, 1)), 1e4)
    np.testing.assert_allclose(jnp.linalg.norm(many_x, axis=1), jnp.full(10, jnp.linalg.norm(x)), rtol=1e-5)
    np.testing.assert_allclose(many_x[5] @ many_y[2], many_x[8] @ many_y[5], rtol=1e-4)
    np.testing.assert_allclose(rotate(many_x, 1e4, back=True), jnp.tile(x, (10, 1)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("reach, length", [(1, 40), (3, 12), (4, 64), (5, 67), (12, 50), (40, 100)])
def test_local_equals_whole_with_its_gradient(reach, length, causal):
    qkv, visible, weight = case(length=length)
    pattern = Pattern(n_heads=2, theta=1e4, reach=reach, causal=causal)
    whole, back = with_gradient(attend, pattern)(qkv, visible, weight)
    parts, back_parts = with_gradient(attend_locally, pattern)(qkv, visible, weight)
    np.testing.assert_allclose(parts[visible], whole[visible], rtol=0, atol=1e-5)
    np.testing.assert_allclose(back_parts, back, rtol=0, atol=1e-5)


def test_local_scores_grow_with_the_length_alone():
    pattern = Pattern(n_heads=1, theta=1e4, reach=4)

    def flops(length):
        qkv, visible = jnp.zeros((1, length, 48)), jnp.ones((1, length), bool)
        return jax.jit(lambda x: attend_locally(x, visible, pattern)).lower(qkv).compile().cost_analysis()["flops"]

    assert flops(2048) < 4.4 * flops(512)


@pytest.mark.parametrize("causal", [False, True])
def test_the_fused_kernel_is_asked_for_what_whole_attention_computes(monkeypatch, causal):
    """Layout, scale, rotation and lengths, with the kernel replaced by the same function of JAX's in plain XLA."""
    asked = []

    def plain(*arrays, implementation, **more):
        asked.append(implementation)
        there = jnp.arange(12).reshape(1, 12, 1, 1) < more["query_seq_lengths"][:, None, None, None]
        mixed = dot_product_attention(*arrays, implementation="xla", **more)
        # What a kernel may leave beyond the lengths, in its result and in its gradients.
        return jnp.where(there, mixed, jnp.nan) + sum(arrays) * jnp.where(there, 0.0, jnp.nan)

    dot_product_attention = jax.nn.dot_product_attention
    monkeypatch.setattr(jax.nn, "dot_product_attention", plain)
    qkv, visible, weight = case()
    pattern = Pattern(n_heads=2, theta=1e4, causal=causal)
    whole, back = with_gradient(attend, pattern)(qkv, visible, weight)
    fused, back_fused = with_gradient(attend_fused, pattern)(qkv, visible, weight)
    assert set(asked) == {"cudnn"}
    np.testing.assert_allclose(fused[visible], whole[visible], rtol=0, atol=1e-5)
    assert not np.any(fused[~visible])  # whatever the kernel leaves there
    np.testing.assert_allclose(back_fused, back, rtol=0, atol=1e-5)


def test_lowered_for_cuda_a_layer_calls_cudnn_forward_and_backward_and_holds_no_scores(monkeypatch):
    fused_attention = pytest.importorskip("jax._src.cudnn.fused_attention_stablehlo")
    # Tracing asks the installed cuDNN for its version; none is here.
    monkeypatch.setattr(fused_attention, "check_cudnn_version", lambda: 91_000)
    monkeypatch.setattr(ways, "device_at_hand", lambda: Device("cuda", "9.0"))
    monkeypatch.setattr(encoder, "device_at_hand", lambda: Device("cuda", "9.0"))
    settings = {"compute_type": ComputeType.BFLOAT16, "attention": AttentionKind.CUDNN}
    network = build(ModelConfig(d_model=128, n_layers=2, n_heads=2, d_ff=64, **settings), 90)
    params = network.shapes

    def loss(params, tokens):
        return jnp.sum(network.states(params, tokens, ends=True)[-1].astype(jnp.float32))

    tokens = jax.ShapeDtypeStruct((2, 192), jnp.int32)
    traced = jax.jit(jax.grad(loss)).trace(params, tokens)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "__cudnn$fmhaSoftmax(" in text.replace('"', "(") and "__cudnn$fmhaSoftmaxBackward" in text
    assert "192x192" not in text

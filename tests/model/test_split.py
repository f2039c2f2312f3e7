"""Attention on a mesh: each way, on every layout, computes what one device computes, of its own windows and heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from plantgfm.model.attention import Pattern, attend
from plantgfm.model.blocked import attend_by_window
from plantgfm.model.fused import attend_fused
from plantgfm.model.local import attend_locally
from plantgfm.model.split import attend_split
from plantgfm.partition import WINDOW_AXES, make_mesh, traced_mesh, traced_on

LAYOUTS = [{"data": 8}, {"data": 2, "fsdp": 2, "tensor": 2}]  # others: `tests/training/test_mesh.py`
HEADS, WIDTH, WINDOWS = 4, 16, 8
FULL, SLIDING = (Pattern(n_heads=HEADS, theta=1e4, reach=reach) for reach in (0, 3))
WAYS = [(attend, FULL), (attend_by_window, FULL), (attend_by_window, SLIDING), (attend_locally, SLIDING)]


pytestmark = pytest.mark.usefixtures("quick_compilation")  # what is computed does not depend on it


def case(windows=WINDOWS, length=20):
    rng = np.random.default_rng(0)
    visible = np.ones((windows, length), bool)
    visible[1, 14:] = False
    kernel = rng.normal(size=(WIDTH, 3 * WIDTH)) / 4
    return (*(array.astype(np.float32) for array in (kernel, rng.normal(size=(windows, length, WIDTH)))), visible)


def all_ways(seen, **layout):
    """A jitted function of `case`: what each way gives, and the gradient of the kernel through all of them."""
    mesh = make_mesh(**layout)

    def noting(way):
        return lambda qkv, visible, pattern: seen.append((len(qkv), pattern.n_heads)) or way(qkv, visible, pattern)

    def through(kernel, x, visible):
        found = [attend_split(noting(way), x @ kernel, visible, pattern) for way, pattern in WAYS]
        found = [jnp.where(visible[..., None], mixed, 0) for mixed in found]
        return sum(jnp.sum(jnp.sin(mixed)) for mixed in found) / 100, found

    function = traced_on(mesh, jax.grad(through, has_aux=True))
    kernel, rows = NamedSharding(mesh, P("fsdp", "tensor")), NamedSharding(mesh, P(WINDOW_AXES))
    return jax.jit(function, in_shardings=(kernel, rows, rows), out_shardings=(kernel, rows))


def test_each_way_on_every_layout_gives_what_one_device_gives_and_each_device_does_its_own_share():
    expected_gradient, expected = all_ways(alone := [])(*case())
    assert set(alone) == {(WINDOWS, HEADS)}
    np.testing.assert_allclose(expected[1], expected[0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(expected[3], expected[2], rtol=0, atol=1e-5)
    for layout in LAYOUTS:
        gradient, found = all_ways(seen := [], **layout)(*case())
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5, err_msg=str(layout))
        np.testing.assert_allclose(gradient, expected_gradient, rtol=0, atol=1e-5, err_msg=str(layout))
        tensor = layout.get("tensor", 1)
        assert set(seen) == {(WINDOWS * tensor // 8, HEADS // tensor)}, layout


def test_windows_and_heads_that_do_not_divide_are_computed_by_all():
    kernel, x, visible = map(jnp.asarray, case(windows=3))
    expected = attend(x @ kernel, visible, FULL)
    mesh = make_mesh(tensor=8)
    split = traced_on(mesh, lambda qkv, visible: attend_split(attend_by_window, qkv, visible, FULL))
    arrays = jax.device_put((x @ kernel, visible), NamedSharding(mesh, P()))
    np.testing.assert_allclose(jax.jit(split)(*arrays), expected, rtol=0, atol=1e-5)


def test_lowered_for_cuda_each_device_calls_cudnn_for_its_own_windows(monkeypatch):
    fused_attention = pytest.importorskip("jax._src.cudnn.fused_attention_stablehlo")
    monkeypatch.setattr(fused_attention, "check_cudnn_version", lambda: 91_000)  # none is here
    mesh, pattern = make_mesh(data=4, tensor=2), Pattern(n_heads=2, theta=1e4)
    shapes = (jax.ShapeDtypeStruct((8, 128, 3 * 128), jnp.bfloat16), jax.ShapeDtypeStruct((8, 128), bool))
    rows = NamedSharding(mesh, P(WINDOW_AXES))

    def total(qkv, visible):
        return jnp.sum(attend_split(attend_fused, qkv, visible, pattern).astype(jnp.float32))

    step = jax.jit(traced_on(mesh, jax.grad(total)), in_shardings=(rows, rows))
    calls = [
        line
        for line in step.trace(*shapes).lower(lowering_platforms=("cuda",)).as_text().splitlines()
        if "__cudnn$fmha" in line
    ]
    assert len(calls) == 2 and "Backward" in calls[1]
    assert all("tensor<2x128x1x64xbf16>" in line and "tensor<8x" not in line for line in calls)


def test_the_mesh_is_known_while_a_function_is_traced_and_not_beyond():
    mesh, found = make_mesh(fsdp=8), []

    def look(x):
        found.append(traced_mesh())
        return x

    jax.jit(traced_on(mesh, look))(1.0)
    assert found == [mesh.abstract_mesh] and traced_mesh() is None
    assert traced_on(None, look) is look and traced_on(make_mesh(), look) is look

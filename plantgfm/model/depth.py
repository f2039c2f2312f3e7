"""How the layers follow one another: unrolled or scanned, and what is kept of them for the backward pass.

Parameters stay one set a layer, as checkpoints and bundles hold them: a scan stacks them where the step is traced, in
the type that the products take. Layer 0 has no norm before its attention and stands apart; behind it come groups of
`FULL_EVERY` layers (two sliding, one full), or of one where all are full, and unrolled what is left of the last group.

Planned by XLA for a processor (`python -m plantgfm.bench depth`; a gradient of 8 windows of 1,024 tokens, bfloat16,
scanned), temporary memory with `Remat.NONE`, DOTS and FULL is 5.8, 2.8 and 1.2 GiB at `base`, 44.9, 23.4 and 9.5 GiB
at `1b`. On two crowded cores a scanned gradient had 0.97 to 0.98 of the speed of an unrolled one at `tiny`, and 1.12 to
1.13 at `small`. Of whole steps at `small` (4 windows of 256 tokens, in turn on one crowded core) it had 1.08, 1.12
and 0.96 times the speed, and took no less to compile (32 s of a core against 26): no reason for that size to choose
it on processors. On a GPU nothing of this was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from plantgfm.model.config import FULL_EVERY, Layers, Remat

_POLICIES = {Remat.DOTS: jax.checkpoint_policies.dots_with_no_batch_dims_saveable, Remat.FULL: None}

Apply = Callable[[Any, Any, Array], Array]
"""(structure, parameters, residual stream) → residual stream after the layer."""


def through(
    layers: Sequence[nnx.Module],
    x: Float[Array, "B L D"],
    visible: Bool[Array, "B L"],
    *,
    group: int,
    remat: Remat,
    last: bool,
) -> list[Float[Array, "B L D"]]:
    """The residual stream after each layer, or after the last one alone.

    Args:
        layers: called with (x, visible); all of layers i, i + group, ... from 1 on are of one structure.
        x: the stream before the first.
        visible: keys that carry a token.
        group: layers in a step of the scan, 0 to unroll all of them.
        remat: what the backward pass computes again.
        last: give the last state only, so that none between has to be kept for the caller.
    """
    count = (len(layers) - 1) // group if group else 0
    looped = range(1, 1 + count * group) if count > 1 else range(0)
    parts = [(graph, nnx.to_pure_dict(state)) for graph, state in map(nnx.split, layers)]
    apply = _apply(visible, remat, in_loop=False)
    states = []
    for index, (graph, params) in enumerate(parts):
        if index == 1 and looped:
            states += _scanned(
                [parts[at] for at in looped], states[-1], _apply(visible, remat, in_loop=True), group=group, last=last
            )
        if index not in looped:
            states.append(apply(graph, params, states[-1] if states else x))
    return states[-1:] if last else states


def group_of(layers: Layers, *, sliding: bool, platform: str) -> int:
    """Layers in a step of the scan, 0 where layers are unrolled: on processors, unless they are asked to be scanned."""
    if layers is Layers.UNROLLED or (layers is Layers.AUTO and platform == "cpu"):
        return 0
    return FULL_EVERY if sliding else 1


def _apply(visible: Array, remat: Remat, *, in_loop: bool) -> Apply:
    """A layer's function; with `remat`, one whose backward pass computes parts again."""

    def apply(graph: Any, params: Any, x: Array) -> Array:
        return nnx.merge(graph, params)(x, visible)

    if remat is Remat.NONE:
        return apply
    # A loop keeps the compiler from undoing it by common subexpressions.
    return jax.checkpoint(apply, policy=_POLICIES[remat], prevent_cse=not in_loop, static_argnums=0)


def _scanned(parts: Sequence[tuple[Any, Any]], x: Array, apply: Apply, *, group: int, last: bool) -> list[Array]:
    """States after each of the layers, or the last one alone, by a scan over groups of them."""
    stacked = [_stacked([params for _, params in parts[at::group]], x) for at in range(group)]

    def step(x: Array, several: list[Any]) -> tuple[Array, list[Array] | None]:
        after = []
        for (graph, _), params in zip(parts, several):
            x = apply(graph, params, x)
            after.append(x)
        return x, None if last else after

    x, after = jax.lax.scan(step, x, stacked)
    if last:
        return [x]
    return [after[at % group][at // group] for at in range(len(parts))]


def _stacked(params: Sequence[Any], x: Array) -> Any:
    """One tree of several: kernels, which are matrices, in the type of the products, the rest as they are."""

    def stack(*leaves: Array) -> Array:
        return jnp.stack([leaf.astype(x.dtype) if leaf.ndim == 2 else leaf for leaf in leaves])

    return jax.tree.map(stack, *params)

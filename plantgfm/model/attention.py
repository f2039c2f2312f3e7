"""Rotary positions and softmax attention over a fused q|k|v projection."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32

Length = Any
"""Number of tokens: an int, or a symbol while `jax.export` traces a function for all lengths."""

HIDDEN_SCORE = -1e4
"""Added to the score of a key that may not be seen: its weight is zero in float32, and sums of two stay exact."""


class Pattern(NamedTuple):
    """What an attention layer does, apart from its parameters."""

    n_heads: int
    theta: float  # base of the rotary frequencies
    reach: int = 0  # tokens of the sliding window to one side, 0 for none
    causal: bool = False  # a query sees no later key


def rope_table(length: Length, *, width: int, theta: float) -> Float32[np.ndarray | Array, "2 L half"]:
    """Cosine and sine of the rotation of each position: angle = position · theta^(-2k / width).

    In double precision and a constant; in float32 and computed where the length is a symbol (`jax.export`).
    """
    frequency = theta ** (-np.arange(0, width, 2, dtype=np.float64) / width)
    if not isinstance(length, int):
        position = jnp.arange(length, dtype=jnp.float32)[:, None]
        angle = position * jnp.asarray(frequency, jnp.float32)[None, :]
        return jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    angle = np.arange(length, dtype=np.float64)[:, None] * frequency[None, :]
    return np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32)


def rotate(x: Float[Array, "... W"], theta: float, *, back: bool = False, axis: int = -2) -> Float[Array, "... W"]:
    """Rotate the pairs (k, k + W/2) by the angle of their position (the "rotate half" layout), or back.

    Args:
        x: queries or keys.
        theta: base of the frequencies.
        back: rotate by the negative angle.
        axis: along which positions lie.
    """
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    shape = [1] * x.ndim
    shape[axis], shape[-1] = x.shape[axis], x.shape[-1] // 2
    table = rope_table(x.shape[axis], width=x.shape[-1], theta=theta)
    cos, sin = (jnp.asarray(part).reshape(shape) for part in table)
    sin = -sin if back else sin
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)


def position_scores(length: Length, pattern: Pattern) -> Float32[np.ndarray | Array, "L L"] | None:
    """`HIDDEN_SCORE` for each query (row) and key (column) too far apart or too late; None where no pair is.

    A sliding encoder layer sees |i - j| <= reach; a sliding decoder layer the token itself and reach - 1 back.
    """
    if not pattern.reach and not pattern.causal:
        return None
    xnp = np if isinstance(length, int) else jnp  # a constant, unless the length is a symbol
    gap = xnp.arange(length)[:, None] - xnp.arange(length)[None, :]
    seen = gap >= 0 if pattern.causal else xnp.ones_like(gap, dtype=bool)
    if pattern.reach:
        seen &= (gap < pattern.reach) if pattern.causal else (xnp.abs(gap) <= pattern.reach)
    return xnp.where(seen, 0.0, HIDDEN_SCORE).astype(np.float32)


def attend(qkv: Float[Array, "B L D3"], visible: Bool[Array, "B L"], pattern: Pattern) -> Float[Array, "B L D"]:
    """Softmax attention of each head, with scores and softmax in float32.

    Args:
        qkv: queries, keys and values of all heads, one after the other on the last axis.
        visible: keys that carry a token.
        pattern: heads, rotation and window of the layer.
    """
    batch, length, width = qkv.shape
    parts = qkv.reshape(batch, length, 3, pattern.n_heads, -1).transpose(2, 0, 3, 1, 4)
    query, key, value = rotate(parts[0], pattern.theta), rotate(parts[1], pattern.theta), parts[2]
    scores = jnp.einsum("bhlw,bhmw->bhlm", query, key, preferred_element_type=jnp.float32)
    scores = scores / np.sqrt(query.shape[-1]).astype(np.float32)
    scores = scores + jnp.where(visible, 0.0, HIDDEN_SCORE)[:, None, None, :]
    by_position = position_scores(length, pattern)
    if by_position is not None:
        scores = scores + jnp.asarray(by_position)[None, None]
    weights = jax.nn.softmax(scores, axis=-1).astype(qkv.dtype)
    mixed = jnp.einsum("bhlm,bhmw->bhlw", weights, value)
    return mixed.transpose(0, 2, 1, 3).reshape(batch, length, width // 3)

"""Rotary positions and softmax attention over a fused q|k|v projection."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32

HIDDEN_SCORE = -1e9
"""Score of a key that may not be seen: its weight is exactly zero in float32."""


def rope_table(length: int, *, width: int, theta: float) -> Float32[np.ndarray, "2 L half"]:
    """Cosine and sine of the rotation of each position: angle = position · theta^(-2k / width)."""
    frequency = theta ** (-np.arange(0, width, 2, dtype=np.float64) / width)
    angle = np.arange(length, dtype=np.float64)[:, None] * frequency[None, :]
    return np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32)


def rotate(x: Float[Array, "B L H W"], rope: Float32[np.ndarray, "2 L half"]) -> Float[Array, "B L H W"]:
    """Rotate the pairs (k, k + W/2) of each head by the angle of its position (the "rotate half" layout)."""
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    cos, sin = (jnp.asarray(part)[None, :, None, :] for part in rope)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)


def reachable(length: int, *, reach: int, causal: bool) -> Bool[np.ndarray, "L L"] | None:
    """Which key (column) each query (row) may see by position alone; None where that is all of them.

    A sliding encoder layer sees |i - j| <= reach; a sliding decoder layer the token itself and reach - 1 back.
    """
    if not reach and not causal:
        return None
    gap = np.arange(length)[:, None] - np.arange(length)[None, :]
    allowed = gap >= 0 if causal else np.ones_like(gap, dtype=bool)
    if reach:
        allowed &= (gap < reach) if causal else (np.abs(gap) <= reach)
    return allowed


def attend(
    qkv: Float[Array, "B L D3"],
    visible: Bool[Array, "B L"],
    *,
    rope: Float32[np.ndarray, "2 L half"],
    n_heads: int,
    reach: int,
    causal: bool,
) -> Float[Array, "B L D"]:
    """Softmax attention of each head; scores and softmax in float32.

    Args:
        qkv: queries, keys and values of all heads, one after the other on the last axis.
        visible: keys that carry a token.
        rope: the rotation of `rope_table`.
        n_heads: number of heads.
        reach: width in tokens of the sliding window to one side, 0 for none.
        causal: whether a query sees no later key.
    """
    batch, length, width = qkv.shape
    query, key, value = jnp.split(qkv.reshape(batch, length, 3 * n_heads, width // (3 * n_heads)), 3, axis=2)
    query, key = rotate(query, rope), rotate(key, rope)
    scores = jnp.einsum("blhw,bmhw->bhlm", query, key, preferred_element_type=jnp.float32)
    scores = scores / np.sqrt(query.shape[-1]).astype(np.float32)
    allowed = visible[:, None, None, :]
    by_position = reachable(length, reach=reach, causal=causal)
    if by_position is not None:
        allowed = allowed & jnp.asarray(by_position)[None, None]
    weights = jax.nn.softmax(jnp.where(allowed, scores, HIDDEN_SCORE), axis=-1).astype(qkv.dtype)
    return jnp.einsum("bhlm,bmhw->blhw", weights, value).reshape(batch, length, width // 3)

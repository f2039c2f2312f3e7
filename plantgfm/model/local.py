"""Attention of sliding-window layers, a block of queries against the keys that it may reach: linear in the length.

The same function as `attention.attend` with a `reach`, at every position that holds a token. Blocks of w queries see
w + before + after keys, so that scores take L · (w + before + after) numbers a head and not L · L (Beltagy et al. 2020,
arXiv:2004.05150, section 3).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from plantgfm.model.attention import HIDDEN_SCORE, Pattern, rotate

MIN_BLOCK = 16
"""Fewest queries of a block; smaller ones are slower on processors, as are larger ones where the reach is short."""


def block_of(pattern: Pattern) -> int:
    """Queries of a block: at least as many as the keys beyond it, so that a block borrows from one neighbour only."""
    return max(MIN_BLOCK, sum(_beyond(pattern)))


def keys_of(pattern: Pattern) -> int:
    """Keys that a block of queries sees."""
    return block_of(pattern) + sum(_beyond(pattern))


def _beyond(pattern: Pattern) -> tuple[int, int]:
    """Keys that a query sees before and after its own position."""
    return (pattern.reach - 1, 0) if pattern.causal else (pattern.reach, pattern.reach)


def attend_locally(qkv: Float[Array, "B L D3"], visible: Bool[Array, "B L"], pattern: Pattern) -> Float[Array, "B L D"]:
    """Softmax attention of each head within `pattern.reach`; arguments and result as in `attention.attend`."""
    batch, length, width = qkv.shape
    block, (before, after) = block_of(pattern), _beyond(pattern)
    blocks = -(-length // block)
    parts = qkv.reshape(batch, length, 3, pattern.n_heads, -1).transpose(2, 0, 3, 1, 4)
    query = jnp.pad(rotate(parts[0], pattern.theta), ((0, 0), (0, 0), (0, blocks * block - length), (0, 0)))
    query = query.reshape(batch, pattern.n_heads, blocks, block, -1)
    key, value = (_with_halo(part, pattern, blocks) for part in (rotate(parts[1], pattern.theta), parts[2]))
    scores = jnp.einsum("bhnlw,bhnmw->bhnlm", query, key, preferred_element_type=jnp.float32)
    scores = scores / np.sqrt(query.shape[-1]).astype(np.float32)
    gap = np.arange(block + before + after)[None, :] - before - np.arange(block)[:, None]
    near = np.where((gap >= -before) & (gap <= after), 0.0, HIDDEN_SCORE).astype(np.float32)
    scores = scores + jnp.asarray(near)[None, None, None]
    seen = _with_halo(visible[:, None, :], pattern, blocks)
    weights = jax.nn.softmax(scores + jnp.where(seen, 0.0, HIDDEN_SCORE)[:, :, :, None, :], axis=-1)
    mixed = jnp.einsum("bhnlm,bhnmw->bhnlw", weights.astype(qkv.dtype), value)
    mixed = mixed.reshape(batch, pattern.n_heads, blocks * block, -1)[:, :, :length]
    return mixed.transpose(0, 2, 1, 3).reshape(batch, length, width // 3)


def _with_halo(x: Array, pattern: Pattern, blocks: int) -> Array:
    """[B, H, L, ...] → [B, H, blocks, before + block + after, ...]; zero (not visible) beyond both ends."""
    block, (before, after) = block_of(pattern), _beyond(pattern)
    ends = (before, (blocks + 1) * block - before - x.shape[2])
    padded = jnp.pad(x, [(0, 0), (0, 0), ends, *[(0, 0)] * (x.ndim - 3)])
    cut = padded.reshape(*x.shape[:2], blocks + 1, block, *x.shape[3:])
    return jnp.concatenate([cut[:, :, :-1], cut[:, :, 1:, : before + after]], axis=3)

"""Attention of full layers by cuDNN's fused kernel, asked for by name: the same function as `attention.attend`.

`jax.nn.dot_product_attention` takes cuDNN only when it is told to. Its cuDNN path knows padding as sequence lengths and
causal masks, and no sliding window to both sides (read in jax 0.10.2, `jax/_src/nn/functions.py`).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from plantgfm.model.attention import Pattern, rotate


def attend_fused(qkv: Float[Array, "B L D3"], visible: Bool[Array, "B L"], pattern: Pattern) -> Float[Array, "B L D"]:
    """Softmax attention of each head; as `attention.attend`, and zero at positions that are not visible.

    Args:
        qkv: queries, keys and values of all heads, bfloat16, on a CUDA GPU.
        visible: keys that carry a token: the first ones of each window, as padding lies behind.
        pattern: of a full layer.
    """
    batch, length, width = qkv.shape
    # What cuDNN writes beyond a sequence's length is not stated: nothing of it may reach a sum, nor a gradient.
    parts = jnp.where(visible[..., None, None, None], qkv.reshape(batch, length, 3, pattern.n_heads, -1), 0)
    query, key = (rotate(parts[:, :, i], pattern.theta, axis=1) for i in range(2))
    lengths = jnp.sum(visible, axis=1, dtype=jnp.int32)
    mixed = jax.nn.dot_product_attention(
        query,
        key,
        parts[:, :, 2],
        is_causal=pattern.causal,
        query_seq_lengths=lengths,
        key_value_seq_lengths=lengths,
        implementation="cudnn",
    )
    return jnp.where(visible[..., None], mixed.reshape(batch, length, width // 3), 0)

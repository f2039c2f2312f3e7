"""Attention one window at a time, for processors: the same function as `attention.attend`.

Over 256 tokens it is faster, at 512 twice as fast. Scores of a whole batch (50 MB at 16 windows of 512 tokens and 3
heads) go through main memory several times in the plain form. Here one window's scores stay in cache, forward keeps
only the log normaliser of each query, and backward computes the weights again (Rabe & Staats 2021, arXiv:2112.05682;
Dao et al. 2022, arXiv:2205.14135). Backward holds them as [keys, queries], so that all but one of its products contract
a last axis.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from plantgfm.model.attention import HIDDEN_SCORE, Pattern, position_scores, rotate


def attend_by_window(
    qkv: Float[Array, "B L D3"], visible: Bool[Array, "B L"], pattern: Pattern
) -> Float[Array, "B L D"]:
    """Softmax attention of each head; arguments and result as in `attention.attend`."""
    return _attend(qkv, jnp.where(visible, 0.0, HIDDEN_SCORE), pattern)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _attend(qkv, key_scores, pattern):
    return _forward(qkv, key_scores, pattern)[0]


def _forward(qkv, key_scores, pattern):
    mixed, log_normaliser = jax.lax.map(lambda window: _window_forward(*window, pattern), (qkv, key_scores))
    return mixed, (qkv, key_scores, mixed, log_normaliser)


def _backward(pattern, kept, gradient):
    d_qkv = jax.lax.map(lambda window: _window_backward(*window, pattern), (*kept, gradient))
    return d_qkv, jnp.zeros_like(kept[1])


_attend.defvjp(_forward, _backward)


def _heads(qkv, pattern):
    """Queries, scaled and rotated, rotated keys, and values of one window: each [H, L, W]."""
    query, key, value = qkv.reshape(qkv.shape[0], 3, pattern.n_heads, -1).transpose(1, 2, 0, 3)
    return rotate(query, pattern.theta) * _scale(query), rotate(key, pattern.theta), value


def _scale(query):
    return np.asarray(1.0 / np.sqrt(query.shape[-1]), query.dtype)


def _side_by_side(heads):
    """[H, L, W] → [L, H · W]."""
    return heads.transpose(1, 0, 2).reshape(heads.shape[1], -1)


def _window_forward(qkv, key_scores, pattern):
    query, key, value = _heads(qkv, pattern)
    scores = _product("hlw,hmw->hlm", query, key) + key_scores[None, None, :]
    by_position = position_scores(qkv.shape[0], pattern)
    if by_position is not None:
        scores = scores + jnp.asarray(by_position)[None]
    top = jnp.max(scores, axis=-1, keepdims=True)
    weights = jnp.exp(scores - top)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    mixed = _product("hlm,hmw->hlw", weights.astype(qkv.dtype), value) / total
    return _side_by_side(mixed.astype(qkv.dtype)), (top + jnp.log(total))[..., 0]


def _window_backward(qkv, key_scores, mixed, log_normaliser, gradient, pattern):
    query, key, value = _heads(qkv, pattern)
    by_head = (qkv.shape[0], pattern.n_heads, -1)
    inner = jnp.sum((mixed.astype(jnp.float32) * gradient).reshape(by_head), axis=-1).T
    gradient = gradient.reshape(by_head).transpose(1, 0, 2)
    scores = _product("hmw,hlw->hml", key, query) + key_scores[None, :, None]
    by_position = position_scores(qkv.shape[0], pattern)
    if by_position is not None:
        scores = scores + jnp.asarray(by_position.T)[None]
    weights = jnp.exp(scores - log_normaliser[:, None, :])
    d_scores = weights * (_product("hmw,hlw->hml", value, gradient) - inner[:, None, :])
    d_scores, weights = d_scores.astype(qkv.dtype), weights.astype(qkv.dtype)
    # Scaled before it is turned: else the compiler folds the turn into a product that is three times as slow.
    d_query = (_product("hwm,hml->hwl", key.swapaxes(1, 2), d_scores) * _scale(query)).swapaxes(1, 2)
    d_key = _product("hml,hlw->hmw", d_scores, query)
    d_value = _product("hml,hlw->hmw", weights, gradient)
    turned_back = (rotate(d_query, pattern.theta, back=True), rotate(d_key, pattern.theta, back=True), d_value)
    return jnp.concatenate([_side_by_side(part) for part in turned_back], axis=-1).astype(qkv.dtype)


def _product(subscripts, first, second):
    return jnp.einsum(subscripts, first, second, preferred_element_type=jnp.float32)

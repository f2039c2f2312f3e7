"""The ModernBERT encoder and the two heads, as Flax NNX modules.

Equations and names follow `ModernBertForMaskedLM` of transformers: pre-norm, LayerNorm without bias, no biases in
linear layers, a norm after the embedding and none before the first attention, rotary positions, GeGLU (Warner et al.
2024, arXiv:2412.13663). The modules hold plain tables only; the k-mer factorisation lies in `embedding.py`.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Float32, Int32

from plantgfm.model.config import PAD, ComputeType, ModelConfig
from plantgfm.model.depth import group_of, through
from plantgfm.model.product import project
from plantgfm.model.split import attend_split
from plantgfm.model.ways import choose, device_at_hand, pattern_of

N_FREQUENCIES = 16
"""Frequencies of the distance features; with a half wave over `LOG_DISTANCE_SPAN` for the slowest."""

LOG_DISTANCE_SPAN = 16.0
"""Natural logarithm of the largest distance told apart, about 9 Mb."""

HEAD_SCALE = 0.1
"""First scale of the norm before the next-region decoder, so that its first prediction is the unigram of its bias."""


COPIED_SHARE = 0.018
"""First share of a next-region prediction that is the upstream window's histogram, where no token comes twice."""

TRUST = 0.15
"""First weight of a token as evidence for a profile; independent draws would weigh 1, tokens of a window are none."""

HEADS_VERSION = 3
"""Raised when the parameters of a head change; part of a run's identity, so that no checkpoint of others goes on."""

NEVER = -1e9
"""Logit, or log odds, of what has probability exactly zero."""


class Norm(nnx.Module):
    """Layer norm without bias, computed in float32."""

    def __init__(self, width: int, eps: float, *, scale: float = 1.0):
        self.scale = nnx.Param(jnp.full((width,), scale, jnp.float32))
        self.eps = eps

    def __call__(self, x: Float[Array, "... D"]) -> Float[Array, "... D"]:
        """Normalise over the last axis; the result has the type of the input."""
        wide = x.astype(jnp.float32)
        centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
        variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
        scale = self.scale[...].reshape((1,) * (x.ndim - 1) + (-1,))
        return (centred * jax.lax.rsqrt(variance + self.eps) * scale).astype(x.dtype)


class Linear(nnx.Module):
    """Matrix product without bias; the kernel is [inputs, outputs] and is cast to the type of the input."""

    def __init__(self, n_in: int, n_out: int, *, std: float, rngs: nnx.Rngs):
        self.kernel = nnx.Param(std * jax.random.truncated_normal(rngs.params(), -2.0, 2.0, (n_in, n_out)))

    def __call__(self, x: Float[Array, "... n_in"]) -> Float[Array, "... n_out"]:
        """Project the last axis."""
        return project(x, self.kernel[...].astype(x.dtype))


class Attention(nnx.Module):
    """Multi-head self-attention with a fused q|k|v projection and rotary positions."""

    def __init__(self, config: ModelConfig, *, full: bool, rngs: nnx.Rngs):
        width, deep = config.d_model, config.init_std / math.sqrt(2.0 * config.n_layers)
        self.Wqkv = Linear(width, 3 * width, std=config.init_std, rngs=rngs)
        self.Wo = Linear(width, width, std=deep, rngs=rngs)
        self.pattern = pattern_of(config, full=full)
        self.settings = (config.attention, config.head_width, config.compute_type)

    def __call__(self, x: Float[Array, "B L D"], visible: Bool[Array, "B L"]) -> Float[Array, "B L D"]:
        """Mix the positions of each window; keys that are not visible get no weight."""
        kind, head_width, compute_type = self.settings
        way = choose(
            kind,
            self.pattern,
            head_width=head_width,
            compute_type=compute_type,
            length=x.shape[1],
            device=device_at_hand(),
        )
        return self.Wo(attend_split(way.attend, self.Wqkv(x), visible, self.pattern))


class FeedForward(nnx.Module):
    """GeGLU: the first half of the projection goes through GELU, the second half is the gate."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        deep = config.init_std / math.sqrt(2.0 * config.n_layers)
        self.Wi = Linear(config.d_model, 2 * config.d_ff, std=config.init_std, rngs=rngs)
        self.Wo = Linear(config.d_ff, config.d_model, std=deep, rngs=rngs)

    def __call__(self, x: Float[Array, "B L D"]) -> Float[Array, "B L D"]:
        """Transform each position."""
        value, gate = jnp.split(self.Wi(x), 2, axis=-1)
        return self.Wo(jax.nn.gelu(value, approximate=False) * gate)


class Layer(nnx.Module):
    """One pre-norm block; the first has no norm before its attention, as its input comes normalised."""

    def __init__(self, config: ModelConfig, index: int, *, rngs: nnx.Rngs):
        self.attn_norm = Norm(config.d_model, config.norm_eps) if index else None
        self.attn = Attention(config, full=config.is_full(index), rngs=rngs)
        self.mlp_norm = Norm(config.d_model, config.norm_eps)
        self.mlp = FeedForward(config, rngs=rngs)

    def __call__(self, x: Float[Array, "B L D"], visible: Bool[Array, "B L"]) -> Float[Array, "B L D"]:
        """Add attention, then the feed-forward layer, to the residual stream."""
        x = x + self.attn(x if self.attn_norm is None else self.attn_norm(x), visible)
        return x + self.mlp(self.mlp_norm(x))


class Embedding(nnx.Module):
    """Table of token vectors and the norm behind it."""

    def __init__(self, config: ModelConfig, rows: int, *, rngs: nnx.Rngs):
        shape = (rows, config.d_model)
        self.table = nnx.Param(config.init_std * jax.random.truncated_normal(rngs.params(), -2.0, 2.0, shape))
        self.norm = Norm(config.d_model, config.norm_eps)

    def __call__(self, tokens: Int32[Array, "B L"], dtype: DTypeLike) -> Float[Array, "B L D"]:
        """Look up and normalise; ids must lie below the number of rows."""
        return self.norm(jnp.take(self.table[...], tokens, axis=0, mode="clip").astype(dtype))


class MaskedHead(nnx.Module):
    """Dense, GELU and norm before the tied decoder, and the decoder's bias."""

    def __init__(self, config: ModelConfig, rows: int, *, rngs: nnx.Rngs):
        self.dense = Linear(config.d_model, config.d_model, std=config.init_std, rngs=rngs)
        self.norm = Norm(config.d_model, config.norm_eps, scale=HEAD_SCALE)
        self.bias = nnx.Param(jnp.zeros((rows,), jnp.float32))

    def __call__(self, hidden: Float[Array, "... D"]) -> Float[Array, "... D"]:
        """What the decoder multiplies with the token vectors."""
        return self.norm(jax.nn.gelu(self.dense(hidden), approximate=False))


class NextRegionHead(nnx.Module):
    """What a window says of the one downstream: whose it is, how it differs from that, and how much to copy from it.

    A state is a dense layer, GELU and norm over two summaries of the window (its embedded tokens, which keep their
    composition, and its final states) and the distance. The prediction is a mixture of two distributions, the
    pointer-generator of See et al. 2017 (arXiv:1704.04368): the window's own histogram, whose share depends on how
    repetitive the window is and on the distance and starts at `COPIED_SHARE`, and the decoder's. The decoder's logits
    are those of a mixture of fixed profiles (the token frequencies of each species, as counted before training), to
    which the tied decoder adds what the state says. A profile weighs by how well the window's tokens fit it, as in
    naive Bayes, each at a power of `TRUST`, and by the state.
    """

    def __init__(self, config: ModelConfig, rows: int, *, rngs: nnx.Rngs):
        inputs = 2 * config.d_model + 2 * N_FREQUENCIES
        self.dense = Linear(inputs, config.d_model, std=config.init_std, rngs=rngs)
        self.norm = Norm(config.d_model, config.norm_eps, scale=HEAD_SCALE)
        self.bias = nnx.Param(jnp.zeros((rows,), jnp.float32))
        self.profiles = nnx.Param(jnp.zeros((config.n_profiles, rows), jnp.float32))
        self.profile_scale = nnx.Param(jnp.zeros((config.d_model + 2 * N_FREQUENCIES, config.n_profiles), jnp.float32))
        self.trust_scale = nnx.Param(jnp.full((1,), TRUST, jnp.float32))
        self.copy_scale = nnx.Param(jnp.zeros((config.d_model + 2 + 2 * N_FREQUENCIES,), jnp.float32))
        self.copy_bias = nnx.Param(jnp.full((1,), math.log(COPIED_SHARE / (1.0 - COPIED_SHARE)), jnp.float32))

    def __call__(self, summary: Float[Array, "B W"], distance_bp: Int32[Array, " B"]) -> Float[Array, "B D"]:
        """What the decoder multiplies with the token vectors; the distance enters by waves over its logarithm."""
        waves = distance_features(distance_bp).astype(summary.dtype)
        return self.norm(jax.nn.gelu(self.dense(jnp.concatenate([summary, waves], axis=-1)), approximate=False))

    def profile(
        self, state: Float[Array, "B D"], histogram: Float32[Array, "B V"], distance_bp: Int32[Array, " B"]
    ) -> Float32[Array, "B V"]:
        """Log probabilities of the mixture of profiles.

        The profiles get no gradient: thousands of small steps on rare tokens cost more than counting them well once.
        """
        log_profiles = jax.nn.log_softmax(jax.lax.stop_gradient(self.profiles[...]), axis=1)
        fit = jnp.einsum("bv,kv->bk", histogram, log_profiles) * self.trust_scale[...].reshape(1, 1)
        wide = state.astype(jnp.float32) / HEAD_SCALE
        said = jnp.concatenate([wide, distance_features(distance_bp)], axis=1) @ self.profile_scale[...]
        weights = jax.nn.log_softmax(fit + said, axis=1)
        highest = jnp.max(log_profiles, axis=0)
        shares = jnp.exp(weights) @ jnp.exp(log_profiles - highest[None, :])
        return jnp.log(shares) + highest[None, :]

    def copied(
        self, state: Float[Array, "B D"], histogram: Float32[Array, "B V"], distance_bp: Int32[Array, " B"]
    ) -> Float32[Array, "B 1"]:
        """Log odds of copying, from the state, the histogram of counts and the distance; never from an empty one."""
        count = jnp.sum(histogram, axis=1, keepdims=True)
        squares = jnp.sum(jnp.square(histogram), axis=1, keepdims=True)
        # 0 where no token comes twice, log(count) where all are one.
        repeated = jnp.log(jnp.where(count > 0, squares / jnp.maximum(count, 1.0), 1.0))
        wide = state.astype(jnp.float32) / HEAD_SCALE
        inputs = jnp.concatenate([wide, repeated, jnp.minimum(repeated, 1.0), distance_features(distance_bp)], axis=1)
        odds = inputs @ self.copy_scale[...][:, None] + self.copy_bias[...].reshape(1, 1)
        return jnp.where(count > 0, odds, NEVER)


def distance_features(distance_bp: Int32[Array, " B"]) -> Float[Array, "B F"]:
    """Sine and cosine of the log distance at `N_FREQUENCIES` frequencies."""
    position = jnp.log1p(jnp.maximum(distance_bp, 0).astype(jnp.float32)) * (jnp.pi / LOG_DISTANCE_SPAN)
    angle = position[:, None] * jnp.arange(1, N_FREQUENCIES + 1, dtype=jnp.float32)[None, :]
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


class Encoder(nnx.Module):
    """Everything with parameters: embedding, layers, final norm and both heads."""

    def __init__(self, config: ModelConfig, rows: int, *, rngs: nnx.Rngs):
        self.embeddings = Embedding(config, rows, rngs=rngs)
        self.layers = nnx.Dict({str(i): Layer(config, i, rngs=rngs) for i in range(config.n_layers)})
        self.final_norm = Norm(config.d_model, config.norm_eps)
        self.masked_head = MaskedHead(config, rows, rngs=rngs)
        self.next_region = NextRegionHead(config, rows, rngs=rngs)
        self.compute_type, self.sliding = config.compute_type, config.local_attention > 0
        self.order, self.remat = config.layers, config.remat

    def states(self, tokens: Int32[Array, "B L"], *, ends: bool = False) -> list[Float[Array, "B L D"]]:
        """The residual stream after the embedding and after each layer, the last one after the final norm.

        Args:
            tokens: ids.
            ends: give the first and the last of them only.
        """
        dtype = jnp.bfloat16 if self.compute_type is ComputeType.BFLOAT16 else jnp.float32
        first = self.embeddings(tokens, dtype)
        group = group_of(self.order, sliding=self.sliding, platform=device_at_hand().platform)
        layers = [self.layers[str(index)] for index in range(len(self.layers))]
        after = through(layers, first, tokens != PAD, group=group, remat=self.remat, last=ends)
        return [first, *after[:-1], self.final_norm(after[-1])]

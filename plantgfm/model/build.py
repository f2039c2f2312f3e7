"""Configuration → a network: an initialiser and pure functions of a parameter tree."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, Int32

from plantgfm.identity import fingerprint, plain
from plantgfm.model import embedding
from plantgfm.model.config import CLS, FIRST_KNOWN, PAD, SEP, ModelConfig
from plantgfm.model.encoder import NEVER, Encoder
from plantgfm.model.product import decode
from plantgfm.partition import each_own_rows

ROW_MULTIPLE = 64
"""Vocabulary rows are padded to a multiple of this, for matrix units and for sharding."""

Params = dict[str, Any]
"""Parameters: nested dictionaries of float32 arrays, named as in `encoder.py`, and `kmer` where factorised."""


@dataclass(frozen=True, eq=False)
class Network:
    """A built model: pure functions of (params, inputs), the same for factorised and folded parameters.

    V is `rows`, the vocabulary padded to a multiple of 64; padded rows have probability zero.
    """

    config: ModelConfig
    vocabulary_size: int
    features: Float32[np.ndarray, "V F"] | None  # k-mer features of the tokens, padded to `rows`
    graph: Any  # structure of the NNX modules, split from their parameters once

    @property
    def rows(self) -> int:
        """Vocabulary size padded to a multiple of 64."""
        return -(-self.vocabulary_size // ROW_MULTIPLE) * ROW_MULTIPLE

    @cached_property
    def shapes(self) -> Params:
        """Shapes and types of the parameters that `init` gives, in their places."""
        return jax.eval_shape(self.init, jax.random.key(0))

    def init(
        self,
        key: Array,
        *,
        log_unigram: Float[Any, " vocabulary"] | None = None,
        log_profiles: Float[Any, "profiles vocabulary"] | None = None,
    ) -> Params:
        """Fresh parameters.

        Args:
            key: of the random numbers.
            log_unigram: log frequencies of the tokens, where both heads start; without them tokens are equally likely.
            log_profiles: log frequencies of each profile of the next-region head; without them the unigram.

        Raises:
            ValueError: for another number of profiles than the model has.
        """
        module_key, kmer_key = jax.random.split(key)
        module = Encoder(self.config, self.rows, rngs=nnx.Rngs(params=module_key))
        params = nnx.to_pure_dict(nnx.state(module, nnx.Param))
        if log_unigram is not None:
            bias = jnp.zeros(self.rows, jnp.float32).at[: self.vocabulary_size].set(jnp.asarray(log_unigram))
            params["masked_head"]["bias"] = bias
        n_profiles, profiles = self.config.n_profiles, log_unigram if log_profiles is None else log_profiles
        if profiles is not None:
            profiles = jnp.asarray(profiles).reshape(-1, self.vocabulary_size)
            if len(profiles) not in (1, n_profiles):
                raise ValueError(f"model.profiles is {n_profiles}, {len(profiles)} are given: set it to 0 or to that")
            table = jnp.full((n_profiles, self.rows), NEVER, jnp.float32)
            params["next_region"]["profiles"] = table.at[:, : self.vocabulary_size].set(profiles)
        if self.features is not None:
            params = embedding.factorise(params, self.features, config=self.config, key=kmer_key)
        return params

    def fold(self, params: Params) -> Params:
        """The same function with the k-mer features merged into one embedding table; folded parameters stay.

        Differentiable: a training step folds once and hands the result to the methods below.
        """
        return embedding.fold(params, self.features)

    def states(self, params: Params, tokens: Int32[Array, "B L"], *, ends: bool = False) -> list[Float[Array, "B L D"]]:
        """The residual stream after the embedding and after each layer, the last one after the final norm.

        Args:
            params: factorised or folded parameters.
            tokens: ids, [CLS] first and [PAD] at the end; keys at [PAD] are never seen.
            ends: give the first and the last of them only, which is all that the heads and the losses read.
        """
        return self._module(params).states(tokens, ends=ends)

    def hidden(
        self, params: Params, tokens: Int32[Array, "B L"], *, layers: bool = False
    ) -> Float[Array, "B L D"] | Float[Array, "layers B L D"]:
        """States after the final norm, or with `layers` all `n_layers` + 1 of `states`, stacked."""
        states = self.states(params, tokens, ends=not layers)
        return jnp.stack(states) if layers else states[-1]

    def masked_logits(self, params: Params, hidden: Float[Array, "B M D"]) -> Float[Array, "B M V"]:
        """Logits, float32, of the tokens at the masked slots whose states are given."""
        module = self._module(params)
        return self._decode(module, module.masked_head(hidden), module.masked_head.bias[...])

    def next_region_logits(
        self,
        params: Params,
        states: Sequence[Float[Array, "B L D"]],
        tokens: Int32[Array, "B L"],
        distance_bp: Int32[Array, " B"],
    ) -> Float32[Array, "B V"]:
        """Log probabilities of the tokens of a window that lies `distance_bp` downstream of the given one.

        Args:
            params: factorised or folded parameters.
            states: of the upstream window, as `states` gives them: the first and the last are used.
            tokens: of the upstream window, as the states saw them.
            distance_bp: gap between the two windows.
        """
        module = self._module(params)
        head = module.next_region
        known = (tokens >= FIRST_KNOWN).astype(jnp.float32)
        histogram = each_own_rows(self._histogram, tokens, known)
        # A mean of n independent tokens varies with 1 / sqrt(n): undone for a full window, so that composition is seen.
        # By the longest window: the shape of the batch is padding and may change nothing.
        composition = self.pool(states[0], tokens) * jnp.asarray(self.config.max_tokens**0.5, states[0].dtype)
        summary = jnp.concatenate([composition, self.pool(states[-1], tokens)], axis=-1)
        state = head(summary, distance_bp)
        odds = head.copied(state, histogram, distance_bp)
        logits = self._decode(module, state, head.bias[...]) + head.profile(state, histogram, distance_bp)
        decoded = jax.nn.log_softmax(logits, axis=-1)
        share = histogram / jnp.maximum(jnp.sum(histogram, axis=1, keepdims=True), 1.0)
        copied = jnp.where(share > 0, jnp.log(jnp.where(share > 0, share, 1.0)), NEVER)
        return jnp.logaddexp(jax.nn.log_sigmoid(-odds) + decoded, jax.nn.log_sigmoid(odds) + copied)

    def pool(self, hidden: Float[Array, "B L D"], tokens: Int32[Array, "B L"]) -> Float[Array, "B D"]:
        """Mean state over the positions that hold sequence: not [CLS], [PAD] or [SEP]; zero where there is none."""
        counts = ((tokens != PAD) & (tokens != CLS) & (tokens != SEP)).astype(jnp.float32)
        total = jnp.einsum("bl,bld->bd", counts, hidden.astype(jnp.float32))
        return (total / jnp.maximum(jnp.sum(counts, axis=1, keepdims=True), 1.0)).astype(hidden.dtype)

    def _histogram(self, tokens: Array, weights: Array) -> Array:
        return jnp.zeros((len(tokens), self.rows)).at[jnp.arange(len(tokens))[:, None], tokens].add(weights)

    def _module(self, params: Params) -> Encoder:
        # Parameters that were read from a file may be NumPy arrays.
        return nnx.merge(self.graph, jax.tree.map(jnp.asarray, self.fold(params)))

    def _decode(self, module: Encoder, states: Array, bias: Array) -> Array:
        logits = decode(states, module.embeddings.table[...].astype(states.dtype))
        bias = jnp.where(jnp.arange(self.rows) < self.vocabulary_size, bias, NEVER)
        return logits + bias.reshape((1,) * (logits.ndim - 1) + (-1,))


def build(
    config: ModelConfig, vocabulary_size: int, *, features: Float32[np.ndarray, "vocabulary F"] | None = None
) -> Network:
    """Build the network of a configuration; equal ones are one object while it is in use, and share what is compiled.

    Args:
        config: the shape.
        vocabulary_size: number of tokens; the table gets rows up to the next multiple of 64.
        features: constant k-mer features of each token; None, or `config.kmer_features` off, for a plain table.

    Raises:
        ValueError: when the features are not one row a token.
    """
    rows = -(-vocabulary_size // ROW_MULTIPLE) * ROW_MULTIPLE
    padded, digest = None, ""
    if features is not None and config.kmer_features:
        if features.shape[0] != vocabulary_size:
            raise ValueError(f"features have {features.shape[0]} rows, the vocabulary has {vocabulary_size} tokens")
        padded = np.pad(np.asarray(features, np.float32), ((0, rows - vocabulary_size), (0, 0)))
        digest = hashlib.sha256(padded).hexdigest()
    settings = (fingerprint(plain(config)), vocabulary_size, digest)
    if (known := _IN_USE.get(settings)) is not None:
        return known
    module = nnx.eval_shape(lambda: Encoder(config, rows, rngs=nnx.Rngs(params=0)))
    network = Network(replace(config), vocabulary_size, padded, nnx.graphdef(module))
    return _IN_USE.setdefault(settings, network)


_IN_USE: WeakValueDictionary[tuple[str, int, str], Network] = WeakValueDictionary()

"""Configuration → a network: an initialiser and pure functions of a parameter tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, Int32

from plantgfm.model import embedding
from plantgfm.model.config import CLS, PAD, SEP, ModelConfig
from plantgfm.model.encoder import Encoder
from plantgfm.model.product import decode

ROW_MULTIPLE = 64
"""Vocabulary rows are padded to a multiple of this, for matrix units and for sharding."""

HIDDEN_LOGIT = -1e9
"""Logit of the rows that pad the vocabulary: probability exactly zero."""

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

    def init(self, key: Array, *, log_unigram: Float[Any, " vocabulary"] | None = None) -> Params:
        """Fresh parameters; both output biases start at the log unigram where one is given."""
        module_key, kmer_key = jax.random.split(key)
        module = Encoder(self.config, self.rows, rngs=nnx.Rngs(params=module_key))
        params = nnx.to_pure_dict(nnx.state(module, nnx.Param))
        if log_unigram is not None:
            bias = jnp.zeros(self.rows, jnp.float32).at[: self.vocabulary_size].set(jnp.asarray(log_unigram))
            params["masked_head"]["bias"] = params["next_region"]["bias"] = bias
        if self.features is not None:
            params = embedding.factorise(params, self.features, config=self.config, key=kmer_key)
        return params

    def fold(self, params: Params) -> Params:
        """The same function with the k-mer features merged into one embedding table; folded parameters stay.

        Differentiable: a training step folds once and hands the result to the methods below.
        """
        return embedding.fold(params, self.features)

    def hidden(
        self, params: Params, tokens: Int32[Array, "B L"], *, layers: bool = False
    ) -> Float[Array, "B L D"] | Float[Array, "layers B L D"]:
        """States after the final norm; keys at [PAD] are never seen.

        Args:
            params: factorised or folded parameters.
            tokens: ids, [CLS] first and [PAD] at the end.
            layers: return n_layers + 1 states: after the embedding, after each layer, the last one normalised.
        """
        states = self._module(params).states(tokens)
        return jnp.stack(states) if layers else states[-1]

    def masked_logits(self, params: Params, hidden: Float[Array, "B M D"]) -> Float[Array, "B M V"]:
        """Logits, float32, of the tokens at the masked slots whose states are given."""
        module = self._module(params)
        return self._decode(module, module.masked_head(hidden), module.masked_head.bias[...])

    def next_region_logits(
        self, params: Params, pooled: Float[Array, "B D"], distance_bp: Int32[Array, " B"]
    ) -> Float[Array, "B V"]:
        """Logits, float32, of the tokens of a window that lies `distance_bp` downstream of the pooled one."""
        module = self._module(params)
        return self._decode(module, module.next_region(pooled, distance_bp), module.next_region.bias[...])

    def pool(self, hidden: Float[Array, "B L D"], tokens: Int32[Array, "B L"]) -> Float[Array, "B D"]:
        """Mean state over the positions that hold sequence: not [CLS], [PAD] or [SEP]; zero where there is none."""
        counts = ((tokens != PAD) & (tokens != CLS) & (tokens != SEP)).astype(jnp.float32)
        total = jnp.einsum("bl,bld->bd", counts, hidden.astype(jnp.float32))
        return (total / jnp.maximum(jnp.sum(counts, axis=1, keepdims=True), 1.0)).astype(hidden.dtype)

    def _module(self, params: Params) -> Encoder:
        # Parameters that were read from a file may be NumPy arrays.
        return nnx.merge(self.graph, jax.tree.map(jnp.asarray, self.fold(params)))

    def _decode(self, module: Encoder, states: Array, bias: Array) -> Array:
        logits = decode(states, module.embeddings.table[...].astype(states.dtype))
        bias = jnp.where(jnp.arange(self.rows) < self.vocabulary_size, bias, HIDDEN_LOGIT)
        return logits + bias.reshape((1,) * (logits.ndim - 1) + (-1,))


def build(
    config: ModelConfig, vocabulary_size: int, *, features: Float32[np.ndarray, "vocabulary F"] | None = None
) -> Network:
    """Build the network of a configuration.

    Args:
        config: the shape.
        vocabulary_size: number of tokens; the table gets rows up to the next multiple of 64.
        features: constant k-mer features of each token; None, or `config.kmer_features` off, for a plain table.

    Raises:
        ValueError: when the features are not one row a token.
    """
    rows = -(-vocabulary_size // ROW_MULTIPLE) * ROW_MULTIPLE
    module = nnx.eval_shape(lambda: Encoder(config, rows, rngs=nnx.Rngs(params=0)))
    padded = None
    if features is not None and config.kmer_features:
        if features.shape[0] != vocabulary_size:
            raise ValueError(f"features have {features.shape[0]} rows, the vocabulary has {vocabulary_size} tokens")
        padded = np.pad(np.asarray(features, np.float32), ((0, rows - vocabulary_size), (0, 0)))
    return Network(config, vocabulary_size, padded, nnx.graphdef(module))

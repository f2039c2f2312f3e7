"""Masked models of every kind behind one interface: rows in the ids of a vocabulary of ours in, probabilities out."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from plantgfm.embedding.config import Pooling
from plantgfm.embedding.cutting import Cutting, TokenTable
from plantgfm.embedding.encoders import BundleEncoder, Encoder, EsmEncoder
from plantgfm.embedding.pool import pool_counted
from plantgfm.embedding.torch_encoder import TorchEncoder
from plantgfm.export.bundle import BundleError
from plantgfm.model import esm
from plantgfm.model.build import Network
from plantgfm.objectives.nucleotides import per_base_log_probabilities
from plantgfm.tokenization.config import VocabularyKind
from plantgfm.tokenization.vocabulary import PAD, Vocabulary

Answer = tuple[Array, Array, Array]
"""ln P of A, C, G, T at each offset of the token asked about [B, 8, 4]; ln P of every token [B, V]; vectors [B, D]."""


@runtime_checkable
class MaskedModel(Protocol):
    """What is asked for hidden tokens."""

    cutting: Cutting
    width: int  # dimensions of a vector
    max_tokens: int | None  # most tokens of a row, [CLS] counted
    batch_rows: int

    def ask(self, tokens: Int32[np.ndarray, "B L"], slots: Int32[np.ndarray, "B 1"], length: np.ndarray) -> Answer:
        """What it says at one slot of each row, whose token has `length` bases; slot 0 asks for the vector alone."""


def masked_model(encoder: Encoder) -> MaskedModel:
    """The masked model behind an encoder.

    Raises:
        BundleError: for a causal model, one whose tokens do not tell single bases, or one without a masked head.
    """
    if isinstance(encoder, BundleEncoder):
        return bundle_model(encoder)
    if isinstance(encoder, EsmEncoder):
        return esm_model(encoder)
    if isinstance(encoder, TorchEncoder):
        return TorchMasked(encoder)
    raise BundleError(f"{type(encoder).__name__} gives vectors only")


def _told(logits: Float[Array, "B V"], length: Array, vocabulary: Vocabulary) -> tuple[Array, Array]:
    log_bases = per_base_log_probabilities(logits, length, vocabulary.token_bases)
    return log_bases, jax.nn.log_softmax(logits[:, : vocabulary.size], axis=-1)


class JaxMasked:
    """A model in JAX: one compiled function, of parameters, tokens, slots and lengths."""

    batch_rows = 32

    def __init__(
        self, params: Any, compiled: Callable[..., Answer], *, cutting: Cutting, width: int, max_tokens: int | None
    ):
        """`compiled` is of `_answering`."""
        self.cutting, self.width, self.max_tokens, self._params = cutting, width, max_tokens, params
        self.compiled = compiled

    def ask(self, tokens: Int32[np.ndarray, "B L"], slots: Int32[np.ndarray, "B 1"], length: np.ndarray) -> Answer:
        """What it says at one slot of each row."""
        return self.compiled(self._params, tokens, slots, length)


Forward = Callable[[Any, Array, Array], tuple[Array, Array]]
"""Logits in the ids of a vocabulary of ours at the slots, and vectors."""


def _answering(forward: Forward, vocabulary: Vocabulary) -> Callable[..., Answer]:
    def answer(params: Any, tokens: Array, slots: Array, length: Array) -> Answer:
        logits, vectors = forward(params, tokens, slots)
        return (*_told(logits.astype(jnp.float32), length, vocabulary), vectors)

    return jax.jit(answer)


def bundle_model(encoder: BundleEncoder) -> JaxMasked:
    """A bundle of ours.

    Raises:
        BundleError: for a causal one, which knows no [MASK], and for one of byte pairs.
    """
    bundle = encoder.bundle
    if bundle.model_config.causal:
        raise BundleError("this model is causal: it has no [MASK], so it can't tell hidden bases from both sides")
    if bundle.vocabulary.kind is VocabularyKind.BPE:
        raise BundleError(
            "this model reads byte pairs (tokenizer.kind=BPE): which of them hides a base depends on the base"
        )
    cutting = Cutting(bundle.vocabulary, 6 if bundle.vocabulary.is_hybrid else 1)
    compiled = _of_network(bundle.network, bundle.vocabulary)
    return JaxMasked(encoder.params, compiled, cutting=cutting, width=encoder.width, max_tokens=None)


@lru_cache(maxsize=8)
def _of_network(network: Network, vocabulary: Vocabulary) -> Callable[..., Answer]:
    """Compiled once for all bundles of a network."""

    def forward(params: Any, tokens: Int32[Array, "B L"], slots: Int32[Array, "B 1"]) -> tuple[Array, Array]:
        hidden = network.hidden(params, tokens).astype(jnp.float32)  # bfloat16 would lose what one base changes
        asked = jnp.take_along_axis(hidden, slots[..., None], axis=1)
        return network.masked_logits(params, asked)[:, 0], network.pool(hidden, tokens)

    return _answering(forward, vocabulary)


def esm_model(encoder: EsmEncoder) -> JaxMasked:
    """AgroNT or Nucleotide Transformer v1."""
    config, table = encoder.model.config, encoder.table

    def forward(params: Any, tokens: Int32[Array, "B L"], slots: Int32[Array, "B 1"]) -> tuple[Array, Array]:
        theirs = jnp.asarray(table.ids)[tokens]
        hidden = esm.states(params, theirs, config=config)[-1]
        asked = jnp.take_along_axis(hidden, slots[..., None], axis=1)
        logits = esm.logits(params, asked, config=config)[:, 0]
        counted = (theirs != encoder.pad) & (theirs != encoder.first)
        return _in_our_ids(logits, table), pool_counted(hidden, counted, pooling=Pooling.MEAN)

    compiled, limit = _answering(forward, table.cutting.vocabulary), config.max_tokens
    return JaxMasked(encoder.params, compiled, cutting=table.cutting, width=encoder.width, max_tokens=limit)


def _in_our_ids(logits: Float[Array, "B W"], table: TokenTable) -> Float[Array, "B V"]:
    """Logits in the order of our ids; what the model has no token for has none."""
    return jnp.where(jnp.asarray(table.ids >= 0)[None, :], logits[:, np.maximum(table.ids, 0)], -jnp.inf)


class TorchMasked:
    """A model of transformers with a masked head."""

    batch_rows = 8  # logits of whole rows are in memory together

    def __init__(self, encoder: TorchEncoder):
        """Open its head.

        Raises:
            BundleError: when it has none, or its tokens do not tell single bases.
        """
        self._encoder, self._table = encoder, encoder.table
        self.cutting, self.width = self._table.cutting, encoder.width
        more = self._table.before.size + self._table.behind.size - 1
        self.max_tokens = encoder.max_tokens - more if encoder.max_tokens else None
        encoder.need_head()

    def ask(self, tokens: Int32[np.ndarray, "B L"], slots: Int32[np.ndarray, "B 1"], length: np.ndarray) -> Answer:
        """What it says at one slot of each row; only what is asked for is computed, the rest is NaN."""
        theirs, table = self._rows(tokens), self._table
        logits = np.full((len(tokens), table.ids.size), np.nan, np.float32)
        vectors = np.full((len(tokens), self.width), np.nan, np.float32)
        hidden = slots[:, 0] > 0
        if hidden.any():
            places = slots[hidden, 0] - 1 + table.before.size
            found = self._encoder.logits(theirs[hidden])[np.arange(places.size), places]
            logits[hidden] = np.asarray(_in_our_ids(jnp.asarray(found), table))
        if not hidden.all():
            vectors[~hidden] = self._encoder.vectors(theirs[~hidden], layer=-1, pooling=Pooling.MEAN)
        return (*_told(jnp.asarray(logits), jnp.asarray(length), self.cutting.vocabulary), jnp.asarray(vectors))

    def _rows(self, tokens: Int32[np.ndarray, "B L"]) -> Int32[np.ndarray, "B M"]:
        """Rows in the model's own ids, with its special tokens."""
        table = self._table
        sizes = np.sum(tokens != PAD, axis=1)
        out = np.full((len(tokens), int(sizes.max()) - 1 + table.before.size + table.behind.size), self._encoder.pad)
        for row, own, size in zip(out, tokens, sizes):
            ids = np.concatenate([table.before, table.ids[own[1:size]], table.behind])
            row[: ids.size] = ids
        return out.astype(np.int32)

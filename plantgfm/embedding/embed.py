"""Bundle and sequences to vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int32, UInt8

from plantgfm.embedding.config import EmbeddingConfig, Pooling, StrandUse
from plantgfm.embedding.tiles import Tile
from plantgfm.export.bundle import Bundle
from plantgfm.sequence import Interval
from plantgfm.tokenization.encode import windows
from plantgfm.tokenization.vocabulary import CLS, PAD

_LENGTH_STEP_TOKENS = 64  # lengths are rounded up to this, so that few programs are compiled


@dataclass(frozen=True)
class Embedded:
    """Vectors of a block of windows, and how many windows were left out before them."""

    tiles: list[Tile]
    vectors: Float32[np.ndarray, "B D"]
    skipped: int


def resolve(config: EmbeddingConfig, bundle: Bundle) -> EmbeddingConfig:
    """Fill the defaults that depend on the model.

    Raises:
        ValueError: when the layer does not exist or the stride leaves gaps.
    """
    n_layers = bundle.model_config.n_layers
    if not -1 <= config.layer <= n_layers:
        raise ValueError(
            f"embedding.layer={config.layer} does not exist: this model has -1 (final norm), 0 to {n_layers}"
        )
    window_bp = config.window_bp or 6 * (bundle.model_config.max_tokens - 1)
    stride_bp = config.stride_bp or max(window_bp // 2, 1)
    if stride_bp > window_bp:
        raise ValueError(f"embedding.stride_bp={stride_bp} leaves gaps between windows of {window_bp} bp: lower it")
    return replace(config, window_bp=window_bp, stride_bp=stride_bp)


def pool(states: Float[Array, "B L D"], tokens: Int32[Array, "B L"], *, pooling: Pooling) -> Float[Array, "B D"]:
    """One vector a window from its token states; [PAD] never counts, [CLS] only for `Pooling.CLS`."""
    if pooling is Pooling.CLS:
        return states[:, 0]
    counted = ((tokens != PAD) & (tokens != CLS))[..., None]
    if pooling is Pooling.MAX:
        return jnp.max(jnp.where(counted, states, -jnp.inf), axis=1)
    return jnp.sum(jnp.where(counted, states, 0.0), axis=1) / jnp.maximum(jnp.sum(counted, axis=1), 1)


class Embedder:
    """A compiled bundle: sequences in, vectors out."""

    def __init__(self, bundle: Bundle, config: EmbeddingConfig):
        """Compile lazily, once per padded length."""
        self.bundle = bundle
        self.config = resolve(config, bundle)
        self._params = jax.tree.map(jnp.asarray, bundle.params)
        self._vectors = jax.jit(self._forward)

    @property
    def width(self) -> int:
        """Number of dimensions of a vector."""
        return self.bundle.model_config.d_model

    def _forward(self, params: dict[str, Any], tokens: Int32[Array, "B L"]) -> Float[Array, "B D"]:
        layer = self.config.layer
        if layer < 0:
            states = self.bundle.network.hidden(params, tokens)
        else:
            states = self.bundle.network.hidden(params, tokens, layers=True)[layer]
        return pool(states.astype(jnp.float32), tokens, pooling=self.config.pooling)

    def embed(self, sequences: list[UInt8[np.ndarray, "_"]]) -> Float32[np.ndarray, "B D"]:
        """Vectors of base-code sequences, [B, D]; the strand is that of the settings.

        Each sequence is one window, whatever its length.

        Raises:
            ValueError: for an empty sequence.
        """
        short = [i for i, bases in enumerate(sequences) if bases.size == 0]
        if short:
            raise ValueError(f"sequence {short[0]} is empty: there is nothing to embed")
        out = np.empty((len(sequences), self.width), np.float32)
        order = np.argsort([bases.size for bases in sequences], kind="stable")
        for first in range(0, order.size, self.config.batch_windows):
            rows = order[first : first + self.config.batch_windows]
            out[rows] = self._batch([sequences[i] for i in rows])
        return out

    def _batch(self, sequences: list[UInt8[np.ndarray, "_"]]) -> Float32[np.ndarray, "B D"]:
        strands = {StrandUse.FORWARD: (False,), StrandUse.REVERSE: (True,), StrandUse.BOTH: (False, True)}
        vectors = [self._one_strand(sequences, reverse) for reverse in strands[self.config.strand]]
        return np.mean(vectors, axis=0, dtype=np.float32)

    def _one_strand(self, sequences: list[UInt8[np.ndarray, "_"]], reverse: bool) -> Float32[np.ndarray, "B D"]:
        rows = [self._tokens(bases, reverse) for bases in sequences]
        longest = max(row.size for row in rows)
        length = -(-longest // _LENGTH_STEP_TOKENS) * _LENGTH_STEP_TOKENS
        tokens = np.full((self.config.batch_windows, length), PAD, np.int32)
        tokens[:, 0] = CLS  # rows that fill the batch attend to something
        for i, row in enumerate(rows):
            tokens[i, : row.size] = row
        return np.asarray(self._vectors(self._params, tokens))[: len(rows)]

    def _tokens(self, bases: UInt8[np.ndarray, "P"], reverse: bool) -> Int32[np.ndarray, "L"]:
        ids, _, _ = windows(
            self.bundle.vocabulary,
            np.ascontiguousarray(bases),
            starts=np.zeros(1, np.int64),
            reverse=np.array([reverse]),
            width_bp=int(bases.size),
            max_tokens=int(bases.size) + 1,
        )
        return ids[0][: int(np.sum(ids[0] != PAD))]

    def embed_tiles(
        self, tiles: Iterable[Tile], *, first_block: int = 0, progress: Callable[[int], None] | None = None
    ) -> Iterator[Embedded]:
        """Vectors of windows, block by block in their order; memory does not grow with the input.

        Args:
            tiles: windows, as `tile_records` or `tile_regions` gives them.
            first_block: blocks before it are passed over: they are on disk already.
            progress: called with the number of base pairs done after every block.
        """
        done_bp, stream, last = 0, iter(tiles), Interval("", 0, 0)
        for index in count():
            if not (block := list(islice(stream, 8 * self.config.batch_windows))):
                return
            if index >= first_block:
                kept = [tile for tile in block if tile.unknown_fraction <= self.config.max_unknown_fraction]
                vectors = self.embed([tile.bases for tile in kept])
                yield Embedded(kept, vectors, len(block) - len(kept))
            for tile in block:
                overlap = min(last.end, tile.interval.end) - max(last.start, tile.interval.start)
                same = tile.interval.sequence == last.sequence
                done_bp, last = done_bp + tile.interval.length_bp - (max(overlap, 0) if same else 0), tile.interval
            if progress is not None:
                progress(done_bp)

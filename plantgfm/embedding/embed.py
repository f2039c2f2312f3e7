"""Models and sequences to vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from plantgfm.embedding.config import EmbeddingConfig, StrandUse
from plantgfm.embedding.encoders import BundleEncoder, Encoder
from plantgfm.embedding.tiles import Tile
from plantgfm.export.bundle import Bundle
from plantgfm.sequence import Interval

_LENGTH_STEP_TOKENS = 64  # lengths are rounded up to this, so that few programs are compiled


@dataclass(frozen=True)
class Embedded:
    """Vectors of a block of windows, and how many windows were left out before them."""

    tiles: list[Tile]
    vectors: Float32[np.ndarray, "B D"]
    skipped: int


def resolve(config: EmbeddingConfig, encoder: Encoder) -> EmbeddingConfig:
    """Fill the defaults that depend on the model.

    Raises:
        ValueError: when the layer does not exist, the stride leaves gaps, or the model has no window of its own.
    """
    n_layers = encoder.n_layers
    if not -1 <= config.layer <= n_layers:
        raise ValueError(
            f"embedding.layer={config.layer} does not exist: this model has -1 (final norm), 0 to {n_layers}"
        )
    window_bp = config.window_bp or encoder.window_bp
    if not window_bp:
        raise ValueError("this model does not tell how long its windows are: give embedding.window_bp (--window-bp)")
    stride_bp = config.stride_bp or max(window_bp // 2, 1)
    if stride_bp > window_bp:
        raise ValueError(f"embedding.stride_bp={stride_bp} leaves gaps between windows of {window_bp} bp: lower it")
    return replace(config, window_bp=window_bp, stride_bp=stride_bp)


class Embedder:
    """A compiled model: sequences in, vectors out."""

    def __init__(self, model: Bundle | Encoder, config: EmbeddingConfig):
        """Compile lazily, once per padded length."""
        self.encoder: Encoder = BundleEncoder(model) if isinstance(model, Bundle) else model
        self.config = resolve(config, self.encoder)
        self.cut_tokens = 0  # beyond the longest window that the model can read

    @property
    def width(self) -> int:
        """Number of dimensions of a vector."""
        return self.encoder.width

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
        length = min(length, self.encoder.max_tokens or length)
        tokens = np.full((self.config.batch_windows, length), self.encoder.pad, np.int32)
        tokens[:, 0] = self.encoder.first  # rows that fill the batch attend to something
        for i, row in enumerate(rows):
            tokens[i, : row.size] = row
        vectors = self.encoder.vectors(tokens, layer=self.config.layer, pooling=self.config.pooling)
        return vectors[: len(rows)]

    def _tokens(self, bases: UInt8[np.ndarray, "P"], reverse: bool) -> Int32[np.ndarray, "L"]:
        ids = self.encoder.encode(bases, reverse=reverse)
        limit = self.encoder.max_tokens or ids.size
        self.cut_tokens += max(ids.size - limit, 0)
        return ids[:limit]

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

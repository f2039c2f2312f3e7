"""Models and sequences to vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, UInt8

from plantgfm.embedding.config import EmbeddingConfig, Pooling, StrandUse
from plantgfm.embedding.encoders import BundleEncoder, Encoder, Vectors
from plantgfm.embedding.tiles import Tile
from plantgfm.export.bundle import Bundle
from plantgfm.identity import plain
from plantgfm.sequence import BASE_MASK, REPEAT_BIT, UNKNOWN, Interval

STRANDS = {StrandUse.FORWARD: (False,), StrandUse.REVERSE: (True,), StrandUse.BOTH: (False, True)}
"""Whether to read the reverse complement, of each strand that is used."""

_LENGTH_STEP_TOKENS = 64  # lengths are rounded up to this, so that few programs are compiled
_BLOCK_NUMBERS = 1 << 25  # of vectors of tokens or bases that are in memory together: 128 MB


def padded_length(n_tokens: int) -> int:
    """Tokens of a row that is padded so that few programs are compiled."""
    return -(-n_tokens // _LENGTH_STEP_TOKENS) * _LENGTH_STEP_TOKENS


@dataclass(frozen=True)
class Embedded:
    """Vectors of a block of windows, and how many windows were left out before them."""

    tiles: list[Tile]
    vectors: Float32[np.ndarray, "B D"]
    skipped: int

    def columns(self) -> dict[str, list]:
        """What stands beside the vectors, a value a row."""
        return {
            "sequence": [tile.interval.sequence for tile in self.tiles],
            "start": [tile.interval.start for tile in self.tiles],
            "end": [tile.interval.end for tile in self.tiles],
            "strand": [tile.interval.strand for tile in self.tiles],
            "name": [tile.name for tile in self.tiles],
            "accession": [tile.accession for tile in self.tiles],
            "partial": [tile.partial for tile in self.tiles],
            "unknown_fraction": [tile.unknown_fraction for tile in self.tiles],
            "repeat_fraction": [tile.repeat_fraction for tile in self.tiles],
        }


@dataclass(frozen=True)
class EmbeddedPlaces:
    """Vectors of the tokens or bases of a block of windows, and how many windows were left out."""

    tiles: list[Tile]
    places: list[Int64[np.ndarray, "_ 2"]]  # of each window's rows: start and end in the window, as it was read
    vectors: Float32[np.ndarray, "R D"]
    skipped: int

    def columns(self) -> dict[str, np.ndarray]:
        """What stands beside the vectors, a value a row."""
        counts = np.array([len(places) for places in self.places], np.int64)
        intervals = [tile.interval for tile in self.tiles]
        per_tile = {
            "sequence": [where.sequence for where in intervals],
            "strand": [where.strand for where in intervals],
            "name": [tile.name for tile in self.tiles],
            "accession": [tile.accession for tile in self.tiles],
            "partial": [tile.partial for tile in self.tiles],
        }
        repeated = {name: np.repeat(np.array(values, object), counts) for name, values in per_tile.items()}
        spans = [_on_record(where, places) for where, places in zip(intervals, self.places)]
        both = np.concatenate([np.zeros((0, 2), np.int64), *spans])
        shares = {
            "unknown_fraction": [_shares((t.bases & 7) == UNKNOWN, p) for t, p in zip(self.tiles, self.places)],
            "repeat_fraction": [_shares(t.bases & REPEAT_BIT > 0, p) for t, p in zip(self.tiles, self.places)],
        }
        joined = {name: np.concatenate([np.zeros(0, np.float32), *values]) for name, values in shares.items()}
        return {**repeated, **joined, "start": both[:, 0], "end": both[:, 1]}


def _on_record(where: Interval, places: Int64[np.ndarray, "N 2"]) -> Int64[np.ndarray, "N 2"]:
    """Places in a window as places on its record; a window on the minus strand is read from its right end."""
    return where.end - places[:, ::-1] if where.strand == "-" else where.start + places


def _shares(mask: Bool[np.ndarray, "P"], places: Int64[np.ndarray, "N 2"]) -> Float32[np.ndarray, "N"]:
    """Share of the bases of each place that the mask holds."""
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(mask)])
    return ((before[places[:, 1]] - before[places[:, 0]]) / (places[:, 1] - places[:, 0])).astype(np.float32)


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


def told(config: EmbeddingConfig) -> dict[str, Any]:
    """The settings as they stand in a file of vectors.

    Those that came later are told only where they are used, so that files from before are known again.
    """
    settings = plain(config)
    if not config.part_bp:
        del settings["part_bp"]
    return settings


class Embedder:
    """A compiled model: sequences in, vectors out."""

    def __init__(self, model: Bundle | Encoder, config: EmbeddingConfig):
        """Compile lazily, once per padded length.

        Args:
            model: a bundle, or what `open_encoder` gives.
            config: window, pooling, layer, strand; what is 0 becomes the model's own.

        Raises:
            ValueError: for a layer that does not exist, a stride that leaves gaps, or a model without window.
        """
        self.encoder: Encoder = BundleEncoder(model) if isinstance(model, Bundle) else model
        self.config = resolve(config, self.encoder)
        self.cut_tokens = 0  # beyond the longest window that the model can read

    @property
    def parts(self) -> int:
        """How many vectors lie side by side in the row of a window."""
        return _parts(self.config.window_bp, self.config.part_bp) if self.config.part_bp else 1

    @property
    def width(self) -> int:
        """Number of dimensions of a row: those of the model, once a part."""
        return self.encoder.width * self.parts

    def embed(self, sequences: list[UInt8[np.ndarray, "_"]]) -> Float32[np.ndarray, "B D"]:
        """Vectors of base-code sequences, [B, D]; the strand is that of the settings.

        Each sequence is one window, whatever its length. With `part_bp` a row holds the vectors of its parts, side by
        side in the order in which they are read; parts that a shorter sequence lacks are null.

        Raises:
            ValueError: for an empty sequence, or one that has more parts than a window.
        """
        if not self.config.pooling.whole:
            raise ValueError(
                f"embedding.pooling={self.config.pooling.value} gives several vectors a sequence where one is needed: "
                "choose mean, cls or max"
            )
        out = np.empty((len(sequences), self.width), np.float32)
        for rows in self._batches(sequences):
            chosen = [sequences[i] for i in rows]
            if self.config.part_bp:
                out[rows] = self._parted(chosen)
                continue
            vectors = [self._one_strand(chosen, reverse)[0] for reverse in STRANDS[self.config.strand]]
            out[rows] = np.mean(vectors, axis=0, dtype=np.float32)
        return out

    def _parted(self, sequences: list[UInt8[np.ndarray, "_"]]) -> Float32[np.ndarray, "B D"]:
        """Means of the states of the tokens whose middle lies in a part; a part is two halves, the next shares one."""
        (reverse,), part_bp = STRANDS[self.config.strand], self.config.part_bp
        longest = max(codes.size for codes in sequences)
        if _parts(longest, part_bp) > self.parts:
            raise ValueError(
                f"a sequence of {longest:,} bp has more parts of {part_bp} bp than a window of "
                f"{self.config.window_bp:,} bp: cut it into windows"
            )
        states, ids = self._one_strand(sequences, reverse, pooling=Pooling.TOKEN)
        out = np.zeros((len(sequences), self.parts, self.encoder.width), np.float32)
        for row, codes in enumerate(sequences):
            places, read = self._placed(ids[row], states[row], codes.size, reverse=False)
            n = _parts(codes.size, part_bp)
            half = np.minimum(places.sum(axis=1) // part_bp, n)  # the middle over half a part
            first = np.flatnonzero(np.diff(half, prepend=-1))
            counts, sums = np.zeros((n + 1, 1), np.float32), np.zeros((n + 1, self.encoder.width), np.float32)
            counts[half[first], 0] = np.diff(np.append(first, half.size))
            sums[half[first]] = np.add.reduceat(read, first, axis=0)
            out[row, :n] = (sums[:-1] + sums[1:]) / np.maximum(counts[:-1] + counts[1:], 1)
        return out.reshape(len(sequences), -1)

    def _batches(self, sequences: list[UInt8[np.ndarray, "_"]]) -> Iterator[Int64[np.ndarray, "_"]]:
        """Rows of sequences of like length."""
        short = [i for i, bases in enumerate(sequences) if bases.size == 0]
        if short:
            raise ValueError(f"sequence {short[0]} is empty: there is nothing to embed")
        order = np.argsort([bases.size for bases in sequences], kind="stable")
        for first in range(0, order.size, self.config.batch_windows):
            yield order[first : first + self.config.batch_windows]

    def embed_places(
        self, sequences: list[UInt8[np.ndarray, "_"]]
    ) -> tuple[list[Int64[np.ndarray, "_ 2"]], list[Float32[np.ndarray, "_ D"]]]:
        """Vectors of the tokens of each sequence, or of its bases, as the pooling says, in the order of the sequence.

        Returns:
            Start and end (bp) of each token or base of each sequence, and the vectors; the bases of a token share its.

        Raises:
            ValueError: for an empty sequence, or one longer than the model can read.
        """
        by_base, strands = self.config.pooling is Pooling.BASE, STRANDS[self.config.strand]
        places, vectors = [np.zeros((0, 2), np.int64)] * len(sequences), [np.zeros((0, 0), np.float32)] * len(sequences)
        for rows in self._batches(sequences):
            found = [self._one_strand([sequences[i] for i in rows], reverse) for reverse in strands]
            for at, row in enumerate(rows):
                size = sequences[row].size
                read = [self._placed(ids[at], states[at], size, reverse=r) for r, (states, ids) in zip(strands, found)]
                if by_base:
                    read = [(_each_base(size), np.repeat(v, p[:, 1] - p[:, 0], axis=0)) for p, v in read]
                places[row] = read[0][0]
                vectors[row] = np.mean([one for _, one in read], axis=0, dtype=np.float32)
        return places, vectors

    def _placed(
        self, ids: Int32[np.ndarray, "L"], states: Float32[np.ndarray, "M D"], size_bp: int, *, reverse: bool
    ) -> tuple[Int64[np.ndarray, "N 2"], Float32[np.ndarray, "N D"]]:
        """Where the tokens of one sequence lie, from its left end on, and their states."""
        widths = self.encoder.token_bp(ids).astype(np.int64)
        ends = np.cumsum(widths[widths > 0])
        if not ends.size or ends[-1] != size_bp:
            raise ValueError(
                f"a sequence of {size_bp:,} bp has more tokens than the {self.encoder.max_tokens} that this model can "
                "read: give shorter ones (--window-bp)"
            )
        places = np.stack([ends - widths[widths > 0], ends], axis=1)
        kept = states[: ids.size][widths > 0]
        return (size_bp - places[::-1, ::-1], kept[::-1]) if reverse else (places, kept)

    def _one_strand(
        self, sequences: list[UInt8[np.ndarray, "_"]], reverse: bool, *, pooling: Pooling | None = None
    ) -> tuple[Vectors, list[Int32[np.ndarray, "_"]]]:
        """What the encoder gives for a batch, and the ids of each row."""
        rows = [self._tokens(bases, reverse) for bases in sequences]
        length = padded_length(max(row.size for row in rows))
        length = min(length, self.encoder.max_tokens or length)
        tokens = np.full((self.config.batch_windows, length), self.encoder.pad, np.int32)
        tokens[:, 0] = self.encoder.first  # rows that fill the batch attend to something
        for i, row in enumerate(rows):
            tokens[i, : row.size] = row
        vectors = self.encoder.vectors(tokens, layer=self.config.layer, pooling=pooling or self.config.pooling)
        return vectors[: len(rows)], rows

    def _tokens(self, bases: UInt8[np.ndarray, "P"], reverse: bool) -> Int32[np.ndarray, "L"]:
        ids = self.encoder.encode(bases, reverse=reverse)
        limit = self.encoder.max_tokens or ids.size
        self.cut_tokens += max(ids.size - limit, 0)
        return ids[:limit]

    def embed_tiles(
        self, tiles: Iterable[Tile], *, first_block: int = 0, progress: Callable[[int], None] | None = None
    ) -> Iterator[Embedded | EmbeddedPlaces]:
        """Vectors of windows, or of their tokens or bases, block by block; memory does not grow with the input.

        Where windows overlap, a token or base has the vector of the window in which it lies further inside.

        Args:
            tiles: windows, as `tile_records` or `tile_regions` gives them.
            first_block: blocks before it are passed over: they are on disk already.
            progress: called with the number of base pairs done after every block.
        """
        done_bp, stream, last = 0, iter(tiles), Interval("", 0, 0)
        for index in count():
            if not (block := list(islice(stream, self._block_windows()))):
                return
            if index >= first_block:
                kept = [tile for tile in block if tile.unknown_fraction <= self.config.max_unknown_fraction]
                yield self._embedded(kept, len(block) - len(kept))
            for tile in block:
                overlap = min(last.end, tile.interval.end) - max(last.start, tile.interval.start)
                same = tile.interval.sequence == last.sequence
                done_bp, last = done_bp + tile.interval.length_bp - (max(overlap, 0) if same else 0), tile.interval
            if progress is not None:
                progress(done_bp)

    def _block_windows(self) -> int:
        if self.config.pooling.whole:
            return 8 * self.config.batch_windows
        return min(self.config.batch_windows, max(1, _BLOCK_NUMBERS // (self.config.window_bp * self.encoder.width)))

    def _embedded(self, tiles: list[Tile], skipped: int) -> Embedded | EmbeddedPlaces:
        # Accessions of a panel share most of their windows: those are computed once.
        index: dict[bytes, int] = {}
        same = np.array([index.setdefault((tile.bases & BASE_MASK).tobytes(), len(index)) for tile in tiles], np.int64)
        firsts = np.unique(same, return_index=True)[1]
        sequences = [tiles[first].bases for first in firsts]
        if self.config.pooling.whole:
            return Embedded(tiles, self.embed(sequences)[same], skipped)
        found = self.embed_places(sequences)
        places, vectors = ([one[at] for at in same] for one in found)
        cores = [tile.core or (0, tile.bases.size) for tile in tiles]
        own = [(p[:, 0] >= first) & (p[:, 0] < end) for p, (first, end) in zip(places, cores)]
        kept = [np.zeros((0, self.encoder.width), np.float32), *(v[mine] for v, mine in zip(vectors, own))]
        return EmbeddedPlaces(tiles, [p[mine] for p, mine in zip(places, own)], np.concatenate(kept), skipped)


def _parts(size_bp: int, part_bp: int) -> int:
    """How many parts, each by half of its width behind the one before, cover so many bases; at least one."""
    return max(-(-2 * size_bp // part_bp) - 1, 1)


def _each_base(size_bp: int) -> Int64[np.ndarray, "P 2"]:
    """The place of every base for itself."""
    return np.arange(size_bp, dtype=np.int64)[:, None] + np.arange(2, dtype=np.int64)[None, :]

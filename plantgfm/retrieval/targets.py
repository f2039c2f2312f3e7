"""Target windows, read block by block: coordinates are kept, vectors and bases pass by and are let go.

Memory does not grow with the target, but for some 30 bytes a window and, where bases are read, for the longest sequence
(one byte a base). It sees no label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8

from plantgfm.embedding.store import VectorTable, open_vectors
from plantgfm.formats.fasta import read_fasta
from plantgfm.sequence import BASE_MASK, Interval

BLOCK_ROWS = 4_096  # windows at a time; sums are formed in this order, so that it is part of the result's last digits
_BLOCK_NUMBERS = 1 << 23  # of vectors at a time, where rows hold many parts: 32 MiB
_LEAST_ROWS = 128


@dataclass(frozen=True)
class Block:
    """Windows that follow each other in the file."""

    rows: Int64[np.ndarray, "n"]  # of the target
    vectors: Float32[np.ndarray, "n D"]
    bases: UInt8[np.ndarray, "P"]  # base codes of all windows, one after another; none where they were not asked for
    offsets: Int64[np.ndarray, "n_plus_1"]  # of each window in `bases`

    def take(self, chosen: Int64[np.ndarray, "m"]) -> Block:
        """Some of the windows, by their place in the block."""
        has_bases = self.offsets.size > 1
        pieces = [self.bases[self.offsets[i] : self.offsets[i + 1]] for i in chosen] if has_bases else []
        bases, offsets = joined(pieces)
        return Block(self.rows[chosen], self.vectors[chosen], bases, offsets)


def joined(pieces: list[UInt8[np.ndarray, "_"]]) -> tuple[UInt8[np.ndarray, "P"], Int64[np.ndarray, "n_plus_1"]]:
    """Sequences one after another without the repeat bit, and where each starts and ends."""
    offsets = np.zeros(len(pieces) + 1, np.int64)
    np.cumsum([piece.size for piece in pieces], out=offsets[1:])
    bases = np.concatenate(pieces) & np.uint8(BASE_MASK) if pieces else np.zeros(0, np.uint8)
    return bases, offsets


@dataclass(frozen=True)
class Targets:
    """The windows of a target: where they lie, what made them, and how to read them again."""

    names: list[str]  # of the sequences
    sequence: Int32[np.ndarray, "N"]  # which of them a window lies on
    start: Int64[np.ndarray, "N"]
    end: Int64[np.ndarray, "N"]
    repeat_fraction: Float32[np.ndarray, "N"]
    origin: dict[str, Any]  # what made the vectors
    source: Path | Float32[np.ndarray, "N D"] | None  # the file (or Zarr group) of vectors, or the vectors
    fasta: tuple[Path, ...] = ()  # of the bases; none: the windows are known by their vectors alone
    parts: tuple[Targets, ...] = ()  # whose windows these are, one part's behind the other's; then there is no source

    @staticmethod
    def open(path: Path, *, fasta: tuple[Path, ...] = ()) -> Targets:
        """The windows of a file of vectors; ValueError when it is not one that `plantgfm embed` wrote."""
        file = open_vectors(path)
        numbers: dict[str, int] = {}
        columns: list[list[np.ndarray]] = [[], [], [], []]
        for batch in file.tables(["sequence", "start", "end", "repeat_fraction"]):
            for name in batch["sequence"].unique().to_pylist():
                numbers.setdefault(name, len(numbers))
            here = batch["sequence"].combine_chunks().dictionary_encode()
            table = np.array([numbers[name] for name in here.dictionary.to_pylist()], np.int32)
            columns[0].append(table[np.asarray(here.indices)])
            for column, name in zip(columns[1:], ("start", "end", "repeat_fraction")):
                column.append(np.asarray(batch[name]))
        if not columns[0]:
            raise ValueError(f"{path} holds no window: embed the target again")
        sequence, start, end, repeats = (np.concatenate(column) for column in columns)
        return Targets(list(numbers), sequence, start, end, repeats.astype(np.float32), file.origin, path, fasta)

    @staticmethod
    def of(table: VectorTable, *, fasta: tuple[Path, ...] = ()) -> Targets:
        """The windows of a table that is in memory."""
        numbers = {name: i for i, name in enumerate(dict.fromkeys(one.sequence for one in table.intervals))}
        places = np.array([(numbers[i.sequence], i.start, i.end) for i in table.intervals], np.int64).reshape(-1, 3)
        repeats = np.asarray(table.repeat_fraction, np.float32)
        sequence = places[:, 0].astype(np.int32)
        return Targets(list(numbers), sequence, places[:, 1], places[:, 2], repeats, table.origin, table.vectors, fasta)

    @staticmethod
    def joined(parts: Sequence[Targets]) -> Targets:
        """The windows of several targets over the same sequences, those of each behind those of the one before."""
        names = list(dict.fromkeys(name for part in parts for name in part.names))
        number_of = {name: number for number, name in enumerate(names)}
        sequence = [np.array([number_of[name] for name in one.names], np.int32)[one.sequence] for one in parts]
        columns = [[getattr(one, name) for one in parts] for name in ("start", "end", "repeat_fraction")]
        arrays = (np.concatenate(column) for column in (sequence, *columns))
        return Targets(names, *arrays, parts[0].origin, None, parts[0].fasta, tuple(parts))

    def rows_of(self, part: int) -> range:
        """The rows of one of the parts; of a target without parts, all."""
        if not self.parts:
            return range(len(self))
        first = sum(len(one) for one in self.parts[:part])
        return range(first, first + len(self.parts[part]))

    def __len__(self) -> int:
        return self.start.size

    def interval(self, row: int | np.integer) -> Interval:
        """Where a window lies."""
        return Interval(self.names[self.sequence[row]], int(self.start[row]), int(self.end[row]))

    @cached_property
    def number_of(self) -> dict[str, int]:
        """The number of each sequence."""
        return {name: number for number, name in enumerate(self.names)}

    @cached_property
    def ends(self) -> Int64[np.ndarray, "sequences"]:
        """The end of the last window of each sequence."""
        ends = np.zeros(len(self.names), np.int64)
        np.maximum.at(ends, self.sequence, self.end)
        return ends

    def lengths_bp(self) -> dict[str, int]:
        """`ends` by name."""
        return dict(zip(self.names, self.ends.tolist()))

    def covered(self) -> list[Interval]:
        """The stretches that the windows cover, by sequence and place; those that touch are one."""
        order = np.lexsort((self.start, self.sequence))
        apart = self.sequence[order].astype(np.int64) * (int(self.end.max()) + 2)  # sequences do not touch
        starts, ends = apart + self.start[order], np.maximum.accumulate(apart + self.end[order])
        first = np.flatnonzero(np.append(True, starts[1:] > ends[:-1]))
        last = np.append(first[1:], starts.size) - 1
        return [
            Interval(self.names[number], int(start), int(end))
            for number, start, end in zip(
                self.sequence[order][first], self.start[order][first], ends[last] - apart[last]
            )
        ]

    def crowding(self) -> int:
        """How many other windows one overlaps at most."""
        apart = self.sequence.astype(np.int64) * (int(self.end.max()) + 1)  # sequences one behind the other
        starts, ends = np.sort(apart + self.start), np.sort(apart + self.end)
        begun = np.searchsorted(starts, apart + self.end, side="left")
        over = np.searchsorted(ends, apart + self.start, side="right")
        return int((begun - over).max()) - 1

    def blocks(self, *, bases: bool = False) -> Iterator[Block]:
        """All windows in their order, `BLOCK_ROWS` at a time, fewer where rows hold many parts.

        Args:
            bases: read them, too, from `fasta`.
        """
        for number, part in enumerate(self.parts):
            before = self.rows_of(number).start
            yield from (replace(block, rows=block.rows + before) for block in part.blocks(bases=bases))
        if self.parts:
            return
        reader = _Bases(self.fasta) if bases else None
        for first, vectors in self._vectors():
            rows = np.arange(first, first + vectors.shape[0])
            pieces = [] if reader is None else [reader.of(self.interval(row)) for row in rows]
            yield Block(rows, vectors, *joined(pieces))

    def _vectors(self) -> Iterator[tuple[int, Float32[np.ndarray, "n D"]]]:
        if not isinstance(self.source, Path):
            n = _rows_at_a_time(self.source.shape[1])
            for first in range(0, len(self), n):
                yield first, self.source[first : first + n]
            return
        file = open_vectors(self.source)
        if file.origin != self.origin:
            raise ValueError(
                f"{self.source} was written anew while it was searched: search again, and let no other command write it"
            )
        first, held, n = 0, np.zeros((0, file.width), np.float32), _rows_at_a_time(file.width)
        for piece in file.vectors():
            held = np.concatenate([held, piece])
            while held.shape[0] >= n:
                yield first, held[:n]
                first, held = first + n, held[n:]
        if held.size:
            yield first, held


def _rows_at_a_time(width: int) -> int:
    """Windows of a block of rows of so many numbers."""
    return min(BLOCK_ROWS, max(_BLOCK_NUMBERS // width, _LEAST_ROWS))


class _Bases:
    """Bases of windows out of FASTA files, which are read once where windows stand in the order of the records."""

    def __init__(self, files: tuple[Path, ...]):
        self._files = files
        self._stream = self._records()
        self._record = None

    def _records(self):
        for path in self._files:
            yield from read_fasta(path)

    def of(self, where: Interval) -> UInt8[np.ndarray, "P"]:
        """The bases of a window; ValueError where the files lack its sequence."""
        for _ in range(2):
            while self._record is None or self._record.name != where.sequence:
                self._record = next(self._stream, None)
                if self._record is None:
                    break
            if self._record is not None:
                return self._record.codes[where.start : where.end]
            self._stream = self._records()
        raise ValueError(f"the target's FASTA lacks sequence {where.sequence!r} of the vectors")

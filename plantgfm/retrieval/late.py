"""Late interaction: a query's parts matched one by one with the parts of a window, and the matches summed.

One mean of states over a window says little of what two windows share in a part. So each part of a query, in all its
phases, takes its best cosine with the parts of a window (MaxSim: Khattab and Zaharia 2020, SIGIR, arXiv:2004.12832).
What then counts is not the cosine but a vote: a part has one, which windows share by the softmax of their cosines over
the whole target, so that what lies everywhere, repeats and simple sequence, says nothing. A query's score is the sum of
what its parts give a window, on the better strand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import sqrt
from typing import BinaryIO

import numpy as np
from jaxtyping import Float16, Float32, Int64

from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.sources import EmbeddingSource, QueryVectors
from plantgfm.retrieval.spilled import Spilled
from plantgfm.retrieval.targets import Block

SHARPNESS = 3.2
"""Of the softmax, times the square root of the dimensions: cosines of unrelated vectors spread by 1 over that."""
_CELLS = 1 << 23  # cosines at a time: 32 MiB


class LateSource(EmbeddingSource):
    """Votes of the parts of queries for windows; a part of a window is matched by the best of its phases."""

    def __init__(self, queries: QueryVectors, config: RetrievalConfig, **known):
        """As an `EmbeddingSource`; the correction is that of parts, which count as its rows."""
        self._taken, self._window, backward = _taken(queries)
        self._mirrored = backward if config.both_strands else self._taken
        self._owner = queries.owner[:: queries.phases][self._window]
        self._first = np.flatnonzero(np.diff(self._owner, prepend=-1))
        self._parts: list[np.ndarray] = []
        self._totals = np.zeros((2, self._owner.size))
        self._kept: Spilled | None = None
        self._last: tuple[Block | None, np.ndarray] = (None, np.zeros(0))
        super().__init__(queries, config, **known)

    def rows_of(self, vectors: Float32[np.ndarray, "n P_D"]) -> Float32[np.ndarray, "m D"]:
        """The parts of windows, without those that a short window lacks."""
        parts = vectors.reshape(-1, self.queries.width)
        return parts[parts.any(axis=1)]

    def settle(self, blocks: Iterable[Block]) -> None:
        """Count the votes of every part over the whole target."""
        self._totals[:] = 0
        for block in blocks:
            for side, totals in zip(self.best(block), self._totals):
                for rows in self._groups(side.shape[1]):
                    totals[rows] += self._raised(side[rows]).sum(axis=1, dtype=np.float64)

    @contextmanager
    def keeping(self, file: BinaryIO) -> Iterator[None]:
        """Within it what `best` of a block gave is kept in the file for the passes that follow."""
        self._kept = Spilled(file)
        try:
            yield
        finally:
            self._kept = None

    def kept_bytes(self, windows: int) -> int:
        """What `best` of so many windows takes."""
        return self._totals.size * windows * np.dtype(np.float16).itemsize

    def best(self, block: Block) -> Float16[np.ndarray, "2 K n"]:
        """The best cosine of every part of the queries with the parts of every window, on both strands.

        The last block's are kept at hand: whoever asks for scores may ask for cosines next.
        """
        if self._last[0] is block:
            return self._last[1]
        out = None if self._kept is None else self._kept.of(block)
        if out is None:
            out = self._matched(block)
            if self._kept is not None:
                self._kept.put(block, out)
        self._last = block, out
        return out

    def _matched(self, block: Block) -> Float16[np.ndarray, "2 K n"]:
        n, width = block.vectors.shape[0], self.queries.width
        parts = block.vectors.reshape(n, -1, width)
        n_parts = parts.shape[1]
        unit = np.empty((width, n_parts * n), np.float32)
        for part in range(n_parts):  # one at a time: they are corrected in float64
            unit[:, part * n : (part + 1) * n] = self.debias.apply(parts[:, part]).T
        out = np.empty((2, self._owner.size, n), np.float16)
        for side, phases in zip(out, self._corrected()):
            for rows in self._groups(unit.shape[1]):
                highest = None
                for phase in phases:
                    found = (phase[rows] @ unit).reshape(-1, n_parts, n).max(axis=1)
                    highest = found if highest is None else np.maximum(highest, found, out=highest)
                side[rows] = highest
        return out

    def shares(self, best: Float16[np.ndarray, "2 K n"]) -> Float32[np.ndarray, "Q n"]:
        """The votes that windows get from all parts of each query, as a share of its parts, on the better strand.

        Raises:
            RuntimeError: where the votes were not counted before.
        """
        if not self._totals.any():
            raise RuntimeError("votes are shared before they were counted: call settle first")
        parts = np.diff(np.append(self._first, self._owner.size))
        out = np.zeros((self._first.size, best.shape[2]), np.float32)
        ends = np.append(self._first[1:], self._owner.size)
        for query, (first, end) in enumerate(zip(self._first, ends)):
            sides = [
                (1.0 / totals[first:end]).astype(np.float32) @ self._raised(side[first:end])
                for side, totals in zip(best, self._totals)
            ]
            out[query] = np.maximum(*sides) / parts[query]
        return out

    def scores(self, block: Block) -> Float32[np.ndarray, "Q n"]:
        """Votes for the windows of a block, from 0 to 1."""
        return self.shares(self.best(block))

    def cosines(self, block: Block) -> Float32[np.ndarray, "2 W n"]:
        """Of every window of every query on both strands: the mean of the best cosines of its parts, in every phase."""
        first = np.flatnonzero(np.diff(self._window, prepend=-1))
        counts = np.diff(np.append(first, self._window.size))
        sums = np.add.reduceat(self.best(block).astype(np.float32), first, axis=1)
        return np.repeat(sums / counts[:, None].astype(np.float32), self.queries.phases, axis=1)

    def best_cosines(self, block: Block) -> Float32[np.ndarray, "Q n"]:
        """The best of `cosines` over windows and strands."""
        return np.maximum.reduceat(self.cosines(block).max(axis=0), self.queries.starts, axis=0)

    def _raised(self, cosines: Float16[np.ndarray, "K n"]) -> Float32[np.ndarray, "K n"]:
        # Half is taken off, so that neither end leaves float32 where dimensions are many.
        return np.exp((cosines.astype(np.float32) - 0.5) * np.float32(SHARPNESS * sqrt(self.queries.width)))

    def _corrected(self) -> list[Float32[np.ndarray, "phases K D"]]:
        """Vectors of the parts that are taken, phase by phase, of both strands; made once."""
        phases, width = self.queries.phases, self.queries.width
        if not self._parts:
            for side, order in zip(self.queries.sides, (self._taken, self._mirrored)):
                parts = side.reshape(-1, phases, self.queries.parts, width).transpose(1, 0, 2, 3)
                self._parts.append(np.stack([self.debias.apply(one.reshape(-1, width)[order]) for one in parts]))
        return self._parts

    def _groups(self, columns: int) -> Iterable[slice]:
        step = max(_CELLS // max(columns, 1), 1)
        return (slice(first, first + step) for first in range(0, self._owner.size, step))


def _taken(queries: QueryVectors) -> tuple[Int64[np.ndarray, "K"], Int64[np.ndarray, "K"], Int64[np.ndarray, "K"]]:
    """Which parts speak for the queries, among all parts of all windows; the window of each; the same, read backward.

    Windows of a query overlap by half: each speaks by the parts that lie further inside it than in its neighbours.
    """
    owner, parts = queries.owner[:: queries.phases], queries.parts
    there = queries.sides[0].reshape(owner.size, queries.phases, parts, -1).any(axis=(1, 3))
    sizes = np.maximum(parts - there[:, ::-1].argmax(axis=1), 1)  # a window of nulls alone still has a row
    sizes[~there.any(axis=1)] = 1
    follows = np.diff(owner, prepend=-1) == 0
    first = np.where(follows, np.minimum(parts // 4, sizes - 1), 0)
    end = np.where(np.append(follows[1:], False), parts - parts // 4, sizes)
    at = np.arange(parts)
    window, part = np.nonzero((at >= first[:, None]) & (at < end[:, None]))
    return window * parts + part, window, window * parts + sizes[window] - 1 - part


def embedding_source(queries: QueryVectors, config: RetrievalConfig, **known) -> EmbeddingSource:
    """The source for such vectors: one a window, or one a part.

    Raises:
        ValueError: where hubs are to be corrected for among parts.
    """
    check_csls(config, parts=queries.parts)
    return (LateSource if queries.parts > 1 else EmbeddingSource)(queries, config, **known)


def check_csls(config: RetrievalConfig, *, parts: int) -> None:
    """Raise ValueError where hubs are to be corrected for among parts."""
    if config.csls and parts > 1:
        raise ValueError(
            f"retrieval.csls={config.csls} is of cosines of whole windows, the target's rows hold parts, "
            "whose votes are shared already: leave it out, or give --vectors of `plantgfm embed`, one a window"
        )

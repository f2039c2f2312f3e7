"""Sources of evidence: each scores every query against a block of target windows. No label passes here.

A source is shown every block once to learn what it needs of the target (`fit`), and then scores blocks in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, UInt8

from plantgfm.embedding.embed import Embedder
from plantgfm.retrieval.alignment import MATCH, AlignedShares, AlignmentIndex
from plantgfm.retrieval.config import FitOn, RetrievalConfig
from plantgfm.retrieval.debias import Debias, Moments
from plantgfm.retrieval.kmers import KmerIndex, canonical_columns, composition
from plantgfm.retrieval.projection import Projected, Projection
from plantgfm.retrieval.queries import Query
from plantgfm.retrieval.targets import Block, joined
from plantgfm.sequence import reverse_complement

EMBEDDING, CONTAINMENT, COMPOSITION, ALIGNMENT = "model", "weighted 11-mers", "6-mer cosine", "alignments"
_CHANCE_KMERS = 3  # shared by chance come in runs as long as this
_CHANCE_SCORE = 4 * MATCH
_CELLS = 1 << 23  # cosines at a time: 32 MiB


class Weighing(Enum):
    """What a k-mer counts that occurs in n of the N windows of a target."""

    EQUAL = "equal"
    RARITY = "rarity"  # log((N + 1) / (n + 1))
    VOTES = "votes"  # 1 / (n + 1) in each: it has one vote, which they share


@runtime_checkable
class Source(Protocol):
    """Evidence for where queries lie."""

    needs_bases: bool
    floor: Float64[np.ndarray, "Q"]  # of a query's scores: differences below it are chance, however rare they are

    def fit(self, block: Block) -> None:
        """Learn from a block of the target; every block comes once, before the first is scored."""

    def scores(self, block: Block) -> Float32[np.ndarray, "Q n"]:
        """How well every query fits every window of the block."""


class QueryVectors:
    """Vectors of all windows of all queries on both strands, as embedded; each window in all its phases, in turn.

    Attributes:
        owner: which query each window belongs to, int64 [W].
        sides: float32 [W, D] of the forward strand, and of the backward one; with parts [W, parts * D].
        phases: of each window.
        parts: vectors in a row, side by side, each of a part of the window.
        width: dimensions of one of them.
    """

    def __init__(
        self,
        owner: Int64[np.ndarray, "W"],
        forward: np.ndarray,
        backward: np.ndarray,
        *,
        phases: int = 1,
        parts: int = 1,
    ):
        self.owner, self.sides, self.phases, self.parts = owner, (forward, backward), phases, parts
        self.width = forward.shape[1] // parts
        self.starts = np.flatnonzero(np.diff(owner, prepend=-1))

    def first(self, count: int) -> QueryVectors:
        """Those of the first queries."""
        own = self.owner < count
        return QueryVectors(self.owner[own], *(side[own] for side in self.sides), phases=self.phases, parts=self.parts)


def embed_queries(embedder: Embedder, queries: list[Query], config: RetrievalConfig) -> QueryVectors:
    """Vectors of the queries; strand and phase are handled on this side, so that the target is embedded once.

    Phase p of a window lacks its first p bases, on the strand that is read: where words of six bases begin shifts by as
    much. A window that has no more than that is taken whole.
    """
    phases = range(config.query_phases or (6 if embedder.parts > 1 else 1))
    sequences = [window for query in queries for window in query.windows]
    owner = np.repeat(np.arange(len(queries)), [len(query.windows) * len(phases) for query in queries])

    def embedded(windows: Iterable[UInt8[np.ndarray, "_"]]) -> np.ndarray:
        return embedder.embed([codes[p if codes.size > p else 0 :] for codes in windows for p in phases])

    forward = embedded(sequences)
    backward = embedded(reverse_complement(codes) for codes in sequences) if config.both_strands else forward
    return QueryVectors(owner, forward, backward, phases=len(phases), parts=embedder.parts)


class EmbeddingSource:
    """Cosine of debiased vectors, the best over a query's windows and strands."""

    needs_bases = False

    def __init__(
        self,
        queries: QueryVectors,
        config: RetrievalConfig,
        *,
        debias: Debias | Projected | None = None,
        moments: Moments | None = None,
        n_real: int | None = None,
        projection: Projection | None = None,
    ):
        """Fits its correction on the target, and on the queries where that is asked for.

        Args:
            queries: from `embed_queries`.
            config: of the correction.
            debias: the correction, where it is known.
            moments: of the target, where another source takes them in.
            n_real: the first queries, which the correction may be fitted on; the others are a null. None: all are real.
            projection: of corrected vectors; what is known as the correction then holds it.
        """
        self.queries, self.config = queries, config
        self.floor = np.zeros(queries.starts.size)
        self.moments, self._own = moments or Moments(), moments is None
        self._debias, self.projection = debias, projection
        self.fitted_on: tuple[np.ndarray, ...] = ()  # of the queries' vectors
        if self._own and debias is None and config.fit_on is FitOn.BOTH:
            real = queries if n_real is None else queries.first(n_real)
            self.fitted_on = real.sides
        for side in self.fitted_on:
            self.moments.add(self.rows_of(side), weight=1 / (2 * queries.phases))
        self._sides: list[np.ndarray] = []

    def fit(self, block: Block) -> None:
        """Take in the moments of a block."""
        if self._own and self._debias is None:
            self.moments.add(self.rows_of(block.vectors))

    def rows_of(self, vectors: Float32[np.ndarray, "n D"]) -> Float32[np.ndarray, "n D"]:
        """What of some windows the correction is fitted on."""
        return vectors

    def settle(self, blocks: Iterable[Block]) -> None:
        """Learn what needs the correction: nothing, where a window has one vector."""

    @contextmanager
    def keeping(self, file: BinaryIO) -> Iterator[None]:
        """Keep in a file what takes long to compute again: nothing, where a window has one vector."""
        yield

    @property
    def debias(self) -> Debias | Projected:
        """The correction; the target has been seen when it is asked for."""
        if self._debias is None:
            c = self.config
            fitted = self.moments.fit(components=c.components, whiten=c.whiten, ridge=c.ridge)
            self._debias = fitted if self.projection is None else Projected(fitted, self.projection)
        return self._debias

    def cosines(self, block: Block) -> Float32[np.ndarray, "2 W n"]:
        """Of every window of every query on both strands."""
        unit = self.debias.apply(block.vectors)
        return np.stack([side @ unit.T for side in self.sides])

    @property
    def sides(self) -> list[np.ndarray]:
        """Corrected vectors of the queries on both strands, made once."""
        self._sides = self._sides or [self.debias.apply(side) for side in self.queries.sides]
        return self._sides

    def views(self, query: int | np.integer) -> Float32[np.ndarray, "V D"]:
        """Those of one query, first of the forward and then of the backward strand."""
        starts = self.queries.starts
        last = starts[query + 1] if query + 1 < starts.size else self.queries.owner.size
        return np.concatenate([side[starts[query] : last] for side in self.sides])

    def scores(self, block: Block) -> Float32[np.ndarray, "Q n"]:
        """The best cosine; where hubs are corrected for, twice that less the mean of the window's nearest queries.

        That is CSLS (Conneau et al. 2018, ICLR, arXiv:1710.04087) without its term of the query, which is the same for
        all windows.
        """
        best, nearest = self.best_cosines(block), self.config.csls
        if not nearest:
            return best
        return 2 * best - np.partition(best, -nearest, axis=0)[-nearest:].mean(axis=0)

    def best_cosines(self, block: Block) -> Float32[np.ndarray, "Q n"]:
        """The best over windows, phases and strands; queries pass by in groups, to bound memory."""
        unit, starts = self.debias.apply(block.vectors).T, self.queries.starts
        ends = np.append(starts[1:], self.queries.owner.size)
        out = np.empty((starts.size, unit.shape[1]), np.float32)
        first = 0
        while first < starts.size:
            room = starts[first] + max(_CELLS // max(unit.shape[1], 1), 1)
            last = max(int(np.searchsorted(ends, room, side="right")), first + 1)
            rows = slice(starts[first], ends[last - 1])
            best = self.sides[0][rows] @ unit
            np.maximum(best, self.sides[1][rows] @ unit, out=best)
            out[first:last] = np.maximum.reduceat(best, starts[first:last] - starts[first], axis=0)
            first = last
        return out


COSINE_BINS = 100


def cosine_histogram(
    source: EmbeddingSource, blocks: Iterable[Block], *, n_queries: int, step: int = 1
) -> Int64[np.ndarray, "bins"]:
    """How many of a source's cosines lie in each of 100 bins from -1 to 1, over the windows of the first queries.

    Args:
        source: of the cosines.
        blocks: windows of the target.
        n_queries: the first so many.
        step: from one window that is looked at to the next.
    """
    counts = np.zeros(COSINE_BINS, np.int64)
    for block in blocks:
        chosen = block if step == 1 else block.take(np.arange(0, block.rows.size, step))
        scores = source.best_cosines(chosen)[:n_queries]
        bins = np.clip(((scores + 1) * (COSINE_BINS / 2)).astype(np.int64), 0, COSINE_BINS - 1)
        counts += np.bincount(bins.ravel(), minlength=COSINE_BINS)
    return counts


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


class CompositionSource:
    """Cosine of centred k-mer frequencies: the mean over the target's windows is taken off both."""

    needs_bases = True

    def __init__(self, queries: list[Query], *, k: int):
        self._k, self._columns = k, canonical_columns(k)
        bases, offsets = joined([query.bases() for query in queries])
        self._queries = composition(bases, offsets, k=k, columns=self._columns)
        self.floor = np.zeros(len(queries))
        self._sum, self._rows = np.zeros(self._queries.shape[1]), 0

    def fit(self, block: Block) -> None:
        """Take in the mean."""
        found = composition(block.bases, block.offsets, k=self._k, columns=self._columns)
        self._sum += found.sum(axis=0, dtype=np.float64)
        self._rows += found.shape[0]

    def scores(self, block: Block) -> Float32[np.ndarray, "Q n"]:
        """Cosines."""
        mean = (self._sum / self._rows).astype(np.float32)
        found = composition(block.bases, block.offsets, k=self._k, columns=self._columns)
        return _unit(self._queries - mean) @ _unit(found - mean).T


class ContainmentSource:
    """Share of a query's distinct canonical k-mers that occur in a window, each weighed as asked for."""

    needs_bases = True

    def __init__(self, queries: list[Query], *, k: int = 11, weighing: Weighing):
        """Counts what the weights need in `fit`."""
        self._index, self._weighing = KmerIndex([query.bases() for query in queries], k), weighing
        self._windows, self._rows = np.zeros(self._index.vocabulary.size, np.int64), 0
        self.floor = _CHANCE_KMERS / np.maximum(self._index.sizes, 1)

    def fit(self, block: Block) -> None:
        """Count the windows that hold each k-mer."""
        if self._weighing is not Weighing.EQUAL:
            self._windows += self._index.windows_with(block.bases, block.offsets)
            self._rows += block.rows.size

    def scores(self, block: Block) -> Float32[np.ndarray, "Q n"]:
        """Shares, from 0 to 1."""
        weights = {
            Weighing.EQUAL: lambda: np.ones(self._windows.size),
            Weighing.RARITY: lambda: np.log((self._rows + 1) / (self._windows + 1)),
            Weighing.VOTES: lambda: 1.0 / (self._windows + 1.0),
        }
        return self._index.shared(block.bases, block.offsets, weights[self._weighing]())


class AlignmentSource:
    """Ungapped local alignments, the better strand of a query."""

    needs_bases = True

    def __init__(self, queries: list[Query], *, weighed: bool = True):
        """Aligns queries.

        Args:
            queries: what to align.
            weighed: a base that aligns in many windows counts less in each, as `AlignedShares` has it.
        """
        self._index = AlignmentIndex([query.bases() for query in queries])
        self._shares = AlignedShares(self._index.lengths, weighed=weighed)
        self.floor = _CHANCE_SCORE / (MATCH * np.maximum(self._index.lengths, 1))

    def aligned(self, block: Block) -> Int32[np.ndarray, "A 6"]:
        """The alignments in a block, which is what costs time."""
        return self._index.aligned(block.bases, block.offsets)

    def learn(self, found: Int32[np.ndarray, "A 6"]) -> None:
        """What `fit` does, of alignments that are there."""
        self._shares.learn(found)

    def fit(self, block: Block) -> None:
        """Count the windows that each base of a query aligns in."""
        self.learn(self.aligned(block))

    def shares(self, found: Int32[np.ndarray, "A 6"], n_windows: int) -> Float32[np.ndarray, "2 Q n"]:
        """What `by_strand` gives, of alignments that are there."""
        return self._shares.scores(found, n_windows)

    def by_strand(self, block: Block) -> Float32[np.ndarray, "2 Q n"]:
        """Shares of a perfect alignment, of the forward and of the backward strand."""
        return self.shares(self.aligned(block), block.rows.size)

    def scores(self, block: Block) -> Float32[np.ndarray, "Q n"]:
        """Shares of a perfect alignment."""
        return self.by_strand(block).max(axis=0)


class FirstQueries:
    """The first queries of another source that has learned its target."""

    def __init__(self, source: Source, count: int):
        self._source, self._count = source, count
        self.needs_bases, self.floor = source.needs_bases, source.floor[:count]

    def fit(self, block: Block) -> None:
        """The other source knows what it needs."""

    def scores(self, block: Block) -> Float32[np.ndarray, "Q n"]:
        """Rows of the first queries."""
        return self._source.scores(block)[: self._count]


class GcSource:
    """Minus the difference in GC content."""

    needs_bases = True

    def __init__(self, queries: list[Query]):
        bases, offsets = joined([query.bases() for query in queries])
        self._queries = gc_contents(bases, offsets)
        self.floor = np.zeros(len(queries))

    def fit(self, block: Block) -> None:
        """Nothing of the target is needed."""

    def scores(self, block: Block) -> Float32[np.ndarray, "Q n"]:
        """From -1 to 0."""
        found = gc_contents(block.bases, block.offsets)
        return -np.abs(self._queries[:, None] - found[None, :]).astype(np.float32)


def gc_contents(bases: np.ndarray, offsets: np.ndarray) -> Float64[np.ndarray, "n"]:
    """Share of G and C among the known bases of each sequence; a half where none is known."""
    strong = np.concatenate([[0], np.cumsum((bases == 1) | (bases == 2))])
    known = np.concatenate([[0], np.cumsum(bases < 4)])
    counts, totals = np.diff(strong[offsets]), np.diff(known[offsets])
    return np.where(totals > 0, counts / np.maximum(totals, 1), 0.5)

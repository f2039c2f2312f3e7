"""Windows ranked for every query, by each source of evidence and by their sum. No label passes here.

The target is read three times: sources learn from it, the mean and spread of every query's scores are taken, windows
are ranked; where rows hold parts of windows, votes are counted in a pass of their own. A source speaks in z, standard
deviations of the query's own scores above their mean, so that one that sees nothing adds noise of size 1 and one that
is sure outweighs it; what is fused is the weighted sum of z.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO, no_type_check

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64
from numba import njit

from plantgfm.retrieval.index import Approximation
from plantgfm.retrieval.late import LateSource
from plantgfm.retrieval.sources import AlignmentSource, Source
from plantgfm.retrieval.spilled import Spilled
from plantgfm.retrieval.targets import Block, Targets

FUSED = "fused"
_NO_SPREAD = 1e-9  # what rounding leaves of equal scores


@dataclass(frozen=True)
class Background:
    """The scores of one source over all windows of the target, per query."""

    mean: Float64[np.ndarray, "Q"]
    spread: Float64[np.ndarray, "Q"]  # standard deviation plus the source's floor; 1 where both are 0

    def z(self, scores: Float32[np.ndarray, "Q n"]) -> Float64[np.ndarray, "Q n"]:
        """Scores in spreads above the mean."""
        return (scores - self.mean[:, None]) / self.spread[:, None]


@dataclass(frozen=True)
class Ranking:
    """The best windows of every query, best first, after windows that overlap a better one were merged into it."""

    rows: list[Int64[np.ndarray, "_"]]  # of the target, one array a query
    scores: list[Float64[np.ndarray, "_"]]


@dataclass(frozen=True)
class Search:
    """What a search found."""

    rankings: dict[str, Ranking]  # by source, and `FUSED`
    backgrounds: dict[str, Background]
    weights: dict[str, float]  # of the sources in the sum
    best_z: Float32[np.ndarray, "N"]  # fused, over all queries that count, at every window; NaN where none was scored
    approximation: Approximation | None = None  # None: every query was compared with every window
    declined: str = ""  # why that is so where an approximate index was asked first

    def told(self) -> dict[str, object]:
        """How windows were found, for the manifest."""
        if self.approximation is not None:
            return self.approximation.told()
        return {"index": "exact"} | ({"why": self.declined} if self.declined else {})

    def note(self) -> str:
        """The same for a reader of the hits; empty where nothing but exact search was asked for."""
        return self.declined if self.approximation is None else self.approximation.note()


def fused_z(
    parts: Mapping[str, Float32[np.ndarray, "Q n"]], backgrounds: Mapping[str, Background], weights: Mapping[str, float]
) -> Float64[np.ndarray, "Q n"]:
    """The weighted sum of z over the square root of the summed squares of the weights: noise keeps a spread of 1."""
    total = sum(weight * backgrounds[name].z(parts[name]) for name, weight in weights.items())
    return total / np.sqrt(sum(weight * weight for weight in weights.values()))


class Top:
    """The best `keep` windows of every query so far; of equals those with the smaller row."""

    def __init__(self, n_queries: int, keep: int):
        self._scores = np.full((n_queries, keep), -np.inf)
        self._rows = np.full((n_queries, keep), np.iinfo(np.int64).max)

    def add(self, scores: Float[np.ndarray, "Q n"], rows: Int64[np.ndarray, "n"]) -> None:
        """Take in windows; rows ascend over all calls."""
        _push(self._scores, self._rows, np.ascontiguousarray(scores), rows)  # of float32, no copy

    def best(self, query: int) -> tuple[Int64[np.ndarray, "M"], Float64[np.ndarray, "M"]]:
        """Rows and scores of a query, best first."""
        found = self._rows[query] < np.iinfo(np.int64).max
        rows, scores = self._rows[query][found], self._scores[query][found]
        order = np.lexsort((rows, -scores))
        return rows[order], scores[order]


@njit(inline="always")
@no_type_check
def _worse(score_a, row_a, score_b, row_b):
    return score_a < score_b or (score_a == score_b and row_a > row_b)


@njit(cache=True, nogil=True)
@no_type_check
def _push(scores, rows, found, numbers):
    """Heaps with the worst entry on top; an equal score of a later row never displaces one."""
    keep = scores.shape[1]
    for query in range(found.shape[0]):
        heap, owners = scores[query], rows[query]
        for column in range(found.shape[1]):
            value = found[query, column]
            if value <= heap[0] and not (value == heap[0] and numbers[column] < owners[0]):
                continue
            row, at = numbers[column], 0
            while True:
                child = 2 * at + 1
                if child >= keep:
                    break
                if child + 1 < keep and _worse(heap[child + 1], owners[child + 1], heap[child], owners[child]):
                    child += 1
                if not _worse(heap[child], owners[child], value, row):
                    break
                heap[at], owners[at] = heap[child], owners[child]
                at = child
            heap[at], owners[at] = value, row


def merged_rows(rows: Int64[np.ndarray, "M"], targets: Targets, *, top_k: int) -> Int64[np.ndarray, "K"]:
    """Places in `rows`, best first, without windows that overlap a better one; at most `top_k`."""
    kept = np.empty(min(top_k, rows.size), np.int64)
    places = targets.sequence[rows].astype(np.int64), targets.start[rows], targets.end[rows]
    return kept[: _merge(*places, kept)]


@njit(cache=True, nogil=True)
@no_type_check
def _merge(sequence, start, end, kept):
    n = 0
    for i in range(sequence.size):
        free = n < kept.size
        for j in kept[:n]:
            if sequence[i] == sequence[j] and start[i] < end[j] and start[j] < end[i]:
                free = False
                break
        if free:
            kept[n] = i
            n += 1
    return n


def search(
    targets: Targets,
    sources: Mapping[str, Source],
    *,
    weights: Mapping[str, float],
    n_queries: int,
    n_counted: int,
    top_k: int,
    progress: Callable[[str, int, int], None] | None = None,
) -> Search:
    """Rank the windows of a target by every source alone and by their weighted sum.

    Args:
        targets: windows.
        sources: all of them are ranked by.
        weights: of those that are summed; none: nothing is.
        n_queries: rows of every source.
        n_counted: the first of them, which `best_z` is taken over; the others are a null.
        top_k: windows a query, after merging.
        progress: called with (label, done, total) after every block.
    """
    late = [one for one in sources.values() if isinstance(one, LateSource)]
    bases = any(source.needs_bases for source in sources.values())
    passes = _Passes(targets, bases=bases, count=3 + len(late), progress=progress)
    for source in late:
        _check_room(source.kept_bytes(len(targets)))
    with tempfile.TemporaryFile() as file:
        kept = {name: _Kept(one, file) if type(one) is AlignmentSource else one for name, one in sources.items()}
        for block in passes.blocks():
            for source in kept.values():
                source.fit(block)
        with ExitStack() as stack:
            for source in late:
                stack.enter_context(source.keeping(file))
                source.settle(passes.blocks())
            return _searched(targets, kept, passes, weights, n_queries=n_queries, n_counted=n_counted, top_k=top_k)


def _check_room(needed: int) -> None:
    """Refuse a search whose cosines of parts would not find room in the folder of temporary files."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"cosines of all parts need {needed / 1e9:,.1f} GB for a while, {folder} has {free / 1e9:,.1f} free: set "
            "TMPDIR to a larger disk, give fewer queries, or --vectors of `plantgfm embed`, one a window"
        )


def _searched(
    targets: Targets,
    sources: Mapping[str, Source],
    passes: _Passes,
    weights: Mapping[str, float],
    *,
    n_queries: int,
    n_counted: int,
    top_k: int,
) -> Search:
    """The second pass and the third."""
    backgrounds = backgrounds_of(passes.blocks(), sources, n_queries=n_queries)
    keep = min(top_k * (1 + targets.crowding()), len(targets))
    tops = {name: Top(n_queries, keep) for name in (*sources, *([FUSED] if weights else []))}
    best_z = np.empty(len(targets), np.float32)
    for block in passes.blocks():
        found = {name: source.scores(block) for name, source in sources.items()}
        if weights:
            found[FUSED] = fused_z(found, backgrounds, weights)
            best_z[block.rows] = found[FUSED][:n_counted].max(axis=0)
        for name, scores in found.items():
            tops[name].add(scores, block.rows)
    rankings = {name: _ranking(top, targets, n_queries=n_queries, top_k=top_k) for name, top in tops.items()}
    return Search(rankings, backgrounds, dict(weights), best_z)


class _Kept:
    """A source whose alignments are made once a block, where they are learned from, and kept in a file."""

    def __init__(self, source: AlignmentSource, file: BinaryIO):
        self.needs_bases, self.floor = source.needs_bases, source.floor
        self._source, self._found = source, Spilled(file)

    def fit(self, block: Block) -> None:
        """Align a block."""
        found = self._source.aligned(block)
        self._source.learn(found)
        self._found.put(block, found)

    def scores(self, block: Block) -> Float32[np.ndarray, "Q n"]:
        """Those of the source."""
        return self._source.shares(self._found.of(block), block.rows.size).max(axis=0)


class _Passes:
    """The blocks of a target, over and over; says how far the passes of a search are."""

    def __init__(self, targets: Targets, *, bases: bool, count: int, progress: Callable[[str, int, int], None] | None):
        self._targets, self._bases, self._count, self._progress, self._done = targets, bases, count, progress, 0

    def blocks(self) -> Iterator[Block]:
        """One pass."""
        for block in self._targets.blocks(bases=self._bases):
            yield block
            self._done += block.rows.size
            if self._progress is not None:
                self._progress("search", self._done, self._count * len(self._targets))


def backgrounds_of(blocks: Iterator[Block], sources: Mapping[str, Source], *, n_queries: int) -> dict[str, Background]:
    """Mean and spread of every query's scores over the windows of some blocks, by source."""
    sums, shift, rows = {name: np.zeros((2, n_queries)) for name in sources}, {}, 0
    for block in blocks:
        rows += block.rows.size
        for name, source in sources.items():
            scores = source.scores(block).astype(np.float64)
            shift.setdefault(name, scores.mean(axis=1))
            moved = scores - shift[name][:, None]
            sums[name] += np.stack([moved.sum(axis=1), np.square(moved).sum(axis=1)])
    out = {}
    for name, (first, second) in sums.items():
        mean = first / rows
        spread = np.sqrt(np.maximum(second / rows - mean**2, 0.0)) + sources[name].floor
        out[name] = Background(shift[name] + mean, np.where(spread > _NO_SPREAD, spread, 1.0))
    return out


def _ranking(top: Top, targets: Targets, *, n_queries: int, top_k: int) -> Ranking:
    rows, scores = [], []
    for query in range(n_queries):
        found, values = top.best(query)
        kept = merged_rows(found, targets, top_k=top_k)
        rows.append(found[kept])
        scores.append(values[kept])
    return Ranking(rows, scores)


def hit_blocks(
    targets: Targets, ranking: Ranking, *, n_queries: int, bases: bool, top_k: int
) -> Iterator[tuple[Block, list[tuple[int, int, int]]]]:
    """The first `top_k` windows of each query, block by block.

    Yields:
        Windows, and for each hit among them its query, its place in the ranking and its window's place in the block.
    """
    sizes = [min(ranking.rows[query].size, top_k) for query in range(n_queries)]
    query = np.repeat(np.arange(n_queries), sizes)
    place = np.concatenate([np.arange(size) for size in sizes])
    row = np.concatenate([ranking.rows[query][:size] for query, size in enumerate(sizes)])
    for block in targets.blocks(bases=bases):
        here = np.flatnonzero((row >= block.rows[0]) & (row <= block.rows[-1]))
        if here.size:
            wanted, column = np.unique(row[here] - block.rows[0], return_inverse=True)
            yield block.take(wanted), list(zip(query[here].tolist(), place[here].tolist(), column.tolist()))

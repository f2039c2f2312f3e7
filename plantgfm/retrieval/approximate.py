"""Search by an approximate index: the embedding alone, cosines of what it names computed exactly, recall measured.

The index names windows for every vector of a query; their cosines are computed from the vectors themselves, so that
what can be wrong is that a window was not named. How many lists it reads is found on some queries that exact search
answers, too, and its recall is measured on others of them. Mean and spread of a query's scores, which the maximum over
its vectors keeps out of reach of the covariance, are those of windows that lie evenly over the target.

Fused ranking has no such search: a window that k-mers and alignments rank first may have any cosine, so that an index
of vectors must not choose what they see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import no_type_check

import numpy as np
from jaxtyping import Float64, Int64
from numba import njit

from plantgfm.retrieval.config import IndexUse, RetrievalConfig
from plantgfm.retrieval.index import Approximation, Index, IndexProcess, has_library, home_of, open_index, spread_rows
from plantgfm.retrieval.search import FUSED, Ranking, Search, Top, backgrounds_of, merged_rows, search
from plantgfm.retrieval.sources import EMBEDDING, EmbeddingSource
from plantgfm.retrieval.targets import Targets

_FIRST_PROBES, _OVERSAMPLED = 8, 2
_VIEWS = 2_048  # vectors of queries at a time
_LEAST, _MEASURED, _ONE_OF = 8, 32, 8  # queries that exact search answers, too: one of eight, from 8 to 32
_WORTH_READING = 0.25  # of the lists: beyond that, products of whole blocks are quicker
_BACKGROUND = 32_768  # windows for mean and spread: 0.4 % standard error of the spread

Progress = Callable[[str, int, int], None]


def asks_for_index(
    config: RetrievalConfig, weights: dict[str, float], windows: int, *, projected: bool = False, part_bp: int = 0
) -> bool:
    """Whether a search is to use the approximate index.

    Args:
        config: index, index_least_windows, csls.
        weights: of the sources that windows are ranked by.
        windows: of the target.
        projected: whether a projection is asked for, which is no matrix that an index could be asked with.
        part_bp: of their vectors; parts are matched one by one, which no index does.

    Raises:
        ValueError: when it is asked for and can't be.
    """
    alone = list(weights) == [EMBEDDING]
    if config.index is IndexUse.APPROXIMATE:
        if not alone:
            raise ValueError(
                "retrieval.index=APPROXIMATE is of vectors alone, and would hide windows from k-mers and alignments: "
                "give --rank-by embedding with it"
            )
        if projected:
            raise ValueError("retrieval.index=APPROXIMATE knows no projection: give EXACT, or leave --projection out")
        if part_bp:
            raise ValueError(
                f"retrieval.index=APPROXIMATE is of one vector a window, the target has part_bp={part_bp}: give EXACT"
            )
        if not has_library():
            raise ValueError(
                "retrieval.index=APPROXIMATE needs another package: pip install 'plantgfm[index]', or give EXACT"
            )
        return True
    whole = not config.csls and not projected and not part_bp
    wanted = config.index is IndexUse.AUTO and alone and whole and windows >= config.index_least_windows
    return wanted and has_library()


def search_by_index(
    targets: Targets,
    source: EmbeddingSource,
    *,
    recall: float,
    most_read: float = 1.0,
    n_queries: int,
    n_counted: int,
    top_k: int,
    progress: Progress | None = None,
) -> Search | str:
    """Rank the windows of a target by the embedding, of which an approximate index names the nearest.

    Args:
        targets: windows.
        source: the queries; it learns the moments of the target.
        recall: share of the exact hits that lists are read for.
        most_read: share of the lists; a search that would have to read more is declined.
        n_queries: of the source.
        n_counted: the first of them, which `best_z` is taken over, NaN where no window was named.
        top_k: windows a query, after merging.
        progress: called with (label, done, total).

    Returns:
        What was found; or why exact search is to be asked instead, where too many lists would have to be read.
    """
    keep = min(top_k * (1 + targets.crowding()), len(targets))
    asked = spread_rows(n_counted, min(_MEASURED, max(_LEAST, n_counted // _ONE_OF)))
    with home_of(targets) as home, IndexProcess() as process:
        index = open_index(targets, source, home, process, progress=progress)
        exact, sample = _exact(targets, source, index, asked, keep=keep, progress=progress)
        wanted = _merged([exact.best(i) for i in range(asked.size)], targets, top_k=top_k).rows
        namer = _Namer(process, index, source, best=min(_OVERSAMPLED * keep, len(targets)))
        probes = _probes(namer, asked[::2], wanted[::2], recall=recall)
        if probes > most_read * index.lists:
            return (
                f"searched exactly: for {recall:.0%} of the hits the approximate index would read {probes:,} of its "
                f"{index.lists:,} lists"
            )
        named = list(namer.named(np.arange(n_queries), probes=probes))
    best = _with_cosines(targets, source, named, keep=keep, progress=progress)
    background = backgrounds_of(sample.blocks(), {EMBEDDING: source}, n_queries=n_queries)[EMBEDDING]
    ranking = _merged(best, targets, top_k=top_k)
    fused = [(s - background.mean[q]) / background.spread[q] for q, s in enumerate(ranking.scores)]
    best_z = np.full(len(targets), np.nan, np.float32)
    for query, (rows, scores) in enumerate(best[:n_counted]):
        best_z[rows] = np.fmax(best_z[rows], (scores - background.mean[query]) / background.spread[query])
    measured = slice(1, None, 2) if asked.size > 1 else slice(None)
    found = _share(wanted[measured], [ranking.rows[query] for query in asked[measured]])
    told = Approximation(index.library, index.lists, probes, found, top_k, asked[measured].size, sample)
    rankings = {EMBEDDING: ranking, FUSED: Ranking(ranking.rows, fused)}
    return Search(rankings, {EMBEDDING: background}, {EMBEDDING: 1.0}, best_z, told)


def search_by_embedding(
    targets: Targets, source: EmbeddingSource, config: RetrievalConfig, *, progress: Progress | None, **sizes: int
) -> Search:
    """As `search_by_index`; left to `auto`, by exact search where the index would read too much to be quicker."""
    most_read = _WORTH_READING if config.index is IndexUse.AUTO else 1.0
    found = search_by_index(
        targets, source, recall=config.index_recall, most_read=most_read, progress=progress, **sizes
    )
    if isinstance(found, Search):
        return found
    exact = search(targets, {EMBEDDING: source}, weights={EMBEDDING: 1.0}, progress=progress, **sizes)
    return replace(exact, declined=found)


def _merged(found: list[tuple[np.ndarray, np.ndarray]], targets: Targets, *, top_k: int) -> Ranking:
    kept = [merged_rows(rows, targets, top_k=top_k) for rows, _ in found]
    return Ranking([rows[k] for (rows, _), k in zip(found, kept)], [values[k] for (_, values), k in zip(found, kept)])


def _share(wanted: list[Int64[np.ndarray, "_"]], found: list[Int64[np.ndarray, "_"]]) -> float:
    """Of all rows that are wanted, those that were found."""
    return sum(np.isin(*pair).sum() for pair in zip(wanted, found)) / sum(rows.size for rows in wanted)


def _exact(
    targets: Targets,
    source: EmbeddingSource,
    index: Index,
    asked: Int64[np.ndarray, "S"],
    *,
    keep: int,
    progress: Progress | None,
) -> tuple[Top, Targets]:
    """The best windows of some queries among all, and windows that lie evenly over the target.

    With u a vector of a query and C(t - m) a corrected one of the target, u . C(t - m) = (C u) . (t - m), which spares
    the product with C for every window; norms are those that the index knows.
    """
    debias, top = source.debias, Top(asked.size, keep)
    turned = [(source.views(query) @ debias.matrix).astype(np.float32) for query in asked]
    mean, rows, kept = debias.mean.astype(np.float32), spread_rows(len(targets), _BACKGROUND), []
    for block in targets.blocks():
        moved, norms = (block.vectors - mean).T, index.norms[block.rows]
        scale = np.where(norms > 0, 1 / np.where(norms > 0, norms, 1), 0).astype(np.float32)
        top.add(np.stack([(views @ moved).max(axis=0) * scale for views in turned]), block.rows)
        kept.append(block.vectors[rows[(rows >= block.rows[0]) & (rows <= block.rows[-1])] - block.rows[0]])
        if progress is not None:
            progress("search", int(block.rows[-1]) + 1, 2 * len(targets))
    columns = {name: getattr(targets, name)[rows] for name in ("sequence", "start", "end", "repeat_fraction")}
    return top, replace(targets, **columns, source=np.concatenate(kept), fasta=())


class _Namer:
    """Asks the index which windows may be near to queries."""

    def __init__(self, process: IndexProcess, index: Index, source: EmbeddingSource, *, best: int):
        self._process, self.index, self._source, self._best = process, index, source, best

    def named(self, queries: Int64[np.ndarray, "S"], *, probes: int) -> Iterator[Int64[np.ndarray, "_"]]:
        """Rows for each query, at most as many as one of its vectors may name, ascending."""
        held: list[np.ndarray] = []
        for query in queries:
            views = self._source.views(query)
            if held and sum(map(len, held)) + len(views) > _VIEWS:
                yield from self._ask(held, probes)
                held = []
            held.append(views)
        yield from self._ask(held, probes)

    def _ask(self, held: list[np.ndarray], probes: int) -> Iterator[Int64[np.ndarray, "_"]]:
        rows, scores = self.index.search(self._process, np.concatenate(held), best=self._best, probes=probes)
        ends = np.cumsum([len(views) for views in held])
        for first, last in zip(np.append(0, ends[:-1]), ends):
            order = np.lexsort((rows[first:last].ravel(), -scores[first:last].ravel()))
            own = rows[first:last].ravel()[order]
            own = own[own >= 0]
            firsts = np.sort(np.unique(own, return_index=True)[1])[: self._best]
            yield np.sort(own[firsts])


def _probes(
    namer: _Namer, queries: Int64[np.ndarray, "S"], wanted: list[Int64[np.ndarray, "_"]], *, recall: float
) -> int:
    """How many lists have to be read for a recall; all of them where fewer do not give it."""
    probes = min(_FIRST_PROBES, namer.index.lists)
    while probes < namer.index.lists and _share(wanted, list(namer.named(queries, probes=probes))) < recall:
        probes = min(2 * probes, namer.index.lists)
    return probes


def _with_cosines(
    targets: Targets,
    source: EmbeddingSource,
    named: list[Int64[np.ndarray, "_"]],
    *,
    keep: int,
    progress: Progress | None,
) -> list[tuple[Int64[np.ndarray, "_"], Float64[np.ndarray, "_"]]]:
    """The best `keep` of the rows named for every query, best first, and their cosines."""
    query, row = np.repeat(np.arange(len(named)), [rows.size for rows in named]), np.concatenate(named)
    cosines, by_row = np.empty(row.size, np.float32), np.argsort(row, kind="stable")
    places = source.queries.starts, np.append(source.queries.starts[1:], source.queries.owner.size)
    done = 0
    for block in targets.blocks():
        upto = int(np.searchsorted(row[by_row], block.rows[-1], side="right"))
        here, done = by_row[done:upto], upto
        wanted, column = np.unique(row[here] - block.rows[0], return_inverse=True)
        unit = source.debias.apply(block.vectors[wanted])
        cosines[here] = _pair_cosines(*source.sides, *places, unit, query[here], column)
        if progress is not None:
            progress("search", len(targets) + int(block.rows[-1]) + 1, 2 * len(targets))
    out, ends = [], np.cumsum([rows.size for rows in named])
    for rows, last in zip(named, ends):
        own = cosines[last - rows.size : last]
        order = np.lexsort((rows, -own))[:keep]
        out.append((rows[order], own[order].astype(np.float64)))
    return out


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
@no_type_check
def _pair_cosines(forward, backward, starts, ends, unit, query, column):
    """The best product of any vector of a query with one of a window; sums may be formed in the order that is quick."""
    out = np.empty(query.size, np.float32)
    for pair in range(query.size):
        window, best = unit[column[pair]], np.float32(-2)
        for view in range(starts[query[pair]], ends[query[pair]]):
            ahead, back = np.float32(0), np.float32(0)
            for d in range(window.size):
                ahead += forward[view, d] * window[d]
                back += backward[view, d] * window[d]
            best = max(best, ahead, back)
        out[pair] = best
    return out

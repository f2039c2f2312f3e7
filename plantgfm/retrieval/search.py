"""Scores of queries against target windows, ranks, hits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from plantgfm.embedding.embed import Embedder
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.debias import Debias, fit_debias
from plantgfm.retrieval.queries import Query
from plantgfm.sequence import Interval, reverse_complement

_BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class Hit:
    """One target window found for a query."""

    query: str
    query_span: tuple[int, int]  # the window of the query that scored best, half-open, bp
    rank: int  # from 1, after overlapping windows have been merged
    target: Interval
    strand: str  # of the query against the target
    cosine: float
    z: float  # cosine against all windows of this target, in standard deviations
    p: float | None = None  # how often the best hit of a shuffled query has such a z; None: no null was searched
    q: float | None = None  # false discovery rate among the hits of this rank, over the queries


@dataclass(frozen=True)
class Scores:
    """Scores of every query against every target window, the best over the query's windows and strands."""

    best: Float32[np.ndarray, "Q N"]
    reverse: np.ndarray  # bool [Q, N]: the reverse strand of the query scored best
    debias: Debias  # behind the cosines


@dataclass(frozen=True)
class QueryVectors:
    """Vectors of all windows of all queries on both strands, as embedded."""

    owner: Int64[np.ndarray, "W"]  # which query each window belongs to
    forward: Float32[np.ndarray, "W D"]
    backward: Float32[np.ndarray, "W D"]


def embed_queries(embedder: Embedder, queries: list[Query]) -> QueryVectors:
    """Vectors of the queries; strand is handled on this side, so that the target is embedded once."""
    sequences = [window for query in queries for window in query.windows]
    owner = np.repeat(np.arange(len(queries)), [len(query.windows) for query in queries])
    backward = embedder.embed([reverse_complement(codes) for codes in sequences])
    return QueryVectors(owner, embedder.embed(sequences), backward)


def score_queries(
    queries: QueryVectors,
    targets: Float32[np.ndarray, "N D"],
    config: RetrievalConfig,
    *,
    debias: Debias | None = None,
) -> Scores:
    """Debiased cosines of every query against every target window, both from the same model.

    Args:
        queries: from `embed_queries`.
        targets: target vectors as embedded; the correction is fitted on them alone.
        config: of the correction.
        debias: the correction, where it has been fitted on these targets before.
    """
    debias = debias or fit_debias(targets, components=config.components, whiten=config.whiten, ridge=config.ridge)
    strands = [debias.apply(vectors) for vectors in (queries.forward, queries.backward)]
    best = np.full((2, int(queries.owner[-1]) + 1, targets.shape[0]), -np.inf, np.float32)
    for first in range(0, targets.shape[0], _BLOCK_ROWS):
        block = slice(first, first + _BLOCK_ROWS)
        unit = debias.apply(targets[block])
        for strand, vectors in enumerate(strands):
            np.maximum.at(best[strand][:, block], queries.owner, vectors @ unit.T)
    return Scores(best.max(axis=0), best[1] > best[0], debias)


def ranked_windows(
    scores: Float32[np.ndarray, "N"], intervals: list[Interval], *, top_k: int
) -> Int64[np.ndarray, "K"]:
    """Indices of the best windows, best first; one that overlaps a better one is merged into it.

    Ties are broken by index.
    """
    order = np.argsort(-scores, kind="stable")
    taken: dict[str, list[tuple[int, int]]] = {}
    kept: list[int] = []
    for index in order:
        interval = intervals[index]
        spans = taken.setdefault(interval.sequence, [])
        if any(interval.start < end and start < interval.end for start, end in spans):
            continue
        spans.append((interval.start, interval.end))
        kept.append(int(index))
        if len(kept) == top_k:
            break
    return np.asarray(kept, dtype=np.int64)


def hits_of(
    queries: list[Query],
    vectors: QueryVectors,
    targets: Float32[np.ndarray, "N D"],
    *,
    scores: Scores,
    intervals: list[Interval],
    row: int,
    top_k: int,
) -> list[Hit]:
    """The best windows of one query, as table rows.

    Args:
        queries: all queries.
        vectors: of their windows.
        targets: target vectors as embedded.
        scores: of these queries against these targets.
        intervals: of the target windows.
        row: which query.
        top_k: how many hits at most.
    """
    values, query = scores.best[row], queries[row]
    mean, spread = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64)) or 1.0
    kept = ranked_windows(values, intervals, top_k=top_k)
    unit, own = scores.debias.apply(targets[kept]), vectors.owner == row
    strands = [scores.debias.apply(side[own]) @ unit.T for side in (vectors.forward, vectors.backward)]
    hits = []
    for column, index in enumerate(kept):
        reverse = bool(scores.reverse[row, index])
        hits.append(
            Hit(
                query=query.name,
                query_span=query.span_of(int(strands[reverse][:, column].argmax())),
                rank=column + 1,
                target=intervals[index],
                strand="-" if reverse else "+",
                cosine=float(values[index]),
                z=(float(values[index]) - mean) / spread,
            )
        )
    return hits

"""Hits for a genome browser: BED, GFF3, and the best score along the target and under the hits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise

import numpy as np
from jaxtyping import Float32

from plantgfm.formats.bed import BedRow
from plantgfm.retrieval.hits import Hit
from plantgfm.retrieval.targets import Targets
from plantgfm.schema import Feature
from plantgfm.sequence import Interval


def _along_the_target(hits: Iterable[Hit]) -> list[Hit]:
    return sorted(hits, key=lambda hit: (hit.target.sequence, hit.target.start, hit.target.end, hit.query, hit.rank))


def _stranded(hit: Hit) -> Interval:
    return Interval(hit.target.sequence, hit.target.start, hit.target.end, hit.strand)


def bed_rows(hits: Iterable[Hit]) -> list[BedRow]:
    """Hits along the target, named by query; the score is 1,000 times the cosine, 0 where that is negative."""
    rows = []
    for hit in _along_the_target(hits):
        score = float(np.clip(round(1000 * hit.cosine), 0, 1000))
        rows.append(BedRow(_stranded(hit), hit.query, score))
    return rows


def gff3_rows(hits: Iterable[Hit]) -> list[Feature]:
    """Hits along the target as features of type `match`; the score is the cosine, the rest stands in attributes."""
    rows = []
    for hit in _along_the_target(hits):
        attributes = {"ID": (f"{hit.query}:{hit.rank}",), "Name": (hit.query,), "rank": (str(hit.rank),)}
        attributes["score"] = (f"{hit.score:.4f}",)
        if hit.p is not None:
            attributes["p"], attributes["q"] = (f"{hit.p:.6f}",), (f"{hit.q:.6f}",)
        attributes["query_span"] = ("{}-{}".format(*hit.query_span),)
        rows.append(Feature(_stranded(hit), "match", "plantgfm", round(hit.cosine, 6), None, attributes))
    return rows


def hit_track(hits: Iterable[Hit]) -> Iterator[tuple[Interval, float]]:
    """The best score of the hits over each base that has one, as spans that do not overlap; sequences by name."""
    for sequence, group in groupby(_along_the_target(hits), key=lambda hit: hit.target.sequence):
        own = list(group)
        edges = np.unique([edge for hit in own for edge in (hit.target.start, hit.target.end)])
        best = np.full(edges.size, -np.inf)  # from each edge to the next
        for hit in own:
            under = slice(*np.searchsorted(edges, (hit.target.start, hit.target.end)))
            best[under] = np.maximum(best[under], hit.score)
        last = np.append(np.flatnonzero(best[1:] != best[:-1]), edges.size - 1)  # of each run of one value
        first = np.append(0, last[:-1] + 1)
        for start, end in zip(first, last):
            if np.isfinite(best[start]):
                yield Interval(sequence, int(edges[start]), int(edges[end + 1])), float(best[start])


def best_z_track(best: Float32[np.ndarray, "N"], targets: Targets) -> Iterator[tuple[Interval, float]]:
    """The best score of all queries at every target window, as spans that do not overlap.

    Windows that overlap are parted in the middle of what they share; one inside another may vanish. Where there is no
    score (NaN) there is no span.
    """
    names = np.array(targets.names)[targets.sequence]
    order = np.lexsort((targets.end, targets.start, names))
    order, start, last = order[~np.isnan(best[order])], 0, ""
    for index, after in pairwise([*order.tolist(), None]):
        name, end, first = str(names[index]), int(targets.end[index]), int(targets.start[index])
        start = max(first, start) if name == last else first
        if after is not None and names[after] == name and targets.start[after] < end:
            end = (int(targets.start[after]) + end) // 2
        if end > start:
            yield Interval(name, start, end), float(best[index])
            start = end
        last = name

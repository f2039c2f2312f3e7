"""Hits for a genome browser: BED, GFF3, and the best score along the target."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
from jaxtyping import Float32

from plantgfm.formats.bed import BedRow
from plantgfm.retrieval.search import Hit
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
        attributes["z"] = (f"{hit.z:.4f}",)
        if hit.p is not None:
            attributes["p"], attributes["q"] = (f"{hit.p:.6f}",), (f"{hit.q:.6f}",)
        attributes["query_span"] = ("{}-{}".format(*hit.query_span),)
        rows.append(Feature(_stranded(hit), "match", "plantgfm", round(hit.cosine, 6), None, attributes))
    return rows


def best_z_track(scores: Float32[np.ndarray, "Q N"], intervals: list[Interval]) -> Iterator[tuple[Interval, float]]:
    """The best z of all queries at every target window, as spans that do not overlap.

    Windows that overlap are parted in the middle of what they share; one inside another may vanish.
    """
    mean, spread = scores.mean(axis=1, dtype=np.float64), scores.std(axis=1, dtype=np.float64)
    best = np.full(scores.shape[1], -np.inf)
    for row, values in enumerate(scores):
        np.maximum(best, (values - mean[row]) / (spread[row] or 1.0), out=best)
    order = sorted(range(len(intervals)), key=lambda i: (intervals[i].sequence, intervals[i].start, intervals[i].end))
    start, last = 0, ""
    for index, after in pairwise([*order, None]):
        here = intervals[index]
        start = max(here.start, start) if here.sequence == last else here.start
        joined = after is not None and intervals[after].sequence == here.sequence
        end = (intervals[after].start + here.end) // 2 if joined and intervals[after].start < here.end else here.end
        if end > start:
            yield Interval(here.sequence, start, end), float(best[index])
            start = end
        last = here.sequence

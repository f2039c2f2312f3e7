"""Levels of windows: queries much shorter than a window are ranked among windows of their own size.

The mean over 1,530 bp says little of the 190 that a query shares with it. So windows as wide as the short queries are
a target of their own, and a search of their own: mean, spread and null of a query are those of its level. What both
searches found is put together here, query by query. No label passes here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median_high

import numpy as np

from plantgfm.retrieval.localize import Span
from plantgfm.retrieval.queries import Query
from plantgfm.retrieval.retrieve import Retrieval, with_false_discovery
from plantgfm.retrieval.search import Ranking, Search
from plantgfm.retrieval.targets import Targets

SHORT_SHARE = 4
"""A window that is so many times as wide as a query is too wide for it."""
LEAST_BP = 192
"""The narrowest windows of their own: 32 words of six bases, narrower ones were not measured."""


def own_window_bp(queries: Sequence[Query], *, window_bp: int) -> tuple[list[Query], int]:
    """The queries that are too short for windows of a width, and the width of windows for them.

    That is the length of their median query. Where it is no less than half the given width there are none.

    Args:
        queries: all of them.
        window_bp: of the target's windows.
    """
    short = [query for query in queries if query.length_bp * SHORT_SHARE <= window_bp]
    own_bp = max(median_high([query.length_bp for query in short]), LEAST_BP) if short else 0
    return (short, own_bp) if 2 * own_bp <= window_bp else ([], 0)


def joined(levels: Sequence[Retrieval], queries: Sequence[Query]) -> Retrieval:
    """What the searches of several levels found, as that of one; q is taken over all queries.

    Args:
        levels: each with its own queries and windows.
        queries: of all levels, in their order as they were given.
    """
    if len(levels) == 1:
        return levels[0]
    targets = Targets.joined([level.targets for level in levels])
    cut = {query.name: query for level in levels for query in level.queries}  # into windows of their level
    order = {query.name: number for number, query in enumerate(queries)}
    hits = [
        replace(hit, row=hit.row + targets.rows_of(part).start)
        for part, level in enumerate(levels)
        for hit in level.hits
    ]
    rankings = joined_rankings([level.search.rankings for level in levels], levels, queries, targets)
    best_z = np.concatenate([level.search.best_z for level in levels])
    return replace(
        levels[0],
        hits=with_false_discovery(sorted(hits, key=lambda hit: (order[hit.query], hit.rank))),
        search=Search(rankings, {}, levels[0].search.weights, best_z),
        sources={},
        queries=[cut[query.name] for query in queries],
        targets=targets,
        levels=tuple(levels),
    )


def joined_rankings(
    rankings: Sequence[Mapping[str, Ranking]], levels: Sequence[Retrieval], queries: Sequence[Query], targets: Targets
) -> dict[str, Ranking]:
    """The rankings of every method, a row a query, over the windows of all levels.

    Args:
        rankings: by method, of each level; rows beyond its queries, those of its null, are left out.
        levels: each with its own queries.
        queries: of all levels.
        targets: the windows of all levels, in their order.
    """
    place = {query.name: (part, row) for part, level in enumerate(levels) for row, query in enumerate(level.queries)}
    places = [place[query.name] for query in queries]
    return {
        name: Ranking(
            [rankings[part][name].rows[row] + targets.rows_of(part).start for part, row in places],
            [rankings[part][name].scores[row] for part, row in places],
        )
        for name in rankings[0]
    }


def joined_spans(spans: Sequence[Sequence[Span]], queries: Sequence[Query]) -> list[Span]:
    """The spans of all levels, by query and rank."""
    order = {query.name: number for number, query in enumerate(queries)}
    return sorted((span for own in spans for span in own), key=lambda span: (order[span.query], span.rank))

"""Alignments of tools as rankings of windows, and as a second look at hits. No label passes here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64, UInt8

from plantgfm.retrieval.search import Ranking, merged_rows
from plantgfm.retrieval.targets import Targets
from plantgfm.retrieval.tools import Aligned, align, plain_target
from plantgfm.schema import Record
from plantgfm.sequence import Interval


@dataclass(frozen=True)
class Confirmed:
    """The best alignment of a query around a place."""

    tool: str
    identity: float  # share of aligned pairs that are equal
    where: Interval  # what is aligned of the target; strand of the query against it
    query_span: tuple[int, int]  # likewise of the query: bp, or residues where the tool reads proteins


class WindowIndex:
    """Which windows of a target overlap a place."""

    def __init__(self, targets: Targets):
        self._targets = targets
        self._order = np.lexsort((targets.start, targets.sequence))
        self._starts = targets.start[self._order]
        self._bounds = np.searchsorted(targets.sequence[self._order], np.arange(len(targets.names) + 1))
        self._widest = int((targets.end - targets.start).max())

    def over(self, where: Interval) -> tuple[Int64[np.ndarray, "n"], Int64[np.ndarray, "n"]]:
        """Rows, and how many bases of the place each holds."""
        number = self._targets.number_of.get(where.sequence)
        if number is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        first, last = self._bounds[number], self._bounds[number + 1]
        starts = self._starts[first:last]
        near = slice(
            first + np.searchsorted(starts, where.start - self._widest), first + np.searchsorted(starts, where.end)
        )
        rows = self._order[near]
        shared = np.minimum(self._targets.end[rows], where.end) - np.maximum(self._targets.start[rows], where.start)
        return rows[shared > 0], shared[shared > 0]


def ranking_of(found: Iterable[Aligned], targets: Targets, *, pools: Sequence[range], top_k: int) -> Ranking:
    """Windows by the scores of the alignments in them, each in proportion to how much of it lies there.

    Exons that a tool aligns one by one add up. A window without an alignment has no rank.

    Args:
        found: alignments.
        targets: the windows.
        pools: the rows that each query is ranked among.
        top_k: windows a query.
    """
    index, scores = WindowIndex(targets), [defaultdict(float) for _ in pools]
    for one in found:
        for row, shared in zip(*index.over(one.where)):
            if int(row) in pools[one.query]:
                scores[one.query][int(row)] += one.score * int(shared) / one.where.length_bp
    rows, values = [], []
    for own in scores:
        numbers, sums = np.array(list(own), np.int64), np.array(list(own.values()), np.float64)
        order = np.lexsort((numbers, -sums))
        kept = order[merged_rows(numbers[order], targets, top_k=top_k)]
        rows.append(numbers[kept])
        values.append(sums[kept])
    return Ranking(rows, values)


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """The stretches that intervals cover, sorted; those that touch become one, strands are dropped."""
    out: list[Interval] = []
    for one in sorted(Interval(i.sequence, i.start, i.end) for i in intervals):
        if out and out[-1].sequence == one.sequence and one.start <= out[-1].end:
            out[-1] = replace(out[-1], end=max(out[-1].end, one.end))
        else:
            out.append(one)
    return out


def confirm(
    tools: Sequence[str],
    queries: Sequence[UInt8[np.ndarray, "_"]],
    proteins: Mapping[int, str],
    places: Sequence[tuple[int, Interval]],
    records: Iterable[Record],
    *,
    margin_bp: int,
) -> list[Confirmed | None]:
    """The best alignment of each query within a band around each of its places; None where no tool finds one.

    What an earlier tool finds goes before what a later one does, as their scores can't be compared.

    Args:
        tools: in the order of preference.
        queries: base codes.
        proteins: of those that code, by number.
        places: number of a query, and where.
        records: of the target; all that hold a place.
        margin_bp: of the band, on both sides of the place.
    """
    bands = [Interval(p.sequence, max(p.start - margin_bp, 0), p.end + margin_bp) for _, p in places]
    stretches = merged(bands)
    best: list[tuple[float, Confirmed] | None] = [None] * len(places)
    if not places:
        return []
    with plain_target(_cut(records, stretches)) as target:
        for tool in tools:
            by_query: dict[int, list[Aligned]] = defaultdict(list)
            for one in align(tool, queries, proteins, target):
                by_query[one.query].append(one)
            for number, ((query, _), band) in enumerate(zip(places, bands)):
                for one in by_query[query]:
                    held = best[number]
                    if (held is None or (held[1].tool == tool and one.score > held[0])) and _within(one.where, band):
                        best[number] = one.score, Confirmed(tool, one.identity, one.where, one.query_span)
    return [None if one is None else one[1] for one in best]


def _within(where: Interval, band: Interval) -> bool:
    return where.sequence == band.sequence and band.start <= where.start and where.end <= band.end


def _cut(records: Iterable[Record], stretches: list[Interval]) -> Iterator[tuple[Interval, np.ndarray]]:
    for record in records:
        for where in stretches:
            if where.sequence == record.name:
                end = min(where.end, record.length_bp)
                yield replace(where, end=end), record.codes[where.start : end]

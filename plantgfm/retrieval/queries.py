"""Queries: sequences to look for, from FASTA or cut out of an annotated genome. No label passes here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from plantgfm.embedding.tiles import tile_record
from plantgfm.formats.fasta import read_fasta
from plantgfm.schema import Record
from plantgfm.sequence import UNKNOWN


@dataclass(frozen=True)
class Query:
    """A sequence to look for, cut into windows no longer than the target's."""

    name: str
    length_bp: int  # as given; the windows of a trimmed query end before it
    windows: list[UInt8[np.ndarray, "_"]]  # base codes
    starts: tuple[int, ...] = (0,)  # of each window in the query, bp
    trimmed_bp: int = 0  # left out at the end, so that the query keeps to its budget of tokens

    def span_of(self, window: int) -> tuple[int, int]:
        """Start and end of a window in the query, half-open, bp."""
        return self.starts[window], self.starts[window] + self.windows[window].size

    def bases(self) -> UInt8[np.ndarray, "P"]:
        """The bases that the windows cover, from the start on; windows overlap, a trimmed query ends early."""
        spans = [self.span_of(window) for window in range(len(self.windows))]
        out = np.empty(max(end for _, end in spans), np.uint8)
        for (start, end), codes in zip(spans, self.windows):
            out[start:end] = codes
        return out


def rewindowed(query: Query, *, window_bp: int) -> Query:
    """The same query in windows of another width."""
    record = Record(query.name, "", query.bases(), np.zeros((0, 2), np.int64))
    again = query_of(record, window_bp=window_bp)
    return replace(again, length_bp=query.length_bp, trimmed_bp=query.trimmed_bp)


def query_of(record: Record, *, window_bp: int) -> Query:
    """A query from one record: windows of `window_bp` that overlap by half.

    Raises:
        ValueError: when the record holds no known base.
    """
    if not np.any(record.codes != UNKNOWN):
        raise ValueError(f"query {record.name} holds no known base (A, C, G, T): remove it")
    tiles = list(tile_record(record, window_bp=window_bp, stride_bp=max(window_bp // 2, 1)))
    starts = tuple(tile.interval.start for tile in tiles)
    return Query(record.name, record.length_bp, [tile.bases & 7 for tile in tiles], starts)


def fasta_queries(path: Path, *, window_bp: int) -> list[Query]:
    """Every record of a FASTA file as a query."""
    return [query_of(record, window_bp=window_bp) for record in read_fasta(path)]


def within_budget(query: Query, tokens_of: Callable[[UInt8[np.ndarray, "_"]], int], *, max_tokens: int) -> Query:
    """The query without the windows at its end that lie past `max_tokens` tokens, counted over its windows.

    What the windows no longer cover is told by `trimmed_bp`.

    Args:
        query: in windows.
        tokens_of: how many tokens the model makes of a window.
        max_tokens: over all windows.

    Raises:
        ValueError: when the first window alone has more.
    """
    used = np.cumsum([tokens_of(codes) for codes in query.windows])
    kept = int(np.sum(used <= max_tokens))
    if kept == len(query.windows):
        return query
    if not kept:
        raise ValueError(
            f"the first window of query {query.name} has {used[0]} tokens, more than retrieval.max_query_tokens="
            f"{max_tokens}: raise it"
        )
    trimmed_bp = query.length_bp - query.span_of(kept - 1)[1]
    return replace(query, windows=query.windows[:kept], starts=query.starts[:kept], trimmed_bp=trimmed_bp)

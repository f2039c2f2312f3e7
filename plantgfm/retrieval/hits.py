"""Hits: windows that were ranked, with what every source said of them. No label passes here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from plantgfm.retrieval.aligned import Confirmed
from plantgfm.retrieval.queries import Query
from plantgfm.retrieval.search import FUSED, Search, hit_blocks
from plantgfm.retrieval.sources import ALIGNMENT, EMBEDDING, Source, gc_contents
from plantgfm.retrieval.targets import Block, Targets
from plantgfm.sequence import Interval


@dataclass(frozen=True)
class Hit:
    """One target window found for a query."""

    query: str
    query_span: tuple[int, int]  # the window of the query whose cosine is best, half-open, bp
    rank: int  # from 1, after overlapping windows have been merged
    target: Interval
    strand: str  # of the query against the target: of its alignments, or else of its cosine
    score: float  # fused, in standard deviations above the mean of this query's windows
    cosine: float
    row: int = -1  # of the window in the target
    parts: dict[str, float] = field(default_factory=dict)  # by source: its z
    margin: float | None = None  # by how much the score exceeds that of the next rank; None: there is none
    repeat_fraction: float = 0.0  # of the window
    gc: float | None = None  # of the window; None: its bases were not read
    agree: bool | None = None  # alignments and cosine name the same strand; None: there is no alignment
    p: float | None = None  # how often the best hit of a shuffled query has such a score; None: no null was searched
    q: float | None = None  # false discovery rate among the hits of this rank, over the queries
    probability: float | None = None  # that it lies near the ortholog; None: there is no reranker
    searched_rank: int | None = None  # before it was reranked
    shortlisted: bool | None = None  # None: no shortlist was asked for
    confirmed: Confirmed | None = None  # None: no aligner was asked, or none found it here


def hits_of(
    queries: list[Query], found: Search, sources: Mapping[str, Source], *, targets: Targets, top_k: int
) -> list[Hit]:
    """The best windows of every query, by query and rank.

    Args:
        queries: the first rows of the search.
        found: the search.
        sources: that it used.
        targets: that it went over.
        top_k: how many hits a query at most.
    """
    ranking = found.rankings[FUSED]
    hits: dict[tuple[int, int], Hit] = {}
    bases = any(sources[name].needs_bases for name in found.weights)
    for block, cells in hit_blocks(targets, ranking, n_queries=len(queries), bases=bases, top_k=top_k):
        strands = Strands(sources, block)
        scored = {name: strands.scores(name, block) for name in (EMBEDDING, *found.weights)}
        z = {name: found.backgrounds[name].z(scores) for name, scores in scored.items()}
        strong = gc_contents(block.bases, block.offsets) if bases else None
        for query, place, column in cells:
            strand, agree, window, cosine = strands.of(query, column)
            scores = ranking.scores[query]
            hits[query, place] = Hit(
                query=queries[query].name,
                query_span=queries[query].span_of(window),
                rank=place + 1,
                target=targets.interval(block.rows[column]),
                strand=strand,
                score=float(scores[place]),
                cosine=cosine,
                row=int(block.rows[column]),
                parts={name: float(values[query, column]) for name, values in z.items()},
                margin=float(scores[place] - scores[place + 1]) if place + 1 < scores.size else None,
                repeat_fraction=float(targets.repeat_fraction[block.rows[column]]),
                gc=None if strong is None else float(strong[column]),
                agree=agree,
            )
    return [hits[key] for key in sorted(hits)]


class Strands:
    """On which strand queries lie at some windows, and which of their windows fits best there."""

    def __init__(self, sources: Mapping[str, Source], block: Block):
        self._sources, self._cosines = sources, sources[EMBEDDING].cosines(block)
        queries = sources[EMBEDDING].queries
        self._starts, self._phases = np.append(queries.starts, queries.owner.size), queries.phases
        self._aligned = sources[ALIGNMENT].by_strand(block) if ALIGNMENT in sources else None

    def scores(self, name: str, block: Block) -> Float32[np.ndarray, "Q n"]:
        """Of a source; alignments, which are costly, are not made again."""
        return self._aligned.max(axis=0) if name == ALIGNMENT else self._sources[name].scores(block)

    def of(self, query: int, column: int) -> tuple[str, bool | None, int, float]:
        """Strand, whether both kinds of evidence name it, window of the query, and its cosine."""
        here = self._cosines[:, self._starts[query] : self._starts[query + 1], column]
        side, row = np.unravel_index(int(here.argmax()), here.shape)
        window = row // self._phases
        cosine, by_cosine, agree = float(here[side, window]), "+-"[side], None
        if self._aligned is not None and self._aligned[0, query, column] != self._aligned[1, query, column]:
            strand = "+-"[int(self._aligned[:, query, column].argmax())]
            return strand, strand == by_cosine, int(window), cosine
        return by_cosine, agree, int(window), cosine

"""Ortholog pairs that a projection is trained on: windows of queries, windows of targets, and what is held out.

Labels enter here, and no search does what they say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Int64

from plantgfm.formats.orthologs import Ortholog
from plantgfm.retrieval.config import ProjectionConfig
from plantgfm.retrieval.debias import Debias, Moments
from plantgfm.retrieval.evaluate import true_windows
from plantgfm.retrieval.projection import Projected, Projection
from plantgfm.retrieval.queries import Query
from plantgfm.retrieval.reranker import Seen, binomial
from plantgfm.retrieval.search import Ranking, search
from plantgfm.retrieval.sources import EMBEDDING, EmbeddingSource, QueryVectors
from plantgfm.retrieval.targets import Targets

DEEPEST = 50  # ranks that are read
_MINED = 2 * DEEPEST  # ranks that hard negatives are taken from, after the true windows among them


@dataclass(frozen=True)
class OrthologSet:
    """Queries of one species, windows of another, and where the ones have their orthologs among the others."""

    target: Seen
    query: Seen
    targets: Targets
    queries: list[Query]
    vectors: QueryVectors
    truth: dict[str, list[Ortholog]]  # on sequences of the targets

    @property
    def name(self) -> str:
        """Both species."""
        return f"{self.query.species} in {self.target.species}"


@dataclass(frozen=True)
class Split:
    """Queries of a set, by their number: what is trained on and what is held out."""

    train: list[int]
    held_out: list[int]
    closed: set[str] = field(default_factory=set)  # sequences whose windows no training sees


@dataclass(frozen=True)
class Pairs:
    """What training sees of a set; vectors are debiased, of length 1."""

    name: str
    query: Int64[np.ndarray, "P"]  # of each pair: the number of its query among those of this set
    left: Float32[np.ndarray, "P D"]  # window of the query, on the strand of the ortholog
    right: Float32[np.ndarray, "P D"]  # window of the target
    row: Int64[np.ndarray, "P"]  # and its number
    true: list[Int64[np.ndarray, "_"]]  # all true windows of each query
    wrong_left: Float32[np.ndarray, "Q H D"]  # windows of each query that fit a wrong window of the target,
    wrong_right: Float32[np.ndarray, "Q H D"]  # and these windows; null vectors where there are fewer


def split_sets(sets: Sequence[OrthologSet], *, hold_out: Sequence[str], config: ProjectionConfig) -> list[Split]:
    """What of each set is held out: species or sequences by their names, or else sequences by lot.

    A set that holds a species that is held out, as target or as query, is held out whole.

    Raises:
        ValueError: for a name that is in no set, or where nothing can be held out by lot.
    """
    species = {one.species for each in sets for one in (each.target, each.query)}
    sequences = {name for each in sets for name in each.targets.names}
    if unknown := [name for name in hold_out if binomial(name) not in species and name not in sequences]:
        raise ValueError(
            f"--hold-out {unknown[0]!r} is neither one of the species {', '.join(sorted(species))} nor a sequence of "
            "their targets"
        )
    closed_species = {binomial(name) for name in hold_out} & species
    named = {each.target.species: set(hold_out) & set(each.targets.names) for each in sets}
    drawn = named if hold_out else _drawn_sequences(sets, config)
    splits = []
    for each in sets:
        known = [number for number, query in enumerate(each.queries) if each.truth.get(query.name)]
        closed = drawn[each.target.species]
        if closed_species & {each.target.species, each.query.species}:
            splits.append(Split([], known))
            continue
        held_out = [n for n in known if any(one.where.sequence in closed for one in each.truth[each.queries[n].name])]
        splits.append(Split(sorted(set(known) - set(held_out)), held_out, closed))
    return splits


def _drawn_sequences(sets: Sequence[OrthologSet], config: ProjectionConfig) -> dict[str, set[str]]:
    """By target species: sequences that hold the share of the labels that is to be held out, or more; never all."""
    labels: dict[str, dict[str, int]] = {}
    for each in sets:
        counts = labels.setdefault(each.target.species, defaultdict(int))
        for one in (one for query in each.queries for one in each.truth.get(query.name, [])):
            counts[one.where.sequence] += 1
    rng = np.random.default_rng(config.seed)
    drawn: dict[str, set[str]] = {}
    for species, counts in sorted(labels.items()):
        drawn[species], names = set(), sorted(counts)
        for name in rng.permutation(names)[: len(names) - 1].tolist():
            if sum(counts[one] for one in drawn[species]) < config.held_out_fraction * sum(counts.values()):
                drawn[species].add(name)
    if not any(drawn.values()):
        raise ValueError("no target has labels on two sequences, one of which could be held out: name a --hold-out")
    return drawn


@dataclass(frozen=True)
class _Placed:
    """A window of a query beside one of the target, as a label says."""

    query: int  # among those of the set that are trained on
    label: int
    window: int
    side: int
    row: int


class Prepared:
    """A set with its correction fitted, as a search has it."""

    def __init__(self, each: OrthologSet, split: Split, config: ProjectionConfig):
        self.set, self.split, self._config = each, split, config.search()
        moments = Moments()
        for block in each.targets.blocks():
            moments.add(block.vectors)
        self.debias: Debias = moments.fit(components=config.components, whiten=config.whiten, ridge=config.ridge)
        self.sides = [self.debias.apply(side) for side in each.vectors.sides]
        self.true = {n: true_windows(each.targets, each.truth[each.queries[n].name]) for n in split.train}
        self.held_out_true = {n: true_windows(each.targets, each.truth[each.queries[n].name]) for n in split.held_out}

    def ranking(self, numbers: Sequence[int], *, head: Projection | None, top_k: int) -> Ranking:
        """Windows of the target for some of the queries, as `retrieve` ranks them by the embedding alone."""
        vectors = self.set.vectors
        own = np.isin(vectors.owner, numbers)
        place = np.searchsorted(numbers, vectors.owner[own])
        chosen = QueryVectors(place, *(side[own] for side in vectors.sides), phases=vectors.phases)
        correction = self.debias if head is None else Projected(self.debias, head)
        source = EmbeddingSource(chosen, self._config, debias=correction)
        sizes = {"n_queries": len(numbers), "n_counted": len(numbers), "top_k": top_k}
        return search(self.set.targets, {EMBEDDING: source}, weights={}, **sizes).rankings[EMBEDDING]

    def pairs(self, *, hard_negatives: int) -> Pairs | None:
        """What training sees; None where it has no query here."""
        numbers = self.split.train
        if not numbers:
            return None
        placed = [one for at, number in enumerate(numbers) for one in self._placed(at, number)]
        if not placed:
            return None
        wrong = self._wrong(numbers, hard_negatives) if hard_negatives else [np.zeros(0, np.int64)] * len(numbers)
        rows = np.unique(np.concatenate([*wrong, np.array([one.row for one in placed], np.int64)]))
        found = self._vectors(rows)
        kept = self._on_one_strand(placed, found[np.searchsorted(rows, [one.row for one in placed])])
        query, window, side, row = (
            np.array([getattr(one, name) for one in kept], np.int64) for name in ("query", "window", "side", "row")
        )
        stacked = np.stack(self.sides)
        lefts, rights = self._fitting_wrong(numbers, wrong, rows, found, hard_negatives)
        right = found[np.searchsorted(rows, row)]
        true = [self.true[number] for number in numbers]
        return Pairs(self.set.name, query, stacked[side, window], right, row, true, lefts, rights)

    def _vectors(self, rows: Int64[np.ndarray, "R"]) -> Float32[np.ndarray, "R D"]:
        """Corrected vectors of windows of the target, which passes by block by block."""
        found = [
            self.debias.apply(block.vectors[rows[(rows >= block.rows[0]) & (rows <= block.rows[-1])] - block.rows[0]])
            for block in self.set.targets.blocks()
        ]
        return np.concatenate(found)

    def _placed(self, at: int, number: int) -> list[_Placed]:
        """Windows of a query with the side that is read and the window of the target that lies where it should.

        A window stands in its query where its counterpart stands in the ortholog, in proportion. Where the strand is
        unknown both sides are given.
        """
        each, out = self.set, []
        query, targets = each.queries[number], each.targets
        windows = np.flatnonzero(each.vectors.owner == number)[:: each.vectors.phases]
        for label, one in enumerate(each.truth[query.name]):
            where, sides = one.where, {"+": (0,), "-": (1,)}.get(one.where.strand, (0, 1))
            on = np.flatnonzero(targets.sequence == targets.number_of[where.sequence])
            scale = where.length_bp / query.length_bp
            for index, window in enumerate(windows):
                first, last = (scale * end for end in query.span_of(index))
                for side in sides:
                    start = where.end - last if side else where.start + first
                    overlap = np.minimum(targets.end[on], start + last - first) - np.maximum(targets.start[on], start)
                    best = int(np.argmax(overlap))
                    if overlap[best] > 0 and on[best] in self.true[number]:
                        out.append(_Placed(at, label, int(window), side, int(on[best])))
        return out

    def _on_one_strand(self, placed: list[_Placed], there: Float32[np.ndarray, "P D"]) -> list[_Placed]:
        """Those of the side that fits an ortholog better on the average: asked where the table does not tell."""
        fits: dict[tuple[int, int], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        for one, vector in zip(placed, there):
            fits[one.query, one.label][one.side].append(float(self.sides[one.side][one.window] @ vector))
        best = {key: max(sorted(sides), key=lambda side: np.mean(sides[side])) for key, sides in fits.items()}
        return [one for one in placed if one.side == best[one.query, one.label]]

    def _wrong(self, numbers: list[int], count: int) -> list[Int64[np.ndarray, "_"]]:
        """The windows that are ranked first without a head, but for the true ones and those that are held out."""
        targets = self.set.targets
        closed = np.array([name in self.split.closed for name in targets.names])[targets.sequence]
        ranking = self.ranking(numbers, head=None, top_k=_MINED)
        return [
            rows[~np.isin(rows, self.true[number]) & ~closed[rows]][:count]
            for number, rows in zip(numbers, ranking.rows)
        ]

    def _fitting_wrong(
        self, numbers: list[int], wrong: list[np.ndarray], rows: np.ndarray, found: np.ndarray, count: int
    ) -> tuple[Float32[np.ndarray, "Q H D"], Float32[np.ndarray, "Q H D"]]:
        """For each wrong window of the target the window of the query that fits it best, on either strand."""
        owner, width = self.set.vectors.owner, found.shape[1]
        lefts, rights = np.zeros((2, len(numbers), count, width), np.float32)
        for at, (number, own) in enumerate(zip(numbers, wrong)):
            both = np.concatenate([side[owner == number] for side in self.sides])
            there = found[np.searchsorted(rows, own)]
            rights[at, : own.size] = there
            lefts[at, : own.size] = both[np.argmax(both @ there.T, axis=0)] if own.size else 0.0
        return lefts, rights

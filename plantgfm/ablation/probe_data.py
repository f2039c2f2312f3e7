"""What is probed: sequences with labels, parted by region, gene or sequence before anything is fitted.

Labels stay here and in the probes; nothing of them reaches pre-training or the search of a retrieval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from plantgfm.ablation.config import ProbeConfig
from plantgfm.corpus.read import Corpus
from plantgfm.corpus.segments import CorpusRecord
from plantgfm.evaluation.probe_scores import Score
from plantgfm.retrieval.kmers import canonical_columns, composition
from plantgfm.retrieval.sources import gc_contents
from plantgfm.retrieval.targets import joined
from plantgfm.sampling.evaluation_windows import EvaluationPairs
from plantgfm.schema import WindowPairs
from plantgfm.sequence import BASE_MASK, REPEAT_BIT, UNKNOWN

TEST_SHARE, TUNE_SHARE = 0.35, 0.15
_LEAST_GROUPS = 3  # one to fit, one to choose, one to score
_LEAST_TILES, _LEAST_REGIONS = 20, 6
_MOST_UNKNOWN = 0.1

CLASS_SCORES = (Score.BALANCED_ACCURACY, Score.MACRO_F1)


class Part(IntEnum):
    """What a row is for."""

    FIT = 0
    TUNE = 1  # chooses how strongly the probe is regularised
    TEST = 2
    UNUSED = 3


@dataclass(frozen=True, eq=False)
class Pool:
    """Sequences that are embedded once for all probes on them."""

    name: str
    sequences: list[UInt8[np.ndarray, "_"]]  # base codes without the repeat bit

    @cached_property
    def gc(self) -> Float64[np.ndarray, "N 3"]:
        """GC content, its square and its cube, so that classes in the middle can be told."""
        return gc_contents(*joined(self.sequences))[:, None] ** np.arange(1, 4)

    def kmers(self, k: int) -> np.ndarray:
        """Frequencies of canonical k-mers, [N, F]."""
        return composition(*joined(self.sequences), k=k, columns=canonical_columns(k)).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Labelled:
    """A probe's rows: which sequences, their labels, what each is for."""

    name: str
    pool: Pool
    rows: Int64[np.ndarray, "M"]  # of the pool
    labels: np.ndarray  # class numbers, or values
    classes: tuple[str, ...]  # none: a regression
    part: Int64[np.ndarray, "M"]
    group: Int64[np.ndarray, "M"]  # parted and resampled as one
    stratum: Int64[np.ndarray, "M"]
    scores: tuple[Score, ...]  # the first one leads
    note: str


def split_groups(
    group: Int64[np.ndarray, "N"], stratum: Int64[np.ndarray, "N"], *, seed: int, fixed: np.ndarray | None = None
) -> Int64[np.ndarray, "N"]:
    """Parts of the rows, drawn by group within each stratum; strata of fewer than 3 groups are not used.

    Args:
        group: rows of one stay together.
        stratum: constant within a group.
        seed: of the draw.
        fixed: True at rows whose part is `Part.TEST` already; then the others are fitted and choose.
    """
    generator, part = np.random.default_rng(seed), np.full(group.size, int(Part.UNUSED), np.int64)
    fixed = np.zeros(group.size, bool) if fixed is None else fixed
    part[fixed] = Part.TEST
    for name in np.unique(stratum):
        mine = np.unique(group[(stratum == name) & ~fixed])
        if mine.size + fixed.any() < _LEAST_GROUPS:
            continue
        mine = generator.permutation(mine)
        n_test = 0 if fixed.any() else max(1, round(TEST_SHARE * mine.size))
        n_tune = max(1, round(TUNE_SHARE * mine.size))
        for which, members in zip(Part, (mine[n_test + n_tune :], mine[n_test : n_test + n_tune], mine[:n_test])):
            part[np.isin(group, members) & ~fixed] = which
    return part


def choose_pairs(pairs: EvaluationPairs, count: int, *, seed: int) -> EvaluationPairs:
    """Some of the pairs, species in turns."""
    order = np.random.default_rng(seed).permutation(len(pairs))
    turn = np.empty(len(pairs), np.int64)
    for name in np.unique(pairs.species):
        mine = order[pairs.species[order] == name]
        turn[mine] = np.arange(mine.size)
    rows = np.sort(np.lexsort((pairs.species, turn))[:count])
    names = ("region", "species", "start", "next_start", "reverse", "distance_bp")
    return replace(pairs, **{name: getattr(pairs, name)[rows] for name in names})


def window_probes(corpus: Corpus, pairs: EvaluationPairs, *, window_bp: int, config: ProbeConfig) -> list[Labelled]:
    """Species, and the share of bases in repeats, of held-out windows; parted by region within species.

    Raises:
        ValueError: where fewer than two species have regions enough.
    """
    starts, region, species = _windows_of(pairs)
    marked = [np.asarray(corpus.bases[start : start + window_bp]) for start in starts]
    pool = Pool("windows", [bases & np.uint8(BASE_MASK) for bases in marked])
    part = split_groups(region, species, seed=config.seed)
    used = np.flatnonzero(part != Part.UNUSED)
    known, labels = np.unique(species[used], return_inverse=True)
    if known.size < 2:
        raise ValueError(f"{known.size} species with {_LEAST_GROUPS} held-out regions or more: two are the least")
    left = np.unique(species).size - known.size
    note = f"windows of {window_bp:,} bp, parted by region" + (f"; {left} species have too few regions" if left else "")
    shares = np.array([np.mean((bases & REPEAT_BIT) > 0) for bases in marked])
    names = tuple(corpus.species[index] for index in known)
    common = {"pool": pool, "rows": used, "part": part[used], "group": region[used], "stratum": species[used]}
    found = [Labelled("species", labels=labels, classes=names, scores=CLASS_SCORES, note=note, **common)]
    sources = sorted({record.repeat_source for record in corpus.records})
    note += f"; repeats as the corpus holds them: {', '.join(sources)}"
    share = Labelled("repeat share", labels=shares[used], classes=(), scores=(Score.SPEARMAN,), note=note, **common)
    return [*found, share]


def _windows_of(pairs: WindowPairs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts, regions and species of both windows of all pairs."""
    starts = np.concatenate([pairs.start, pairs.next_start])
    return starts, np.tile(pairs.region, 2).astype(np.int64), np.tile(pairs.species, 2).astype(np.int64)


Painter = Callable[[CorpusRecord], UInt8[np.ndarray, "P"] | None]
"""The class of every base of a record; None where nothing is known of it."""


def tile_probe(
    name: str,
    corpus: Corpus,
    pairs: EvaluationPairs,
    *,
    paint: Painter,
    classes: dict[int, str],
    window_bp: int,
    config: ProbeConfig,
) -> Labelled:
    """The class of tiles that are cut from held-out windows, parted by region.

    Raises:
        ValueError: where fewer than two classes have tiles and regions enough.
    """
    starts, region, tile_class = _tiles(corpus, pairs, paint=paint, classes=classes, window_bp=window_bp, config=config)
    generator, kept = np.random.default_rng(config.seed), []
    for number in classes:
        mine = np.flatnonzero(tile_class == number)
        if mine.size >= _LEAST_TILES and np.unique(region[mine]).size >= _LEAST_REGIONS:
            kept.append(np.sort(generator.permutation(mine)[: config.class_tiles]))
    if len(kept) < 2:
        counts = ", ".join(f"{said} {np.sum(tile_class == number)}" for number, said in classes.items())
        raise ValueError(
            f"too few held-out tiles of {config.tile_bp} bp of one class each ({counts}; needed are {_LEAST_TILES} of "
            f"{_LEAST_REGIONS} regions for two classes or more)"
        )
    rows = np.concatenate(kept)
    numbers, labels = np.unique(tile_class[rows], return_inverse=True)
    bases = [np.asarray(corpus.bases[at : at + config.tile_bp]) & np.uint8(BASE_MASK) for at in starts[rows]]
    together = np.zeros(rows.size, np.int64)  # few regions of a species hold tiles of every class
    return Labelled(
        name,
        Pool(name, bases),
        np.arange(rows.size),
        labels,
        tuple(classes[int(number)] for number in numbers),
        split_groups(region[rows], together, seed=config.seed),
        region[rows],
        together,
        CLASS_SCORES,
        f"tiles of {config.tile_bp} bp with at least {config.class_share:.0%} of one class, parted by region",
    )


def _tiles(
    corpus: Corpus,
    pairs: EvaluationPairs,
    *,
    paint: Painter,
    classes: dict[int, str],
    window_bp: int,
    config: ProbeConfig,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts in the corpus, regions and classes of all tiles that have one."""
    per_window = window_bp // config.tile_bp
    found = [np.zeros((0, 3), np.int64)]
    for start, region, _ in zip(*(values.tolist() for values in _windows_of(pairs))):
        record = corpus.records[int(corpus.regions.record[region])]
        if (painted := paint(record)) is None:
            continue
        inside, width = start - record.offset, per_window * config.tile_bp
        shape = (per_window, config.tile_bp)
        tiles = painted[inside : inside + width].reshape(shape)
        known = (np.asarray(corpus.bases[start : start + width]).reshape(shape) & 7) != UNKNOWN
        for number in classes:
            own = np.mean(tiles == number, axis=1) >= config.class_share
            at = np.flatnonzero(own & (known.mean(axis=1) >= 1 - _MOST_UNKNOWN))
            rows = [np.full(at.size, value) for value in (region, number)]
            found.append(np.stack([start + at * config.tile_bp, *rows], axis=1))
    starts, regions, numbers = np.concatenate(found).T
    return starts, regions, numbers

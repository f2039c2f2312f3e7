"""Fixed windows of a held-out split: deterministic, non-overlapping, balanced over species, no near-duplicates."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from plantgfm.corpus.read import Corpus
from plantgfm.corpus.segments import CorpusRecord
from plantgfm.sampling import place
from plantgfm.sampling.config import SamplerConfig
from plantgfm.sampling.grid import pair_law, unknown_index
from plantgfm.sampling.keys import STREAM_HELD_OUT, STREAM_STRAND, STREAM_TURNS, permutation, uniform
from plantgfm.sampling.near_training import near_training, share_in_training
from plantgfm.schema import Split, WindowPairs
from plantgfm.sequence import BASE_MASK, UNKNOWN

_MOST_MORE = 0.1  # of the k-mers of a window


@dataclass(frozen=True)
class EvaluationPairs(WindowPairs):
    """Window pairs of a split; `region` is the unit that a bootstrap resamples."""

    candidates: int  # pairs that the split holds, before near-duplicates were dropped and `max_windows` was kept
    near_duplicates: int  # of them, dropped because a window has a near-duplicate in training
    not_elsewhere: int = 0  # of them, dropped because another corpus does not hold them out

    def describe(self) -> str:
        """How many are scored of how many, and why not all."""
        dropped = f"{self.near_duplicates:,} of {self.candidates:,} dropped for a near-duplicate in training"
        other = f", {self.not_elsewhere:,} for another corpus that learns from them" if self.not_elsewhere else ""
        return f"{len(self):,} window pairs scored; {dropped}{other}"


def evaluation_pairs(
    corpus: Corpus,
    split: Split,
    config: SamplerConfig,
    *,
    max_windows: int | None = None,
    elsewhere: Sequence[Corpus] = (),
) -> EvaluationPairs:
    """Choose the pairs of a split to score: the same for the same corpus and settings.

    Pairs are packed into each region from its start, no base in two windows, with distances and strands drawn as in
    training; windows with too many unknown bases are stepped over. A pair is dropped, and counted, when a window of it
    is found again in a training region, or a cluster window that overlaps it shares its duplicate cluster with one that
    overlaps a training region. Species take turns until `max_windows` pairs are chosen, so fewer windows are a subset
    of more.

    Args:
        corpus: whose windows.
        split: whose regions.
        config: of the windows.
        max_windows: how many pairs at most.
        elsewhere: corpora of the same genomes that were curated or split otherwise: kept are pairs that each of them
            holds out, too, without a near-duplicate in its training, and without more than a tenth of a window's k-mers
            that its training holds beyond those that this corpus' training does (pieces of a window in short records).

    Raises:
        ValueError: when the split holds no pair.
    """
    rows = np.concatenate([np.zeros((0, 4), dtype=np.int64), *_packed_regions(corpus, split, config)])
    clean = _clean(corpus, rows, split, config)
    common = clean.copy()
    for other in elsewhere:
        common[common] = _held_out_in(other, corpus, rows[common], split, config)
    if clean.any() and not common.any():
        raise ValueError(
            f"none of {int(clean.sum())} window pairs of split {split.name.lower()} is held out in all "
            f"{1 + len(elsewhere)} corpora: they must be of the same genomes, and hold out the same regions for the "
            "most part"
        )
    kept = rows[common]
    if not kept.size:
        raise ValueError(_nothing_held_out(split, config, before=len(rows)))
    species = corpus.regions.species[kept[:, 0]]
    chosen = _take_turns(species, seed=config.seed)[:max_windows]
    chosen = chosen[np.argsort(kept[chosen, 1], kind="stable")]
    region, start, following, reverse = kept[chosen].T
    return EvaluationPairs(
        region=region.astype(np.int32),
        species=species[chosen],
        start=start.copy(),
        next_start=following.copy(),
        reverse=reverse.astype(bool),
        distance_bp=(np.abs(following - start) - config.window_bp).astype(np.int32),
        candidates=len(rows),
        near_duplicates=int((~clean).sum()),
        not_elsewhere=int((clean & ~common).sum()),
    )


def require_pairs(corpus: Corpus, split: Split, config: SamplerConfig) -> None:
    """Refuse a split without a pair before hours are spent on a run that ends by scoring it; takes next to no time.

    Raises:
        ValueError: when no region of the split has room for a pair.
    """
    unknown = unknown_index(corpus)
    regions = np.flatnonzero(corpus.regions.split == int(split))
    if not any(_pack_region(corpus, int(region), config, unknown).size for region in regions):
        raise ValueError(_nothing_held_out(split, config, before=0))


def _nothing_held_out(split: Split, config: SamplerConfig, *, before: int) -> str:
    return (
        f"split {split.name.lower()} holds no window pair of sampler.window_tokens={config.window_tokens} "
        f"({before} before near-duplicates of training were dropped): shorten the windows or hold out more"
    )


def select_pairs(pairs: WindowPairs, rows: slice | Bool[np.ndarray, "B"] | Int64[np.ndarray, "n"]) -> WindowPairs:
    """Some rows of window pairs."""
    return WindowPairs(**{item.name: getattr(pairs, item.name)[rows] for item in dataclasses.fields(WindowPairs)})


def _packed_regions(corpus: Corpus, split: Split, config: SamplerConfig) -> list[np.ndarray]:
    unknown = unknown_index(corpus)
    regions = np.flatnonzero(corpus.regions.split == int(split))
    return [_pack_region(corpus, int(region), config, unknown) for region in regions]


def _pack_region(corpus: Corpus, region: int, config: SamplerConfig, unknown: tuple) -> np.ndarray:
    """Pairs of one region: rows (region, start, downstream start, reverse)."""
    width, nearest, farthest, most_unknown = pair_law(config)
    at = int(corpus.regions.offset[region])
    end = at + int(corpus.regions.length_bp[region])
    rows = []
    while (room := end - at - 2 * width) >= nearest:
        drawn = uniform(seed=config.seed, stream=STREAM_HELD_OUT, first=region, second=at)
        distance = place.log_uniform(nearest, min(farthest, room), drawn)
        left, right = at, at + width + distance
        if any(place.unknown_bases(*unknown, start, start + width) > most_unknown for start in (left, right)):
            at += max(1, width // 4)
            continue
        reverse = uniform(seed=config.seed, stream=STREAM_STRAND, first=region, second=at) < 0.5
        rows.append((region, right, left, 1) if reverse else (region, left, right, 0))
        at = right + width
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


def _clean(
    corpus: Corpus, rows: Int64[np.ndarray, "n 4"], split: Split, config: SamplerConfig
) -> Bool[np.ndarray, "n"]:
    """Which pairs have no near-duplicate in training; all, of training itself."""
    if split == Split.TRAIN:
        return np.ones(len(rows), dtype=bool)
    tainted = _in_training_clusters(corpus)
    clean = np.array([not _is_tainted(corpus, row, config.window_bp, tainted) for row in rows], dtype=bool)
    windows = near_training(corpus, rows[clean][:, 1:3].ravel(), config.window_bp, identity=config.near_identity)
    clean[clean] = ~windows.reshape(-1, 2).any(axis=1)
    return clean


def _held_out_in(
    other: Corpus, corpus: Corpus, rows: Int64[np.ndarray, "n 4"], split: Split, config: SamplerConfig
) -> Bool[np.ndarray, "n"]:
    """Which pairs of a corpus another one has in the same split, without a near-duplicate in its training."""
    there = _moved(rows, corpus, other, config.window_bp)
    held = there[:, 0] >= 0
    held[held] = other.regions.split[there[held, 0]] == int(split)
    held[held] = _clean(other, there[held], split, config)
    if split != Split.TRAIN:
        starts = rows[held][:, 1:3].ravel()
        mine, theirs = (
            share_in_training(corpus, starts, config.window_bp, training=training) for training in (corpus, other)
        )
        held[held] = (theirs - mine <= _MOST_MORE).reshape(-1, 2).all(axis=1)
    return held


def _moved(rows: Int64[np.ndarray, "n 4"], corpus: Corpus, other: Corpus, width: int) -> Int64[np.ndarray, "n 4"]:
    """The same pairs in another corpus, by record, place and bases; -1 where none, or several, are found."""
    pieces: dict[tuple[str, ...], list[CorpusRecord]] = {}
    for record in other.records:
        pieces.setdefault(_origin(record), []).append(record)
    moved, found = np.full_like(rows, -1), np.zeros(len(rows), dtype=np.int64)
    for row, (region, *starts, reverse) in enumerate(rows.tolist()):
        record = corpus.records[int(corpus.regions.record[region])]
        shift = record.start - record.offset
        for piece in pieces.get(_origin(record), []):
            places = np.array(starts) + shift - piece.start + piece.offset
            if not (piece.offset <= places.min() and places.max() + width <= piece.offset + piece.length_bp):
                continue
            if not all(_same_bases(corpus, at, other, place, width) for at, place in zip(starts, places.tolist())):
                continue
            found[row] += 1
            regions = np.searchsorted(other.regions.offset, [*places, *(places + width - 1)], side="right") - 1
            if (regions == regions[0]).all():
                moved[row] = regions[0], *places, reverse
    moved[found != 1] = -1  # of two files with the same names nothing tells which one is meant
    return moved


def _same_bases(corpus: Corpus, start: int, other: Corpus, place: int, width: int) -> bool:
    """Whether two windows agree wherever both are known: curation may have set bases of one to unknown."""
    mine, theirs = corpus.bases[start : start + width] & BASE_MASK, other.bases[place : place + width] & BASE_MASK
    return bool(np.all((mine == theirs) | (mine == UNKNOWN) | (theirs == UNKNOWN)))


def _origin(record: CorpusRecord) -> tuple[str, ...]:
    return record.species, record.cultivar, record.assembly, record.compartment, record.name


def _in_training_clusters(corpus: Corpus) -> np.ndarray:
    """Bool by cluster window: its cluster also has a window that overlaps a training region."""
    in_training = np.zeros(corpus.cluster_id.size, dtype=bool)
    for region in np.flatnonzero(corpus.regions.split == int(Split.TRAIN)):
        start = int(corpus.regions.offset[region])
        in_training[corpus.cluster_rows(int(region), start, start + int(corpus.regions.length_bp[region]))] = True
    clusters = np.unique(corpus.cluster_id[in_training & (corpus.cluster_id >= 0)])
    return np.isin(corpus.cluster_id, clusters)


def _is_tainted(corpus: Corpus, row: np.ndarray, width: int, tainted: np.ndarray) -> bool:
    region, *starts, _ = row.tolist()
    return any(tainted[corpus.cluster_rows(region, start, start + width)].any() for start in starts)


def _take_turns(species: np.ndarray, *, seed: int) -> np.ndarray:
    """Rows in the order in which species take turns; the order within a species is drawn."""
    order = permutation(species.size, seed=seed, stream=STREAM_TURNS, counter=0)
    turn = np.empty(species.size, dtype=np.int64)
    for index in np.unique(species):
        mine = order[species[order] == index]
        turn[mine] = np.arange(mine.size)
    return np.lexsort((species, turn))

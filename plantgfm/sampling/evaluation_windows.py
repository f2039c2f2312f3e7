"""Fixed windows of a held-out split: deterministic, non-overlapping, balanced over species, no near-duplicates."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from plantgfm.corpus.read import Corpus
from plantgfm.sampling import place
from plantgfm.sampling.config import SamplerConfig
from plantgfm.sampling.grid import pair_law, unknown_index
from plantgfm.sampling.keys import STREAM_HELD_OUT, STREAM_STRAND, STREAM_TURNS, permutation, uniform
from plantgfm.sampling.near_training import near_training
from plantgfm.schema import Split, WindowPairs


@dataclass(frozen=True)
class EvaluationPairs(WindowPairs):
    """Window pairs of a split; `region` is the unit that a bootstrap resamples."""

    candidates: int  # pairs that the split holds, before near-duplicates were dropped and `max_windows` was kept
    near_duplicates: int  # of them, dropped because a window has a near-duplicate in training

    def describe(self) -> str:
        """How many are scored of how many, and why not all."""
        dropped = f"{self.near_duplicates:,} of {self.candidates:,} dropped for a near-duplicate in training"
        return f"{len(self):,} window pairs scored; {dropped}"


def evaluation_pairs(
    corpus: Corpus, split: Split, config: SamplerConfig, *, max_windows: int | None = None
) -> EvaluationPairs:
    """Choose the pairs of a split to score: the same for the same corpus and settings.

    Pairs are packed into each region from its start, no base in two windows, with distances and strands drawn as in
    training; windows with too many unknown bases are stepped over. A pair is dropped, and counted, when a window of it
    is found again in a training region, or a cluster window that overlaps it shares its duplicate cluster with one that
    overlaps a training region. Species take turns until `max_windows` pairs are chosen, so fewer windows are a subset
    of more.

    Raises:
        ValueError: when the split holds no pair.
    """
    rows = np.concatenate([np.zeros((0, 4), dtype=np.int64), *_packed_regions(corpus, split, config)])
    tainted = _in_training_clusters(corpus) if split != Split.TRAIN else np.zeros(corpus.cluster_id.size, dtype=bool)
    clean = np.array([not _is_tainted(corpus, row, config.window_bp, tainted) for row in rows], dtype=bool)
    if split != Split.TRAIN:
        windows = near_training(corpus, rows[clean][:, 1:3].ravel(), config.window_bp, identity=config.near_identity)
        clean[clean] = ~windows.reshape(-1, 2).any(axis=1)
    kept = rows[clean]
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

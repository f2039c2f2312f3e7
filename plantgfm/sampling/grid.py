"""The grid of cells that input windows are drawn from, and the order in which an epoch visits them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from plantgfm.corpus.read import Corpus
from plantgfm.sampling import place
from plantgfm.sampling.config import SamplerConfig
from plantgfm.sampling.keys import STREAM_ORDER, STREAM_SIDE, STREAM_THIN, hashes, permutation, uniform
from plantgfm.schema import Split


@dataclass(frozen=True, eq=False)
class Grid:
    """Cells of the training regions, one window wide each; sorted by species, then by place.

    An epoch of a species visits `kept[s]` of its cells, each once: all of them where nothing is thinned. In an epoch
    the windows of a region share one jitter, so they do not overlap (but where unknown bases force a window to the
    place proven for its cell, which no other cell shares). A region shorter than three windows and two distances is one
    cell, at either of its ends. Where the length of a region leaves more than a window over, up to half a window at one
    of its ends starts no input window.
    """

    region: Int32[np.ndarray, "cells"]
    first: Int64[np.ndarray, "cells"]  # leftmost start of a window of the cell, corpus bp
    proven: Int64[np.ndarray, "cells 3"]  # start, downstream start, reverse: an allowed pair
    weight: Float64[np.ndarray, "cells"]  # 1, less in a duplicate cluster
    bounds: Int64[np.ndarray, "S_plus_1"]  # cells of species s: bounds[s] to bounds[s + 1]
    kept: Int64[np.ndarray, "S"]  # cells that an epoch visits, 0 where a species has none
    region_start: Int64[np.ndarray, "R"]
    region_end: Int64[np.ndarray, "R"]
    jitter_bp: Int64[np.ndarray, "R"]  # largest jitter
    mirrored: Bool[np.ndarray, "R"]  # one cell, at either end

    def epoch_order(self, species: int, epoch: int, *, seed: int) -> Int64[np.ndarray, "kept"]:
        """Cells of one epoch of a species, in the order of their use.

        Thinning is systematic sampling along a drawn order: exactly `kept` cells, each with a chance in proportion to
        its weight (Madow 1949, doi:10.1214/aoms/1177730031).
        """
        low, high = int(self.bounds[species]), int(self.bounds[species + 1])
        order = permutation(high - low, seed=seed + species, stream=STREAM_ORDER, counter=epoch)
        kept = int(self.kept[species])
        if kept == order.size:
            return order + low
        chance = self.weight[low:high][order]
        reached = np.cumsum(chance * (kept / chance.sum()))
        reached[-1] = kept
        points = uniform(seed=seed + species, stream=STREAM_THIN, first=epoch, second=0) + np.arange(kept)
        return order[np.searchsorted(reached, points, side="right")] + low


def pair_law(config: SamplerConfig) -> tuple[int, int, int, int]:
    """What the kernels need: window width, nearest and farthest distance, most unknown bases of a window; bp."""
    most_unknown = int(config.max_unknown_fraction * config.window_bp)
    return config.window_bp, config.distance_min_bp, config.distance_max_bp, most_unknown


def unknown_index(corpus: Corpus) -> tuple[Int64[np.ndarray, "runs 2"], Int64[np.ndarray, "runs_plus_1"]]:
    """Runs of unknown bases, and how many bases lie in the runs before each."""
    runs = np.ascontiguousarray(corpus.unknown_runs)
    return runs, np.concatenate(([0], np.cumsum(runs[:, 1] - runs[:, 0])))


def build_grid(corpus: Corpus, config: SamplerConfig) -> Grid:
    """Cut the training regions into cells and prove that each can hold a pair; cells that can't are left out."""
    width, nearest, _, _ = law = pair_law(config)
    start, length = corpus.regions.offset, corpus.regions.length_bp.astype(np.int64)
    whole = length >= 3 * width + 2 * nearest  # then every place has room on one side
    usable = (length >= 2 * width + nearest) & (corpus.regions.split == int(Split.TRAIN))
    counts = np.where(whole, (length - width // 2) // width, 1) * usable
    slack = np.where(whole, length - counts * width, length - 2 * width - nearest)
    jitter = np.where(whole, np.minimum(slack, width - 1), np.maximum(slack, 0))
    side = hashes(start.size, seed=config.seed, stream=STREAM_SIDE, counter=0) & np.uint64(1)
    rows = np.repeat(np.arange(start.size), counts)
    number = np.arange(rows.size) - np.repeat(np.cumsum(counts) - counts, counts)
    first = (start + np.where(whole, side.astype(np.int64) * (slack - jitter), 0))[rows] + number * width
    proven = np.empty((rows.size, 3), dtype=np.int64)
    place.prove_cells(first, rows, jitter, start, start + length, law, *unknown_index(corpus), proven)
    # By species, so that its cells are neighbours; by place within, because the sort is stable.
    allowed = np.flatnonzero(proven[:, 0] >= 0)
    allowed = allowed[np.argsort(corpus.regions.species[rows[allowed]], kind="stable")]
    rows, first, proven = rows[allowed], first[allowed], proven[allowed]
    weight = _cluster_weights(corpus, rows, first + (jitter[rows] + width) // 2, alpha=config.cluster_alpha)
    bounds = np.searchsorted(corpus.regions.species[rows], np.arange(len(corpus.species) + 1))
    sums = [weight[low:high].sum() for low, high in zip(bounds[:-1], bounds[1:])]
    return Grid(
        region=rows.astype(np.int32),
        first=first,
        proven=proven,
        weight=weight,
        bounds=bounds.astype(np.int64),
        kept=np.array([max(1, int(total)) if total else 0 for total in sums], dtype=np.int64),
        region_start=start,
        region_end=start + length,
        jitter_bp=jitter,
        mirrored=~whole,
    )


def _cluster_weights(corpus: Corpus, regions: np.ndarray, centres: np.ndarray, *, alpha: float) -> np.ndarray:
    """(Windows in the duplicate cluster at the centre of each cell)^-alpha."""
    record = corpus.regions.record[regions]
    offset, width, first = (
        np.array([getattr(owner, name) for owner in corpus.records], dtype=np.int64)[record]
        for name in ("offset", "cluster_window_bp", "cluster_offset")
    )
    return np.maximum(corpus.cluster_size[first + (centres - offset) // width], 1).astype(np.float64) ** -alpha

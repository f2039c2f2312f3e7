"""Near-duplicate windows: clusters that the sampler turns into weights; never a reason to reject.

Windows are banded as datasketch's LSH bands them, sorted instead of stored, and clustered around leaders: a window
joins the most similar earlier leader that it was verified to match, else leads itself. So no member is further than
the threshold from its leader, and repeats cannot chain a genome into one cluster.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from datasketch import MinHashLSH
from jaxtyping import Int32, Int64, UInt32, UInt64
from numba import njit

from plantgfm.sketch import EMPTY, band_keys

LSH_WEIGHTS = (0.2, 0.8)
"""False positives against false negatives: recall is favoured, every candidate is verified."""


def bands_for(index: float, slots: int) -> list[tuple[int, int]]:
    """The slot ranges that datasketch's LSH would band, for a Jaccard threshold and our weights."""
    return list(MinHashLSH(threshold=index, num_perm=slots, weights=LSH_WEIGHTS).hashranges)


def buckets_of(
    sketches: UInt64[np.ndarray, "windows slots"], ranges: list[tuple[int, int]]
) -> Int64[np.ndarray, "windows bands"]:
    """Bucket number of each window in each band; -1 where the window is alone there or has no k-mer at all."""
    keys = band_keys(sketches, ranges)
    buckets = np.full(keys.shape, -1, dtype=np.int64)
    rows = np.flatnonzero((sketches != EMPTY).any(axis=1))
    for band in range(len(ranges)):
        _, number, size = np.unique(keys[rows, band], return_inverse=True, return_counts=True)
        number = number.astype(np.int64)
        number[size[number] < 2] = -1
        buckets[rows, band] = number
    return buckets


def cluster_windows(
    sketches: UInt64[np.ndarray, "windows slots"],
    verify: Callable[[Int64[np.ndarray, "chosen"]], UInt32[np.ndarray, "chosen bins"]],
    *,
    min_jaccard: float,
) -> tuple[Int64[np.ndarray, "windows"], Int32[np.ndarray, "windows"]]:
    """Cluster number (-1 alone) and cluster size (1 alone) of each window.

    Args:
        sketches: densified one-permutation sketches, in an order that does not depend on the order of input.
        verify: the large sketches of the windows of the given numbers.
        min_jaccard: index at which a window joins a leader.
    """
    cluster = np.full(sketches.shape[0], -1, dtype=np.int64)
    size = np.ones(sketches.shape[0], dtype=np.int32)
    buckets = buckets_of(sketches, bands_for(min_jaccard, sketches.shape[1]))
    chosen = np.flatnonzero((buckets >= 0).any(axis=1))
    if not chosen.size:
        return cluster, size
    leader = _lead(np.ascontiguousarray(buckets[chosen]), verify(chosen), min_jaccard)
    _, number, count = np.unique(leader, return_inverse=True, return_counts=True)
    together = count[number] > 1
    _, numbered = np.unique(leader[together], return_inverse=True)
    cluster[chosen[together]] = numbered
    size[chosen[together]] = count[number[together]]
    return cluster, size


@njit(cache=True, nogil=True)
def _lead(buckets, large, min_jaccard):
    n, bands = buckets.shape
    head = np.full((bands, buckets.max() + 1), -1, dtype=np.int64)
    following = np.full((n, bands), -1, dtype=np.int64)
    stamp = np.full(n, -1, dtype=np.int64)
    leader = np.arange(n)
    none = np.uint32(0xFFFFFFFF)
    for i in range(n):
        best = min_jaccard
        for band in range(bands):
            other = head[band, buckets[i, band]] if buckets[i, band] >= 0 else -1
            while other >= 0:
                if stamp[other] != i:
                    stamp[other] = i
                    same, seen = 0, 0
                    for slot in range(large.shape[1]):
                        a, b = large[i, slot], large[other, slot]
                        seen += a != none or b != none
                        same += a == b and a != none
                    index = same / max(1, seen)
                    if index > best or (index == best and (leader[i] == i or other < leader[i])):
                        best, leader[i] = index, other
                other = following[other, band]
        if leader[i] == i:
            for band in range(bands):
                if buckets[i, band] >= 0:
                    following[i, band] = head[band, buckets[i, band]]
                    head[band, buckets[i, band]] = i
    return leader

"""Near-duplicate windows: clusters that the sampler turns into weights; never a reason to reject.

Windows are banded as datasketch's LSH bands them, sorted instead of stored, and clustered around leaders: a window
joins the most similar earlier leader that it was verified to match, else leads itself. So no member is further than
the threshold from its leader, and repeats cannot chain a genome into one cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import no_type_check

import numpy as np
from datasketch import MinHashLSH
from jaxtyping import Int32, Int64, UInt32, UInt64
from numba import njit

from plantgfm.sketch import EMPTY, band_keys, mix64

LSH_WEIGHTS = (0.2, 0.8)
"""False positives against false negatives: recall is favoured, every candidate is verified."""

_KEYS_AT_A_TIME = 1 << 26  # 512 MiB
_ROWS_AT_A_TIME = 1 << 14


@lru_cache(maxsize=16)
def bands_and_rows(index: float, slots: int) -> tuple[int, int]:
    """Bands, and slots a band, that datasketch's LSH chooses for a Jaccard threshold; it integrates for long."""
    lsh = MinHashLSH(threshold=index, num_perm=slots, weights=LSH_WEIGHTS)
    return lsh.b, lsh.r


def bands_for(index: float, slots: int) -> list[tuple[int, int]]:
    """The slot ranges that datasketch's LSH would band, for a Jaccard threshold and our weights."""
    return list(MinHashLSH(num_perm=slots, params=bands_and_rows(index, slots)).hashranges)


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


def components_of(
    parts: Sequence[UInt64[np.ndarray, "rows slots"]], ranges: list[tuple[int, int]]
) -> Int64[np.ndarray, "windows"]:
    """Component of each window, the smallest number in it: windows that share a bucket, and what those share one with.

    Keys are made for a few bands at a time and sorted with the window in their low bits, so that memory is bounded by
    8 bytes a window and band of such a group, however many bands there are.

    Args:
        parts: rows of sketches one after another; they may be mapped files. A window without k-mers is alone.
        ranges: slots of each band.
    """
    windows = sum(len(part) for part in parts)
    parent = np.arange(windows, dtype=np.int64)
    group = max(1, _KEYS_AT_A_TIME // max(1, windows))
    for first in range(0, len(ranges), group):
        chosen = ranges[first : first + group]
        keys, at = np.empty((len(chosen), windows), dtype=np.uint64), 0
        for part in parts:
            for start in range(0, len(part), _ROWS_AT_A_TIME):
                rows = np.ascontiguousarray(part[start : start + _ROWS_AT_A_TIME])
                _fill_keys(rows, np.array(chosen, dtype=np.int64), keys[:, at : at + len(rows)])
                at += len(rows)
        for column in keys:
            _link(column, _sorted_with_rows(column), windows.bit_length(), parent)
    return _roots(parent)


def _sorted_with_rows(keys: UInt64[np.ndarray, "windows"]) -> UInt64[np.ndarray, "windows"]:
    """Keys in order, the low bits of each replaced by its number: one sort of values, quicker than one of places."""
    bits = np.uint64(keys.size.bit_length())
    marked = ((keys >> bits) << bits) | np.arange(keys.size, dtype=np.uint64)
    marked.sort()
    return marked


def cluster_windows(
    parts: Sequence[UInt64[np.ndarray, "rows slots"]],
    verify: Callable[[Int64[np.ndarray, "chosen"]], UInt32[np.ndarray, "chosen bins"]],
    *,
    min_jaccard: float,
) -> tuple[Int64[np.ndarray, "windows"], Int32[np.ndarray, "windows"]]:
    """Cluster number (-1 alone) and cluster size (1 alone) of each window.

    Args:
        parts: densified one-permutation sketches, rows of one part after another, in an order that does not depend on
            the order of input; they may be mapped files.
        verify: the large sketches of the windows of the given numbers, ascending.
        min_jaccard: index at which a window joins a leader.
    """
    windows = sum(len(part) for part in parts)
    cluster, size = np.full(windows, -1, dtype=np.int64), np.ones(windows, dtype=np.int32)
    if not windows:
        return cluster, size
    ranges = bands_for(min_jaccard, parts[0].shape[1])
    leader = np.arange(windows)
    for chosen in _batches(components_of(parts, ranges)):
        buckets = buckets_of(_rows(parts, chosen), ranges)
        leader[chosen] = chosen[_lead(buckets, verify(chosen), min_jaccard)]
    count = np.bincount(leader, minlength=windows)[leader]
    together = count > 1
    _, cluster[together] = np.unique(leader[together], return_inverse=True)
    size[together] = count[together]
    return cluster, size


def _batches(component: Int64[np.ndarray, "windows"]) -> Iterator[Int64[np.ndarray, "chosen"]]:
    """Windows that are not alone, ascending, whole components at a time: leaders are sought inside them only."""
    members = np.bincount(component, minlength=component.size)
    chosen = np.flatnonzero(members[component] > 1)
    chosen = chosen[np.argsort(component[chosen], kind="stable")]
    starts = np.flatnonzero(np.diff(component[chosen], prepend=-1))
    begin = 0
    for end in [*starts[1:].tolist(), chosen.size]:
        if end - begin >= _ROWS_AT_A_TIME or (end == chosen.size and end > begin):
            yield np.sort(chosen[begin:end])
            begin = end


def _rows(parts: Sequence[np.ndarray], numbers: np.ndarray) -> UInt64[np.ndarray, "chosen slots"]:
    ends = np.cumsum([len(part) for part in parts])
    owner = np.searchsorted(ends, numbers, side="right")
    found = [parts[one][numbers[owner == one] - (ends[one] - len(parts[one]))] for one in np.unique(owner)]
    return np.concatenate(found)


@njit(cache=True, nogil=True)
@no_type_check
def _fill_keys(rows, ranges, keys):
    """As `band_keys`, bands first; a row without k-mers gets keys of its own, `EMPTY`, which `_link` leaves alone."""
    for i in range(rows.shape[0]):
        row = rows[i]
        nothing = True
        for value in row:
            if value != EMPTY:
                nothing = False
                break
        for band in range(ranges.shape[0]):
            key = np.uint64(0)
            for slot in range(ranges[band, 0], ranges[band, 1]):
                key = mix64(key * np.uint64(0x9E3779B97F4A7C15) ^ row[slot])
            keys[band, i] = EMPTY if nothing else key


@njit(cache=True, nogil=True)
@no_type_check
def _root(parent, i):
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True)
@no_type_check
def _link(keys, marked, bits, parent):
    """Join windows of equal keys; `marked` are the keys in order with the windows in their low bits."""
    shift, low = np.uint64(bits), (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    start = 0
    for end in range(1, marked.size + 1):
        if end < marked.size and marked[end] >> shift == marked[start] >> shift:
            continue
        for i in range(start + 1, end):
            one = np.int64(marked[i] & low)
            for j in range(start, i):  # the first of equal keys, nearly always the first of all
                other = np.int64(marked[j] & low)
                if keys[one] == keys[other]:
                    if keys[one] != EMPTY:
                        a, b = _root(parent, one), _root(parent, other)
                        parent[max(a, b)] = min(a, b)
                    break
        start = end


@njit(cache=True, nogil=True)
@no_type_check
def _roots(parent):
    for i in range(parent.size):
        parent[i] = parent[parent[i]]  # roots are smaller, and done
    return parent


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

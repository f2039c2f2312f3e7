"""Compiled kernels that place window pairs in cells: jitter, strand, distance, and no window of unknown bases."""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from numba import njit, uint64

from plantgfm.sampling.keys import STREAM_JITTER, STREAM_PAIR, hash64, unit

_ATTEMPTS = 4  # drawn pairs that are tried at a drawn place before the cell's proven pair is taken
_PROOFS = 16  # places in a cell at which a pair is sought when the grid is built
_DRAWS = 8  # distances and strands that are tried at each


@njit(cache=True, nogil=True)
@no_type_check
def unknown_bases(runs, before, start, end):
    """Unknown bases between start and end; `runs` sorted (start, end) rows, `before[i]` bases in the first i runs."""
    low = np.searchsorted(runs[:, 1], start, side="right")
    high = np.searchsorted(runs[:, 0], end, side="left")
    if high <= low:
        return 0
    count = before[high] - before[low]
    count -= max(0, start - runs[low, 0])
    count -= max(0, runs[high - 1, 1] - end)
    return count


@njit(cache=True, nogil=True)
@no_type_check
def log_uniform(low, high, u):
    """A whole number from low to high whose logarithm is uniform; u in [0, 1)."""
    span = math.log(high + 1.0) - math.log(float(low))
    return min(high, int(math.floor(low * math.exp(u * span))))


@njit(cache=True, nogil=True)
@no_type_check
def pair_at(start, region_start, region_end, width, nearest, farthest, u, coin):
    """The pair of a window at `start`: (start of the downstream window, reverse), (-1, False) where none fits.

    A drawn strand whose side has no room for the drawn distance gives way to the other; where neither has, the distance
    is drawn again within the larger room.
    """
    distance = log_uniform(nearest, farthest, u)
    left, right = start - region_start - width, region_end - start - 2 * width
    if max(left, right) < nearest:
        return -1, False
    if max(left, right) < distance:
        reverse = coin if left == right else left > right
        distance = log_uniform(nearest, min(farthest, max(left, right)), u)
    else:
        reverse = left >= distance if coin else right < distance
    return (start - width - distance if reverse else start + width + distance), reverse


@njit(cache=True, nogil=True)
@no_type_check
def _is_clear(start, width, most_unknown, runs, before):
    return unknown_bases(runs, before, start, start + width) <= most_unknown


@njit(cache=True, nogil=True)
@no_type_check
def prove_cells(first, region, jitter_bp, region_start, region_end, law, runs, before, out):
    """Find one allowed pair a cell: rows (start, downstream start, reverse) of `out` [cells, 3], start -1 where none.

    `first` [cells] is the leftmost start in each cell and `region` its region; the other tables are by region, a window
    starts at most `jitter_bp` later. `law` is (window width, nearest, farthest, most unknown bases), bp.
    """
    width, nearest, farthest, most_unknown = law
    for cell in range(first.size):
        out[cell, 0] = -1
        low, high, jitter = region_start[region[cell]], region_end[region[cell]], jitter_bp[region[cell]]
        for proof in range(_PROOFS * _DRAWS):
            start = first[cell] + (jitter * (proof // _DRAWS)) // (_PROOFS - 1)
            if not _is_clear(start, width, most_unknown, runs, before):
                continue
            u, coin = (proof % _DRAWS // 2) / (_DRAWS / 2), proof % 2 == 1
            following, reverse = pair_at(start, low, high, width, nearest, farthest, u, coin)
            if following >= 0 and _is_clear(following, width, most_unknown, runs, before):
                out[cell, 0], out[cell, 1], out[cell, 2] = start, following, reverse
                break


@njit(cache=True, nogil=True)
@no_type_check
def place_pairs(
    cells, epochs, first, region, proven, jitter_bp, mirrored, region_start, region_end, law, runs, before, seed, out
):
    """Place the pair of each cell in its epoch: rows (start, downstream start, reverse) of `out` [B, 3].

    The jitter is one a region and epoch, so that the windows of an epoch do not overlap; the pair is drawn per cell and
    epoch. A place that meets unknown bases falls back to the pair proven when the grid was built. Tables are by cell,
    then by region, as in `prove_cells`.
    """
    width, nearest, farthest, most_unknown = law
    for slot in range(cells.size):
        cell, epoch = cells[slot], epochs[slot]
        out[slot] = proven[cell]
        here = region[cell]
        low, high = region_start[here], region_end[here]
        bits = hash64(seed, STREAM_JITTER, here, epoch)
        start = first[cell] + np.int64(bits % uint64(jitter_bp[here] + 1))
        if mirrored[here] and (bits >> uint64(63)) != 0:
            start = low + high - width - start
        if not _is_clear(start, width, most_unknown, runs, before):
            continue
        for attempt in range(_ATTEMPTS):
            drawn = hash64(seed, STREAM_PAIR, cell, epoch * _ATTEMPTS + attempt)
            coin = (drawn & uint64(1)) != 0
            following, reverse = pair_at(start, low, high, width, nearest, farthest, unit(drawn), coin)
            if following >= 0 and _is_clear(following, width, most_unknown, runs, before):
                out[slot, 0], out[slot, 1], out[slot, 2] = start, following, reverse
                break

"""Low-complexity runs by symmetric DUST (Morgulis et al. 2006, doi:10.1089/cmb.2006.13.1028), as a compiled kernel.

An interval of l triplets scores the pairs of equal ones among them over l - 1 (the last is not counted, as in the
paper's programs); it is perfect where it scores above threshold / 10 and no part of it scores higher. The union of
perfect intervals inside windows is what pydustmasker reports, base for base (beside
unknown bases it misses some); `make bench` times the kernel.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Int64, UInt8
from numba import njit

from plantgfm.sequence import BASE_MASK

_RING = 256  # triplets of the window by their running number; a power of two above the longest window
MAX_WINDOW = _RING - 2
_TRIPLETS = 64
_NEVER = 1e9
_SLACK = 1e-6


def low_complexity_runs(
    codes: UInt8[np.ndarray, "P"], *, window_bp: int, threshold: int
) -> Int64[np.ndarray, "runs 2"]:
    """Runs of low complexity, as rows (start, end); unknown bases part a sequence.

    Args:
        codes: bases, with or without the repeat bit.
        window_bp: no interval is longer; 4 to `MAX_WINDOW`.
        threshold: ten times the score above which an interval is of low complexity.
    """
    if not 4 <= window_bp <= MAX_WINDOW or threshold < 1:
        text = f"window_bp = {window_bp} must lie between 4 and {MAX_WINDOW}"
        raise ValueError(f"{text} and threshold = {threshold} be at least 1")
    room = 64 + codes.size // 256
    while True:
        runs = np.empty((room, 2), dtype=np.int64)
        found = _search(codes, window_bp, threshold, runs)
        if found <= room:
            return runs[:found].copy()
        room = found


@njit(inline="always")
@no_type_check
def _emit(begin, end, runs, found):
    if found and found <= runs.shape[0] and begin <= runs[found - 1, 1]:
        runs[found - 1, 1] = max(runs[found - 1, 1], end)
        return found
    if found < runs.shape[0]:
        runs[found, 0], runs[found, 1] = begin, end
    return found + 1


@njit(inline="always")
@no_type_check
def _seek(ring, counts, end, pairs, length, begun, window):
    """Perfect intervals that end here; returns how many places intervals begin at, and `excess` as it is now."""
    number, size, suffix, window_pairs, equal, start, threshold = window
    last, excess, best_pairs, best_length = _RING - 1, -_NEVER, 0, 0
    least = float(threshold)  # ten times the score that an interval needs, for those inside it
    for place in range(size - suffix - 1, -1, -1):
        triplet = ring[(number - size + place) & last]
        equal += counts[triplet]
        counts[triplet] += 1
        triplets = size - place - 1
        if 10.0 * window_pairs + _SLACK < least * triplets:  # all pairs of the window would not do any more
            excess = max(excess, 10.0 * window_pairs - least * triplets + _SLACK)
            break
        at = (place + start) & last
        if begun and (pairs[at] * best_length > best_pairs * length[at] or not best_pairs):
            best_pairs, best_length = pairs[at], length[at]
            if best_pairs:
                least = 10.0 * best_pairs / best_length
        if equal * 10 > threshold * triplets and (not best_pairs or equal * best_length >= best_pairs * triplets):
            best_pairs, best_length = equal, triplets
            least = 10.0 * best_pairs / best_length
            begun += end[at] == 0
            end[at] = size + 2 + start
            if not pairs[at] or equal * length[at] > pairs[at] * triplets:
                pairs[at], length[at] = equal, triplets
        excess = max(excess, 10.0 * equal - least * triplets + _SLACK)
    return begun, excess


@njit(cache=True, nogil=True)
@no_type_check
def _search(codes, window_bp, threshold, runs):
    most, last = window_bp - 2, _RING - 1  # triplets of a window; what a place in a ring is taken with
    ring = np.empty(_RING, dtype=np.uint8)
    in_window, in_suffix, counts = np.zeros((3, _TRIPLETS), dtype=np.int32)
    # By where they begin: the end of the last perfect interval (0: none), and pairs and triplets - 1 of the best one.
    end, pairs, length = np.zeros((3, _RING), dtype=np.int64)
    begun, found, known, word = 0, 0, 0, 0
    size, suffix, window_pairs, suffix_pairs, number = 0, 0, 0, 0, 0
    # At least 10 x pairs - threshold x (triplets - 1) of whatever interval ends here and begins before the suffix:
    # nothing is sought where it is not above 0.
    excess = -_NEVER
    for i in range(codes.size + 1):
        base = codes[i] & BASE_MASK if i < codes.size else 4
        if base > 3:
            for begin in range(max(0, i - window_bp), i if begun else 0):
                if end[begin & last]:
                    found = _emit(begin, end[begin & last], runs, found)
                    end[begin & last] = pairs[begin & last] = length[begin & last] = 0
            in_window[:] = 0
            in_suffix[:] = 0
            size, suffix, window_pairs, suffix_pairs, number, known, excess = 0, 0, 0, 0, 0, 0, -_NEVER
            begun = 0
            continue
        known += 1
        word = ((word << 2) | base) & 63
        if known < 3:
            continue
        start = max(known - window_bp, 0) + i + 1 - known
        if size >= most:
            gone = (start - 1) & last
            if end[gone]:
                found = _emit(start - 1, end[gone], runs, found)
                end[gone] = pairs[gone] = length[gone] = 0
                begun -= 1
            out = ring[(number - size) & last]
            in_window[out] -= 1
            window_pairs -= in_window[out]
            if suffix >= size:
                suffix -= 1
                in_suffix[out] -= 1
                suffix_pairs -= in_suffix[out]
            size -= 1
        ring[number & last] = word
        number, size, suffix = number + 1, size + 1, suffix + 1
        excess += 10 * in_window[word] - threshold
        window_pairs += in_window[word]
        in_window[word] += 1
        suffix_pairs += in_suffix[word]
        in_suffix[word] += 1
        if in_suffix[word] * 10 > 2 * threshold:  # the suffix holds no triplet often enough for a perfect interval
            before = suffix_pairs
            while True:
                out = ring[(number - suffix) & last]
                in_suffix[out] -= 1
                suffix_pairs -= in_suffix[out]
                suffix -= 1
                if out == word:
                    break
            excess = max(excess, 10 * before - threshold * suffix)
        excess = min(excess, 10 * window_pairs - threshold * suffix)
        if excess <= 0:
            continue
        counts[:] = in_suffix
        of_it = number, size, suffix, window_pairs, suffix_pairs, start, threshold
        begun, excess = _seek(ring, counts, end, pairs, length, begun, of_it)
    return found

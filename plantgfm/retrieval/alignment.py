"""Ungapped local alignments of queries with windows: spaced seeds, extended while the score holds up.

What blastn does without its gaps (Altschul et al. 1990, doi:10.1016/S0022-2836(05)80360-2), on both strands of every
query, with the spaced seed of PatternHunter (Ma, Tromp and Li 2002, doi:10.1093/bioinformatics/18.3.440). Matches count
5 and mismatches -4, which suits identities around 65 %.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8
from numba import njit

from plantgfm.sequence import UNKNOWN, reverse_complement

SEED = "111010010100110111"
MATCH, MISMATCH, DROP = 5, 4, 40
LEAST_SCORE = 90
"""Of an alignment that counts: 18 matches, or 30 bases at 78 % identity; random sequences of 3 kb have few better."""

_CARE = np.array([i for i, letter in enumerate(SEED) if letter == "1"], np.int64)
_SPAN = len(SEED)
_WORDS = 4 ** len(_CARE)
_MOST = 200  # places of one word in the queries; what is commoner is a repeat, and costs time alone
_ROOM = 1 << 16  # alignments of a block, at first
_KINDS = 3  # of bases in a word that seeds; AAAAAAAAAAA and ATATATATATA lie everywhere


class AlignmentIndex:
    """The seeds of both strands of some queries."""

    def __init__(self, queries: list[UInt8[np.ndarray, "_"]]):
        gap = np.full(_SPAN, UNKNOWN, np.uint8)
        strands = [strand for codes in queries for strand in (codes, gap, reverse_complement(codes), gap)]
        self.lengths = np.array([codes.size for codes in queries], np.int64)
        self._text = np.concatenate([gap, *strands]).astype(np.uint8)
        lengths = np.array([codes.size + _SPAN for codes in queries for _ in range(2)], np.int64)
        self._begins = _SPAN + np.concatenate([[0], np.cumsum(lengths)[:-1]])
        # strand s of query q owns places of `_text`; number 2 q + s
        self._owner = np.concatenate(
            [np.zeros(_SPAN, np.int32), np.repeat(np.arange(lengths.size, dtype=np.int32), lengths)]
        )
        words = np.empty(self._text.size, np.int64)
        _words(self._text, _CARE, _SPAN, _KINDS, words)
        counts = np.bincount(words[words >= 0], minlength=_WORDS)
        words[(words >= 0) & (counts[np.maximum(words, 0)] > _MOST)] = -1
        places = np.flatnonzero(words >= 0)
        order = places[np.argsort(words[places], kind="stable")]
        self._places = order.astype(np.int64)
        self._starts = np.searchsorted(words[order], np.arange(_WORDS + 1)).astype(np.int64)

    def aligned(
        self, bases: UInt8[np.ndarray, "P"], offsets: Int64[np.ndarray, "n_plus_1"]
    ) -> Int32[np.ndarray, "A 6"]:
        """All alignments of at least `LEAST_SCORE`, window after window.

        Returns:
            Window, query, strand (0 forward, 1 backward), start and end in the forward query (half-open, bp), score.
        """
        longest, room = int(np.diff(offsets).max()) if offsets.size > 1 else 0, _ROOM
        while True:
            out = np.empty((room, 4), np.int32)
            reach = np.full((2, self._text.size + longest + 1), -1, np.int64)
            n = _align(bases, offsets, self._text, self._starts, self._places, _CARE, _SPAN, reach, out)
            if n <= room:
                break
            room = n
        window, start, end, score = out[:n].T
        owner = self._owner[start]
        query, strand = owner >> 1, owner & 1
        first, last = start - self._begins[owner], end - self._begins[owner]
        length = self.lengths[query]
        forward = np.where(strand, length - last, first), np.where(strand, length - first, last)
        return np.stack([window, query, strand, *forward, score], axis=1).astype(np.int32)


class AlignedShares:
    """What alignments say of windows: each base of a query counts once a window, by the best alignment over it.

    Where bases are weighed, one that aligns in n windows of the target counts 1 / (n + 1) in each: it has one vote,
    which the windows share, so that repeats do not outvote the one place that holds the rest of the query.
    """

    def __init__(self, lengths: Int64[np.ndarray, "Q"], *, weighed: bool):
        self._lengths, self._weighed = np.maximum(lengths, 1), weighed
        self._offsets = np.concatenate([[0], np.cumsum(self._lengths)])
        self._windows = np.zeros(self._offsets[-1], np.int32)  # that each base aligns in

    def learn(self, found: Int32[np.ndarray, "A 6"]) -> None:
        """Count the windows that each base aligns in; every block of the target comes once."""
        if self._weighed:
            _count_windows(found, self._offsets, np.full(self._windows.size, -1, np.int32), self._windows)

    def scores(self, found: Int32[np.ndarray, "A 6"], n_windows: int) -> Float32[np.ndarray, "2 Q n"]:
        """Of each strand of each query, the share of a perfect alignment, from 0 to 1.

        Args:
            found: alignments of a block, window after window.
            n_windows: of the block.
        """
        weights = 1.0 / (self._windows + 1.0) if self._weighed else np.ones(self._windows.size)
        order = np.lexsort((-found[:, 5], found[:, 0]))
        seen = np.full((2, self._windows.size), -1, np.int32)
        out = np.zeros((2, self._lengths.size, n_windows))
        _add_scores(found[order], self._offsets, weights, seen, out)
        full = MATCH * np.add.reduceat(weights, self._offsets[:-1])
        return np.minimum(out / full[None, :, None], 1.0).astype(np.float32)


@njit(cache=True, nogil=True)
@no_type_check
def _count_windows(found, offsets, seen, windows):
    for row in range(found.shape[0]):
        first = offsets[found[row, 1]]
        for base in range(first + found[row, 3], first + found[row, 4]):
            if seen[base] != found[row, 0]:
                seen[base] = found[row, 0]
                windows[base] += 1


@njit(cache=True, nogil=True)
@no_type_check
def _add_scores(found, offsets, weights, seen, out):
    for row in range(found.shape[0]):
        window, query, strand = found[row, 0], found[row, 1], found[row, 2]
        first, total = offsets[query], 0.0
        for base in range(first + found[row, 3], first + found[row, 4]):
            if seen[strand, base] != window:
                seen[strand, base] = window
                total += weights[base]
        out[strand, query, window] += total * found[row, 5] / (found[row, 4] - found[row, 3])


@njit(cache=True, nogil=True)
@no_type_check
def _words(text, care, span, kinds, out):
    for i in range(text.size):
        word, seen = 0, 0
        if i + span > text.size:
            out[i] = -1
            continue
        for offset in care:
            base = text[i + offset]
            if base > 3:
                word = -1
                break
            word, seen = (word << 2) | base, seen | (1 << base)
        distinct = (seen & 1) + ((seen >> 1) & 1) + ((seen >> 2) & 1) + ((seen >> 3) & 1)
        out[i] = word if word >= 0 and distinct >= kinds else -1


@njit(inline="always")
@no_type_check
def _extend(bases, first, last, text, t, q, step):
    """How much walking from (t, q) on adds at most, and the number of bases that this takes."""
    score, best, length, n = 0, 0, 0, 0
    while first <= t < last and text[q] < 4 and bases[t] < 4:
        score += MATCH if bases[t] == text[q] else -MISMATCH
        n += 1
        if score > best:
            best, length = score, n
        elif score < best - DROP:
            break
        t, q = t + step, q + step
    return best, length


@njit(cache=True, nogil=True)
@no_type_check
def _align(bases, offsets, text, starts, places, care, span, reach, out):
    n = 0
    for window in range(offsets.size - 1):
        first, last = offsets[window], offsets[window + 1]
        for t in range(first, last - span + 1):
            word = 0
            for offset in care:
                base = bases[t + offset]
                if base > 3:
                    word = -1
                    break
                word = (word << 2) | base
            if word < 0:
                continue
            for j in range(starts[word], starts[word + 1]):
                q = places[j]
                diagonal = q - (t - first) + (last - first)
                if reach[0, diagonal] == window and reach[1, diagonal] > t:
                    continue
                right, ahead = _extend(bases, first, last, text, t, q, 1)
                left, back = _extend(bases, first, last, text, t - 1, q - 1, -1)
                reach[0, diagonal], reach[1, diagonal] = window, t + max(ahead, 1)
                if left + right >= LEAST_SCORE:
                    if n < out.shape[0]:
                        out[n, 0], out[n, 1], out[n, 2], out[n, 3] = window, q - back, q + ahead, left + right
                    n += 1
    return n

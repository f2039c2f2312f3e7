"""Ungapped local alignments of queries with windows: spaced seeds, extended while the score holds up.

What blastn does without its gaps (Altschul et al. 1990, doi:10.1016/S0022-2836(05)80360-2), on both strands of every
query, with the spaced seed of PatternHunter (Ma, Tromp and Li 2002, doi:10.1093/bioinformatics/18.3.440). Matches count
5 and mismatches -4, which suits identities around 65 %.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Int64, UInt8
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
_KINDS = 3  # of bases in a word that seeds; AAAAAAAAAAA and ATATATATATA lie everywhere


class AlignmentIndex:
    """The seeds of both strands of some queries."""

    def __init__(self, queries: list[UInt8[np.ndarray, "_"]]):
        gap = np.full(_SPAN, UNKNOWN, np.uint8)
        strands = [strand for codes in queries for strand in (codes, gap, reverse_complement(codes), gap)]
        self.n_queries = len(queries)
        self._text = np.concatenate([gap, *strands]).astype(np.uint8)
        lengths = np.array([codes.size + _SPAN for codes in queries for _ in range(2)], np.int64)
        # strand s of query q owns places of `_text`; number 2 q + s
        self._owner = np.concatenate(
            [np.zeros(_SPAN, np.int32), np.repeat(np.arange(lengths.size, dtype=np.int32), lengths)]
        )
        self._full = np.array([MATCH * max(codes.size, 1) for codes in queries], np.float32)
        words = np.empty(self._text.size, np.int64)
        _words(self._text, _CARE, _SPAN, _KINDS, words)
        counts = np.bincount(words[words >= 0], minlength=_WORDS)
        words[(words >= 0) & (counts[np.maximum(words, 0)] > _MOST)] = -1
        places = np.flatnonzero(words >= 0)
        order = places[np.argsort(words[places], kind="stable")]
        self._places = order.astype(np.int64)
        self._starts = np.searchsorted(words[order], np.arange(_WORDS + 1)).astype(np.int64)

    def scores(
        self, bases: UInt8[np.ndarray, "P"], offsets: Int64[np.ndarray, "n_plus_1"]
    ) -> Float32[np.ndarray, "2 Q n"]:
        """Sum of the alignments of at least `LEAST_SCORE` of each strand of each query, as a share of a perfect one.

        Alignments of a query on many diagonals of a repeat add up, but never to more than 1.
        """
        out = np.zeros((offsets.size - 1, 2 * self.n_queries), np.float32)
        longest = int(np.diff(offsets).max()) if offsets.size > 1 else 0
        reach = np.full((2, self._text.size + longest + 1), -1, np.int64)
        _align(bases, offsets, self._text, self._owner, self._starts, self._places, _CARE, _SPAN, reach, out)
        both = out.reshape(-1, self.n_queries, 2).transpose(2, 1, 0)
        return np.minimum(both / self._full[None, :, None], np.float32(1.0))


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
def _align(bases, offsets, text, owner, starts, places, care, span, reach, out):
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
                left, _ = _extend(bases, first, last, text, t - 1, q - 1, -1)
                reach[0, diagonal], reach[1, diagonal] = window, t + max(ahead, 1)
                if left + right >= LEAST_SCORE:
                    out[window, owner[q]] += left + right

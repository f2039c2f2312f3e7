"""Kernels over the bases of many windows: composition, and which k-mers of the queries each window holds."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, UInt8
from numba import njit

from plantgfm.sketch import EMPTY, canonical_kmers


def canonical_columns(k: int) -> Int32[np.ndarray, "codes"]:
    """For each k-mer code the number of its pair, itself and its reverse complement; k may be even."""
    codes = np.arange(4**k)
    reverse = sum((3 - (codes // 4**i) % 4) * 4 ** (k - 1 - i) for i in range(k))
    _, columns = np.unique(np.minimum(codes, reverse), return_inverse=True)
    return columns.astype(np.int32)


@njit(cache=True, nogil=True)
@no_type_check
def _count(bases, offsets, k, columns, out):
    mask = (1 << (2 * k)) - 1
    for window in range(offsets.size - 1):
        row, code, run = out[window], 0, 0
        for i in range(offsets[window], offsets[window + 1]):
            base = bases[i]
            if base > 3:
                code, run = 0, 0
                continue
            code, run = ((code << 2) | base) & mask, run + 1
            if run >= k:
                row[columns[code]] += 1


def composition(
    bases: UInt8[np.ndarray, "P"], offsets: Int64[np.ndarray, "n_plus_1"], *, k: int, columns: Int32[np.ndarray, "_"]
) -> Float32[np.ndarray, "n F"]:
    """Frequencies of k-mer pairs in every window; strand plays no part, k-mers with an unknown base are left out.

    Args:
        bases: base codes without the repeat bit, window after window.
        offsets: of the windows.
        k: length of the k-mers.
        columns: from `canonical_columns`.
    """
    counts = np.zeros((offsets.size - 1, int(columns.max()) + 1), np.float32)
    _count(bases, offsets, k, columns, counts)
    counts /= np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return counts


def distinct_kmers(codes: UInt8[np.ndarray, "P"], k: int) -> np.ndarray:
    """The distinct canonical k-mers of a sequence, ascending; k odd."""
    kmers = np.unique(canonical_kmers(np.ascontiguousarray(codes), k))
    return kmers[kmers != EMPTY]


class KmerIndex:
    """Which queries hold a k-mer: the distinct canonical k-mers of all of them, for k up to 13."""

    def __init__(self, queries: list[UInt8[np.ndarray, "_"]], k: int):
        sets = [distinct_kmers(codes, k) for codes in queries]
        self.k = k
        self.sizes = np.array([kmers.size for kmers in sets], np.int64)
        self.vocabulary = np.unique(np.concatenate(sets))
        ids = np.concatenate([np.searchsorted(self.vocabulary, kmers) for kmers in sets])
        order = np.argsort(ids, kind="stable")
        self._queries = np.repeat(np.arange(len(sets)), self.sizes)[order].astype(np.int32)
        self._starts = np.searchsorted(ids[order], np.arange(self.vocabulary.size + 1)).astype(np.int64)
        self._id_of = np.full(4**k, -1, np.int32)
        self._id_of[self.vocabulary.astype(np.int64)] = np.arange(self.vocabulary.size)

    def windows_with(
        self, bases: UInt8[np.ndarray, "P"], offsets: Int64[np.ndarray, "n_plus_1"]
    ) -> Int64[np.ndarray, "V"]:
        """In how many windows each k-mer occurs."""
        counts = np.zeros(self.vocabulary.size, np.int64)
        seen = np.full(self.vocabulary.size, -1, np.int64)
        _occurrences(bases, offsets, self.k, self._id_of, seen, counts)
        return counts

    def shared(
        self, bases: UInt8[np.ndarray, "P"], offsets: Int64[np.ndarray, "n_plus_1"], weights: Float64[np.ndarray, "V"]
    ) -> Float32[np.ndarray, "Q n"]:
        """The share of the weight of a query's distinct k-mers that occurs in each window."""
        total = np.bincount(self._queries, np.repeat(weights, np.diff(self._starts)), minlength=self.sizes.size)
        out = np.zeros((offsets.size - 1, self.sizes.size), np.float32)
        seen = np.full(self.vocabulary.size, -1, np.int64)
        per_query = 1.0 / np.where(total > 0, total, 1.0)
        _shared(bases, offsets, self.k, self._id_of, seen, self._starts, self._queries, weights, per_query, out)
        return np.ascontiguousarray(out.T)


@njit(inline="always")
@no_type_check
def _roll(base, forward, reverse, run, mask, shift):
    if base > 3:
        return 0, 0, 0
    return ((forward << 2) | base) & mask, (reverse >> 2) | ((3 - base) << shift), run + 1


@njit(cache=True, nogil=True)
@no_type_check
def _occurrences(bases, offsets, k, id_of, seen, counts):
    mask, shift = (1 << (2 * k)) - 1, 2 * (k - 1)
    for window in range(offsets.size - 1):
        forward, reverse, run = 0, 0, 0
        for i in range(offsets[window], offsets[window + 1]):
            forward, reverse, run = _roll(np.int64(bases[i]), forward, reverse, run, mask, shift)
            if run >= k:
                kmer = id_of[min(forward, reverse)]
                if kmer >= 0 and seen[kmer] != window:
                    seen[kmer] = window
                    counts[kmer] += 1


@njit(cache=True, nogil=True)
@no_type_check
def _shared(bases, offsets, k, id_of, seen, starts, queries, weights, per_query, out):
    mask, shift = (1 << (2 * k)) - 1, 2 * (k - 1)
    for window in range(offsets.size - 1):
        forward, reverse, run = 0, 0, 0
        for i in range(offsets[window], offsets[window + 1]):
            forward, reverse, run = _roll(np.int64(bases[i]), forward, reverse, run, mask, shift)
            if run >= k:
                kmer = id_of[min(forward, reverse)]
                if kmer >= 0 and seen[kmer] != window:
                    seen[kmer] = window
                    for j in range(starts[kmer], starts[kmer + 1]):
                        out[window, queries[j]] += weights[kmer] * per_query[queries[j]]

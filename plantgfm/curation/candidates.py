"""Pairs of sequences that may be duplicates: datasketch's LSH, or the same bands sorted where there are many."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from datasketch import MinHashLSH
from jaxtyping import Int64, UInt64
from numba import njit

from plantgfm.sketch import EMPTY, as_datasketch, band_keys

LSH_WEIGHTS = (0.02, 0.98)
"""False positives against false negatives. At 99 % identity, k = 21, 128 permutations they make 25 bands of 5 slots:
a pair at the threshold is proposed with a chance of 0.98, one at 99.5 % always; every candidate is verified."""

SORTED_FROM = 2_000
"""Sequences from which bands are sorted: datasketch's tables take 4 kB and 30 microseconds each, sorting a fraction."""


def candidate_pairs(
    signatures: UInt64[np.ndarray, "n slots"], min_jaccard: float, *, seed: int, sorted_from: int = SORTED_FROM
) -> Int64[np.ndarray, "pairs 2"]:
    """Pairs (i < j) that share a band, sorted; signatures without any k-mer are in none.

    Args:
        signatures: permutation signatures of `sketch.minhash`.
        min_jaccard: index at which two sequences count as one.
        seed: of the permutations.
        sorted_from: number of signatures from which bands are sorted instead of stored; both give the same pairs.
    """
    rows = np.flatnonzero((signatures != EMPTY).any(axis=1))
    if rows.size < 2:
        return np.empty((0, 2), dtype=np.int64)
    bands = bands_of(min_jaccard, signatures.shape[1])
    lsh = MinHashLSH(num_perm=signatures.shape[1], params=bands)
    if rows.size < sorted_from:
        return _stored_pairs(signatures, rows, lsh, seed)
    keys = band_keys(signatures[rows], list(lsh.hashranges))
    found = np.empty(0, dtype=np.int64)
    for band in range(keys.shape[1]):
        order = np.argsort(keys[:, band], kind="stable")
        found = np.union1d(found, _neighbours(keys[order, band], order))
    return np.stack([rows[found // max(1, rows.size)], rows[found % max(1, rows.size)]], axis=1)


@lru_cache(maxsize=64)
def bands_of(min_jaccard: float, permutations: int) -> tuple[int, int]:
    """Bands and slots of a band that datasketch finds best for a Jaccard threshold and our weights, in 0.3 s."""
    lsh = MinHashLSH(threshold=min_jaccard, num_perm=permutations, weights=LSH_WEIGHTS)
    return lsh.b, lsh.r


def _stored_pairs(signatures: np.ndarray, rows: np.ndarray, lsh: MinHashLSH, seed: int) -> np.ndarray:
    sketched = [(i, as_datasketch(signatures[i], seed=seed)) for i in rows.tolist()]
    with lsh.insertion_session() as session:
        for i, signature in sketched:
            session.insert(i, signature)
    pairs = {(i, j) for i, signature in sketched for j in lsh.query(signature) if i < j}
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


@njit(cache=True, nogil=True)
def _neighbours(keys, order):
    """Every pair of rows with equal keys as smaller row x rows + larger row."""
    n, count, start = keys.size, 0, 0
    for i in range(1, n + 1):
        if i == n or keys[i] != keys[start]:
            count += (i - start) * (i - start - 1) // 2
            start = i
    pairs, at, start = np.empty(count, dtype=np.int64), 0, 0
    for i in range(1, n + 1):
        if i == n or keys[i] != keys[start]:
            for a in range(start, i):
                for b in range(a + 1, i):
                    low, high = min(order[a], order[b]), max(order[a], order[b])
                    pairs[at] = low * n + high
                    at += 1
            start = i
    return pairs

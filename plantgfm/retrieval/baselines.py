"""What a user could do without a model: composition vectors and k-mer containment."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32
from numpy.lib.stride_tricks import sliding_window_view

from plantgfm.retrieval.queries import Query
from plantgfm.sequence import BASE_MASK, UNKNOWN
from plantgfm.sketch import EMPTY, canonical_kmers


def _canonical_table(k: int) -> np.ndarray:
    """For each k-mer code the smaller of itself and its reverse complement, int64 [4^k]; k may be even."""
    codes = np.arange(4**k)
    reverse = sum((3 - (codes // 4**i) % 4) * 4 ** (k - 1 - i) for i in range(k))
    return np.minimum(codes, reverse)


def _kmer_counts(codes: np.ndarray, *, k: int, canonical: np.ndarray) -> np.ndarray:
    bases = (codes & BASE_MASK).astype(np.int64)
    if bases.size < k:
        return np.zeros(4**k, np.float32)
    windows = sliding_window_view(bases, k)
    known = windows.max(axis=1) < UNKNOWN
    kmers = windows[known] @ 4 ** np.arange(k - 1, -1, -1)
    return np.bincount(canonical[kmers], minlength=4**k).astype(np.float32)


def composition(sequences: list[np.ndarray], *, k: int) -> Float32[np.ndarray, "B F"]:
    """Canonical k-mer frequencies of sequences, [B, 4^k]; strand plays no part."""
    canonical = _canonical_table(k)
    counts = np.stack([_kmer_counts(codes, k=k, canonical=canonical) for codes in sequences])
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _whole(query: Query) -> np.ndarray:
    return np.concatenate(query.windows) if len(query.windows) > 1 else query.windows[0]


def composition_scores(queries: list[Query], tiles: list[np.ndarray], *, k: int) -> Float32[np.ndarray, "Q N"]:
    """Cosine of centred k-mer frequencies: the mean of the target is taken off both."""
    targets = composition(tiles, k=k)
    mean = targets.mean(axis=0)
    found = composition([_whole(query) for query in queries], k=k)
    return (_unit(found - mean) @ _unit(targets - mean).T).astype(np.float32)


def gc_scores(queries: list[Query], tiles: list[np.ndarray]) -> Float32[np.ndarray, "Q N"]:
    """Minus the difference in GC content."""

    def gc(codes: np.ndarray) -> float:
        known = (codes & 7)[(codes & 7) < 4]
        return float(np.mean((known == 1) | (known == 2))) if known.size else 0.5

    found = np.array([gc(_whole(query)) for query in queries])
    return -np.abs(found[:, None] - np.array([gc(tile) for tile in tiles])[None, :]).astype(np.float32)


def _distinct_kmers(codes: np.ndarray, k: int) -> np.ndarray:
    kmers = np.unique(canonical_kmers(np.ascontiguousarray(codes), k))
    return kmers[kmers != EMPTY]


def containment_scores(queries: list[Query], tiles: list[np.ndarray], *, k: int = 11) -> Float32[np.ndarray, "Q N"]:
    """Share of a query's distinct canonical k-mers that occur in each window."""
    sets = [_distinct_kmers(_whole(query), k) for query in queries]
    vocabulary = np.unique(np.concatenate(sets))
    member = np.zeros((len(queries), vocabulary.size), np.float32)
    for row, kmers in zip(member, sets):
        row[np.searchsorted(vocabulary, kmers)] = 1.0 / max(kmers.size, 1)
    scores = np.zeros((len(queries), len(tiles)), np.float32)
    for column, tile in enumerate(tiles):
        kmers = _distinct_kmers(tile, k)
        where = np.minimum(np.searchsorted(vocabulary, kmers), vocabulary.size - 1)
        scores[:, column] = member[:, where[vocabulary[where] == kmers]].sum(axis=1)
    return scores

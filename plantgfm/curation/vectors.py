"""Local matches of vectors and adaptors inside records: exact seeds, then ungapped extension scored as VecScreen does.

A match costs +1, a mismatch -5 (the reward and penalty of NCBI's VecScreen); extension stops when the score has fallen
20 below its best. A gap ends an extension, and the next seed opens another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8, UInt64
from numba import njit

from plantgfm.sequence import UNKNOWN, encode, reverse_complement

ADAPTORS = {
    "Illumina TruSeq adaptor, read 1": "AGATCGGAAGAGCACACGTCTGAACTCCAGTCA",
    "Illumina TruSeq adaptor, read 2": "AGATCGGAAGAGCGTCGTGTAGGGAAAGAGTGT",
}
"""Published by Illumina (Adapter Sequences, document 1000000002694); always screened for."""

_U = np.uint64
_DROP = 20
_FILTER_BITS = 20


@dataclass(frozen=True)
class VectorIndex:
    """Vectors on both strands, joined with unknown bases between, and their k-mers in order of code."""

    k: int
    names: list[str]
    subject: UInt8[np.ndarray, "S"]
    ends: Int64[np.ndarray, "sequences"]  # end of each sequence in the subject; two a vector, both strands
    kmers: UInt64[np.ndarray, "kmers"]
    places: Int64[np.ndarray, "kmers"]


def index_vectors(vectors: list[tuple[str, UInt8[np.ndarray, "P"]]], k: int) -> VectorIndex:
    """An index of the given vectors (name, base codes) and of the built-in adaptors."""
    everything = [*vectors, *((name, encode(text)) for name, text in ADAPTORS.items())]
    gap = np.full(1, UNKNOWN, dtype=np.uint8)
    parts = [part for _, codes in everything for strand in (codes, reverse_complement(codes)) for part in (strand, gap)]
    subject = np.concatenate(parts)
    kmers = _forward_kmers(subject, k)
    places = np.argsort(kmers, kind="stable")
    places = places[kmers[places] != _U(0xFFFFFFFFFFFFFFFF)]
    ends = np.cumsum([part.size for part in parts])[1::2]
    return VectorIndex(k, [name for name, _ in everything], subject, ends, kmers[places], places)


def find_vectors(codes: UInt8[np.ndarray, "P"], index: VectorIndex, min_score: int) -> list[tuple[int, int, int, str]]:
    """Matches as (start, end, score, vector name) in order of start, each scored at least `min_score`."""
    bloom = np.zeros(1 << _FILTER_BITS, dtype=np.bool_)
    bloom[(index.kmers * _U(0x9E3779B97F4A7C15)) >> _U(64 - _FILTER_BITS)] = True
    room = 1024
    while True:
        hits = np.zeros((room, 4), dtype=np.int64)
        n = _search(codes, index.k, bloom, index.kmers, index.places, index.subject, min_score, hits)
        if n <= room:
            break
        room = n
    owner = np.searchsorted(index.ends, hits[:n, 3], side="right") // 2
    found = ((int(s), int(e), int(score), index.names[o]) for (s, e, score, _), o in zip(hits[:n], owner))
    return sorted(found)


@njit(cache=True, nogil=True)
def _forward_kmers(subject, k):
    out = np.full(subject.size, 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
    mask, code, run = _U((1 << (2 * k)) - 1), _U(0), 0
    for i in range(subject.size):
        if subject[i] > 3:
            run = 0
            continue
        code, run = ((code << _U(2)) | _U(subject[i])) & mask, run + 1
        if run >= k:
            out[i - k + 1] = code
    return out


@njit(cache=True, nogil=True)
def _extend(query, q, subject, s, step):
    score, best, reach, n = 0, 0, 0, 0
    while 0 <= q < query.size and 0 <= s < subject.size:
        a, b = query[q] & 7, subject[s]
        if a > 3 or b > 3:
            break
        n += 1
        score += 1 if a == b else -5
        if score > best:
            best, reach = score, n
        elif best - score > _DROP:
            break
        q += step
        s += step
    return best, reach


@njit(cache=True, nogil=True)
def _search(codes, k, bloom, kmers, places, subject, min_score, hits):
    mask, code, run, covered, n = _U((1 << (2 * k)) - 1), _U(0), 0, 0, 0
    for i in range(codes.size):
        base = codes[i] & 7
        if base > 3:
            run = 0
            continue
        code, run = ((code << _U(2)) | _U(base)) & mask, run + 1
        start = i - k + 1
        if run < k or start < covered or not bloom[(code * _U(0x9E3779B97F4A7C15)) >> _U(64 - _FILTER_BITS)]:
            continue
        best, left_best, right_best, subject_at = 0, 0, 0, 0
        at = np.searchsorted(kmers, code)
        while at < kmers.size and kmers[at] == code:
            left, left_reach = _extend(codes, start - 1, subject, places[at] - 1, -1)
            right, right_reach = _extend(codes, start + k, subject, places[at] + k, 1)
            if k + left + right > best:
                best, left_best, right_best, subject_at = k + left + right, left_reach, right_reach, places[at]
            at += 1
        if best >= min_score:
            covered = start + k + right_best
            if n < hits.shape[0]:
                hits[n, 0], hits[n, 1], hits[n, 2], hits[n, 3] = start - left_best, covered, best, subject_at
            n += 1
    return n

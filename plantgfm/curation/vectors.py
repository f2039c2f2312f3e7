"""Vectors and adaptors inside records, as NCBI's VecScreen finds them: exact seeds, gapped extension, a class.

A match costs +1, a mismatch -5, a gap of n bases -3 - 3 n (reward, penalty and gap costs of VecScreen's blastn); the
extension is the best within a band around the seed's diagonal, and stops when its score has fallen 20 below its best.
A match counts as terminal where it begins or ends within 25 bp of an end of the record, and is strong, moderate or weak
by its score (https://www.ncbi.nlm.nih.gov/tools/vecscreen/about/): at an end 24, 19, 16, inside 30, 25, 23.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from jaxtyping import Int64, UInt8, UInt64
from numba import njit

from plantgfm.curation.config import ContaminationConfig
from plantgfm.sequence import UNKNOWN, encode, reverse_complement
from plantgfm.sketch import BLOCK, EMPTY, kmers_at

ADAPTORS = {
    "Illumina TruSeq adaptor, read 1": "AGATCGGAAGAGCACACGTCTGAACTCCAGTCA",
    "Illumina TruSeq adaptor, read 2": "AGATCGGAAGAGCGTCGTGTAGGGAAAGAGTGT",
    "Illumina TruSeq universal adaptor": "AATGATACGGCGACCACCGAGATCTACACTCTTTCCCTACACGACGCTCTTCCGATCT",
    "Illumina TruSeq adaptor, behind its index": "ATCTCGTATGCCGTCTTCTGCTTG",
    "Illumina Nextera adaptor, read 1": "TCGTCGGCAGCGTCAGATGTGTATAAGAGACAG",
    "Illumina Nextera adaptor, read 2": "GTCTCGTGGGCTCGGAGATGTGTATAAGAGACAG",
    "PacBio SMRTbell adaptor": "ATCTCTCTCAACAACAACAACGGAGGAGGAGGAAAAGAGAGAGAT",
    "Nanopore ligation adaptor, to LSK110": "AATGTACTTCGTTCAGTTACGTATTGCT",
    "Nanopore ligation adaptor, from LSK112": "CCTGTACTTCGTTCAGTTACGTATTGCT",
    "MGI adaptor, read 1": "AAGTCGGAGGCCAAGCGGTCTTAGGAAGACAA",
    "MGI adaptor, read 2": "AAGTCGGATCGTAGCCATGTCGTTCTGTGAGCCAAGGAGTTG",
}
"""What assemblies are read with, as the makers publish it (Illumina: Adapter Sequences, document 1000000002694; PacBio;
Oxford Nanopore: Chemistry Technical Document; MGI); always screened for, on both strands."""


class Strength(Enum):
    """VecScreen's class of a match."""

    STRONG = "strong"
    MODERATE = "moderate"
    WEAK = "weak"


_U = np.uint64
_DROP = 20
_BAND = 8  # bases that gaps may shift a match by, on either side of its seed
_GAP_OPEN, _GAP_EXTEND = 3, 3
_MISMATCH = 5
_NEVER = -1_000_000
_FEWEST_FILTER_BITS, _MOST_FILTER_BITS = 18, 20  # no more than it takes: what is small stays near


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


@dataclass(frozen=True)
class Match:
    """A local match of a vector in a record."""

    start: int
    end: int
    score: int
    name: str
    terminal: bool = False
    strength: Strength | None = None


def screen_vectors(codes: UInt8[np.ndarray, "P"], index: VectorIndex, config: ContaminationConfig) -> list[Match]:
    """Classed matches in order of start; what is not even weak is left out."""
    inside = config.min_vector_score, config.moderate_vector_scores[0], config.weak_vector_scores[0]
    at_end = config.min_terminal_vector_score, config.moderate_vector_scores[1], config.weak_vector_scores[1]
    found, margin = [], config.vector_end_bp
    for start, end, score, name in find_vectors(codes, index, min(inside[2], at_end[2])):
        terminal = start < margin or end > codes.size - margin
        classes = [kind for kind, bar in zip(Strength, at_end if terminal else inside) if score >= bar]
        if classes:
            found.append(Match(start, end, score, name, terminal, classes[0]))
    return found


def suspect_segments(runs: list[tuple[int, int]], length_bp: int, suspect_bp: int) -> list[tuple[int, int]]:
    """What lies between vector runs, or between one and an end, and is shorter than `suspect_bp`: of suspect origin."""
    borders = [0, *(place for run in sorted(runs) for place in run), length_bp]
    gaps = zip(borders[::2], borders[1::2])
    return [(start, end) for start, end in gaps if 0 < end - start < suspect_bp] if runs else []


def find_vectors(codes: UInt8[np.ndarray, "P"], index: VectorIndex, min_score: int) -> list[tuple[int, int, int, str]]:
    """Matches as (start, end, score, vector name) in order of start, each scored at least `min_score`."""
    bits = min(_MOST_FILTER_BITS, max(_FEWEST_FILTER_BITS, (64 * index.kmers.size).bit_length()))
    bloom = np.zeros(1 << bits, dtype=np.bool_)
    bloom[(index.kmers * _U(0x9E3779B97F4A7C15)) >> _U(64 - bits)] = True
    codes, room = np.ascontiguousarray(codes), 1024
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
    """Best score and reach in the query of an ungapped extension from (q, s) on, in the direction of step."""
    score, best, reach, n = 0, 0, 0, 0
    while 0 <= q < query.size and 0 <= s < subject.size:
        a, b = query[q] & 7, subject[s]
        if a > 3 or b > 3:
            break
        n += 1
        score += 1 if a == b else -_MISMATCH
        if score > best:
            best, reach = score, n
        elif best - score > _DROP:
            break
        q += step
        s += step
    return best, reach


@njit(cache=True, nogil=True)
def _extend_gapped(query, q, subject, s, step):
    """As `_extend`, with gaps: Gotoh's recurrence in a band around the diagonal of (q, s)."""
    width = 2 * _BAND + 1
    here = np.full(width + 1, _NEVER, dtype=np.int64)  # best of this row, by diagonal; the last stays out of reach
    down = np.full(width + 1, _NEVER, dtype=np.int64)  # the same, ending in bases of the query alone
    for d in range(_BAND + 1):
        here[_BAND + d] = -(_GAP_OPEN + _GAP_EXTEND * d) if d else 0
    best, reach, row = 0, 0, 0
    while 0 <= q + step * row < query.size and (query[q + step * row] & 7) <= 3:
        base, top, across = query[q + step * row] & 7, _NEVER, _NEVER
        row += 1
        for d in range(width):
            j = row + d - _BAND  # bases of the subject that are used up
            place = s + step * (j - 1)
            down[d] = max(here[d + 1] - _GAP_OPEN, down[d + 1]) - _GAP_EXTEND
            score = down[d]
            if j >= 1 and 0 <= place < subject.size and subject[place] <= 3:
                score = max(score, here[d] + (1 if subject[place] == base else -_MISMATCH))
                score = max(score, across)
                across = max(score - _GAP_OPEN, across) - _GAP_EXTEND
            else:
                across = _NEVER
            here[d] = score if j >= 0 else _NEVER
            top = max(top, here[d])
            if here[d] > best:
                best, reach = here[d], row
        if best - top > _DROP:
            break
    return best, reach


@njit(cache=True, nogil=True)
def _search(codes, k, bloom, kmers, places, subject, min_score, hits):
    covered, n, shift, size = 0, 0, _U(64), bloom.size
    while size > 1:
        shift, size = shift - _U(1), size // 2
    here, words = np.empty(BLOCK, dtype=np.uint64), np.empty((2, BLOCK // 32 + 1), dtype=np.uint64)
    for first in range(0, codes.size, BLOCK):
        block = here[: min(BLOCK, codes.size - first)]
        whole = kmers_at(codes, first, k, False, words, block)
        for i in range(block.size):
            if not bloom[(block[i] * _U(0x9E3779B97F4A7C15)) >> shift]:
                continue
            start = first + i - k + 1
            if start < covered or (not whole and block[i] == EMPTY):
                continue
            score, left, right, subject_at = _best(codes, start, k, kmers, places, block[i], subject)
            if score >= min_score:
                covered = start + k + right
                if n < hits.shape[0]:
                    hits[n, 0], hits[n, 1], hits[n, 2], hits[n, 3] = start - left, covered, score, subject_at
                n += 1
    return n


@njit(cache=True, nogil=True)
def _best(codes, start, k, kmers, places, code, subject):
    """Score of the best match around a seed, 0 for none, its reach to either side, and the seed's place."""
    best, subject_at = 0, 0
    at = np.searchsorted(kmers, code)
    while at < kmers.size and kmers[at] == code:
        left, _ = _extend(codes, start - 1, subject, places[at] - 1, -1)
        right, _ = _extend(codes, start + k, subject, places[at] + k, 1)
        if k + left + right > best:
            best, subject_at = k + left + right, places[at]
        at += 1
    if best == 0:
        return 0, 0, 0, 0
    left, left_reach = _extend_gapped(codes, start - 1, subject, subject_at - 1, -1)
    right, right_reach = _extend_gapped(codes, start + k, subject, subject_at + k, 1)
    return k + left + right, left_reach, right_reach, subject_at

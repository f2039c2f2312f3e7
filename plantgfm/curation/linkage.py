"""Complete-linkage clusters of verified candidates: every two members of a cluster match, so that nothing chains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, UInt64
from numba import njit

from plantgfm.sketch import EMPTY

MIN_LENGTH_RATIO = 0.8
"""Two records of the same satellite share all k-mers at any length; shorter ones than this are no duplicate."""


@dataclass(frozen=True)
class Matcher:
    """What tells whether two of n sequences count as one."""

    content: Int64[np.ndarray, "n"]  # equal numbers: the same sequence exactly, on whatever strand
    species: Int64[np.ndarray, "n"]
    known_bp: Int64[np.ndarray, "n"]
    sketches: UInt64[np.ndarray, "n bins"]  # one-permutation, not densified
    within: float  # Jaccard index asked of two sequences of one species
    across: float  # of two species; above 1: the same sequence exactly

    def similarity(self, pairs: Int64[np.ndarray, "pairs 2"]) -> Float64[np.ndarray, "pairs"]:
        """Estimated Jaccard index of each pair: 1 where they are the same sequence, 0 where they don't match."""
        return _similarities(pairs, *self._arrays)

    def clusters(self, pairs: Int64[np.ndarray, "pairs 2"]) -> list[list[int]]:
        """Clusters of at least two, agglomerated from the most similar candidate pair on; then by smaller number."""
        similarity = self.similarity(pairs)
        pairs, similarity = pairs[similarity > 0], similarity[similarity > 0]
        order = np.lexsort((pairs[:, 1], pairs[:, 0], -similarity))
        cluster = _agglomerate(pairs[order], *self._arrays)
        members: dict[int, list[int]] = {}
        for number, head in enumerate(cluster.tolist()):
            members.setdefault(head, []).append(number)
        return [found for _, found in sorted(members.items()) if len(found) > 1]

    @property
    def _arrays(self) -> tuple:
        return self.content, self.species, self.known_bp, self.sketches, self.within, self.across


@njit(cache=True, nogil=True)
def _similarity(i, j, content, species, known_bp, sketches, within, across):
    if content[i] == content[j]:
        return 1.0
    if min(known_bp[i], known_bp[j]) < MIN_LENGTH_RATIO * max(known_bp[i], known_bp[j]):
        return 0.0
    same, seen = 0, 0
    for slot in range(sketches.shape[1]):
        a, b = sketches[i, slot], sketches[j, slot]
        if a != b:
            seen += 1
        elif a != EMPTY:
            same += 1
            seen += 1
    index = same / max(1, seen)
    return index if index >= (within if species[i] == species[j] else across) else 0.0


@njit(cache=True, nogil=True)
def _similarities(pairs, content, species, known_bp, sketches, within, across):
    out = np.zeros(pairs.shape[0])
    for row in range(pairs.shape[0]):
        out[row] = _similarity(pairs[row, 0], pairs[row, 1], content, species, known_bp, sketches, within, across)
    return out


@njit(cache=True, nogil=True)
def _agglomerate(pairs, content, species, known_bp, sketches, within, across):
    """The smallest number in the cluster of each sequence; members of a cluster hang on a chain from that one."""
    n = content.size
    head, following, last = np.arange(n), np.full(n, -1), np.arange(n)
    for row in range(pairs.shape[0]):
        a, b = head[pairs[row, 0]], head[pairs[row, 1]]
        if a == b:
            continue
        a, b = min(a, b), max(a, b)
        x, fits = a, True
        while x >= 0 and fits:
            y = b
            while y >= 0 and fits:
                fits = _similarity(x, y, content, species, known_bp, sketches, within, across) > 0
                y = following[y]
            x = following[x]
        if not fits:
            continue
        following[last[a]], last[a] = b, last[b]
        y = b
        while y >= 0:
            head[y] = a
            y = following[y]
    return head

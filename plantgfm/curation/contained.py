"""Containment among sequences: what lies, at a nucleotide identity, wholly inside a longer one.

Part of the stage of duplicates: Jaccard indices see copies of like size, FracMinHash sees a copied part. Hashes that a
longer sequence shares propose it; then each piece of the shorter one is located there and compared k-mer by k-mer with
that place alone, for the families of a genome's repeats hold nearly every k-mer of any repeat, here and there.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8, UInt64
from numba import njit

from plantgfm.sequence import BASE_MASK, UNKNOWN, runs_of
from plantgfm.sketch import distinct, fraction, identity_of_containment

MIN_HASHES = 8
PROBES = 128
"""Hashes of a sequence that are looked up in all others: enough to tell 99 % identity from 97 % nearly always."""

MAX_SHARERS = 32
"""Hashes that more sequences hold than this are repeats of everyone: they say nothing and are left out."""

_PIECE_BP = 50_000
_GAP_BP = 100  # a run of unknown bases from this length on ends a piece
_STRETCH = 1.25  # a piece and its place may differ in length by insertions of this share
_DENSE = 4_000  # k-mers of a piece that are compared, where it has as many
_MOST_PLACES = 100_000  # of the hashes of a piece in the longer sequence: the rarest are looked at first
_PARTITION = 1 << 24  # hashes that are sorted at a time: bounds memory

Parts = Callable[[], list[UInt8[np.ndarray, "P"]]]


@dataclass(frozen=True)
class Contents:
    """A sequence as containment is sought in it."""

    hashes: UInt64[np.ndarray, "hashes"]  # FracMinHash, sorted and distinct
    parts: Parts  # reads its bases, a part a record


@dataclass(frozen=True)
class Shared:
    """What probes of n sets, a few of their hashes each, say of each other."""

    pairs: Int64[np.ndarray, "pairs 3"]  # rows (i, j, probes of i that lie in j), sorted
    probes: Int64[np.ndarray, "n"]
    counted: Int64[np.ndarray, "n"]  # hashes that say anything: those that few sets hold


def probe(sets: list[UInt64[np.ndarray, "hashes"]]) -> Shared:
    """Look up the first `PROBES` hashes of each set in all others; as hashes are random, they are a sample of the set.

    Args:
        sets: sorted distinct hashes of each sequence.
    """
    n, total = max(1, len(sets)), sum(one.size for one in sets)
    counted, probes = np.zeros(len(sets), dtype=np.int64), np.zeros(len(sets), dtype=np.int64)
    pairs, shared = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    steps = -(-total // _PARTITION)
    highest = max((int(one[-1]) for one in sets if one.size), default=0)
    bounds = np.array([highest * step // steps for step in range(1, steps)], dtype=np.uint64)
    cuts = [[0, *np.searchsorted(one, bounds).tolist(), one.size] for one in sets]
    for step in range(steps):
        part = [one[cut[step] : cut[step + 1]] for one, cut in zip(sets, cuts)]
        more, counts = _probe_in(part, counted, probes)
        pairs, place = np.unique(np.concatenate([pairs, more]), return_inverse=True)
        shared = np.bincount(place, weights=np.concatenate([shared, counts]), minlength=pairs.size).astype(np.int64)
    return Shared(np.stack([pairs // n, pairs % n, shared], axis=1), probes, counted)


def _probe_in(sets: list[np.ndarray], counted: np.ndarray, probes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs i x n + j of a part of the hashes and how often each was found; the two counts are carried on."""
    hashes = np.concatenate([np.empty(0, np.uint64), *sets])
    owner = np.repeat(np.arange(len(sets)), [one.size for one in sets])
    order = np.argsort(hashes, kind="stable")  # owners stay in order; sets are sorted, and merged quickly
    before, keys = counted.copy(), np.empty(1 << 16, dtype=np.int64)
    while (found := _meet(hashes, owner, order, MAX_SHARERS, PROBES, counted, keys)) > keys.size:
        counted[:], keys = before, np.empty(found, dtype=np.int64)
    np.minimum(counted, PROBES, out=probes)
    return np.unique(keys[:found], return_counts=True)


@njit(cache=True, nogil=True)
def _meet(hashes, owner, order, sharers, probes, counted, keys):
    """Fills in a pair of owners for each hash that they share and the first one probes; returns how many there are."""
    n, start = 0, 0
    while start < order.size:
        end = start + 1
        while end < order.size and hashes[order[end]] == hashes[order[start]]:
            end += 1
        if end - start <= sharers:
            for i in range(start, end):
                one = owner[order[i]]
                if counted[one] < probes:
                    for j in range(start, end):
                        if j != i:
                            if n < keys.size:
                                keys[n] = one * counted.size + owner[order[j]]
                            n += 1
                counted[one] += 1
        start = end
    return n


def find_containers(
    contents: list[Contents], identity: Callable[[int, int], float], *, k: int, shared: Shared | None = None
) -> dict[int, tuple[int, float]]:
    """For each contained sequence its container (the largest) and the identity of the two.

    A container has more hashes, or as many and a smaller number; so nothing contains itself by a detour.

    Args:
        contents: the sequences.
        identity: nucleotide identity that is asked of two sequences, given their numbers; above 1: not to be compared.
        k: length of the k-mers.
        shared: what `probe` says of them; None: it is asked here.
    """
    sets = [one.hashes for one in contents]
    waiting = _candidates(sets, probe(sets) if shared is None else shared, identity, k=k)
    found: dict[int, tuple[int, float]] = {}
    while waiting:
        turn = defaultdict(list)
        for inner, outers in waiting.items():
            turn[outers.pop(0)].append(inner)
        for outer, inners in sorted(turn.items()):
            place = Place(contents[outer].parts(), k=k)
            for inner in inners:
                reached = place.identity_of(contents[inner].parts())
                if reached >= identity(inner, outer):
                    found[inner] = outer, reached
        waiting = {inner: outers for inner, outers in waiting.items() if outers and inner not in found}
    return found


def _candidates(
    sets: list[np.ndarray], shared: Shared, identity: Callable[[int, int], float], *, k: int
) -> dict[int, list[int]]:
    """For each sequence those that may contain it, the largest first."""
    counted, found = shared.counted, defaultdict(list)
    for inner, outer, number in shared.pairs.tolist():
        asked, probes = identity(inner, outer), int(shared.probes[inner])
        if asked > 1 or (counted[inner], -inner) > (counted[outer], -outer):
            continue
        if counted[inner] < max(MIN_HASHES, sets[inner].size / 2):
            continue
        share = asked**k
        if number >= probes * share - 3 * math.sqrt(probes * share * (1 - share)):
            found[inner].append(outer)
    return {inner: sorted(outers, key=lambda o: (-counted[o], o)) for inner, outers in found.items()}


class Place:
    """A sequence in which pieces of others are located; k-mers by the place of their hashes."""

    def __init__(self, parts: list[np.ndarray], *, k: int):
        self._k, self._parts = k, parts
        total = sum(part.size for part in parts)
        self._scaled = max(1, min(50, total // _DENSE))
        found = [fraction(part, k=k, scaled=self._scaled) for part in parts]
        owner = np.repeat(np.arange(len(parts)), [hashes.size for hashes, _ in found])
        hashes = np.concatenate([np.empty(0, np.uint64), *(hashes for hashes, _ in found)])
        places = np.concatenate([np.empty(0, np.int64), *(places for _, places in found)])
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._owner, self._places = hashes[order], owner[order], places[order]

    def identity_of(self, parts: list[np.ndarray]) -> float:
        """Identity of a sequence with the places where its pieces lie; 0 where it has no k-mer."""
        shared, total = 0, 0
        for piece in _pieces(parts, self._k):
            dense = max(1, piece.size // _DENSE)
            mine = distinct([fraction(piece, k=self._k, scaled=dense)[0]])
            total += mine.size
            window = self._locate(piece)
            if window.size:
                theirs = distinct([fraction(window, k=self._k, scaled=dense)[0]])
                shared += np.intersect1d(mine, theirs, assume_unique=True).size
        return identity_of_containment(shared / total, self._k) if total else 0.0

    def _locate(self, piece: np.ndarray) -> np.ndarray:
        """The bases around which most of a piece's hashes lie close together; none where nothing is shared."""
        scaled = self._scaled if piece.size // self._scaled >= MIN_HASHES else 1
        hashes = distinct([fraction(piece, k=self._k, scaled=scaled)[0]])
        low = np.searchsorted(self._hashes, hashes, side="left")
        count = np.searchsorted(self._hashes, hashes, side="right") - low
        rows = np.flatnonzero(count)
        rows = rows[np.argsort(count[rows], kind="stable")]
        rows = rows[: max(1, int(np.searchsorted(np.cumsum(count[rows]), _MOST_PLACES, side="right")))]
        if not rows.size:
            return piece[:0]
        number = np.repeat(np.arange(rows.size), count[rows])
        first = np.cumsum(count[rows]) - count[rows]
        at = np.arange(number.size) - first[number] + low[rows][number]
        order = np.lexsort((self._places[at], self._owner[at]))
        owner, places, number = self._owner[at][order], self._places[at][order], number[order]
        width = int(_STRETCH * piece.size) + self._k
        best, last = _densest(owner, places, number, width, rows.size)
        part = self._parts[owner[best]]
        spare = max(0, width - int(places[last] - places[best]))
        return part[max(0, int(places[best]) - spare) : int(places[last]) + self._k + spare]


def _pieces(parts: list[np.ndarray], k: int) -> Iterator[np.ndarray]:
    """Pieces of sequences between gaps, none much longer than the others."""
    for part in parts:
        gaps = runs_of((part & BASE_MASK) == UNKNOWN)
        gaps = gaps[gaps[:, 1] - gaps[:, 0] >= _GAP_BP]
        starts, ends = np.append(0, gaps[:, 1]), np.append(gaps[:, 0], part.size)
        for start, end in zip(starts.tolist(), ends.tolist()):
            if end - start >= k:
                yield from np.array_split(part[start:end], -(-(end - start) // _PIECE_BP))


@njit(cache=True, nogil=True)
def _densest(owner, places, number, width, kinds):
    """First and last row of the window of a width, within one owner, that holds most distinct numbers."""
    counts = np.zeros(kinds, dtype=np.int64)
    best, best_first, best_last, seen, first = 0, 0, 0, 0, 0
    for last in range(places.size):
        while owner[first] != owner[last] or places[last] - places[first] > width:
            counts[number[first]] -= 1
            seen -= counts[number[first]] == 0
            first += 1
        seen += counts[number[last]] == 0
        counts[number[last]] += 1
        if seen > best:
            best, best_first, best_last = seen, first, last
    return best_first, best_last

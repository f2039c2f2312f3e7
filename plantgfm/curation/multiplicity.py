"""Which k-mers of an assembly are frequent: counted in one pass over its records, marked in a second one.

k-mers are scattered by their leading bits over partitions that fit a near cache and counted there, one table at a time
(as in KMC, Deorowicz et al. 2015, doi:10.1093/bioinformatics/btv022). An entry holds what is left of the k-mer and its
running number, 8 bytes; frequent numbers are then met again in order. Of an assembly larger than the room, one k-mer of
as many as it takes is counted, chosen by hash, and what lies between two neighbours of them that are both frequent is
marked, too: memory is bounded, and with every k-mer counted that rule adds nothing. k-mers up to 23 are told apart
exactly, longer ones by 47 bits of their hash.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Bool, UInt8, UInt64
from numba import njit

from plantgfm.sketch import BLOCK, EMPTY, kmers_at, mix64

MAX_KMERS = 1 << 26
"""Most k-mers that running numbers of 26 bits tell apart."""

_U = np.uint64
_NUMBER_BITS, _PARTITION_BITS, _KEY_BITS = 26, 9, 47
_COUNT_BITS = 16
_KEPT_BYTES = 1 << 28  # of memory that goes from one assembly to the next: making room anew costs more than counting
_spare: list[np.ndarray] = []
_STEP = 128  # bases that are passed over at once where no k-mer is frequent
_SCANTY = 255  # the highest of the counters that tell which entries need none of their own


class Multiplicity:
    """Counts the k-mers of an assembly: `add` every record, `settle`, then `mark` the same records in the same order.

    Args:
        k: length of the k-mers, odd.
        min_count: how often a frequent k-mer is seen at least, on either strand; at most 65,535.
        total_bp: bases of all records.
        max_kmers: most k-mers to hold, at 8 bytes each; at most `MAX_KMERS`.
    """

    def __init__(self, *, k: int, min_count: int, total_bp: int, max_kmers: int):
        self._k, self._min_count, self._total_bp = k, min_count, total_bp
        self.one_of = max(1, -(-total_bp // max_kmers))
        self._reset()

    def _reset(self) -> None:
        # A sampled k-mer that fills much of a genome can bring more entries than expected: half as many again fit.
        room = min(MAX_KMERS, 64 + int(1.5 * self._total_bp / self.one_of) if self.one_of > 1 else self._total_bp)
        blocks = -(-room // BLOCK) + (1 << _PARTITION_BITS)
        self._pool = _room_for(blocks * BLOCK)
        self._following = np.full(blocks, -1, dtype=np.int64)
        self._first = np.full(1 << _PARTITION_BITS, -1, dtype=np.int64)
        self._cursor = np.zeros(1 << _PARTITION_BITS, dtype=np.int64)
        self._state = np.zeros(2, dtype=np.int64)  # entries, blocks in use
        self._marks: Bool[np.ndarray, "entries"] | None = None

    def _bound(self) -> np.uint64:
        return EMPTY if self.one_of == 1 else _U((1 << 64) // self.one_of - 1)

    def add(self, codes: UInt8[np.ndarray, "P"]) -> bool:
        """Count a record; False where there is no room: call `thin`, then add every record again."""
        chains = self._pool, self._following, self._first, self._cursor, self._state
        return bool(_collect(np.ascontiguousarray(codes), self._k, self._bound(), *chains))

    def thin(self) -> None:
        """Forget everything, and count half as many k-mers from now on."""
        self.one_of *= 2
        self._reset()

    def settle(self) -> None:
        """Find the frequent k-mers among those added."""
        self._marks = np.zeros(int(self._state[0]), dtype=np.bool_)
        _count(self._pool, self._following, self._first, self._cursor, self._min_count, self._marks)
        if self._pool.nbytes <= _KEPT_BYTES:
            _spare.append(self._pool)
        self._pool, self._state = np.empty(0, dtype=np.uint64), np.zeros(2, dtype=np.int64)

    def mark(self, codes: UInt8[np.ndarray, "P"], bit: int) -> None:
        """Set a bit of every base that a frequent k-mer covers, in place; records come in the order of `add`."""
        done = _mark(codes, self._k, self._bound(), self._marks, self._state[0], np.uint8(bit))
        self._state[0] = done


def _room_for(entries: int) -> UInt64[np.ndarray, "entries"]:
    """Room for at least so many entries, from an assembly that was counted before if that had as many."""
    spare = _spare.pop() if _spare else np.empty(0, dtype=np.uint64)
    return spare if spare.size >= entries else np.empty(entries, dtype=np.uint64)


@njit(inline="always")
@no_type_check
def _key(code, k):
    """A k-mer's code in 47 bits (2k where that is less) that are spread evenly: a bijection up to k = 23."""
    if 2 * k > _KEY_BITS:
        return mix64(code) >> _U(64 - _KEY_BITS)
    folded = code ^ (code >> _U(k))
    return (folded * _U(0x9E3779B97F4A7C15)) & _U((1 << (2 * k)) - 1)


@njit(inline="always")
@no_type_check
def _lot(code):
    """What decides whether a k-mer is counted; of no k-mer 0, so that thinning ends however few there are."""
    return mix64(code ^ _U(0x9E3779B97F4A7C15))


@njit(cache=True, nogil=True)
@no_type_check
def _collect(codes, k, bound, pool, following, first, cursor, state):
    bits = min(2 * k, _KEY_BITS)
    part_shift = _U(max(0, bits - _PARTITION_BITS))
    rest = (_U(1) << part_shift) - _U(1)
    entries, blocks = state
    kmers, words = np.empty(BLOCK, dtype=np.uint64), np.empty((2, BLOCK // 32 + 1), dtype=np.uint64)
    for start in range(0, codes.size, BLOCK):
        n = min(BLOCK, codes.size - start)
        if not kmers_at(codes, start, k, True, words, kmers[:n]):
            n = _known(kmers[:n])
        if bound != EMPTY:
            n = _sample(kmers[:n], bound)
        if entries + n > MAX_KMERS:
            return False
        for i in range(n):
            key = _key(kmers[i], k)
            at = cursor[key >> part_shift]
            if at % BLOCK == 0:
                if blocks == following.size:
                    return False
                if first[key >> part_shift] < 0:
                    first[key >> part_shift] = blocks
                else:
                    following[at // BLOCK - 1] = blocks
                at = blocks * BLOCK
                blocks += 1
            pool[at] = ((key & rest) << _U(_NUMBER_BITS)) | _U(entries)
            cursor[key >> part_shift] = at + 1
            entries += 1
    state[0], state[1] = entries, blocks
    return True


@njit(inline="always")
@no_type_check
def _known(kmers):
    kept = 0
    for i in range(kmers.size):
        kmers[kept] = kmers[i]
        kept += kmers[i] != EMPTY
    return kept


@njit(inline="always")
@no_type_check
def _sample(kmers, bound):
    kept = 0
    for i in range(kmers.size):
        kmers[kept] = kmers[i]
        kept += _lot(kmers[i]) <= bound
    return kept


@njit(inline="always")
@no_type_check
def _spread(entry, bits):
    """Some bits, evenly spread, of what an entry holds of its k-mer."""
    return ((entry >> _U(_NUMBER_BITS)) * _U(0x9E3779B97F4A7C15)) >> _U(64 - bits)


@njit(cache=True, nogil=True)
@no_type_check
def _count(pool, following, first, cursor, min_count, marks):
    """Mark the numbers of frequent k-mers, one partition after another.

    Most k-mers are rare: small counters that several k-mers may share tell which ones can't be frequent, and what is
    left is counted in a table. Both stay in a near cache.
    """
    some, left = np.empty(0, dtype=np.uint8), np.empty(0, dtype=np.uint64)
    for part in range(first.size):
        size, block = 0, first[part]
        while block >= 0:
            size, block = size + BLOCK, following[block]
        bits = 6
        while 1 << bits < 8 * size:  # fewer let too many through
            bits += 1
        if some.size < 1 << bits:
            some, left = np.empty(1 << bits, dtype=np.uint8), np.empty((1 << bits) // 8, dtype=np.uint64)
        n = _often(pool, following, first[part], cursor[part], min(min_count, _SCANTY), some[: 1 << bits], bits, left)
        _count_left(left[:n], min_count, marks)


@njit(cache=True, nogil=True)
@no_type_check
def _often(pool, following, block, cursor, at_least, counters, bits, left):
    """Entries of a partition whose counters reach a number; returns how many."""
    n, top, begin = 0, np.uint8(_SCANTY), block
    counters[:] = 0
    for again in range(2):
        block = begin
        while block >= 0:
            start, end = block * BLOCK, (block + 1) * BLOCK
            if following[block] < 0:
                end = cursor
            if again:
                for entry in pool[start:end]:
                    left[n] = entry
                    n += counters[_spread(entry, bits)] >= at_least
            else:
                for entry in pool[start:end]:
                    at = _spread(entry, bits)
                    counters[at] = counters[at] + np.uint8(counters[at] != top)
            block = following[block]
    return n


@njit(cache=True, nogil=True)
@no_type_check
def _count_left(entries, min_count, marks):
    """Mark the numbers of those of some entries that are there often enough."""
    number, one, most = (_U(1) << _U(_NUMBER_BITS)) - _U(1), _U(1), (_U(1) << _U(_COUNT_BITS)) - _U(1)
    bits = 6
    while 1 << bits < 2 * entries.size:
        bits += 1
    used, last = np.zeros(1 << bits, dtype=np.uint64), _U((1 << bits) - 1)
    for again in range(2):
        for entry in entries:
            rest = (entry >> _U(_NUMBER_BITS)) + one  # an empty slot is 0
            slot = _spread(entry, bits)
            while used[slot] and used[slot] >> _U(_COUNT_BITS) != rest:
                slot = (slot + one) & last
            if again:
                if used[slot] & most >= _U(min_count):
                    marks[entry & number] = True
            elif not used[slot]:
                used[slot] = (rest << _U(_COUNT_BITS)) | one
            elif used[slot] & most < most:
                used[slot] += one


@njit(inline="always")
@no_type_check
def _any(marks):
    found = False
    for mark in marks:  # in vectors: it looks at all of them
        found |= mark
    return found


@njit(cache=True, nogil=True)
@no_type_check
def _mark(codes, k, bound, marks, number, bit):
    """Marks of one record; returns the running number after its last counted k-mer."""
    kmers, words = np.empty(BLOCK, dtype=np.uint64), np.empty((2, BLOCK // 32 + 1), dtype=np.uint64)
    covered, neighbour = 0, False  # bases before `covered` are done; the last counted k-mer of this run was frequent
    for start in range(0, codes.size, BLOCK):
        here = kmers[: min(BLOCK, codes.size - start)]
        skips = kmers_at(codes, start, k, True, words, here) and bound == EMPTY
        i = 0
        while i < here.size:
            if skips and i % _STEP == 0 and not _any(marks[number : number + min(_STEP, here.size - i)]):
                i, number, neighbour = i + _STEP, number + min(_STEP, here.size - i), False
                continue
            end = start + i + 1
            if here[i] == EMPTY:
                neighbour = False
            elif bound == EMPTY or _lot(here[i]) <= bound:
                if marks[number]:
                    for j in range(covered if neighbour else max(covered, end - k), end):
                        codes[j] |= bit
                    covered = end
                neighbour = marks[number]
                number += 1
            i += 1
    return number

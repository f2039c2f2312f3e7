"""Compiled tokenization of the other kinds: single bases, and byte-pair encoding.

Byte-pair encoding joins, again and again, the pair of neighbours whose merge was learnt first, the leftmost of equals
(Sennrich et al. 2016, arXiv:1508.07909), as the library `tokenizers` does; ids are equal to the library's. Its result
is the one way to cut a text so that no two neighbours would have been joined otherwise, which is told from the two
alone. So it is found from the left, the longest token first, by going back where a neighbour does not fit (the crate
`bpe`, https://github.com/github/rust-gems/tree/main/crates/bpe): eight times as quick as a heap of candidates.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Int32, Int64
from numba import njit

from plantgfm.tokenization.vocabulary import CLS, FIRST_BASE, PAD, UNKNOWN_BASE, Vocabulary

_EMPTY = -1
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: multiplicative hashing (Knuth, vol. 3, section 6.4)
_NOWHERE = -1


class MergeTables(NamedTuple):
    """What the kernel reads of a vocabulary of byte-pair encoding; ids rise with the rank of the merge."""

    pairs: Int64[np.ndarray, "slots"]  # open addressing: left id << 32 | right id, -1 where empty
    made: Int32[np.ndarray, "slots"]  # the id that the pair makes
    left: Int32[np.ndarray, "V"]  # what each id was made of; of a single base itself
    right: Int32[np.ndarray, "V"]
    width: Int32[np.ndarray, "V"]  # bp
    shorter: Int32[np.ndarray, "V"]  # the longest other token that an id begins with, -1 for none
    child: Int32[np.ndarray, "nodes 4"]  # prefix tree of all tokens; -1 for none
    token: Int32[np.ndarray, "nodes"]  # the id that ends at a node, -1 for none


@lru_cache(maxsize=4)
def merge_tables(vocabulary: Vocabulary) -> MergeTables:
    """The tables of a vocabulary of byte-pair encoding."""
    ids = {text: number for number, text in enumerate(vocabulary.tokens)}
    parts = np.array([(ids[left], ids[right]) for left, right in vocabulary.merges], np.int32).reshape(-1, 2)
    first = vocabulary.size - len(parts)
    left = np.arange(vocabulary.size, dtype=np.int32)
    right = left.copy()
    left[first:], right[first:] = parts.T
    bits = max(4, (4 * len(parts)).bit_length())
    pairs, made = np.full(1 << bits, _EMPTY, np.int64), np.zeros(1 << bits, np.int32)
    _insert(parts.astype(np.int64), first, pairs, made)
    child, token = _prefix_tree(vocabulary)
    shorter = np.full(vocabulary.size, _NOWHERE, np.int32)
    for number, text in enumerate(vocabulary.tokens[first:], first):
        shorter[number] = next(ids[text[:n]] for n in range(len(text) - 1, 0, -1) if text[:n] in ids)
    return MergeTables(pairs, made, left, right, vocabulary.token_bp, shorter, child, token)


def _prefix_tree(vocabulary: Vocabulary) -> tuple[Int32[np.ndarray, "nodes 4"], Int32[np.ndarray, "nodes"]]:
    children, tokens = [[_NOWHERE] * 4], [_NOWHERE]
    for number in range(FIRST_BASE, vocabulary.size):
        node = 0
        for base in vocabulary.token_bases[number, : vocabulary.token_bp[number]].tolist():
            if children[node][base] == _NOWHERE:
                children[node][base] = len(children)
                children.append([_NOWHERE] * 4)
                tokens.append(_NOWHERE)
            node = children[node][base]
        tokens[node] = number
    return np.array(children, np.int32), np.array(tokens, np.int32)


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _slot(pair, size):
    """Where a pair is sought first in a table of a power of two."""
    return np.int64((np.uint64(pair) * _SPREAD) >> np.uint64(40)) & (size - 1)


@njit(cache=True, nogil=True)
@no_type_check
def _insert(parts, first, pairs, made):
    for row in range(len(parts)):
        pair = parts[row, 0] << 32 | parts[row, 1]
        at = _slot(pair, pairs.size)
        while pairs[at] != _EMPTY:
            at = (at + 1) & (pairs.size - 1)
        pairs[at], made[at] = pair, first + row


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _joined(one, two, pairs, made):
    """The id that two ids make, a huge one where they are never joined."""
    pair = np.int64(one) << 32 | np.int64(two)
    at = _slot(pair, pairs.size)
    while pairs[at] != _EMPTY:
        if pairs[at] == pair:
            return np.int64(made[at])
        at = (at + 1) & (pairs.size - 1)
    return np.int64(1) << 40


@njit(cache=True, nogil=True)
@no_type_check
def _fits(one, two, pairs, made, left, right):
    """Whether two tokens may stand side by side: no merge across the border comes before those inside them."""
    limit = np.int64(1) << 40
    while True:
        if _joined(one, two, pairs, made) < limit:
            return False
        # Undo the merge that came last, of the right token where it is the same one: the left copy was joined first.
        if one > two:
            limit, one = np.int64(one), right[one]
            if one == limit:
                limit, two = np.int64(two) + 1, left[two]
                if two + 1 == limit:
                    return True
        else:
            limit, two = np.int64(two) + 1, left[two]
            if two + 1 == limit:
                limit, one = np.int64(one), right[one]
                if one == limit:
                    return True


@njit(cache=True, nogil=True)
@no_type_check
def _read(bases, start, stop, reverse, symbols, in_repeat):
    """The ids of single bases of a window on its strand, and whether each lies in repeats."""
    for i in range(stop - start):
        base = bases[stop - 1 - i] if reverse else bases[start + i]
        code = np.int32(base & 7)
        if code > 3:
            symbols[i] = UNKNOWN_BASE
        else:
            symbols[i] = FIRST_BASE + (3 - code if reverse else code)
        in_repeat[i] = (base >> 3) & 1


@njit(cache=True, nogil=True)
@no_type_check
def single_bases(bases, starts, reverse, width_bp, ids, repeat):
    """Windows as single bases; the arguments and what is returned are those of `kernels.tokenize_windows`."""
    kept = min(width_bp, ids.shape[1] - 1)
    symbols, in_repeat = np.empty(width_bp, np.int32), np.empty(width_bp, np.uint8)
    for row in range(starts.size):
        _read(bases, starts[row], starts[row] + width_bp, reverse[row], symbols, in_repeat)
        ids[row, 0], repeat[row, 0] = CLS, 0
        ids[row, 1 : kept + 1], repeat[row, 1 : kept + 1] = symbols[:kept], in_repeat[:kept]
        ids[row, kept + 1 :], repeat[row, kept + 1 :] = PAD, 0
    return starts.size * (width_bp - kept)


@njit(cache=True, nogil=True)
@no_type_check
def _longest(symbols, start, stop, child, token):
    """The longest token that stands at a place."""
    node, found = 0, -1
    for i in range(start, stop):
        node = child[node, symbols[i] - FIRST_BASE]
        if node < 0:
            break
        if token[node] >= 0:
            found = token[node]
    return found


@njit(cache=True, nogil=True)
@no_type_check
def _merge_run(symbols, start, stop, tables, dead, out, first):
    """Tokens of a run of known bases into `out` from `first` on; the number of all tokens. `dead` is scratch."""
    pairs, made, left, right, width, shorter, child, token = tables
    dead[start : stop + 1] = False
    n, at = first, start
    candidate = _longest(symbols, at, stop, child, token)
    while at < stop:
        end = at + width[candidate]
        if not dead[end] and (n == first or _fits(out[n - 1], candidate, pairs, made, left, right)):
            out[n] = candidate
            n += 1
            at = end
            if at < stop:
                candidate = _longest(symbols, at, stop, child, token)
        elif shorter[candidate] >= 0:
            candidate = shorter[candidate]
        else:
            # Nothing fits behind the last token, so that no cut of the text has a border here.
            dead[at] = True
            n -= 1
            candidate = out[n]
            at -= width[candidate]
    return n


@njit(cache=True, nogil=True)
@no_type_check
def merged(bases, tables, starts, reverse, width_bp, ids, repeat):
    """Windows in byte-pair encoding; the arguments are those of `kernels.tokenize_windows`, with `MergeTables`."""
    symbols, in_repeat = np.empty(width_bp, np.int32), np.empty(width_bp, np.uint8)
    tokens, dead = np.empty(width_bp, np.int32), np.empty(width_bp + 1, np.bool_)
    width, cut = tables[4], 0
    for row in range(starts.size):
        _read(bases, starts[row], starts[row] + width_bp, reverse[row], symbols, in_repeat)
        n, at = 0, 0
        while at < width_bp:
            stop = at
            while stop < width_bp and symbols[stop] != UNKNOWN_BASE:
                stop += 1
            n = _merge_run(symbols, at, stop, tables, dead, tokens, n)
            if stop < width_bp:
                tokens[n] = UNKNOWN_BASE
                n += 1
            at = stop + 1
        kept, read = min(n, ids.shape[1] - 1), 0
        ids[row, 0], repeat[row, 0] = CLS, 0
        for i in range(kept):
            inside, bp = 0, width[tokens[i]]
            for j in range(read, read + bp):
                inside += in_repeat[j]
            ids[row, i + 1], repeat[row, i + 1] = tokens[i], inside / bp
            read += bp
        ids[row, kept + 1 :], repeat[row, kept + 1 :] = PAD, 0
        cut += width_bp - read
    return cut

"""Compiled kernels of the Markov baselines: counting, back-off, and token probabilities induced by the tokenizer.

A context is an integer of two-bit digits whose lowest two bits are the nearest base; the tables of all orders lie one
behind the other in one float32 array, order k from (4^(k+1) - 4) / 3 on, four probabilities a context. Where fewer
bases are visible than the order asks for, the order falls to what is visible.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from plantgfm.sequence import BASE_MASK

N_SIX = 4**6


@njit(cache=True, nogil=True)
@no_type_check
def count_kmers(bases, k, counts):
    """Add every k-mer of known bases, uint8 [P], to `counts`, int32 [4^k]."""
    mask = (np.int64(1) << 2 * k) - 1
    code, known = np.int64(0), 0
    for base in bases:
        base &= BASE_MASK
        if base > 3:
            known = 0
            continue
        code = ((code << 2) | base) & mask
        known += 1
        if known >= k:
            counts[code] += 1


@njit(cache=True, nogil=True)
@no_type_check
def kmers_of(bases, k, out):
    """Write the code of every k-mer of known bases to `out`, int64 [P]; returns how many."""
    mask = (np.int64(1) << 2 * k) - 1
    code, known, n = np.int64(0), 0, 0
    for base in bases:
        base &= BASE_MASK
        if base > 3:
            known = 0
            continue
        code = ((code << 2) | base) & mask
        known += 1
        if known >= k:
            out[n] = code
            n += 1
    return n


@njit(cache=True, nogil=True)
@no_type_check
def add_other_strand(counts, k):
    """Add to each k-mer's count, int32 [4^k], in place, that of its reverse complement."""
    for code in range(counts.size):
        other, rest = np.int64(0), np.int64(code)
        for _ in range(k):
            other = (other << 2) | (3 - (rest & 3))
            rest >>= 2
        if code <= other:
            total = counts[code] + counts[other]
            counts[code] = total
            counts[other] = total


@njit(cache=True, nogil=True)
@no_type_check
def smooth(counts, lower, strength, out):
    """Probabilities of one order, float32 [4^(k+1)], from its counts and the next lower order's [4^k]."""
    lower_mask = lower.size - 1
    for context in range(counts.size // 4):
        row = 4 * context
        total = strength + counts[row] + counts[row + 1] + counts[row + 2] + counts[row + 3]
        for base in range(4):
            backed = lower[(row + base) & lower_mask]
            out[row + base] = (counts[row + base] + strength * backed) / total


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _first(order):
    """Where the table of an order starts."""
    return ((np.int64(4) << 2 * order) - 4) // 3


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _next(tables, order, visible, context, base):
    """Probability of a base after a context of so many visible bases."""
    used = min(order, visible)
    return np.float64(tables[_first(used) + ((context & ((np.int64(1) << 2 * used) - 1)) << 2) + base])


@njit(cache=True, nogil=True)
@no_type_check
def _run(tables, order, visible, context, code, width):
    """Probability of `width` bases (two-bit digits, the first most significant) after a context."""
    probability = 1.0
    for i in range(width):
        base = (code >> 2 * (width - 1 - i)) & 3
        probability *= _next(tables, order, visible + i, context, base)
        context = ((context << 2) | base) & 0xFFFFFFFF
    return probability


@njit(cache=True, nogil=True)
@no_type_check
def _stays_six(tables, order, visible, context, six, chosen):
    """Probability that the two bases after a 6-mer make no chosen 8-mer of it; the context is before the 6-mer."""
    total = 0.0
    after = ((context << 12) | six) & 0xFFFFFFFF
    for pair in range(16):
        if not chosen[(six << 4) | pair]:
            total += _run(tables, order, visible + 6, after, pair, 2)
    return total


@njit(cache=True, nogil=True)
@no_type_check
def _starts(left_six, chosen, allowed):
    """Which first two bases the token before allows: a visible 6-mer was not read as a chosen 8-mer."""
    for pair in range(16):
        allowed[pair] = left_six < 0 or not chosen[(left_six << 4) | pair]


@njit(cache=True, nogil=True)
@no_type_check
def forward_nats(tables, order, chosen, code, bp, left, left_bp, left_six, out):
    """-ln q(token | bases and token before), to float64 [N].

    q(8-mer) = P(8-mer), q(6-mer) = P(6-mer) - sum of P(chosen 8-mers that extend it), over the first bases that the
    token before allows.
    """
    allowed = np.zeros(16, dtype=np.bool_)
    for i in range(code.size):
        _starts(left_six[i], chosen, allowed)
        total = 1.0
        if left_six[i] >= 0:
            total = 0.0
            for pair in range(16):
                if allowed[pair]:
                    total += _run(tables, order, left_bp[i], left[i], pair, 2)
        probability = 0.0
        if allowed[code[i] >> 2 * (bp[i] - 2)]:
            probability = _run(tables, order, left_bp[i], left[i], code[i], bp[i])
            if bp[i] == 6:
                probability *= _stays_six(tables, order, left_bp[i], left[i], code[i], chosen)
        out[i] = -np.log(probability / total)


@njit(cache=True, nogil=True)
@no_type_check
def _all_sixes(tables, order, visible, context, buffer, out):
    """Probabilities of all 6-mers after a context, to float64 [4096]; `buffer` is as large."""
    out[0] = 1.0
    for depth in range(6):
        buffer[: 1 << 2 * depth] = out[: 1 << 2 * depth]
        used = min(order, visible + depth)
        mask = (np.int64(1) << 2 * used) - 1
        before, first = (context << 2 * depth) & mask, _first(used)
        for code in range(1 << 2 * depth):
            row = first + ((before | (code & mask)) << 2)
            for base in range(4):
                out[4 * code + base] = buffer[code] * tables[row + base]


@njit(cache=True, nogil=True)
@no_type_check
def _flip(code, width):
    """Reverse complement of a k-mer code."""
    other = np.int64(0)
    for _ in range(width):
        other = (other << 2) | (3 - (code & 3))
        code >>= 2
    return other


@njit(cache=True, nogil=True)
@no_type_check
def open_sixes(tables, order, chosen, out):
    """For every 6-mer, float64 [4096]: the probability that what follows makes no chosen 8-mer of it."""
    for six in range(N_SIX):
        out[six] = _stays_six(tables, order, 0, np.int64(0), six, chosen)


@njit(cache=True, nogil=True)
@no_type_check
def _fits_right(six, right, right_bp, chosen):
    """Whether a 6-mer can stand before visible bases: with the next two it must be no chosen 8-mer."""
    pair = ((3 - (right & 3)) << 2) | (3 - ((right >> 2) & 3))
    return right_bp < 2 or not chosen[(six << 4) | pair]


@njit(cache=True, nogil=True)
@no_type_check
def _other_strand(codes, width):
    """Reverse complements of k-mer codes, ascending, and the code that each is the reverse complement of."""
    flipped = np.empty(codes.size, dtype=np.int64)
    for i in range(codes.size):
        flipped[i] = _flip(np.int64(codes[i]), width)
    flipped.sort()
    back = np.empty_like(flipped)
    for i in range(codes.size):
        back[i] = _flip(flipped[i], width)
    return flipped, back


@njit(cache=True, nogil=True)
@no_type_check
def _all_eights(tables, order, visible, context, eights, sixes, out):
    """Probabilities of some 8-mers, ascending codes, after a context, given those of all 6-mers."""
    seventh, eighth = min(order, visible + 6), min(order, visible + 7)
    mask7, mask8 = (np.int64(1) << 2 * seventh) - 1, (np.int64(1) << 2 * eighth) - 1
    first7, first8 = _first(seventh), _first(eighth)
    far7, far8 = (context << 12) & mask7, (context << 14) & mask8
    for j in range(eights.size):
        code = eights[j]
        probability = tables[first7 + ((far7 | ((code >> 4) & mask7)) << 2) + ((code >> 2) & 3)]
        out[j] = sixes[code >> 4] * probability * tables[first8 + ((far8 | ((code >> 2) & mask8)) << 2) + (code & 3)]


@njit(cache=True, nogil=True)
@no_type_check
def backward_nats(tables, order, chosen, eights, still_six, code, bp, right, right_bp, left_six, out):
    """-ln q(token | bases after it, token before), to float64 [N].

    The chain runs on the other strand. The token ends where the visible bases begin; a token is as likely to start at
    any base, so 6-mers and chosen 8-mers are weighed by their probability, and q is their share of the whole.

    Args:
        tables: of all orders.
        order: of the chain.
        chosen: bool [65536].
        eights: int64 [N], codes of the chosen 8-mers.
        still_six: float64 [4096] of `open_sixes`, for targets with no visible base after them.
        code: of the target; likewise `bp`, `right`, `right_bp`, `left_six` as in `Positions`.
        bp: width of the target.
        right: visible bases after it.
        right_bp: how many.
        left_six: the visible 6-mer before it, or -1.
        out: filled.
    """
    sixes, buffer, longer = np.empty(N_SIX), np.empty(N_SIX), np.empty(eights.size)
    _, six_of = _other_strand(np.arange(N_SIX), 6)
    flipped, eight_of = _other_strand(eights, 8)
    allowed = np.zeros(16, dtype=np.bool_)
    for i in range(code.size):
        _starts(left_six[i], chosen, allowed)
        _all_sixes(tables, order, right_bp[i], right[i], buffer, sixes)
        _all_eights(tables, order, right_bp[i], right[i], flipped, sixes, longer)
        total, target = 0.0, 0.0
        for j in range(N_SIX):
            six = six_of[j]
            if not allowed[six >> 8] or not _fits_right(six, right[i], right_bp[i], chosen):
                continue
            weight = sixes[j] if right_bp[i] >= 2 else sixes[j] * still_six[six]
            total += weight
            if bp[i] == 6 and six == code[i]:
                target = weight
        for j in range(eights.size):
            if allowed[eight_of[j] >> 12]:
                total += longer[j]
                if bp[i] == 8 and eight_of[j] == code[i]:
                    target = longer[j]
        out[i] = -np.log(target / total)


@njit(cache=True, nogil=True)
@no_type_check
def _weigh_by_right(tables, order, visible, left, codes, width, right, right_bp, weights):
    """Multiply each token's weight by the probability of the visible bases after it, as far as the chain sees it.

    One base after the other, all tokens in the inner loop: the reads of one pass do not wait for each other.
    """
    shown = np.int64(0)
    for j in range(min(order, right_bp)):
        base = 3 - ((right >> 2 * j) & 3)
        used = min(order, visible + width + j)
        mask, first = (np.int64(1) << 2 * used) - 1, _first(used) + base
        before = (left << 2 * width) & mask
        for i in range(codes.size):
            weights[i] *= tables[first + (((((before | codes[i]) << 2 * j) | shown) & mask) << 2)]
        shown = (shown << 2) | base


@njit(cache=True, nogil=True)
@no_type_check
def two_sided_nats(tables, order, chosen, eights, code, bp, left, left_bp, left_six, right, right_bp, out):
    """-ln q(token | bases and token before, bases after), to float64 [N].

    Bayes over all tokens: the chain runs through the token and on through the visible bases after it. With at least
    `order` bases visible on both sides, no predictor can do better on a sequence that this chain drew.
    """
    sixes, buffer, longer = np.empty(N_SIX), np.empty(N_SIX), np.empty(eights.size)
    all_six = np.arange(N_SIX)
    allowed = np.zeros(16, dtype=np.bool_)
    for i in range(code.size):
        _starts(left_six[i], chosen, allowed)
        _all_sixes(tables, order, left_bp[i], left[i], buffer, sixes)
        _all_eights(tables, order, left_bp[i], left[i], eights, sixes, longer)
        _weigh_by_right(tables, order, left_bp[i], left[i], all_six, 6, right[i], right_bp[i], sixes)
        _weigh_by_right(tables, order, left_bp[i], left[i], eights, 8, right[i], right_bp[i], longer)
        total, target = 0.0, 0.0
        for six in range(N_SIX):
            if not allowed[six >> 8] or not _fits_right(six, right[i], right_bp[i], chosen):
                continue
            weight = sixes[six]
            if right_bp[i] < 2:
                weight *= _stays_six(tables, order, left_bp[i], left[i], six, chosen)
            total += weight
            if bp[i] == 6 and six == code[i]:
                target = weight
        for j in range(eights.size):
            if allowed[eights[j] >> 12]:
                total += longer[j]
                if bp[i] == 8 and eights[j] == code[i]:
                    target = longer[j]
        out[i] = -np.log(target / total)

"""Stretches of a record that lie densely in other sequence, and what lies beside them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, UInt8, UInt64

from plantgfm.sketch import distinct, fraction

MIN_MARKS = 50
"""Shared hashes that make a stretch of another's sequence."""

_DENSE = 0.4  # share of hashes from which a stretch grows


def lie_in(hashes: UInt64[np.ndarray, "n"], known: UInt64[np.ndarray, "m"]) -> Bool[np.ndarray, "n"]:
    """Which of some hashes are among sorted ones."""
    if not known.size:
        return np.zeros(hashes.size, dtype=bool)
    return known[np.minimum(np.searchsorted(known, hashes), known.size - 1)] == hashes


def dense_runs(marks: Bool[np.ndarray, "n"]) -> list[tuple[int, int]]:
    """Disjoint stretches [first, end) in order, each the one in which marks outweigh what lies between them most.

    A mark counts 1 - `_DENSE`, any other place -`_DENSE`; the stretch of the highest sum is taken out (Kadane), then
    what lies before and behind it is searched, as long as a sum speaks of half of `MIN_MARKS` marks alone.
    """
    steps, found, waiting = np.where(marks, 1.0 - _DENSE, -_DENSE), [], [(0, marks.size)]
    while waiting:
        first, end = waiting.pop()
        total = np.concatenate(([0.0], np.cumsum(steps[first:end])))
        gain = total - np.minimum.accumulate(total)
        last = int(gain.argmax())
        if gain[last] >= MIN_MARKS / 2 * (1.0 - _DENSE):
            begin = int(total[: last + 1].argmin())
            found.append((first + begin, first + last))
            waiting += [(first, first + begin), (first + last, end)]
    return sorted(found)


def scattered(hashes: UInt64[np.ndarray, "n"], runs: list[tuple[int, int]]) -> UInt64[np.ndarray, "m"]:
    """Sorted distinct hashes, given in order of place, that lie beside runs [first, end) of them, or in several."""
    inside = np.zeros(hashes.size, dtype=bool)
    for first, end in runs:
        inside[first:end] = True
    each = [distinct([hashes[first:end]]) for first, end in runs]
    values, count = np.unique(np.concatenate([hashes[:0], *each]), return_counts=True)
    return distinct([hashes[~inside], values[count > 1]])


def beside(
    codes: UInt8[np.ndarray, "P"], inside: UInt64[np.ndarray, "m"], *, k: int, scaled: int
) -> UInt64[np.ndarray, "n"]:
    """Hashes of a record that holds a part, but for the place where it holds it; a small one lies there as a whole."""
    hashes, _ = fraction(codes, k=k, scaled=scaled)
    marks = lie_in(hashes, inside)
    if hashes.size < 2 * MIN_MARKS and 2 * marks.sum() >= hashes.size:
        return hashes[:0]
    return scattered(hashes, dense_runs(marks))

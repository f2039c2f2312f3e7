"""Where in a window tandem repeats and other repeats lie, when nobody says.

A tandem array agrees with itself at the distance of one unit. For every distance up to a third of the window the kernel
looks for stretches where base i equals base i + d (a match counts 1, a mismatch -3), that score at least 20 and are at
least one unit long, so at least two copies stand side by side. Repeats that are not in tandem are those that carry the
repeat bit: transposable elements mostly. Arrays whose unit is longer than a third of a window count as interspersed.
"""

from __future__ import annotations

from enum import IntEnum
from typing import no_type_check

import numpy as np
from jaxtyping import Int64, UInt8
from numba import njit

from plantgfm.sequence import REPEAT_BIT

_MISMATCH = 3
_MIN_SCORE = 20


class Compartment(IntEnum):
    """What a base belongs to."""

    UNIQUE = 0
    INTERSPERSED = 1
    TANDEM = 2


@njit(cache=True, nogil=True)
@no_type_check
def _tandem(windows, max_unit, labels, arrays):
    """Mark tandem bases in `labels` and write each window's best array (start, end, unit) into `arrays`."""
    width = windows.shape[1]
    for row in range(windows.shape[0]):
        best_of_row = 0
        for unit in range(1, max_unit + 1):
            score, top, start, end = 0, 0, 0, 0
            for i in range(width - unit + 1):
                matches = False
                if i < width - unit:
                    base = windows[row, i] & 7
                    matches = base < 4 and base == windows[row, i + unit] & 7
                if score == 0:
                    start, top, end = i, 0, i
                score = score + 1 if matches else score - _MISMATCH
                if score > top:
                    top, end = score, i + 1
                # A stretch ends where it has lost what makes a stretch, or with the window.
                if score <= 0 or top - score > _MIN_SCORE or i == width - unit:
                    if top >= _MIN_SCORE and end - start >= unit:
                        labels[row, start : end + unit] = 2
                        if top > best_of_row:
                            best_of_row = top
                            arrays[row, 0], arrays[row, 1], arrays[row, 2] = start, end + unit, unit
                    score = 0


def compartments(
    windows: UInt8[np.ndarray, "N P"],
) -> tuple[UInt8[np.ndarray, "N P"], Int64[np.ndarray, "N 3"]]:
    """The `Compartment` of every base, and each window's best tandem array as (start, end, unit), zeros for none."""
    labels = np.zeros(windows.shape, dtype=np.uint8)
    arrays = np.zeros((windows.shape[0], 3), dtype=np.int64)
    _tandem(np.ascontiguousarray(windows), windows.shape[1] // 3, labels, arrays)
    interspersed = ((windows & REPEAT_BIT) != 0) & (labels == Compartment.UNIQUE)
    labels[interspersed] = Compartment.INTERSPERSED
    return labels, arrays

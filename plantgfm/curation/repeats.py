"""The repeat mask of an assembly: its own soft mask, else low complexity joined with k-mer multiplicity."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import no_type_check

import numpy as np
from jaxtyping import Int64, UInt8
from numba import njit

from plantgfm.curation.config import RepeatConfig
from plantgfm.curation.multiplicity import Multiplicity
from plantgfm.sequence import BASE_MASK, REPEAT_BIT

SOFT_MASK = "soft-mask"
COMPUTED = "low-complexity+multiplicity"


def source_of_mask(soft_bp: int, total_bp: int, config: RepeatConfig) -> str:
    """`SOFT_MASK` where an assembly's soft mask says something, neither nothing nor everything; else `COMPUTED`."""
    says = soft_bp and config.min_soft_mask_fraction * total_bp <= soft_bp < total_bp
    return SOFT_MASK if says else COMPUTED


def mark_runs(bases: UInt8[np.ndarray, "P"], runs: Int64[np.ndarray, "runs 2"], bit: int) -> None:
    """Set a bit of the bases inside the runs, in place."""
    _set(bases, np.ascontiguousarray(runs, dtype=np.int64), np.uint8(bit))


@njit(cache=True, nogil=True)
@no_type_check
def _set(bases, runs, bit):
    for run in runs:
        for i in range(run[0], run[1]):
            bases[i] |= bit


def settle_mask(bases: UInt8[np.ndarray, "P"], bit: int) -> None:
    """Make one bit of marked bases their repeat bit and drop every other mark, in place."""
    _settle(bases, np.uint8(bit))


@njit(cache=True, nogil=True)
@no_type_check
def _settle(bases, bit):
    for i in range(bases.size):
        repeat = np.uint8(REPEAT_BIT) if bases[i] & bit else np.uint8(0)
        bases[i] = np.uint8(bases[i] & np.uint8(BASE_MASK)) | repeat


def mark_frequent(
    records: Callable[[], Iterable[UInt8[np.ndarray, "P"]]], total_bp: int, config: RepeatConfig
) -> Iterable[UInt8[np.ndarray, "P"]]:
    """The records of an assembly once more, each with the repeat bit where its k-mers are frequent in the assembly.

    Args:
        records: reads them from the first to the last whenever it is called; they are changed in place.
        total_bp: bases of all of them.
        config: settings.
    """
    counter = Multiplicity(k=config.k, min_count=config.min_count, total_bp=total_bp, max_kmers=config.max_kmers)
    while not all(counter.add(codes) for codes in records()):
        counter.thin()
    counter.settle()
    for codes in records():
        counter.mark(codes, REPEAT_BIT)
        yield codes

"""The repeat mask of an assembly: its own soft mask, else low complexity joined with k-mer multiplicity."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import no_type_check

import numpy as np
import pydustmasker
from jaxtyping import Int64, UInt8
from numba import njit

from plantgfm.curation.config import RepeatConfig
from plantgfm.curation.multiplicity import Multiplicity
from plantgfm.sequence import BASE_MASK, REPEAT_BIT, decode

SOFT_MASK = "soft-mask"
COMPUTED = "low-complexity+multiplicity"

_CHUNK_BP = 1 << 22


def source_of_mask(soft_bp: int, total_bp: int, config: RepeatConfig) -> str:
    """`SOFT_MASK` where an assembly's soft mask says something, neither nothing nor everything; else `COMPUTED`."""
    says = soft_bp and config.min_soft_mask_fraction * total_bp <= soft_bp < total_bp
    return SOFT_MASK if says else COMPUTED


def low_complexity(codes: UInt8[np.ndarray, "P"], config: RepeatConfig) -> Int64[np.ndarray, "runs 2"]:
    """Low-complexity runs by symmetric DUST (Morgulis et al. 2006, doi:10.1089/cmb.2006.13.1028)."""
    if codes.size < 4:
        return np.empty((0, 2), dtype=np.int64)
    found, margin = [], 4 * config.dust_window  # what lies further off says nothing of a base
    for start in range(0, codes.size, _CHUNK_BP):
        first, end = max(0, start - margin), min(codes.size, start + _CHUNK_BP)
        text = decode(codes[first : end + margin])
        masker = pydustmasker.DustMasker(text, config.dust_window, config.dust_threshold)
        runs = np.array(masker.intervals, dtype=np.int64).reshape(-1, 2) + first
        runs = runs[(runs[:, 1] > start) & (runs[:, 0] < end)]
        found.append(np.stack([np.maximum(runs[:, 0], start), np.minimum(runs[:, 1], end)], axis=1))
    return np.concatenate(found)


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

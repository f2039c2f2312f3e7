"""The repeat mask of an assembly: its own soft mask, else low complexity joined with k-mer multiplicity."""

from __future__ import annotations

import numpy as np
import pydustmasker
from jaxtyping import Bool, Int64, UInt8, UInt64
from numba import njit

from plantgfm.curation.config import RepeatConfig
from plantgfm.schema import Record
from plantgfm.sequence import decode, mask_of
from plantgfm.sketch import EMPTY, canonical_kmers, distinct, mix64

SOFT_MASK = "soft-mask"
COMPUTED = "low-complexity+multiplicity"

_U = np.uint64


def repeat_masks(
    records: list[Record], config: RepeatConfig, runs: list[Int64[np.ndarray, "runs 2"]] | None = None
) -> tuple[str, list[Bool[np.ndarray, "P"]]]:
    """Where the mask comes from (`SOFT_MASK` or `COMPUTED`), and the mask of each record.

    Args:
        records: of one assembly.
        config: settings.
        runs: what `low_complexity` found in each record, where that is known already.
    """
    if not records:
        return COMPUTED, []
    total = sum(record.length_bp for record in records)
    soft = sum(int((record.soft_mask[:, 1] - record.soft_mask[:, 0]).sum()) for record in records)
    if soft and config.min_soft_mask_fraction * total <= soft < total:
        return SOFT_MASK, [mask_of(record.soft_mask, record.length_bp) for record in records]
    masks = [np.zeros(record.length_bp, dtype=bool) for record in records]
    _mask_frequent([record.codes for record in records], masks, config)
    for low, mask in zip(runs or [low_complexity(record.codes, config) for record in records], masks):
        for start, end in low:
            mask[start:end] = True
    return COMPUTED, masks


def low_complexity(codes: UInt8[np.ndarray, "P"], config: RepeatConfig) -> Int64[np.ndarray, "runs 2"]:
    """Low-complexity runs by symmetric DUST (Morgulis et al. 2006, doi:10.1089/cmb.2006.13.1028)."""
    if codes.size < 4:
        return np.empty((0, 2), dtype=np.int64)
    masker = pydustmasker.DustMasker(decode(codes), config.dust_window, config.dust_threshold)
    return np.array(masker.intervals, dtype=np.int64).reshape(-1, 2)


def frequent_kmers(sequences: list[UInt8[np.ndarray, "P"]], config: RepeatConfig) -> UInt64[np.ndarray, "kmers"]:
    """Canonical k-mers seen at least `min_count` times over all sequences, sorted; memory is bounded by batches."""
    total = sum(sequence.size for sequence in sequences)
    batches = max(1, -(-total // config.batch_kmers))
    found = []
    for batch in range(batches):
        kmers = np.concatenate([_batch_of(sequence, config.k, batch, batches) for sequence in sequences])
        kmers.sort()
        last = kmers.size - config.min_count + 1
        repeated = kmers[: max(0, last)][kmers[: max(0, last)] == kmers[config.min_count - 1 :][: max(0, last)]]
        found.append(distinct([repeated]))
    return distinct(found)


def _batch_of(sequence: np.ndarray, k: int, batch: int, batches: int) -> np.ndarray:
    kmers = canonical_kmers(sequence, k)
    return kmers[(kmers != EMPTY) & ((batches == 1) | (kmers % _U(batches) == _U(batch)))]


def _mask_frequent(sequences: list[np.ndarray], masks: list[np.ndarray], config: RepeatConfig) -> None:
    frequent = frequent_kmers(sequences, config)
    if not frequent.size:
        return
    table = np.full(1 << int(np.ceil(np.log2(2 * frequent.size + 2))), EMPTY)
    _fill(table, frequent)
    for sequence, mask in zip(sequences, masks):
        _mark(table, canonical_kmers(sequence, config.k), config.k, mask)


@njit(cache=True, nogil=True)
def _fill(table, kmers):
    last = _U(table.size - 1)
    for kmer in kmers:
        slot = mix64(kmer) & last
        while table[slot] != EMPTY:
            slot = (slot + _U(1)) & last
        table[slot] = kmer


@njit(cache=True, nogil=True)
def _mark(table, kmers, k, mask):
    last, covered = _U(table.size - 1), 0
    for i in range(kmers.size):
        if kmers[i] == EMPTY:
            continue
        slot = mix64(kmers[i]) & last
        while table[slot] != EMPTY and table[slot] != kmers[i]:
            slot = (slot + _U(1)) & last
        if table[slot] == kmers[i]:
            mask[max(i, covered) : i + k] = True
            covered = i + k

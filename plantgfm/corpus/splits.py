"""Regions of records, and the split that each belongs to."""

from __future__ import annotations

import hashlib

import numpy as np
from jaxtyping import Bool, Int8, Int32, Int64

from plantgfm.corpus.config import CorpusConfig
from plantgfm.schema import Split

MIN_REGIONS = 3


def tile_record(length_bp: int, region_bp: int) -> Int64[np.ndarray, "R"]:
    """Lengths of the regions that tile a record from its first base.

    What remains behind the last full region stands alone when it is at least half a region long, and joins the region
    before it otherwise; a record shorter than one region is one region. So a region has at most 1.5 x region_bp.
    """
    full, rest = divmod(length_bp, region_bp)
    lengths = [region_bp] * full
    if rest and (not lengths or 2 * rest >= region_bp):
        lengths.append(rest)
    elif rest:
        lengths[-1] += rest
    return np.array(lengths, dtype=np.int64)


def region_hash(seed: int, *key: str | int) -> int:
    """A 64-bit hash of a region's identity: seeded, equal on every machine and in every order of input."""
    text = "\x1f".join(map(str, (seed, *key)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def split_regions(
    species: Int32[np.ndarray, "R"], hashes: list[int], eligible: Bool[np.ndarray, "R"], config: CorpusConfig
) -> Int8[np.ndarray, "R"]:
    """Draw the split of each region, per species, by the order of its hash.

    Of n eligible regions of a species the first `max(1, round(test_fraction * n))` by hash are test, the next
    `max(1, round(validation_fraction * n))` validation (none where the fraction is 0), the rest train. A species with
    fewer than 3 eligible regions is train only: it can be learnt from, not be scored. Regions that are not eligible
    (too short, or mostly unknown) are train.
    """
    split = np.full(species.size, int(Split.TRAIN), dtype=np.int8)
    for index in range(int(species.max()) + 1 if species.size else 0):
        mine = sorted(np.flatnonzero((species == index) & eligible), key=lambda row: (hashes[row], row))
        if len(mine) < MIN_REGIONS:
            continue
        test, validation = (
            max(1, round(fraction * len(mine))) if fraction else 0
            for fraction in (config.test_fraction, config.validation_fraction)
        )
        split[mine[:test]] = int(Split.TEST)
        split[mine[test : test + validation]] = int(Split.VALIDATION)
    return split

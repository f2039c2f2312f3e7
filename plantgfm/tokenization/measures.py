"""What a tokenizer does to a text, as numbers: length, variety, locality of change, stability of phase."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from plantgfm.sequence import BASE_MASK
from plantgfm.tokenization.segmenters import Segmentation, Segmenter

_TILED_COPIES = 14


def tokens_and_bases(
    segmentation: Segmentation, inside: Bool[np.ndarray, "N P"]
) -> tuple[Float64[np.ndarray, "N"], Float64[np.ndarray, "N"]]:
    """Tokens and bases of each window that lie in a compartment; a token across its edge counts by its share."""
    n, width_bp = inside.shape
    cumulative = np.concatenate(([0], np.cumsum(inside.reshape(-1), dtype=np.int64)))
    overlap = cumulative[segmentation.start + segmentation.width] - cumulative[segmentation.start]
    tokens = np.bincount(
        segmentation.start // width_bp, weights=overlap / np.maximum(segmentation.width, 1), minlength=n
    )
    return tokens, inside.sum(axis=1).astype(np.float64)


def middles_inside(segmentation: Segmentation, inside: Bool[np.ndarray, "N P"]) -> Bool[np.ndarray, "T"]:
    """Which tokens have their middle base in a compartment."""
    return inside.reshape(-1)[segmentation.start + segmentation.width // 2]


def type_entropy_bits(ids: Int64[np.ndarray, "T"]) -> float:
    """Entropy of the token types, bits per token; 0 for no token."""
    counts = np.unique(ids, return_counts=True)[1]
    shares = counts / max(1, counts.sum())
    return float(-(shares * np.log2(shares)).sum())


def substitute(
    windows: UInt8[np.ndarray, "N P"], substitutions: int, rng: np.random.Generator
) -> UInt8[np.ndarray, "N P"]:
    """Copies of windows of known bases with exactly so many substitutions each, at random places."""
    copies = (windows & BASE_MASK).copy()
    n, width_bp = copies.shape
    at = np.argsort(rng.random((n, width_bp)), axis=1)[:, :substitutions]
    rows = np.arange(n)[:, None]
    copies[rows, at] = (copies[rows, at] + rng.integers(1, 4, at.shape)) % 4
    return copies


def changed_bp(
    segment: Segmenter, originals: UInt8[np.ndarray, "N P"], copies: UInt8[np.ndarray, "N P"]
) -> Int64[np.ndarray, "N"]:
    """Bases of each original whose token (same place, same id) its copy does not have."""
    n, width_bp = originals.shape
    one, other = segment(originals), segment(copies)
    scale = int(max(one.ids.max(initial=0), other.ids.max(initial=0))) + 1
    kept = np.isin(one.start * scale + one.ids, other.start * scale + other.ids)
    covered = np.bincount(one.start[kept] // width_bp, weights=one.width[kept], minlength=n)
    return width_bp - covered.astype(np.int64)


def tiled_arrays(
    windows: UInt8[np.ndarray, "N P"], arrays: Int64[np.ndarray, "A 3"], *, units: tuple[int, int]
) -> Iterator[UInt8[np.ndarray, "copies unit"]]:
    """The first unit of each tandem array repeated exactly; arrays whose unit is outside `units` are passed over."""
    for row, (start, _, unit) in enumerate(arrays):
        if units[0] <= unit <= units[1]:
            yield np.tile(windows[row, start : start + unit] & BASE_MASK, (_TILED_COPIES, 1))


def distinct_spellings(segment: Segmenter, copies: UInt8[np.ndarray, "copies unit"]) -> float:
    """Share of identical copies in a row that are spelled in a way of their own; the outer two are left out.

    1 / copies is one spelling for all; 1 is that no two identical copies get the same tokens at the same offsets.
    """
    n, unit = copies.shape
    segmentation = segment(copies.reshape(1, -1))
    spellings: list[list[tuple[int, int]]] = [[] for _ in range(n)]
    for index, start in zip(segmentation.ids.tolist(), segmentation.start.tolist()):
        spellings[start // unit].append((start % unit, index))
    inner = [tuple(spelling) for spelling in spellings[1:-1]]
    return len(set(inner)) / len(inner)

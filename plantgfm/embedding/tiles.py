"""Windows over records: where they lie, which hold too many unknown bases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from plantgfm.schema import Record
from plantgfm.sequence import REPEAT_BIT, UNKNOWN, Interval, mask_of


@dataclass(frozen=True)
class Tile:
    """One window of a record."""

    interval: Interval  # 0-based, half-open
    bases: UInt8[np.ndarray, "P"]  # code | repeat bit
    partial: bool  # shorter than the window: the end of a record or region
    name: str = ""  # of the region that it belongs to

    @property
    def unknown_fraction(self) -> float:
        """Share of unknown bases."""
        return float(np.mean((self.bases & 7) == UNKNOWN)) if self.bases.size else 1.0

    @property
    def repeat_fraction(self) -> float:
        """Share of bases that the file soft-masks."""
        return float(np.mean((self.bases & REPEAT_BIT) > 0)) if self.bases.size else 0.0


def marked_bases(record: Record) -> UInt8[np.ndarray, "P"]:
    """The bases of a record with the repeat bit set inside its soft mask."""
    mask = mask_of(record.soft_mask, record.length_bp)
    return record.codes | (mask.astype(np.uint8) * np.uint8(REPEAT_BIT))


def tile_record(record: Record, *, window_bp: int, stride_bp: int) -> Iterator[Tile]:
    """Windows of `window_bp` every `stride_bp`; the last partial one is kept and flagged.

    No window is made that lies wholly inside the one before it.
    """
    yield from tile_bases(marked_bases(record), window_bp=window_bp, stride_bp=stride_bp, sequence=record.name)


def tile_bases(bases: UInt8[np.ndarray, "P"], *, window_bp: int, stride_bp: int, sequence: str = "") -> Iterator[Tile]:
    """As `tile_record`, over bases that are at hand."""
    for start in range(0, max(bases.size, 1), stride_bp):
        end = min(start + window_bp, bases.size)
        if end > start:
            yield Tile(Interval(sequence, start, end), bases[start:end], end - start < window_bp)
        if end == bases.size:
            return


def tile_records(records: Iterable[Record], *, window_bp: int, stride_bp: int) -> Iterator[Tile]:
    """`tile_record` over records, in their order."""
    for record in records:
        yield from tile_record(record, window_bp=window_bp, stride_bp=stride_bp)

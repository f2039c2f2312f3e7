"""Windows over records: where they lie, which hold too many unknown bases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from plantgfm.formats.fasta import Piece
from plantgfm.schema import Record
from plantgfm.sequence import REPEAT_BIT, UNKNOWN, Interval


@dataclass(frozen=True)
class Tile:
    """One window of a record."""

    interval: Interval  # 0-based, half-open
    bases: UInt8[np.ndarray, "P"]  # code | repeat bit
    partial: bool  # shorter than the window: the end of a record or region
    name: str = ""  # of the region that it belongs to
    accession: str = ""  # of a panel
    core: tuple[int, int] | None = None  # bases, as read, that are its own: the rest is its neighbours'; None: all

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
    bases = record.codes.copy()
    for start, end in record.soft_mask:  # no array of positions beside a chromosome
        bases[start:end] |= REPEAT_BIT
    return bases


def tile_record(record: Record, *, window_bp: int, stride_bp: int) -> Iterator[Tile]:
    """Windows of `window_bp` every `stride_bp`; the last partial one is kept and flagged.

    No window is made that lies wholly inside the one before it.
    """
    yield from tile_bases(marked_bases(record), window_bp=window_bp, stride_bp=stride_bp, sequence=record.name)


def tile_bases(bases: UInt8[np.ndarray, "P"], *, window_bp: int, stride_bp: int, sequence: str = "") -> Iterator[Tile]:
    """As `tile_record`, over bases that are at hand."""
    sizes = {"window_bp": window_bp, "stride_bp": stride_bp}
    for start, end in window_spans(bases.size, **sizes):
        yield tile_of(sequence, start, bases[start:end], last=end == bases.size, **sizes)


def window_spans(length_bp: int, *, window_bp: int, stride_bp: int) -> Iterator[tuple[int, int]]:
    """Start and end of each window over so many bases."""
    for start in range(0, length_bp, stride_bp):
        end = min(start + window_bp, length_bp)
        yield start, end
        if end == length_bp:
            return


def tile_of(
    sequence: str, start: int, bases: UInt8[np.ndarray, "P"], *, last: bool, window_bp: int, stride_bp: int
) -> Tile:
    """One window of `tile_bases`, from its bases; `last` says that no other follows."""
    lead = (window_bp - stride_bp) // 2  # overlaps are parted in their middle
    core = (lead if start else 0, bases.size if last else lead + stride_bp)
    return Tile(Interval(sequence, start, start + bases.size), bases, bases.size < window_bp, core=core)


def tile_pieces(pieces: Iterable[Piece], *, window_bp: int, stride_bp: int) -> Iterator[Tile]:
    """As `tile_record`, over records that come in pieces: no more than a piece and a window is in memory."""
    waiting, start = np.zeros(0, np.uint8), 0
    for piece in pieces:
        if piece.start == 0:
            waiting, start = np.zeros(0, np.uint8), 0
        waiting = np.concatenate([waiting, piece.bases])
        sizes, at = {"window_bp": window_bp, "stride_bp": stride_bp}, 0
        while waiting.size - at > window_bp or (piece.last and waiting.size > at):
            bases = waiting[at : at + window_bp].copy()  # a view would keep the whole piece
            last = piece.last and waiting.size - at <= window_bp
            yield tile_of(piece.name, start + at, bases, last=last, **sizes)
            at = waiting.size if last else at + stride_bp
        waiting, start = waiting[at:], start + at


def tile_records(records: Iterable[Record], *, window_bp: int, stride_bp: int) -> Iterator[Tile]:
    """`tile_record` over records, in their order."""
    for record in records:
        yield from tile_record(record, window_bp=window_bp, stride_bp=stride_bp)

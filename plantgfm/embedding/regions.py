"""Regions to embed: lines of a BED file, or features of a GFF3 file, with their names and strands."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from plantgfm.embedding.tiles import Tile, tile_of, window_spans
from plantgfm.formats.bed import read_bed
from plantgfm.formats.fasta import Piece
from plantgfm.formats.gff3 import read_gff3
from plantgfm.sequence import Interval, reverse_complement


@dataclass(frozen=True)
class Region:
    """A named place: read on its strand, "." and "?" as "+"."""

    interval: Interval
    name: str


def bed_regions(path: Path, *, lengths: Mapping[str, int]) -> list[Region]:
    """The rows of a BED file.

    Raises:
        ValueError: for a malformed row, one outside the sequences (`lengths`, bp), or a file without rows.
    """
    rows = read_bed(path, lengths=lengths)
    if not rows:
        raise ValueError(f"{path} has no rows: there is nothing to embed")
    return _checked(path, [Region(row.interval, row.name) for row in rows])


def gff3_regions(path: Path, *, feature: str, lengths: Mapping[str, int]) -> list[Region]:
    """The features of one type of a GFF3 file, named by ID, else by Name.

    Raises:
        ValueError: for a malformed line, a feature outside the sequences, or when the file has none of this type.
    """
    features = read_gff3(path, lengths=lengths)
    found = [one for one in features if one.type == feature]
    if not found:
        types = ", ".join(sorted({one.type for one in features})[:8]) or "none at all"
        raise ValueError(f"{path} has no feature of type {feature!r}; it has {types}")
    return _checked(
        path,
        [
            Region(one.interval, [*_first(one.attributes, "ID"), *_first(one.attributes, "Name"), ""][0])
            for one in found
        ],
    )


def _first(attributes: Mapping[str, tuple[str, ...]], key: str) -> tuple[str, ...]:
    return attributes.get(key, ())[:1]


def _checked(path: Path, regions: list[Region]) -> list[Region]:
    for region in regions:
        if region.interval.length_bp == 0:
            where = region.interval
            raise ValueError(f"{path}: region {where.sequence}:{where.start}-{where.end} has no base to embed")
    return regions


def tile_regions(
    pieces: Iterable[Piece], regions: Iterable[Region], *, window_bp: int, stride_bp: int
) -> Iterator[Tile]:
    """Windows over regions, by record and within one in the order of the regions.

    A window of a region on the minus strand holds the reverse complement, windows begin at the region's own left end,
    and coordinates stay those of the record. The record at hand lies in a temporary file, a byte a base: memory does
    not grow with it, nor with its regions.
    """
    by_sequence: dict[str, list[Region]] = {}
    for region in regions:
        by_sequence.setdefault(region.interval.sequence, []).append(region)
    with tempfile.TemporaryFile(prefix="plantgfm-") as spool:
        for piece in pieces:
            wanted = by_sequence.get(piece.name, [])
            if not wanted:
                continue
            if piece.start == 0:
                spool.seek(0)
                spool.truncate()
            spool.write(piece.bases.tobytes())
            if piece.last:
                for region in wanted:
                    yield from _tile_region(spool, region, window_bp=window_bp, stride_bp=stride_bp)


def _tile_region(spool: BinaryIO, region: Region, *, window_bp: int, stride_bp: int) -> Iterator[Tile]:
    where, sizes = region.interval, {"window_bp": window_bp, "stride_bp": stride_bp}
    strand = where.strand if where.strand in ("+", "-") else "."
    for first, last in window_spans(where.length_bp, **sizes):
        minus = strand == "-"
        start, end = (where.end - last, where.end - first) if minus else (where.start + first, where.start + last)
        spool.seek(start)
        bases = np.array(np.frombuffer(spool.read(end - start), np.uint8))
        read = reverse_complement(bases) if minus else bases
        tile = tile_of(where.sequence, first, read, last=last == where.length_bp, **sizes)
        yield replace(tile, interval=Interval(where.sequence, start, end, strand), name=region.name)

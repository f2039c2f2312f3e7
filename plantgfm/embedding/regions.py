"""Regions to embed: lines of a BED file, or features of a GFF3 file, with their names and strands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from plantgfm.embedding.tiles import Tile, marked_bases, tile_bases
from plantgfm.formats.bed import read_bed
from plantgfm.formats.gff3 import read_gff3
from plantgfm.schema import Record
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
    records: Iterable[Record], regions: Iterable[Region], *, window_bp: int, stride_bp: int
) -> Iterator[Tile]:
    """Windows over regions, by record and within one in the order of the regions.

    A window of a region on the minus strand holds the reverse complement, windows begin at the region's own left end,
    and coordinates stay those of the record.
    """
    by_sequence: dict[str, list[Region]] = {}
    for region in regions:
        by_sequence.setdefault(region.interval.sequence, []).append(region)
    for record in records:
        wanted = by_sequence.get(record.name, [])
        bases = marked_bases(record) if wanted else np.zeros(0, np.uint8)
        for region in wanted:
            where = region.interval
            piece = bases[where.start : where.end]
            minus = where.strand == "-"
            for tile in tile_bases(
                reverse_complement(piece) if minus else piece, window_bp=window_bp, stride_bp=stride_bp
            ):
                first, last = tile.interval.start, tile.interval.end
                start, end = (
                    (where.end - last, where.end - first) if minus else (where.start + first, where.start + last)
                )
                strand = "-" if minus else where.strand if where.strand == "+" else "."
                yield replace(tile, interval=Interval(record.name, start, end, strand), name=region.name)

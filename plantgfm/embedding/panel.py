"""Windows of the accessions of a panel: the reference with the SNPs of each accession put in.

Only what both chromosomes of an accession have is put in: a heterozygous or missing call leaves the reference's base,
as do insertions and deletions, so coordinates are those of the reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from plantgfm.embedding.tiles import Tile
from plantgfm.formats.errors import FormatError
from plantgfm.formats.genotypes import Genotypes, read_genotypes
from plantgfm.sequence import BASE_MASK, BASES, REPEAT_BIT, UNKNOWN, Interval

HOMOZYGOUS = 2


@dataclass(frozen=True)
class Panel:
    """The SNPs of chosen accessions, by position on each sequence."""

    path: Path
    accessions: list[str]
    columns: Int64[np.ndarray, "A"]  # of the accessions in the genotypes
    genotypes: Genotypes
    rows: dict[str, Int64[np.ndarray, "_"]]  # sites of each sequence, by position


def open_panel(path: Path, accessions: Sequence[str] = ()) -> Panel:
    """Read a VCF file of genotypes.

    Args:
        path: plain, gzip or bgzip.
        accessions: names of samples, in the order to embed them; all, where there are none.

    Raises:
        FormatError: for a file that is no VCF with samples, has no SNP, or lacks an accession.
    """
    found = read_genotypes(path)
    if not found.sequence:
        raise FormatError(path, f"has no biallelic SNP ({found.skipped} other sites): there is nothing to put in")
    chosen = list(accessions) or found.samples
    if absent := [name for name in chosen if name not in found.samples]:
        raise FormatError(path, f"has no sample {absent[0]!r}; it has {', '.join(found.samples[:8])}")
    columns = np.array([found.samples.index(name) for name in chosen], np.int64)
    names = np.array(found.sequence)
    order = np.lexsort((found.start, names)).astype(np.int64)
    sequences, firsts = np.unique(names[order], return_index=True)
    rows = dict(zip(sequences.tolist(), np.split(order, firsts[1:])))
    return Panel(path, chosen, columns, found, rows)


def check_sequences(panel: Panel, lengths_bp: dict[str, int]) -> None:
    """Refuse a panel of another assembly.

    Raises:
        FormatError: for a sequence that the FASTA lacks, or a site beyond its end.
    """
    for name, rows in panel.rows.items():
        last = int(panel.genotypes.start[rows[-1]])
        if name not in lengths_bp:
            raise FormatError(panel.path, "is not in the FASTA: is it of the same assembly?", name)
        if last >= lengths_bp[name]:
            text = f"has a site at {last + 1:,}, beyond the {lengths_bp[name]:,} bp of the FASTA"
            raise FormatError(panel.path, text, name)


def tile_panel(tiles: Iterable[Tile], panel: Panel) -> Iterator[Tile]:
    """Each window once an accession, with its bases.

    Raises:
        FormatError: for a site whose REF is not what the reference has.
    """
    for tile in tiles:
        rows = _rows_within(panel, tile.interval)
        at, ref, alt = _as_read(panel.genotypes, rows, tile.interval)
        there = tile.bases[at] & BASE_MASK
        wrong = np.flatnonzero((there != ref) & (there != UNKNOWN))
        if wrong.size:
            one, where = int(wrong[0]), int(panel.genotypes.start[rows[wrong[0]]]) + 1
            text = f"REF at {where:,} is {BASES[ref[one]]}, the FASTA has {BASES[there[one]]} (as the window is read)"
            raise FormatError(panel.path, f"{text}: is it of the same assembly?", tile.interval.sequence)
        put_in = panel.genotypes.dosages[rows][:, panel.columns] == HOMOZYGOUS
        for number, accession in enumerate(panel.accessions):
            bases, chosen = tile.bases.copy(), put_in[:, number]
            bases[at[chosen]] = alt[chosen] | (bases[at[chosen]] & REPEAT_BIT)
            yield replace(tile, bases=bases, accession=accession)


def _rows_within(panel: Panel, where: Interval) -> Int64[np.ndarray, "_"]:
    rows = panel.rows.get(where.sequence, np.zeros(0, np.int64))
    starts = panel.genotypes.start[rows]
    return rows[np.searchsorted(starts, where.start) : np.searchsorted(starts, where.end)]


def _as_read(
    genotypes: Genotypes, rows: Int64[np.ndarray, "_"], where: Interval
) -> tuple[Int64[np.ndarray, "_"], UInt8[np.ndarray, "_"], UInt8[np.ndarray, "_"]]:
    """Where the sites lie in a window and their alleles, both as the window's strand reads them."""
    start, ref, alt = genotypes.start[rows], genotypes.ref[rows], genotypes.alt[rows]
    return (where.end - 1 - start, 3 - ref, 3 - alt) if where.strand == "-" else (start - where.start, ref, alt)

"""A genome as columns: what is true of each base travels with it, so that no event has to move coordinates.

Insertion, deletion, inversion, translocation and duplication are one gather of all columns; exons, genes and
repeats are read back at the end as runs. A homologous site keeps its number, so the truth about orthologs needs no
alignment.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
from jaxtyping import Int8, Int16, Int32, Int64, UInt8

from plantgfm.sequence import reverse_complement


class Kind(IntEnum):
    """What a base is for; decides how fast it changes."""

    INTERGENIC = 0
    REPEAT = 1
    PROMOTER = 2
    TATA = 3
    AUXRE = 4
    BOX = 5  # another motif of the promoter
    UTR5 = 6
    START = 7
    CDS1 = 8
    CDS2 = 9
    CDS3 = 10
    STOP = 11
    INTRON = 12
    SPLICE = 13  # GT and AG
    BRANCH = 14  # branch point, polypyrimidine tract, rest of the donor site
    UTR3 = 15
    POLYA = 16


CODING = (Kind.START, Kind.CDS1, Kind.CDS2, Kind.CDS3, Kind.STOP)
EXONIC = (Kind.UTR5, *CODING, Kind.UTR3, Kind.POLYA)
COPIES = 2  # a root gene `g` has copy ids g * COPIES (+ 1 after the duplication)


@dataclass
class Columns:
    """Equal-length arrays, one entry a base, chromosomes one after the other."""

    code: UInt8[np.ndarray, "P"]  # base code 0..3
    kind: UInt8[np.ndarray, "P"]  # Kind
    strand: Int8[np.ndarray, "P"]  # of the gene or repeat the base belongs to: 1, -1, 0 none
    gene: Int32[np.ndarray, "P"]  # gene copy id, -1 outside genes and their promoters
    site: Int32[np.ndarray, "P"]  # number of the homologous site, -1 where younger than the root
    copy: Int32[np.ndarray, "P"]  # repeat copy id, -1 outside repeats
    chrom: Int16[np.ndarray, "P"]  # chromosome number

    def __len__(self) -> int:
        return int(self.code.size)

    def take(self, index: Int64[np.ndarray, "Q"]) -> Columns:
        """The bases at these positions, in this order."""
        return Columns(**{name: getattr(self, name)[index] for name in NAMES})

    def flipped(self, start: int, end: int) -> Columns:
        """A copy whose span [start, end) lies on the other strand."""
        index = np.arange(len(self))
        index[start:end] = index[start:end][::-1]
        turned = self.take(index)
        turned.code[start:end] = reverse_complement(self.code[start:end])
        turned.strand[start:end] *= -1
        return turned

    def spans(self) -> list[tuple[int, int, int]]:
        """(chromosome, start, end) of each chromosome, in order of position."""
        edges = np.concatenate(([0], np.flatnonzero(np.diff(self.chrom)) + 1, [len(self)]))
        return [(int(self.chrom[a]), int(a), int(b)) for a, b in zip(edges[:-1], edges[1:]) if b > a]


NAMES = tuple(field.name for field in fields(Columns))
_DTYPES = {"code": "u1", "kind": "u1", "strand": "i1", "gene": "i4", "site": "i4", "copy": "i4", "chrom": "i2"}


def piece(code: UInt8[np.ndarray, "P"], *, kind=Kind.REPEAT, strand=0, gene=-1, site=-1, copy=-1, chrom=0) -> Columns:
    """Columns of one new sequence; every argument is one value or an array [P]."""
    values = {"code": code, "kind": kind, "strand": strand, "gene": gene, "site": site, "copy": copy, "chrom": chrom}
    arrays = {
        name: np.ascontiguousarray(np.broadcast_to(np.asarray(value, dtype=_DTYPES[name]), code.shape)).copy()
        for name, value in values.items()
    }
    return Columns(**arrays)


def concatenate(parts: list[Columns]) -> Columns:
    """The parts one after the other."""
    return Columns(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in NAMES})


def insert(genome: Columns, positions: Int64[np.ndarray, "n"], pieces: list[Columns]) -> Columns:
    """A genome with each piece put before its position; pieces take the chromosome of the base to their left.

    `positions` must ascend.
    """
    parts, last = [], 0
    for position, new in zip(positions.tolist(), pieces):
        new.chrom[:] = genome.chrom[max(position - 1, 0)]
        parts += [_slice(genome, last, position), new]
        last = position
    return concatenate([*parts, _slice(genome, last, len(genome))])


def _slice(genome: Columns, start: int, end: int) -> Columns:
    return Columns(**{name: getattr(genome, name)[start:end] for name in NAMES})


def delete(genome: Columns, doomed: np.ndarray) -> Columns:
    """A genome without the bases that the bool [P] mask names."""
    return genome.take(np.flatnonzero(~doomed))

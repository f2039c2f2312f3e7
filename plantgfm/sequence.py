"""Nucleotide alphabet: base codes, IUPAC policy, reverse complement, runs, intervals.

A base is one byte: 0 to 3 for A, C, G, T and 4 for unknown. Every IUPAC ambiguity code counts as unknown
(NC-IUB 1984, doi:10.1093/nar/13.9.3021); U counts as T; case carries no base, only the soft mask. In files that
hold bases beside their repeat mask, bit 3 (`REPEAT_BIT`) says that the base lies in a repeat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BASES = "ACGT"
UNKNOWN = 4
REPEAT_BIT = 8
BASE_MASK = 7
INVALID = 255
IUPAC_AMBIGUITY = "NRYSWKMBDHV"

AMINO = "KNKNTTTTRSRSIIMIQHQHPPPPRRRRLLLLEDEDAAAAGGGGVVVV*Y*YSSSS*CWCLFLF"
"""Amino acid of each codon, codons in lexicographic ACGT order (standard code, NCBI table 1); `*` for stop."""

_LETTERS = np.frombuffer(b"ACGTN", dtype=np.uint8)
_COMPLEMENT = np.array([3, 2, 1, 0, 4], dtype=np.uint8)


def _code_table() -> np.ndarray:
    table = np.full(256, INVALID, dtype=np.uint8)
    pairs = [*zip(BASES, range(4)), ("U", 3), *((letter, UNKNOWN) for letter in IUPAC_AMBIGUITY)]
    for letter, code in pairs:
        table[ord(letter)] = table[ord(letter.lower())] = code
    return table


CODE_OF_BYTE = _code_table()
"""uint8 [256]: the code of each ASCII byte; `INVALID` for a byte that is no IUPAC nucleotide."""


@dataclass(frozen=True, order=True)
class Interval:
    """A span of one sequence: 0-based, half-open, in base pairs.

    Raises:
        ValueError: when start is negative or end lies before start.
    """

    sequence: str
    start: int
    end: int
    strand: str = "."

    def __post_init__(self):
        if not 0 <= self.start <= self.end:
            raise ValueError(f"interval {self.sequence}:{self.start}-{self.end} needs 0 <= start <= end")

    @property
    def length_bp(self) -> int:
        """Number of base pairs covered."""
        return self.end - self.start


def encode(text: str | bytes) -> np.ndarray:
    """Base codes, uint8 [P], of a nucleotide text in either case.

    Raises:
        ValueError: at the first character that is no IUPAC nucleotide, naming it and its 1-based position.
    """
    raw = np.frombuffer(text.encode("ascii", "replace") if isinstance(text, str) else text, dtype=np.uint8)
    codes = CODE_OF_BYTE[raw]
    bad = np.flatnonzero(codes == INVALID)
    if bad.size:
        where = int(bad[0])
        raise ValueError(f"character {chr(raw[where])!r} at position {where + 1} is no IUPAC nucleotide")
    return codes


def decode(codes: np.ndarray) -> str:
    """Upper-case text of base codes, uint8 [P]; the repeat bit is ignored."""
    return _LETTERS[np.asarray(codes, dtype=np.uint8) & BASE_MASK].tobytes().decode("ascii")


def reverse_complement(codes: np.ndarray) -> np.ndarray:
    """Base codes, uint8 [P], of the other strand; the repeat bit stays with its base."""
    codes = np.asarray(codes, dtype=np.uint8)[::-1]
    return _COMPLEMENT[codes & BASE_MASK] | (codes & REPEAT_BIT)


def translate(codes: np.ndarray) -> str:
    """Amino acids of the codons of base codes, uint8 [P], read from the first base on; X for a codon with N.

    Bases behind the last whole codon are passed over.
    """
    codons = (np.asarray(codes, dtype=np.int64)[: codes.size // 3 * 3] & BASE_MASK).reshape(-1, 3)
    letters = np.frombuffer(AMINO.encode(), dtype=np.uint8)[np.minimum(codons, 3) @ np.array([16, 4, 1])]
    return np.where((codons == UNKNOWN).any(axis=1), np.uint8(ord("X")), letters).astype(np.uint8).tobytes().decode()


def runs_of(mask: np.ndarray) -> np.ndarray:
    """Maximal runs of True in a bool [P] mask, as int64 [R, 2] rows of (start, end), half-open."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], np.asarray(mask, dtype=bool), [False])).view(np.int8)))
    return edges.reshape(-1, 2).astype(np.int64)


def mask_of(runs: np.ndarray, length_bp: int) -> np.ndarray:
    """Bool [P] mask that is True inside the given runs, int64 [R, 2]; the inverse of `runs_of`."""
    steps = np.zeros(length_bp + 1, dtype=np.int32)
    np.add.at(steps, np.asarray(runs, dtype=np.int64).reshape(-1, 2)[:, 0], 1)
    np.add.at(steps, np.asarray(runs, dtype=np.int64).reshape(-1, 2)[:, 1], -1)
    return np.cumsum(steps[:-1]) > 0

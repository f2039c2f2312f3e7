"""The vocabulary: specials, single bases, all 6-mers, chosen 8-mers; its layout, fingerprint and file.

Token ids, fixed for ever within one `LAYOUT_VERSION`:

    0 [PAD]   1 [CLS]   2 [SEP]   3 [MASK]   4 N   5 A   6 C   7 G   8 T
    9 to 4104         the 4,096 6-mers in lexicographic order of ACGT
    4105 onwards      the chosen 8-mers in lexicographic order

A k-mer's code is its bases as two-bit digits (A 0, C 1, G 2, T 3), the first base most significant, so numeric order
is lexicographic order.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64, Integer, UInt16

from plantgfm.identity import fingerprint
from plantgfm.sequence import BASES

PAD, CLS, SEP, MASK = range(4)
N_SPECIAL = 4
UNKNOWN_BASE = 4
FIRST_BASE = 5
FIRST_SIX = 9
FIRST_EIGHT = FIRST_SIX + 4**6
LONGEST_BP = 8
SPECIAL_TOKENS = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")
LAYOUT_VERSION = 1

_FORMAT = "plantgfm vocabulary"


def kmer_text(code: int | np.integer, k: int) -> str:
    """The letters of a k-mer code."""
    return "".join(BASES[(int(code) >> 2 * (k - 1 - i)) & 3] for i in range(k))


def kmer_code(text: str) -> int:
    """The code of an upper-case ACGT k-mer.

    Raises:
        ValueError: when a letter is not one of ACGT.
    """
    code = 0
    for letter in text:
        if letter not in BASES:
            raise ValueError(f"k-mer {text!r} holds {letter!r}: only A, C, G and T make a k-mer")
        code = code << 2 | BASES.index(letter)
    return code


def kmer_digits(codes: Integer[np.ndarray, "N"], k: int) -> Int64[np.ndarray, "N k"]:
    """The bases (0 to 3) of k-mer codes, first base first."""
    shifts = 2 * np.arange(k - 1, -1, -1)
    return (codes.astype(np.int64)[:, None] >> shifts[None, :]) & 3


def reverse_complement_codes(codes: Integer[np.ndarray, "N"], k: int) -> Int64[np.ndarray, "N"]:
    """The codes of the reverse complements of k-mer codes."""
    digits = 3 - kmer_digits(codes, k)[:, ::-1]
    return digits @ (4 ** np.arange(k - 1, -1, -1, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """A hybrid k-mer vocabulary; two are equal when their fingerprints are.

    Raises:
        ValueError: when the 8-mers are not sorted, not unique, or not closed under reverse complement.
    """

    eight_mers: UInt16[np.ndarray, "N"]  # codes of the chosen 8-mers, ascending

    def __post_init__(self):
        codes = self.eight_mers.astype(np.int64)
        if np.any(np.diff(codes) <= 0):
            raise ValueError("the 8-mers of a vocabulary must be unique and ascending: sort them with numpy.unique")
        alone = np.setdiff1d(codes, reverse_complement_codes(codes, 8))
        if alone.size:
            raise ValueError(
                f"8-mer {kmer_text(alone[0], 8)} stands without its reverse complement: add it or drop both, "
                "so that both strands are read alike"
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @property
    def size(self) -> int:
        """Number of token ids, specials included."""
        return FIRST_EIGHT + int(self.eight_mers.size)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that stand for the layout and the chosen 8-mers."""
        return fingerprint({"layout": LAYOUT_VERSION, "eight_mers": self.eight_mers.tolist()})

    @cached_property
    def tokens(self) -> list[str]:
        """The text of every id."""
        sixes = (kmer_text(code, 6) for code in range(4**6))
        return [*SPECIAL_TOKENS, "N", *BASES, *sixes, *(kmer_text(code, 8) for code in self.eight_mers)]

    @cached_property
    def token_bp(self) -> Int32[np.ndarray, "V"]:
        """Base pairs that each id covers: 0 for specials, 1, 6 or 8."""
        widths = np.repeat([0, 1, 6, 8], [N_SPECIAL, FIRST_SIX - UNKNOWN_BASE, 4**6, self.eight_mers.size])
        return widths.astype(np.int32)

    @cached_property
    def token_bases(self) -> Int32[np.ndarray, "V 8"]:
        """The bases (0 to 3) of each id from the left; -1 behind its end, and throughout for specials and N."""
        bases = np.full((self.size, LONGEST_BP), -1, dtype=np.int32)
        bases[FIRST_BASE:FIRST_SIX, 0] = np.arange(4)
        bases[FIRST_SIX:FIRST_EIGHT, :6] = kmer_digits(np.arange(4**6), 6)
        bases[FIRST_EIGHT:] = kmer_digits(self.eight_mers, 8)
        return bases

    @cached_property
    def eight_index(self) -> Int32[np.ndarray, "65536"]:
        """The id of each 8-mer code, -1 where it was not chosen: the table that the kernels read."""
        index = np.full(4**8, -1, dtype=np.int32)
        index[self.eight_mers] = np.arange(FIRST_EIGHT, self.size, dtype=np.int32)
        return index

    def save(self, path: Path) -> Path:
        """Write the vocabulary as JSON, whole or not at all; returns the path."""
        eights = [kmer_text(code, 8) for code in self.eight_mers]
        content = {"format": _FORMAT, "layout": LAYOUT_VERSION, "fingerprint": self.fingerprint, "eight_mers": eights}
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            part.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return path

    @staticmethod
    def load(path: Path) -> Vocabulary:
        """Read what `save` wrote.

        Raises:
            ValueError: when the file is no vocabulary, has another layout, or its 8-mers do not give the
                fingerprint that it states (both are named).
        """
        content = _read(path)
        codes = np.array([kmer_code(text) for text in content["eight_mers"]], dtype=np.uint16)
        vocabulary = Vocabulary(codes)
        if vocabulary.fingerprint != content["fingerprint"]:
            raise ValueError(
                f"{path}: states fingerprint {content['fingerprint']} but its 8-mers give {vocabulary.fingerprint}: "
                "the file was changed; build the vocabulary again"
            )
        return vocabulary


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is no JSON ({error}); `plantgfm vocabulary` writes one") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ValueError(f"{path}: is no {_FORMAT}; `plantgfm vocabulary` writes one")
    if content.get("layout") != LAYOUT_VERSION:
        raise ValueError(
            f"{path}: has token layout {content.get('layout')}, this code knows layout {LAYOUT_VERSION}; "
            "build the vocabulary again"
        )
    eights = content.get("eight_mers")
    if not isinstance(eights, list) or not all(isinstance(text, str) and len(text) == 8 for text in eights):
        raise ValueError(f"{path}: eight_mers must be a list of texts of 8 letters; build the vocabulary again")
    if not isinstance(content.get("fingerprint"), str):
        raise ValueError(f"{path}: states no fingerprint; build the vocabulary again")
    return content

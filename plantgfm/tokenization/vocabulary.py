"""The vocabulary: specials, single bases, and all 6-mers with chosen 8-mers, or nothing more, or merges of BPE.

Token ids, fixed for ever within one `LAYOUT_VERSION`:

    0 [PAD]   1 [CLS]   2 [SEP]   3 [MASK]   4 N   5 A   6 C   7 G   8 T
    9 to 4104         the 4,096 6-mers in lexicographic order of ACGT
    4105 onwards      the chosen 8-mers in lexicographic order

A vocabulary of single bases ends at 8. One of byte-pair encoding has from 9 on what its merges make, in their order;
no merge crosses an unknown base, which is always a token of its own.

A k-mer's code is its bases as two-bit digits (A 0, C 1, G 2, T 3), the first base most significant, so numeric order
is lexicographic order.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64, Integer, UInt16

from plantgfm.identity import fingerprint
from plantgfm.sequence import BASES
from plantgfm.tokenization.config import VocabularyKind

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
Merges = tuple[tuple[str, str], ...]
"""What byte-pair encoding joins, first come first served: pairs of token texts."""


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
    """A hybrid k-mer vocabulary, or one of another kind; two are equal when their fingerprints are.

    Raises:
        ValueError: when the 8-mers are not sorted, not unique, or not closed under reverse complement; for parts of
            another kind, and for a merge of what is no token yet.
    """

    eight_mers: UInt16[np.ndarray, "N"]  # codes of the chosen 8-mers, ascending; none but in a hybrid
    kind: VocabularyKind = VocabularyKind.HYBRID
    merges: Merges = field(default=(), repr=False)  # of BPE, the first has precedence

    def __post_init__(self):
        if self.eight_mers.size and not self.is_hybrid:
            raise ValueError(f"a vocabulary of kind {self.kind.value} has no 8-mers, {self.eight_mers.size} are given")
        if self.merges and self.kind is not VocabularyKind.BPE:
            raise ValueError(f"a vocabulary of kind {self.kind.value} has no merges, {len(self.merges)} are given")
        known = set(BASES)
        for number, pair in enumerate(self.merges):
            if unknown := [text for text in pair if text not in known]:
                raise ValueError(f"merge {number} joins {' and '.join(pair)}, but {unknown[0]!r} is no token before it")
            if "".join(pair) in known:
                raise ValueError(f"merge {number} makes {''.join(pair)}, which is a token already")
            known.add("".join(pair))
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

    @staticmethod
    def of_bases() -> Vocabulary:
        """The vocabulary of single bases."""
        return Vocabulary(np.zeros(0, np.uint16), VocabularyKind.BASES)

    @staticmethod
    def of_merges(merges: Merges) -> Vocabulary:
        """The vocabulary that byte-pair encoding makes of merges."""
        return Vocabulary(np.zeros(0, np.uint16), VocabularyKind.BPE, merges)

    @property
    def is_hybrid(self) -> bool:
        """Whether its tokens are 6-mers and chosen 8-mers."""
        return self.kind is VocabularyKind.HYBRID

    def require_hybrid(self, what: str) -> None:
        """Refuse another kind.

        Args:
            what: needs 6- and 8-mers; begins the message.

        Raises:
            ValueError: for a vocabulary of single bases or of BPE.
        """
        if not self.is_hybrid:
            raise ValueError(
                f"{what} works with 6- and 8-mers only, this vocabulary is of tokenizer.kind={self.kind.name}: "
                "`plantgfm ablate tokenizer` compares kinds"
            )

    @cached_property
    def size(self) -> int:
        """Number of token ids, specials included."""
        return FIRST_EIGHT + int(self.eight_mers.size) if self.is_hybrid else len(self.tokens)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that stand for the layout and the chosen 8-mers, or for kind and merges."""
        if self.is_hybrid:
            return fingerprint({"layout": LAYOUT_VERSION, "eight_mers": self.eight_mers.tolist()})
        return fingerprint({"layout": LAYOUT_VERSION, "kind": self.kind, "merges": self.merges})

    @cached_property
    def tokens(self) -> list[str]:
        """The text of every id."""
        if not self.is_hybrid:
            return [*SPECIAL_TOKENS, "N", *BASES, *(left + right for left, right in self.merges)]
        sixes = (kmer_text(code, 6) for code in range(4**6))
        return [*SPECIAL_TOKENS, "N", *BASES, *sixes, *(kmer_text(code, 8) for code in self.eight_mers)]

    @cached_property
    def token_bp(self) -> Int32[np.ndarray, "V"]:
        """Base pairs that each id covers: 0 for specials, 1, 6 or 8; what its text has for other kinds."""
        if not self.is_hybrid:
            return np.array([0] * N_SPECIAL + [len(text) for text in self.tokens[N_SPECIAL:]], dtype=np.int32)
        widths = np.repeat([0, 1, 6, 8], [N_SPECIAL, FIRST_SIX - UNKNOWN_BASE, 4**6, self.eight_mers.size])
        return widths.astype(np.int32)

    @cached_property
    def token_bases(self) -> Int32[np.ndarray, "V widest"]:
        """The bases (0 to 3) of each id from the left; -1 behind its end, and throughout for specials and N.

        Columns: 8, in other kinds the widest token.
        """
        if not self.is_hybrid:
            bases = np.full((self.size, int(self.token_bp.max())), -1, dtype=np.int32)
            for row, text in enumerate(self.tokens[FIRST_BASE:], FIRST_BASE):
                bases[row, : len(text)] = [BASES.index(letter) for letter in text]
            return bases
        bases = np.full((self.size, LONGEST_BP), -1, dtype=np.int32)
        bases[FIRST_BASE:FIRST_SIX, 0] = np.arange(4)
        bases[FIRST_SIX:FIRST_EIGHT, :6] = kmer_digits(np.arange(4**6), 6)
        bases[FIRST_EIGHT:] = kmer_digits(self.eight_mers, 8)
        return bases

    @cached_property
    def eight_index(self) -> Int32[np.ndarray, "65536"]:
        """The id of each 8-mer code, -1 where it was not chosen: the table that the kernels read.

        Raises:
            ValueError: for a vocabulary of another kind.
        """
        self.require_hybrid("what reads k-mers")
        index = np.full(4**8, -1, dtype=np.int32)
        index[self.eight_mers] = np.arange(FIRST_EIGHT, self.size, dtype=np.int32)
        return index

    def save(self, path: Path) -> Path:
        """Write the vocabulary as JSON, whole or not at all; returns the path."""
        eights = [kmer_text(code, 8) for code in self.eight_mers]
        merges = [" ".join(pair) for pair in self.merges]
        parts = {"eight_mers": eights} if self.is_hybrid else {"kind": self.kind.value, "merges": merges}
        content = {"format": _FORMAT, "layout": LAYOUT_VERSION, "fingerprint": self.fingerprint, **parts}
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
            ValueError: when the file is no vocabulary, has another layout, or its tokens do not give the
                fingerprint that it states (both are named).
        """
        content = _read(path)
        codes = np.array([kmer_code(text) for text in content.get("eight_mers", ())], dtype=np.uint16)
        merges = tuple(tuple(text.split(" ")) for text in content.get("merges", ()))
        vocabulary = Vocabulary(codes, VocabularyKind(content.get("kind", VocabularyKind.HYBRID.value)), merges)
        if vocabulary.fingerprint != content["fingerprint"]:
            raise ValueError(
                f"{path}: states fingerprint {content['fingerprint']} but its tokens give {vocabulary.fingerprint}: "
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
    known = [kind.value for kind in VocabularyKind]
    if content.get("kind", VocabularyKind.HYBRID.value) not in known:
        raise ValueError(f"{path}: is of kind {content['kind']!r}, this code knows {', '.join(known)}")
    if content.get("kind", VocabularyKind.HYBRID.value) != VocabularyKind.HYBRID.value:
        merges = content.get("merges")
        if not isinstance(merges, list) or not all(isinstance(text, str) and text.count(" ") == 1 for text in merges):
            raise ValueError(f"{path}: merges must be a list of texts of two tokens; build the vocabulary again")
        content["eight_mers"] = []
    eights = content.get("eight_mers")
    if not isinstance(eights, list) or not all(isinstance(text, str) and len(text) == 8 for text in eights):
        raise ValueError(f"{path}: eight_mers must be a list of texts of 8 letters; build the vocabulary again")
    if not isinstance(content.get("fingerprint"), str):
        raise ValueError(f"{path}: states no fingerprint; build the vocabulary again")
    return content

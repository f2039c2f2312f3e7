"""How a model cuts bases into tokens, in the ids of a vocabulary of ours, and which ids it has for these itself.

Two ways are known: greedy 8-mers, 6-mers and single bases from the left (ours; without 8-mers that of AgroNT and the
Nucleotide Transformers), and single bases. In these a base lies in one token whose length does not depend on what the
base is, so that a token can be hidden and its bases told. Byte pairs (DNABERT-2) and overlapping k-mers (DNABERT) are
neither: another base there is another segmentation, or is seen through its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64, UInt8

from plantgfm.export.bundle import BundleError
from plantgfm.sequence import BASE_MASK, BASES, decode
from plantgfm.tokenization.encode import encode, spans
from plantgfm.tokenization.esm import PLAIN, EsmTokens
from plantgfm.tokenization.vocabulary import (
    CLS,
    FIRST_BASE,
    FIRST_EIGHT,
    FIRST_SIX,
    MASK,
    PAD,
    UNKNOWN_BASE,
    Vocabulary,
)

_PROBES, _LONGEST_PROBE_BP = 24, 40
# Single bases are the first ids behind N, in the order of their codes; code 4 is N.
_SINGLE = np.array([*range(FIRST_BASE, FIRST_SIX), UNKNOWN_BASE], np.int32)


@dataclass(frozen=True, eq=False)
class Cutting:
    """Bases to ids of a vocabulary, and back to places."""

    vocabulary: Vocabulary
    longest_bp: int  # of a token that unknown bases are put into: 6, or 1

    def encode(self, bases: UInt8[np.ndarray, "P"]) -> Int32[np.ndarray, "L"]:
        """Ids, no [CLS]."""
        if self.longest_bp == 1:
            return _SINGLE[bases & BASE_MASK]
        return encode(self.vocabulary, np.ascontiguousarray(bases))

    def tokens_of(self, bases: UInt8[np.ndarray, "P"]) -> tuple[Int32[np.ndarray, "L"], Int64[np.ndarray, "T 2"]]:
        """Ids with [CLS] first, and the span of each token behind it in bp."""
        ids = self.encode(bases)
        return np.concatenate([np.array([CLS], np.int32), ids]), spans(self.vocabulary, ids)


@dataclass(frozen=True, eq=False)
class TokenTable:
    """A model's own ids of tokens that are cut our way."""

    cutting: Cutting
    ids: Int32[np.ndarray, "V"]  # its id of each of ours; -1 where it has none
    before: Int32[np.ndarray, "_"]  # special ids in front of a sequence, where our rows have [CLS]
    behind: Int32[np.ndarray, "_"]

    def token_bp(self, tokens: Int32[np.ndarray, "L"]) -> Int32[np.ndarray, "L"]:
        """Bases that each of its ids covers, 0 for special tokens."""
        ours = self.ids[UNKNOWN_BASE:]
        there = ours >= 0
        widths = np.zeros(int(max(ours.max(), tokens.max(initial=0))) + 1, np.int32)
        widths[ours[there]] = self.cutting.vocabulary.token_bp[UNKNOWN_BASE:][there]
        special = np.zeros(tokens.size, bool)  # an id for N may be that of "unknown", which is special and a base, too
        special[: self.before.size] = special[tokens.size - self.behind.size :] = True
        return np.where(special, 0, widths[tokens])


def esm_table(tokens: EsmTokens) -> TokenTable:
    """That of AgroNT and Nucleotide Transformer v1."""
    ids = tokens.table.copy()
    ids[PAD], ids[CLS], ids[MASK] = tokens.pad, tokens.cls, tokens.mask
    return TokenTable(Cutting(PLAIN, 6), ids, np.array([tokens.cls], np.int32), np.zeros(0, np.int32))


def token_table(tokenizer: Any) -> TokenTable:
    """That of a tokenizer of transformers; what it gives is compared with what it should on random sequences.

    Raises:
        BundleError: for one that has no mask token, or cuts in another way.
    """
    if tokenizer.mask_token_id is None:
        raise BundleError("this model's tokenizer has no mask token: no base can be hidden and asked for")
    before, behind, table = _special_and_single(tokenizer)
    known = {text.upper(): number for text, number in tokenizer.get_vocab().items()}
    longer = {len(text) for text in known if len(text) > 1 and set(text) <= set(BASES)}
    sixes = PLAIN.tokens[FIRST_SIX:FIRST_EIGHT]
    if longer == {6} and all(text in known for text in sixes):
        table[FIRST_SIX:] = [known[text] for text in sixes]
    elif longer:
        widths = f"{min(longer)} to {max(longer)}" if len(longer) > 1 else f"{min(longer)}"
        raise BundleError(
            f"this model's tokens are {widths} bases long, neither 6-mers with single bases nor single bases alone: "
            "which token hides a base would depend on the base (byte pairs), or its neighbours would show it "
            "(overlapping k-mers)"
        )
    table[MASK] = tokenizer.mask_token_id
    found = TokenTable(Cutting(PLAIN, 6 if longer else 1), table, before, behind)
    rng = np.random.default_rng(0)
    for size in rng.integers(1, _LONGEST_PROBE_BP, _PROBES):
        bases = rng.integers(0, 5, size).astype(np.uint8)
        bases[rng.random(size) < 0.7] &= 3
        expected = np.concatenate([before, table[found.cutting.encode(bases)], behind])
        if not np.array_equal(_ids(tokenizer, decode(bases)), expected):
            kind = "6-mers from the left and single bases" if longer else "single bases"
            raise BundleError(f"this model's tokenizer does not cut {decode(bases)} into {kind}, as its tokens suggest")
    return found


def _ids(tokenizer: Any, text: str) -> Int32[np.ndarray, "L"]:
    return np.array(tokenizer(text)["input_ids"], np.int32)


def _special_and_single(tokenizer: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Special ids before and behind a sequence, and a table with the ids of single bases and N."""
    rows = [_ids(tokenizer, letter) for letter in f"{BASES}N"]
    one, other = rows[:2]
    n_before = int(np.argmax(one != other)) if one.size == other.size and np.any(one != other) else -1
    alike = [
        row.size == one.size and np.array_equal(np.delete(row, n_before), np.delete(one, n_before)) for row in rows
    ]
    middle = [int(row[n_before]) for row in rows] if n_before >= 0 and all(alike) else []
    if len(set(middle[:4])) != 4:
        raise BundleError("this model's tokenizer has no token for a single base: what it hides can't be told by base")
    table = np.full(PLAIN.size, -1, np.int32)
    table[FIRST_BASE:FIRST_SIX], table[UNKNOWN_BASE] = middle[:4], middle[4]
    return one[:n_before], one[n_before + 1 :], table

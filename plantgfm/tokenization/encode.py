"""Bases to token ids and back: `encode`, `decode`, `spans`, and `windows` for batches."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, Integer, UInt8

from plantgfm.sequence import UNKNOWN
from plantgfm.tokenization import kernels
from plantgfm.tokenization import merge_kernels as merging
from plantgfm.tokenization.config import VocabularyKind
from plantgfm.tokenization.vocabulary import (
    FIRST_BASE,
    FIRST_EIGHT,
    FIRST_SIX,
    MASK,
    Vocabulary,
    kmer_digits,
)


def encode(vocabulary: Vocabulary, codes: UInt8[np.ndarray, "P"]) -> Int32[np.ndarray, "L"]:
    """Token ids of base codes (a repeat bit is ignored): no [CLS], no padding.

    Greedy longest match from the left: a chosen 8-mer, else a 6-mer, else a single base; an unknown base is N. Of other
    kinds: single bases, or byte-pair encoding within each run of known bases.
    Every text has tokens; none maps to an unknown token.
    """
    return encode_with_repeats(vocabulary, codes)[0]


def encode_with_repeats(
    vocabulary: Vocabulary, bases: UInt8[np.ndarray, "P"]
) -> tuple[Int32[np.ndarray, "L"], Float32[np.ndarray, "L"]]:
    """Token ids of bases, and the share of each token's bases that carry the repeat bit."""
    ids = np.empty(bases.size, dtype=np.int32)
    repeat = np.empty(bases.size, dtype=np.float32)
    if not vocabulary.is_hybrid:
        everything = {"starts": np.zeros(1, np.int64), "reverse": np.zeros(1, bool)}
        rows = windows(vocabulary, bases, **everything, width_bp=bases.size, max_tokens=bases.size + 1)
        n = int(np.count_nonzero(rows[0])) - 1
        return rows[0][0, 1 : n + 1].copy(), rows[1][0, 1 : n + 1].copy()
    n = kernels.tokenize(np.ascontiguousarray(bases), vocabulary.eight_index, ids, repeat)
    return ids[:n].copy(), repeat[:n].copy()


def decode(vocabulary: Vocabulary, ids: Integer[np.ndarray, "L"]) -> UInt8[np.ndarray, "P"]:
    """Base codes of token ids; [PAD], [CLS] and [SEP] cover no bases.

    Raises:
        ValueError: for an id outside the vocabulary, and for [MASK], whose bases are not known.
    """
    tokens = spans(vocabulary, ids)
    if np.any(ids == MASK):
        where = int(np.flatnonzero(ids == MASK)[0])
        raise ValueError(f"the token at {where} is [MASK]: its bases are not known, fill it before decoding")
    out = np.full(int(tokens[-1, 1]) if ids.size else 0, UNKNOWN, dtype=np.uint8)
    if not vocabulary.is_hybrid:
        bases = vocabulary.token_bases[ids]
        rows, columns = np.nonzero(bases >= 0)
        out[tokens[rows, 0] + columns] = bases[rows, columns]
        return out
    groups = ((FIRST_BASE, FIRST_SIX, 1), (FIRST_SIX, FIRST_EIGHT, 6), (FIRST_EIGHT, vocabulary.size, 8))
    for low, high, k in groups:
        at = np.flatnonzero((ids >= low) & (ids < high))
        codes = ids[at].astype(np.int64) - low
        if k == 8:
            codes = vocabulary.eight_mers[codes].astype(np.int64)
        out[tokens[at, :1] + np.arange(k)[None, :]] = kmer_digits(codes, k)
    return out


def spans(vocabulary: Vocabulary, ids: Integer[np.ndarray, "L"]) -> Int64[np.ndarray, "L 2"]:
    """Base-pair spans (start, end) of tokens, half-open; they tile the sequence. Specials span nothing.

    Raises:
        ValueError: for an id outside the vocabulary.
    """
    bad = np.flatnonzero((ids < 0) | (ids >= vocabulary.size))
    if bad.size:
        raise ValueError(
            f"token id {int(ids[bad[0]])} at {int(bad[0])} is not one of the {vocabulary.size} of vocabulary "
            f"{vocabulary.fingerprint}: was it made with another one?"
        )
    ends = np.cumsum(vocabulary.token_bp[ids], dtype=np.int64)
    return np.stack((np.concatenate((np.zeros(1, dtype=np.int64), ends))[:-1], ends), axis=1)


def windows(
    vocabulary: Vocabulary,
    bases: UInt8[np.ndarray, "P"],
    *,
    starts: Int64[np.ndarray, "B"],
    reverse: Bool[np.ndarray, "B"],
    width_bp: int,
    max_tokens: int,
) -> tuple[Int32[np.ndarray, "B L"], Float32[np.ndarray, "B L"], int]:
    """Tokens of windows read straight from a (memory-mapped) array of bases with their repeat bit.

    A reversed window is the reverse complement of the same span, tokenised from its own left end.

    Args:
        vocabulary: whose ids to give.
        bases: one byte a base.
        starts: leftmost base of each window.
        reverse: which windows to read on the reverse strand.
        width_bp: width of every window.
        max_tokens: L; [CLS] first, [PAD] behind.

    Returns:
        ids, the share of each token's bases in repeats (0 at specials), and the base pairs cut in all because a
        window had more than L - 1 tokens.

    Raises:
        ValueError: when a window reaches outside the bases or there is no room for [CLS].
    """
    if max_tokens < 1 or width_bp < 0:
        raise ValueError(f"windows of {width_bp} bp in {max_tokens} tokens: need width >= 0 and one token for [CLS]")
    outside = np.flatnonzero((starts < 0) | (starts + width_bp > bases.size))
    if outside.size:
        raise ValueError(
            f"window {int(outside[0])} covers {int(starts[outside[0]])} to {int(starts[outside[0]]) + width_bp} "
            f"but the bases end at {bases.size}"
        )
    ids = np.empty((starts.size, max_tokens), dtype=np.int32)
    repeat = np.empty((starts.size, max_tokens), dtype=np.float32)
    bases = np.ascontiguousarray(bases)  # the kernel loads eight bytes at once; a view of a memory map stays one
    match vocabulary.kind:
        case VocabularyKind.HYBRID:
            cut = kernels.tokenize_windows(bases, vocabulary.eight_index, starts, reverse, width_bp, ids, repeat)
        case VocabularyKind.BASES:
            cut = merging.single_bases(bases, starts, reverse, width_bp, ids, repeat)
        case VocabularyKind.BPE:
            cut = merging.merged(bases, merging.merge_tables(vocabulary), starts, reverse, width_bp, ids, repeat)
    return ids, repeat, int(cut)

"""What a k-mer token is made of, as a matrix: the fixed half of the model's factorised embedding.

Without it the model has to learn from its data alone that GATTAC and GATTACAG begin alike, for 8,201 rows. Columns
are aligned from both ends, so that a 6-mer and an 8-mer share what touches their neighbours. Tokens of byte-pair
encoding have the same columns: those of two to six bases count as 6-mers do, longer ones as 8-mers.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Float64, Int64

from plantgfm.tokenization.vocabulary import (
    FIRST_SIX,
    N_SPECIAL,
    PAD,
    UNKNOWN_BASE,
    Vocabulary,
)

_ALIGNED = 6  # positions described from either end
_NO_BASE = -1
# A column that only a handful of rows carry (special, N, single) would have a standard deviation near 0, and
# standardising would make those rows ten times as long as the others.
_STD_FLOOR = 0.1

N_FEATURES = 2 * _ALIGNED * 4 + 2 * (_ALIGNED - 1) * 16 + 2 * 64 + 4 + 16 + 5 + 16
"""377 columns, in this order: base one-hots at the first 6 positions (24) and at the last 6, rightmost first (24);
dinucleotide one-hots at the first 5 steps (80) and the last 5, rightmost first (80); the trinucleotide at the left (64)
and right (64) edge; base frequencies (4); dinucleotide frequencies (16); special, N, single base, 6-mer, 8-mer (5); and
for each dinucleotide whether it makes a chosen 8-mer of this 6-mer (16). The longest match wins, so that a 6-mer is
never followed by a dinucleotide that would have made an 8-mer: worth 0.01 bits per base, which is slow to learn for
4,096 rows one by one."""


def kmer_features(vocabulary: Vocabulary, *, rows: int | None = None) -> Float32[np.ndarray, "V F"]:
    """Compositional features of every token id.

    Columns have mean 0 over the tokens (all but [PAD]) and rows a mean squared norm of 1; deterministic.

    Args:
        vocabulary: V tokens.
        rows: of the result, where the model pads its vocabulary; V when None.

    Returns:
        float32 [rows, 377]; all zero at [PAD] and at padding rows.

    Raises:
        ValueError: when `rows` is smaller than the vocabulary.
    """
    total = vocabulary.size if rows is None else rows
    if total < vocabulary.size:
        raise ValueError(f"rows={total} is fewer than the {vocabulary.size} tokens of the vocabulary")
    left = vocabulary.token_bases.astype(np.int64)
    widths = (left >= 0).sum(axis=1)  # known bases
    raw = np.concatenate((_composition(left, widths), _kinds(vocabulary), _continuations(vocabulary)), axis=1)
    tokens = raw[PAD + 1 :]
    centred = (tokens - tokens.mean(axis=0)) / np.maximum(tokens.std(axis=0), _STD_FLOOR)
    features = np.zeros((total, raw.shape[1]), dtype=np.float32)
    features[PAD + 1 : vocabulary.size] = centred / np.sqrt((centred**2).sum(axis=1).mean())
    return features


def _composition(
    left: Int64[np.ndarray, "V widest"], widths: Int64[np.ndarray, "V"]
) -> Float64[np.ndarray, "V columns"]:
    """One-hots from both ends and frequencies, in the order that `N_FEATURES` tells."""
    left = np.pad(left, ((0, 0), (0, max(0, _ALIGNED - left.shape[1]))), constant_values=_NO_BASE)
    total = left.shape[1]
    columns = np.arange(total)[None, :]
    reverse = np.take_along_axis(left, (widths[:, None] - 1 - columns) % total, 1)
    right = np.where(columns < widths[:, None], reverse, -1)
    twos = _words(left, 2)
    reading_right = _words(right, 2, reverse=True)
    parts = [_one_hot(left[:, :_ALIGNED], 4), _one_hot(right[:, :_ALIGNED], 4)]
    parts += [_one_hot(twos[:, : _ALIGNED - 1], 16), _one_hot(reading_right[:, : _ALIGNED - 1], 16)]
    parts += [_one_hot(_words(left, 3)[:, :1], 64), _one_hot(_words(right, 3, reverse=True)[:, :1], 64)]
    for words, kinds in ((left, 4), (twos, 16)):
        counts = _one_hot(words, kinds).reshape(len(words), -1, kinds).sum(axis=1)
        parts.append(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    return np.concatenate(parts, axis=1)


def _words(bases: Int64[np.ndarray, "V n"], k: int, *, reverse: bool = False) -> Int64[np.ndarray, "V m"]:
    """Codes of the k neighbouring bases at each step, -1 where one is missing; `reverse` for right-aligned bases."""
    steps = np.lib.stride_tricks.sliding_window_view(bases, k, axis=1)
    digits = steps[..., ::-1] if reverse else steps
    codes = digits @ (4 ** np.arange(k - 1, -1, -1, dtype=np.int64))
    return np.where((steps >= 0).all(axis=2), codes, _NO_BASE)


def _one_hot(words: Int64[np.ndarray, "V n"], kinds: int) -> Float64[np.ndarray, "V columns"]:
    return (words[:, :, None] == np.arange(kinds)[None, None, :]).reshape(len(words), -1).astype(np.float64)


def _kinds(vocabulary: Vocabulary) -> Float64[np.ndarray, "V 5"]:
    """Indicators of special, N, single base, up to six bases, more."""
    ids = np.arange(vocabulary.size)
    kind = np.searchsorted(np.array([0, N_SPECIAL, UNKNOWN_BASE + 1]), ids, side="right") - 1
    kind += (vocabulary.token_bp > 1).astype(kind.dtype) + (vocabulary.token_bp > _ALIGNED)
    return (kind[:, None] == np.arange(5)[None, :]).astype(np.float64)


def _continuations(vocabulary: Vocabulary) -> Float64[np.ndarray, "V 16"]:
    """For every 6-mer, the dinucleotides behind it that would have made a chosen 8-mer."""
    longer = np.zeros((vocabulary.size, 16))
    if not vocabulary.is_hybrid:
        return longer
    longer[FIRST_SIX + vocabulary.eight_mers // 16, vocabulary.eight_mers % 16] = 1.0
    return longer

"""The positions that are scored, and what is visible around each of them.

Scored are masked tokens of 6 or 8 bases that a token of 6 or 8 bases follows: where fewer bases are left (ends of a
window, next to N), the tokenizer falls back to shorter tokens for reasons that no context tells, so such positions are
left out for every predictor alike and counted. In vocabularies of other kinds every masked token of known bases is
scored, and what is visible around it is not looked up: the baselines that read it know 6- and 8-mers only.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64
from numba import njit

from plantgfm.tokenization.vocabulary import FIRST_BASE, FIRST_EIGHT, FIRST_SIX, Vocabulary

CONTEXT_BP = 12
"""Visible bases kept on each side: more than any order needs."""


@dataclass(frozen=True, eq=False)
class Positions:
    """Scored tokens, one row each, with the bases that are visible without a gap on either side."""

    window: Int32[np.ndarray, "N"]  # row of the token table
    slot: Int32[np.ndarray, "N"]  # column of the slot table
    token: Int32[np.ndarray, "N"]  # the id to predict
    code: Int64[np.ndarray, "N"]  # its bases as two-bit digits, -1 in vocabularies of other kinds
    bp: Int64[np.ndarray, "N"]  # 6 or 8
    repeat_fraction: Float32[np.ndarray, "N"]
    left: Int64[np.ndarray, "N"]  # visible bases before it, the nearest in the lowest two bits
    left_bp: Int64[np.ndarray, "N"]
    left_six: Int64[np.ndarray, "N"]  # code of the token before it where that is a visible 6-mer, else -1
    right: Int64[np.ndarray, "N"]  # complements of the visible bases after it, the nearest in the lowest two bits
    right_bp: Int64[np.ndarray, "N"]
    left_out: int  # masked tokens that are not scored, see above

    def __len__(self) -> int:
        return int(self.token.size)


def take(positions: Positions, rows: Int64[np.ndarray, "K"]) -> Positions:
    """Some of the rows."""
    arrays = {f.name: getattr(positions, f.name)[rows] for f in fields(positions) if f.name != "left_out"}
    return Positions(**arrays, left_out=positions.left_out)


def token_codes(vocabulary: Vocabulary) -> Int64[np.ndarray, "V"]:
    """The bases of each id as two-bit digits; -1 where an id has no known bases, and in vocabularies of other kinds."""
    codes = np.full(vocabulary.size, -1, dtype=np.int64)
    if not vocabulary.is_hybrid:
        return codes
    codes[FIRST_BASE:FIRST_SIX] = np.arange(4)
    codes[FIRST_SIX:FIRST_EIGHT] = np.arange(4**6)
    codes[FIRST_EIGHT:] = vocabulary.eight_mers
    return codes


def find_positions(
    tokens: Int32[np.ndarray, "B L"],
    repeat_fraction: Float32[np.ndarray, "B L"],
    *,
    slots: Int32[np.ndarray, "B M"],
    valid: Bool[np.ndarray, "B M"],
    vocabulary: Vocabulary,
) -> Positions:
    """The scored positions of masked windows.

    Args:
        tokens: before masking.
        repeat_fraction: share of each token's bases in repeats.
        slots: columns of `tokens` that become [MASK].
        valid: which slots hold a position; the others are padding.
        vocabulary: of the tokens.
    """
    rows, columns = np.nonzero(valid)
    at = slots[rows, columns]
    masked = np.zeros(tokens.shape, dtype=bool)
    masked[rows, at] = True
    following = np.append(tokens, np.zeros((len(tokens), 1), tokens.dtype), axis=1)[rows, at + 1]
    scored = tokens[rows, at] >= FIRST_BASE
    if vocabulary.is_hybrid:
        scored = (tokens[rows, at] >= FIRST_SIX) & (following >= FIRST_SIX)
    rows, columns, at = rows[scored], columns[scored], at[scored]
    codes, widths = token_codes(vocabulary), vocabulary.token_bp.astype(np.int64)
    context = np.zeros((5, rows.size), dtype=np.int64)
    _look_around(tokens, masked, rows, at.astype(np.int64), codes, widths, context)
    token = tokens[rows, at]
    return Positions(
        window=rows.astype(np.int32),
        slot=columns.astype(np.int32),
        token=token,
        code=codes[token],
        bp=widths[token],
        repeat_fraction=repeat_fraction[rows, at],
        left=context[0],
        left_bp=context[1],
        left_six=context[2],
        right=context[3],
        right_bp=context[4],
        left_out=int(scored.size - scored.sum()),
    )


@njit(cache=True, nogil=True)
@no_type_check
def _look_around(tokens, masked, rows, columns, codes, widths, out):
    for i in range(rows.size):
        row, column = rows[i], columns[i]
        left, left_bp, j = 0, 0, column - 1
        while j >= 0 and not masked[row, j] and codes[tokens[row, j]] >= 0 and left_bp < CONTEXT_BP:
            code, width = codes[tokens[row, j]], widths[tokens[row, j]]
            for k in range(min(width, CONTEXT_BP - left_bp)):
                left |= ((code >> 2 * k) & 3) << 2 * left_bp
                left_bp += 1
            j -= 1
        right, right_bp, j = 0, 0, column + 1
        while j < tokens.shape[1] and not masked[row, j] and codes[tokens[row, j]] >= 0 and right_bp < CONTEXT_BP:
            code, width = codes[tokens[row, j]], widths[tokens[row, j]]
            for k in range(min(width, CONTEXT_BP - right_bp)):
                right |= (3 - ((code >> 2 * (width - 1 - k)) & 3)) << 2 * right_bp
                right_bp += 1
            j += 1
        before = tokens[row, column - 1] if column > 0 else 0
        six = column > 0 and not masked[row, column - 1] and codes[before] >= 0 and widths[before] == 6
        out[0, i], out[1, i], out[3, i], out[4, i] = left, left_bp, right, right_bp
        out[2, i] = codes[before] if six else -1

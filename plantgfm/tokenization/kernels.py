"""Compiled tokenization: greedy longest match from the left, eight bases in one machine word.

A base is one byte (code 0 to 4, repeat bit 8), so eight bases are one 64-bit load. The two-bit code of an 8-mer falls
out of that word by three shift-and-or folds, unknown bases and repeat bits by one mask each; the reverse strand is the
same word with its bytes swapped and its codes complemented. There is one dependent step a token instead of one a base,
which is what makes this about as quick as a bare rolling two-bit loop. The masks assume a little-endian machine (x86-64
and ARM64 are).

The kernels trust their arguments: `plantgfm.tokenization.encode` checks them. They are serial and release the GIL.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from plantgfm.tokenization.vocabulary import CLS, FIRST_BASE, FIRST_SIX, PAD, UNKNOWN_BASE

_U = np.uint64
_CODES = _U(0x0303030303030303)
_UNKNOWN = _U(0x0404040404040404)
_REPEAT = _U(0x0808080808080808)
_SIX_BYTES = _U(0x0000FFFFFFFFFFFF)
_ONES = _U(0x0101010101010101)
_PAIRS = _U(0x000F000F000F000F)
_FOURS = _U(0x000000FF000000FF)
_EIGHTH = np.float32(1 / 8)
_SIXTH = np.float32(1 / 6)


# `no_type_check` keeps the run-time type checker of the tests out of functions that numba compiles.
@intrinsic
@no_type_check
def _load(typing_context, bases, position):
    """The eight bytes at a position as one uint64; no bounds check."""

    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.gep(array.data, [arguments[1]], inbounds=True)
        word = builder.load(builder.bitcast(pointer, ir.PointerType(ir.IntType(64))))
        word.align = 1
        return word

    return types.uint64(bases, types.int64), generate


@intrinsic
@no_type_check
def _swap_bytes(typing_context, word):
    """A uint64 with its bytes in reverse order."""

    def generate(context, builder, signature, arguments):
        return builder.bswap(arguments[0])

    return types.uint64(types.uint64), generate


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _padded(bases, start, stop):
    """The fewer than eight bytes of [start, stop) as one word whose other bytes are unknown bases."""
    word = _UNKNOWN << _U(8) * _U(stop - start)
    for i in range(stop - start):
        word |= _U(bases[start + i]) << _U(8 * i)
    return word


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _eight_code(word):
    """The two-bit code of eight known bases, the lowest byte first."""
    pairs = word & _CODES
    pairs = ((pairs << _U(2)) | (pairs >> _U(8))) & _PAIRS
    fours = ((pairs << _U(4)) | (pairs >> _U(16))) & _FOURS
    return ((fours << _U(8)) | (fours >> _U(32))) & _U(0xFFFF)


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _repeat_count(word):
    """How many of the bytes carry the repeat bit."""
    return np.float32((((word & _REPEAT) >> _U(3)) * _ONES) >> _U(56))


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _token(word, eight_index):
    """The token that starts a word: its id, its width in base pairs, the share of its bases in repeats."""
    unknown = word & _UNKNOWN
    if unknown & _SIX_BYTES == 0:
        code = _eight_code(word)
        eight = eight_index[code]
        if eight >= 0 and unknown == 0:
            return np.int32(eight), 8, _repeat_count(word) * _EIGHTH
        return np.int32(FIRST_SIX + np.int64(code >> _U(4))), 6, _repeat_count(word & _SIX_BYTES) * _SIXTH
    base = np.int64(word & _U(7))
    single = FIRST_BASE + base if base < 4 else UNKNOWN_BASE
    return np.int32(single), 1, np.float32((word >> _U(3)) & _U(1))


@njit(cache=True, nogil=True)
@no_type_check
def _fill(bases, start, stop, reverse, eight_index, ids, repeat, first):
    """Tokens of one window into a row from column `first` on: (columns filled, base pairs read)."""
    n, read, limit = first, 0, ids.size
    width = stop - start
    while read <= width - 8 and n < limit:
        if reverse:
            word = _swap_bytes(_load(bases, stop - 8 - read)) ^ _CODES
        else:
            word = _load(bases, start + read)
        ids[n], bp, repeat[n] = _token(word, eight_index)
        read += bp
        n += 1
    while read < width and n < limit:
        if reverse:
            # The last bases lie at the left end; swapping moves the padding to the front, shifting drops it.
            word = _swap_bytes(_padded(bases, start, stop - read)) >> _U(8) * _U(8 - (width - read))
            word = (word ^ _CODES) | (_UNKNOWN << _U(8) * _U(width - read))
        else:
            word = _padded(bases, start + read, stop)
        ids[n], bp, repeat[n] = _token(word, eight_index)
        read += bp
        n += 1
    return n, read


@njit(cache=True, nogil=True)
@no_type_check
def tokenize(bases, eight_index, ids, repeat):
    """Tokenise a whole sequence.

    Args:
        bases: uint8 [P], base codes with their repeat bit.
        eight_index: int32 [65536], id of each 8-mer code or -1.
        ids: int32 [P] or shorter, filled with token ids from the start.
        repeat: float32, as long as `ids`, filled with the share of each token's bases that lie in repeats.

    Returns:
        Number of tokens written.
    """
    filled, _ = _fill(bases, 0, bases.size, False, eight_index, ids, repeat, 0)
    return filled


@njit(cache=True, nogil=True)
@no_type_check
def tokenize_windows(bases, eight_index, starts, reverse, width_bp, ids, repeat):
    """Tokenise windows of a large array, each read on its strand, with [CLS] first and [PAD] behind.

    Args:
        bases: uint8 [P], base codes with their repeat bit.
        eight_index: int32 [65536], id of each 8-mer code or -1.
        starts: int64 [B], leftmost base of each window, whichever its strand.
        reverse: bool [B], True reads right to left and complements.
        width_bp: width of every window.
        ids: int32 [B, L], filled.
        repeat: float32 [B, L], filled; 0 at [CLS] and [PAD].

    Returns:
        Base pairs cut because a window had more tokens than columns, over all windows.
    """
    cut = 0
    for row in range(starts.size):
        start = starts[row]
        ids[row, 0] = CLS
        repeat[row, 0] = 0
        filled, read = _fill(bases, start, start + width_bp, reverse[row], eight_index, ids[row], repeat[row], 1)
        ids[row, filled:] = PAD
        repeat[row, filled:] = 0
        cut += width_bp - read
    return cut

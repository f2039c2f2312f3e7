"""Digests of a sequence and of its other strand, by which equal sequences and reverse complements are told.

What is hashed (SHA-256) is two bits a base, a bit a base where a block holds unknown ones, and the length: a quarter of
the bytes, which is what hashing costs.
"""

from __future__ import annotations

import hashlib
from typing import no_type_check

import numpy as np
from jaxtyping import UInt8
from numba import njit

from plantgfm.sequence import BASE_MASK
from plantgfm.sketch import pack_eight, turn_word

_WORD_BP = 32
_CHUNK_BP = 1 << 20  # whole words
_U = np.uint64


def strand_digests(codes: UInt8[np.ndarray, "P"]) -> tuple[str, str]:
    """Digest of a sequence and digest of its reverse complement, in hexadecimal; the repeat bit is ignored."""
    codes = np.ascontiguousarray(codes)
    return _digest(codes, False), _digest(codes, True)


def _digest(codes: UInt8[np.ndarray, "P"], turned: bool) -> str:
    digest, marked = hashlib.sha256(), bytearray()
    for start in range(0, codes.size, _CHUNK_BP):
        end = min(start + _CHUNK_BP, codes.size)
        part = codes[codes.size - end : codes.size - start] if turned else codes[start:end]
        words = np.empty(-(-part.size // _WORD_BP), dtype=np.uint64)
        unknown = np.zeros(words.size, dtype=np.uint32)
        marked.append(_pack(part, turned, words, unknown))
        digest.update(words)
        if marked[-1]:
            digest.update(unknown)
    digest.update(marked + codes.size.to_bytes(8, "little"))
    return digest.hexdigest()


@njit(cache=True, nogil=True)
@no_type_check
def _pack(codes, turned, words, unknown):
    """Fills in the words of a sequence, or of its reverse complement; returns whether a base of it is unknown."""
    some, full, rest = False, codes.size // 32, codes.size % 32
    eights = codes[rest * turned : rest * turned + 32 * full].view(np.uint64)
    for j in range(full):
        at = 4 * (full - 1 - j if turned else j)
        a, b, c, d = eights[at], eights[at + 1], eights[at + 2], eights[at + 3]
        word = pack_eight(a) << _U(48) | pack_eight(b) << _U(32) | pack_eight(c) << _U(16) | pack_eight(d)
        words[j] = turn_word(word) if turned else word
        if (a | b | c | d) & _U(0x0404040404040404):
            begin = rest + 8 * at if turned else 8 * at
            words[j], unknown[j] = _pack_word(codes[begin : begin + 32], turned)
            some = True
    if rest:
        words[full], unknown[full] = _pack_word(codes[:rest] if turned else codes[32 * full :], turned)
        some |= unknown[full] != 0
    return some


@njit(cache=True, nogil=True)
@no_type_check
def _pack_word(codes, turned):
    """A word of at most 32 bases, those unknown as zeros, and a bit for each that is unknown."""
    word, unknown = _U(0), np.uint32(0)
    for i in range(codes.size):
        code = codes[codes.size - 1 - i if turned else i] & BASE_MASK
        word, unknown = word << _U(2), np.uint32(unknown << np.uint32(1))
        if code > 3:
            unknown |= np.uint32(1)
        else:
            word |= _U(3 - code if turned else code)
    return word, unknown

"""Keyed randomness: a seed, a named stream and two counters give 64 bits, a uniform number or an order; no state."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Int64, UInt64
from numba import njit, uint64

# One stream for each use, so that no two uses share their bits.
STREAM_ORDER = 1
STREAM_THIN = 2
STREAM_JITTER = 3
STREAM_PAIR = 4
STREAM_BLOCK = 5
STREAM_SIDE = 6
STREAM_HELD_OUT = 7
STREAM_STRAND = 8
STREAM_TURNS = 9


@njit(cache=True, nogil=True)
@no_type_check
def mix(value):
    """The finaliser of splitmix64 (Steele et al. 2014, doi:10.1145/2660193.2660195)."""
    value = uint64(value) + uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> uint64(27))) * uint64(0x94D049BB133111EB)
    return value ^ (value >> uint64(31))


@njit(cache=True, nogil=True)
@no_type_check
def hash64(seed, stream, first, second):
    """64 bits of a seed, a stream and two counters."""
    return mix(mix(mix(mix(uint64(seed)) ^ uint64(stream)) ^ uint64(first)) ^ uint64(second))


@njit(cache=True, nogil=True)
@no_type_check
def unit(bits):
    """A float64 in [0, 1) of 64 bits."""
    return float(bits >> uint64(11)) * (1.0 / 9007199254740992.0)


@njit(cache=True, nogil=True)
@no_type_check
def _fill(seed, stream, counter, out):
    for index in range(out.size):
        out[index] = hash64(seed, stream, counter, index)


@njit(cache=True, nogil=True)
@no_type_check
def _draw(seed, stream, first, second):
    return unit(hash64(seed, stream, first, second))


def hashes(size: int, *, seed: int, stream: int, counter: int) -> UInt64[np.ndarray, "n"]:
    """64 bits for each of 0 to size - 1."""
    out = np.empty(size, dtype=np.uint64)
    _fill(seed, stream, counter, out)
    return out


def permutation(size: int, *, seed: int, stream: int, counter: int) -> Int64[np.ndarray, "n"]:
    """An order of 0 to size - 1, drawn by the key."""
    return np.argsort(hashes(size, seed=seed, stream=stream, counter=counter), kind="stable")


def uniform(*, seed: int, stream: int, first: int, second: int) -> float:
    """A number in [0, 1), drawn by the key."""
    return _draw(seed, stream, first, second)

"""Strand-insensitive k-mer hashing and MinHash kernels, shared by curation and retrieval baselines.

A k-mer is read as the smaller of its 2-bit code and that of its reverse complement (k odd, so that no k-mer is its own
twin), hashed by the finaliser of MurmurHash3 (fmix64, Appleby, public domain). k-mers that hold an unknown base are
skipped; the repeat bit is ignored. Three sketches are made of the hashes:

* permutation signatures, bit-equal to `datasketch.MinHash(scheme="affine64")`, for its LSH (Broder 1997);
* one-permutation sketches, the minimum in each of some power of two of bins (Li, Owen and Zhang 2012), which merge by
  minimum and verify candidates;
* FracMinHash, every hash below a bound, with its place (Irber et al. 2022, doi:10.1101/2022.01.11.475838), for
  containment and for intervals.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt8, UInt32, UInt64
from numba import njit

EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
"""Value of a bin that no k-mer fell into."""

_U = np.uint64
_ONE_PERMUTATION_SEED = 1 << 31  # its own namespace of seeds, so that datasketch refuses to mix the two kinds


def _check_k(k: int) -> None:
    if not 3 <= k <= 31 or k % 2 == 0:
        raise ValueError(f"k = {k} must be odd and lie between 3 and 31")


def _check_bins(bins: int) -> int:
    if bins < 2 or bins & (bins - 1):
        raise ValueError(f"{bins} bins: the number of bins must be a power of two")
    return bins.bit_length() - 1


BLOCK = 1_024
"""Hashes at a time: they stay in the nearest cache."""


@njit(inline="always")
def mix64(value):
    """The fmix64 finaliser of MurmurHash3: a bijection of uint64."""
    value ^= value >> _U(33)
    value *= _U(0xFF51AFD7ED558CCD)
    value ^= value >> _U(33)
    value *= _U(0xC4CEB9FE1A85EC53)
    return value ^ (value >> _U(33))


@njit(inline="always")
def roll(code, forward, reverse, run, mask, shift):
    """The two strands' codes of the k-mer that ends at a base, and known bases up to it, from those of the last."""
    if code > 3:
        return _U(0), _U(0), 0
    base = _U(code)
    return ((forward << _U(2)) | base) & mask, (reverse >> _U(2)) | ((_U(3) - base) << shift), run + 1


@njit(cache=True, nogil=True)
def _roll_between(codes, first, k, both_strands, out):
    """As `kmers_at`, one base after another."""
    mask, shift = _U((1 << (2 * k)) - 1), _U(2 * (k - 1))
    forward, reverse, run = _U(0), _U(0), 0
    for i in range(max(0, first - k + 1), first + out.size):
        forward, reverse, run = roll(codes[i] & 7, forward, reverse, run, mask, shift)
        if i >= first:
            kmer = min(forward, reverse) if both_strands else forward
            out[i - first] = kmer if run >= k else EMPTY


@njit(inline="always")
def pack_eight(eight):
    """Eight base codes of a little-endian word in 16 bits, the first one on top."""
    eight &= _U(0x0303030303030303)
    eight = ((eight << _U(2)) | (eight >> _U(8))) & _U(0x000F000F000F000F)
    eight = ((eight << _U(4)) | (eight >> _U(16))) & _U(0x000000FF000000FF)
    return ((eight << _U(8)) | (eight >> _U(32))) & _U(0xFFFF)


@njit(inline="always")
def turn_word(word):
    """The reverse complement of the 32 bases of a word."""
    word = ~word
    word = ((word >> _U(2)) & _U(0x3333333333333333)) | ((word & _U(0x3333333333333333)) << _U(2))
    word = ((word >> _U(4)) & _U(0x0F0F0F0F0F0F0F0F)) | ((word & _U(0x0F0F0F0F0F0F0F0F)) << _U(4))
    word = ((word >> _U(8)) & _U(0x00FF00FF00FF00FF)) | ((word & _U(0x00FF00FF00FF00FF)) << _U(8))
    word = ((word >> _U(16)) & _U(0x0000FFFF0000FFFF)) | ((word & _U(0x0000FFFF0000FFFF)) << _U(16))
    return (word >> _U(32)) | (word << _U(32))


@njit(inline="always")
def _cut_out(words, turned, j, k, both_strands, out):
    """The k-mers that end at the 32 bases of word j + 1, given the reverse complements of words, too."""
    mask, low = _U((1 << (2 * k)) - 1), _U(2 * (33 - k))
    first, second, first_turned, second_turned = words[j] << _U(2), words[j + 1], turned[j], turned[j + 1]
    never = _U(0) if both_strands else EMPTY
    for place in range(out.size):  # of 32, which the compiler must not know: it would unroll the loop, not use vectors
        two = _U(2 * place)
        forward = (second >> (_U(62) - two)) | (first << two)
        shift = low + two
        if shift < _U(64):
            reverse = (first_turned >> shift) | (second_turned << (_U(64) - shift))
        else:  # it lies in the second word alone
            reverse = second_turned >> (shift - _U(64))
        out[place] = min(forward & mask, (reverse & mask) | never)


@njit(cache=True, nogil=True)
def kmers_at(codes, start, k, both_strands, words, out):
    """The k-mer that ends at each base from `start` on, for as many as `out` has room for; `EMPTY` where there is none.

    Where all bases are known k-mers are cut out of words of 32 bases, in vectors, else they are rolled.

    Args:
        codes: bases, contiguous, with or without the repeat bit.
        start: the first base.
        k: length of the k-mers, odd.
        both_strands: the smaller of a k-mer's code and that of its reverse complement; else the code as it is read.
        words: uint64 [2, words]; room for a word for every 32 places of `out` and one more.
        out: uint64.

    Returns:
        True where there is a k-mer at every base; False says nothing.
    """
    head = min(out.size, max(0, 32 - start))
    body, tail = (out.size - head) // 32, (out.size - head) % 32
    unknown = _U(0)
    if body:
        eights = codes[start + head - 32 : start + head + 32 * body].view(np.uint64)
        for eight in eights:
            unknown |= eight
    if not body or unknown & _U(0x0404040404040404):
        _roll_between(codes, start, k, both_strands, out)
        return False
    for j in range(body + 1):
        high = pack_eight(eights[4 * j]) << _U(48) | pack_eight(eights[4 * j + 1]) << _U(32)
        words[0, j] = high | pack_eight(eights[4 * j + 2]) << _U(16) | pack_eight(eights[4 * j + 3])
    for j in range(body + 1):
        words[1, j] = turn_word(words[0, j])
    for j in range(body):
        at = head + 32 * j
        _cut_out(words[0], words[1], j, k, both_strands, out[at : at + 32])
    if head:
        _roll_between(codes, start, k, both_strands, out[:head])
    if tail:
        _roll_between(codes, start + out.size - tail, k, both_strands, out[out.size - tail :])
    return not head and not tail


@njit(cache=True, nogil=True)
def _hashes_at(codes, start, k, words, out):
    """The hash of the canonical k-mer that ends at each base, as `kmers_at` finds them."""
    if kmers_at(codes, start, k, True, words, out):
        for i in range(out.size):  # in vectors
            out[i] = mix64(out[i])
    else:
        for i in range(out.size):
            out[i] = mix64(out[i]) if out[i] != EMPTY else EMPTY


@njit(inline="always")
def _below(hashes, bound, few, at):
    """Those of some hashes that lie at or below a bound, and their places; returns how many."""
    n = 0
    for i in range(hashes.size):
        few[n], at[n] = hashes[i], i
        n += hashes[i] <= bound
    return n


@njit(cache=True, nogil=True)
def _permute(hashes, permutations, signature):
    for p in range(signature.size):
        factor, term, least = permutations[0, p], permutations[1, p], signature[p]
        for i in range(hashes.size):
            least = min(least, factor * hashes[i] + term)
        signature[p] = least


@njit(cache=True, nogil=True)
def _survey(codes, k, bins, windows, window_bp, permutations, bounds, signature, hashes, places):
    """One pass over the bases fills every sketch that has room; returns how many hashes lie at or below a bound.

    `bounds` are that of the signature's hashes and that of `hashes`; `permutations` are factors and terms.
    """
    drop, window_drop = _U(65 - _bits(bins.size)), _U(65 - _bits(windows.shape[1]))
    block, few, at = np.empty(BLOCK, dtype=np.uint64), np.empty(BLOCK, dtype=np.uint64), np.empty(BLOCK, dtype=np.int64)
    words = np.empty((2, BLOCK // 32 + 1), dtype=np.uint64)
    found, start, top = 0, 0, bounds.max()
    while start < codes.size:
        window, into = start // window_bp, start % window_bp
        here = block[: min(BLOCK, window_bp - into, codes.size - start)]
        _hashes_at(codes, start, k, words, here)
        if bins.size:
            for i in range(here.size):
                if here[i] < bins[here[i] >> drop]:
                    bins[here[i] >> drop] = here[i]
        if windows.size:
            row = windows[window]
            for i in range(max(0, k - 1 - into), here.size):  # no k-mer crosses a border
                row[here[i] >> window_drop] = min(row[here[i] >> window_drop], here[i])
        if top:
            n = _below(here, top, few, at)
            for i in range(n if bounds[1] else 0):
                if few[i] <= bounds[1]:
                    if found < hashes.size:
                        hashes[found], places[found] = few[i], start + at[i] - k + 1
                    found += 1
            n = _below(few[:n], bounds[0], few, at) if bounds[0] < top else n
            _permute(few[:n], permutations, signature)
        start += here.size
    return found


@njit(inline="always")
def _bits(size):
    """Bits of a number, 1 for a power of two of 1 (bins are counted by shifts)."""
    n = 0
    while size:
        n, size = n + 1, size >> 1
    return max(n, 2)


@njit(cache=True, nogil=True)
def _densify(rows):
    for row in rows:
        filled = row != EMPTY
        if filled.all() or not filled.any():
            continue
        for i in np.flatnonzero(~filled):
            attempt = _U(0)
            j = i
            while not filled[j]:
                attempt += _U(1)
                j = np.int64(mix64((_U(i) << _U(32)) | attempt) % _U(row.size))
            row[i] = row[j]


@njit(cache=True, nogil=True)
def _agreement(a, b):
    same, seen = 0, 0
    for i in range(a.size):
        if a[i] != b[i]:
            seen += 1
        elif a[i] != EMPTY:
            same += 1
            seen += 1
    return same, seen


def canonical_kmers(codes: UInt8[np.ndarray, "P"], k: int) -> UInt64[np.ndarray, "places"]:
    """The 2-bit code of the canonical k-mer at each of the P - k + 1 places; `EMPTY` where it holds an unknown base."""
    _check_k(k)
    out = np.empty(max(0, codes.size - k + 1), dtype=np.uint64)
    words = np.empty((2, out.size // 32 + 1), dtype=np.uint64)
    kmers_at(np.ascontiguousarray(codes), k - 1, k, True, words, out)
    return out


@dataclass(frozen=True)
class Survey:
    """Every sketch of one sequence that a pass over it yields; empty arrays for those not asked for."""

    bins: UInt64[np.ndarray, "bins"]
    windows: UInt64[np.ndarray, "windows window_bins"]
    signature: UInt64[np.ndarray, "slots"]
    hashes: UInt64[np.ndarray, "hashes"]
    places: Int64[np.ndarray, "hashes"]


def survey(
    codes: UInt8[np.ndarray, "P"],
    *,
    k: int,
    bins: int = 0,
    window_bins: int = 0,
    window_bp: int = 0,
    permutations: int = 0,
    seed: int = 0,
    scaled: int = 0,
    signature_scaled: int = 1,
) -> Survey:
    """All sketches of a sequence in one pass, each equal to that of the function that makes it alone.

    Args:
        codes: bases, with or without the repeat bit.
        k: length of the k-mers, odd.
        bins: of `one_permutation`.
        window_bins: of `window_sketches`.
        window_bp: of `window_sketches`.
        permutations: of `minhash`.
        seed: of `minhash`.
        scaled: of `fraction`.
        signature_scaled: the signature is that of the hashes below 2**64 / signature_scaled alone, a fair share of all.
    """
    _check_k(k)
    for number in filter(None, (bins, window_bins)):
        _check_bins(number)
    row = np.full(bins, EMPTY)
    windows = np.full((max(1, -(-codes.size // window_bp)) if window_bins else 0, window_bins or 2), EMPTY)
    signature, factors_and_terms = np.full(permutations, EMPTY), _permutations(permutations, seed)
    asked = signature_scaled if permutations else 0, scaled
    bounds = np.array([_bound(one) if one else 0 for one in asked], dtype=np.uint64)
    room = 64 + int(1.5 * codes.size / scaled) if scaled else 0
    codes = np.ascontiguousarray(codes)
    while True:
        hashes, places = np.empty(room, dtype=np.uint64), np.empty(room, dtype=np.int64)
        every = window_bp if window_bins else max(1, codes.size)
        found = _survey(codes, k, row, windows, every, factors_and_terms, bounds, signature, hashes, places)
        if found <= room:
            return Survey(row, windows, signature, hashes[:found].copy(), places[:found].copy())
        room = found


def _bound(scaled: int) -> np.uint64:
    return _U(min((1 << 64) // scaled, (1 << 64) - 1) - 1)  # below `EMPTY`


@lru_cache(maxsize=8)
def _permutations(permutations: int, seed: int) -> UInt64[np.ndarray, "2 slots"]:
    """Factors and terms of datasketch's permutations."""
    if not permutations:
        return np.empty((2, 0), dtype=np.uint64)
    from datasketch import MinHash  # not needed to train, where it may be absent

    found = MinHash(num_perm=permutations, seed=seed, scheme="affine64", hashfunc=int).permutations
    return np.array(found, dtype=np.uint64)


def minhash(codes: UInt8[np.ndarray, "P"], *, k: int, permutations: int, seed: int) -> UInt64[np.ndarray, "slots"]:
    """A permutation signature, bit-equal to datasketch's affine64 MinHash of the canonical k-mer codes.

    (That scheme applies fmix64 itself, so codes go in and no hash of them.)

    All slots are `EMPTY` where the sequence holds no k-mer. Signatures of parts merge by the minimum of each slot.
    """
    return survey(codes, k=k, permutations=permutations, seed=seed).signature


def as_datasketch(signature: UInt64[np.ndarray, "slots"], *, seed: int) -> Any:
    """The datasketch container of a permutation signature, ready for its LSH."""
    from datasketch import LeanMinHash

    return LeanMinHash(seed=seed, hashvalues=signature, scheme="affine64")


def one_permutation_as_datasketch(sketch: UInt64[np.ndarray, "bins"], *, seed: int) -> Any:
    """The datasketch container of a one-permutation sketch, under a seed that permutation signatures never have."""
    from datasketch import LeanMinHash

    return LeanMinHash(seed=_ONE_PERMUTATION_SEED + seed, hashvalues=sketch, scheme="affine64")


def one_permutation(codes: UInt8[np.ndarray, "P"], *, k: int, bins: int) -> UInt64[np.ndarray, "bins"]:
    """The smallest hash in each bin of the whole sequence, `EMPTY` where there is none."""
    return survey(codes, k=k, bins=bins).bins


def window_sketches(
    codes: UInt8[np.ndarray, "P"], *, k: int, bins: int, window_bp: int
) -> UInt64[np.ndarray, "windows bins"]:
    """One-permutation sketches of consecutive windows; the last may be short, and k-mers never cross a border."""
    return survey(codes, k=k, window_bins=bins, window_bp=window_bp).windows


def densify(sketches: UInt64[np.ndarray, "rows bins"]) -> UInt64[np.ndarray, "rows bins"]:
    """Fill empty bins from hashed other bins of the row (Shrivastava 2017), so that slots can be banded.

    Rows without any hash stay empty.
    """
    filled = np.array(sketches, dtype=np.uint64, ndmin=2)
    _densify(filled)
    return filled


def fraction(
    codes: UInt8[np.ndarray, "P"], *, k: int, scaled: int
) -> tuple[UInt64[np.ndarray, "hashes"], Int64[np.ndarray, "hashes"]]:
    """FracMinHash: each hash below 2**64 / scaled in order of place, and the 0-based start of its k-mer."""
    found = survey(codes, k=k, scaled=scaled)
    return found.hashes, found.places


def distinct(values: list[UInt64[np.ndarray, "n"]]) -> UInt64[np.ndarray, "distinct"]:
    """Sorted distinct values of several arrays; quicker than numpy's own where most values differ."""
    joined = np.sort(np.concatenate([np.empty(0, dtype=np.uint64), *values]))
    return joined[np.concatenate((np.ones(min(1, joined.size), dtype=bool), joined[1:] != joined[:-1]))]


def jaccard(a: UInt64[np.ndarray, "bins"], b: UInt64[np.ndarray, "bins"]) -> float:
    """Jaccard index that two undensified sketches estimate: equal bins over bins that either fills; 0 for none."""
    same, seen = _agreement(a, b)
    return same / seen if seen else 0.0


def jaccard_of_identity(identity: float, k: int) -> float:
    """Expected Jaccard index of the k-mers of two sequences of a nucleotide identity: 1 / (2 e^(k (1 - identity)) - 1).

    The relation of Mash (Ondov et al. 2016, doi:10.1186/s13059-016-0997-x), solved for the index.
    """
    if not 0 < identity <= 1:
        raise ValueError(f"identity = {identity} must lie in (0, 1]")
    return 1.0 / (2.0 * math.exp(k * (1.0 - identity)) - 1.0)


def identity_of_jaccard(index: float, k: int) -> float:
    """Nucleotide identity for a Jaccard index of k-mers, 1 - Mash distance; 0 for an index of 0."""
    return max(0.0, 1.0 + math.log(2.0 * index / (1.0 + index)) / k) if index > 0 else 0.0


def ring_digest(codes: UInt8[np.ndarray, "P"], *, k: int) -> str:
    """Digest of a circular sequence that depends neither on its strand nor on where it was cut open.

    It is of the sorted canonical k-mers around the ring, so that one changed base changes it. Sequences of equal k-mers
    that are not equal (an inverted part between inverted repeats longer than k, as plastids have) share one.
    """
    around = np.concatenate([codes, codes[: k - 1]])
    return hashlib.sha256(np.sort(canonical_kmers(around, k)).tobytes()).hexdigest()


def identity_of_containment(share: float, k: int) -> float:
    """Nucleotide identity for the share of k-mers found in another sequence: share ** (1 / k)."""
    return share ** (1.0 / k) if share > 0 else 0.0


def band_keys(
    sketches: UInt64[np.ndarray, "rows slots"], ranges: list[tuple[int, int]]
) -> UInt64[np.ndarray, "rows bands"]:
    """One hash per band of slots, the bands as in `datasketch.MinHashLSH.hashranges`: equal bands give equal keys."""
    keys = np.zeros((sketches.shape[0], len(ranges)), dtype=np.uint64)
    for band, (start, end) in enumerate(ranges):
        for slot in range(start, end):
            keys[:, band] = _mix_rows(keys[:, band] * _U(0x9E3779B97F4A7C15) ^ sketches[:, slot])
    return keys


@njit(cache=True, nogil=True)
def _mix_rows(values):
    return mix64(values)


def verification_sketches(
    codes: UInt8[np.ndarray, "P"], *, k: int, bins: int, window_bp: int
) -> UInt32[np.ndarray, "windows bins"]:
    """One-permutation sketches of windows in half the space: the 32 bits of each minimum below its bin number."""
    starts = np.arange(0, max(1, codes.size), window_bp)
    return verification_rows(codes, starts, k=k, bins=bins, window_bp=window_bp)


def verification_rows(
    codes: UInt8[np.ndarray, "P"], starts: Int64[np.ndarray, "chosen"], *, k: int, bins: int, window_bp: int
) -> UInt32[np.ndarray, "chosen bins"]:
    """`verification_sketches` of the windows that start at the given bases alone."""
    _check_k(k)
    narrow = np.empty((len(starts), bins), dtype=np.uint32)
    _verify(np.ascontiguousarray(codes), np.asarray(starts, dtype=np.int64), k, _check_bins(bins), window_bp, narrow)
    return narrow


@njit(cache=True, nogil=True)
def _verify(codes, starts, k, bits, window_bp, out):
    wide, block = np.empty(out.shape[1], dtype=np.uint64), np.empty(BLOCK, dtype=np.uint64)
    words = np.empty((2, BLOCK // 32 + 1), dtype=np.uint64)
    for window in range(starts.size):
        wide[:] = EMPTY
        whole = codes[starts[window] : starts[window] + window_bp]
        for start in range(0, whole.size, BLOCK):
            here = block[: min(BLOCK, whole.size - start)]
            _hashes_at(whole, start, k, words, here)
            for value in here:
                slot = value >> _U(64 - bits)
                wide[slot] = min(wide[slot], value)
        for slot in range(wide.size):
            value = np.uint32((wide[slot] << _U(bits)) >> _U(32))
            out[window, slot] = np.uint32(0xFFFFFFFF) if wide[slot] == EMPTY else value


def mash_distance(index: Float64[np.ndarray, "n"], k: int) -> Float64[np.ndarray, "n"]:
    """Mash distances -ln(2J / (1 + J)) / k of Jaccard indices; 1 where nothing is shared."""
    index = np.asarray(index, dtype=np.float64)
    with np.errstate(divide="ignore"):
        distance = -np.log(2.0 * index / (1.0 + index)) / k
    return np.minimum(1.0, distance)

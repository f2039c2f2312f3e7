"""Token frequencies of the training split: pooled, and per species shrunk to the pooled ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from plantgfm.schema import Split
from plantgfm.sequence import reverse_complement
from plantgfm.tokenization.encode import encode, windows
from plantgfm.tokenization.vocabulary import FIRST_BASE, Vocabulary

_WINDOWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Unigram:
    """Smoothed frequencies; every row sums to 1 and is 0 at specials and N, which are never scored."""

    pooled: Float64[np.ndarray, "V"]
    species: Float64[np.ndarray, "S V"]
    shrinkage_tokens: float  # weight of the pooled frequencies in a species' own

    @property
    def log_pooled(self) -> Float64[np.ndarray, "V"]:
        """Natural logarithm of the pooled frequencies, -inf where they are 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.pooled)

    @property
    def log_species(self) -> Float64[np.ndarray, "S V"]:
        """Natural logarithm of the species' frequencies, -inf where they are 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.species)


def pieces_of(corpus, split: Split, species: int | None = None) -> list[np.ndarray]:
    """The bases of every region of a split, uint8 [P] each, of one species or of all; mapped, not read."""
    regions = corpus.regions
    wanted = regions.split == int(split)
    if species is not None:
        wanted &= regions.species == species
    starts, lengths = regions.offset[wanted], regions.length_bp[wanted]
    return [corpus.bases[start : start + length] for start, length in zip(starts.tolist(), lengths.tolist())]


def count_tokens(
    pieces: Iterable[np.ndarray], vocabulary: Vocabulary, *, both_strands: bool = True
) -> Int64[np.ndarray, "V"]:
    """How often each id with known bases occurs in pieces of bases, each read from its left end on each strand."""
    counts = np.zeros(vocabulary.size, dtype=np.int64)
    for piece in pieces:
        bases = np.ascontiguousarray(piece)
        for strand in (bases, reverse_complement(bases))[: 2 if both_strands else 1]:
            counts += np.bincount(encode(vocabulary, strand), minlength=vocabulary.size)
    counts[:FIRST_BASE] = 0
    return counts


def shrink(
    counts: Float64[np.ndarray, "N V"], prior: Float64[np.ndarray, "N V"] | Float64[np.ndarray, "1 V"], mass: float
) -> Float64[np.ndarray, "N V"]:
    """Frequencies of counts with a prior worth `mass` tokens: the posterior mean under a Dirichlet."""
    return (counts + mass * prior) / (counts.sum(axis=1, keepdims=True) + mass)


def likeliest_mass(
    seen: Float64[np.ndarray, "N V"],
    counts: Float64[np.ndarray, "N V"],
    prior: Float64[np.ndarray, "N V"] | Float64[np.ndarray, "1 V"],
    *,
    grid: Sequence[float],
) -> float:
    """The prior mass of a grid under which held-out counts, `seen`, are most likely given `counts`."""
    total = counts.sum(axis=1)
    prior = np.broadcast_to(prior, counts.shape)
    rows, columns = np.nonzero(seen)
    weight, own, back = seen[rows, columns], counts[rows, columns], prior[rows, columns]
    likelihood = [(weight * np.log((own + mass * back) / (total[rows] + mass))).sum() for mass in grid]
    return float(grid[int(np.argmax(likelihood))])


def count_windows(
    corpus,
    split: Split,
    vocabulary: Vocabulary,
    *,
    window_bp: int,
    both_strands: bool = True,
    most_bp: int | None = None,
) -> Int64[np.ndarray, "S V"]:
    """How often each species' neighbouring windows of a split hold each id with known bases.

    A window ends where no k-mer fits, in single bases, about two of 255 tokens; in whole regions those are 5 to 20
    times as rare.

    Args:
        corpus: with its splits.
        split: whose regions to cut into windows; what is left over at their ends is not counted.
        vocabulary: of the tokens.
        window_bp: width of the windows; of a hybrid vocabulary tokens beyond one for every 6 bp are cut, as in a batch.
        both_strands: whether each window is read on both strands.
        most_bp: of each species, windows spread evenly over the split; None for all.
    """
    regions = corpus.regions
    counts = np.zeros((len(corpus.species), vocabulary.size), dtype=np.int64)
    for species in range(len(corpus.species)):
        mine = (regions.split == int(split)) & (regions.species == species)
        starts = _window_starts(regions.offset[mine], regions.length_bp[mine], window_bp)
        if most_bp is not None:
            starts = starts[:: max(1, -(-starts.size * window_bp // most_bp))]
        counts[species] = count_at(vocabulary, corpus.bases, starts, window_bp=window_bp, both_strands=both_strands)
    return counts


def count_at(
    vocabulary: Vocabulary,
    bases: UInt8[np.ndarray, "P"],
    starts: Int64[np.ndarray, "B"],
    *,
    window_bp: int,
    both_strands: bool = True,
) -> Int64[np.ndarray, "V"]:
    """How often windows that begin at these bases hold each id with known bases."""
    counts = np.zeros(vocabulary.size, dtype=np.int64)
    layout = {"width_bp": window_bp, "max_tokens": window_bp // (6 if vocabulary.is_hybrid else 1) + 1}
    for first in range(0, starts.size, _WINDOWS_AT_ONCE):
        rows = starts[first : first + _WINDOWS_AT_ONCE]
        for reverse in (False, True)[: 2 if both_strands else 1]:
            tokens = windows(vocabulary, bases, starts=rows, reverse=np.full(rows.size, reverse), **layout)[0]
            counts += np.bincount(tokens.ravel(), minlength=vocabulary.size)
    counts[:FIRST_BASE] = 0
    return counts


def _window_starts(offset: np.ndarray, length_bp: np.ndarray, window_bp: int) -> np.ndarray:
    """Leftmost bases of the whole windows that regions hold side by side."""
    held = length_bp // window_bp
    first = np.repeat(offset - window_bp * (np.cumsum(held) - held), held)
    return first + window_bp * np.arange(held.sum())


def fit_unigram(
    corpus,
    vocabulary: Vocabulary,
    *,
    shrinkages: Sequence[float],
    window_bp: int | None = None,
    most_bp: int | None = None,
) -> Unigram:
    """Fit on the training split, on both strands; the shrinkage is chosen on the validation split.

    Pooled frequencies are smoothed by one occurrence of every id.

    Args:
        corpus: with its splits.
        vocabulary: of the tokens.
        shrinkages: tokens that the pooled frequencies may be worth.
        window_bp: count windows of this width, where whole windows will be scored; None counts whole regions.
        most_bp: of each species that are counted in windows; None for all.
    """

    def count(split: Split, *, both_strands: bool) -> Int64[np.ndarray, "S V"]:
        if window_bp is not None:
            layout = {"window_bp": window_bp, "both_strands": both_strands, "most_bp": most_bp}
            return count_windows(corpus, split, vocabulary, **layout)
        pieces = (pieces_of(corpus, split, species) for species in range(len(corpus.species)))
        return np.stack([count_tokens(each, vocabulary, both_strands=both_strands) for each in pieces])

    counts = count(Split.TRAIN, both_strands=True)
    seen = count(Split.VALIDATION, both_strands=False)
    counts, seen = counts.astype(np.float64), seen.astype(np.float64)
    pooled = counts.sum(axis=0)
    pooled[FIRST_BASE:] += 1.0
    pooled /= pooled.sum()
    mass = likeliest_mass(seen, counts, pooled[None], grid=shrinkages)
    return Unigram(pooled, shrink(counts, pooled[None], mass), mass)

"""The floor that no model can be below on a sequence drawn from a Markov chain, and the check for it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from plantgfm.evaluation import markov_kernels as kernels
from plantgfm.evaluation.bootstrap import Estimate
from plantgfm.evaluation.held_out import HeldOut
from plantgfm.evaluation.markov import Direction, count_both_strands, fit_chain, token_nats
from plantgfm.evaluation.positions import take
from plantgfm.evaluation.unigram import pieces_of
from plantgfm.schema import Split
from plantgfm.sequence import reverse_complement
from plantgfm.tokenization.vocabulary import Vocabulary


def floor_nats(corpus, vocabulary: Vocabulary, held_out: HeldOut, *, order: int) -> Float64[np.ndarray, "N"]:
    """-ln of the probability of each scored token under its own source, both sides and the segmentation known.

    For species drawn from chains of this order, as those of the null world. A chain of each species and of each strand
    is counted on the training split: half a megabase knows the 64 contexts of order 3 to 0.0003 bits. Masked models
    see both sides of a token and where its neighbours begin and end, so this lies some hundredths of a bit a base below
    the entropy rate. Beside masked neighbours it uses less than is known and so is a little high: compare intervals.
    """
    out = np.full(len(held_out.positions), np.nan)
    strand = held_out.pairs.reverse[held_out.positions.window]
    for species in np.unique(held_out.species):
        for reverse in (False, True):
            mine = np.flatnonzero((held_out.species == species) & (strand == reverse))
            if not mine.size:
                continue
            counts = np.zeros(4 ** (order + 1), dtype=np.int32)
            for piece in pieces_of(corpus, Split.TRAIN, int(species)):
                bases = reverse_complement(piece) if reverse else np.ascontiguousarray(piece)
                kernels.count_kmers(bases, order + 1, counts)
            chain = fit_chain(counts, strengths=[], tuning=np.zeros(0, np.int64), fallback=(1.0,) * (order + 1))
            some = take(held_out.positions, mine)
            out[mine] = token_nats(chain, some, vocabulary, order=order, direction=Direction.TWO_SIDED)
    return out


def source_chain(corpus, species: int, *, order: int) -> Float64[np.ndarray, "contexts 4"]:
    """Transitions of the chain that a species of the null world was drawn from, counted on both training strands."""
    counts = count_both_strands(pieces_of(corpus, Split.TRAIN, species), order)
    chain = fit_chain(counts, strengths=[], tuning=np.zeros(0, np.int64), fallback=(1.0,) * (order + 1))
    table = chain.probabilities(order).astype(np.float64)
    return table / table.sum(axis=1, keepdims=True)


def floor_violation(estimate: Estimate, entropy_bits: float) -> float:
    """Bits per base by which a whole interval lies below the generator's entropy; 0 where it does not.

    On a simulated sequence of known entropy nothing can do better, so a positive value is a leak. The entropy for a
    masked model is that of a token given both sides: see `floor_nats`.
    """
    return max(0.0, entropy_bits - estimate.high)

"""Markov models over bases with Dirichlet back-off, and the token probabilities that they induce.

P_k(b | c) = (n(c b) + a_k P_{k-1}(b | c')) / (n(c) + a_k), c' the context without its farthest base, P_{-1} = 1/4
(the hierarchical Dirichlet of MacKay & Peto 1995, doi:10.1017/S1351324900000218). Counts are of both strands, as
training reads both; then the chain that runs right to left is this one on the reverse complement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64

from plantgfm.evaluation import markov_kernels as kernels
from plantgfm.evaluation.positions import CONTEXT_BP, Positions
from plantgfm.tokenization.vocabulary import Vocabulary


class Direction(Enum):
    """On which side of a token its context lies."""

    FORWARD = "forward"  # bases before
    BACKWARD = "backward"  # bases after
    TWO_SIDED = "two-sided"


@dataclass(frozen=True, eq=False)
class Chain:
    """A fitted back-off chain of every order from 0 to `order`."""

    order: int
    tables: Float32[np.ndarray, "T"]  # P_0, P_1, ... one behind the other, four probabilities a context
    strengths: tuple[float, ...]  # a_0, a_1, ...

    def probabilities(self, order: int) -> Float32[np.ndarray, "C 4"]:
        """P_order, one row a context: two-bit digits, the nearest base lowest."""
        first = (4 ** (order + 1) - 4) // 3
        return self.tables[first : first + 4 ** (order + 1)].reshape(-1, 4)


def count_both_strands(pieces: Iterable[np.ndarray], order: int) -> Int32[np.ndarray, "C"]:
    """Counts of (order + 1)-mers of known bases in both strands of pieces of bases, each uint8 [P]."""
    counts = np.zeros(4 ** (order + 1), dtype=np.int32)
    for piece in pieces:
        kernels.count_kmers(np.ascontiguousarray(piece), order + 1, counts)
    kernels.add_other_strand(counts, order + 1)
    return counts


def kmers(pieces: Iterable[np.ndarray], order: int, *, limit: int) -> Int64[np.ndarray, "N"]:
    """Codes of the (order + 1)-mers of pieces of bases, thinned evenly to at most `limit`, to tune strengths on."""
    found = [np.zeros(0, dtype=np.int64)]
    for piece in pieces:
        codes = np.empty(len(piece), dtype=np.int64)
        found.append(codes[: kernels.kmers_of(np.ascontiguousarray(piece), order + 1, codes)])
    codes = np.concatenate(found)
    return codes[:: max(1, -(-codes.size // limit))]


def fit_chain(
    counts: Int32[np.ndarray, "C"],
    *,
    strengths: Sequence[float],
    tuning: Int64[np.ndarray, "N"],
    fallback: tuple[float, ...] = (),
) -> Chain:
    """Build the tables of every order from the counts of the highest.

    Lower orders are sums of it, so they miss the first bases of a run of known bases; that is nothing on real input.

    Args:
        counts: of (order + 1)-mers; of both strands, for a chain that is to be read in either direction.
        strengths: grid to choose each order's strength from.
        tuning: (order + 1)-mers of held-out sequence; the strength of an order is the one under which their last bases
            are most likely, given the lower orders as chosen.
        fallback: strengths where there is no tuning sequence.

    Raises:
        ValueError: when there is neither tuning sequence nor fallback.
    """
    order = (counts.size.bit_length() - 1) // 2 - 1
    if not tuning.size and len(fallback) != order + 1:
        raise ValueError(
            f"no held-out k-mers to choose the strengths of order {order} on: give more validation sequence"
        )
    by_order = [counts]
    for _ in range(order):
        by_order.append(by_order[-1].reshape(4, -1).sum(axis=0, dtype=np.int32))
    tables = np.empty((4 ** (order + 2) - 4) // 3, dtype=np.float32)
    lower, chosen, first = np.full(1, 0.25, dtype=np.float32), [], 0
    for k, n in enumerate(reversed(by_order)):
        strength = _best_strength(n, lower, tuning, strengths) if tuning.size else fallback[k]
        out = tables[first : first + n.size]
        kernels.smooth(n, lower, strength, out)
        lower, first = out, first + n.size
        chosen.append(strength)
    return Chain(order, tables, tuple(chosen))


def _best_strength(counts: np.ndarray, lower: np.ndarray, tuning: np.ndarray, strengths: Sequence[float]) -> float:
    codes = tuning & (counts.size - 1)
    seen, backed = counts[codes].astype(np.float64), lower[codes & (lower.size - 1)].astype(np.float64)
    total = counts.reshape(-1, 4)[codes >> 2].sum(axis=1, dtype=np.float64)
    likelihood = [np.log((seen + a * backed) / (total + a)).sum() for a in strengths]
    return float(strengths[int(np.argmax(likelihood))])


def chosen_table(vocabulary: Vocabulary) -> Bool[np.ndarray, "65536"]:
    """Which 8-mer codes the vocabulary holds."""
    return vocabulary.eight_index >= 0


def token_nats(
    chain: Chain, positions: Positions, vocabulary: Vocabulary, *, order: int, direction: Direction
) -> Float64[np.ndarray, "N"]:
    """-ln of the probability that a chain gives each scored token, through the tokenizer.

    Every prediction sums to 1 over the 6-mers and chosen 8-mers, and knows that a visible 6-mer before the token was
    not read as a chosen 8-mer. Backward and two-sided ones also know where the visible bases after it begin.

    Raises:
        ValueError: for an order that the chain does not have.
    """
    if not 0 <= order <= min(chain.order, CONTEXT_BP):
        raise ValueError(f"order {order} of a chain of order {chain.order}: ask for 0 to {chain.order}")
    out = np.empty(len(positions))
    at, chosen = positions, chosen_table(vocabulary)
    eights = vocabulary.eight_mers.astype(np.int64)
    common = (chain.tables, order, chosen)
    match direction:
        case Direction.FORWARD:
            kernels.forward_nats(*common, at.code, at.bp, at.left, at.left_bp, at.left_six, out)
        case Direction.BACKWARD:
            still_six = np.empty(kernels.N_SIX)
            kernels.open_sixes(*common, still_six)
            kernels.backward_nats(*common, eights, still_six, at.code, at.bp, at.right, at.right_bp, at.left_six, out)
        case Direction.TWO_SIDED:
            context = (at.left, at.left_bp, at.left_six, at.right, at.right_bp)
            kernels.two_sided_nats(*common, eights, at.code, at.bp, *context, out)
    return out

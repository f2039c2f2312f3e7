"""What a trained arm scores on held-out windows, in sums a window, so that every figure can be found again from them.

Base intervals are hidden, not tokens: they are drawn on the windows before any tokenizer sees them, and every token
that touches one becomes [MASK]. So arms with other vocabularies and masks are asked for the same bases. Scored are the
tokens that `plantgfm.evaluation.positions` scores; their bases are the denominator.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int8

from plantgfm.ablation.config import Definition, Metric
from plantgfm.ablation.statistics import Scores
from plantgfm.corpus.read import Corpus
from plantgfm.evaluation.config import EvaluationConfig
from plantgfm.evaluation.held_out import HeldOut, Scorer
from plantgfm.evaluation.next_region import unigram_nats
from plantgfm.evaluation.positions import find_positions
from plantgfm.evaluation.unigram import fit_unigram
from plantgfm.model.build import Network
from plantgfm.sampling.batches import make_batch
from plantgfm.sampling.config import SamplerConfig
from plantgfm.sampling.evaluation_windows import EvaluationPairs, evaluation_pairs
from plantgfm.schema import Batch, Split
from plantgfm.tokenization.vocabulary import FIRST_BASE, MASK, Vocabulary

POINT, SPAN = 1, 2
_LN2 = float(np.log(2.0))
_SEED = 20_480
_MOST_BP = 24_000_000

Columns = dict[str, list]

SUMS: dict[Metric, tuple[tuple[str, ...], str]] = {
    Metric.MASKED: (("bits",), "bases"),
    Metric.MASKED_INSIDE: (("inside_bits",), "inside_bases"),
    Metric.MASKED_OUTSIDE: (("outside_bits",), "outside_bases"),
    Metric.MASKED_POINTS: (("point_bits",), "point_bases"),
    Metric.MASKED_SPANS: (("span_bits",), "span_bases"),
    Metric.NEXT: (("next_bits",), "next_bases"),
    Metric.NEXT_GAIN: (("next_unigram_bits", "-next_bits"), "next_bases"),
}
"""Columns whose sum, over the sum of another, is the metric; with a minus they are subtracted."""


def hidden_bases(n_windows: int, window_bp: int, definition: Definition) -> Int8[np.ndarray, "B P"]:
    """1 at bases hidden as single points, 2 in runs of `span_bp`, 0 elsewhere; in the order in which windows are read.

    The share of each kind is half of `hidden_share`; the draw depends on nothing but the definition and the sizes.
    """
    generator = np.random.default_rng(_SEED)
    span, share = definition.span_bp, definition.hidden_share / 2
    kinds = np.zeros((n_windows, window_bp), dtype=np.int8)
    cells = generator.random((n_windows, window_bp // span)) < share
    kinds[:, : window_bp // span * span] = np.repeat(cells, span, axis=1) * SPAN
    # A point hides the token that it lies in, some 6 bases.
    points = generator.random(kinds.shape) < share / 6
    kinds[points & (kinds == 0)] = POINT
    return kinds


def hide(
    corpus: Corpus, vocabulary: Vocabulary, sampler: SamplerConfig, definition: Definition
) -> tuple[HeldOut, Bool[np.ndarray, "N"]]:
    """The held-out windows with all tokens hidden that touch a hidden base, and which scored ones touch a span."""
    pairs = evaluation_pairs(corpus, Split.TEST, sampler, max_windows=definition.windows)
    batch = make_batch(corpus, vocabulary, pairs, sampler.window_tokens)
    kinds = hidden_bases(len(pairs), sampler.window_bp, definition)
    width = vocabulary.token_bp[batch.tokens].astype(np.int64)
    ends = np.cumsum(width, axis=1)
    touched = [_touched(kinds == kind, ends - width, ends) & (batch.tokens >= FIRST_BASE) for kind in (POINT, SPAN)]
    held_out = _held_out(pairs, batch, touched[0] | touched[1], vocabulary)
    at = held_out.positions
    return held_out, touched[1][at.window, held_out.slots[at.window, at.slot]]


def _touched(hidden: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    before = np.concatenate([np.zeros((len(hidden), 1), np.int64), np.cumsum(hidden, axis=1)], axis=1)
    rows = np.arange(len(hidden))[:, None]
    return before[rows, ends] > before[rows, starts]


def _held_out(pairs: EvaluationPairs, batch: Batch, chosen: np.ndarray, vocabulary: Vocabulary) -> HeldOut:
    n_slots = max(1, int(chosen.sum(axis=1).max()))
    slots = np.argsort(~chosen, axis=1, kind="stable")[:, :n_slots].astype(np.int32)
    valid = np.take_along_axis(chosen, slots, axis=1)
    slots = np.where(valid, slots, 0).astype(np.int32)
    return HeldOut(
        pairs=pairs,
        batch=batch,
        inputs=np.where(chosen, MASK, batch.tokens).astype(np.int32),
        slots=slots,
        slot_valid=valid,
        targets=np.take_along_axis(batch.tokens, slots, axis=1),
        positions=find_positions(batch.tokens, batch.repeat_fraction, slots=slots, valid=valid, vocabulary=vocabulary),
    )


def measure(
    network: Network,
    params: Any,
    *,
    corpus: Corpus,
    vocabulary: Vocabulary,
    sampler: SamplerConfig,
    evaluation: EvaluationConfig,
    definition: Definition,
) -> Columns:
    """Score a network; one row a held-out window.

    Args:
        network: of the arm.
        params: its parameters.
        corpus: whose test split to score.
        vocabulary: of the arm.
        sampler: of the base arm: it chooses the windows, which are the same for all arms.
        evaluation: sizes of batches, grid of shrinkages.
        definition: how many windows, what is hidden.

    Returns:
        Columns: region, species, distance_bp, and sums of bits and bases by kind (see `SUMS`), the unigrams' included.
    """
    held_out, in_span = hide(corpus, vocabulary, sampler, definition)
    scores = Scorer(network, batch_windows=evaluation.batch_windows)(params, held_out)
    unigram = fit_unigram(
        corpus, vocabulary, shrinkages=evaluation.shrinkages, window_bp=sampler.window_bp, most_bp=_MOST_BP
    )
    at, pairs = held_out.positions, held_out.pairs
    bits, bases = scores.nats / _LN2, at.bp.astype(np.float64)
    inside = at.repeat_fraction >= evaluation.repeat_threshold

    def window_sums(values: Float64[np.ndarray, "N"]) -> np.ndarray:
        return np.bincount(at.window, weights=values, minlength=len(pairs))

    columns = {"region": pairs.region, "species": pairs.species, "distance_bp": pairs.distance_bp}
    kinds = {"": np.ones_like(inside), "inside_": inside, "outside_": ~inside, "point_": ~in_span, "span_": in_span}
    for name, member in kinds.items():
        columns[f"{name}bits"], columns[f"{name}bases"] = window_sums(bits * member), window_sums(bases * member)
    columns["unigram_pooled_bits"] = window_sums(-unigram.log_pooled[at.token] / _LN2)
    columns["unigram_species_bits"] = window_sums(-unigram.log_species[held_out.species, at.token] / _LN2)
    following = held_out.batch.next_tokens
    known = following >= FIRST_BASE
    counts = known.sum(axis=1)
    columns["next_bits"] = scores.next_nats / _LN2 * counts
    columns["next_unigram_bits"] = unigram_nats(held_out, unigram.species) / _LN2 * counts
    columns["next_bases"] = np.where(known, vocabulary.token_bp[following], 0).sum(axis=1)
    return {name: [round(value, 6) for value in np.asarray(values).tolist()] for name, values in columns.items()}


def ratio_of(columns: Columns, metric: Metric) -> tuple[Float64[np.ndarray, "B"], Float64[np.ndarray, "B"]]:
    """Numerator and denominator of a metric in each window."""
    above, below = SUMS[metric]
    signs = [(-1.0, name[1:]) if name[0] == "-" else (1.0, name) for name in above]
    return sum(sign * np.asarray(columns[name], float) for sign, name in signs), np.asarray(columns[below], float)


def value_of(columns: Columns, metric: Metric, rows: np.ndarray | None = None) -> float:
    """The metric over all windows, or over some; NaN where nothing was scored."""
    above, below = ratio_of(columns, metric)
    rows = np.ones(above.size, dtype=bool) if rows is None else rows
    return float(above[rows].sum() / below[rows].sum()) if below[rows].sum() else float("nan")


def scores_of(runs: list[Columns], metric: Metric) -> Scores:
    """Sums of several seeds by region, in order of the region's number."""
    names, index = np.unique(np.asarray(runs[0]["region"]), return_inverse=True)
    sums = [
        [np.bincount(index, weights=part, minlength=names.size) for part in ratio_of(columns, metric)]
        for columns in runs
    ]
    return Scores(np.stack([above for above, _ in sums]), np.stack([below for _, below in sums]))

"""What a trained arm scores on held-out windows, in sums a window, so that every figure can be found again from them.

Base intervals are hidden, not tokens: they are drawn on the windows before any tokenizer sees them, and every token
that touches one becomes [MASK]. So arms with other vocabularies and masks are asked for the same bases. Scored are the
tokens that `plantgfm.evaluation.positions` scores; their bases are the denominator.

A 6-mer that touches one hidden base hides five more, a single base hides itself alone. So that the easier question is
not taken for the better answer, an arm of single bases hides the very bases that the base arm hides, and is scored on
those that the base arm is scored on.

Tokens hidden together are told independently of each other, each from what is visible. What a long token knows of its
own bases together a model of single bases then cannot show. Scored in turn, from left to right, each hidden token is
told with the true ones before it in view: by the chain rule the sum is what the model takes for the stretch as a whole,
whatever its tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int32, Int64

from plantgfm.ablation.config import Definition, Metric
from plantgfm.ablation.statistics import Scores
from plantgfm.corpus.read import Corpus
from plantgfm.evaluation.config import EvaluationConfig
from plantgfm.evaluation.held_out import HeldOut, Scorer
from plantgfm.evaluation.next_region import unigram_nats
from plantgfm.evaluation.positions import find_positions, take
from plantgfm.evaluation.unigram import fit_unigram
from plantgfm.model.build import Network
from plantgfm.sampling.batches import make_batch
from plantgfm.sampling.config import SamplerConfig
from plantgfm.sampling.evaluation_windows import EvaluationPairs, evaluation_pairs
from plantgfm.schema import Batch, Split, WindowPairs
from plantgfm.tokenization.config import VocabularyKind
from plantgfm.tokenization.vocabulary import FIRST_BASE, MASK, Vocabulary

POINT, SPAN, UNSCORED = 1, 2, 3
_KINDS = (POINT, SPAN, UNSCORED)
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
    Metric.IN_TURN: (("turn_bits",), "bases"),
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
    if definition.drawn_phase:
        cells = generator.random((n_windows, window_bp // span + 2)) < share
        phase = generator.integers(span, size=(n_windows, 1))
        runs = np.repeat(cells, span, axis=1)
        kinds = (np.take_along_axis(runs, phase + np.arange(window_bp), axis=1) * SPAN).astype(np.int8)
    else:
        kinds = np.zeros((n_windows, window_bp), dtype=np.int8)
        cells = generator.random((n_windows, window_bp // span)) < share
        kinds[:, : window_bp // span * span] = np.repeat(cells, span, axis=1) * SPAN
    # A point hides the token that it lies in, some 6 bases.
    points = generator.random(kinds.shape) < share / 6
    kinds[points & (kinds == 0)] = POINT
    return kinds


@dataclass(frozen=True)
class Arm:
    """How an arm reads the windows of the base arm's sampler."""

    vocabulary: Vocabulary
    window_tokens: int  # slots of a window


def hide(
    corpus: Corpus,
    arm: Arm,
    sampler: SamplerConfig,
    definition: Definition,
    *,
    base: Arm | None = None,
    pairs: EvaluationPairs | None = None,
    elsewhere: Sequence[Corpus] = (),
) -> tuple[HeldOut, Bool[np.ndarray, "N"]]:
    """The held-out windows with all tokens hidden that touch a hidden base, and which scored ones touch a span.

    Args:
        corpus: whose test split.
        arm: that reads them.
        sampler: of the base arm, which chooses the windows.
        definition: how many windows, what is hidden.
        base: the base arm, whose hidden bases an arm of single bases hides; None where `arm` is the base.
        pairs: windows that were chosen already; None: the first `definition.windows` of the test split.
        elsewhere: corpora of other arms, which must hold the windows out as well.
    """
    if pairs is None:
        pairs = evaluation_pairs(corpus, Split.TEST, sampler, max_windows=definition.windows, elsewhere=elsewhere)
    kinds = hidden_bases(len(pairs), sampler.window_bp, definition)
    if base is not None and arm.vocabulary.kind is VocabularyKind.BASES:
        kinds = _as_hidden(*hide(corpus, base, sampler, definition, pairs=pairs), base.vocabulary, sampler.window_bp)
    batch = make_batch(corpus, arm.vocabulary, pairs, arm.window_tokens, window_bp=sampler.window_bp)
    starts, ends = _edges(batch, arm.vocabulary)
    touched = {kind: _touched(kinds == kind, starts, ends) & (batch.tokens >= FIRST_BASE) for kind in _KINDS}
    held_out = _held_out(pairs, batch, np.any(list(touched.values()), axis=0), arm.vocabulary)
    at = held_out.positions
    columns = held_out.slots[at.window, at.slot]
    scored = np.flatnonzero((touched[POINT] | touched[SPAN])[at.window, columns])
    in_span = touched[SPAN][at.window, columns]
    return replace(held_out, positions=take(at, scored)), in_span[scored]


def _edges(batch: Batch, vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """Where each token of each window begins and ends, bp."""
    width = vocabulary.token_bp[batch.tokens].astype(np.int64)
    ends = np.cumsum(width, axis=1)
    return ends - width, ends


def _as_hidden(
    held_out: HeldOut, in_span: Bool[np.ndarray, "N"], vocabulary: Vocabulary, window_bp: int
) -> Int8[np.ndarray, "B P"]:
    """The bases under hidden tokens: POINT and SPAN under those that are scored, UNSCORED under the others."""
    kinds = np.zeros((len(held_out.pairs), window_bp), dtype=np.int8)
    starts, ends = _edges(held_out.batch, vocabulary)
    for row, column in zip(*np.nonzero(held_out.inputs == MASK)):
        kinds[row, starts[row, column] : ends[row, column]] = UNSCORED
    at = held_out.positions
    for row, column, spanned in zip(at.window, held_out.slots[at.window, at.slot], in_span):
        kinds[row, starts[row, column] : ends[row, column]] = SPAN if spanned else POINT
    return kinds


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
    arm: Arm,
    base: Arm | None = None,
    sampler: SamplerConfig,
    evaluation: EvaluationConfig,
    definition: Definition,
    elsewhere: Sequence[Corpus] = (),
) -> Columns:
    """Score a network; one row a held-out window.

    Args:
        network: of the arm.
        params: its parameters.
        corpus: of the base arm, whose test split to score.
        arm: its vocabulary and slots.
        base: the same of the base arm; None where the arm is the base.
        sampler: of the base arm: it chooses the windows, which are the same for all arms.
        evaluation: sizes of batches, grid of shrinkages.
        definition: how many windows, what is hidden.
        elsewhere: corpora of arms that learn from another one; scored is what each of them holds out as well.

    Returns:
        Columns: region, species, distance_bp, and sums of bits and bases by kind (see `SUMS`), the unigrams' included.
    """
    held_out, in_span = hide(corpus, arm, sampler, definition, base=base, elsewhere=elsewhere)
    scorer = Scorer(network, batch_windows=evaluation.batch_windows)
    scores = scorer(params, held_out)
    unigram = fit_unigram(
        corpus, arm.vocabulary, shrinkages=evaluation.shrinkages, window_bp=sampler.window_bp, most_bp=_MOST_BP
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
    if definition.in_turn:
        columns["turn_bits"] = window_sums(nats_in_turn(scorer, params, held_out) / _LN2)
    columns["unigram_pooled_bits"] = window_sums(-unigram.log_pooled[at.token] / _LN2)
    columns["unigram_species_bits"] = window_sums(-unigram.log_species[held_out.species, at.token] / _LN2)
    following = held_out.batch.next_tokens
    known = following >= FIRST_BASE
    counts = known.sum(axis=1)
    columns["next_bits"] = scores.next_nats / _LN2 * counts
    columns["next_unigram_bits"] = unigram_nats(held_out, unigram.species) / _LN2 * counts
    columns["next_bases"] = np.where(known, arm.vocabulary.token_bp[following], 0).sum(axis=1)
    return {name: [round(value, 6) for value in np.asarray(values).tolist()] for name, values in columns.items()}


def nats_in_turn(scorer: Scorer, params: Any, held_out: HeldOut) -> Float64[np.ndarray, "N"]:
    """-ln of the probability of each scored token, with the hidden ones of its stretch that lie before it in view.

    A stretch is a row of hidden neighbours. One pass for every place in a stretch: the first tokens of all stretches,
    then the second ones, and so on.
    """
    hidden = held_out.inputs == MASK
    place = np.zeros(hidden.shape, dtype=np.int64)  # of a hidden token in its stretch
    for column in range(1, hidden.shape[1]):
        place[:, column] = np.where(hidden[:, column] & hidden[:, column - 1], place[:, column - 1] + 1, 0)
    at = held_out.positions
    mine = place[at.window, held_out.slots[at.window, at.slot]]
    nats = np.empty(len(at))
    for turn in np.unique(mine):
        scored = np.flatnonzero(mine == turn)
        rows = np.unique(at.window[scored])
        seen = np.where(hidden & (place < turn), held_out.batch.tokens, held_out.inputs)[rows]
        nats[scored] = scorer(params, _some_windows(held_out, rows, seen, scored)).nats
    return nats


def _some_windows(
    held_out: HeldOut, rows: Int64[np.ndarray, "R"], inputs: Int32[np.ndarray, "R L"], scored: Int64[np.ndarray, "K"]
) -> HeldOut:
    """Some of the windows with other inputs, and some of the scored positions, all of which lie in these windows."""
    at = take(held_out.positions, scored)
    parts = {item.name: getattr(held_out.batch, item.name)[rows] for item in fields(Batch)}
    slots = {name: getattr(held_out, name)[rows] for name in ("slots", "slot_valid", "targets")}
    pairs = {item.name: getattr(held_out.pairs, item.name)[rows] for item in fields(WindowPairs)}
    return HeldOut(
        pairs=replace(held_out.pairs, **pairs),
        batch=Batch(**parts),
        inputs=inputs,
        positions=replace(at, window=np.searchsorted(rows, at.window).astype(np.int32)),
        **slots,
    )


def ratio_of(columns: Columns, metric: Metric) -> tuple[Float64[np.ndarray, "B"], Float64[np.ndarray, "B"]]:
    """Numerator and denominator of a metric in each window."""
    above, below = SUMS[metric]
    signs = [(-1.0, name[1:]) if name[0] == "-" else (1.0, name) for name in above]
    return sum(sign * np.asarray(columns[name], float) for sign, name in signs), np.asarray(columns[below], float)


def metrics_in(columns: Columns) -> list[Metric]:
    """The metrics that were scored: `Metric.IN_TURN` only where it was asked for."""
    return [metric for metric in Metric if metric is not Metric.IN_TURN or "turn_bits" in columns]


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

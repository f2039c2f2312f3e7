"""Hidden base intervals: the same for every vocabulary, of the stated share, and scored by every token they touch."""

from dataclasses import replace
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.ablation.config import Definition, Metric
from plantgfm.ablation.measure import POINT, SPAN, Arm, hidden_bases, hide, measure, metrics_in, nats_in_turn, value_of
from plantgfm.tokenization.vocabulary import FIRST_BASE, MASK, UNKNOWN_BASE, Vocabulary
from tests.evaluation.conftest import config, corpus, sampler, vocabulary  # noqa: F401
from tests.evaluation.test_evaluate import Fixed

DEFINITION = Definition(question="?", base="a", arms=["a", "b"], windows=30)


def test_half_of_the_hidden_share_is_runs_and_half_points_of_a_token():
    kinds = hidden_bases(400, 1530, DEFINITION)
    assert (kinds == SPAN).mean() == pytest.approx(0.075, abs=0.004)
    assert 6 * (kinds == POINT).mean() == pytest.approx(0.075, abs=0.008)
    runs = (kinds == SPAN)[:, : 1530 // 24 * 24].reshape(400, -1, 24)
    assert (runs.all(axis=2) | ~runs.any(axis=2)).all()
    assert (hidden_bases(400, 1530, DEFINITION) == kinds).all()


def test_runs_at_a_drawn_phase_begin_at_every_base_alike():
    kinds = hidden_bases(4_000, 1530, replace(DEFINITION, drawn_phase=True)) == SPAN
    assert kinds.mean() == pytest.approx(0.075, abs=0.004)
    begun = np.diff(kinds.astype(np.int8), axis=1) == 1
    counts = np.bincount((np.nonzero(begun)[1] + 1) % 24, minlength=24)
    assert counts.min() > 0.7 * counts.mean() and counts.max() < 1.3 * counts.mean()  # a window has one phase
    inside = [length for row in kinds for first, length in runs_of(row) if first and first + length < row.size]
    assert len(inside) > 1_000 and all(length % 24 == 0 for length in inside)


def runs_of(row):
    edges = np.flatnonzero(np.diff(np.concatenate(([0], row.astype(np.int8), [0]))))
    return [(first, end - first) for first, end in zip(edges[::2], edges[1::2])]


def spans_of(held_out, vocabulary):  # noqa: F811
    """Start and end of every token in its window, by a plain loop."""
    for row, tokens in enumerate(held_out.batch.tokens):
        at = 0
        for column, token in enumerate(tokens.tolist()):
            width = len(vocabulary.tokens[token]) if token >= UNKNOWN_BASE else 0
            yield row, column, token, at, at + width
            at += width


@pytest.mark.parametrize("plain", [False, True])
def test_hidden_are_the_tokens_that_touch_a_hidden_base_and_no_other(corpus, vocabulary, sampler, plain):  # noqa: F811
    vocabulary = Vocabulary(np.zeros(0, np.uint16)) if plain else vocabulary
    held_out, in_span = hide(corpus, Arm(vocabulary, sampler.window_tokens), sampler, DEFINITION)
    kinds = hidden_bases(len(held_out.pairs), sampler.window_bp, DEFINITION)
    touched = set()
    for row, column, token, start, end in spans_of(held_out, vocabulary):
        wanted = token >= FIRST_BASE and bool(kinds[row, start:end].any())
        assert (held_out.inputs[row, column] == MASK) == wanted
        if wanted and (kinds[row, start:end] == SPAN).any():
            touched.add((row, column))
    at = held_out.positions
    columns = held_out.slots[at.window, at.slot]
    assert [pair in touched for pair in zip(at.window.tolist(), columns.tolist())] == in_span.tolist()
    assert (held_out.targets[at.window, at.slot] == at.token).all() and in_span.any() and not in_span.all()


def test_a_uniform_network_pays_the_logarithm_of_the_vocabulary(corpus, vocabulary, sampler, config):  # noqa: F811
    arm = Arm(vocabulary, sampler.window_tokens)
    sizes = {"corpus": corpus, "arm": arm, "sampler": sampler, "evaluation": config}
    columns = measure(Fixed(vocabulary.size), jnp.zeros(vocabulary.size), definition=DEFINITION, **sizes)
    held_out, _ = hide(corpus, Arm(vocabulary, sampler.window_tokens), sampler, DEFINITION)
    expected = np.log2(vocabulary.size) * len(held_out.positions) / held_out.positions.bp.sum()
    assert value_of(columns, Metric.MASKED) == pytest.approx(expected, rel=1e-5)
    assert value_of(columns, Metric.NEXT_GAIN) < 0 < sum(columns["unigram_pooled_bits"])


def hidden_and_scored(held_out, vocabulary, in_span):  # noqa: F811
    """Base pairs under hidden tokens, and under scored ones that touch a span and that do not, as (window, bp)."""
    at = held_out.positions
    scored = dict(zip(zip(at.window.tolist(), held_out.slots[at.window, at.slot].tolist()), in_span.tolist()))
    hidden, found = set(), {True: set(), False: set()}
    for row, column, _, start, end in spans_of(held_out, vocabulary):
        bases = {(row, bp) for bp in range(start, end)}
        if held_out.inputs[row, column] == MASK:
            hidden |= bases
            if (row, column) in scored:
                found[scored[row, column]] |= bases
    return hidden, found


def test_single_bases_hide_and_score_the_very_bases_of_the_base_arm(corpus, vocabulary, sampler):  # noqa: F811
    base, bases = Arm(vocabulary, sampler.window_tokens), Vocabulary.of_bases()
    single = Arm(bases, sampler.window_bp + 1)
    of_base, base_in_span = hide(corpus, base, sampler, DEFINITION)
    of_single, in_span = hide(corpus, single, sampler, DEFINITION, base=base)
    assert hidden_and_scored(of_single, bases, in_span) == hidden_and_scored(of_base, vocabulary, base_in_span)
    assert of_single.positions.bp.sum() == of_base.positions.bp.sum() == len(of_single.positions)
    alone, _ = hide(corpus, single, sampler, DEFINITION)
    assert len(alone.positions) < len(of_single.positions)  # as the base of a question, the drawn bases alone


def test_merges_hide_what_touches_a_drawn_base_and_all_of_it_is_scored(corpus, vocabulary, sampler):  # noqa: F811
    merges = Vocabulary.of_merges((("A", "C"), ("AC", "G"), ("T", "T"), ("TT", "TT"), ("ACG", "TTTT")))
    arm = Arm(merges, sampler.window_bp + 1)
    held_out, _ = hide(corpus, arm, sampler, DEFINITION, base=Arm(vocabulary, sampler.window_tokens))
    kinds = hidden_bases(len(held_out.pairs), sampler.window_bp, DEFINITION)
    wanted = sum(
        bool(kinds[row, start:end].any()) and token >= FIRST_BASE
        for row, _, token, start, end in spans_of(held_out, merges)
    )
    assert (held_out.inputs == MASK).sum() == len(held_out.positions) == wanted


def test_in_turn_a_token_is_told_with_the_hidden_ones_before_it_in_view(corpus, vocabulary, sampler):  # noqa: F811
    held_out, _ = hide(corpus, Arm(vocabulary, sampler.window_tokens), sampler, DEFINITION)

    def scorer(params, part):
        at = part.positions
        nats = np.empty(len(at))
        for i, (row, column) in enumerate(zip(at.window, part.slots[at.window, at.slot])):
            assert part.inputs[row, column] == MASK and at.token[i] == part.batch.tokens[row, column]
            before = part.inputs[row, :column]
            run = int(np.argmax(before[::-1] != MASK)) if (before != MASK).any() else column
            assert run == 0, "what is hidden before it in its stretch is in view"
            behind = part.inputs[row, column + 1 : column + 2] == MASK
            nats[i] = 1000 * part.pairs.start[row] % 997 + column + 0.5 * behind.any()
        return SimpleNamespace(nats=nats)

    nats = nats_in_turn(scorer, None, held_out)
    at = held_out.positions
    columns = held_out.slots[at.window, at.slot]
    followed = held_out.inputs[at.window, columns + 1] == MASK
    assert nats.tolist() == (1000 * held_out.pairs.start[at.window] % 997 + columns + 0.5 * followed).tolist()
    assert followed.any() and not followed.all()


def test_in_turn_is_scored_where_it_is_asked_for(corpus, vocabulary, sampler, config):  # noqa: F811
    parts = {"corpus": corpus, "arm": Arm(vocabulary, sampler.window_tokens), "sampler": sampler, "evaluation": config}
    asked = replace(DEFINITION, in_turn=True, metric=Metric.IN_TURN)
    columns = measure(Fixed(vocabulary.size), jnp.zeros(vocabulary.size), definition=asked, **parts)
    # What says the same everywhere gains nothing by seeing more.
    assert value_of(columns, Metric.IN_TURN) == pytest.approx(value_of(columns, Metric.MASKED), rel=1e-5)
    assert metrics_in(columns) == list(Metric)
    del columns["turn_bits"]
    assert Metric.IN_TURN not in metrics_in(columns) and len(metrics_in(columns)) == len(Metric) - 1
    with pytest.raises(ValueError, match="metric = IN_TURN needs in_turn: true"):
        replace(DEFINITION, metric=Metric.IN_TURN)

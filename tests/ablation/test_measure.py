"""Hidden base intervals: the same for every vocabulary, of the stated share, and scored by every token they touch."""

import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.ablation.config import Definition, Metric
from plantgfm.ablation.measure import POINT, SPAN, hidden_bases, hide, measure, value_of
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
    held_out, in_span = hide(corpus, vocabulary, sampler, DEFINITION)
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
    sizes = {"corpus": corpus, "vocabulary": vocabulary, "sampler": sampler, "evaluation": config}
    columns = measure(Fixed(vocabulary.size), jnp.zeros(vocabulary.size), definition=DEFINITION, **sizes)
    held_out, _ = hide(corpus, vocabulary, sampler, DEFINITION)
    expected = np.log2(vocabulary.size) * len(held_out.positions) / held_out.positions.bp.sum()
    assert value_of(columns, Metric.MASKED) == pytest.approx(expected, rel=1e-5)
    assert value_of(columns, Metric.NEXT_GAIN) < 0 < sum(columns["unigram_pooled_bits"])

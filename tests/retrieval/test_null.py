"""Shuffled queries keep what they should, p and q by hand."""

import numpy as np
import pytest

from plantgfm.retrieval.null import benjamini_hochberg, empirical_p, shuffle_dinucleotides, shuffled_queries
from plantgfm.retrieval.queries import query_of
from plantgfm.sequence import decode, encode
from tests.fixtures import random_codes, record


def dinucleotides(codes):
    return np.bincount(codes[:-1].astype(int) * 5 + codes[1:], minlength=25)


@pytest.mark.parametrize("text", ["A", "AC", "ACA", "AAAA", "ACGT", "ACGNNNTTACGACGNTAGCAG", "TTTTTTTTGA"])
def test_a_shuffle_keeps_dinucleotides_and_ends(text):
    codes = encode(text)
    for seed in range(20):
        shuffled = shuffle_dinucleotides(codes, np.random.default_rng(seed))
        assert (dinucleotides(shuffled) == dinucleotides(codes)).all()
        assert shuffled[0] == codes[0] and shuffled[-1] == codes[-1]


def test_a_long_shuffle_moves_bases_and_every_order_is_as_likely():
    codes = random_codes(3000, seed=4)
    shuffled = shuffle_dinucleotides(codes, np.random.default_rng(0))
    assert (dinucleotides(shuffled) == dinucleotides(codes)).all() and np.mean(shuffled != codes) > 0.6
    drawn = [decode(shuffle_dinucleotides(encode("ACAGATA"), np.random.default_rng(seed))) for seed in range(1200)]
    names, counts = np.unique(drawn, return_counts=True)
    assert len(names) == 6 and counts.min() > 150 and counts.max() < 250  # the orders of AC, AG, AT: 200 each


def test_shuffled_queries_keep_their_windows_and_repeat_with_the_seed():
    queries = [
        query_of(record("a", random_codes(250)), window_bp=100),
        query_of(record("b", "ACGTTGCA"), window_bp=100),
    ]
    made = shuffled_queries(queries, count=3, seed=1)
    assert [one.name for one in made] == ["a shuffled 0", "b shuffled 1", "a shuffled 2"]
    assert [w.size for w in made[0].windows] == [100, 100, 100, 100]
    assert (made[0].windows[0][50:] == made[0].windows[1][:50]).all()  # overlaps agree, as those of the query do
    assert not np.array_equal(made[0].windows[0], made[2].windows[0])
    again = shuffled_queries(queries, count=3, seed=1)
    other = shuffled_queries(queries, count=3, seed=2)
    assert all((a == b).all() for one, two in zip(made, again) for a, b in zip(one.windows, two.windows))
    assert not np.array_equal(made[0].windows[0], other[0].windows[0])


def test_p_and_q_by_hand():
    null = np.array([1.0, 2.0, 3.0, 4.0])
    assert [empirical_p(z, null) for z in (5.0, 4.0, 0.0)] == [0.2, 0.4, 1.0]
    np.testing.assert_allclose(benjamini_hochberg([0.01, 0.04, 0.03, 0.9]), [0.04, 0.16 / 3, 0.16 / 3, 0.9])
    assert benjamini_hochberg([]).size == 0

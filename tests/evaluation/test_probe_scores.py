"""Scores of probes: by hand, by brute force, and the same whether a row is weighted or stands there several times."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from plantgfm.evaluation.probe_scores import Score, resampled_rows, spread

GENERATOR = np.random.default_rng(0)
CASES = {
    Score.BALANCED_ACCURACY: (GENERATOR.integers(0, 4, 60), GENERATOR.integers(0, 4, 60)),
    Score.MACRO_F1: (GENERATOR.integers(0, 4, 60), GENERATOR.integers(0, 5, 60)),
    Score.AUROC: (GENERATOR.integers(0, 2, 60), GENERATOR.integers(0, 9, 60).astype(float)),
    Score.SPEARMAN: (GENERATOR.random(60), GENERATOR.integers(0, 9, 60).astype(float)),
    Score.RATIO: (GENERATOR.random(60), GENERATOR.random(60)),
}


def ones(n):
    return np.ones((1, n))


@pytest.mark.parametrize("score", list(Score))
def test_a_weight_is_so_many_rows(score):
    truth, said = CASES[score]
    weights = GENERATOR.integers(0, 4, (3, 60)).astype(float)
    found = score(truth, said, weights)
    for drawn, value in zip(weights.astype(int), found):
        again = score(np.repeat(truth, drawn), np.repeat(said, drawn), ones(drawn.sum()))
        assert value == pytest.approx(float(again[0]), abs=1e-12)


def test_auroc_counts_pairs_and_half_of_the_ties():
    truth, said = CASES[Score.AUROC]
    pairs = [(a > b) + (a == b) / 2 for a in said[truth == 1] for b in said[truth == 0]]
    assert Score.AUROC(truth, said, ones(60))[0] == pytest.approx(np.mean(pairs))
    assert Score.AUROC(truth, np.zeros(60), ones(60))[0] == 0.5


def test_spearman_is_that_of_scipy_and_0_for_who_says_one_thing():
    truth, said = CASES[Score.SPEARMAN]
    assert Score.SPEARMAN(truth, said, ones(60))[0] == pytest.approx(spearmanr(truth, said).statistic)
    assert Score.SPEARMAN(truth, np.full(60, 2.0), ones(60))[0] == 0.0


def test_classes_count_the_same_however_rare():
    truth, said = np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0])
    assert Score.BALANCED_ACCURACY(truth, said, ones(4))[0] == 0.5
    assert Score.MACRO_F1(truth, said, ones(4))[0] == pytest.approx((6 / 7 + 0) / 2)
    assert Score.BALANCED_ACCURACY(truth, said, np.array([[1.0, 1, 1, 0]]))[0] == 1.0  # a class that was not drawn


def test_groups_are_drawn_whole_within_their_stratum():
    group, stratum = np.repeat(np.arange(6), 3), np.repeat([0, 1], 9)
    weights, groups, free = resampled_rows(group, stratum, resamples=50)
    assert (groups, free) == (6, 4)
    assert (weights.reshape(50, 6, 3) == weights.reshape(50, 6, 3)[:, :, :1]).all()
    np.testing.assert_array_equal(weights[:, stratum == 0].sum(axis=1), 9)


def test_lone_groups_are_drawn_from_all_strata():
    group = np.arange(6)
    weights, groups, free = resampled_rows(group, np.array([0, 1, 2, 3, 4, 4]), resamples=50)
    assert (groups, free) == (6, 5) and weights[:, 0].std() > 0


def test_what_could_not_be_scored_is_left_out_of_an_interval():
    low, high = spread(np.array([1.0, np.nan, 3.0]), confidence=0.5)
    assert (low, high) == (1.5, 2.5) and np.isnan(spread(np.array([np.nan]))).all()

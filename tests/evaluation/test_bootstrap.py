"""Intervals over regions: determinism, coverage, pairing, and the unit that is drawn."""

import numpy as np
import pytest

from plantgfm.evaluation.bootstrap import bootstrap_ratio
from plantgfm.evaluation.config import EvaluationConfig

COMMON = {"resamples": 400, "confidence": 0.95}


def draw(seed: int, *, regions=40, each=5, spread=1.0):
    """Values that share an effect within their region; the truth is 2."""
    generator = np.random.default_rng(seed)
    region = np.repeat(np.arange(regions), each)
    values = 2.0 + generator.normal(0, spread, regions)[region] + generator.normal(0, 0.1, region.size)
    return values, np.ones_like(values), region


def test_equal_seeds_give_equal_bounds_and_the_value_lies_between():
    values, ones, region = draw(0)
    at = {"region": region, "stratum": region % 3, **COMMON}
    first = bootstrap_ratio(values, ones, seed=1, **at)
    assert first == bootstrap_ratio(values, ones, seed=1, **at)
    assert first != bootstrap_ratio(values, ones, seed=2, **at)
    assert first.low < first.value < first.high
    assert first.value == pytest.approx(values.mean())


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    hits = 0
    for seed in range(150):
        values, ones, region = draw(seed)
        found = bootstrap_ratio(values, ones, region=region, stratum=np.zeros_like(region), seed=seed, **COMMON)
        hits += found.low <= 2.0 <= found.high
    assert 0.88 <= hits / 150 <= 0.99


def test_the_region_is_drawn_not_the_token():
    # Tokens of a region say the same, so more of them narrow nothing.
    few = draw(3, each=2, spread=1.0)
    many = tuple(np.repeat(array, 50) for array in few)
    spread = []
    for values, ones, region in (few, many):
        found = bootstrap_ratio(values, ones, region=region, stratum=region * 0, seed=0, **COMMON)
        spread.append(found.high - found.low)
    assert spread[1] == pytest.approx(spread[0], rel=1e-6)


def test_strata_keep_their_share_in_every_resample():
    # Two species that differ, without any spread within: every resample gives the same mean.
    region = np.arange(40)
    stratum = region // 20
    values = stratum * 10.0
    found = bootstrap_ratio(values, np.ones(40), region=region, stratum=stratum, seed=0, **COMMON)
    assert (found.low, found.value, found.high) == (5.0, 5.0, 5.0)


def test_a_paired_difference_is_narrower_than_its_parts():
    values, ones, region = draw(5)
    better = values - 0.1
    at = {"region": region, "stratum": region * 0, "seed": 0, **COMMON}
    alone, paired = bootstrap_ratio(values, ones, **at), bootstrap_ratio(better - values, ones, **at)
    assert paired.high - paired.low < 0.01 < alone.high - alone.low
    assert paired.high < 0


def test_nothing_scored_is_an_error():
    with pytest.raises(ValueError, match="nothing was scored"):
        bootstrap_ratio(np.zeros(2), np.zeros(2), region=np.arange(2), stratum=np.zeros(2, int), seed=0, **COMMON)


@pytest.mark.parametrize(
    "wrong", [{"max_windows": 0}, {"markov_order": 13}, {"confidence": 1.0}, {"strengths": []}, {"tune_bp": 0}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EvaluationConfig(**wrong)

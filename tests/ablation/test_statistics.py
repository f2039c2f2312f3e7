"""Statistics on planted effects: what is there is found, what is not there is not, at the stated rates."""

from dataclasses import replace

import numpy as np
import pytest

from plantgfm.ablation.statistics import Rule, Scores, Verdict, compare_arms, holm, winner

RULE = Rule(alpha=0.05, power=0.8, margin=0.004, lower_is_better=True, resamples=200)
STRATUM = np.repeat(np.arange(10), 4)


def sweep(generator, effects, *, seeds=3, seed_noise=0.002, region_noise=0.006, cell_noise=0.003):
    """Scores of a base and of one arm an effect: regions differ, arms react to regions otherwise, seeds differ."""
    bases = generator.integers(500, 1500, STRATUM.size).astype(float)
    level = 1.9 + 0.1 * generator.standard_normal(10)[STRATUM] + 0.05 * generator.standard_normal(STRATUM.size)
    arms = []
    for effect in (0.0, *effects):
        mine = level + effect + region_noise / np.sqrt(2) * generator.standard_normal(STRATUM.size)
        noise = seed_noise * generator.standard_normal((seeds, 1)) + cell_noise * generator.standard_normal((seeds, 40))
        arms.append(Scores((mine + noise) * bases, np.broadcast_to(bases, noise.shape)))
    return arms[0], {f"arm{number}": arm for number, arm in enumerate(arms[1:])}


def verdicts(effects, *, repeats, rule=RULE, **noise):
    generator = np.random.default_rng(5)
    for _ in range(repeats):
        base, arms = sweep(generator, effects, **noise)
        yield compare_arms(base, arms, stratum=STRATUM, rule=rule)


@pytest.mark.parametrize("seed_noise", [0.0, 0.004])
@pytest.mark.parametrize("region_noise", [0.0, 0.004])
def test_arms_that_do_not_differ_are_told_apart_at_most_at_the_stated_rate(seed_noise, region_noise):
    found = list(verdicts([0.0] * 3, repeats=150, seed_noise=seed_noise, region_noise=region_noise))
    wrong = sum(any(one.verdict in (Verdict.BETTER, Verdict.WORSE) for one in each.values()) for each in found)
    assert wrong / len(found) <= RULE.alpha + 2.5 * np.sqrt(RULE.alpha * (1 - RULE.alpha) / len(found))


def test_an_arm_made_worse_is_found_worse_and_an_improved_one_better():
    for each in verdicts([0.05, -0.05, 0.0], repeats=40):
        assert each["arm0"].verdict is Verdict.WORSE and each["arm1"].verdict is Verdict.BETTER
        assert winner(each, base="base", margin=0.01) == "arm1"


def test_where_more_is_better_the_words_turn():
    rule = replace(RULE, lower_is_better=False)
    (each,) = verdicts([0.05, -0.05], repeats=1, rule=rule)
    assert each["arm0"].verdict is Verdict.BETTER and each["arm1"].verdict is Verdict.WORSE


def test_the_smallest_difference_said_to_be_shown_is_shown_about_as_often_as_said():
    said = [each["arm0"].smallest_shown for each in verdicts([0.0, 0.0], repeats=60)]
    effect = float(np.sqrt(np.mean(np.square(said))))
    found = [each["arm0"].verdict for each in verdicts([effect, 0.0], repeats=120)]
    assert found.count(Verdict.WORSE) / len(found) == pytest.approx(RULE.power, abs=0.13)
    below = [each["arm0"].verdict for each in verdicts([effect / 10, 0.0], repeats=60)]
    assert below.count(Verdict.UNDECIDED) + below.count(Verdict.EQUAL) >= 54


def test_intervals_hold_the_truth_for_all_arms_together():
    effects = [0.01, -0.003, 0.0]
    held = [
        all(one.low <= effect <= one.high for one, effect in zip(each.values(), effects))
        for each in verdicts(effects, repeats=120)
    ]
    assert np.mean(held) >= 0.9


def test_more_chance_of_seeds_or_regions_widens_the_interval():
    def width(**noise):
        return np.median([each["arm0"].high - each["arm0"].low for each in verdicts([0.0], repeats=40, **noise)])

    plain = width(seed_noise=0.001, region_noise=0.002)
    assert width(seed_noise=0.01, region_noise=0.002) > 2 * plain
    assert width(seed_noise=0.001, region_noise=0.03) > 2 * plain


def test_equal_needs_an_interval_within_the_margin():
    wide = replace(RULE, margin=1.0)
    (each,) = verdicts([0.0], repeats=1, rule=wide)
    assert each["arm0"].verdict is Verdict.EQUAL
    (each,) = verdicts([0.0], repeats=1, rule=replace(RULE, margin=1e-9))
    assert each["arm0"].verdict is Verdict.UNDECIDED


def test_the_very_same_runs_do_not_differ():
    base, _ = sweep(np.random.default_rng(0), [])
    one = compare_arms(base, {"same": base}, stratum=STRATUM, rule=RULE)["same"]
    assert (one.difference, one.p, one.verdict) == (0.0, 1.0, Verdict.EQUAL)


def test_pairing_removes_what_regions_share():
    """Regions differ by 0.1 bits, the arm by 0.02: found only because each region is its own control."""
    (each,) = verdicts([0.02], repeats=1, seed_noise=0.0, region_noise=0.001, cell_noise=0.001)
    assert each["arm0"].verdict is Verdict.WORSE and each["arm0"].se < 0.002


def test_a_better_arm_below_the_margin_does_not_win():
    (each,) = verdicts([-0.02], repeats=1)
    assert each["arm0"].verdict is Verdict.BETTER
    assert winner(each, base="base", margin=0.05) == "base"


def test_holm_against_its_definition():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []
    assert holm([0.01, 0.02], of=4) == holm([0.01, 0.02, 1.0, 1.0])[:2] == pytest.approx([0.04, 0.06])


def test_a_comparison_left_out_does_not_make_the_others_easier():
    base, arms = sweep(np.random.default_rng(5), [0.01, 0.0])
    made, stated = (compare_arms(base, arms, stratum=STRATUM, rule=replace(RULE, stated=number)) for number in (0, 6))
    for arm in arms:
        assert stated[arm].p_adjusted >= made[arm].p_adjusted
        assert stated[arm].low < made[arm].low < made[arm].high < stated[arm].high
        assert stated[arm].smallest_shown > made[arm].smallest_shown


def test_too_few_seeds_regions_or_unlike_arms_are_refused():
    base, arms = sweep(np.random.default_rng(0), [0.0])
    few = np.zeros_like(base.denominator)
    few[:, :2] = 1.0
    with pytest.raises(ValueError, match=r"\d+\.\d% of the draws of regions hold nothing that this metric scores"):
        compare_arms(replace(base, denominator=few), arms, stratum=STRATUM, rule=RULE)
    base, arms = sweep(np.random.default_rng(0), [0.0], seeds=1)
    with pytest.raises(ValueError, match="1 seeds and 40 regions"):
        compare_arms(base, arms, stratum=STRATUM, rule=RULE)
    base, arms = sweep(np.random.default_rng(0), [0.0])
    with pytest.raises(ValueError, match="more regions than species"):
        compare_arms(base, arms, stratum=np.arange(40), rule=RULE)
    with pytest.raises(ValueError, match=r"arm short has \(3, 9\)"):
        short = Scores(base.numerator[:, :9], base.denominator[:, :9])
        compare_arms(base, {"short": short}, stratum=STRATUM, rule=RULE)

"""The whole decision on drawn sweeps: same arms are told apart at most as often as stated, planted ones are found."""

import numpy as np
import pytest

from plantgfm.ablation import decisions
from plantgfm.ablation.config import Definition
from plantgfm.ablation.decisions import Scatter, decide, draw_runs, share_of_false_findings
from plantgfm.ablation.statistics import Verdict

DEFINITION = Definition(question="?", base="a", arms=["a", "b"], seeds=list(range(40)))
STILL = {"species_sd": 0.0, "region_sd": 0.0, "seed_sd": 0.0, "arm_region_sd": 0.0, "cell_sd": 0.0}


def levels(effects=(0.0, 0.0), **scatter):
    """Bits per base by arm, seed and region."""
    runs = draw_runs(DEFINITION, effects, Scatter(**{**STILL, **scatter}), np.random.default_rng(0))
    values = [np.asarray(run["windows"]["bits"]) / run["windows"]["bases"] for run in runs]
    return np.stack(values).reshape(2, 40, -1)


def test_runs_scatter_as_is_said():
    assert np.ptp(levels()) < 1e-12 and levels((0.0, 0.01)).mean(axis=(1, 2)) == pytest.approx([1.9, 1.91])
    seeds = levels(seed_sd=0.01)
    assert seeds.std(axis=1).mean() == pytest.approx(0.01, rel=0.3) and np.ptp(seeds, axis=2).max() < 1e-12
    regions = levels(region_sd=0.04)
    assert regions[0, 0].std() == pytest.approx(0.04, rel=0.3) and (regions == regions[:1, :1]).all()
    arms = levels(arm_region_sd=0.02)
    assert (arms[0] == arms[0, :1]).all() and np.std(arms[0, 0] - arms[1, 0]) == pytest.approx(0.028, rel=0.3)
    assert levels(cell_sd=0.005).std() == pytest.approx(0.005, rel=0.1)


def test_same_arms_are_told_apart_at_most_as_often_as_stated():
    sweeps = decide([0.0] * 3, draws=60, resamples=100, scatter=Scatter(seed_sd=0.002))
    wrong = share_of_false_findings(sweeps, ["arm1", "arm2"])
    assert wrong <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / len(sweeps))
    assert {tuple(sweep.comparisons) for sweep in sweeps} == {("arm1", "arm2")}


def test_planted_arms_are_found_and_the_best_wins():
    for sweep in decide([0.0, 0.02, -0.02], draws=8, resamples=100):
        assert [one.verdict for one in sweep.comparisons.values()] == [Verdict.WORSE, Verdict.BETTER]
        assert sweep.winner == "arm2"
    assert share_of_false_findings([sweep], ["arm1"]) == 1.0


def test_the_measured_rates_are_rows_with_bars(monkeypatch):
    monkeypatch.setattr(decisions, "_RESAMPLES", 100)
    rows = decisions.run(draws=2)
    assert len(rows) == 8 and all(0 <= row["value"] <= 100 for row in rows)
    assert {row["bar"] for row in rows} == {5.0, 80.0, 95.0, None}


def test_the_measured_rates_are_told_as_a_table(monkeypatch):
    monkeypatch.setattr(decisions, "_RESAMPLES", 100)
    lines = decisions.rates_table(decisions.run(draws=2)).to_text().splitlines()
    assert any("any of 3 same arms told apart" in line and "5.0" in line for line in lines)
    assert any("intervals of all arms hold the truth" in line and "95.0" in line for line in lines)

"""Stored metrics to answers and reports: planted effects, lost and missing runs, other corpora."""

import json
from dataclasses import replace

import numpy as np
import pytest

from plantgfm.ablation.config import Definition, Metric, View
from plantgfm.ablation.definition import Experiment
from plantgfm.ablation.measure import SUMS, metrics_in, value_of
from plantgfm.ablation.report import answer_view, load_runs, write_index, write_reports
from plantgfm.ablation.statistics import Verdict
from plantgfm.ablation.sweep import _FORMAT, MEASURE_VERSION
from plantgfm.training.run_folder import write_json

N_WINDOWS, N_REGIONS = 90, 30
DEFINITION = Definition(question="Does it matter?", base="usual", arms=["usual", "worse", "same"], resamples=200)


def columns(generator, effect):
    """Windows of 30 regions of 5 species whose bits per base are about 1.9 plus the effect."""
    region = np.arange(N_WINDOWS) // 3
    bases = np.full(N_WINDOWS, 200.0)
    level = 1.9 + 0.05 * np.sin(region) + effect + 0.002 * generator.standard_normal(N_WINDOWS)
    found = {"region": region, "species": region % 5, "distance_bp": 64 * (1 + np.arange(N_WINDOWS) % 16)}
    for kind in ("", "inside_", "outside_", "point_", "span_", "next_"):
        share = 1.0 if kind in ("", "next_") else 0.5
        found |= {f"{kind}bits": level * bases * share, f"{kind}bases": bases * share}
    found |= {name: 1.95 * bases for name in ("unigram_pooled_bits", "unigram_species_bits", "next_unigram_bits")}
    return {name: values.tolist() for name, values in found.items()}


def write_runs(folder, effects, *, views=("bases",), steps=300, **changed):
    """Metrics of three seeds of each arm."""
    generator = np.random.default_rng(3)
    for arm, effect in effects.items():
        for seed in range(3):
            run = {
                "format": _FORMAT, "version": MEASURE_VERSION, "question": "planted", "arm": arm, "seed": seed,
                "steps": steps, "views": list(views), "settings": "s", "run": f"run-{arm}",
                "command": "plantgfm ablate x",
                "train_command": f"python train.py {arm}", "seconds": 36.0, "commit": "abc", "hardware": "2 cores",
                "versions": "jax", "seen_bp": 10 * steps, "seen_tokens": None, "slots": 12,
            }  # fmt: skip
            if effect is None:
                run["diverged"] = "step 3: the loss is not finite"
            else:
                windows = columns(generator, effect + 0.0005 * generator.standard_normal())
                run |= {
                    "corpus": "c0", "vocabulary": "v", "species": [f"Species {i}" for i in range(5)],
                    "train_bp": [5, 1, 4, 2, 3], "collapsed": effect > 0.04, "windows": windows,
                    "tokens_per_second": 1.0, "peak_memory_bytes": 2**30, "cut_bp": 0,
                }  # fmt: skip
            path = folder / "planted" / "metrics" / f"{arm}-seed{seed}-{steps}steps.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, run | changed)


@pytest.fixture
def experiment(tmp_path):
    folder = tmp_path / "experiments" / "planted"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("# Planted\n\nStated **before** running.\n")
    changes = {"usual": {}, "worse": {"run.x": ("1", "2")}, "same": {"run.y": ("1", "2")}}
    return Experiment("planted", folder, DEFINITION, (), {}, changes)


def test_an_arm_made_worse_is_told_from_one_that_is_the_same(tmp_path, experiment):
    write_runs(tmp_path, {"usual": 0.0, "worse": 0.05, "same": 0.0})
    answer, paths = write_reports(experiment, tmp_path)
    assert answer.comparisons["worse"].verdict is Verdict.WORSE
    assert answer.comparisons["worse"].difference == pytest.approx(0.05, abs=0.002)
    assert answer.comparisons["same"].verdict in (Verdict.EQUAL, Verdict.UNDECIDED)
    assert answer.winner == "usual" and answer.line.startswith("usual stays; worse: worse than usual")
    html, markdown = paths[0].read_text(), paths[1].read_text()
    wanted = ("Does it matter?", "could be shown", "Stated before running", "abc", "2 cores", "c0", "hours in all")
    for said in (
        *wanted,
        "no better than the pooled unigram",
        "poorer half minus richer half",
        "python train.py worse",
    ):
        assert said in html and said.replace("_", "\\_") in markdown, said
    assert html.count("data:image/png;base64,") == 1 and (tmp_path / "planted" / "report_figures").is_dir()
    result = json.loads((tmp_path / "planted" / "result.json").read_text())
    assert result["winner"] == "usual" and result["hours"] == pytest.approx(9 * 36 / 3600)
    assert result["views"]["bases"]["worse"]["verdict"] == "worse"
    html, markdown = (tmp_path / "index.html").read_text(), (tmp_path / "index.md").read_text()
    assert "usual stays" in html and "planted/report.html" in html
    assert "95%" in markdown and "planted/report.md" in markdown and "report.html" not in markdown


def test_an_arm_left_out_is_named_and_spares_the_others_no_correction(tmp_path, experiment):
    write_runs(tmp_path, {"usual": 0.0, "worse": 0.05})
    with pytest.raises(ValueError, match="same seed 0.*run the sweep on, or leave arms out with --without"):
        write_reports(experiment, tmp_path)
    shorter = replace(DEFINITION, arms=["usual", "worse"])
    alone = answer_view(shorter, load_runs(tmp_path, "planted"), View.BASES).comparisons["worse"]
    left_out = replace(experiment, definition=replace(shorter, left_out=["same"]))
    answer, paths = write_reports(left_out, tmp_path)
    assert answer.line == "usual stays; worse: worse than usual; same: left out"
    assert answer.comparisons["worse"].low < alone.low
    assert "Arms left out of the comparison" in paths[1].read_text()
    assert json.loads((tmp_path / "planted" / "result.json").read_text())["left_out"] == ["same"]


def test_a_better_arm_takes_the_place_of_the_base(tmp_path):
    write_runs(tmp_path, {"usual": 0.0, "worse": -0.03, "same": 0.01})
    answer = answer_view(DEFINITION, load_runs(tmp_path, "planted"), View.BASES)
    assert answer.winner == "worse" and answer.line.startswith("worse is better than usual and wins")


@pytest.mark.parametrize(
    ("again", "said"),
    [
        (None, "worse is a candidate, usual the default, until planted_longer has been run"),
        (("usual", ["usual", "worse"]), "planted_longer does not find it ahead: usual stays the default"),
        (("worse", ["usual", "worse"]), "planted_longer says so too: worse is to be the default"),
        (("same", ["usual", "same"]), "planted_longer does not ask worse again: usual stays the default"),
        (("usual", ["usual", "worse"], "worse"), "worse diverged in planted_longer: usual stays the default"),
    ],
)
def test_a_winner_is_a_candidate_until_a_longer_run_says_so_too(tmp_path, experiment, again, said):
    write_runs(tmp_path, {"usual": 0.0, "worse": -0.03, "same": 0.01})
    if again:
        (tmp_path / "planted_longer").mkdir()
        longer = {"winner": again[0], "arms": again[1], "lost": again[2:]}
        (tmp_path / "planted_longer" / "result.json").write_text(json.dumps(longer))
    asked = replace(experiment, definition=replace(DEFINITION, longer="planted_longer"))
    answer, _ = write_reports(asked, tmp_path)
    assert answer.line.endswith(said) and said.replace("_", "\\_") in (tmp_path / "planted" / "report.md").read_text()
    assert said.replace("_", "\\_") in (tmp_path / "index.md").read_text()
    (tmp_path / "planted_longer").mkdir(exist_ok=True)
    (tmp_path / "planted_longer" / "result.json").write_text(json.dumps({"winner": "worse"}))
    write_index(tmp_path)  # as the longer question does, behind this one
    assert "longer says so too: worse is to be" in (tmp_path / "index.md").read_text().replace("\\_", " ")
    write_runs(tmp_path, {"worse": 0.05})
    assert "planted_longer" not in write_reports(asked, tmp_path)[0].line  # the base stays: nothing to ask again


def test_what_is_not_shown_is_undecided_with_its_power(tmp_path):
    write_runs(tmp_path, {"usual": 0.0, "worse": 0.0, "same": 0.0})
    tight = Definition(**{**vars(DEFINITION), "margin": 1e-7})
    answer = answer_view(tight, load_runs(tmp_path, "planted"), View.BASES)
    assert "worse, same: undecided, the smallest difference that could have been shown is 0.00" in answer.line


def test_a_missing_run_is_named_and_a_lost_arm_is_told(tmp_path):
    write_runs(tmp_path, {"usual": 0.0, "worse": None})
    runs = load_runs(tmp_path, "planted")
    with pytest.raises(ValueError, match="3 of 9 runs are missing, same seed 0"):
        answer_view(DEFINITION, runs, View.BASES)
    with pytest.raises(ValueError, match="9 of 9 runs are missing"):
        answer_view(DEFINITION, runs, View.TOKENS)
    write_runs(tmp_path, {"same": 0.0})
    answer = answer_view(DEFINITION, load_runs(tmp_path, "planted"), View.BASES)
    assert answer.lost == ["worse"] and "worse: diverged" in answer.line and set(answer.comparisons) == {"same"}
    write_runs(tmp_path, {"usual": None})
    with pytest.raises(ValueError, match="the base usual diverged"):
        answer_view(DEFINITION, load_runs(tmp_path, "planted"), View.BASES)


def test_runs_of_several_budgets_are_not_compared(tmp_path):
    """As a sweep leaves them that was asked for more steps in the same folder, and stopped behind its base."""
    write_runs(tmp_path, {"usual": 0.0, "worse": 0.0, "same": 0.0}, views=("bases", "tokens"))
    write_runs(tmp_path, {"usual": -0.05}, steps=1200)
    runs = load_runs(tmp_path, "planted")
    with pytest.raises(ValueError, match="usual for equal bases have 300 and 1,200 steps: compare within one"):
        answer_view(DEFINITION, runs, View.BASES)
    longer = [run for run in runs if (run["arm"], run["steps"]) != ("usual", 300)]
    with pytest.raises(ValueError, match="runs of 3,000 to 12,000 bp for equal bases have 300 and 1,200 steps"):
        answer_view(DEFINITION, longer, View.BASES)
    wide = [run | {"seen_bp": 3001} if run["arm"] == "usual" else run for run in longer]  # fewer bases a step
    assert answer_view(DEFINITION, wide, View.BASES).winner == "usual"
    assert answer_view(DEFINITION, runs, View.TOKENS).winner == "usual"
    write_runs(tmp_path, {"worse": 0.0}, steps=100, views=("tokens",))
    with pytest.raises(ValueError, match="worse for equal tokens have 100 and 300 steps"):
        answer_view(DEFINITION, load_runs(tmp_path, "planted"), View.TOKENS)


def test_metrics_of_several_corpora_damaged_ones_and_none_are_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no metrics: run `plantgfm ablate planted` first"):
        load_runs(tmp_path, "planted")
    write_runs(tmp_path, {"usual": 0.0})
    write_runs(tmp_path, {"worse": 0.0}, corpus="c1")
    with pytest.raises(ValueError, match="metrics of 2 corpora"):
        load_runs(tmp_path, "planted")
    write_runs(tmp_path, {"worse": 0.0}, version=0)
    with pytest.raises(ValueError, match="version 1: delete it"):
        load_runs(tmp_path, "planted")


def test_every_metric_is_a_ratio_of_columns_and_a_gain_a_difference():
    windows = columns(np.random.default_rng(0), 0.0)
    assert set(SUMS) == set(Metric) and metrics_in(windows) == [m for m in Metric if m is not Metric.IN_TURN]
    windows["turn_bits"] = windows["bits"]
    assert metrics_in(windows) == list(Metric)
    for metric in Metric:
        expected = 0.05 if metric is Metric.NEXT_GAIN else 1.9
        assert value_of(windows, metric) == pytest.approx(expected, abs=0.01), metric
    assert np.isnan(value_of(windows, Metric.MASKED, np.zeros(N_WINDOWS, dtype=bool)))


def test_an_index_of_nothing_is_a_page(tmp_path):
    assert "Answers" in write_index(tmp_path).read_text()

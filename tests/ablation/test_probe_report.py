"""Probes of arms: a planted difference is found, equal arms are not told apart, what is missing is said."""

import json
from dataclasses import replace

import numpy as np
import pytest

from plantgfm.ablation.config import Definition
from plantgfm.ablation.probe_report import (
    arms_table,
    compare_probes,
    left_out_table,
    predictor_table,
    probe_sections,
    summary_table,
    write_probes,
)
from plantgfm.ablation.probe_run import _FORMAT, PROBE_VERSION, read_probes
from plantgfm.ablation.probes import MODEL, UNTRAINED, probed
from plantgfm.evaluation.probe_scores import Score
from plantgfm.training.run_folder import write_json

DEFINITION = Definition(question="?", base="usual", arms=["usual", "better", "same"], seeds=[0, 1, 2], resamples=200)


def result(generator, right):
    """A probe of 4 classes over 40 regions whose model finds a share of the rows."""
    region = np.repeat(np.arange(40), 5)
    truth = np.arange(200) % 4
    said = np.where(generator.random(200) < right, truth, (truth + 1) % 4)
    scored = [(Score.BALANCED_ACCURACY, "balanced accuracy", {MODEL: said, "GC": np.zeros(200, np.int64)})]
    about = {"note": "windows", "classes": list("abcd")}
    return probed("species", truth, (region, region % 4), scored, resamples=100, about=about)


def results(shares):
    generator = np.random.default_rng(0)
    return {arm: [result(generator, share) for _ in range(3)] for arm, share in shares.items()}


def test_a_planted_difference_is_found_and_equal_arms_are_not_told_apart():
    found, why = compare_probes(DEFINITION, results({"usual": 0.5, "better": 0.8, "same": 0.5}))
    assert not why and list(found) == ["better", "same"]
    better, same = found.values()
    assert better.verdict.value == "better" and 0.2 < better.difference < 0.4 and better.low < 0.3 < better.high
    assert same.verdict.value == "undecided" and same.p_adjusted >= same.p > 0.05


def test_less_is_better_where_the_probe_says_so():
    found = results({"usual": 0.5, "better": 0.8, "same": 0.5})
    for one in (one for ones in found.values() for one in ones):
        one["less_is_better"] = True
    assert compare_probes(DEFINITION, found)[0]["better"].verdict.value == "worse"


def test_arms_without_all_seeds_or_with_other_rows_are_not_compared():
    found = results({"usual": 0.5, "better": 0.8, "same": 0.5})
    found["same"].pop()
    found["better"][1]["items"]["group"][0] = 7
    assert compare_probes(DEFINITION, found) == ({}, "")
    found["usual"].pop()
    assert compare_probes(DEFINITION, found)[1] == "the base has 2 of 3 seeds: nothing is compared"


def test_an_arm_left_out_or_not_probed_spares_the_others_no_correction():
    found = results({"usual": 0.5, "better": 0.55, "same": 0.5})
    every = compare_probes(DEFINITION, found)[0]["better"]
    del found["same"]
    definition = replace(DEFINITION, arms=["usual", "better"], left_out=["same"])
    without = compare_probes(definition, found)[0]["better"]
    unprobed = compare_probes(DEFINITION, found | {"same": []})[0]["better"]
    for one in (without, unprobed):
        assert (one.low, one.high, one.p_adjusted) == (every.low, every.high, pytest.approx(2 * one.p))


def test_the_report_shows_probes_of_the_deciding_view_and_none_where_there_are_none(tmp_path):
    assert probe_sections(DEFINITION, tmp_path, "planted") == []
    folder = tmp_path / "planted" / "probes"
    folder.mkdir(parents=True)
    for arm, ones in results({"usual": 0.5, "better": 0.8, "same": 0.5}).items():
        for seed, one in enumerate(ones):
            about = {"arm": arm, "seed": seed, "views": ["bases"], "left_out": {"gene class": "no annotation"}}
            stored = {"format": _FORMAT, "version": PROBE_VERSION, "probes": [one], **about}
            write_json(folder / f"{arm}-seed{seed}.json", stored)
            write_json(folder / f"{arm}-seed{seed}-longer.json", stored | {"views": ["tokens"], "probes": []})
    (section,) = probe_sections(DEFINITION, tmp_path, "planted")
    table, left = section.tables
    assert "They decide nothing" in section.text and "runs are probed" not in section.text
    assert [row[0] for row in table.rows] == ["usual", "better", "same", "(GC)"]
    assert [row[-1] for row in table.rows] == ["base", "better", "undecided", "beside"]
    assert table.rows[3][1] == pytest.approx(0.25) and left.rows == [("gene class", "no annotation")]
    (folder / "same-seed2.json").unlink()
    (section,) = probe_sections(DEFINITION, tmp_path, "planted")
    assert "8 of 9 runs are probed" in section.text and section.tables[0].rows[2][-1] == "not compared"
    (section,) = probe_sections(replace(DEFINITION, arms=["usual", "better"], left_out=["same"]), tmp_path, "planted")
    assert "runs are probed" not in section.text and "same" not in [row[0] for row in section.tables[0].rows]


def test_damaged_probes_and_those_of_other_versions_are_named(tmp_path):
    path = tmp_path / "probes.json"
    write_json(path, {"format": _FORMAT, "version": PROBE_VERSION + 1})
    with pytest.raises(ValueError, match="is no plantgfm probes of version 1: delete it and probe again"):
        read_probes(path)


def test_a_probe_that_no_run_of_the_base_has_is_shown_without_differences():
    found = results({"better": 0.8})
    by_arm = {"usual": {}, "same": {}, "better": {seed: {"probes": [one]} for seed, one in enumerate(found["better"])}}
    table = arms_table(DEFINITION, "species", by_arm)
    assert [row[-1] for row in table.rows] == ["base", "not compared", "not compared", "beside"]
    assert "0 of 3 seeds" in table.note and table.rows[0][1] is None


def bits_of(**sums):
    """A probe of bits per base, less of which is better: what each predictor pays for 40 bases."""
    bases, region = np.full(10, 4.0), np.arange(10)
    scored = [(Score.RATIO, "bits per base", {name: np.full(10, total / 10) for name, total in sums.items()})]
    about = {"note": "40 hidden bases", "classes": []}
    return probed("bits", bases, (region, region * 0), scored, resamples=100, about=about, less=True)


def test_the_summary_has_the_best_of_the_simple_predictors_whichever_way_is_better():
    bits = bits_of(**{MODEL: 72.0, UNTRAINED: 80.0, "frequencies": 76.0, "uniform": 84.0})
    species = result(np.random.default_rng(0), 0.5)
    table = summary_table({"probes": [bits, species]})
    less, more = (dict(zip(table.columns, row)) for row in table.rows)
    assert (less["model"], less["untrained"]) == pytest.approx((1.8, 2.0))
    assert (less["best simple"], less["which"]) == (pytest.approx(1.9), "frequencies")
    assert more["untrained"] is None and more["which"] == "GC" and more["best simple"] == pytest.approx(0.25)
    assert "1.900" in table.to_text() and "frequencies" in table.to_text()


def test_every_predictor_has_its_interval_and_what_the_model_has_more():
    table = predictor_table(bits_of(**{MODEL: 72.0, "uniform": 84.0}))
    assert [row[:3] for row in table.rows] == [
        ("bits per base", MODEL, pytest.approx(1.8)),
        ("bits per base", "uniform", pytest.approx(2.1)),
    ]
    assert table.rows[0][5:] == (None, None, None)  # of itself, it has nothing more
    assert table.rows[1][5:] == pytest.approx((-0.3, -0.3, -0.3)) and "over 10 groups" in table.note
    assert left_out_table({"b": "why", "a": "no file"}).rows == [("a", "no file"), ("b", "why")]


def test_probes_of_a_model_are_written_again_over_those_of_before(tmp_path):
    stored = {"model": "runs/m", "seconds": 2.0, "hardware": "h", "commit": "c", "left_out": {"gene class": "no GFF3"}}
    stored["probes"] = [bits_of(**{MODEL: 72.0, "uniform": 84.0})]
    written = write_probes(stored | {"probes": []}, tmp_path / "out")
    assert written == write_probes(stored, tmp_path / "out")
    assert json.loads(written[0].read_text()) == stored
    page, text = written[1].read_text(), written[2].read_text()
    assert "bits per base of bits, with 95 % intervals over 10 groups" in page and "data:image/png" in page
    assert "runs/m, 2 s, h, commit c" in text and "40 hidden bases." in text and "gene class | no GFF3" in text
    assert "Classes:" not in text  # it has none

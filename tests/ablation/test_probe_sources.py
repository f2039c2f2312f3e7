"""What the settings of a run have to be probed by: its manifests, a world's own truth, files that a person names."""

import numpy as np
import pytest

from plantgfm.ablation.probe_data import Labelled, Part, Pool
from plantgfm.ablation.probe_run import ProbeInputs
from plantgfm.ablation.probe_search import SearchInputs
from plantgfm.ablation.probes import MODEL, fitted, probed, said_of, sources_of
from plantgfm.evaluation.probe_scores import Score
from plantgfm.formats.manifest import write_manifest
from plantgfm.schema import Assembly, Compartment
from tests.conftest import composed

GENE = "chr1\tx\tgene\t5\t40\t.\t+\t.\tID=g\n"


@pytest.fixture
def world(tmp_path):
    """A folder with a manifest of one annotated assembly, whose repeats lie in the truth beside it."""
    for folder in ("annotation", "truth/repeats"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.gff3").write_text(GENE)
    (tmp_path / "a.fa").write_text(">chr1\n" + "ACGT" * 20 + "\n")
    files = {"fasta": tmp_path / "a.fa", "annotation": tmp_path / "annotation/a.gff3"}
    write_manifest(tmp_path / "manifest.csv", [Assembly("Alpha una", "", "v1", Compartment.NUCLEAR, **files)])
    return tmp_path


def of(*overrides, **given):
    return sources_of(composed(*overrides), None, **{"search": SearchInputs(), **given})


def test_a_simulated_world_has_its_own_queries_and_the_truth_of_its_repeats(world):
    found = of("corpus=embedded", f"corpus.path={world}", "sampler.seed=7")
    assert found.search.world == world and found.annotation.has_genes and found.annotation.has_repeats
    assert found.sampler.seed == 0  # the same windows for all runs
    own = SearchInputs(world / "q.fa", world / "t.tsv", world / "t.fa")
    assert of("corpus=embedded", f"corpus.path={world}", search=own).search == own
    (world / "truth/repeats/a.gff3").unlink()
    assert not of("corpus=embedded", f"corpus.path={world}").annotation.has_repeats


def test_real_genomes_have_no_queries_of_their_own_and_repeats_of_nobody(world):
    found = of("corpus=manifest", f"corpus.path={world / 'manifest.csv'}")
    assert found.search.world is None and found.annotation.has_genes and not found.annotation.has_repeats
    assert found.no_annotation == "no annotation" and found.tasks is None


def test_a_manifest_that_moved_is_named_and_can_be_given(world):
    gone = ("corpus=manifest", "corpus.path=elsewhere/manifest.csv")
    assert of(*gone).annotation is None
    assert of(*gone).no_annotation == "no annotation: elsewhere/manifest.csv is not there, give --manifest"
    assert of(*gone, manifest=world / "manifest.csv").annotation.has_genes
    moved = of("corpus=embedded", "corpus.path=elsewhere", manifest=world / "manifest.csv", tasks=world / "tasks")
    assert moved.search.world == world and moved.annotation.has_repeats and moved.tasks == world / "tasks"


def test_files_are_told_by_name_wherever_they_lie(tmp_path):
    search = SearchInputs(tmp_path / "q.fa", tmp_path / "t.tsv", tmp_path / "t.fa")
    there = ProbeInputs(tmp_path / "tasks", search)
    elsewhere = SearchInputs(*(tmp_path / "b" / name for name in ("q.fa", "t.tsv", "t.fa")))
    assert there.names() == ["tasks", "q.fa", "t.tsv", "t.fa"]
    assert ProbeInputs(tmp_path / "b" / "tasks", elsewhere, tmp_path / "m.csv").names() == there.names()
    assert ProbeInputs().names() == [""] * 4


def labelled(labels, classes=()):
    """Rows of three parts, each a group by itself."""
    rows = np.arange(labels.size)
    part = np.array([Part.FIT, Part.FIT, Part.TUNE, Part.TEST])[rows % 4]
    pool = Pool("none", [np.zeros(4, np.uint8)] * labels.size)
    return Labelled("probe", pool, rows, labels, classes, part, rows, np.zeros_like(rows), (Score.SPEARMAN,), "")


def test_a_linear_probe_reads_what_lies_on_a_line_and_nothing_from_noise():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(200, 3))
    one = labelled(features @ [1.0, -2.0, 0.5] + 3)
    np.testing.assert_allclose(fitted(one, features)[:, 0], one.labels, atol=0.05)
    blind = fitted(one, generator.normal(size=(200, 3)))[one.part == Part.TEST, 0]
    assert abs(np.corrcoef(blind, one.labels[one.part == Part.TEST])[0, 1]) < 0.4
    kinds = labelled((features[:, 0] > 0).astype(np.int64), ("no", "yes"))
    said = said_of(Score.BALANCED_ACCURACY, fitted(kinds, features))
    assert np.mean(said == kinds.labels) > 0.9


def test_what_is_compared_with_the_truth_depends_on_the_score():
    raw = np.array([[0.2, 0.7], [0.9, 0.4]])
    assert said_of(Score.MACRO_F1, raw).tolist() == [1, 0]
    np.testing.assert_allclose(said_of(Score.AUROC, raw), [0.5, -0.5])
    np.testing.assert_array_equal(said_of(Score.SPEARMAN, raw[:, :1]), [0.2, 0.9])


def test_a_stored_probe_has_every_score_of_every_predictor_and_the_rows_of_the_model():
    truth, groups = np.arange(40) % 2, (np.arange(40) // 2, np.zeros(40, np.int64))
    said = {MODEL: truth, "majority": np.zeros(40, np.int64)}
    scored = [(score, score.value, said) for score in (Score.BALANCED_ACCURACY, Score.MACRO_F1)]
    one = probed("species", truth, groups, scored, resamples=100, about={"note": "n", "classes": ["a", "b"]}, less=True)
    assert (one["name"], one["kind"], one["score"]) == ("species", "BALANCED_ACCURACY", "balanced accuracy")
    assert one["less_is_better"] and one["groups"] == 20 and one["items"]["said"] == truth.tolist()
    assert [(row["score"], row["predictor"]) for row in one["rows"]] == [
        (name, predictor) for name in ("balanced accuracy", "macro F1") for predictor in (MODEL, "majority")
    ]
    model, majority = one["rows"][:2]
    assert (model["value"], model["low"], model["high"]) == (1.0, 1.0, 1.0) and "model_minus" not in model
    assert majority["value"] == majority["model_minus"] == 0.5 and majority["minus_low"] == 0.5

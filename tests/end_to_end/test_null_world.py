"""In the null world (order-3 Markov, no repeats, no orthologs) every score is at its floor."""

import json

import pytest
from click.testing import CliRunner

from plantgfm.cli import commands
from plantgfm.wiring.scores import evaluate_run
from plantgfm.wiring.training import run_training
from tests.conftest import SMALL, composed, quickly_compiled

NULL = ("corpus=null_world", "corpus.null.genome_size_bp=120000", "corpus.null.species=9", "run.name=structureless")


@pytest.fixture(scope="module")
def null_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("null")
    where = (f"run.folder={folder}", f"corpus.path={folder / 'world'}", "run.steps=40")
    with quickly_compiled():
        return folder, run_training(composed(*SMALL, *NULL, *where), write=lambda line: None)


def test_nothing_is_rejected_where_nothing_is_wrong(null_run):
    _, outcome = null_run
    assert outcome.curation.ledger.totals()["rejected"] == (0, 0)
    assert (outcome.corpus.cluster_size == 1).all()


def test_no_score_is_below_the_floor_and_the_next_region_is_not_foreseen(null_run, quick_compilation):
    _, outcome = null_run
    summary = evaluate_run(outcome.run_dir).summary
    assert summary["masked_bits_per_base_high"] > summary["floor_bits_per_base"] > 1.7
    assert summary["markov_pooled_bits_per_base_high"] > summary["floor_bits_per_base"]
    assert -1.0 < summary["next_region_gain_over_generator_low"] <= 0.0


def test_retrieval_is_at_chance(null_run):
    folder, outcome = null_run
    run, world = outcome.run_dir, folder / "world"

    def invoke(*arguments):
        result = CliRunner().invoke(commands, [str(a) for a in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output

    invoke("export", run, "--out", run / "bundle")
    invoke("embed", run / "bundle", "--manifest", world / "held_out.csv", "--out", run / "v.parquet")
    query = (world / "manifest.csv").read_text().splitlines()[1].split(",")
    invoke(
        "retrieve", run / "bundle", "--vectors", run / "v.parquet", "--out", run / "retrieval",
        "--genome", world / query[5], "--annotation", world / query[6], "--truth", world / "truth/orthologs.tsv",
    )  # fmt: skip
    found = json.loads((run / "retrieval/evaluation.json").read_text())
    _, low, high = found["mrr_difference_to"]["chance"]
    assert low <= 0.02 and high >= -0.02

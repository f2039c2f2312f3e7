"""Arms that learn from differently laid out or curated corpora are scored on windows that all of them hold out."""

import tarfile

import numpy as np
import pytest

from plantgfm.ablation.definition import open_experiment
from plantgfm.ablation.pack import pack_experiment
from plantgfm.ablation.packed import open_pack
from plantgfm.ablation.report import load_runs
from plantgfm.ablation.sweep import is_done, jobs_of, metrics_path, read_metrics, run_sweep
from plantgfm.sampling.evaluation_windows import evaluation_pairs
from plantgfm.schema import Split
from plantgfm.wiring.data import prepare_corpus
from tests.ablation.folders import write_experiment
from tests.ablation.test_sweep import SMALLEST, compiled_once

__all__ = ["compiled_once"]

DEFINITION = """question: Does it matter how much is held out, and what curation takes out?
base: usual
arms: [usual, less, told]
seeds: [0, 1]
windows: 1000
resamples: 100
"""
ARM = "# @package _global_\n# {}\ncorpus:\n  layout:\n    test_fraction: {}\ncuration:\n  flag_only: {}\n"
ARMS = {
    "usual": ARM.format("as it is", 0.4, "[]"),
    "less": ARM.format("half as much held out", 0.2, "[]"),
    "told": ARM.format("nothing taken out", 0.4, "[duplicates, label]"),
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory, compiled_once):
    folder = tmp_path_factory.mktemp("ablation")
    settings = [one for one in SMALLEST if "test_fraction" not in one] + [f"corpus.path={folder / 'world'}"]
    experiment = open_experiment(write_experiment(folder, definition=DEFINITION, **ARMS), settings)
    jobs = [job for job in jobs_of(experiment, folder) if job.seed == 0]
    run_sweep(experiment, jobs[:2], folder, command="as typed", write=print)
    return experiment, jobs, folder, settings


def test_all_arms_have_the_windows_that_every_corpus_holds_out(swept):
    experiment, jobs, folder, _ = swept
    stored = {job.arm: read_metrics(metrics_path(folder, "rate", job)) for job in jobs[:2]}
    corpora = {job.arm: prepare_corpus(job.config)[0] for job in jobs}
    assert len(experiment.other_data) == 2
    for name in ("region", "species", "distance_bp"):
        assert stored["less"]["windows"][name] == stored["usual"]["windows"][name]
    sampler = experiment.base.sampler
    every = evaluation_pairs(corpora["usual"], Split.TEST, sampler)
    kept = evaluation_pairs(corpora["usual"], Split.TEST, sampler, elsewhere=[corpora["less"], corpora["told"]])
    assert stored["less"]["windows"]["region"] == kept.region.tolist() and 0 < len(kept) < len(every)
    assert all(corpora["less"].regions.split[np.unique(kept.region)] == Split.TEST)


def test_metrics_say_which_corpus_measured_and_which_one_taught(swept):
    _, jobs, folder, _ = swept
    runs = {run["arm"]: run for run in load_runs(folder, "rate")}
    base = prepare_corpus(jobs[0].config)[0].fingerprint
    assert {run["corpus"] for run in runs.values()} == {base}
    assert runs["usual"]["trained_on"] == base != runs["less"]["trained_on"]


def test_what_other_arms_hold_out_is_part_of_how_all_are_measured(swept):
    experiment, jobs, folder, settings = swept
    assert [is_done(folder, experiment, job) for job in jobs] == [True, True, False]
    without = open_experiment(experiment.folder, settings, without=["told"])
    assert all(is_done(folder, without, job) for job in jobs_of(without, folder) if job.seed == 0), (
        "left out, it still counts"
    )
    (experiment.folder / "less.yaml").write_text(ARM.format("less still", 0.1, "[]"))
    try:
        other = open_experiment(experiment.folder, settings)
        with pytest.raises(ValueError, match="measured with other settings.*measured.held_out_in"):
            is_done(folder, other, jobs_of(other, folder)[0])
    finally:
        (experiment.folder / "less.yaml").write_text(ARMS["less"])


def test_a_pack_carries_the_corpora_of_all_arms(swept, tmp_path):
    experiment, jobs, folder, _ = swept
    pack_experiment(experiment, jobs[:1], tmp_path / "rate.tar", write=lambda line: None)
    with tarfile.open(tmp_path / "rate.tar") as tar:
        tar.extractall(tmp_path / "there", filter="data")
    opened = open_pack(tmp_path / "there")
    carried = [opened.prepare(one, None, write=print).corpus for one in opened.experiment.other_data]
    mine = {prepare_corpus(job.config)[0].fingerprint for job in jobs[1:]}
    assert {corpus.fingerprint for corpus in carried} == mine
    (job,) = opened.jobs(folder)
    assert is_done(folder, opened.experiment, job)

"""Arms that learn from differently laid out or curated corpora are scored on windows that all of them hold out."""

import json
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from plantgfm.ablation import launch
from plantgfm.ablation.definition import data_of, open_experiment
from plantgfm.ablation.jobs import jobs_of
from plantgfm.ablation.pack import pack_experiment
from plantgfm.ablation.packed import open_pack
from plantgfm.ablation.report import load_runs, species_table
from plantgfm.ablation.sweep import is_done, metrics_path, read_metrics, run_sweep
from plantgfm.cli import commands
from plantgfm.sampling.evaluation_windows import evaluation_pairs
from plantgfm.schema import Split
from plantgfm.wiring.data import prepare_corpus
from tests.ablation.folders import write_experiment
from tests.ablation.test_sweep import SMALLEST, compiled_once
from tests.conftest import composed

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
    assert runs["usual"]["held_out_in"] == runs["less"]["held_out_in"] and runs["less"]["trained_on"] in there(runs)
    assert "window pairs of the base's corpus are held out in those of all arms; dropped: " in runs["less"]["dropped"]
    assert species_table(list(runs.values())).note == "training bp: of the base's corpus"


def there(runs):
    return runs["usual"]["held_out_in"]


def test_runs_that_are_measured_after_the_input_changed_are_refused(swept, tmp_path):
    experiment, jobs, folder, settings = swept
    for job in jobs[:2]:
        path = metrics_path(tmp_path, "rate", job)
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = read_metrics(metrics_path(folder, "rate", job))
        path.write_text(json.dumps(stored | ({"held_out_in": ["f" * 16]} if job.arm == "less" else {})))
    with pytest.raises(ValueError, match="holds metrics of windows that different corpora hold out"):
        load_runs(tmp_path, "rate")
    other = prepare_corpus(replace(jobs[0].config, corpus=composed(*settings, "corpus.layout.seed=3").corpus))[0]
    with pytest.raises(ValueError, match="run-[0-9a-f]+ was trained on corpus .* its input has changed since"):
        run_sweep(experiment, jobs[:1], tmp_path / "again", command="", write=print, corpus_of=lambda config: other)


def test_corpora_of_arms_left_out_are_prepared_as_well(swept, tmp_path, monkeypatch):
    experiment, _, _, settings = swept
    made = []

    def prepare(config, write):
        made.append(data_of(config))
        return prepare_corpus(config, write=write)

    monkeypatch.setattr(launch, "prepare_corpus", prepare)
    without = open_experiment(experiment.folder, settings, without=["told"])
    launch.prepare_all(without, tmp_path, write=lambda line: None)
    assert {data_of(config) for config in experiment.arms.values()} == set(made)


def test_probes_of_such_arms_are_refused_at_once(swept):
    experiment, _, folder, settings = swept
    where = ["--folder", str(folder), "--experiments", str(experiment.folder.parent)]
    done = CliRunner().invoke(commands, ["ablate", "rate", *settings, *where, "--probes"])
    assert done.exit_code == 2 and "arms of rate learn from several corpora" in done.output


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

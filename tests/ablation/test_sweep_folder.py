"""A sweep's folder that others use or used: other processes, other steps, other data, views that came later."""

import contextlib
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from plantgfm.ablation import sweep
from plantgfm.ablation.config import View
from plantgfm.ablation.definition import open_experiment
from plantgfm.ablation.jobs import bp_per_step, equal_bases, jobs_of
from plantgfm.ablation.packed import Opened
from plantgfm.ablation.sweep import metrics_path, read_metrics, refuse_other_budgets, run_sweep
from plantgfm.training.run_folder import RunBusy, write_json
from tests.ablation.folders import USUAL, write_experiment
from tests.conftest import composed


@pytest.fixture
def experiment(tmp_path):
    return open_experiment(write_experiment(tmp_path), ["run.steps=300"])


def leave(experiment, folder, job, **more):
    """Metrics as a finished job leaves them, as far as a sweep reads them."""
    path = metrics_path(folder, experiment.name, job)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"format": sweep._FORMAT, "version": sweep.MEASURE_VERSION, "arm": job.arm, "seed": job.seed}
    about |= {"settings": sweep._settings_of(experiment, job), "steps": job.config.run.steps, "views": ["bases"]}
    write_json(path, about | more)


def never(config):
    raise AssertionError("nothing is to be trained")


def test_a_run_that_another_process_holds_is_waited_for_behind_all_others(experiment, tmp_path, monkeypatch):
    jobs, lines, tried, slept = jobs_of(experiment, tmp_path), [], [], []

    def train(config):
        job = next(job for job in jobs if job.config.run.name == config.run.name)
        tried.append((job.arm, job.seed))
        if job.arm == "usual":
            raise RunBusy("another process trains")
        return SimpleNamespace(result=SimpleNamespace(interrupted="", **dict.fromkeys(
            ("tokens_per_second", "peak_memory_bytes", "cut_bp"))), run_dir=None)  # fmt: skip

    def look_again(seconds):
        slept.append(seconds)
        if len(slept) == 2:
            for job in jobs:
                leave(experiment, tmp_path, job)

    values = {"values": {experiment.definition.metric.value: None}}
    monkeypatch.setattr(sweep, "_measured", lambda *_: dict(values))
    monkeypatch.setattr(sweep.time, "sleep", look_again)
    ended = run_sweep(experiment, jobs, tmp_path, command="", write=lines.append, train=train)
    assert len(list((tmp_path / ".locks").glob("run-*"))) == 4
    usual, tiny = [("usual", 0), ("usual", 1)], [("tiny", 0), ("tiny", 1)]
    assert tried[:4] == [usual[0], tiny[0], usual[1], tiny[1]] and set(tried[4:]) == set(usual)
    assert (ended.jobs, ended.done_before) == (4, 0) and len(slept) == 2
    assert sum("waiting for it" in line for line in lines) == 1
    assert [line.split(": ")[1] for line in lines if "process" in line and "waiting" not in line] == [
        "done by another process"
    ] * 2
    assert any("no base was scored, " in line for line in lines)


def test_two_sweeps_measure_a_run_once(experiment, tmp_path, monkeypatch):
    """The other one holds it from before it opens the run until its metrics are there."""
    jobs, lines = jobs_of(experiment, tmp_path)[:1], []
    with sweep._held(tmp_path, jobs[0]):

        def end_of_the_other(seconds):
            leave(experiment, tmp_path, jobs[0])

        monkeypatch.setattr(sweep.time, "sleep", end_of_the_other)
        monkeypatch.setattr(sweep, "_held", lambda *_, real=sweep._held: free(real, lines, tmp_path, jobs[0]))
        run_sweep(experiment, jobs, tmp_path, command="", write=lines.append, train=never)
    assert "waiting for it" in lines[0] and lines[1].endswith("done by another process") and len(lines) == 2


def free(real, lines, folder, job):
    """The lock as it is, until the sweep has waited once."""
    return contextlib.nullcontext() if lines else real(folder, job)


def test_a_view_stated_later_is_served_by_the_runs_that_are_there(experiment, tmp_path):
    both = replace(experiment, definition=replace(experiment.definition, views=[View.BASES, View.TOKENS]))
    jobs = jobs_of(both, tmp_path, tokens_per_step=lambda config: 1.0)
    for job in jobs:
        leave(experiment, tmp_path, job)
    run_sweep(both, jobs, tmp_path, command="", write=print, train=never)
    served = [read_metrics(metrics_path(tmp_path, "rate", job)) for job in jobs]
    assert all(one["views"] == ["bases", "tokens"] and one["seen_tokens"] == 300 for one in served)
    before = [metrics_path(tmp_path, "rate", job).stat().st_mtime_ns for job in jobs]
    run_sweep(both, jobs, tmp_path, command="", write=print, train=never)
    assert before == [metrics_path(tmp_path, "rate", job).stat().st_mtime_ns for job in jobs]


def test_metrics_of_other_steps_are_refused_before_training(experiment, tmp_path):
    jobs = jobs_of(experiment, tmp_path)
    leave(experiment, tmp_path, jobs[0], steps=300)
    refuse_other_budgets(experiment, jobs, tmp_path)
    leave(experiment, tmp_path, jobs[1], steps=20)
    with pytest.raises(ValueError, match="tiny-seed0-300steps.json has 20 steps, this call 300 for equal bases"):
        refuse_other_budgets(experiment, jobs, tmp_path)
    refuse_other_budgets(experiment, jobs[:1], tmp_path)  # a part that does not run the arm


def test_metrics_of_another_corpus_are_refused_before_training(experiment, tmp_path):
    jobs = jobs_of(experiment, tmp_path)
    leave(experiment, tmp_path, jobs[0], corpus="a" * 16)
    shared = {"command": "", "write": print, "train": never}

    def corpus(config):
        assert config.run.folder == str(tmp_path)
        return SimpleNamespace(fingerprint="b" * 16)

    with pytest.raises(ValueError, match="usual-seed0-300steps.json is of corpus a{16}, and the input now gives b{16}"):
        run_sweep(experiment, jobs, tmp_path, corpus_of=corpus, **shared)
    assert run_sweep(experiment, jobs[:1], tmp_path, corpus_of=never, **shared).done_before == 1  # nothing is to run


def test_equal_bases_take_fewer_steps_where_a_step_shows_more(tmp_path):
    usual = composed().sampler
    double = f"# @package _global_\n# twice as many\nsampler:\n  batch_windows: {2 * usual.batch_windows}\n"
    experiment = open_experiment(write_experiment(tmp_path, usual=USUAL, tiny=double), ["run.steps=300"])
    jobs = {job.arm: job for job in jobs_of(experiment, tmp_path)}
    assert bp_per_step(jobs["usual"].config) == 2 * usual.batch_windows * usual.window_bp
    assert (jobs["usual"].config.run.steps, jobs["tiny"].config.run.steps) == (300, 150)
    assert len({sweep._seen(job)["seen_bp"] for job in jobs.values()}) == 1
    wide = replace(usual, batch_windows=usual.batch_windows * 7 // 4)
    arm = replace(experiment.base, sampler=wide)
    assert equal_bases(300, experiment.base, arm) * 20 != equal_bases(6000, experiment.base, arm)
    stated = [{"arm": "tiny", "seed": 0, "steps": 171, "views": ["bases"], "tokens_per_step": None}]
    opened = Opened(tmp_path, replace(experiment, arms={**experiment.arms, "tiny": arm}), stated, {})
    assert opened.jobs(tmp_path, times=20.0)[0].config.run.steps == equal_bases(6000, experiment.base, arm)


def test_corpora_and_vocabularies_are_counted_and_measured_in_the_folder_of_the_runs(experiment, tmp_path):
    asked = []

    def count(config):
        asked.append(config.run.folder)
        return 1.0

    both = replace(experiment, definition=replace(experiment.definition, views=[View.TOKENS]))
    jobs = jobs_of(both, tmp_path / "scratch", tokens_per_step=count)
    assert set(asked) == {str(tmp_path / "scratch")} == {job.config.run.folder for job in jobs}
    moved = experiment.stored_in(tmp_path / "scratch")
    assert moved.base.run.folder == str(tmp_path / "scratch") and json.dumps(moved.changes) == json.dumps(
        experiment.changes
    )

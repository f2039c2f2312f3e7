"""A real sweep, as small as it gets: stopped, gone on with, reported, reported again without its runs."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace

import jax
import numpy as np
import pytest
from click.testing import CliRunner
from jax.experimental.compilation_cache import compilation_cache

from plantgfm.ablation import pack, sweep
from plantgfm.ablation.config import ProbeConfig, View
from plantgfm.ablation.definition import open_experiment
from plantgfm.ablation.jobs import Job, count_tokens, job_config, jobs_of, train_command
from plantgfm.ablation.pack import pack_experiment
from plantgfm.ablation.packed import data_key, open_pack
from plantgfm.ablation.packed import main as packed_main
from plantgfm.ablation.probe_run import ProbeInputs, probe_model, probe_sweep, read_probes
from plantgfm.ablation.probes import MODEL, UNTRAINED
from plantgfm.ablation.report import load_runs, write_reports
from plantgfm.ablation.sweep import is_done, metrics_path, read_metrics, run_sweep
from plantgfm.cli import commands
from plantgfm.export.bundle import load_bundle, write_bundle
from plantgfm.identity import fingerprint, plain
from plantgfm.tokenization.vocabulary import Vocabulary, reverse_complement_codes
from plantgfm.wiring import stored
from plantgfm.wiring.runs import export_run, open_run_folder
from plantgfm.wiring.training import SILENT, run_training
from tests.ablation.folders import write_experiment
from tests.bench.test_train import WITHOUT
from tests.conftest import composed, quickly_compiled

DEFINITION = """question: Does the share matter?
base: usual
arms: [usual, even]
seeds: [0, 1]
windows: 24
resamples: 100
"""
USUAL = "# @package _global_\n# the root of their size\nsampler:\n  temperature: 2.0\n"
EVEN = "# @package _global_\n# nearly the same share\nsampler:\n  temperature: 100.0\n"
SMALLEST = (
    "corpus=null_world",
    "corpus.null.species=3",
    "corpus.null.genome_size_bp=100000",
    "corpus.layout.region_bp=8192",
    "corpus.layout.min_region_bp=4096",
    "corpus.layout.test_fraction=0.4",
    "sampler.window_tokens=64",
    "sampler.batch_windows=4",
    "sampler.min_species=2",
    "sampler.distance_max_bp=1024",
    "model.d_model=16",
    "model.n_layers=1",
    "model.n_heads=1",
    "model.d_ff=16",
    "model.max_tokens=64",
    "tokenizer.eight_mers=128",
    "optimizer=adamw",
    "optimizer.warmup_steps=2",
    "run.steps=8",
    "run.evaluate_every_steps=0",
    "run.best_metric=''",
    "run.live_report=false",
    "evaluation.watch_windows=8",
)


PROBES = ProbeConfig(windows=40, resamples=100)


class Stopped(Exception):
    """Stands for a process that dies."""


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory):
    """All jobs are the same program; compiling it for each, or in full, would be nearly all of their time."""
    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    with quickly_compiled():
        yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def swept(tmp_path_factory, compiled_once):
    """An experiment run to its end after a stop: (experiment, jobs, folder, lines of both calls)."""
    folder = tmp_path_factory.mktemp("ablation")
    experiment = open_experiment(
        write_experiment(folder, definition=DEFINITION, usual=USUAL, even=EVEN),
        [*SMALLEST, f"corpus.path={folder / 'world'}"],
    )
    jobs = jobs_of(experiment, folder)
    lines: list[str] = []

    def stop_at_the_second(line: str) -> None:
        lines.append(line)
        if line.startswith("[2/"):
            raise Stopped

    with pytest.raises(Stopped):
        run_sweep(experiment, jobs, folder, command="first", write=stop_at_the_second)
    first = metrics_path(folder, experiment.name, jobs[0])
    written = first.stat().st_mtime_ns
    ended = run_sweep(experiment, jobs, folder, command="second", write=lines.append)
    assert list((folder / ".store").glob("vocabular*/*"))
    assert (ended.jobs, ended.done_before, ended.interrupted) == (len(jobs), 1, "")
    assert first.stat().st_mtime_ns == written and read_metrics(first)["command"] == "first"
    return experiment, jobs, folder, lines


def test_jobs_are_arms_times_seeds_and_what_is_done_is_skipped(swept):
    _, jobs, _, lines = swept
    assert [(job.arm, job.seed) for job in jobs] == [("usual", 0), ("even", 0), ("usual", 1), ("even", 1)]
    assert all(job.config.run.seed == job.config.sampler.seed == job.seed for job in jobs)
    assert lines[1].startswith("[1/4] usual, seed 0, 8 steps: ") and lines[1].endswith(" s")
    assert lines[3] == "[1/4] usual, seed 0, 8 steps: done before"
    assert sum(line.endswith(" s") for line in lines) == 4


def test_equal_tokens_take_other_steps_where_tokens_differ(swept):
    experiment, _, folder, _ = swept
    both = replace(experiment, definition=replace(experiment.definition, views=[View.BASES, View.TOKENS]))
    counts = {arm: count_tokens(config) for arm, config in both.arms.items()}
    slots = 2 * 4 * 63
    assert counts == {"usual": pytest.approx(slots, rel=0.1), "even": pytest.approx(slots, rel=0.1)}
    steps = {job.arm: job.config.run.steps for job in jobs_of(both, folder, tokens_per_step=count_tokens)}
    assert steps == {"usual": 8, "even": 8}
    doubled = jobs_of(both, folder, tokens_per_step=lambda config: 200.0 if config.sampler.temperature < 3 else 400.0)
    found = {(job.arm, job.config.run.steps, job.views) for job in doubled}
    assert found == {
        ("usual", 8, (View.BASES, View.TOKENS)),
        ("even", 8, (View.BASES,)),
        ("even", 4, (View.TOKENS,)),
    }
    assert len(doubled) == 6


def test_a_warm_up_that_leaves_no_step_is_shortened_in_proportion_and_no_other_is(swept):
    experiment, _, folder, _ = swept
    stated = replace(experiment.arms["even"], run=replace(experiment.base.run, steps=300))
    arms = {**experiment.arms, "even": replace(stated, optimizer=replace(stated.optimizer, warmup_steps=50))}
    for steps, warmup in ((300, 50), (51, 50), (50, 8), (46, 8), (920, 50)):
        config = job_config(arms["even"], folder, 0, steps)
        assert config.optimizer.warmup_steps == warmup
        assert config.optimizer == replace(arms["even"].optimizer, warmup_steps=warmup)
        job = Job("even", 0, config, (View.TOKENS,), 1.0)
        assert ("optimizer.warmup_steps=8" in train_command(replace(experiment, arms=arms), job)) == (warmup == 8)
    whole = replace(stated, optimizer=replace(stated.optimizer, warmup_steps=300))
    assert job_config(whole, folder, 0, 300).optimizer.warmup_steps == 300  # wrong as stated: training says so


def test_a_job_leaves_sums_of_windows_and_where_it_comes_from(swept):
    experiment, jobs, folder, _ = swept
    stored = [read_metrics(metrics_path(folder, experiment.name, job)) for job in jobs]
    for one in stored:
        windows = {name: np.asarray(values, float) for name, values in one["windows"].items()}
        assert {values.size for values in windows.values()} == {24}
        np.testing.assert_allclose(windows["inside_bits"] + windows["outside_bits"], windows["bits"], atol=1e-5)
        np.testing.assert_allclose(windows["point_bases"] + windows["span_bases"], windows["bases"])
        assert one["values"]["masked_bits_per_base"] == pytest.approx(windows["bits"].sum() / windows["bases"].sum())
        assert 1.5 < one["values"]["masked_bits_per_base"] < 2.5 and one["seconds"] > 0
        assert one["parameters"] > 16 * one["vocabulary_size"] and one["flops_per_step"] > 6 * 4 * 64 * 16 * 16
        assert len(one["commit"]) >= 7 and one["hardware"] and "+experiments/rate=" in one["train_command"]
    assert {tuple(one["windows"]["region"]) for one in stored} == {tuple(stored[0]["windows"]["region"])}
    assert len({one["corpus"] for one in stored}) == 1 and len({one["vocabulary"] for one in stored}) == 1


def test_the_report_comes_again_from_metrics_alone(swept):
    experiment, jobs, folder, _ = swept
    answer, paths = write_reports(experiment, folder)
    before = {path: path.read_bytes() for path in paths}
    result = json.loads((folder / "rate" / "result.json").read_text())
    assert result["answer"] == answer.line and set(result["views"]) == {"bases"}
    for job in jobs:
        shutil.move(folder / job.config.run.name, folder / f"moved-{job.config.run.name}")
    try:
        assert all(is_done(folder, experiment, job) for job in jobs)
        write_reports(experiment, folder)
        assert {path: path.read_bytes() for path in paths} == before
    finally:
        for job in jobs:
            shutil.move(folder / f"moved-{job.config.run.name}", folder / job.config.run.name)
    assert len(load_runs(folder, "rate")) == len(jobs)


def test_metrics_of_other_settings_are_refused(swept):
    experiment, jobs, folder, _ = swept
    for said in ({"hidden_share": 0.3}, {"drawn_phase": True}, {"in_turn": True}):
        other = replace(experiment, definition=replace(experiment.definition, **said))
        with pytest.raises(ValueError, match="was measured with other settings: choose another --folder"):
            is_done(folder, other, jobs[0])
    named = [replace(experiment.definition, **{name: True}) for name in ("drawn_phase", "in_turn")]
    measured = [sweep._measuring(replace(experiment, definition=definition)) for definition in named]
    assert fingerprint([*measured[0].values()]) != fingerprint([*measured[1].values()])


def _lacking(stated, name):
    """What was stated before `model.NAME` existed."""
    model = {key: value for key, value in stated["run"]["model"].items() if key != name}
    return stated | {"run": stated["run"] | {"model": model}}


def test_metrics_of_before_a_setting_existed_are_taken(swept, tmp_path, monkeypatch):
    experiment, jobs, folder, _ = swept
    path = metrics_path(tmp_path, experiment.name, jobs[0])
    path.parent.mkdir(parents=True)
    metrics = read_metrics(metrics_path(folder, experiment.name, jobs[0]))
    path.write_text(json.dumps(metrics | {"settings": "f" * 16, "stated": _lacking(metrics["stated"], "norm_eps")}))
    assert is_done(tmp_path, experiment, jobs[0])
    monkeypatch.setattr(stored, "ADDED", {"model.norm_eps": 0.25})  # the code did something else then
    with pytest.raises(ValueError, match="other settings: choose .* run.model.norm_eps: 0.25 there, 1e-05 here"):
        is_done(tmp_path, experiment, jobs[0])


def test_files_that_state_a_fingerprint_alone_are_taken(swept, tmp_path, monkeypatch):
    experiment, jobs, folder, _ = swept
    metrics = read_metrics(metrics_path(folder, experiment.name, jobs[0]))
    path = metrics_path(tmp_path, experiment.name, jobs[0])
    path.parent.mkdir(parents=True)
    config, definition = plain(jobs[0].config), experiment.definition
    config["run"] = {name: value for name, value in config["run"].items() if name not in SILENT}
    del config["model"]["norm_eps"]
    base = plain(experiment.base)
    name, measured = fingerprint(config), [24, definition.hidden_share, definition.span_bp, base["sampler"]]
    metrics["settings"] = fingerprint([name, measured, base["evaluation"]])
    path.write_text(json.dumps({key: value for key, value in metrics.items() if key != "stated"}))
    with pytest.raises(ValueError, match="was measured with other settings"):
        is_done(tmp_path, experiment, jobs[0])
    monkeypatch.setattr(stored, "ADDED", {"model.norm_eps": 1e-5})
    assert is_done(tmp_path, experiment, jobs[0])
    assert jobs_of(experiment, tmp_path)[0].config.run.name == f"run-{name}"  # and what was cut off goes on


def test_a_run_of_before_a_setting_existed_is_done(swept):
    _, jobs, folder, _ = swept
    path = folder / jobs[0].config.run.name / "run.json"
    before = path.read_text()
    stored_run = json.loads(before)
    del stored_run["identity"]["model"]["norm_eps"]
    path.write_text(json.dumps(stored_run))
    lines: list[str] = []
    try:
        outcome = run_training(jobs[0].config, write=lines.append)
        assert outcome.result.step == 8 and json.loads(path.read_text()) == stored_run
    finally:
        path.write_text(before)


def test_finished_runs_are_probed_from_their_checkpoints_and_shown(swept):
    experiment, jobs, folder, _ = swept
    lines: list[str] = []

    def probe(config=PROBES):
        lines.clear()
        return probe_sweep(folder, "rate", ProbeInputs(), config, base="usual", write=lines.append)

    assert probe() == 4 and all(" probes, " in line for line in lines)
    stored = read_probes(folder / "rate" / "probes" / f"{jobs[0].name}.json")
    names = [one["name"] for one in stored["probes"]]
    assert names[:2] == ["species", "repeat share"] and all(name.startswith("bits per base, ") for name in names[2:])
    assert stored["left_out"]["repeat class"] == "no annotation" and stored["run"] == jobs[0].config.run.name
    assert "no queries were given" in stored["left_out"]["retrieval"]
    predictors = {row["predictor"] for row in stored["probes"][0]["rows"]}
    assert predictors == {"model", "untrained model", "6-mer ridge", "4-mer ridge", "GC", "majority"}
    assert probe() == 4 and all(line.endswith("done before") for line in lines)
    _, paths = write_reports(experiment, folder)
    assert "species: balanced accuracy" in paths[1].read_text()
    gone = folder / jobs[3].config.run.name
    gone.rename(folder / "gone")
    try:
        assert probe(replace(PROBES, resamples=101)) == 3
        assert lines[-1].endswith("is gone") or any("is gone" in line for line in lines)
    finally:
        (folder / "gone").rename(gone)
    with pytest.raises(ValueError, match="holds no finished run"):
        probe_sweep(folder, "none", ProbeInputs(), PROBES, base="usual", write=print)


def scores(stored, predictor):
    """Leading scores of a predictor, by probe."""
    rows = [(one["name"], row) for one in stored["probes"] for row in one["rows"] if row["score"] == one["score"]]
    return {name: row["value"] for name, row in rows if row["predictor"] == predictor}


def test_a_run_and_its_bundle_have_the_same_probes_and_a_bundle_alone_none_of_windows(swept, tmp_path):
    _, jobs, folder, _ = swept
    run = folder / jobs[0].config.run.name
    told = []
    stored = probe_model(run, ProbeInputs(), PROBES, progress=lambda *step: told.append(step))
    assert stored["model"] == str(run) and stored["corpus"] == open_run_folder(run).corpus().fingerprint
    assert (
        told[0][1:] == (0, 1) and told[-1][1] == told[-1][2] and stored["left_out"]["repeat class"] == "no annotation"
    )
    bundle = export_run(run, tmp_path / "bundle")
    exported = probe_model(bundle, ProbeInputs(), PROBES, run=run)
    for predictor in (MODEL, UNTRAINED, "4-mer ridge"):
        assert scores(exported, predictor) == pytest.approx(scores(stored, predictor), abs=1e-5)
    assert set(scores(stored, UNTRAINED)) == set(scores(stored, MODEL)) != set()
    with pytest.raises(ValueError, match="nothing can be probed: .*no held-out windows: give --run"):
        probe_model(bundle, ProbeInputs(), PROBES)


def with_another_pair(vocabulary):
    """A vocabulary of the same size, with another pair of 8-mers."""
    codes = vocabulary.eight_mers.astype(np.int64)
    turned = reverse_complement_codes(np.arange(4**8), 8)
    old = next(code for code in codes if turned[code] != code)
    new = next(code for code in range(4**8) if code not in codes and turned[code] != code)
    changed = np.union1d(np.setdiff1d(codes, [old, turned[old]]), [new, turned[new]])
    return Vocabulary(changed.astype(np.uint16))


def test_a_bundle_of_another_model_is_probed_on_the_windows_of_a_run_without_how_it_began(swept, tmp_path):
    _, jobs, folder, _ = swept
    run = folder / jobs[0].config.run.name
    own = load_bundle(export_run(run, tmp_path / "own"))
    parts = {"network": own.network, "params": own.params, "model_config": own.model_config}
    parts |= {"vocabulary": with_another_pair(own.vocabulary), "lineage": {}}
    other = probe_model(write_bundle(tmp_path / "other", **parts), ProbeInputs(), PROBES, run=run)
    assert other["left_out"]["untrained model"].startswith("a bundle alone does not tell how it began")
    assert scores(other, MODEL) and not scores(other, UNTRAINED)
    with pytest.raises(ValueError, match="is a run and is probed on its own held-out windows: leave --run out"):
        probe_model(run, ProbeInputs(), PROBES, run=run)


def test_a_run_is_probed_from_the_command_line_at_any_step(swept, tmp_path):
    _, jobs, folder, _ = swept
    run, small = folder / jobs[0].config.run.name, ("--set", "windows=40", "--set", "resamples=100")
    call = ["probe", str(run), "--out", str(tmp_path / "out"), "--step", "0", "--layer", "0", *small]
    done = CliRunner().invoke(commands, call, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "repeat share" in done.output and "left out: retrieval: no queries were given" in done.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "probes.json",
        "report.html",
        "report.md",
        "report_figures",
    }
    stored = read_probes(tmp_path / "out" / "probes.json")
    assert stored["step"] == 0 and stored["config"]["layer"] == 0 and stored["config"]["windows"] == 40
    assert scores(stored, MODEL) == scores(stored, UNTRAINED)  # step 0 is how it began
    wrong = CliRunner().invoke(commands, [*call[:-4], "--set", "windows=3"])
    assert "probes.windows=3 is too few" in str(wrong.exception)
    assert "no checkpoint of step 5" in str(CliRunner().invoke(commands, [*call[:5], "5", *small]).exception)


def test_runs_of_another_corpus_are_not_probed_beside_the_base(swept, tmp_path):
    experiment, jobs, folder, _ = swept
    for job in jobs[:2]:
        (tmp_path / job.config.run.name).symlink_to(folder / job.config.run.name)
        path = metrics_path(tmp_path, experiment.name, job)
        path.parent.mkdir(parents=True, exist_ok=True)
        metrics = read_metrics(metrics_path(folder, experiment.name, job))
        path.write_text(json.dumps(metrics | ({"corpus": "f" * 16} if job.arm == "even" else {})))
    with pytest.raises(ValueError, match="even-seed0-8steps.json is of corpus f{16}, the base of .*no window is"):
        probe_sweep(tmp_path, "rate", ProbeInputs(), PROBES, base="usual", write=print)
    assert not list((tmp_path / "rate" / "probes").glob("*.json"))


def test_arms_that_learn_from_other_corpora_are_not_probed_on_windows_of_the_base(swept, tmp_path):
    experiment, jobs, folder, _ = swept
    (tmp_path / jobs[0].config.run.name).symlink_to(folder / jobs[0].config.run.name)
    path = metrics_path(tmp_path, experiment.name, jobs[0])
    path.parent.mkdir(parents=True)
    metrics = read_metrics(metrics_path(folder, experiment.name, jobs[0]))
    path.write_text(json.dumps(metrics | {"trained_on": "e" * 16}))
    with pytest.raises(ValueError, match="--probes rate: usual learnt from corpus e{16}, .* probe runs one by one"):
        probe_sweep(tmp_path, "rate", ProbeInputs(), PROBES, base="usual", write=print)


def test_no_job_is_an_error(swept):
    experiment, _, folder, _ = swept
    with pytest.raises(ValueError, match="the sweep has no job"):
        run_sweep(experiment, [], folder, command="", write=print)
    with pytest.raises(ValueError, match="makes no job"):
        jobs_of(replace(experiment, definition=replace(experiment.definition, views=[View.TOKENS])), folder)


def test_runs_whose_windows_grow_are_no_arms(tmp_path):
    config = composed("run.short_tokens=[64]", "run.short_steps=[2]")
    with pytest.raises(ValueError, match=r"run.short_tokens=\[64\] is not for arms of a sweep"):
        job_config(config, tmp_path, 0, 10)


@pytest.fixture(scope="module")
def packed(swept, tmp_path_factory):
    """The first job packed and unpacked: (what was written, where it lies)."""
    experiment, jobs, _, _ = swept
    root = tmp_path_factory.mktemp("packed")
    written = pack_experiment(experiment, jobs[:1], root / "rate.tar.gz", write=lambda line: None)
    with tarfile.open(written.path) as tar:
        tar.extractall(root / "there", filter="data")
    return written, root / "there"


def test_a_packed_job_runs_where_little_is_installed_and_its_metrics_are_the_sweeps_own(swept, packed, tmp_path):
    experiment, jobs, folder, _ = swept
    written, there = packed
    assert 2**20 < written.size_bytes < 8 * 2**20 and written.jobs == 1
    (tmp_path / "sitecustomize.py").write_text(WITHOUT.replace("['array_record'", "['array_record', 'isal'"))
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    call = [sys.executable, there / "run.py", "--out", tmp_path / "out"]
    done = subprocess.run(call, env=environ, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "[1/1] usual, seed 0, 8 steps: " in done.stdout and "metrics: " in done.stdout
    brought = metrics_path(tmp_path / "out", "rate", jobs[0])
    mine, theirs = (read_metrics(path) for path in (metrics_path(folder, "rate", jobs[0]), brought))
    assert is_done(tmp_path / "out", experiment, jobs[0]) and theirs["settings"] == mine["settings"]
    assert theirs["commit"] == mine["commit"] and theirs["command"].startswith("python run.py --out ")
    same = ("corpus", "vocabulary", "run", "slots", "parameters", "flops_per_step")
    assert {name: theirs[name] for name in same} == {name: mine[name] for name in same}
    for name, value in mine["values"].items():
        assert theirs["values"][name] == pytest.approx(value, abs=1e-4), name


def test_packed_tokens_are_multiplied_and_wrong_packs_refused(packed, tmp_path, capsys):
    _, there = packed
    opened = open_pack(there)
    (job,) = opened.jobs(tmp_path, times=20)
    assert job.config.run.steps == 160 and job.name == "usual-seed0-160steps" and job.views == (View.BASES,)
    assert not job.config.run.live_report and not job.config.run.tensorboard
    for arguments, said in [
        (["--out", str(tmp_path), "--tokens-times", "0"], "--tokens-times 0.0 must be above 0"),
        (["--out", str(tmp_path), "--part", "2/2"], "--part 2/2 has no job"),
    ]:
        assert packed_main(arguments, root=there) == 2 and said in capsys.readouterr().err
    assert packed_main(["--out", str(tmp_path)], root=tmp_path) == 2
    assert "holds no pack.json: unpack what" in capsys.readouterr().err
    told = opened.data[data_key(job.config)]
    other = replace(opened, data={data_key(job.config): {**told, "vocabulary": "0" * 16}})
    with pytest.raises(ValueError, match="packed was 0000000000000000: unpack it again"):
        other.prepare(job.config, None, write=print)


def test_a_pack_that_is_too_large_or_has_no_kind_is_refused_and_nothing_is_left(swept, tmp_path, monkeypatch):
    experiment, jobs, _, _ = swept
    monkeypatch.setattr(pack, "MOST_BYTES", 2**16)
    with pytest.raises(ValueError, match=r"more than 0: let it end with \.tar\.xz"):
        pack_experiment(experiment, jobs[:1], tmp_path / "x.tar", write=lambda line: None)
    with pytest.raises(ValueError, match=r"end it with one of \.tar, \.tar\.gz"):
        pack_experiment(experiment, jobs, tmp_path / "x.zip", write=print)
    with pytest.raises(ValueError, match="no job to pack"):
        pack_experiment(experiment, [], tmp_path / "x.tar", write=print)
    assert not list(tmp_path.iterdir())

"""Metrics that are kept for good: gzipped, the same bytes again, read like a sweep's own."""

from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from plantgfm.ablation.keep import keep_sweep
from plantgfm.ablation.report import load_runs
from plantgfm.ablation.sweep import metrics_path
from plantgfm.cli import commands
from tests.ablation.folders import write_experiment
from tests.ablation.test_report import write_runs


@pytest.fixture
def runs(tmp_path):
    write_runs(tmp_path / "runs", {"usual": 0.0, "tiny": 0.05})
    (tmp_path / "runs" / "planted").rename(tmp_path / "runs" / "rate")
    return tmp_path / "runs"


def test_kept_metrics_are_small_hold_the_same_and_come_out_the_same_again(runs, tmp_path):
    kept = keep_sweep(runs, "rate", tmp_path / "kept")
    before = {path: path.read_bytes() for path in kept}
    own = sorted((runs / "rate" / "metrics").iterdir())
    assert [path.name for path in kept] == [f"{path.name}.gz" for path in own]
    assert sum(map(len, before.values())) < 0.5 * sum(path.stat().st_size for path in own)
    assert load_runs(tmp_path / "kept", "rate") == load_runs(runs, "rate")
    keep_sweep(runs, "rate", tmp_path / "kept")
    assert {path: path.read_bytes() for path in kept} == before


def test_kept_commands_name_no_folder_of_the_machine(tmp_path):
    said = {
        "command": "plantgfm ablate rate --experiments /home/me/own --folder runs/real corpus.path=../genomes/m.csv",
        "train_command": "python train.py 'hydra.searchpath=[file://.]' 'corpus.more=[/d/a.csv,/d/c.csv]' +own/x=usual",
    }
    write_runs(tmp_path / "runs", {"usual": 0.0}, **said)
    keep_sweep(tmp_path / "runs", "planted", tmp_path / "kept")
    first, own = load_runs(tmp_path / "kept", "planted")[0], load_runs(tmp_path / "runs", "planted")[0]
    assert first["command"] == said["command"].replace("/home/me/", "")
    assert first["train_command"] == said["train_command"].replace("/d/", "")
    assert {**first, **said} == own


def test_a_run_beside_its_kept_metrics_counts_once(runs):
    kept = keep_sweep(runs, "rate", runs.parent / "kept")
    n_runs = len(load_runs(runs, "rate"))
    kept[0].rename(runs / "rate" / "metrics" / kept[0].name)
    assert len(load_runs(runs, "rate")) == n_runs


def test_a_sweep_finds_a_job_by_its_kept_metrics_and_by_its_own_first(tmp_path):
    job = SimpleNamespace(name="usual-seed0-7steps")
    folder = tmp_path / "rate" / "metrics"
    folder.mkdir(parents=True)
    own, kept = folder / "usual-seed0-7steps.json", folder / "usual-seed0-7steps.json.gz"
    assert metrics_path(tmp_path, "rate", job) == own
    kept.touch()
    assert metrics_path(tmp_path, "rate", job) == kept
    own.touch()
    assert metrics_path(tmp_path, "rate", job) == own


def test_damaged_kept_metrics_are_told_by_name(runs, tmp_path):
    kept = keep_sweep(runs, "rate", tmp_path / "kept")
    kept[0].write_bytes(kept[0].read_bytes()[:-20])
    with pytest.raises(ValueError, match=rf"{kept[0].name} is no whole gzip file; delete it"):
        load_runs(tmp_path / "kept", "rate")


def test_nothing_to_keep_and_the_own_folder_are_refused(runs, tmp_path):
    with pytest.raises(ValueError, match="holds no metrics"):
        keep_sweep(tmp_path / "none", "rate", tmp_path / "kept")
    with pytest.raises(ValueError, match="the sweep's own folder"):
        keep_sweep(runs, "rate", runs)
    assert not (tmp_path / "kept").exists()


def test_the_command_keeps_and_draws_the_report_there(runs, tmp_path):
    experiments, kept = write_experiment(tmp_path).parent, tmp_path / "kept"
    asked = ["ablate", "rate", "--experiments", experiments, "--folder", runs, "--report", "--keep", kept]
    said = CliRunner().invoke(commands, list(map(str, asked)))
    assert said.exit_code == 0 and f"report: {kept / 'rate' / 'report.html'}" in said.output, said.output
    again = CliRunner().invoke(commands, ["ablate", "rate", *map(str, asked[2:4]), "--folder", str(kept), "--report"])
    assert again.exit_code == 0 and "tiny: worse than usual" in again.output
    wrong = CliRunner().invoke(commands, ["ablate", "rate", "--dry-run", "--keep", str(kept)])
    assert wrong.exit_code == 2 and "nothing to keep" in wrong.output

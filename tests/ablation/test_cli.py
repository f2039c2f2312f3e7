"""`plantgfm ablate`, as far as nothing is trained: a dry run, and a report from stored metrics."""

from click.testing import CliRunner

from plantgfm.cli import commands
from tests.ablation.folders import write_experiment
from tests.ablation.test_report import write_runs


def invoke(*arguments):
    result = CliRunner().invoke(commands, ["ablate", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_dry_run_shows_what_arms_change_and_a_command_for_each_job_and_writes_nothing(tmp_path):
    experiments = write_experiment(tmp_path).parent
    runs = tmp_path / "runs"
    said = invoke("rate", "--experiments", experiments, "--folder", runs, "--dry-run", "run.steps=7")
    assert "usual: the base\n" in said and "tiny: optimizer.peak_learning_rate: 0.002 -> 1e-09\n" in said
    lines = [line for line in said.splitlines() if line.startswith("python train.py")]
    assert "\n4 jobs:\n" in said and len(set(lines)) == 4
    assert all("run.steps=7" in line and f"run.folder={runs}" in line for line in lines)
    assert sum("+experiments/rate=tiny" in line for line in lines) == 2
    assert not runs.exists()


def test_a_report_is_drawn_from_stored_metrics(tmp_path):
    folder = write_experiment(tmp_path)
    write_runs(tmp_path / "runs", {"usual": 0.0, "tiny": 0.05})
    (tmp_path / "runs" / "planted").rename(tmp_path / "runs" / "rate")
    said = invoke("rate", "--experiments", folder.parent, "--folder", tmp_path / "runs", "--report")
    assert "Does the rate matter?\nusual stays" in said and "tiny: worse than usual" in said
    assert (tmp_path / "runs" / "rate" / "report.md").is_file() and (tmp_path / "runs" / "index.html").is_file()


def refused(*arguments):
    result = CliRunner().invoke(commands, list(map(str, arguments)))
    assert result.exit_code != 0
    return result.output + str(result.exception)


def test_probes_are_shown_beside_a_stored_report_and_wrong_words_are_refused(tmp_path):
    folder = write_experiment(tmp_path)
    write_runs(tmp_path / "runs", {"usual": 0.0, "tiny": 0.05})
    (tmp_path / "runs" / "planted").rename(tmp_path / "runs" / "rate")
    where = ("rate", "--experiments", folder.parent, "--folder", tmp_path / "runs")
    assert "no longer holds run-tiny and the others" in refused("ablate", *where, "--report", "--probes")
    assert "leave --probes out" in refused("ablate", *where, "--dry-run", "--probes")
    for more in (("--tasks", tmp_path), ("--probe-set", "windows=80")):
        assert "are of --probes: give that, too" in refused("ablate", *where, "--report", *more)
    few = ("--probes", "--probe-set", "windows=1")
    assert "probes.windows=1 is too few" in refused("ablate", *where, "--report", *few)


def test_a_probe_of_no_model_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "file").write_text("")
    out = tmp_path / "out"
    assert "is no bundle" in refused("probe", tmp_path, "--out", out)
    assert "is a file: give a folder" in refused("probe", tmp_path, "--out", tmp_path / "file")
    assert "probes.windows=1 is too few" in refused("probe", tmp_path, "--out", out, "--set", "windows=1")
    assert "--step chooses a checkpoint of a run" in refused("probe", tmp_path, "--out", out, "--step", "best")
    assert "go together" in refused("probe", tmp_path, "--out", out, "--queries", tmp_path / "q.fa")
    assert not out.exists()
    said = CliRunner().invoke(commands, ["probe", "--help"]).output
    assert "--layer" in said and "what far simpler features tell" in said

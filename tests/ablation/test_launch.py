"""Sweeps as SLURM jobs, with a stand-in for sbatch: what is submitted, what waits for what, what is left out."""

import os
import re
import shlex
import subprocess

import pytest
from click.testing import CliRunner

from plantgfm.ablation.definition import open_experiment
from plantgfm.ablation.jobs import jobs_of, share
from plantgfm.ablation.launch import SBATCH_FILE, pairs_of, shell_lines, submissions, submit
from plantgfm.cli import commands
from tests.ablation.folders import DEFINITION, three_arms, write_experiment

SBATCH = """#!/bin/sh
printf '%s\\n' "$@" "--" >> "$CALLED"
[ -n "$REFUSE" ] && { echo "sbatch: error: invalid partition" >&2; exit 1; }
echo "$((100 + $(grep -c '^--$' "$CALLED")));cluster"
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A stand-in for sbatch on the path; gives the calls that it got."""
    (tmp_path / "bin").mkdir()
    path = tmp_path / "bin" / "sbatch"
    path.write_text(SBATCH)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLED", str(tmp_path / "called"))
    monkeypatch.setenv("REFUSE", "")
    return lambda: [call.split("\n") for call in (tmp_path / "called").read_text().rstrip("\n-").split("\n--\n")]


def invoke(*arguments):
    return CliRunner().invoke(commands, ["ablate", *map(str, arguments)])


def test_three_calls_prepare_run_and_report(tmp_path, slurm):
    experiments, runs = write_experiment(tmp_path).parent, tmp_path / "my runs"
    where = ("--experiments", experiments, "--folder", runs)
    said = invoke("rate", "run.steps=7", *where, "--launcher", "slurm", "--sbatch", "--partition=gpu --gpus=1")
    assert said.exit_code == 0, said.output
    assert said.output == "submitted: 101 prepares the data, the array 102 runs, 103 draws the report\n"
    prepare, array, report = slurm()
    shared = ["--parsable", "--partition=gpu", "--gpus=1"]
    words = ["--folder", str(runs), "--experiments", str(experiments)]
    file = str(SBATCH_FILE)
    assert prepare == [*shared, file, "rate", "run.steps=7", *words, "--prepare"]
    numbered = ["--kill-on-invalid-dep=yes", "--array=1-4", "--export=ALL,PARTS=4", "--dependency=afterok:101"]
    assert array == [*shared, *numbered, file, "rate", "run.steps=7", *words]
    assert report == [*shared, "--dependency=afterany:102", file, "rate", *words, "--report"]
    assert not runs.exists()


def test_an_arm_left_out_is_left_out_of_every_call(tmp_path, slurm):
    where = ("--experiments", three_arms(tmp_path).parent, "--folder", tmp_path / "runs")
    said = invoke("rate", *where, "--without", "low", "--launcher", "slurm")
    assert said.exit_code == 0, said.output
    assert all(call[call.index("--without") + 1] == "low" for call in slurm()) and "--array=1-4" in slurm()[1]


def test_a_dry_run_submits_nothing_and_shows_lines_that_a_shell_runs(tmp_path, slurm):
    where = ("--experiments", write_experiment(tmp_path).parent, "--folder", tmp_path / "my runs")
    said = invoke("rate", *where, "--launcher", "slurm", "--dry-run")
    assert said.exit_code == 0 and not (tmp_path / "called").exists()
    assert "task 1: usual, seed 0\ntask 2: tiny, seed 0\ntask 3: usual, seed 1\n" in said.output
    lines = said.output.split("\n\n")[1]
    subprocess.run(["sh", "-euc", lines], check=True)
    invoke("rate", *where, "--launcher", "slurm")
    calls = slurm()
    assert [[re.sub(r":10\d", ":10x", word) for word in call] for call in calls[:3]] == [
        [re.sub(r":10\d", ":10x", word) for word in call] for call in calls[3:]
    ]


def test_what_is_done_is_left_out_unless_its_steps_are_still_to_be_counted(tmp_path, monkeypatch):
    experiment = open_experiment(write_experiment(tmp_path))
    done = {("usual", 0), ("tiny", 1)}
    monkeypatch.setattr("plantgfm.ablation.launch.is_done", lambda folder, _, job: (job.arm, job.seed) in done)
    calls = submissions(experiment, tmp_path, words=["rate"], options=[])
    assert "--array=2-3" in calls[1].options and "--export=ALL,PARTS=4" in calls[1].options
    done.update(pairs_of(experiment))
    assert submissions(experiment, tmp_path, words=["rate"], options=[]) == []
    both = open_experiment(write_experiment(tmp_path / "b", definition=DEFINITION + "views: [BASES, TOKENS]\n"))
    assert "--array=1-4" in submissions(both, tmp_path, words=["rate"], options=[])[1].options
    assert len(shell_lines(calls)) == 3


def test_a_refusal_and_a_missing_sbatch_are_one_line(tmp_path, slurm, monkeypatch):
    calls = submissions(open_experiment(write_experiment(tmp_path)), tmp_path, words=["rate"], options=[])
    monkeypatch.setenv("REFUSE", "1")
    with pytest.raises(ValueError, match=r"^sbatch refused \(sbatch: error: invalid partition\)$"):
        submit(calls)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="sbatch is not on the PATH: submit from a login node"):
        submit(calls)


def test_parts_are_pairs_of_arm_and_seed_and_all_of_them(tmp_path):
    experiment = open_experiment(write_experiment(tmp_path))
    jobs = jobs_of(experiment, tmp_path)
    parts = [share(jobs, f"{part}/4") for part in (1, 2, 3, 4)]
    assert [[(job.arm, job.seed) for job in part] for part in parts] == [[pair] for pair in pairs_of(experiment)]
    assert sum((share(jobs, f"{part}/3") for part in (1, 2, 3)), []) != jobs and len(share(jobs, "1/3")) == 2
    for wrong, said in [("0/4", "is no share"), ("a/4", "is no share"), ("3", "is no share"), ("5/5", "has no job")]:
        with pytest.raises(ValueError, match=said):
            share(jobs, wrong)


@pytest.mark.parametrize(
    ("task", "part"),
    [({}, []), ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MAX": "9"}, ["--part", "3/9"]),
     ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MAX": "7", "PARTS": "9"}, ["--part", "3/9"])],
)  # fmt: skip
def test_the_slurm_file_starts_the_command_with_its_part(tmp_path, task, part):
    (tmp_path / "plantgfm").write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    (tmp_path / "plantgfm").chmod(0o755)
    place = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", **task}
    done = subprocess.run(
        ["bash", SBATCH_FILE, "masking", "run.name=my name"], env=place, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["ablate", "masking", "run.name=my name", *part], done.stderr
    nothing = subprocess.run(["bash", SBATCH_FILE], env=place, capture_output=True, text=True)
    assert nothing.returncode == 2 and "usage: sbatch" in nothing.stderr


def test_the_slurm_file_says_the_lines_that_are_submitted(tmp_path):
    text = SBATCH_FILE.read_text()
    written = [shlex.split(line[1:], comments=True) for line in text.splitlines() if line.startswith("#   ")]
    assert len(written) == 3 and all("configs/run/ablate.sbatch" in line[-1] or line for line in written)
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", text, re.MULTILINE))
    assert len(asked) == text.count("\n#SBATCH ") and asked["signal"].endswith("TERM@120")


def test_calls_that_contradict_themselves_are_refused(tmp_path):
    where = ("rate", "--experiments", write_experiment(tmp_path).parent, "--folder", tmp_path)
    for options, said in [
        (("--report", "--part", "1/2"), "--report and --part exclude each other"),
        (("--prepare", "--pack", tmp_path / "a.tar"), "--prepare and --pack exclude each other"),
        (("--launcher", "slurm", "--part", "1/2"), "--part and --launcher slurm exclude each other"),
        (("--sbatch", "--gpus=1"), "--sbatch is for --launcher slurm"),
        (("--part", "1/2", "--keep", tmp_path), "--part ends without all metrics: leave --keep out"),
    ]:
        result = invoke(*where, *options)
        assert result.exit_code and said in result.output, result.output

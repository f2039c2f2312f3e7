"""Who does the work changes nothing; a choice that contradicts itself is refused; templates name what exists."""

import hashlib
import os
import re
import subprocess
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path

import click
import pytest

from plantgfm.cli import commands
from plantgfm.config import ExecutorKind, check_executor
from plantgfm.curation.config import CurationConfig
from plantgfm.curation.curate import WorkerDied, curate, prepare_part
from plantgfm.wiring.executors import open_executor
from tests.curation.small import make_world

TEMPLATES = Path(__file__).resolve().parent.parent.parent / "configs" / "run"
KIND = ExecutorKind


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    return folder, make_world(folder)


def run(world, store, **more):
    folder, rows = world
    inputs = {"passport": folder / "passport.tsv", "references": folder / "references.tsv"}
    return curate(rows, CurationConfig(), store=store, **inputs, **more)


def bytes_of(store):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (store / "assemblies").iterdir()}


@pytest.fixture(scope="module")
def serial(world, tmp_path_factory):
    store = tmp_path_factory.mktemp("serial")
    told = []
    found = run(world, store, progress=lambda *event: told.append(event))
    return found, bytes_of(store), told


def check_same(found, store, serial):
    assert found.fingerprint == serial[0].fingerprint
    assert found.ledger == serial[0].ledger
    assert bytes_of(store) == serial[1], "artefacts differ"


def test_processes_give_the_same_bit_for_bit(world, serial, tmp_path):
    told = []
    with open_executor(KIND.AUTO, workers=2) as executor:
        found = run(world, tmp_path, executor=executor, progress=lambda *event: told.append(event))
    check_same(found, tmp_path, serial)
    assert {label for label, _, _ in told} == {label for label, _, _ in serial[2]}
    assert "curate: first.fa.gz (Testus unus)" in {label for label, _, _ in told}
    assert told[-1][1:] == serial[2][-1][1:] == (4, 4)


def test_dask_gives_the_same_bit_for_bit(world, serial, tmp_path):
    pytest.importorskip("distributed", reason="Dask is not installed: make test-cluster")
    with open_executor(KIND.DASK, workers=2) as executor:
        found = run(world, tmp_path, executor=executor)
        deadly = executor.submit(os._exit, 1)
        with pytest.raises(BrokenExecutor, match="died on it"):
            deadly.result()
        with pytest.raises(ValueError, match="invalid literal"):
            executor.submit(int, "x").result()
    check_same(found, tmp_path, serial)


def test_a_scheduler_that_does_not_answer_is_one_clear_error(monkeypatch):
    pytest.importorskip("distributed", reason="Dask is not installed: make test-cluster")
    monkeypatch.setattr("plantgfm.wiring.executors._CONNECT_SECONDS", 0.5)
    with (
        pytest.raises(ValueError, match="no Dask scheduler answers at tcp://127.0.0.1:9"),
        open_executor(KIND.DASK, cluster="tcp://127.0.0.1:9"),
    ):
        pass


def test_parts_prepare_what_the_whole_then_finds(world, serial, tmp_path):
    folder, rows = world
    inputs = {"store": tmp_path, "references": folder / "references.tsv"}
    sizes = [prepare_part(rows[::-1], CurationConfig(), part=n, parts=3, **inputs) for n in (1, 2, 3)]
    assert sizes == [(2, 0), (1, 0), (1, 0)]
    assert prepare_part(rows, CurationConfig(), part=5, parts=9, **inputs) == (0, 0), "more parts than files"
    found = run(world, tmp_path)
    assert found.reused == 4
    check_same(found, tmp_path, serial)
    with pytest.raises(ValueError, match="part 4 of 3 is none"):
        prepare_part(rows, CurationConfig(), part=4, parts=3, **inputs)


class Stub(Executor):
    """The first task fails as told, the others never begin."""

    def __init__(self, error):
        self.error, self.futures = error, []

    def submit(self, fn, *arguments, **named):
        self.futures.append(Future())
        if len(self.futures) == 1:
            self.futures[0].set_exception(self.error)
        return self.futures[-1]


def test_a_file_on_which_workers_die_is_named_and_the_rest_need_not_begin(world, tmp_path):
    stub = Stub(BrokenExecutor("a worker process died on it, 3 times of 3"))
    with pytest.raises(WorkerDied, match=r"\.fa\.gz: a worker process died on it.*fewer workers"):
        run(world, tmp_path, executor=stub)
    assert len(stub.futures) == 4 and all(future.cancelled() for future in stub.futures[1:])


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ((KIND.AUTO, 0, ""), "workers = 0 must be at least 1"),
        ((KIND.SERIAL, 2, ""), "serial works alone"),
        ((KIND.PROCESSES, 2, "slurm"), "needs the executor dask, not processes"),
        ((KIND.DASK, 1, "pbs"), "neither 'slurm' nor an address"),
        ((KIND.DASK, 3, "tcp://host:1"), "workers = 3 can't be asked of tcp://host:1"),
    ],
)
def test_a_choice_that_contradicts_itself_is_refused(choice, said):
    kind, workers, cluster = choice
    with pytest.raises(ValueError, match=re.escape(said)):
        check_executor(kind, workers=workers, cluster=cluster)


def test_without_dask_the_way_out_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "dask", None)
    with pytest.raises(ValueError, match=r"pip install 'plantgfm\[cluster\]'"), open_executor(KIND.DASK):
        pass


def test_one_worker_works_here_unless_a_pool_is_asked_for():
    with open_executor() as executor:
        assert executor is None
    with open_executor(KIND.PROCESSES, workers=1) as executor:
        assert executor is not None


SHIM = """#!/bin/sh
printf '%s\\n' "$@" > "$CALLED"
"""


def call_template(folder, *arguments, **environment):
    """Run the sbatch template as SLURM would, with a `plantgfm` that notes how it is called."""
    (folder / "plantgfm").write_text(SHIM)
    (folder / "plantgfm").chmod(0o755)
    place = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "CALLED": str(folder / "called"), **environment}
    done = subprocess.run(
        ["bash", str(TEMPLATES / "curate.sbatch"), *arguments], env=place, capture_output=True, text=True
    )
    called = folder / "called"
    return done, called.read_text().splitlines() if called.is_file() else []


def test_the_sbatch_template_is_valid_bash():
    assert subprocess.run(["bash", "-n", str(TEMPLATES / "curate.sbatch")], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MAX": "48"}, {"part": "3/48", "out": None, "workers": 1}),
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MAX": "7", "PARTS": "48"}, {"part": "3/48", "out": None}),
        ({"SLURM_CPUS_PER_TASK": "4"}, {"part": None, "out": Path("my out"), "workers": 4}),
        ({"STORE": "a store"}, {"store": Path("a store"), "workers": 1}),
    ],
)
def test_the_sbatch_template_calls_options_that_exist(tmp_path, environment, expected):
    done, called = call_template(tmp_path, "my genomes.csv", "my out", "--set", "label.margin=0.1", **environment)
    assert done.returncode == 0, done.stderr
    assert called[0] == "curate"
    context = commands.commands["curate"].make_context("curate", called[1:])  # refuses an option that is none
    assert context.params["manifests"] == (Path("my genomes.csv"),) and context.params["overrides"] == (
        "label.margin=0.1",
    )
    assert {name: context.params[name] for name in expected} == expected


def test_the_sbatch_template_says_how_it_is_used(tmp_path):
    done, called = call_template(tmp_path, "genomes.csv")
    assert done.returncode == 2 and "usage: sbatch" in done.stderr and not called


@pytest.mark.parametrize("name", ["curate.sbatch", "jobqueue.yml"])
def test_what_the_templates_tell_names_options_that_exist(name):
    options = {flag for option in commands.commands["curate"].params for flag in getattr(option, "opts", [])}
    slurm = {"--parsable", "--array", "--dependency", "--job-name", "--cpus-per-task", "--mem", "--time", "--output"}
    dask = {"--lifetime", "--lifetime-stagger"}
    told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", (TEMPLATES / name).read_text()))
    assert told and told <= options | slurm | dask
    assert isinstance(commands.commands["curate"], click.Command)


def test_jobqueue_writes_the_job_that_its_file_describes(monkeypatch):
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed: make test-cluster")
    import yaml
    from dask_jobqueue.slurm import SLURMJob

    described = yaml.safe_load((TEMPLATES / "jobqueue.yml").read_text())["jobqueue"]["slurm"]
    keywords = {key.replace("-", "_"): value for key, value in described.items()}
    script = SLURMJob(scheduler="tcp://host:1", **keywords).job_script()
    for line in ("#SBATCH -t 04:00:00", "#SBATCH --cpus-per-task=1", "--lifetime 225m --lifetime-stagger 10m"):
        assert line in script

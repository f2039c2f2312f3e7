"""Launch files for training on many hosts: valid, and naming options, overrides and variables that exist."""

import os
import re
import subprocess

import pytest
import yaml

from plantgfm.config import MeshLayout
from plantgfm.training.hosts import Standing, find_hosts
from tests.conftest import ROOT, composed

TEMPLATES = ROOT / "configs" / "run"
SHIM = """#!/bin/sh
printf '%s\\n' "$@" > "$CALLED"
"""


def call_sbatch(folder, *arguments):
    """Run the template as SLURM would, with an `srun` that notes what it is to start."""
    (folder / "srun").write_text(SHIM)
    (folder / "srun").chmod(0o755)
    place = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "CALLED": str(folder / "called")}
    done = subprocess.run(
        ["bash", str(TEMPLATES / "train.sbatch"), *arguments], env=place, capture_output=True, text=True
    )
    called = folder / "called"
    return done, called.read_text().splitlines() if called.is_file() else []


def test_the_slurm_file_starts_train_with_overrides_that_exist(tmp_path):
    done, called = call_sbatch(tmp_path, "model=base", "run.name=my name")
    assert done.returncode == 0, done.stderr
    at = called.index("train.py")
    assert called[:at] == ["--kill-on-bad-exit=1", "python"]
    config = composed(*called[at + 1 :])
    assert (config.run.hosts, config.run.name, config.model.d_model) == ("auto", "my name", 512)
    assert config.mesh.layout is MeshLayout.AUTO


def test_the_slurm_file_says_how_it_is_used(tmp_path):
    done, called = call_sbatch(tmp_path)
    assert done.returncode == 2 and "usage: sbatch" in done.stderr and not called


def test_the_slurm_file_asks_for_what_slurm_knows():
    text = (TEMPLATES / "train.sbatch").read_text()
    assert subprocess.run(["bash", "-n", str(TEMPLATES / "train.sbatch")], capture_output=True).returncode == 0
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", text, re.MULTILINE))
    assert len(asked) == text.count("\n#SBATCH ")
    assert asked.keys() == {
        *("job-name", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "mem", "time", "signal", "output")
    }
    # One task a node takes all its devices, and the signal reaches the tasks (not the shell: no "B:").
    assert asked["ntasks-per-node"] == "1" and asked["signal"] == "TERM@300"


@pytest.fixture
def job():
    service, job = yaml.safe_load_all((TEMPLATES / "train_job.yml").read_text())
    return service, job, job["spec"]["template"]["spec"]["containers"][0]


def test_the_kubernetes_file_starts_train_with_overrides_that_exist(job):
    *_, container = job
    assert container["command"] == ["python", "train.py"]
    config = composed(*container["args"])
    assert (config.run.hosts, config.mesh.layout) == ("auto", MeshLayout.AUTO)
    mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert config.run.folder.startswith(mounted[0])


def test_the_pods_of_the_kubernetes_file_find_one_another(job):
    service, job, container = job
    environ = {entry["name"]: entry["value"] for entry in container["env"]}
    pods = job["spec"]["completions"]
    assert job["spec"]["completionMode"] == "Indexed" and job["spec"]["parallelism"] == pods
    name, subdomain = job["metadata"]["name"], job["spec"]["template"]["spec"]["subdomain"]
    address = f"{name}-0.{subdomain}:{container['ports'][0]['containerPort']}"
    for index in range(pods):
        found = find_hosts("auto", {**environ, "JOB_COMPLETION_INDEX": str(index)})
        assert found == Standing(address, index, pods)
    assert service["kind"] == "Service" and service["spec"]["clusterIP"] == "None"
    assert service["metadata"]["name"] == subdomain and service["spec"]["selector"] == {"job-name": name}
    claimed = {volume["name"] for volume in job["spec"]["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == claimed

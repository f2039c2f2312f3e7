"""Several processes as one run: how they find one another, and two of them at work over loopback."""

import json
import os
import signal
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from plantgfm.partition import batch_sharding, make_mesh, rows_of_process
from plantgfm.training.checkpoint import restore_params, steps_of
from plantgfm.training.hosts import ALONE, HostError, Hosts, LostHost, Standing, find_hosts, join_hosts
from plantgfm.training.metrics import METRICS_FILE, read_metrics
from tests.conftest import ROOT
from tests.training.together import STEPS, train_line

SLURM = {
    "SLURM_JOB_ID": "70001",
    "SLURM_STEP_NODELIST": "node[007-010],gpu3",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_TASKS_PER_NODE": "1(x4)",
}
POD = {"JAX_COORDINATOR_ADDRESS": "train-0.train:8476", "JAX_NUM_PROCESSES": "4", "JOB_COMPLETION_INDEX": "3"}


def test_alone_needs_no_runtime():
    assert find_hosts("none", {**SLURM, **POD}) is None
    assert ALONE.lead("x", lambda: 5) == 5 and ALONE.agree("x", lambda: 5) == [5]
    with pytest.raises(ZeroDivisionError):
        ALONE.lead("x", lambda: 1 / 0)


@pytest.mark.parametrize(
    ("setting", "environ", "expected"),
    [
        ("node1:8476/0/2", {}, Standing("node1:8476", 0, 2)),
        ("[::1]:8476/1/2", SLURM, Standing("[::1]:8476", 1, 2)),
        ("auto", SLURM, Standing(f"node007:{61440 + 70001 % 4096}", 2, 4)),
        ("auto", {**SLURM, "SLURM_STEP_NODELIST": "gpu3"}, Standing(f"gpu3:{61440 + 70001 % 4096}", 2, 4)),
        ("auto", {**SLURM, "SLURM_STEP_NODELIST": "a1,b2", "JAX_COORDINATOR_PORT": "99"}, Standing("a1:99", 2, 4)),
        (
            "auto",
            {**SLURM, "SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURM_LOCALID": "1"},
            Standing(f"node007:{61440 + 70001 % 4096}", 2, 4, (1,)),
        ),
        ("auto", {**SLURM, **POD}, Standing("train-0.train:8476", 3, 4)),
        ("auto", {**POD, "JAX_PROCESS_ID": "1"}, Standing("train-0.train:8476", 1, 4)),
        ("auto", {}, Standing("")),
    ],
)
def test_where_a_process_stands(setting, environ, expected):
    assert find_hosts(setting, environ) == expected


@pytest.mark.parametrize(
    ("setting", "environ", "port"),
    [
        ("node1:99999/1/2", {}, "99999"),
        ("node1:0/1/2", {}, "0"),
        ("auto", {**POD, "JAX_COORDINATOR_ADDRESS": "train-0.train:65536"}, "65536"),
        ("auto", {**SLURM, "JAX_COORDINATOR_PORT": "http"}, "http"),
    ],
)
def test_an_address_where_nobody_can_answer_is_refused_before_anybody_waits(setting, environ, port):
    with pytest.raises(HostError, match=rf": {port} of \S+:{port} is no port, which are 1 to 65535"):
        find_hosts(setting, environ)


@pytest.mark.parametrize(
    ("setting", "environ", "reason"),
    [
        ("slurm", {}, "neither none, auto, nor HOST:PORT/INDEX/COUNT"),
        ("node1/0/2", {}, "neither"),
        ("node1:84/2/2", {}, "process 2 of 2 does not exist"),
        ("auto", {**POD, "JAX_NUM_PROCESSES": ""}, "needs JAX_NUM_PROCESSES"),
        ("auto", {**POD, "JAX_COORDINATOR_ADDRESS": "train-0.train"}, "has to be HOST:PORT"),
        ("auto", {**POD, "JOB_COMPLETION_INDEX": "4"}, "process 4 of 4"),
        ("auto", {**SLURM, "SLURM_STEP_NODELIST": ""}, "names no node"),
    ],
)
def test_what_contradicts_itself_is_refused(setting, environ, reason):
    with pytest.raises(HostError, match=reason):
        find_hosts(setting, environ)


def test_errors_of_the_runtime_and_no_others_mean_a_lost_host():
    gloo = "UNKNOWN: Gloo AllGather failed: Connection closed by peer [127.0.0.1]:17573\nmore"
    errors = (ValueError(gloo), jax.errors.JaxRuntimeError("INTERNAL: NCCL"), ValueError("seed is -1"), OSError(gloo))
    two, raised = Hosts(1, 2, 5.0), []
    for hosts in (two, ALONE):
        for error in errors:
            with pytest.raises(Exception) as caught, hosts.together(lambda: "step 7"):
                raise error
            raised.append(caught.value)
    assert [type(error) for error in raised[:2]] == [LostHost] * 2 and raised[2:] == [*errors[2:], *errors]
    assert str(raised[0]).startswith(
        "process 1 of 2 could not go on with the others, behind step 7: one of them is gone, or a device failed "
        "(UNKNOWN: Gloo AllGather failed: Connection closed by peer [127.0.0.1]:17573). Start all processes again"
    )


def test_a_first_process_that_does_not_come_is_an_error():
    with pytest.raises(HostError, match=r"process 1 of 2 found no process 0 at .* in 0 s .* run.hosts_wait_s"):
        join_hosts(f"127.0.0.1:{free_port()}/1/2", {}, wait_s=0.1)


class Device:
    """A device of a process, as far as a mesh looks at it."""

    def __init__(self, process):
        self.process_index, self.id = process, process


def mesh_of(per_process, *, processes, tensor):
    class Mesh:
        devices = np.array([Device(process) for process in range(processes) for _ in range(per_process)], dtype=object)
        shape = {"tensor": tensor}

    return Mesh


@pytest.mark.parametrize(
    ("per_process", "processes", "tensor", "shares"),
    [
        (2, 2, 1, [(0, 2), (1, 2)]),
        (4, 2, 2, [(0, 2), (1, 2)]),
        (1, 4, 2, [(0, 2), (0, 2), (1, 2), (1, 2)]),
        (1, 2, 2, [(0, 1), (0, 1)]),
    ],
)
def test_processes_that_hold_the_same_windows_load_the_same_share(per_process, processes, tensor, shares):
    mesh = mesh_of(per_process, processes=processes, tensor=tensor)
    assert [rows_of_process(mesh, index) for index in range(processes)] == shares


def test_shares_that_are_not_equal_are_refused():
    with pytest.raises(ValueError, match=r"choose a mesh\.tensor"):
        rows_of_process(mesh_of(4, processes=3, tensor=3), 1)


def test_the_rows_of_a_process_are_those_that_its_devices_hold():
    mesh = make_mesh(data=2, fsdp=2, tensor=2)
    held = batch_sharding(mesh).addressable_devices_indices_map((8, 3))
    assert rows_of_process(mesh, 0) == (0, 1) and len({index[0].start for index in held.values()}) == 4


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launch(program, arguments, environs, *, timeout=300):
    """Start one process an environment; (exit status, output, errors) of each. `{index}` is filled in."""
    base = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "JAX_NUM"))}
    base |= {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(
            [sys.executable, *program, *(text.replace("{index}", str(index)) for text in arguments)],
            env={**base, **extra},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index, extra in enumerate(environs)
    ]
    try:
        outputs = [process.communicate(timeout=timeout) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, *output) for process, output in zip(started, outputs)]


def slurm_tasks(count: int) -> list[dict[str, str]]:
    """What SLURM tells the tasks of a step on one node, each with a device of its own."""
    shared = {"SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "127.0.0.1", "JAX_COORDINATOR_PORT": str(free_port())}
    return [
        {**shared, "SLURM_NTASKS": str(count), "SLURM_PROCID": str(index), "SLURM_LOCALID": str(index)}
        for index in range(count)
    ]


def seen_by(ended):
    for status, _, errors in ended:
        assert status == 0, errors[-3000:]
    return [json.loads(output.split("SEEN ")[1].splitlines()[0]) for _, output, _ in ended]


# PLANTGFM_PROCESSES=4 runs the same with four.
COUNT = int(os.environ.get("PLANTGFM_PROCESSES", "2"))


def test_two_processes_train_as_one(tmp_path):
    program = ["-m", "tests.training.together"]
    stopped = seen_by(launch(program, [str(tmp_path / "run"), "auto", "4"], slurm_tasks(COUNT)))
    assert [each["index"] for each in stopped] == list(range(COUNT))
    for each in stopped:
        assert each["devices"] == COUNT and each["led"] == {"from": 0}
        assert each["agreed"] == [10 * index for index in range(COUNT)]
        assert each["leader"].endswith("no genomes here") and each["other"].endswith("no genomes here")
        # The signal of the last process stops all behind the same step.
        assert each["result"]["interrupted"] == "SIGTERM" and 4 <= each["result"]["step"] < STEPS
    assert len({each["result"]["step"] for each in stopped}) == 1
    assert steps_of(tmp_path / "run")[-1] == stopped[0]["result"]["step"]
    assert stopped[1]["leader"].startswith("HostError: process 0 failed at leader")

    # One is lost: the others end with an error that says so, and none waits for ever.
    lost = [{**each, "STOP_SIGNAL": "SIGKILL"} for each in slurm_tasks(COUNT)]
    *others, gone = launch(program, [str(tmp_path / "run"), "auto", "7"], lost)
    assert gone[0] == -signal.SIGKILL
    for index, (status, _, errors) in enumerate(others):
        assert status == 2, errors[-3000:]
        assert f"error: process {index} of {COUNT} could not go on with the others, behind step" in errors
    kept = steps_of(tmp_path / "run")[-1]

    address = f"127.0.0.1:{free_port()}/{{index}}/{COUNT}"
    done = seen_by(launch(program, [str(tmp_path / "run"), address], [{}] * COUNT))
    for each in done:
        assert each["result"]["step"] == STEPS and each["result"]["resumed_from"] == kept
        assert each["result"]["cut_bp"] == sum(range(10, 10 + COUNT))

    alone = train_line(tmp_path / "alone")
    assert alone.step == STEPS
    together, apart = (read_metrics(tmp_path / name / METRICS_FILE) for name in ("run", "alone"))
    assert [row["step"] for row in together] == [row["step"] for row in apart] == list(range(1, STEPS + 1))
    np.testing.assert_allclose([row["loss"] for row in together], [row["loss"] for row in apart], rtol=0, atol=1e-5)
    weights = [restore_params(tmp_path / name).params["w"] for name in ("run", "alone")]
    np.testing.assert_allclose(*weights, rtol=0, atol=1e-5)

"""A run that is killed with SIGKILL and started again ends as if nobody had touched it."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from plantgfm.training.checkpoint import Checkpoints, steps_of
from plantgfm.training.config import OptimizerKind
from plantgfm.training.metrics import read_metrics
from plantgfm.training.state import abstract_state

from .toy import IDENTITY, assert_same_bits, parts

KILLS = int(os.environ.get("PLANTGFM_KILLS", "5"))  # PLANTGFM_KILLS=20 for more
STEPS = 12 * KILLS
PAUSE_SECONDS = 0.03
LIMIT_SECONDS = 120
TOY = Path(__file__).with_name("toy.py")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The same devices for every process, and one cache of compiled programs."""
    cache = tmp_path_factory.mktemp("compiled")
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def start(run, environment, *, pause):
    command = [sys.executable, str(TOY), str(run), str(STEPS), str(pause), OptimizerKind.MUON.value]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def wait_for_steps(process, number):
    """Return once the process has reported so many steps of its own."""
    for line in process.stdout:
        number -= line.startswith("step ")
        if number == 0:
            return
    raise AssertionError(f"the run ended with {process.wait()} before it could be disturbed: raise STEPS")


def finish(process):
    output, _ = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 0, output
    assert f"ended at {STEPS}" in output


def final_state(run):
    checkpoints = Checkpoints(run, keep_last=2)
    init, _ = parts(steps=STEPS, kind=OptimizerKind.MUON)
    restored = checkpoints.restore(abstract_state(init), identity=IDENTITY)
    checkpoints.close()
    assert restored.step == STEPS
    return restored.state


def lines(run):
    return [{k: v for k, v in row.items() if k != "tokens_per_second"} for row in read_metrics(run / "metrics.jsonl")]


@pytest.fixture(scope="module")
def undisturbed(environment, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "undisturbed"
    finish(start(run, environment, pause=0.0))
    return run


def test_kills_at_random_moments_change_no_bit(environment, undisturbed, tmp_path):
    run, moments, reached = tmp_path / "run", random.Random(20), []
    for _ in range(KILLS):
        process = start(run, environment, pause=PAUSE_SECONDS)
        # Counted in steps first, so that a slow machine gets as far; then some moment within a step or a save.
        wait_for_steps(process, moments.randint(1, 14))
        time.sleep(moments.uniform(0.0, 2 * PAUSE_SECONDS))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        reached.append(max(steps_of(run), default=0))
    assert np.all(np.diff(reached) >= 0) and len(set(reached)) > 2, reached  # restarts went on from several places
    finish(start(run, environment, pause=0.0))
    assert_same_bits(final_state(run), final_state(undisturbed))
    assert lines(run) == lines(undisturbed)
    assert [row["step"] for row in lines(run)] == list(range(1, STEPS + 1))


def test_sigterm_saves_where_it_is_and_says_so(environment, undisturbed, tmp_path):
    run = tmp_path / "run"
    process = start(run, environment, pause=PAUSE_SECONDS)
    wait_for_steps(process, 1)
    process.terminate()
    output, _ = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 143
    (step,) = [int(line.split()[2]) for line in output.splitlines() if line.startswith("ended at")]
    assert f"SIGTERM: step {step} is saved; the same command goes on from there" in output
    assert max(steps_of(run)) == step == len(lines(run))
    assert lines(run) == lines(undisturbed)[:step]

"""A pool that outlives its workers: a death costs a try of its task, and names it when it happens again and again."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, as_completed
from pathlib import Path

import pytest

from plantgfm.wiring.pool import TRIES, WorkerPool


def square(number):
    return number * number


def die_until(folder, name, times):
    """Die by SIGKILL as often as told, then return; each try leaves a file."""
    tries = len(list(Path(folder).glob(f"{name}.*")))
    (Path(folder) / f"{name}.{tries}").touch()
    if tries < times:
        os.kill(os.getpid(), signal.SIGKILL)
    return name


def fail(text):
    raise ValueError(text)


def write_slowly(path):
    """Hold an unfinished file open until stopped; its `finally` is what a stop must run."""
    part = Path(path).with_suffix(".part")
    part.touch()
    try:
        time.sleep(60)
        Path(path).touch()  # who waits for it instead of stopping it finds this
    finally:
        part.unlink()


def pid_of_worker(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)


def tries_of(folder, name):
    return len(list(folder.glob(f"{name}.*")))


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_results_and_errors_come_back(tmp_path):
    with WorkerPool(2) as pool:
        numbers = {pool.submit(square, n): n for n in range(5)}
        wrong = pool.submit(fail, "no such record")
        assert {numbers[f]: f.result() for f in as_completed(numbers)} == {n: n * n for n in range(5)}
        with pytest.raises(ValueError, match="no such record"):
            wrong.result()
        assert pool.submit(square, 9).result() == 81, "an error of a task is no death"


def test_a_death_costs_a_try_of_what_was_under_way_and_nothing_else(tmp_path):
    with WorkerPool(2) as pool:
        dying = pool.submit(die_until, str(tmp_path), "dying", 1)
        others = [pool.submit(die_until, str(tmp_path), f"other{n}", 0) for n in range(6)]
        assert dying.result() == "dying"
        assert [f.result() for f in others] == [f"other{n}" for n in range(6)]
    assert tries_of(tmp_path, "dying") == 2
    again = sum(tries_of(tmp_path, f"other{n}") - 1 for n in range(6))
    assert again <= 1, "two workers: at most one other task was under way"


def test_a_task_that_always_kills_its_worker_is_named_and_the_others_are_done(tmp_path):
    with WorkerPool(2) as pool:
        deadly = pool.submit(die_until, str(tmp_path), "deadly", 99)
        others = [pool.submit(die_until, str(tmp_path), f"other{n}", 0) for n in range(4)]
        with pytest.raises(BrokenExecutor, match=f"died on it, {TRIES} times of {TRIES}"):
            deadly.result()
        assert [f.result() for f in others] == [f"other{n}" for n in range(4)]
    assert tries_of(tmp_path, "deadly") == TRIES
    assert max(tries_of(tmp_path, f"other{n}") for n in range(4)) <= 2, "what was tried again was tried alone"


def test_an_error_in_the_block_stops_what_is_under_way_and_leaves_no_half_file(tmp_path):
    with pytest.raises(KeyboardInterrupt), WorkerPool(1) as pool:
        under_way = pool.submit(write_slowly, str(tmp_path / "x"))
        waiting = pool.submit(square, 2)
        wait_for(lambda: list(tmp_path.glob("*.part")))
        raise KeyboardInterrupt
    assert waiting.cancelled() and not list(tmp_path.iterdir())
    assert isinstance(under_way.exception(timeout=10), (SystemExit, BrokenExecutor))
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(square, 3)


def test_workers_follow_a_driver_that_is_killed(tmp_path):
    code = (
        "from plantgfm.wiring.pool import WorkerPool\n"
        "from tests.wiring.test_pool import pid_of_worker\n"
        "if __name__ == '__main__':\n"
        f"    WorkerPool(1).submit(pid_of_worker, {str(tmp_path / 'pid')!r}).result()\n"
    )
    (tmp_path / "driver.py").write_text(code)
    place = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(Path.cwd()), os.environ.get("PYTHONPATH"))))}
    driver = subprocess.Popen([sys.executable, str(tmp_path / "driver.py")], env=place)
    wait_for(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text())
    worker = int((tmp_path / "pid").read_text())
    assert alive(worker)
    driver.kill()
    driver.wait()
    wait_for(lambda: not alive(worker))


def test_a_pool_needs_a_worker():
    with pytest.raises(ValueError, match="0 workers"):
        WorkerPool(0)

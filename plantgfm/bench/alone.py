"""Peak memory and time of work in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path

_STATUS = Path("/proc/self/status")


def alone(work: Callable[[Path], None], folder: Path) -> tuple[float, float]:
    """Peak resident memory in MiB and seconds of some work in a fresh process, whose imports count too."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (work, folder))


def _measured(work: Callable[[Path], None], folder: Path) -> tuple[float, float]:
    began = time.perf_counter()
    work(folder)
    return peak_mib(), time.perf_counter() - began


def peak_mib() -> float:
    """Peak resident memory of this process."""
    if _STATUS.is_file():  # getrusage starts from the peak of the process that this one was forked from
        (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

"""Weak scaling over processes of this machine, one core each: what training together costs.

    plantgfm bench hosts --processes 1,2 --out bench

Every process has its core and its windows, so that the work of a step grows with the number of processes; they find
one another over loopback and reduce gradients as hosts do. Launches of every number are interleaved, the quickest step
of all rounds and launches counts. Apart are as many processes at once that know nothing of one another: what they
lose, too, is lost to memory and clocks that cores share, and not to working together. The seconds of a core tell what
reducing gradients costs to compute, also where other work keeps the cores busy; by the clock they have to be idle.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from plantgfm.bench.contenders import Case
from plantgfm.bench.train import MARK, Parser, field_of, listed, whole
from plantgfm.report.table import Table
from plantgfm.training.run_folder import write_json

JSON_FILE = "hosts.json"
BAR_RATIO = 1.15
TOGETHER, APART = "together", "apart"
_LIMIT_SECONDS = 900
_TOLD = 2_000


@dataclasses.dataclass(frozen=True)
class Scaling:
    """A step of so many processes."""

    processes: int
    how: str  # together: as one run; apart: each on its own, at the same time
    windows: int  # of a step, of all of them
    step_seconds: float  # the quickest of all rounds and launches, of the slowest process
    core_seconds: float  # that a process computed in a step, waiting left out; likewise
    ratio: float | None  # of step_seconds over those of one process; None of that one
    core_ratio: float | None  # of core_seconds: what other work on the machine hardly moves


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options.

    Raises:
        ValueError: for what is no option, or no number.
    """
    parser = Parser(prog="plantgfm bench hosts", description=__doc__.split("\n\n")[0])
    parser.add_argument("--processes", default="1,2", help="how many; 1 and others, with commas")
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--tokens", type=int, default=512, help="of a window")
    parser.add_argument("--windows", type=int, default=16, help="of a step, for each process")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="a field of ModelConfig")
    parser.add_argument("--rounds", type=int, default=5, help="steps that are timed in a launch")
    parser.add_argument("--launches", type=int, default=2, help="of each number, in turn")
    parser.add_argument("--out", type=Path, default=Path("runs/bench_hosts"), help="folder of the results")
    return parser.parse_args(list(arguments))


def numbers_of(options: argparse.Namespace) -> list[int]:
    """The numbers of processes, 1 first.

    Raises:
        ValueError: where 1 is not among them, or this process may not use as many cores.
    """
    numbers = sorted({whole("--processes", text, least=1) for text in listed("--processes", options.processes)})
    cores = len(os.sched_getaffinity(0))
    if numbers[0] != 1:
        raise ValueError(f"--processes {options.processes} lacks 1, which the others are compared with")
    if numbers[-1] > cores:
        raise ValueError(f"--processes has {numbers[-1]}, one core each, and there are {cores} cores")
    for name in ("tokens", "windows", "rounds", "launches"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} is {getattr(options, name)}, needs at least 1")
    return numbers


def case_of(options: argparse.Namespace, *, processes: int) -> Case:
    """What so many processes do in a step together."""
    model = dict(field_of(text) for text in options.set)
    return Case(options.size, options.tokens, options.windows * processes, mesh=(processes, 1, 1), model=model)


def launch(options: argparse.Namespace, *, processes: int, how: str) -> tuple[float, float]:
    """Seconds of a step of so many processes, by the clock and of a core: the quickest round of the slowest of them.

    Raises:
        ValueError: when one of them fails, with what it said last.
    """
    cores, port = sorted(os.sched_getaffinity(0)), _free_port()
    count = processes if how == TOGETHER else 1
    case = case_of(options, processes=count)
    started = []
    for index in range(processes):
        setting = f"127.0.0.1:{port}/{index}/{processes}" if count > 1 else "none"
        order = {"case": dataclasses.asdict(case), "core": cores[index], "hosts": setting, "rounds": options.rounds}
        command = [sys.executable, "-m", "plantgfm.bench.hosts_process", json.dumps(order)]
        environ = {**os.environ, "JAX_PLATFORMS": "cpu"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, env=environ, **pipes))
    try:
        ended = [process.communicate(timeout=_LIMIT_SECONDS) for process in started]
    except subprocess.TimeoutExpired:
        raise ValueError(f"{processes} processes {how} did not end within {_LIMIT_SECONDS} s") from None
    finally:
        for process in started:
            process.kill()
            process.wait()
    taken = [_seconds_of(process.returncode, *output) for process, output in zip(started, ended)]
    return max(clock for clock, _ in taken), max(core for _, core in taken)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _seconds_of(status: int, output: str, errors: str) -> tuple[float, float]:
    found = [line for line in output.splitlines() if line.startswith(MARK)]
    if status or not found:
        said = [line for line in errors.strip()[-_TOLD:].splitlines() if line.strip()]
        raise ValueError(f"a process ended with {status}: {said[-1] if said else 'it said nothing'}")
    clock, core = json.loads(found[-1].removeprefix(MARK))
    return clock, core


def scale(options: argparse.Namespace) -> list[Scaling]:
    """The rows: one process, then each number together and apart."""
    numbers = numbers_of(options)
    case_of(options, processes=1).config()
    settings = [(1, TOGETHER)] + [(number, how) for number in numbers[1:] for how in (TOGETHER, APART)]
    best = dict.fromkeys(settings, (float("inf"), float("inf")))
    for turn in range(options.launches):
        for number, how in settings:
            print(f"launch {turn + 1}/{options.launches}: {number} {how}", file=sys.stderr, flush=True)
            pairs = zip(best[number, how], launch(options, processes=number, how=how))
            best[number, how] = tuple(min(pair) for pair in pairs)
    one = best[1, TOGETHER]
    return [
        Scaling(
            number,
            how,
            options.windows * number,
            *taken,
            *(mine / its if number > 1 else None for mine, its in zip(taken, one)),
        )
        for (number, how), taken in best.items()
    ]


def main(arguments: Sequence[str]) -> int:
    """Measure, write and tell."""
    options = parse(arguments)
    rows = scale(options)
    options.out.mkdir(parents=True, exist_ok=True)
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    write_json(options.out / JSON_FILE, {"options": settings, "rows": [dataclasses.asdict(row) for row in rows]})
    cells = [dataclasses.astuple(row) for row in rows]
    note = f"together, a step of two processes should take at most {BAR_RATIO} times that of one"
    title = f"Weak scaling, {options.size}, {options.windows} x {options.tokens} tokens a process, one core each"
    columns = ("processes", "how", "windows", "s/step", "core s/step", "over one process", "of the core")
    formats = {"s/step": ".4f", "core s/step": ".4f", "over one process": ".3f", "of the core": ".3f"}
    print(Table(title, columns, cells, note=note, formats=formats).to_text())
    print(f"results: {options.out / JSON_FILE}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (ValueError, OSError) as wrong:
        print(f"error: {wrong}", file=sys.stderr)
        sys.exit(2)

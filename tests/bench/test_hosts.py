"""`plantgfm bench hosts`: its arithmetic and its processes, by a stand-in for what they compute."""

import json
import os

import pytest

from plantgfm.bench import contenders, hosts, hosts_process
from plantgfm.bench.contenders import Case, Contender
from plantgfm.bench.train import MARK

STAND_IN = """#!/usr/bin/env python3
import json, sys
order = json.loads(sys.argv[-1])
if order["case"]["size"] == "huge":
    sys.exit("no such size")
print("noise")
clock = order["core"] + len(order["hosts"].split("/")) + order["rounds"] + order["case"]["windows"]
print("MEASURED", [clock, 100 - order["core"]])
"""


@pytest.fixture
def options(tmp_path):
    def of(*arguments):
        return hosts.parse([*arguments, "--out", str(tmp_path / "out")])

    return of


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(hosts.os, "sched_getaffinity", lambda process: {5, 3})


def test_one_process_is_what_the_others_are_compared_with(options, monkeypatch, two_cores):
    seconds = {
        (1, "together"): [(2.0, 0.5), (1.0, 0.75)],
        (2, "together"): [(1.5, 1.0), (1.25, 1.0)],
        (2, "apart"): [(1.125, 0.5), (3.0, 0.625)],
    }
    turns = []

    def launch(options, *, processes, how):
        turns.append((processes, how))
        return seconds[processes, how].pop(0)

    monkeypatch.setattr(hosts, "launch", launch)
    rows = hosts.scale(options("--windows", "4"))
    assert [(row.processes, row.how, row.windows, row.ratio, row.core_ratio) for row in rows] == [
        (1, "together", 4, None, None),
        (2, "together", 8, 1.25, 2.0),
        (2, "apart", 8, 1.125, 1.0),
    ]
    assert turns == [(1, "together"), (2, "together"), (2, "apart")] * 2  # interleaved


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--processes", "2"], "--processes 2 lacks 1"),
        (["--processes", "1,3"], "has 3, one core each, and there are 2 cores"),
        (["--processes", "1,x"], "has 'x', which is no whole number from 1 on"),
        (["--rounds", "0"], "--rounds is 0"),
        (["--size", "huge"], "'huge' is not a valid Size"),
        (["--set", "attention"], "--set 'attention' is no FIELD=VALUE"),
    ],
)
def test_numbers_that_can_not_be_are_refused(options, two_cores, arguments, reason):
    with pytest.raises(ValueError, match=reason):
        hosts.scale(options(*arguments))


def test_every_process_gets_its_core_and_the_slowest_counts(options, monkeypatch, two_cores, tmp_path, capsys):
    program = tmp_path / "python"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    monkeypatch.setattr(hosts.sys, "executable", str(program))
    asked = options("--rounds", "1", "--windows", "10")
    # core 5, an address of three parts (or one word), one round; the windows of a step of all that work together
    assert hosts.launch(asked, processes=2, how=hosts.TOGETHER) == (5 + 3 + 1 + 20, 100 - 3)
    assert hosts.launch(asked, processes=2, how=hosts.APART) == (5 + 1 + 1 + 10, 100 - 3)
    with pytest.raises(ValueError, match="a process ended with 1: no such size"):
        hosts.launch(options("--size", "huge"), processes=1, how=hosts.TOGETHER)
    assert hosts.main(["--out", str(tmp_path / "out"), "--launches", "1"]) == 0
    assert "Weak scaling, tiny, 16 x 512 tokens a process" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "out" / "hosts.json").read_text())["rows"]) == 3


def test_a_process_takes_its_core_before_anything_else_and_times_steps(monkeypatch, capsys):
    done = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: done.append(cores))
    monkeypatch.setattr("plantgfm.training.allocator.keep_freed_memory", lambda: done.append("memory"))
    monkeypatch.setattr(contenders, "ours", lambda case: Contender("ours", lambda steps: done.append(case), "", id))
    case = {"size": "tiny", "tokens": 16, "windows": 2, "mesh": [1, 1, 1], "model": {"d_model": 16}}
    hosts_process.main(json.dumps({"case": case, "core": 1, "hosts": "none", "rounds": 2}))
    (line,) = capsys.readouterr().out.splitlines()
    assert done == [{1}, "memory", *[Case(tokens=16, windows=2, model={"d_model": 16})] * 3]
    clock, core = json.loads(line.removeprefix(MARK))
    assert clock > 0 and core >= 0

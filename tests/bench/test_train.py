"""`plantgfm bench train`: what it asks for, what it makes of seconds, and a call where little is installed."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import pytest
from click.testing import CliRunner

from plantgfm.bench import contenders, train, train_case
from plantgfm.bench.contenders import Case, Contender
from plantgfm.cli import commands
from tests.conftest import ROOT

TINY = {"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 16}
SMALL = Case(tokens=16, windows=8, model=TINY)
BLOCKED = """\
array_record click datasketch hydra jinja2 matplotlib omegaconf pyarrow pydustmasker pysam safetensors tensorboardX
tensorflow_datasets tokenizers torch tqdm transformers
"""
WITHOUT = f"""
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in {BLOCKED.split()} else super().find_spec(name, path, target)

sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""


def planned(*arguments):
    return train.plan_of(train.parse(arguments))


def test_every_combination_is_a_case_with_the_tokens_of_a_step():
    plan = planned("--sizes", "tiny,base", "--tokens", "512,1024", "--precisions", "float32,bfloat16")
    assert len(plan.cases) == 8 and {case.step_tokens for case in plan.cases} == {8192}
    assert {(case.tokens, case.windows) for case in plan.cases} == {(512, 16), (1024, 8)}
    assert plan.cases[0].step_bp == 16 * 6 * 511
    assert plan.peers == ("dense", "sparse")
    last = planned("--sizes", "base", "--meshes", "1x1x1,2x2x1", "--set", "attention=by_window", "--peers", "none")
    assert (last.cases[1].mesh, last.cases[1].devices, last.peers) == ((2, 2, 1), 4, ())
    assert last.cases[1].config().d_model == 512 and last.cases[1].config().attention.value == "by_window"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--sizes", "huge"], "'huge' is not a valid Size: there are tiny, small, base, large, 1b"),
        (["--precisions", "float8"], "'float8' is not a valid ComputeType: there are float32, bfloat16"),
        (["--tokens", "500"], "--step-tokens 8192 is no multiple of --tokens 500"),
        (["--tokens", "many"], "--tokens has 'many'"),
        (["--tokens", ""], "--tokens '' has ''"),
        (["--meshes", "2x2"], "--meshes has '2x2', write it as DATAxFSDPxTENSOR"),
        (["--peers", "eager"], "--peers 'eager' has 'eager', there are dense, sparse, compiled"),
        (["--set", "d_model"], "--set 'd_model' is no FIELD=VALUE"),
        (["--set", "d_modle=8"], "'d_modle', which ModelConfig does not know"),
        (["--set", "d_model=9"], "needs to be an even whole number"),
        (["--rounds", "0"], "--rounds is 0"),
        (["--rounds", "x"], "argument --rounds: invalid int value: 'x'; see --help"),
        (["--windows", "4"], "unrecognized arguments: --windows 4"),
    ],
)
def test_what_can_not_be_measured_is_refused_before_anything_is(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        planned(*arguments)


def test_rates_follow_from_the_seconds_of_a_step():
    case = Case("base", tokens=1024, windows=8, precision="bfloat16", mesh=(2, 1, 1))
    more = {"flops": 4e12, "peak": 989.5e12, "ours": 0.5, "first_seconds": 9.0, "memory_bytes": 2**31, "how": "sdpa"}
    row = train.measured(case, "PyTorch", device="NVIDIA H200", seconds=1.0, **more)
    assert (row.tokens_per_second, row.bp_per_second, row.flops_per_second) == (8192.0, 8 * 6 * 1023.0, 4e12)
    assert row.model_flop_utilisation == 4e12 / (2 * 989.5e12) and row.ratio == 2.0
    unknown = train.measured(case, "ours", device="cpu", seconds=1.0, **{**more, "peak": None, "ours": None})
    assert (unknown.model_flop_utilisation, unknown.ratio) == (None, None)
    told = train.table_of_rows([row, train.failed(case, "PyTorch, compiled", "no compiler")]).to_text()
    assert "base bfloat16 2x1x1 8 x 1024" in told and "no compiler" in told and "2.00" in told


def rows_of(lengths):
    more = {"flops": 1e9, "peak": None, "ours": 1.0, "first_seconds": 1.0, "memory_bytes": None, "how": "x"}
    pairs = [(tokens, name) for tokens in lengths for name in ("ours", "PyTorch, dense, sdpa")]
    cases = {tokens: Case(tokens=tokens, windows=4) for tokens in lengths}
    return [train.measured(cases[tokens], name, device="cpu", seconds=0.5, **more) for tokens, name in pairs]


@pytest.mark.parametrize("lengths", [(16,), (16, 32)])
def test_results_are_kept_and_drawn_again(tmp_path, capsys, lengths):
    rows = [*rows_of(lengths), train.failed(SMALL, "PyTorch, compiled", "no\ncompiler")]
    train.write_results(tmp_path, rows, rounds=3, steps=1)
    assert train.read_rows(tmp_path / "train.json") == rows
    lines = [line.split("\t") for line in (tmp_path / "train.tsv").read_text().splitlines()]
    assert {len(line) for line in lines} == {len(dataclasses.fields(train.Measured))}
    assert lines[-1][-1] == "no compiler" and lines[-1][lines[0].index("step_seconds")] == ""
    assert train.main(["--draw", str(tmp_path / "train.json")]) == 0
    assert (tmp_path / "train.png").read_bytes().startswith(b"\x89PNG") and "train.png" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.json", "train.png", "train.tsv"]


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="is not what `plantgfm bench train` writes"):
        train.main(["--draw", str(tmp_path / "other.json")])
    with pytest.raises(ValueError, match="nothing was measured"):
        train.draw([train.failed(SMALL, "ours", "no memory")], tmp_path / "x.png")


def contender(name, *, fails=""):
    def make(*arguments, **more):
        if fails:
            raise jax.errors.JaxRuntimeError(fails)
        return Contender(name, lambda steps: None, "in words", lambda: 7)

    return make


def test_what_fails_is_a_row_with_its_reason_and_the_rest_is_measured(monkeypatch):
    monkeypatch.setattr(contenders, "have_peers", lambda: True)
    monkeypatch.setattr(contenders, "fastest_attentions", lambda: ["sdpa"])
    monkeypatch.setattr(contenders, "ours", contender("ours", fails="RESOURCE_EXHAUSTED:\n out of memory"))
    monkeypatch.setattr(contenders, "peer", contender("PyTorch, dense, sdpa"))
    theirs, ours = train_case.measure(SMALL, peers=["dense"], rounds=1, steps=1)
    assert (theirs.contender, theirs.error, theirs.memory_bytes, theirs.ratio) == ("PyTorch, dense, sdpa", "", 7, None)
    assert theirs.tokens_per_second > 0 and theirs.model_flop_utilisation is None
    assert ours.error == "JaxRuntimeError: RESOURCE_EXHAUSTED: out of memory" and ours.tokens_per_second is None


def test_peers_run_on_one_device_only_and_say_so(monkeypatch):
    monkeypatch.setattr(contenders, "have_peers", lambda: True)
    monkeypatch.setattr(contenders, "ours", contender("ours"))
    case = dataclasses.replace(SMALL, mesh=(2, 1, 1))
    rows = train_case.measure(case, peers=["dense"], rounds=1, steps=1)
    assert [row.error for row in rows] == ["", "ValueError: the peers run on one device, this mesh has more"]


def test_a_process_that_dies_is_a_row(monkeypatch, tmp_path):
    monkeypatch.setattr(train.sys, "executable", "/bin/false")
    (row,) = train.measure_apart(SMALL, planned("--out", str(tmp_path)))
    assert row.error == "its process ended with 1: it said nothing"


def test_options_are_those_of_the_module_and_errors_are_one_line():
    said = CliRunner().invoke(commands, ["bench", "train", "--help"])
    assert said.exit_code == 0
    with pytest.raises(ValueError, match="no whole number from 2 on"):
        CliRunner().invoke(commands, ["bench", "train", "--tokens", "0"], catch_exceptions=False)


def test_it_runs_where_only_the_libraries_of_a_step_are_installed(tmp_path):
    """Two virtual devices, the real step in a process of its own; nothing to draw with and no peer to run."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    environ = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    fields = [part for name, value in TINY.items() for part in ("--set", f"{name}={value}")]
    options = [
        "--tokens",
        "16",
        "--step-tokens",
        "128",
        "--meshes",
        "2x1x1",
        "--rounds",
        "1",
        "--out",
        tmp_path / "out",
    ]
    command = [sys.executable, "-m", "plantgfm.bench.train", *map(str, options), *fields]
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ours, theirs = json.loads((tmp_path / "out" / "train.json").read_text())["rows"]
    assert (ours["contender"], ours["device"], ours["devices"], ours["mesh"]) == ("ours", "cpu", 2, "2x1x1")
    assert ours["tokens_per_second"] == 128 / ours["step_seconds"] > 0 and ours["memory_bytes"] > 100_000
    assert ours["how"].startswith("attention: 1 full layer whole by XLA") and "float32 products" in ours["how"]
    assert ours["first_seconds"] > ours["step_seconds"] and ours["model_flop_utilisation"] is None
    assert theirs["error"] == "ValueError: torch or transformers is not installed here (extra interop)"
    assert "matplotlib is not installed here" in done.stdout and not (tmp_path / "out" / "train.png").exists()

"""Speed of a training step over sizes, window lengths, precisions and meshes, beside PyTorch in the same call.

    plantgfm bench train --sizes tiny,base --tokens 512,1024 --precisions float32,bfloat16 --out bench

Every combination is timed in a process of its own: ours and the peers of `contenders` one after the other in turn, the
quickest of several rounds of each. What one can't run (too little memory, say) is a row with the reason. The folder
gets `train.json`, `train.tsv` and `train.png`. Needs jax, flax, optax, orbax, numpy and numba; PyTorch with
transformers for the peers, matplotlib for the figure, which `--draw train.json` also draws elsewhere.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plantgfm.bench.contenders import OURS, PEERS, Case
from plantgfm.identity import read_json
from plantgfm.report.table import Table
from plantgfm.training.run_folder import write_json

JSON_FILE, TSV_FILE, FIGURE_FILE = "train.json", "train.tsv", "train.png"
FORMULA = "model FLOPs of a step / seconds of a step / (devices x peak FLOP/s of a device, dense bf16)"
MARK = "MEASURED "  # before the JSON that a process prints
_NO_FIGURE = "matplotlib is not installed here, so no figure; where it is: plantgfm bench train --draw"
_TOLD = 2_000  # characters of what a failed process said


@dataclasses.dataclass(frozen=True)
class Measured:
    """One contender on one case; None where a thing is not known, or it failed."""

    size: str
    tokens: int  # of a window
    windows: int  # of a step
    micro_batches: int
    precision: str
    mesh: str  # data x fsdp x tensor
    contender: str
    device: str  # kind, as JAX names it
    devices: int
    step_seconds: float | None  # the quickest round
    first_seconds: float | None  # making it, compiling it and its first step
    tokens_per_second: float | None
    bp_per_second: float | None
    flops_per_second: float | None  # of the model
    model_flop_utilisation: float | None  # None where the peak of the device is not known
    memory_bytes: int | None  # the most on one device
    ratio: float | None  # our tokens a second over this one's
    how: str  # attention and precision
    error: str  # why it was not measured, "" where it was


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a call measures."""

    cases: tuple[Case, ...]
    peers: tuple[str, ...]
    rounds: int
    steps: int  # in a row, in a round
    out: Path


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options, as text and numbers.

    Raises:
        ValueError: for what is no option, or no number.
    """
    parser = Parser(prog="plantgfm bench train", description=__doc__.split("\n\n")[0])
    parser.add_argument("--sizes", default="tiny", help="of tiny, small, base, large, 1b; several with commas")
    parser.add_argument("--tokens", default="512", help="of a window; several with commas")
    parser.add_argument("--precisions", default="float32", help="float32, bfloat16 or both with a comma")
    parser.add_argument("--meshes", default="1x1x1", help="DATAxFSDPxTENSOR, several with commas; virtual on a CPU")
    parser.add_argument("--step-tokens", type=int, default=8192, help="input tokens of a step, over all devices")
    parser.add_argument("--micro-batches", type=int, default=1, help="parts that a step's gradients are added up from")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="a field of ModelConfig")
    parser.add_argument("--peers", default="dense,sparse", help="of dense, sparse, compiled; none for ours alone")
    parser.add_argument("--rounds", type=int, default=5, help="of each contender, in turn; the quickest counts")
    parser.add_argument("--steps", type=int, default=1, help="in a row in a round; 10 for steps of milliseconds")
    parser.add_argument("--out", type=Path, default=Path("runs/bench_train"), help="folder of the results")
    parser.add_argument("--draw", type=Path, metavar="JSON", help="only draw the figure of an earlier call, beside it")
    return parser.parse_args(list(arguments))


class Parser(argparse.ArgumentParser):
    """Options whose errors are one line."""

    def error(self, message: str):
        """One line, as everywhere; argparse would print the usage before it."""
        raise ValueError(f"{self.prog}: {message}; see --help")


def plan_of(options: argparse.Namespace) -> Plan:
    """The cases that options ask for, each checked before any is run.

    Raises:
        ValueError: for a value that can't be, by its name.
    """
    for name in ("step_tokens", "micro_batches", "rounds", "steps"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} is {getattr(options, name)}, needs at least 1")
    model = dict(field_of(text) for text in options.set)
    peers = () if options.peers == "none" else tuple(listed("--peers", options.peers, among=PEERS))
    lengths = [whole("--tokens", text) for text in listed("--tokens", options.tokens)]
    meshes = [_mesh(text) for text in listed("--meshes", options.meshes)]
    axes = (listed("--sizes", options.sizes), lengths, listed("--precisions", options.precisions), meshes)
    cases = []
    for size, tokens, precision, mesh in itertools.product(*axes):
        windows, rest = divmod(options.step_tokens, tokens)
        if rest or not windows:
            raise ValueError(f"--step-tokens {options.step_tokens} is no multiple of --tokens {tokens}")
        case = Case(size, tokens, windows, precision, mesh, options.micro_batches, model)
        case.config()
        cases.append(case)
    return Plan(tuple(cases), peers, options.rounds, options.steps, options.out)


def listed(option: str, text: str, *, among: Sequence[str] = ()) -> list[str]:
    """The values of an option that takes several, with commas.

    Raises:
        ValueError: for an empty one, and for one that is not `among` those there are.
    """
    found = [part.strip() for part in text.split(",")]
    wrong = [part for part in found if not part or (among and part not in among)]
    if wrong:
        raise ValueError(f"{option} {text!r} has {wrong[0]!r}" + (f", there are {', '.join(among)}" if among else ""))
    return found


def whole(option: str, text: str, *, least: int = 2) -> int:
    """A value of an option as a number.

    Raises:
        ValueError: when it is none, or less than `least`.
    """
    if not text.isdigit() or int(text) < least:
        raise ValueError(f"{option} has {text!r}, which is no whole number from {least} on")
    return int(text)


def _mesh(text: str) -> tuple[int, int, int]:
    parts = text.split("x")
    if len(parts) != 3 or not all(part.isdigit() and int(part) for part in parts):
        raise ValueError(f"--meshes has {text!r}, write it as DATAxFSDPxTENSOR, like 2x2x1")
    data, fsdp, tensor = map(int, parts)
    return data, fsdp, tensor


def field_of(text: str) -> tuple[str, Any]:
    """A field of ModelConfig and its value, of FIELD=VALUE.

    Raises:
        ValueError: for a text without an equals sign.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set {text!r} is no FIELD=VALUE")
    try:
        return name, json.loads(value.lower() if value in ("True", "False") else value)
    except json.JSONDecodeError:
        return name, value


def measure_apart(case: Case, plan: Plan) -> list[Measured]:
    """The rows of one case, measured in a process of its own, whose memory is its own."""
    order = {"case": dataclasses.asdict(case), "peers": plan.peers, "rounds": plan.rounds, "steps": plan.steps}
    # JAX would take three quarters of a GPU at once, and leave PyTorch the rest.
    environ = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if case.devices > 1:
        environ["JAX_NUM_CPU_DEVICES"] = str(case.devices)  # without a meaning for other devices
    command = [sys.executable, "-m", "plantgfm.bench.train_case", json.dumps(order)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    found = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode == 0 and found:
        return [Measured(**row) for row in json.loads(found[-1].removeprefix(MARK))]
    said = [line.strip() for line in done.stderr.strip()[-_TOLD:].splitlines() if line.strip()]
    why = f"its process ended with {done.returncode}: {said[-1] if said else 'it said nothing'}"
    return [failed(case, OURS, why)]


def failed(case: Case, contender: str, why: str, *, device: str = "", how: str = "") -> Measured:
    """The row of what was not measured."""
    nothing = {item.name: None for item in dataclasses.fields(Measured)}
    return Measured(**{**nothing, **_case_fields(case, device), "contender": contender, "how": how, "error": why})


def measured(case: Case, contender: str, *, device: str, seconds: float, **more: Any) -> Measured:
    """The row of what took so many seconds a step; rates follow from them.

    Args:
        case: that was timed.
        contender: its name.
        device: kind, as JAX names it.
        seconds: of a step.
        more: `flops` of the model in a step, `peak` FLOP/s of a device or None, `ours` seconds of our step or None,
            and fields of `Measured`.
    """
    flops, peak, our_seconds = more.pop("flops"), more.pop("peak"), more.pop("ours")
    return Measured(
        **_case_fields(case, device),
        contender=contender,
        step_seconds=seconds,
        tokens_per_second=case.step_tokens / seconds,
        bp_per_second=case.step_bp / seconds,
        flops_per_second=flops / seconds,
        model_flop_utilisation=flops / seconds / (case.devices * peak) if peak else None,
        ratio=seconds / our_seconds if our_seconds else None,
        error="",
        **more,
    )


def _case_fields(case: Case, device: str) -> dict[str, Any]:
    mesh = "x".join(map(str, case.mesh))
    same = {
        name: getattr(case, name) for name in ("size", "tokens", "windows", "micro_batches", "precision", "devices")
    }
    return {**same, "mesh": mesh, "device": device}


def write_results(out: Path, rows: Sequence[Measured], *, rounds: int, steps: int) -> None:
    """JSON and TSV; each is whole or absent."""
    out.mkdir(parents=True, exist_ok=True)
    plain = [dataclasses.asdict(row) for row in rows]
    how = {"formula": FORMULA, "rounds": rounds, "steps_in_a_round": steps, "counted": "the quickest round"}
    write_json(out / JSON_FILE, {**how, "rows": plain})
    names = [item.name for item in dataclasses.fields(Measured)]
    lines = ["\t".join(names)]
    lines += [
        "\t".join("" if row[name] is None else " ".join(str(row[name]).split()) for name in names) for row in plain
    ]
    part = out / f"{TSV_FILE}.part"
    part.write_text("\n".join(lines) + "\n")
    part.replace(out / TSV_FILE)


def read_rows(path: Path) -> list[Measured]:
    """The rows of an earlier call.

    Raises:
        ValueError: for a file that no call wrote.
    """
    try:
        return [Measured(**row) for row in read_json(path, remedy="measure again")["rows"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is not what `plantgfm bench train` writes ({error}); measure again") from None


def draw(rows: Sequence[Measured], path: Path) -> bool:
    """Draw tokens a second against the window length, bars where there is one length; whether it could be drawn.

    Raises:
        ValueError: when nothing was measured.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return False
    from plantgfm.report import figures

    rows = [row for row in rows if row.tokens_per_second]
    if not rows:
        raise ValueError("nothing was measured, so there is no figure to draw")
    kinds = ", ".join(sorted({row.device for row in rows}))
    if len({row.tokens for row in rows}) > 1:
        curves: dict[str, tuple[list[float], list[float]]] = {}
        for row in sorted(rows, key=lambda row: row.tokens):
            x, y = curves.setdefault(f"{_setting(row)}: {row.contender}", ([], []))
            x.append(row.tokens)
            y.append(row.tokens_per_second)
        axes = {"xlabel": "tokens of a window", "ylabel": "input tokens a second", "log_x": True, "log_y": True}
        png = figures.lines(curves, title=f"Training step on {kinds}", **axes)
    else:
        labels = [f"{_setting(row)}: {row.contender}" for row in rows]
        rates = [row.tokens_per_second for row in rows]
        title = f"Training step on {kinds}, windows of {rows[0].tokens:,} tokens"
        png = figures.bars(labels, rates, xlabel="input tokens a second", title=title)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(png)
    part.replace(path)
    return True


def _setting(row: Measured) -> str:
    return f"{row.size} {row.precision}" + (f" {row.mesh}" if row.devices > 1 else "")


def table_of_rows(rows: Sequence[Measured]) -> Table:
    """The rows for a terminal."""
    columns = ("case", "contender", "s/step", "tokens/s", "bp/s", "TFLOP/s", "MFU", "GiB", "ours over it", "how")
    cells = []
    for row in rows:
        case = f"{_setting(row)} {row.windows} x {row.tokens}"
        tera = row.flops_per_second and row.flops_per_second / 1e12
        gib = row.memory_bytes and row.memory_bytes / 2**30
        rates = (row.step_seconds, row.tokens_per_second, row.bp_per_second, tera, row.model_flop_utilisation, gib)
        cells.append((case, row.contender, *rates, row.ratio, row.error or row.how))
    formats = {"s/step": ".4f", "tokens/s": ",.0f", "bp/s": ",.0f", "TFLOP/s": ".3g", "MFU": ".1%", "GiB": ".2f"}
    note = f"MFU = {FORMULA}; where the peak of the device is known"
    return Table("Training step", columns, cells, note=note, formats={**formats, "ours over it": ".2f"})


def main(arguments: Sequence[str]) -> int:
    """Measure, write, draw and tell; 1 where nothing of ours could be measured."""
    options = parse(arguments)
    if options.draw is not None:
        path = options.draw.with_suffix(".png")
        if not draw(read_rows(options.draw), path):
            raise ValueError("matplotlib is not installed here: install it, or draw where it is")
        print(path)
        return 0
    plan, rows = plan_of(options), []
    for number, case in enumerate(plan.cases, 1):
        setting = f"{case.size} {case.precision} {'x'.join(map(str, case.mesh))} {case.windows} x {case.tokens}"
        print(f"case {number}/{len(plan.cases)}: {setting}", file=sys.stderr, flush=True)
        rows += measure_apart(case, plan)
        write_results(plan.out, rows, rounds=plan.rounds, steps=plan.steps)  # what is done stays, whatever comes
    print(table_of_rows(rows).to_text())
    done = any(row.contender == OURS and not row.error for row in rows)
    if done and not draw(rows, plan.out / FIGURE_FILE):
        print(f"{_NO_FIGURE} {plan.out / JSON_FILE}")
    print(f"results: {plan.out}")
    return 0 if done else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (ValueError, OSError) as wrong:
        print(f"error: {wrong}", file=sys.stderr)
        sys.exit(2)

"""The throughput report of a run: how fast, how much of the peak, where the time goes, how long and how much energy.

Model FLOP utilisation is

    FLOPs of a step x steps / seconds / (devices x peak of a device)

FLOPs are those of the model (`model.flops`: attention included, head at masked slots only, backward twice the forward
pass, nothing recomputed counted), seconds are those of input and compute without the first step, which compiles, and
the peak is that of dense bfloat16 products, whatever the precision of the run.
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from plantgfm.training.progress import clock_text
from plantgfm.training.run_folder import read_json, write_json

THROUGHPUT_FILE = "throughput.json"
FORMULA = "FLOPs of a step x steps / seconds of input and compute / (devices x peak FLOP/s of a device)"
PEAKS = (
    ("H100 80GB HBM3", 989.5e12),
    ("H200", 989.5e12),
    ("A100", 312e12),
    ("TPU v4", 275e12),
    ("TPU v5 lite", 197e12),
    ("TPU v5", 459e12),
    ("TPU v6 lite", 918e12),
)
"""Part of a device kind as JAX names it, and its dense bfloat16 FLOP/s, from the makers' data sheets; first match."""

_FIRST_STEPS = 20
_SAMPLE_SECONDS = 10.0
_STORE_SECONDS = 30.0
_READER = ("nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits")
_READER_SECONDS = 5.0
_JOULES_A_KWH = 3.6e6


@dataclass(frozen=True)
class Work:
    """What one optimizer step computes, over all devices and hosts."""

    flops: float  # of the model, forward and backward
    tokens: int  # input tokens
    bp: int  # base pairs that these tokens were made from
    earlier: tuple[tuple[int, Work], ...] = ()  # (first step behind it, work) of stages before, in their order

    def over(self, first: int, last: int) -> Work:
        """A step's mean from step `first` up to `last`; without stages, or steps, it is this one."""
        ends = [*(end for end, _ in self.earlier), max(last, first)]
        begins, works = [0, *ends[:-1]], [*(work for _, work in self.earlier), self]
        counts = [max(0, min(last, end) - max(first, begin)) for begin, end in zip(begins, ends)]
        if not self.earlier or not sum(counts):
            return self

        def mean(values: list[float]) -> float:
            return sum(count * value for count, value in zip(counts, values)) / sum(counts)

        return Work(mean([work.flops for work in works]), self.tokens, round(mean([work.bp for work in works])))


@dataclass(frozen=True)
class Throughput:
    """One call of `train`, measured; None where a thing is not known."""

    from_step: int
    to_step: int
    device: str  # kind, as JAX names it
    devices: int
    flops_per_step: float
    tokens_per_step: int
    bp_per_step: int
    tokens_per_second: float | None  # None before the second step
    bp_per_second: float | None
    flops_per_second: float | None
    peak_flops_per_device: float | None
    model_flop_utilisation: float | None
    formula: str
    peak_memory_bytes: int  # resident set of this process
    peak_device_memory_bytes: int | None  # of the fullest device of this process
    seconds: dict[str, float]  # by use: start, input, compute, evaluation, checkpoint, report
    first_step_seconds: float | None  # from the call to the end of its first step
    compile_seconds: float | None  # of these, XLA's on the step
    total_tokens: int  # that the run is configured for
    total_seconds: float | None  # projected for all of them, with evaluation and checkpoints as so far
    watts: float | None
    watts_from: str
    total_kwh: float | None  # projected: watts x total_seconds


def peak_of(kind: str) -> float | None:
    """Dense bfloat16 FLOP/s of a device kind, None for one that `PEAKS` does not name."""
    return next((peak for name, peak in PEAKS if name in kind), None)


def device_memory_bytes() -> int | None:
    """The most that was ever in use on one device of this process; None where the backend does not count."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [found["peak_bytes_in_use"] for found in stats if "peak_bytes_in_use" in found]
    return max(peaks, default=None)


class PowerMeter:
    """Watts of all devices of the run: as configured, else the mean of what `nvidia-smi` reads, else not known."""

    def __init__(self, configured: float, *, clock: Callable[[], float] = time.monotonic):
        self._configured, self._clock = configured, clock
        self._reads = not configured and jax.default_backend() == "gpu" and shutil.which(_READER[0]) is not None
        self._last, self._sum, self._count = -float("inf"), 0.0, 0

    def sample(self) -> None:
        """Read once, where reading is possible and the last time is ten seconds ago."""
        if not self._reads or self._clock() - self._last < _SAMPLE_SECONDS:
            return
        self._last = self._clock()
        watts = _read_watts(jax.local_device_count())
        if watts is None:
            self._reads = False
        else:
            self._sum, self._count = self._sum + watts * jax.process_count(), self._count + 1

    def watts(self) -> tuple[float | None, str]:
        """The watts, and where they come from or what would make them known."""
        if self._configured:
            return self._configured, "run.power_watts"
        if self._count:
            return self._sum / self._count, f"mean of {self._count} readings of nvidia-smi"
        return None, "no device of this run tells its power: set run.power_watts"


def _read_watts(devices: int) -> float | None:
    """Watts of this host's devices; None where the tool fails, or shows others than those of the run."""
    try:
        told = subprocess.run(_READER, capture_output=True, text=True, timeout=_READER_SECONDS, check=True).stdout
        values = [float(line) for line in told.split()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return sum(values) if len(values) == devices else None


class ThroughputReport:
    """Says at the start what a step is, and after the first steps and at the end how fast it was; keeps a file.

    The file holds a list `calls`: one entry a call of `train` on the run folder, its own brought up to date every half
    minute.
    """

    def __init__(self, path: Path, *, work: Work, steps: int, watts: float, write: Callable[[str], None]):
        self._path, self._work, self._steps, self._write = path, work, steps, write
        self._meter = PowerMeter(watts)
        self._earlier = _calls(path)
        self._told, self._stored = False, -float("inf")

    def begin(self) -> None:
        """Say what is known before anything is measured."""
        work, device = self._work, jax.devices()[0].device_kind
        peak = peak_of(device)
        known = f"peak {peak / 1e12:,.1f} TFLOP/s dense bf16 each" if peak else "its peak is not known, so no MFU"
        step = f"a step from step {work.earlier[-1][0] + 1} on" if work.earlier else "a step"
        self._write(
            f"{step}: {work.tokens:,} tokens, {work.bp:,} bp, {_flops(work.flops)} of the model (attention included, "
            f"head at masked slots only); {jax.device_count()} x {device}: {known}; "
            f"{self._steps * work.tokens:,} tokens in all"
        )

    def update(self, result: Any) -> None:
        """Where the loop logs: told to a person once, after the first steps; kept now and then."""
        self._meter.sample()
        tell = not self._told and result.step - result.resumed_from >= _FIRST_STEPS
        if not tell and time.monotonic() - self._stored < _STORE_SECONDS:
            return
        measured = self._measure(result)
        if tell:
            self._told = True
            self._write("\n".join(lines_of(measured)))
        self._store(measured)

    def end(self, result: Any) -> None:
        """Measure, tell and keep it once more."""
        measured = self._measure(result)
        self._write("\n".join(lines_of(measured)))
        self._store(measured)

    def _measure(self, result: Any) -> Throughput:
        watts, source = self._meter.watts()
        return measure(result, work=self._work, steps=self._steps, watts=watts, watts_from=source)

    def _store(self, measured: Throughput) -> None:
        self._stored = time.monotonic()
        write_json(self._path, {"calls": [*self._earlier, dataclasses.asdict(measured)]})


def _calls(path: Path) -> list[dict]:
    """The entries of earlier calls; [] where the file is missing or was damaged: it only tells."""
    try:
        calls = read_json(path)["calls"] if path.is_file() else []
    except (ValueError, KeyError):
        return []
    return calls if isinstance(calls, list) else []


def measure(result: Any, *, work: Work, steps: int, watts: float | None, watts_from: str) -> Throughput:
    """The report of a result of the loop.

    Args:
        result: `loop.Result`, so far or final.
        work: of a step; of all steps so far it is their mean, and those to come go at the FLOP/s of these.
        steps: that the run is configured for.
        watts: of all devices, None where not known.
        watts_from: where they come from.
    """
    kind, devices, rate = jax.devices()[0].device_kind, jax.device_count(), result.tokens_per_second
    peak, every = peak_of(kind), work.over(0, steps)
    work = work.over(result.resumed_from, result.step)
    per_second = rate / work.tokens if rate else None  # steps
    done = result.step - result.resumed_from
    total = None
    if per_second:
        aside = sum(result.seconds.get(use, 0.0) for use in ("evaluation", "checkpoint", "report"))
        total = steps * (every.flops / work.flops / per_second + aside / max(done, 1))
    return Throughput(
        from_step=result.resumed_from,
        to_step=result.step,
        device=kind,
        devices=devices,
        flops_per_step=work.flops,
        tokens_per_step=work.tokens,
        bp_per_step=work.bp,
        tokens_per_second=rate or None,
        bp_per_second=work.bp * per_second if per_second else None,
        flops_per_second=work.flops * per_second if per_second else None,
        peak_flops_per_device=peak,
        model_flop_utilisation=work.flops * per_second / (devices * peak) if per_second and peak else None,
        formula=FORMULA,
        peak_memory_bytes=result.peak_memory_bytes,
        peak_device_memory_bytes=device_memory_bytes(),
        seconds=dict(result.seconds),
        first_step_seconds=result.first_step_seconds or None,
        compile_seconds=result.compile_seconds or None,
        total_tokens=steps * work.tokens,
        total_seconds=total,
        watts=watts,
        watts_from=watts_from,
        total_kwh=watts * total / _JOULES_A_KWH if watts and total else None,
    )


def lines_of(measured: Throughput) -> list[str]:
    """The report for a person: speed, time and memory, projection."""
    m = measured
    if m.tokens_per_second is None:
        return [f"throughput: steps {m.from_step} to {m.to_step} are too few to tell"]
    mfu = f"the peak of {m.device} is not known, so no MFU"
    if m.model_flop_utilisation is not None:
        mfu = f"MFU {m.model_flop_utilisation:.1%} of {m.devices} x {m.peak_flops_per_device / 1e12:,.1f} TFLOP/s"
    total = sum(m.seconds.values())
    uses = ", ".join(f"{use} {value / total:.1%}" for use, value in m.seconds.items())
    memory = f"peak memory {m.peak_memory_bytes / 2**30:.2f} GiB"
    if m.peak_device_memory_bytes is not None:
        memory += f", on a device {m.peak_device_memory_bytes / 2**30:.2f} GiB"
    energy = f"energy not known ({m.watts_from})"
    if m.total_kwh is not None:
        energy = f"{m.total_kwh:,.3g} kWh at {m.watts:,.0f} W ({m.watts_from})"
    speed = f"{m.tokens_per_second:,.0f} tokens/s, {m.bp_per_second:,.0f} bp/s, {_flops(m.flops_per_second)}/s"
    return [
        f"throughput: {speed}, {mfu}",
        f"time {total:,.1f} s: {uses}; {memory}{_first_step(m)}",
        f"projected for {m.total_tokens:,} tokens: {clock_text(m.total_seconds)}, {energy}",
    ]


def _first_step(m: Throughput) -> str:
    if m.first_step_seconds is None:
        return ""
    return f"; first step after {m.first_step_seconds:,.1f} s, {m.compile_seconds or 0.0:,.1f} s of them compilation"


def _flops(value: float) -> str:
    exponent = next((e for e in (15, 12, 9, 6) if value >= 10.0**e), 0)
    return f"{value / 10.0**exponent:,.3g} {dict(((15, 'P'), (12, 'T'), (9, 'G'), (6, 'M'), (0, '')))[exponent]}FLOP"

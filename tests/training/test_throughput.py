import json
from types import SimpleNamespace

import jax
import pytest

from plantgfm.training import throughput
from plantgfm.training.config import TrainingConfig
from plantgfm.training.loop import Result
from plantgfm.training.throughput import (
    PEAKS,
    THROUGHPUT_FILE,
    PowerMeter,
    ThroughputReport,
    Work,
    device_memory_bytes,
    lines_of,
    measure,
    peak_of,
)

from .quadratic import train_point

WORK = Work(flops=4e12, tokens=1000, bp=5990)
SECONDS = {"start": 5.0, "input": 1.0, "compute": 19.0, "evaluation": 10.0, "checkpoint": 5.0}


def result(**changes):
    known = {"step": 30, "resumed_from": 20, "tokens": 10_000, "tokens_per_second": 500.0, "seconds": SECONDS}
    return Result(**{**known, **changes})


@pytest.fixture
def eight_h200(monkeypatch):
    device = SimpleNamespace(device_kind="NVIDIA H200", memory_stats=lambda: {"peak_bytes_in_use": 3 * 2**30})
    monkeypatch.setattr(throughput.jax, "devices", lambda: [device] * 8)
    monkeypatch.setattr(throughput.jax, "local_devices", lambda: [device] * 8)
    monkeypatch.setattr(throughput.jax, "device_count", lambda: 8)


def test_every_figure_follows_from_what_was_measured(eight_h200):
    told = measure(result(), work=WORK, steps=200, watts=700.0, watts_from="run.power_watts")
    assert (told.tokens_per_second, told.bp_per_second, told.flops_per_second) == (500.0, 2995.0, 2e12)
    assert told.model_flop_utilisation == 2e12 / (8 * 989.5e12)
    # 200 steps of 2 s, and 15 s of evaluation and checkpoints every 10 steps
    assert (told.total_tokens, told.total_seconds) == (200_000, 700.0)
    assert told.total_kwh == pytest.approx(700.0 * 700.0 / 3.6e6)
    assert told.peak_device_memory_bytes == 3 * 2**30
    speed, spent, projected = lines_of(told)
    assert speed == "throughput: 500 tokens/s, 2,995 bp/s, 2 TFLOP/s, MFU 0.0% of 8 x 989.5 TFLOP/s"
    assert "time 40.0 s: start 12.5%, input 2.5%, compute 47.5%, evaluation 25.0%, checkpoint 12.5%" in spent
    assert spent.endswith("on a device 3.00 GiB")
    timed = measure(
        result(first_step_seconds=12.5, compile_seconds=8.0), work=WORK, steps=200, watts=1.0, watts_from=""
    )
    assert lines_of(timed)[1].endswith("GiB; first step after 12.5 s, 8.0 s of them compilation")
    assert projected == "projected for 200,000 tokens: 11:40, 0.136 kWh at 700 W (run.power_watts)"


def test_steps_of_several_lengths_count_each_with_its_work(eight_h200):
    short = Work(flops=1e12, tokens=1000, bp=5900)
    work = Work(flops=4e12, tokens=1000, bp=5990, earlier=((10, short), (25, Work(2e12, 1000, 5950))))
    assert work.over(0, 10) == short and work.over(25, 200).flops == 4e12
    assert work.over(8, 28) == Work(
        (2 * 1e12 + 15 * 2e12 + 3 * 4e12) / 20, 1000, round((2 * 59 + 15 * 59.5 + 179.7) * 5)
    )
    told = measure(result(), work=work, steps=200, watts=None, watts_from="")  # steps 20 to 30
    assert told.flops_per_step == 3e12 and told.flops_per_second == 1.5e12
    mean = (10 * 1e12 + 15 * 2e12 + 175 * 4e12) / 200
    assert told.total_seconds == pytest.approx(200 * (mean / 1.5e12 + 1.5))
    assert WORK.over(20, 30) is WORK and work.over(30, 30) is work


def test_what_is_not_known_is_not_told():
    told = measure(result(), work=WORK, steps=200, watts=None, watts_from="set it")
    assert (told.peak_flops_per_device, told.model_flop_utilisation, told.total_kwh) == (None, None, None)
    assert told.peak_device_memory_bytes is device_memory_bytes() is None  # processors do not count
    speed, _, projected = lines_of(told)
    assert speed.endswith("the peak of cpu is not known, so no MFU")
    assert projected.endswith("energy not known (set it)")
    early = measure(result(tokens_per_second=0.0), work=WORK, steps=200, watts=9.0, watts_from="")
    assert (early.tokens_per_second, early.total_seconds, early.total_kwh) == (None, None, None)
    assert lines_of(early) == ["throughput: steps 20 to 30 are too few to tell"]


@pytest.mark.parametrize(
    ("kind", "tera"),
    [
        ("NVIDIA H200", 989.5),
        ("NVIDIA H100 80GB HBM3", 989.5),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("TPU v5 lite", 197.0),
        ("TPU v5p", 459.0),
    ],
)
def test_the_peak_goes_by_the_kind_of_device(kind, tera):
    assert peak_of(kind) == tera * 1e12


def test_a_slower_board_of_the_same_chip_gets_no_peak():
    assert [peak_of(kind) for kind in ("NVIDIA H100 PCIe", "NVIDIA H100 NVL", "cpu", "")] == [None] * 4
    assert len({name for name, _ in PEAKS}) == len(PEAKS)


def stand_in(tmp_path, monkeypatch, script):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(throughput.jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(throughput.jax, "local_device_count", lambda: 2)


def test_power_is_read_now_and_then_and_averaged(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, f"echo read >> {tmp_path}/reads; echo 300.5; echo 299.5")
    now = [0.0]
    meter = PowerMeter(0.0, clock=lambda: now[0])
    for now[0] in (0.0, 4.0, 11.0, 12.0):
        meter.sample()
    assert meter.watts() == (600.0, "mean of 2 readings of nvidia-smi")
    assert (tmp_path / "reads").read_text().count("read") == 2


@pytest.mark.parametrize("script", ["echo 300", "echo '[N/A]'; echo '[N/A]'", "exit 9"])
def test_power_of_other_devices_or_none_is_not_known(tmp_path, monkeypatch, script):
    stand_in(tmp_path, monkeypatch, script)
    meter = PowerMeter(0.0)
    meter.sample()
    assert meter.watts() == (None, "no device of this run tells its power: set run.power_watts")


def test_configured_power_is_taken_as_it_is(monkeypatch):
    monkeypatch.setattr(throughput.subprocess, "run", pytest.fail)
    meter = PowerMeter(45.0)
    meter.sample()
    assert meter.watts() == (45.0, "run.power_watts")
    with pytest.raises(ValueError, match="power_watts is -1"):
        TrainingConfig(power_watts=-1)


def test_a_run_tells_its_throughput_at_the_start_and_at_the_end_and_keeps_it(tmp_path, monkeypatch):
    monkeypatch.setattr(throughput, "_FIRST_STEPS", 5)
    run, said = tmp_path / "run", []
    work = Work(flops=1e6, tokens=128, bp=90 * 8)
    evaluator = SimpleNamespace(name="point", every_steps=4, run=lambda params: {"size": float(params["kernel"].size)})
    train_point(run, steps=8, work=work, power_watts=10.0, write=said.append, evaluators=[evaluator])
    told = [line for text in said for line in text.splitlines()]
    assert told[0].startswith("a step: 128 tokens, 720 bp, 1 MFLOP of the model (attention included, ")
    assert f"{jax.device_count()} x cpu: its peak is not known, so no MFU; 1,024 tokens in all" in told[0]
    assert [line.split(":")[0] for line in told].count("throughput") == 2  # after 5 steps, and at the end
    (call,) = json.loads((run / THROUGHPUT_FILE).read_text())["calls"]
    assert (call["from_step"], call["to_step"], call["total_tokens"], call["watts"]) == (0, 8, 1024, 10.0)
    assert call["tokens_per_second"] > 0 and call["total_kwh"] > 0
    assert set(call["seconds"]) == {"start", "input", "compute", "evaluation", "checkpoint"}
    assert call["peak_memory_bytes"] > 50e6
    assert call["first_step_seconds"] > 0


def test_each_call_has_its_entry_and_a_damaged_file_costs_the_earlier_ones(tmp_path):
    path = tmp_path / THROUGHPUT_FILE

    def ended(**changes):
        report = ThroughputReport(path, work=WORK, steps=200, watts=0.0, write=lambda text: None)
        report.update(result(**changes))
        report.end(result(**changes))
        return [(call["from_step"], call["to_step"]) for call in json.loads(path.read_text())["calls"]]

    assert ended() == [(20, 30)]
    assert ended(resumed_from=30, step=35) == [(20, 30), (30, 35)]
    path.write_text("{")
    assert ended(resumed_from=35, step=40) == [(35, 40)]

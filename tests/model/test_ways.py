"""Which way attention is computed is a rule of settings, length and device, and is told."""

from dataclasses import replace

import jax
import pytest

from plantgfm.identity import plain, restore
from plantgfm.model import ways
from plantgfm.model.attention import attend
from plantgfm.model.blocked import attend_by_window
from plantgfm.model.config import AttentionKind, ComputeType, Layers, ModelConfig, Remat
from plantgfm.model.fused import attend_fused
from plantgfm.model.local import attend_locally
from plantgfm.model.ways import Device, attention_line, device_at_hand, require_ways, way_of
from tests.conftest import composed

HOPPER, CPU = Device("cuda", "9.0"), Device("cpu")
BF16 = {"compute_type": ComputeType.BFLOAT16}


def of(device, *, full=True, length=512, **settings):
    return way_of(ModelConfig(**{"local_attention": 8, **settings}), full=full, length=length, device=device)


def test_full_layers_go_to_cudnn_where_it_can_and_the_reason_is_told_where_it_cannot():
    assert of(HOPPER, **BF16).attend is attend_fused
    assert of(HOPPER, **BF16, n_heads=1, d_model=256).attend is attend_fused
    for device, settings, told in (
        (HOPPER, {}, "needs model.compute_type=BFLOAT16, it is FLOAT32"),
        (HOPPER, {**BF16, "n_heads": 4}, "heads of a multiple of 64, these have 48"),
        (HOPPER, {**BF16, "n_heads": 1, "d_model": 320}, "heads up to 256 at compute capability 9.0, these have 320"),
        (Device("cuda", "8.9"), {**BF16, "n_heads": 1, "d_model": 256}, "heads up to 128 at compute capability 8.9"),
        (Device("cuda", "7.5"), BF16, "needs compute capability 8.0, this GPU has 7.5"),
        (Device("rocm"), BF16, "needs a CUDA GPU, this is rocm"),
        (Device("tpu"), BF16, "needs a CUDA GPU, this is tpu"),
        (CPU, {**BF16, "length": 256}, "needs a CUDA GPU, this is cpu"),
    ):
        way = of(device, **settings)
        assert way.attend is attend and told in way.told and way.keys == settings.get("length", 512)
    assert of(HOPPER, **BF16).keys == 0


def test_processors_take_long_full_windows_one_by_one():
    assert of(CPU).attend is attend_by_window and of(CPU).keys == 0
    assert of(CPU, length=256).attend is attend


@pytest.mark.parametrize("device", [CPU, HOPPER])
def test_sliding_layers_go_in_blocks_on_every_device(device):
    way = of(device, full=False, **BF16)
    assert way.attend is attend_locally and way.keys == 24
    assert "blocks of 16 queries against 24 keys" in way.told
    short = of(device, full=False, length=32, **BF16)  # two blocks would hold it all
    assert short.attend is attend and "32 tokens are at most two blocks" in short.told
    assert of(device, full=False, length=160, local_attention=128).attend is attend
    assert of(device, full=False, length=32, attention=AttentionKind.BLOCKED).attend is attend_locally


def test_what_is_set_is_what_is_done():
    for full in (True, False):
        assert of(HOPPER, full=full, attention=AttentionKind.XLA, **BF16).attend is attend
        assert of(CPU, full=full, length=16, attention=AttentionKind.BY_WINDOW).attend is attend_by_window
    assert of(HOPPER, attention=AttentionKind.CUDNN, **BF16).attend is attend_fused
    assert of(HOPPER, attention=AttentionKind.CUDNN, full=False, **BF16).attend is attend_locally
    assert of(HOPPER, attention=AttentionKind.BLOCKED, **BF16).attend is attend_fused
    with pytest.raises(
        ValueError, match="model.attention=CUDNN can't be: cuDNN needs a CUDA GPU, this is cpu; take AUTO"
    ):
        of(CPU, attention=AttentionKind.CUDNN, **BF16)


def test_settings_that_contradict_themselves_are_refused_with_the_way_out():
    assert composed("model.attention=XLA").model.attention is AttentionKind.XLA
    assert composed("model.attention=WHOLE").model.attention is AttentionKind.XLA  # its name in older settings
    with pytest.raises(
        ValueError, match="CUDNN needs model.compute_type=BFLOAT16, it is FLOAT32: set it, or take AUTO"
    ):
        composed("model.attention=CUDNN")
    with pytest.raises(ValueError, match="multiple of 64 and model.d_model 192 over model.n_heads 2 is 96"):
        composed("model.attention=CUDNN", "model.compute_type=BFLOAT16", "model.n_heads=2")
    with pytest.raises(ValueError, match="BLOCKED is for sliding layers and model.local_attention is 0"):
        composed("model.attention=BLOCKED", "model.local_attention=0")


def test_a_run_says_in_one_line_which_way_runs_and_why():
    config = ModelConfig(n_layers=4, local_attention=8, **BF16)
    assert attention_line(config, length=1024, device=HOPPER) == (
        "attention: 2 full layers by cuDNN, padding as sequence lengths (bfloat16, heads of 64, compute capability "
        "9.0); "
        "2 sliding layers in blocks of 16 queries against 24 keys (linear in the length)"
    )
    plainly = attention_line(ModelConfig(n_layers=1), length=128)
    assert plainly == "attention: 1 full layer whole by XLA (cuDNN needs a CUDA GPU, this is cpu)"


def test_insisting_on_cudnn_is_refused_before_any_work_and_nothing_else_asks_for_devices(monkeypatch):
    insisting = ModelConfig(attention=AttentionKind.CUDNN, **BF16)
    with pytest.raises(ValueError, match="CUDNN can't be"):
        require_ways(insisting, length=64)
    monkeypatch.setattr(ways, "device_at_hand", lambda: pytest.fail("asked"))
    require_ways(ModelConfig(), length=64)


def test_the_devices_at_hand_are_told_by_platform(monkeypatch):
    assert device_at_hand() == CPU

    class Gpu:
        platform, compute_capability = "gpu", "9.0"

        class client:
            platform_version = "PJRT C API\ncuda 12090"

    monkeypatch.setattr(jax, "devices", lambda: [Gpu])
    assert device_at_hand() == HOPPER
    Gpu.client.platform_version = "rocm 60300"
    assert device_at_hand().platform == "rocm"


def test_whoever_reads_a_model_computes_it_as_suits_him():
    trained = ModelConfig(attention=AttentionKind.CUDNN, layers=Layers.SCANNED, remat=Remat.FULL, **BF16)
    assert trained.as_read() == ModelConfig(**BF16)
    stored = {**plain(ModelConfig()), "attention": "whole"}  # as older bundles and runs say it
    assert restore(ModelConfig, stored) == replace(ModelConfig(), attention=AttentionKind.XLA)

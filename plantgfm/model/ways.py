"""Which way attention is computed: a rule of settings, layer, length and device, and the line that tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array

from plantgfm.model.attention import Length, Pattern, attend
from plantgfm.model.blocked import attend_by_window
from plantgfm.model.config import HEAD_MULTIPLE, AttentionKind, ComputeType, ModelConfig
from plantgfm.model.fused import attend_fused
from plantgfm.model.local import attend_locally, block_of, keys_of

WHOLE_TOKENS = 256
"""Up to this length processors compute full attention whole: 30 ms against 38 by window (32 windows, 3 heads)."""

_WIDEST = {8: 128, 9: 256}  # heads that cuDNN takes, from this compute capability on


class Device(NamedTuple):
    """What the rule asks of the devices at hand; not their number, so that one and many compute alike."""

    platform: str  # "cpu", "cuda", "rocm" or "tpu"
    capability: str = ""  # of a CUDA GPU, as "9.0"


def device_at_hand() -> Device:
    """The kind of device that JAX computes on."""
    first = jax.devices()[0]
    if first.platform != "gpu":
        return Device(first.platform)
    platform = "cuda" if "cuda" in first.client.platform_version else "rocm"
    return Device(platform, getattr(first, "compute_capability", ""))


class Way(NamedTuple):
    """How the attention of a layer is computed."""

    attend: Callable[..., Array]
    told: str  # the way and why, for a person
    keys: Length = 0  # of which each query's scores are in memory at once and kept for the backward pass


def pattern_of(config: ModelConfig, *, full: bool) -> Pattern:
    """The attention of a full or of a sliding layer."""
    return Pattern(
        n_heads=config.n_heads,
        theta=config.rope_theta_full if full else config.rope_theta_local,
        reach=0 if full else config.local_attention // 2,
        causal=config.causal,
    )


def choose(
    kind: AttentionKind, pattern: Pattern, *, head_width: int, compute_type: ComputeType, length: Length, device: Device
) -> Way:
    """The way of a layer: sliding layers in blocks, full ones by cuDNN where it can, by window on processors.

    Args:
        kind: as set; AUTO follows the rule, the others insist.
        pattern: of the layer.
        head_width: of one head.
        compute_type: of the products.
        length: tokens of a window; only `XLA` and `BY_WINDOW` take a symbol.
        device: to compute on.

    Raises:
        ValueError: for `CUDNN` where it can't be, with the reason and the way out.
    """
    if kind is AttentionKind.XLA:
        return Way(attend, "whole, as set", length)
    if kind is AttentionKind.BY_WINDOW:
        return Way(attend_by_window, "window by window, as set")
    if pattern.reach:
        return _sliding(kind, pattern, length)
    fault = _fault(head_width, compute_type, device)
    if not fault:
        heads = f"{compute_type.value}, heads of {head_width}, compute capability {device.capability}"
        return Way(attend_fused, f"by cuDNN, padding as sequence lengths ({heads})")
    if kind is AttentionKind.CUDNN:
        raise ValueError(f"model.attention=CUDNN can't be: {fault}; take AUTO, or a GPU that has it")
    if device.platform == "cpu" and length > WHOLE_TOKENS:
        return Way(attend_by_window, f"window by window (processors, more than {WHOLE_TOKENS} tokens)")
    return Way(attend, f"whole by XLA ({fault})", length)


def _sliding(kind: AttentionKind, pattern: Pattern, length: Length) -> Way:
    block = block_of(pattern)
    told = f"blocks of {block} queries against {keys_of(pattern)} keys"
    if kind is AttentionKind.BLOCKED:
        return Way(attend_locally, f"in {told}, as set", keys_of(pattern))
    if length > 2 * block:
        return Way(attend_locally, f"in {told} (linear in the length)", keys_of(pattern))
    return Way(attend, f"whole by XLA ({length} tokens are at most two {told})", length)


def _fault(head_width: int, compute_type: ComputeType, device: Device) -> str:
    """Why cuDNN can't compute full attention, "" where it can."""
    if device.platform != "cuda":
        return f"cuDNN needs a CUDA GPU, this is {device.platform}"
    if compute_type is not ComputeType.BFLOAT16:
        return f"cuDNN needs model.compute_type=BFLOAT16, it is {compute_type.name}"
    if head_width % HEAD_MULTIPLE:
        return f"cuDNN is asked for heads of a multiple of {HEAD_MULTIPLE}, these have {head_width}"
    major = int(device.capability.partition(".")[0] or 0)
    widest = max((width for least, width in _WIDEST.items() if major >= least), default=0)
    if not widest:
        return f"cuDNN needs compute capability 8.0, this GPU has {device.capability or 'none'}"
    if head_width > widest:
        return f"cuDNN takes heads up to {widest} at compute capability {device.capability}, these have {head_width}"
    return ""


def way_of(config: ModelConfig, *, full: bool, length: int, device: Device | None = None) -> Way:
    """`choose` for the full or the sliding layers of a configuration, on the devices at hand unless told."""
    return choose(
        config.attention,
        pattern_of(config, full=full),
        head_width=config.head_width,
        compute_type=config.compute_type,
        length=length,
        device=device or device_at_hand(),
    )


def attention_line(config: ModelConfig, *, length: int, device: Device | None = None) -> str:
    """What a run says of its attention: which way the full and the sliding layers are computed, and why.

    Raises:
        ValueError: for a way that can't be.
    """
    kinds = [config.is_full(layer) for layer in range(config.n_layers)]
    told = [
        f"{count} {'full' if full else 'sliding'} layer{'s' if count > 1 else ''} "
        f"{way_of(config, full=full, length=length, device=device).told}"
        for full in (True, False)
        if (count := kinds.count(full))
    ]
    return f"attention: {'; '.join(told)}"


def require_ways(config: ModelConfig, *, length: int) -> None:
    """Refuse early what `choose` would refuse; only insisting on cuDNN asks for the devices.

    Raises:
        ValueError: for a way that can't be.
    """
    if config.attention is AttentionKind.CUDNN:
        attention_line(config, length=length)

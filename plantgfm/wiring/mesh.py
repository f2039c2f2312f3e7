"""Which device holds what: a layout for the devices at hand, checked by arithmetic before anything is compiled."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
from jax.sharding import Mesh

from plantgfm.config import Config, MeshConfig, MeshLayout
from plantgfm.model.build import Network
from plantgfm.model.config import ComputeType, Remat
from plantgfm.model.ways import way_of
from plantgfm.objectives.masking import slot_count
from plantgfm.partition import abstract_mesh, make_mesh, shard_bytes, state_shardings
from plantgfm.training.hosts import ALONE, Hosts
from plantgfm.wiring.stages import stages_of


def size_text(count: int) -> str:
    """Bytes for a person."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.2f} MiB"


@dataclass(frozen=True, order=True)
class Layout:
    """Devices along the axes of a mesh."""

    tensor: int = 1
    fsdp: int = 1
    data: int = 1

    @property
    def devices(self) -> int:
        """How many devices it takes."""
        return self.data * self.fsdp * self.tensor

    @property
    def parts(self) -> int:
        """Parts that the windows of a step are split into."""
        return self.data * self.fsdp

    def distance(self, other: Layout) -> float:
        """How far two layouts are apart: doublings along the axes, added up."""
        pairs = ((self.data, other.data), (self.fsdp, other.fsdp), (self.tensor, other.tensor))
        return sum(abs(math.log2(mine / its)) for mine, its in pairs)

    def __str__(self) -> str:
        return f"mesh.data={self.data} mesh.fsdp={self.fsdp} mesh.tensor={self.tensor}"


@dataclass(frozen=True)
class Memory:
    """Bytes that training takes on one device; activations are an estimate, the rest is counted."""

    parameters: int
    optimizer: int
    gradients: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.parameters + self.optimizer + self.gradients + self.activations

    def __str__(self) -> str:
        parts = ("parameters", "optimizer", "gradients", "activations")
        told = ", ".join(f"{name} {size_text(getattr(self, name))}" for name in parts)
        return f"{size_text(self.total)} a device ({told}, the last one estimated)"


@dataclass(frozen=True)
class Devices:
    """What there is to lay out on."""

    count: int
    processes: int = 1
    memory_bytes: int = 0  # of one device, 0 where it is not known
    kind: str = "cpu"

    @property
    def local(self) -> int:
        """Devices of one process."""
        return self.count // self.processes


def devices_at_hand(config: MeshConfig, *, hosts: Hosts = ALONE) -> Devices:
    """The devices of all processes; their memory as configured, else what the least of the hosts states.

    Hosts state what was free when they began, which differs; each has to come to the same layout.
    """
    first = jax.local_devices()[0]
    stated = (first.memory_stats() or {}).get("bytes_limit", 0)  # None on processors
    memory = min(hosts.agree("the memory of a device", lambda: int(config.device_memory_gb * 1e9) or stated))
    return Devices(jax.device_count(), jax.process_count(), memory, first.device_kind)


@dataclass(frozen=True)
class Demand:
    """What a run asks of its devices: shapes, and nothing that was computed."""

    state: Any  # TrainState of shapes
    windows: int
    micro_batches: int
    rows: int  # of the vocabulary, padded
    heads: int
    width: int
    hidden: int  # of the feed-forward layer
    activation_bytes: Callable[[float, int], float]  # (windows, tensor) → bytes kept for the backward pass

    def fault(self, layout: Layout, devices: Devices) -> str:
        """Why a layout can't be, "" where it can."""
        if layout.devices > devices.count:
            return f"it takes {layout.devices} devices and there are {devices.count}"
        if devices.processes > 1 and layout.devices != devices.count:
            return f"it takes {layout.devices} of {devices.count} devices, and with several hosts it must take all"
        if devices.processes > 1 and layout.tensor % devices.local and devices.local % layout.tensor:
            return f"tensor does not divide the {devices.local} devices of a host, nor they it"
        share, rest = divmod(self.windows, self.micro_batches * layout.parts)
        if rest or not share:
            return (
                f"{self.windows} windows (sampler.batch_windows) in {self.micro_batches} micro batches do not divide "
                f"among data x fsdp = {layout.parts}"
            )
        return _indivisible(self, layout) or self._over(layout, devices)

    def _over(self, layout: Layout, devices: Devices) -> str:
        memory = self.memory(layout)
        if not devices.memory_bytes or memory.total <= devices.memory_bytes:
            return ""
        return (
            f"it takes {memory} and a device has {size_text(devices.memory_bytes)} (mesh.device_memory_gb overrides "
            "what it states)"
        )

    def memory(self, layout: Layout) -> Memory:
        """What a layout takes on one device."""
        mesh = abstract_mesh(data=layout.data, fsdp=layout.fsdp, tensor=layout.tensor)
        shardings = state_shardings(mesh, self.state)
        parameters = shard_bytes(shardings.params, self.state.params)
        windows = self.windows / (self.micro_batches * layout.parts)
        return Memory(
            parameters=parameters,
            optimizer=shard_bytes(shardings.opt_state, self.state.opt_state),
            gradients=parameters * (1 if self.micro_batches == 1 else 2),  # the sum, and the part that is added to it
            activations=int(self.activation_bytes(windows, layout.tensor)),
        )


def _indivisible(demand: Demand, layout: Layout) -> str:
    pairs = (
        ("rows of the vocabulary table", demand.rows, "fsdp x tensor", layout.fsdp * layout.tensor),
        ("model.d_model", demand.width, "fsdp", layout.fsdp),
        ("model.n_heads", demand.heads, "tensor", layout.tensor),
        ("model.d_ff", demand.hidden, "tensor", layout.tensor),
    )
    faults = [f"{name} = {size} does not divide by {axes} = {by}" for name, size, axes, by in pairs if size % by]
    return faults[0] if faults else ""


def demand_of(config: Config, network: Network, state: Any) -> Demand:
    """What a configuration asks of its devices.

    Args:
        config: all settings.
        network: as built from them.
        state: shapes of the training state.
    """
    model, sampler, stages = config.model, config.sampler, stages_of(config)

    def most(windows: float, tensor: int) -> float:
        scale = windows / sampler.batch_windows
        return max(
            activation_bytes(stage.config, network, windows=scale * stage.windows, tensor=tensor) for stage in stages
        )

    return Demand(
        state=state,
        windows=sampler.batch_windows,
        micro_batches=config.run.micro_batches,
        rows=network.rows,
        heads=model.n_heads,
        width=model.d_model,
        hidden=model.d_ff,
        activation_bytes=most,
    )


def activation_bytes(config: Config, network: Network, *, windows: float, tensor: int) -> float:
    """Estimate of what a device keeps of a forward pass for the backward pass, and of the logits of both heads.

    Counted by what the backward pass reads: per layer the residual stream and the norms (4 widths), queries, keys and
    values before and after rotation (5), the mixed values (1), and the feed-forward layer (4 hidden widths); scores
    and weights where attention keeps them; three copies of the logits. With `model.remat` it is the input of each layer
    (with DOTS the products, too), and all of one layer. The compiler fuses some and adds others.
    """
    model, tokens = config.model, config.sampler.window_tokens
    size = 2 if model.compute_type is ComputeType.BFLOAT16 else 4
    rows = windows * tokens * size
    kept = {
        Remat.NONE: 4 * model.d_model + (6 * model.d_model + 4 * model.d_ff) / tensor,
        Remat.DOTS: 3 * model.d_model + (3 * model.d_model + 2 * model.d_ff) / tensor,
        Remat.FULL: model.d_model,
    }
    ways = {full: way_of(model, full=full, length=tokens).keys for full in (True, False)}
    keys = [ways[model.is_full(layer)] for layer in range(model.n_layers)]
    layers, again = model.n_layers * rows * kept[model.remat], rows * kept[Remat.NONE]
    layers += 0 if model.remat is Remat.NONE else again
    scored = sum(keys) if model.remat is Remat.NONE else max(keys)
    scores = windows * model.n_heads / tensor * tokens * scored * (4 + size)
    slots = slot_count(tokens, config.objective.masked_fraction) + 1  # the next region is one more
    logits = 3 * windows * slots * network.rows * 4
    table = 2 * network.rows * model.d_model * (4 + size)  # gathered for look-up and decoder, and its gradient
    return layers + scores + logits + table


def layouts_of(count: int) -> list[Layout]:
    """Every layout of so many devices, the one with the least communication first."""
    divisors = [size for size in range(1, count + 1) if count % size == 0]
    found = [(tensor, fsdp) for tensor in divisors for fsdp in divisors if (count // tensor) % fsdp == 0]
    return [Layout(tensor, fsdp, count // (tensor * fsdp)) for tensor, fsdp in sorted(found)]


def choose_layout(config: MeshConfig, demand: Demand, devices: Devices) -> Layout:
    """The stated layout, or with `auto` the first that fits, on as many devices as can be.

    Raises:
        ValueError: for a layout that can't fit, with the reason and the nearest one that does.
    """
    if config.layout is MeshLayout.AUTO:
        fitting = _fitting(demand, devices)
        if not fitting:
            raise ValueError(f"no mesh fits {_told(devices)}: {_first_fault(demand, devices)}; {_WAYS_OUT}")
        return fitting[0]
    data = config.data or max(1, devices.count // (config.fsdp * config.tensor))
    stated = Layout(config.tensor, config.fsdp, data)
    fault = demand.fault(stated, devices)
    if not fault:
        return stated
    near = min(_fitting(demand, devices), key=lambda each: (each.distance(stated), each), default=None)
    way_out = f"the nearest that fits {_told(devices)} is {near}" if near else f"no mesh fits; {_WAYS_OUT}"
    raise ValueError(f"{stated} can't be: {fault}; {way_out}")


_WAYS_OUT = (
    "lower sampler.batch_windows or raise run.micro_batches, choose a smaller model, or give it more devices; the "
    "windows must divide among them"
)


def _told(devices: Devices) -> str:
    return f"{devices.count} device{'s' if devices.count > 1 else ''} ({devices.kind})"


def _fitting(demand: Demand, devices: Devices) -> list[Layout]:
    """Layouts that fit, those on the most devices only."""
    for count in range(devices.count, 0, -1):
        if fitting := [each for each in layouts_of(count) if not demand.fault(each, devices)]:
            return fitting
    return []


def _first_fault(demand: Demand, devices: Devices) -> str:
    layout = Layout(fsdp=devices.count)
    return f"{layout}: {demand.fault(layout, devices)}"


def place(
    config: Config, network: Network, state: Any, *, hosts: Hosts = ALONE, write: Callable[[str], None]
) -> tuple[MeshConfig, Mesh]:
    """The mesh of a run, the same on all its hosts, and its settings with every axis stated.

    Says what was chosen and what it takes.

    Raises:
        ValueError: for a layout that can't fit, before anything is compiled.
    """
    devices, demand = devices_at_hand(config.mesh, hosts=hosts), demand_of(config, network, state)
    layout = choose_layout(config.mesh, demand, devices)
    limit = f" of {size_text(devices.memory_bytes)}" if devices.memory_bytes else ""
    idle = f", {devices.count - layout.devices} idle" if layout.devices < devices.count else ""
    write(f"mesh: {layout} on {_told(devices)}{idle}; {demand.memory(layout)}{limit}")
    axes = {"data": layout.data, "fsdp": layout.fsdp, "tensor": layout.tensor}
    return replace(config.mesh, layout=MeshLayout.STATED, **axes), make_mesh(**axes)

"""Device mesh, and ordered rules from parameter paths to the axes that they are split over.

Parameters are named by their path in the tree, joined by "/". The first rule whose pattern is found in a path decides;
a rule that decides nothing and a parameter without a rule are both errors, so a renamed parameter is noticed.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding, get_abstract_mesh, use_abstract_mesh
from jax.sharding import PartitionSpec as P

AXES = ("data", "fsdp", "tensor")
"""Windows are split over data and fsdp; parameters over fsdp, and over tensor within a layer."""

WINDOW_AXES = ("data", "fsdp")

_TRAVELS_ALONE = 2**18
"""Values of an array from which joining it with others costs more than its own wait."""

Rules = Sequence[tuple[str, P]]

# The table is split over its rows alone: split over both dimensions, on a mesh of 2 x 2 x 2, XLA 0.10.2 gives wrong
# gradients behind the tied decoder (held by `tests/test_partition.py`).
MODEL_RULES: Rules = (
    (r"embeddings/table$", P(("tensor", "fsdp"))),
    (r"(Wqkv|Wi|dense)/kernel$", P("fsdp", "tensor")),
    (r"Wo/kernel$", P("tensor", "fsdp")),
    (r"next_region/profiles$", P(None, ("tensor", "fsdp"))),
    (r"kmer/projection$", P()),
    (r"(scale|bias)$", P()),
)
"""Rules for the parameters of `model`; `model_rules` leaves out the one that folded parameters do not need."""


def make_mesh(*, data: int = 1, fsdp: int = 1, tensor: int = 1, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh of data · fsdp · tensor devices, process by process, so that each host's windows are one run of rows.

    Args:
        data: number of copies of the parameters; 0 takes all devices that the other two leave.
        fsdp: number of parts that parameters, and the batch, are split into.
        tensor: number of parts that the work within a layer is split into.
        devices: to use; the first of all by default.

    Raises:
        ValueError: when there are not that many devices.
    """
    devices = sorted(jax.devices() if devices is None else devices, key=lambda each: (each.process_index, each.id))
    data = data or len(devices) // (fsdp * tensor)
    sizes = (data, fsdp, tensor)
    if min(sizes) < 1 or math.prod(sizes) > len(devices):
        raise ValueError(f"mesh data, fsdp, tensor = {sizes} does not fit {len(devices)} devices: lower one of them")
    return Mesh(np.asarray(devices[: math.prod(sizes)]).reshape(sizes), AXES)


def path_name(path: Sequence[Any]) -> str:
    """The name of a leaf: its keys joined by "/"."""
    return "/".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)


def model_rules(params: Any) -> Rules:
    """`MODEL_RULES` as far as these parameters need them: without a k-mer projection, without its rule."""
    return MODEL_RULES if "kmer" in params else tuple(rule for rule in MODEL_RULES if not rule[0].startswith("kmer"))


def match_rules(rules: Rules, tree: Any) -> Any:
    """The specification of every leaf, as a tree of the same structure.

    Raises:
        ValueError: for a leaf without a rule, a rule that decides no leaf, or a rule with more axes than its leaf.
    """
    used = set()

    def spec_of(path, leaf):
        name = path_name(path)
        for index, (pattern, spec) in enumerate(rules):
            if re.search(pattern, name):
                if len(spec) > np.ndim(leaf):
                    raise ValueError(f"rule {pattern!r} → {spec} has more axes than {name} of shape {np.shape(leaf)}")
                used.add(index)
                return spec
        raise ValueError(f"parameter {name} of shape {np.shape(leaf)} has no partition rule: add one")

    specs = jax.tree_util.tree_map_with_path(spec_of, tree)
    idle = [pattern for index, (pattern, _) in enumerate(rules) if index not in used]
    if idle:
        raise ValueError(f"partition rules that decide no parameter: {idle}; remove them or mend their pattern")
    return specs


def param_shardings(mesh: Mesh | AbstractMesh, rules: Rules, tree: Any) -> Any:
    """`NamedSharding` of every leaf by its rule; an axis that does not divide a dimension is left out there."""
    specs = match_rules(rules, tree)
    return jax.tree.map(
        lambda leaf, spec: NamedSharding(mesh, fitting(mesh, spec, np.shape(leaf))),
        tree,
        specs,
    )


def state_shardings(mesh: Mesh | AbstractMesh, state: Any) -> Any:
    """`NamedSharding` of a training state: parameters and their moments by the rules, counters on every device.

    Args:
        mesh: the devices, or their number along each axis.
        state: arrays or shapes, with `params` among its fields; moments carry the names of their parameters.
    """
    return param_shardings(mesh, (*model_rules(state.params), (r".", P())), state)


def shard_bytes(shardings: Any, tree: Any) -> int:
    """Bytes that one device holds of a tree of arrays or shapes, from their shardings alone."""
    sizes = jax.tree.map(
        lambda leaf, sharding: math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize, tree, shardings
    )
    return sum(jax.tree.leaves(sizes))


def fitting(mesh: Mesh | AbstractMesh, spec: P, shape: tuple[int, ...]) -> P:
    """The specification without the axes whose size does not divide their dimension."""
    return P(*(axes if size % _parts(mesh, axes) == 0 else None for axes, size in zip(spec, shape)))


def _parts(mesh: Mesh | AbstractMesh, axes: str | tuple[str, ...] | None) -> int:
    names = (axes,) if isinstance(axes, str) else axes or ()
    return math.prod(mesh.shape[name] for name in names)


def abstract_mesh(*, data: int, fsdp: int, tensor: int) -> AbstractMesh:
    """A mesh without devices: what shardings and sizes can be worked out from."""
    return AbstractMesh((data, fsdp, tensor), AXES)


def rows_of_process(mesh: Mesh, index: int) -> tuple[int, int]:
    """Which share of the windows a process holds, as (share, shares): hosts that hold the same windows share a number.

    Raises:
        ValueError: when its devices hold part of a share, so that no equal shares exist.
    """
    of_process = np.array([device.process_index for device in mesh.devices.ravel()])
    parts = np.arange(of_process.size) // mesh.shape["tensor"]
    mine = np.unique(parts[of_process == index])
    n_parts = of_process.size // mesh.shape["tensor"]
    if not mine.size or n_parts % mine.size or mine[0] % mine.size or np.ptp(mine) + 1 != mine.size:
        raise ValueError(
            f"process {index} holds parts {mine.tolist()} of the {n_parts} that windows are split into: choose a "
            "mesh.tensor that divides the devices of a host, or is a multiple of them"
        )
    return int(mine[0]) // mine.size, n_parts // mine.size


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Windows, the first axis, split over data and fsdp."""
    return NamedSharding(mesh, P(WINDOW_AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same value on every device."""
    return NamedSharding(mesh, P())


def traced_on(mesh: Mesh | None, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function for `jax.jit`, which while it is traced tells `traced_mesh` what its arrays lie on.

    Args:
        mesh: of its arrays; without one, or with one of one device, it is the function itself.
        function: of arrays.
    """
    if mesh is None or mesh.size == 1:
        return function

    @functools.wraps(function)
    def traced(*arrays: Any) -> Any:
        with use_abstract_mesh(mesh.abstract_mesh):
            return function(*arrays)

    return traced


def traced_mesh() -> AbstractMesh | None:
    """The mesh of the function that is being traced, by `traced_on`; None where all lies on one device.

    None, too, in what `by_device` traces: there is only one device to see.
    """
    mesh = get_abstract_mesh()
    return None if mesh.empty or _by_device(mesh) else mesh


def _by_device(mesh: AbstractMesh) -> bool:
    return set(mesh.manual_axes) == set(AXES)


def can_go_by_device(mesh: Mesh | None, *, windows: int, micro_batches: int) -> bool:
    """Whether `by_device` pays and is exact: parameters whole on several processors, equal windows on each.

    Other devices leave it to the compiler, which lets them compute while they exchange.
    """
    if mesh is None or mesh.size == 1 or mesh.shape["data"] != mesh.size:
        return False
    return mesh.devices.flat[0].platform == "cpu" and windows % (mesh.size * micro_batches) == 0


def by_device(mesh: Mesh, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of (whole, windows, whole) whose results are sums over windows: each device computes its part of them.

    The parts are added up in one exchange at the end. Left to the compiler, each use of a parameter has its gradient
    exchanged by itself, a tied table three times. Within the function `total` and `drawn_rows` see all windows.
    """
    specs = (P(), P(WINDOW_AXES), P())
    return jax.shard_map(
        lambda *arrays: _added_up(function(*arrays)),
        mesh=mesh.abstract_mesh,
        in_specs=specs,
        out_specs=P(),
        check_vma=False,
    )


def _added_up(tree: Any) -> Any:
    """The sum over all devices of every leaf; small ones travel as one array, since each that travels costs a wait."""
    leaves, structure = jax.tree.flatten(tree)
    found: list[Any] = [jax.lax.psum(leaf, AXES) if leaf.size >= _TRAVELS_ALONE else None for leaf in leaves]
    for dtype in dict.fromkeys(leaf.dtype for leaf in leaves):
        small = [at for at, leaf in enumerate(leaves) if found[at] is None and leaf.dtype == dtype]
        joined = jax.lax.psum(jnp.concatenate([leaves[at].ravel() for at in small]), AXES) if small else None
        ends = np.cumsum([leaves[at].size for at in small])
        for at, end in zip(small, ends.tolist()):
            found[at] = joined[end - leaves[at].size : end].reshape(leaves[at].shape)
    return jax.tree.unflatten(structure, found)


def total(value: jax.Array) -> jax.Array:
    """A sum over windows as it is of all windows, where each device is traced with its own; not for gradients."""
    mesh = get_abstract_mesh()
    return value if mesh.empty or not _by_device(mesh) else jax.lax.psum(value, WINDOW_AXES)


def drawn_rows(draw: Callable[[tuple[int, ...]], jax.Array], shape: tuple[int, ...]) -> jax.Array:
    """Random numbers with windows on the first axis; where each device is traced with its own windows, their rows.

    Args:
        draw: of a shape.
        shape: of the windows that are seen here.
    """
    mesh = get_abstract_mesh()
    if mesh.empty or not _by_device(mesh):
        return draw(shape)
    rows = shape[0]
    whole = draw((rows * _parts(mesh, WINDOW_AXES), *shape[1:]))
    return jax.lax.dynamic_slice_in_dim(whole, jax.lax.axis_index(WINDOW_AXES) * rows, rows)


def each_own_rows(function: Callable[..., Any], *arrays: Any) -> Any:
    """A function of windows that do not hear of one another, which each device calls with its own ones.

    Left to the compiler, selections and scatters gather the windows of all devices on each.

    Args:
        function: of the arrays; its result has windows on the first axis, too.
        arrays: with windows on the first axis; where these do not divide among devices, all compute all.
    """
    mesh = traced_mesh()
    if mesh is None:
        return function(*arrays)
    (axes,) = fitting(mesh, P(WINDOW_AXES), arrays[0].shape[:1])
    return jax.shard_map(function, mesh=mesh, in_specs=P(axes), out_specs=P(axes))(*arrays)


def mesh_of(tree: Any) -> Mesh | None:
    """The mesh that the arrays of a tree lie on, None where they lie on one device or on the host."""
    first = getattr(jax.tree.leaves(tree)[0], "sharding", None)
    return first.mesh if isinstance(first, NamedSharding) and first.num_devices > 1 else None

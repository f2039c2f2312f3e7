"""One optimizer step: a pure function of (state, batch), jitted once, its state donated."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding

from plantgfm.objectives.masking import stream_key
from plantgfm.partition import by_device, can_go_by_device, path_name, replicated, traced_on
from plantgfm.schema import Batch
from plantgfm.training.optimizer import Optimizer
from plantgfm.training.state import TrainState

Metrics = dict[str, jax.Array]
"""Values of one step: `loss`, `gradient_norm`, `block_gradient_norms` in the order of `block_names`, `learning_rate`,
the sums and counts of the objectives, and with a guarded optimizer `verdict`, of `bad_steps`."""

_LAYERS = "layers"

LossFunction = Callable[[Any, Batch, jax.Array], tuple[jax.Array, Metrics]]
"""(params, batch, key) → (loss to follow downhill, sums and counts to report)."""

# The schema knows no JAX, so here is where its batch becomes a tree of arrays.
jax.tree_util.register_dataclass(Batch, [field.name for field in dataclasses.fields(Batch)], [])


def make_step(
    loss_fn: LossFunction,
    optimizer: Optimizer,
    *,
    seed: int,
    micro_batches: int = 1,
    state_sharding: Any = None,
    batch_sharding: Any = None,
    adds_up: bool = False,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The jitted step (state, batch) → (state, metrics); the state that goes in is used up.

    Randomness is the step number folded into a constant key, so that nothing of it has to be stored.

    Args:
        loss_fn: of parameters, batch and key.
        optimizer: from `build_optimizer`.
        seed: of the masks.
        micro_batches: parts that a batch is cut into, whose gradients are averaged; the batch stays one optimizer
            step, with all its species. Each part's loss is a mean over its own tokens.
        state_sharding: a tree of shardings like the state, one for all of it, or None for the default device.
        batch_sharding: the same for the batch.
        adds_up: whether loss, gradient and sums of parts of a batch add up to those of the whole, as those of
            `objectives.joint.loss` do; devices that hold all parameters then exchange once a step.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = stream_key(seed, state.step, "mask")
        find = functools.partial(_gradient, loss_fn, micro_batches=micro_batches)
        if adds_up and can_go_by_device(mesh, windows=batch.tokens.shape[0], micro_batches=micro_batches):
            find = by_device(mesh, find)
        gradient, metrics = find(state.params, batch, key)
        metrics["gradient_norm"] = optax.tree.norm(gradient)
        metrics["block_gradient_norms"] = jnp.stack([optax.tree.norm(block) for block in _blocks(gradient).values()])
        judged = {"loss": metrics["loss"], "gradient_norm": metrics["gradient_norm"]} if optimizer.guards else {}
        updates, opt_state = optimizer.transformation.update(gradient, state.opt_state, state.params, **judged)
        taken = state.step  # by the schedule, which skipped steps do not move
        if optimizer.guards:
            metrics["verdict"], taken = opt_state.verdict, taken - opt_state.bad
        metrics["learning_rate"] = optimizer.learning_rate(taken)
        params = optax.apply_updates(state.params, updates)
        average = state.average
        if average is not None:
            average = _averaged(average, params, step=state.step, decay=optimizer.average_decay)
        return TrainState(params, opt_state, state.step + 1, average), metrics

    shardings, mesh = {}, batch_sharding.mesh if isinstance(batch_sharding, NamedSharding) else None
    if state_sharding is not None or batch_sharding is not None:
        # Metrics are whole on every device, so that every process of several can read them.
        metrics = None if mesh is None else replicated(mesh)
        shardings = {"in_shardings": (state_sharding, batch_sharding), "out_shardings": (state_sharding, metrics)}
    return jax.jit(traced_on(mesh, step), donate_argnums=0, **shardings)


def block_names(params: Any) -> list[str]:
    """Names of the blocks that gradient norms are told of: the top of the parameter tree, and each layer by itself."""
    return list(_blocks(params))


def _blocks(tree: Any) -> dict[str, list[Any]]:
    """The leaves of a tree of parameters by block."""
    found: dict[str, list[Any]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        top, *rest = path_name(path).split("/")
        block = f"{top}/{rest[0]}" if top == _LAYERS and rest and rest[0].isdigit() else top
        found.setdefault(block, []).append(leaf)
    return found


def _averaged(average: Any, params: Any, *, step: jax.Array, decay: float) -> Any:
    """The exponential average with one more step, which forgets quickly at first: decay min(decay, (1 + n) / (10 + n)).

    The rise is that of `tf.train.ExponentialMovingAverage`; without it, fresh parameters would weigh for long.
    """
    share = 1.0 - jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: old + share.astype(old.dtype) * (new - old), average, params)


def place_batches(batches: Iterator[Batch], sharding: NamedSharding, *, shares: int) -> Iterator[Batch]:
    """Batches on the devices of a mesh, each process giving its share of the windows.

    Args:
        batches: this process's, from `Batches.iterate`; closed with what is returned.
        sharding: of the whole batch.
        shares: how many processes give windows that differ.
    """

    def place(column: np.ndarray) -> jax.Array:
        whole = (column.shape[0] * shares, *column.shape[1:])
        return jax.make_array_from_process_local_data(sharding, column, whole)

    with contextlib.closing(batches):
        for batch in batches:
            yield jax.tree.map(place, batch)


def _gradient(
    loss_fn: LossFunction, params: Any, batch: Batch, key: jax.Array, *, micro_batches: int
) -> tuple[Any, Metrics]:
    value_and_gradient = jax.value_and_grad(loss_fn, has_aux=True)
    if micro_batches == 1:
        (loss, sums), gradient = value_and_gradient(params, batch, key)
        return gradient, {"loss": loss, **sums}

    def part(index: jax.Array, micro: Batch) -> tuple[Any, Metrics]:
        (loss, sums), gradient = value_and_gradient(params, micro, jax.random.fold_in(key, index))
        return gradient, {"loss": loss, **sums}

    def add(total: tuple, xs: tuple) -> tuple[tuple, None]:
        return jax.tree.map(jnp.add, total, part(*xs)), None

    parts = (jnp.arange(micro_batches), _cut(batch, micro_batches))
    first = jax.tree.map(lambda x: x[0], parts)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(part, *first))
    (gradient, metrics), _ = jax.lax.scan(add, zeros, parts)
    mean = jax.tree.map(lambda x: x / micro_batches, gradient)
    return mean, {**metrics, "loss": metrics["loss"] / micro_batches}


def _cut(batch: Batch, micro_batches: int) -> Batch:
    windows = batch.tokens.shape[0]
    if windows % micro_batches:
        raise ValueError(f"{windows} windows a step do not divide into {micro_batches} micro batches: change either")
    # Every micro_batches-th window goes to the same part, so that windows stay on the device that holds them.
    return jax.tree.map(lambda x: jnp.swapaxes(x.reshape(-1, micro_batches, *x.shape[1:]), 0, 1), batch)

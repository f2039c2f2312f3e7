"""What training carries from step to step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from plantgfm.training.optimizer import Optimizer


class TrainState(NamedTuple):
    """Parameters, optimizer state, the number of steps done, and an average of the parameters where one is kept."""

    params: Any  # nested dict of arrays
    opt_state: Any
    step: jax.Array  # int32 scalar
    average: Any = None  # exponential average of the parameters, where one is kept

    @property
    def served(self) -> Any:
        """The parameters that are evaluated and exported: the average where one is kept."""
        return self.params if self.average is None else self.average


def state_init(
    init_params: Callable[[jax.Array], Any], optimizer: Optimizer, *, seed: int, sharding: Any = None
) -> Callable[[], TrainState]:
    """A function that makes the state of step 0 in one jitted call, so that arrays are born sharded.

    Args:
        init_params: parameters from a key, `Network.init`.
        optimizer: whose state goes beside them.
        seed: of the parameters.
        sharding: a tree of shardings like the state, one sharding for all of it, or None for the default device.
    """

    def init() -> TrainState:
        params = init_params(jax.random.key(seed))
        average = params if optimizer.average_decay else None
        return TrainState(params, optimizer.transformation.init(params), jnp.zeros((), jnp.int32), average)

    # Restored arrays are bound to their device; fresh ones have to be, or the step would be compiled again for them.
    return jax.jit(init, out_shardings=_device() if sharding is None else sharding)


def abstract_state(init: Callable[[], TrainState], *, sharding: Any = None) -> TrainState:
    """The shapes, dtypes and shardings that `init` would make, with nothing computed: the target of a restore."""
    shapes = jax.eval_shape(init)
    if sharding is None:
        sharding = _device()
    if isinstance(sharding, jax.sharding.Sharding):
        sharding = jax.tree.map(lambda _: sharding, shapes)
    return jax.tree.map(_placed, shapes, sharding)


def _device() -> jax.sharding.Sharding:
    return jax.sharding.SingleDeviceSharding(jax.devices()[0])


def _placed(leaf: jax.ShapeDtypeStruct, sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

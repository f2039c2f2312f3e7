"""A training that compiles in no time: a point that follows the mean of the batches, which a test can poison."""

from __future__ import annotations

import functools
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np

from plantgfm.schema import Batch
from plantgfm.training.bad_steps import guarded
from plantgfm.training.config import OptimizerConfig, OptimizerKind, TrainingConfig
from plantgfm.training.loop import train
from plantgfm.training.optimizer import build_optimizer
from plantgfm.training.state import state_init
from plantgfm.training.step import make_step

IDENTITY = {"training": {"seed": 0}}


def batch_of(step, *, times=1.0):
    """The batch of a step, its values multiplied."""
    values = np.random.default_rng((5, step)).normal(1.0, 0.1, (4, 6)).astype(np.float32)
    tokens = np.ones((4, 6), np.int32)
    numbers = np.arange(4, dtype=np.int32)
    return Batch(tokens, values * np.float32(times), tokens, numbers, numbers)


def source(start, *, poison=None, stop_at=None, seen=None):
    """Batches from a step on; some multiplied by what `poison` says, SIGTERM beside that of `stop_at`."""
    step = start
    while True:
        if seen is not None:
            seen.append(step)
        if step == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        yield batch_of(step, times=(poison or {}).get(step, 1.0))
        step += 1


def loss_fn(params, batch, key):
    """Mean square distance of the point from the batch's mean value."""
    return jnp.mean(jnp.square(params["kernel"] - jnp.mean(batch.repeat_fraction))), {}


@functools.cache
def parts(steps, *, on_bad_step=TrainingConfig.on_bad_step, spike=0.0, window=100, width=6, **optimizer_settings):
    """Initialiser and step, compiled once for each setting."""
    settings = OptimizerConfig(OptimizerKind.ADAMW, peak_learning_rate=1e-2, warmup_steps=2, **optimizer_settings)
    training = TrainingConfig(on_bad_step=on_bad_step, spike_deviations=spike, spike_window_steps=window)
    optimizer = guarded(build_optimizer(settings, steps), training)
    # Random, so that a disk notices its size: what is all the same is compressed to nothing.
    init = state_init(lambda key: {"kernel": jax.random.normal(key, (width,))}, optimizer, seed=0)
    return init, make_step(loss_fn, optimizer, seed=0)


def train_point(
    run_dir, *, steps=12, on_bad_step=TrainingConfig.on_bad_step, spike=0.0, window=100, optimizer=None, **overrides
):
    """Train the point; the settings of the loop by name, the rest as `source` and `train` take it."""
    own = {name: overrides.pop(name) for name in ("write", "evaluators", "batches", "work") if name in overrides}
    given = {name: overrides.pop(name) for name in ("poison", "stop_at", "seen") if name in overrides}
    settings = {"log_every_steps": 1, "checkpoint_every_steps": 3, "tensorboard": False, **overrides}
    init, step = parts(steps, on_bad_step=on_bad_step, spike=spike, window=window, **(optimizer or {}))
    return train(
        init=init,
        step=step,
        batches=own.pop("batches", functools.partial(source, **given)),
        config=TrainingConfig(
            steps=steps, on_bad_step=on_bad_step, spike_deviations=spike, spike_window_steps=window, **settings
        ),
        run_dir=run_dir,
        identity=IDENTITY,
        **{"write": lambda text: None, **own},
    )

"""Steps that went wrong: how they are told from good ones, and what skips them.

A step is bad when its loss or its gradient is not finite, and, where asked for, when its loss spikes: lies so many
standard deviations above its mean over the good steps before. Mean and deviation are exponential averages; they live
in the optimizer state, so that a restart judges as the undisturbed run does.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from plantgfm.training.config import OnBadStep, TrainingConfig
from plantgfm.training.optimizer import Optimizer

GOOD, NON_FINITE, SPIKE = 0, 1, 2
"""Verdicts on a step."""


class BadStep(ValueError):
    """A step that went wrong; what it left must not be saved."""


class NonFiniteLoss(BadStep):
    """A step whose loss or gradient is not a number."""


class LossSpike(BadStep):
    """A step whose loss lies far above those before."""


def judge(metrics: dict[str, Any], *, step: int, saved: int, deviations: float) -> BadStep | None:
    """What was wrong with a step, as an error to raise; None where nothing was.

    Args:
        metrics: of the step, on the host.
        step: its number.
        saved: the step of the last checkpoint.
        deviations: `TrainingConfig.spike_deviations`.
    """
    loss, norm, verdict = float(metrics["loss"]), float(metrics["gradient_norm"]), int(metrics.get("verdict", GOOD))
    finite = math.isfinite(loss) and math.isfinite(norm)
    if finite and verdict == GOOD:
        return None
    told = f"step {step} has loss {loss} and gradient norm {norm}"
    if finite:
        told += f", a loss more than run.spike_deviations {deviations} above its mean"
    return (LossSpike if finite else NonFiniteLoss)(
        f"{told}; the last good checkpoint is of step {saved}. Lower optimizer.peak_learning_rate (and "
        "optimizer.muon_learning_rate, where that is the kind), raise optimizer.warmup_steps, lower "
        "optimizer.clip_norm, or choose run.on_bad_step SKIP or ROLL_BACK, under another run name"
    )


class GuardState(NamedTuple):
    """Optimizer state with what is known of the steps so far."""

    inner: Any  # state of the optimizer
    mean: jax.Array  # of the loss of good steps, float32
    variance: jax.Array  # of the same, float32
    good: jax.Array  # number of good steps, int32
    bad: jax.Array  # number of bad steps, int32
    verdict: jax.Array  # on the last step, int32


def guarded(optimizer: Optimizer, config: TrainingConfig) -> Optimizer:
    """An optimizer that judges each step, and leaves all as it was after a bad one where the policy says to skip.

    Where the policy needs no more than to see what is not finite, which the loop does on its own, the optimizer comes
    back as it is, and the step stays what it was.
    """
    skip = config.on_bad_step is OnBadStep.SKIP
    if not (skip or config.spike_deviations):
        return optimizer
    inner, deviations, window = optimizer.transformation, config.spike_deviations, config.spike_window_steps

    def init(params: Any) -> GuardState:
        zero, none = jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32)
        return GuardState(inner.init(params), zero, zero, none, none, none)

    def update(updates: Any, state: GuardState, params: Any = None, *, loss: jax.Array, gradient_norm: jax.Array):
        verdict = _verdict(state, loss, gradient_norm, deviations=deviations, window=window)
        ok = verdict == GOOD
        changes, after = inner.update(updates, state.inner, params)
        if skip:
            changes = jax.tree.map(lambda x: jnp.where(ok, x, jnp.zeros_like(x)), changes)
            after = jax.tree.map(lambda new, old: jnp.where(ok, new, old), after, state.inner)
        rate = 1.0 / jnp.minimum(state.good + 1, window)
        away = jnp.where(ok, loss - state.mean, 0.0)
        mean = state.mean + rate * away
        variance = jnp.where(ok, (1.0 - rate) * (state.variance + rate * away**2), state.variance)
        return changes, GuardState(after, mean, variance, state.good + ok, state.bad + ~ok, verdict)

    return replace(optimizer, transformation=optax.GradientTransformationExtraArgs(init, update), guards=True)


def _verdict(state: GuardState, loss: jax.Array, norm: jax.Array, *, deviations: float, window: int) -> jax.Array:
    finite = jnp.isfinite(loss) & jnp.isfinite(norm)
    spikes = jnp.zeros((), bool)
    if deviations:
        spikes = (state.good >= window) & (loss > state.mean + deviations * jnp.sqrt(state.variance))
    return jnp.where(finite, jnp.where(spikes, SPIKE, GOOD), NON_FINITE).astype(jnp.int32)

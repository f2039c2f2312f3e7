"""Learning-rate schedules, AdamW and Muon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from optax.contrib import MuonDimensionNumbers

from plantgfm.training.config import OptimizerConfig, OptimizerKind, Schedule

NOT_DECAYED = ("norm", "bias", "scale", "profile")
EMBEDDINGS = ("embed", "kmer")

LearningRate = Callable[[jax.Array | int], jax.Array]


@dataclass(frozen=True)
class Optimizer:
    """A gradient transformation, and its learning rate at step n (counted from 0)."""

    transformation: optax.GradientTransformation
    learning_rate: LearningRate
    average_decay: float = 0.0  # of the exponential average of the parameters; 0: none is kept
    guards: bool = False  # the transformation judges steps, as `bad_steps.guarded` has it


def build_optimizer(config: OptimizerConfig, steps: int) -> Optimizer:
    """Clipping by the global norm, then AdamW or Muon on the configured schedule over `steps` optimizer steps.

    Raises:
        ValueError: when the warm-up takes all of `steps`.
    """
    learning_rate = build_schedule(config, steps)
    rule = {OptimizerKind.ADAMW: _adamw, OptimizerKind.MUON: _muon}[config.kind]
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    transformation = _knowing_names(optax.chain(clip, rule(config, learning_rate)), config.never_decay)
    return Optimizer(transformation, learning_rate, config.average_decay)


def _knowing_names(transformation: optax.GradientTransformation, words: Sequence[str]) -> optax.GradientTransformation:
    """The same transformation, whose start refuses a word that is part of no parameter's name."""

    def init(params: Any) -> Any:
        names = [jax.tree_util.keystr(path).lower() for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        for word in words:
            if not any(word.lower() in name for name in names):
                raise ValueError(
                    f"optimizer.never_decay has {word!r}, which is part of no name: there are {names[:20]}"
                )
        return transformation.init(params)

    return optax.GradientTransformation(init, transformation.update) if words else transformation


def _adamw(config: OptimizerConfig, learning_rate: LearningRate) -> optax.GradientTransformation:
    return optax.adamw(
        learning_rate,
        b1=config.b1,
        b2=config.b2,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        mask=lambda params: decay_mask(params, decay_embeddings=config.decay_embeddings, never=config.never_decay),
    )


def _muon(config: OptimizerConfig, learning_rate: LearningRate) -> optax.GradientTransformation:
    def mask(params: Any) -> Any:
        return decay_mask(params, decay_embeddings=config.decay_embeddings, never=config.never_decay)

    def labels(params: Any) -> Any:
        return jax.tree.map(
            lambda axes: "rest" if axes is None else "matrices", muon_matrices(params), is_leaf=_is_axes
        )

    matrices = optax.contrib.muon(
        lambda step: learning_rate(step) * (config.muon_learning_rate / config.peak_learning_rate),
        beta=config.muon_momentum,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        weight_decay_mask=mask,
        muon_weight_dimension_numbers=muon_matrices,
    )
    # Muon's own AdamW would decay norms and biases too.
    rest = optax.adamw(
        learning_rate,
        b1=config.b1,
        b2=config.b2,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        mask=mask,
        nesterov=True,
    )
    return optax.partition({"matrices": matrices, "rest": rest}, labels)


def _is_axes(leaf: Any) -> bool:
    return leaf is None or isinstance(leaf, MuonDimensionNumbers)


def muon_matrices(params: Any) -> Any:
    """A tree like `params`: the axes of each matrix that Muon updates, None for what AdamW keeps.

    Embeddings, the k-mer projection, norms, biases and profiles stay with AdamW. Axes count from the end, so that
    stacked matrices are turned one by one.
    """

    def axes(path: tuple, leaf: jax.Array) -> MuonDimensionNumbers | None:
        name = jax.tree_util.keystr(path).lower()
        if leaf.ndim < 2 or any(word in name for word in NOT_DECAYED + EMBEDDINGS):
            return None
        return MuonDimensionNumbers(reduction_axis=-2, output_axis=-1)

    return jax.tree_util.tree_map_with_path(axes, params)


def build_schedule(config: OptimizerConfig, steps: int) -> LearningRate:
    """The learning rate of step n, n from 0 to steps - 1, as a traceable function.

    Warm-up is (n + 1) / warmup_steps of the peak, so that no step is spent at a rate of 0. `wsd` is the warm-up,
    stable, decay schedule of Hu et al. 2024 (arXiv:2404.06395) with a linear decay, which begins behind the warm-up
    at the earliest.

    Raises:
        ValueError: when the warm-up takes all of `steps`.
    """
    peak, warmup = config.peak_learning_rate, config.warmup_steps
    if warmup >= steps:
        raise ValueError(f"warmup_steps {warmup} leave none of {steps} steps: lower optimizer.warmup_steps")
    decay = min(max(1, round(config.decay_fraction * steps)), steps - warmup)
    shapes = {
        Schedule.WSD: lambda n: _falling(n - (steps - decay), decay, config.floor_fraction),
        Schedule.COSINE: lambda n: _cosine(n - warmup, steps - warmup, config.floor_fraction),
        Schedule.INVERSE_SQRT: lambda n: jnp.sqrt(max(warmup, 1) / jnp.maximum(n + 1.0, max(warmup, 1))),
        Schedule.CONSTANT: jnp.ones_like,
    }
    shape = shapes[config.schedule]

    def learning_rate(step: jax.Array | int) -> jax.Array:
        n = jnp.asarray(step, jnp.float32)
        rising = jnp.minimum(1.0, (n + 1.0) / warmup) if warmup else 1.0
        return peak * rising * shape(n)

    return learning_rate


def _falling(n: jax.Array, steps: int, floor: float) -> jax.Array:
    return 1.0 - (1.0 - floor) * jnp.clip((n + 1.0) / steps, 0.0, 1.0)


def _cosine(n: jax.Array, steps: int, floor: float) -> jax.Array:
    progress = jnp.clip((n + 1.0) / max(steps, 1), 0.0, 1.0)
    return floor + (1.0 - floor) * 0.5 * (1.0 + jnp.cos(jnp.pi * progress))


def decay_mask(params: Any, *, decay_embeddings: bool, never: Sequence[str] = ()) -> Any:
    """A tree like `params`, True where weight decay applies.

    Norm weights, biases and counted profiles never decay; neither do vectors and scalars. Names decide, since
    parameters of scanned layers are stacked and their rank says nothing; what has one of `never` in its name is spared.
    """
    spared = (NOT_DECAYED if decay_embeddings else NOT_DECAYED + EMBEDDINGS) + tuple(word.lower() for word in never)

    def decays(path: tuple, leaf: jax.Array) -> bool:
        name = jax.tree_util.keystr(path).lower()
        return leaf.ndim > 1 and not any(word in name for word in spared)

    return jax.tree_util.tree_map_with_path(decays, params)

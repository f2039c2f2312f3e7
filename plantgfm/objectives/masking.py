"""Which tokens are hidden: a fixed number of slots, drawn one by one and in spans, all inside the jitted step."""

from __future__ import annotations

import math
import zlib
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32

from plantgfm.objectives.config import ObjectiveConfig
from plantgfm.partition import drawn_rows, each_own_rows
from plantgfm.tokenization.vocabulary import FIRST_BASE, MASK

NEVER = jnp.inf
"""Arrival time of a token that is never masked."""


class Masks(NamedTuple):
    """A batch with hidden tokens."""

    inputs: Int32[Array, "B L"]  # what the model sees
    slots: Int32[Array, "B M"]  # positions of the chosen tokens; 0 where a slot is not used
    slot_valid: Bool[Array, "B M"]  # whether the slot holds a chosen token
    targets: Int32[Array, "B M"]  # the tokens that were there


def stream_key(seed: int | Array, step: int | Array, name: str) -> Array:
    """The key of one use of randomness at one step: a pure function, so that nothing has to be stored.

    Args:
        seed: of the run.
        step: number of the step; may be traced.
        name: of the use, as "mask"; streams of different names are independent.
    """
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode())), step)


def slot_count(length: int, fraction: float) -> int:
    """Number of slots M of a window of `length` tokens."""
    return math.ceil(round(fraction * length, 6))


def scorable(tokens: Int32[Array, "B L"]) -> Bool[Array, "B L"]:
    """Tokens that carry bases: no specials, no unknown base."""
    return tokens >= FIRST_BASE


def draw_masks(
    key: Array,
    tokens: Int32[Array, "B L"],
    config: ObjectiveConfig,
    *,
    vocabulary_size: int,
    evaluate: bool = False,
) -> Masks:
    """Choose `masked_fraction` of the valid tokens of each window and hide them.

    Args:
        key: of this draw.
        tokens: ids, [CLS] first and [PAD] at the end.
        config: shares of spans and of replacements.
        vocabulary_size: random replacements are uniform over the tokens with bases.
        evaluate: replace every chosen token by [MASK].
    """
    choice_key, replacement_key = jax.random.split(key)
    slots, slot_valid = choose_slots(choice_key, scorable(tokens), config)
    targets = jnp.take_along_axis(tokens, slots, axis=1)
    replaced = jnp.full_like(targets, MASK)
    if not evaluate:
        replaced = _replacements(replacement_key, targets, config, vocabulary_size=vocabulary_size)
    # Slots that are not used point at position 0, which then keeps its own token.
    values = jnp.where(slot_valid, replaced, targets)
    return Masks(each_own_rows(_put, tokens, slots, values), slots, slot_valid, targets)


def _put(tokens: Array, slots: Array, values: Array) -> Array:
    rows = jnp.arange(tokens.shape[0], dtype=jnp.int32)[:, None]
    return tokens.at[rows, slots].set(values)


def choose_slots(
    key: Array, valid: Bool[Array, "B L"], config: ObjectiveConfig
) -> tuple[Int32[Array, "B M"], Bool[Array, "B M"]]:
    """Positions to hide: the tokens that are hit first by one of two random processes.

    Each token waits an exponential time of rate 1 - span_share; each span, one of a random partition of the window
    into spans of geometric length, waits for all its tokens at once, at rate span_share. Taking the first arrivals
    until the number is reached mixes both in the stated share.
    """
    length = valid.shape[1]
    token_key, span_key, start_key = jax.random.split(key, 3)
    starts = drawn_rows(partial(jax.random.bernoulli, start_key, 1.0 / config.mean_span_tokens), valid.shape)
    span = jnp.cumsum(starts, axis=1, dtype=jnp.int32) - starts[:, :1]
    alone = _waiting_times(token_key, valid.shape, 1.0 - config.span_share)
    together = jnp.take_along_axis(_waiting_times(span_key, valid.shape, config.span_share), span, axis=1)
    times = jnp.where(valid, jnp.minimum(alone, together), NEVER)
    count = slot_count(length, config.masked_fraction)
    slots = each_own_rows(lambda times: jax.lax.top_k(-times, count)[1], times)
    wanted = jnp.round(config.masked_fraction * jnp.sum(valid, axis=1)).astype(jnp.int32)
    slot_valid = jnp.arange(slots.shape[1], dtype=jnp.int32)[None, :] < wanted[:, None]
    return jnp.where(slot_valid, slots, 0).astype(jnp.int32), slot_valid


def _waiting_times(key: Array, shape: tuple[int, ...], rate: float) -> Float32[Array, "B L"]:
    if rate == 0.0:
        return jnp.full(shape, NEVER, jnp.float32)
    return drawn_rows(partial(jax.random.exponential, key, dtype=jnp.float32), shape) / rate


def _replacements(
    key: Array, targets: Int32[Array, "B M"], config: ObjectiveConfig, *, vocabulary_size: int
) -> Int32[Array, "B M"]:
    kind_key, token_key = jax.random.split(key)
    kind = drawn_rows(partial(jax.random.uniform, kind_key), targets.shape)
    bounds = {"minval": FIRST_BASE, "maxval": vocabulary_size, "dtype": targets.dtype}
    random_tokens = drawn_rows(partial(jax.random.randint, token_key, **bounds), targets.shape)
    kept_or_random = jnp.where(kind < config.mask_share + config.random_share, random_tokens, targets)
    return jnp.where(kind < config.mask_share, MASK, kept_or_random)

"""Masked-token and next-region losses, as sums and counts that reduce exactly over batches, devices and hosts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int32

from plantgfm.objectives.masking import scorable
from plantgfm.partition import total

Sums = dict[str, Array]

REPEAT_CLASSES = ("outside", "inside")
"""Of a token: inside where at least half of its bases lie in repeats, as the evaluation has it by default."""

_INSIDE = 0.5


@jax.custom_vjp
def slot_nats(logits: Float[Array, "B M V"], targets: Int32[Array, "B M"]) -> Float32[Array, "B M"]:
    """Cross-entropy, in nats, of the true token at each slot; its gradient is softmax - one-hot, in one pass."""
    return _slot_nats_forward(logits, targets)[0]


def _slot_nats_forward(logits, targets):
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    normaliser = jax.nn.logsumexp(logits.astype(jnp.float32), axis=-1)
    return normaliser - chosen, (logits, targets, normaliser)


def _slot_nats_backward(kept, gradient):
    logits, targets, normaliser = kept
    shape = (1,) * targets.ndim + (-1,)
    one_hot = targets[..., None] == jnp.arange(logits.shape[-1], dtype=targets.dtype).reshape(shape)
    return ((jnp.exp(logits - normaliser[..., None]) - one_hot) * gradient[..., None]).astype(logits.dtype), None


slot_nats.defvjp(_slot_nats_forward, _slot_nats_backward)


def hits(logits: Float[Array, "B M V"], targets: Int32[Array, "B M"]) -> Bool[Array, "B M"]:
    """Whether the true token is likelier than every other one; a tie is no hit.

    Counting the logits that reach the true one is a plain sum, an `argmax` takes four times as long on processors.
    """
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)
    return jnp.sum(logits >= chosen, axis=-1) == 1


def masked_loss(
    logits: Float[Array, "B M V"],
    targets: Int32[Array, "B M"],
    slot_valid: Bool[Array, "B M"],
    repeat_fraction: Float32[Array, "B M"],
    *,
    repeat_weight: float = 1.0,
) -> tuple[Float32[Array, ""], Sums]:
    """Mean cross-entropy over the used slots, weighted by 1 - (1 - repeat_weight) · repeat fraction.

    Returns:
        The loss in nats per token, and the sums: weighted nats and weights, nats and tokens without weights, and
        tokens whose most probable prediction is right.
    """
    used = slot_valid.astype(jnp.float32)
    nats = slot_nats(logits, targets) * used
    weights = used * (1.0 - (1.0 - repeat_weight) * repeat_fraction)
    right = hits(logits, targets) * used
    sums = {
        "masked_weighted_nats": jnp.sum(nats * weights),
        "masked_weight": jnp.sum(weights),
        "masked_nats": jnp.sum(nats),
        "masked_tokens": jnp.sum(used),
        "masked_correct": jnp.sum(right),
    }
    return sums["masked_weighted_nats"] / jnp.maximum(total(sums["masked_weight"]), 1e-6), sums


def z_loss(logits: Float[Array, "B M V"], slot_valid: Bool[Array, "B M"]) -> Float32[Array, ""]:
    """Mean square of the log normaliser over the used slots (PaLM, arXiv:2204.02311, section 5)."""
    used = slot_valid.astype(jnp.float32)
    squares = jnp.square(jax.nn.logsumexp(logits.astype(jnp.float32), axis=-1)) * used
    return jnp.sum(squares) / jnp.maximum(total(jnp.sum(used)), 1.0)


def next_region_nats(logits: Float[Array, "B V"], next_tokens: Int32[Array, "B L"]) -> Float32[Array, " B"]:
    """Cross-entropy, in nats per token, of each window's predicted distribution against the tokens it holds.

    Gathering the log probability of every token is the cross-entropy against the histogram, without building it.
    """
    logits = logits.astype(jnp.float32)
    valid = scorable(next_tokens).astype(jnp.float32)
    chosen = jnp.take_along_axis(logits, next_tokens, axis=1)
    mean = jnp.sum(chosen * valid, axis=1) / jnp.maximum(jnp.sum(valid, axis=1), 1.0)
    return jax.nn.logsumexp(logits, axis=1) - mean


def next_region_loss(logits: Float[Array, "B V"], next_tokens: Int32[Array, "B L"]) -> tuple[Float32[Array, ""], Sums]:
    """Mean of `next_region_nats` over the windows that hold any valid token; the sums are nats and windows."""
    holds = jnp.any(scorable(next_tokens), axis=1).astype(jnp.float32)
    sums = {
        "next_nats": jnp.sum(next_region_nats(logits, next_tokens) * holds),
        "next_windows": jnp.sum(holds),
    }
    return sums["next_nats"] / jnp.maximum(total(sums["next_windows"]), 1.0), sums


def species_sums(values: Float32[Array, "B M"], species: Int32[Array, " B"], *, n_species: int) -> Float32[Array, " S"]:
    """Sum the values of each window into its species."""
    return jax.ops.segment_sum(jnp.sum(values, axis=1), species, num_segments=n_species)


def repeat_sums(values: Float32[Array, "B M"], repeat_fraction: Float32[Array, "B M"]) -> Float32[Array, " C"]:
    """Sums of the values of tokens outside and inside repeats, in the order of `REPEAT_CLASSES`."""
    inside = jnp.sum(values * (repeat_fraction >= _INSIDE))
    return jnp.stack([jnp.sum(values) - inside, inside])

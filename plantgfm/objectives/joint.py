"""The sum of both objectives on one masked forward pass."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int32

from plantgfm.objectives.config import ObjectiveConfig
from plantgfm.objectives.losses import (
    Sums,
    masked_loss,
    next_region_loss,
    repeat_sums,
    slot_nats,
    species_sums,
    z_loss,
)
from plantgfm.objectives.masking import draw_masks
from plantgfm.objectives.nucleotides import nucleotide_loss


def loss(
    network: Any,
    params: Any,
    batch: Any,
    key: Array,
    config: ObjectiveConfig,
    *,
    evaluate: bool = False,
    n_species: int = 0,
    token_bases: Int32[np.ndarray, "vocabulary widest"] | None = None,
) -> tuple[Float32[Array, ""], Sums]:
    """Joint loss of a batch: the masked loss, and the next-region, nucleotide and z-losses times their weights.

    The next region is predicted from the masked pass of the upstream window, and its tokens are targets only.

    Args:
        network: has `fold`, `states`, `masked_logits`, `next_region_logits` and `vocabulary_size`.
        params: its parameters.
        batch: `schema.Batch`, of arrays that may be traced.
        key: of the masks.
        config: weights and shares.
        evaluate: hide every chosen token behind [MASK].
        n_species: above 0, also give `species_nats` and `species_tokens` of the masked objective, each [S], and
            `repeat_nats` and `repeat_tokens` [2], of `REPEAT_CLASSES`.
        token_bases: `Vocabulary.token_bases`, which the nucleotide loss needs.

    Returns:
        The loss in nats, and sums and counts; add them up over batches, then call `summarise`.

    Raises:
        ValueError: for a nucleotide loss without the bases of the tokens.
    """
    if config.nucleotide_weight and token_bases is None:
        raise ValueError(f"objective.nucleotide_weight is {config.nucleotide_weight}: give token_bases, or set it to 0")
    masks = draw_masks(key, batch.tokens, config, vocabulary_size=network.vocabulary_size, evaluate=evaluate)
    params = network.fold(params)
    states = network.states(params, masks.inputs, ends=True)
    logits = network.masked_logits(params, jnp.take_along_axis(states[-1], masks.slots[..., None], axis=1))
    repeat = jnp.take_along_axis(batch.repeat_fraction, masks.slots, axis=1)
    masked, sums = masked_loss(logits, masks.targets, masks.slot_valid, repeat, repeat_weight=config.repeat_weight)
    if n_species:
        used = masks.slot_valid.astype(jnp.float32)
        nats = slot_nats(logits, masks.targets) * used
        sums["species_nats"] = species_sums(nats, batch.species, n_species=n_species)
        sums["species_tokens"] = species_sums(used, batch.species, n_species=n_species)
        sums["repeat_nats"], sums["repeat_tokens"] = repeat_sums(nats, repeat), repeat_sums(used, repeat)
    following, next_sums = next_region_loss(
        network.next_region_logits(params, states, masks.inputs, batch.distance_bp), batch.next_tokens
    )
    # Without a weight the next region is scored, and costs no backward pass.
    total = masked + config.next_region_weight * following if config.next_region_weight else masked
    if config.nucleotide_weight:
        slots = (logits, masks.targets, masks.slot_valid, repeat)
        bases, base_sums = nucleotide_loss(*slots, token_bases=token_bases, repeat_weight=config.repeat_weight)
        total, sums = total + config.nucleotide_weight * bases, {**sums, **base_sums}
    if config.z_loss_weight:
        total = total + config.z_loss_weight * z_loss(logits, masks.slot_valid)
    return total, {**sums, **next_sums}


def summarise(sums: Sums) -> dict[str, Array]:
    """Means from added-up sums: nats per masked token, accuracy, nats per token of the next region, nats per base."""
    tokens = jnp.maximum(sums["masked_tokens"], 1.0)
    means = {
        "masked_nats_per_token": sums["masked_nats"] / tokens,
        "masked_accuracy": sums["masked_correct"] / tokens,
        "next_nats_per_token": sums["next_nats"] / jnp.maximum(sums["next_windows"], 1.0),
    }
    if "nucleotide_nats" in sums:
        means["nucleotide_nats_per_base"] = sums["nucleotide_nats"] / jnp.maximum(sums["nucleotide_bases"], 1.0)
    if "species_nats" in sums:
        means["species_nats_per_token"] = sums["species_nats"] / jnp.maximum(sums["species_tokens"], 1.0)
    return means

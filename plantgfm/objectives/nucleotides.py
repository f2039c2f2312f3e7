"""Single bases from k-mer logits: the probability of a base is that of all k-mers that have it at this place.

A k-mer cross-entropy counts a guess that is wrong in one base as wrong as one in all six; the factorised loss does not,
and its probabilities are those of sequence, variants and motifs (factorised nucleotide supervision of the Carbon
models, https://github.com/huggingface/carbon: -(1/6) sum over j of ln p_j(y_j), p_j(b) the sum of p(v) over v_j = b).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int, Int32

from plantgfm.objectives.losses import Sums
from plantgfm.partition import total

N_BASES = 4
_LEAST = float(np.finfo(np.float32).tiny)


def per_base_log_probabilities(
    logits: Float[Array, "*at V"], length_bp: Int[Any, "*at"], token_bases: Int32[np.ndarray, "vocabulary widest"]
) -> Float32[Array, "*at widest 4"]:
    """Log probability of A, C, G and T at each offset of a masked token, given how many bases the token has.

    Summed are the tokens of that length alone, as offset 7 of a 6-mer is a place of its neighbour.

    Args:
        logits: of the masked head, `Network.masked_logits`; rows that pad the vocabulary may be there.
        length_bp: bases of the token that lies there, `Vocabulary.token_bp` of it: 1, 6 or 8 in a hybrid vocabulary.
        token_bases: `Vocabulary.token_bases`.

    Returns:
        Natural logarithms; over the bases of an offset their exponentials sum to 1. None is below that of the least
        normal float32, about -87. All are -inf from offset `length_bp` on, and everywhere where no token has that
        length; a special token and N have no bases.

    Raises:
        ValueError: for fewer logits than tokens.
    """
    rows = logits.shape[-1]
    if rows < len(token_bases):
        raise ValueError(f"{rows} logits are fewer than the {len(token_bases)} tokens: they are of another vocabulary")
    bases = np.pad(np.asarray(token_bases), ((0, rows - len(token_bases)), (0, 0)), constant_values=-1)
    places = bases.shape[1]
    one_hot = (bases[:, :, None] == np.arange(N_BASES)[None, None, :]).reshape(rows, -1).astype(np.float32)
    length_bp = jnp.asarray(length_bp)[..., None]
    lengths = (bases >= 0).sum(axis=1).reshape((1,) * (logits.ndim - 1) + (-1,))
    same = (length_bp == lengths) & (lengths > 0)
    wide = jnp.where(same, logits.astype(jnp.float32), -jnp.inf)
    top = jnp.max(wide, axis=-1, keepdims=True)
    weights = jnp.exp(wide - jax.lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0.0)))
    whole = jnp.sum(weights, axis=-1, keepdims=True)
    # Highest: matrix units would round what is added to 8 or 10 bits.
    shares = jnp.einsum("...v,vk->...k", weights, jnp.asarray(one_hot), precision=jax.lax.Precision.HIGHEST)
    shares = jnp.maximum(shares / jnp.maximum(whole, _LEAST), _LEAST)
    there = (np.arange(places).reshape((1,) * (logits.ndim - 1) + (-1,)) < length_bp) & (whole > 0)
    log_probability = jnp.log(shares).reshape(*logits.shape[:-1], places, N_BASES)
    return jnp.where(there[..., None], log_probability, -jnp.inf)


def nucleotide_loss(
    logits: Float[Array, "B M V"],
    targets: Int32[Array, "B M"],
    slot_valid: Bool[Array, "B M"],
    repeat_fraction: Float32[Array, "B M"],
    *,
    token_bases: Int32[np.ndarray, "vocabulary widest"],
    repeat_weight: float = 1.0,
) -> tuple[Float32[Array, ""], Sums]:
    """Mean cross-entropy, in nats per base, of the bases of the masked tokens; slots weigh as in `masked_loss`.

    Returns:
        The loss, and the sums without weights: `nucleotide_nats` and `nucleotide_bases`.
    """
    bases = jnp.asarray(token_bases)[targets]
    known = (bases >= 0) & slot_valid[..., None]
    found = per_base_log_probabilities(logits, jnp.sum(bases >= 0, axis=-1), token_bases)
    chosen = jnp.take_along_axis(found, jnp.maximum(bases, 0)[..., None], axis=-1)[..., 0]
    nats = -jnp.sum(jnp.where(known, chosen, 0.0), axis=-1)
    counts = jnp.sum(known, axis=-1).astype(jnp.float32)
    weights = 1.0 - (1.0 - repeat_weight) * repeat_fraction
    sums = {"nucleotide_nats": jnp.sum(nats), "nucleotide_bases": jnp.sum(counts)}
    return jnp.sum(nats * weights) / jnp.maximum(total(jnp.sum(counts * weights)), 1e-6), sums

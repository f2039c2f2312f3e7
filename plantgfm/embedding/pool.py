"""Token states to vectors."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32

from plantgfm.embedding.config import Pooling

Vectors = Float32[np.ndarray, "B D"] | Float32[np.ndarray, "B L D"]
"""One vector a row of a batch, or one a token."""


def pool_counted(
    states: Float[Array, "B L D"], counted: Bool[Array, "B L"], *, pooling: Pooling
) -> Float[Array, "B D"] | Float[Array, "B L D"]:
    """One vector a window from its token states: over the counted ones, or the first for `Pooling.CLS`.

    All of them where the pooling gives several a window.
    """
    if not pooling.whole:
        return states
    if pooling is Pooling.CLS:
        return states[:, 0]
    if pooling is Pooling.MAX:
        return jnp.max(jnp.where(counted[..., None], states, -jnp.inf), axis=1)
    total = jnp.sum(jnp.where(counted[..., None], states, 0.0), axis=1)
    return total / jnp.maximum(jnp.sum(counted, axis=1), 1)[:, None]

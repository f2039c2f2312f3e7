"""Factorised k-mer embedding: token vectors that share what their k-mers share.

The effective table is E = table [V, D] + features [V, F] @ projection [F, D]. Rare tokens, above all 8-mers, then learn
from every token that resembles them. `fold` merges both terms, so that an exported model is a plain ModernBERT.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32

from plantgfm.model.config import ModelConfig


def factorise(
    params: dict[str, Any], features: Float32[np.ndarray, "V F"], *, config: ModelConfig, key: Array
) -> dict[str, Any]:
    """Parameters with a projection of the features; the variance of the effective table stays as it was.

    The features bring the share `config.kmer_share` of that variance, averaged over tokens that have any.
    """
    squares = np.sum(np.square(features, dtype=np.float64), axis=1)
    length = math.sqrt(float(np.mean(squares[squares > 0]))) if np.any(squares) else 1.0
    std = config.init_std * math.sqrt(config.kmer_share) / length
    projection = std * jax.random.normal(key, (features.shape[1], config.d_model), jnp.float32)
    table = params["embeddings"]["table"] * math.sqrt(1.0 - config.kmer_share)
    return {**params, "embeddings": {**params["embeddings"], "table": table}, "kmer": {"projection": projection}}


def fold(params: dict[str, Any], features: Float32[np.ndarray, "V F"] | None) -> dict[str, Any]:
    """Parameters with one embedding table and no projection; without a projection, the same parameters.

    Raises:
        ValueError: when there is a projection but the network was built without features, or with others.
    """
    if "kmer" not in params:
        return params
    if features is None:
        raise ValueError(
            "the parameters have a k-mer projection: build the network with the features it was trained on"
        )
    known = params["kmer"]["projection"].shape[0]
    if known != features.shape[1]:
        raise ValueError(
            f"the parameters were trained on {known} k-mer features, this version makes {features.shape[1]}: use the "
            "version that trained them, or train again"
        )
    table = params["embeddings"]["table"] + jnp.asarray(features) @ params["kmer"]["projection"]
    folded = {**params, "embeddings": {**params["embeddings"], "table": table}}
    del folded["kmer"]
    return folded

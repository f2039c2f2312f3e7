"""Counts of parameters and of arithmetic, from the configuration alone."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from plantgfm.model.build import Network
from plantgfm.model.encoder import N_FREQUENCIES


def count_parameters(params: Any) -> int:
    """Number of values in a parameter tree."""
    return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(params))


def forward_flops(network: Network, *, tokens: int, slots: int) -> float:
    """Floating-point operations of a forward pass over one window; a multiplication and its addition are two.

    Counted are the matrix products of the layers and of both heads. Norms, softmax and look-ups are not, nor is the
    folding of k-mer features, which is done once a batch.

    Args:
        network: whose configuration is read.
        tokens: length of the window.
        slots: positions that get logits.
    """
    config = network.config
    linear = tokens * config.d_model * (4 * config.d_model + 3 * config.d_ff)
    attention = sum(2 * tokens * _keys(config, layer, tokens) * config.d_model for layer in range(config.n_layers))
    masked = slots * config.d_model * (config.d_model + network.rows)
    following = config.d_model * (2 * config.d_model + 2 * N_FREQUENCIES + network.rows)
    return 2.0 * (config.n_layers * linear + attention + masked + following)


def step_flops(network: Network, *, tokens: int, slots: int) -> float:
    """Forward and backward of one window: three times the forward pass."""
    return 3.0 * forward_flops(network, tokens=tokens, slots=slots)


def _keys(config: Any, layer: int, tokens: int) -> int:
    return tokens if config.is_full(layer) else min(tokens, config.local_attention + 1)

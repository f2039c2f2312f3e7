"""Parameters and tokens from a rule, so that another framework can hold the very same ones."""

import jax
import numpy as np

from plantgfm.model.build import Network, build
from plantgfm.model.config import ModelConfig

SHAPE = {"d_model": 32, "n_layers": 4, "n_heads": 2, "d_ff": 24, "max_tokens": 64}
SIZE = 4105  # of a vocabulary without 8-mers: specials, bases, 6-mers


def ruled_params(network: Network) -> dict:
    """Every parameter is a sine of its place; norms lie around one."""
    leaves, tree = jax.tree.flatten(network.shapes)
    values = []
    for number, leaf in enumerate(leaves):
        wave = np.sin(0.7 * np.arange(leaf.size, dtype=np.float64) ** 1.01 + number).reshape(leaf.shape)
        values.append((1.0 + 0.1 * wave if leaf.shape == (32,) else 0.3 * wave).astype(np.float32))
    return jax.tree.unflatten(tree, values)


def ruled_tokens() -> np.ndarray:
    """Two windows of 24 tokens, the second padded from 17 on."""
    tokens = (np.arange(48).reshape(2, 24) * 89 % 4096 + 9).astype(np.int32)
    tokens[:, 0], tokens[:, 5], tokens[1, 17:] = 1, 3, 0
    return tokens


def ruled_network(**settings) -> Network:
    """The network that the golden logits belong to."""
    return build(ModelConfig(**{**SHAPE, **settings}), SIZE)

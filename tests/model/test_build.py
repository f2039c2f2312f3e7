import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.model.build import build
from plantgfm.model.config import ModelConfig

V = 70


def network(features=True, **settings):
    config = ModelConfig(**{"d_model": 32, "n_layers": 3, "n_heads": 2, "d_ff": 24, **settings})
    table = np.random.default_rng(1).normal(size=(V, 12)).astype(np.float32)
    return build(config, V, features=table if features else None)


def some_tokens(batch=3, length=20, pad=5):
    tokens = np.random.default_rng(0).integers(4, V, (batch, length)).astype(np.int32)
    tokens[:, 0] = 1
    tokens[0, length - pad :] = 0
    return jnp.asarray(tokens)


def test_shapes_and_padded_vocabulary():
    net = network()
    params = net.init(jax.random.key(0))
    hidden = net.hidden(params, some_tokens())
    assert hidden.shape == (3, 20, 32)
    assert net.hidden(params, some_tokens(), layers=True).shape == (4, 3, 20, 32)
    logits = net.masked_logits(params, hidden[:, :7])
    assert logits.shape == (3, 7, 128)
    assert np.all(jax.nn.softmax(logits)[..., V:] == 0)
    assert net.next_region_logits(params, net.pool(hidden, some_tokens()), jnp.array([0, 10, 10_000])).shape == (3, 128)


def test_folding_changes_no_logit_and_leaves_one_table():
    net = network()
    params = net.init(jax.random.key(0))
    folded = net.fold(params)
    assert "kmer" in params and "kmer" not in folded
    assert jax.tree.all(jax.tree.map(jnp.array_equal, net.fold(folded), folded))
    plain = network(features=False)
    np.testing.assert_allclose(
        plain.hidden(folded, some_tokens()), net.hidden(params, some_tokens()), rtol=0, atol=1e-5
    )
    with pytest.raises(ValueError, match="features"):
        plain.hidden(params, some_tokens())

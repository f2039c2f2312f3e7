"""ESM-format models: shapes of the published ones, and what padding, masks and layers do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.model import esm
from plantgfm.model.esm import EsmConfig
from tests.fixtures import QUICK

AGRO_NT = EsmConfig(1500, 40, 20, 5120, 4105, 1026)
SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 40,
    "vocab_size": 4105,
    "max_position_embeddings": 34,
}


states = jax.jit(esm.states, static_argnames=("config", "layers"), compiler_options=QUICK)


def random_params(config: EsmConfig, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    return {
        name: (rng.normal(size=shape) * 0.4 + ("ayer_norm" in name or "LayerNorm" in name)).astype(np.float32)
        for name, shape in esm.shapes(config).items()
    }


def random_tokens(lengths, *, seed: int = 1) -> np.ndarray:
    tokens = np.ones((len(lengths), max(lengths)), np.int32)
    for row, length in zip(tokens, lengths):
        row[:length] = np.random.default_rng(seed + length).integers(4, 4105, length)
        row[0] = 3
    return tokens


def test_agro_nt_has_the_stated_number_of_parameters():
    assert sum(int(np.prod(shape)) for shape in esm.shapes(AGRO_NT).values()) == 991_261_206
    assert AGRO_NT.max_tokens == 1024


def test_padding_changes_nothing_and_layers_are_the_residual_stream():
    config = EsmConfig(**SMALL)
    params = random_params(config)
    both = random_tokens((20, 9))
    found = states(params, jnp.asarray(both), config=config)
    alone = states(params, jnp.asarray(both[1:, :9]), config=config)
    assert len(found) == 3
    for whole, single in zip(found, alone):
        np.testing.assert_allclose(whole[1:, :9], single, rtol=0, atol=1e-4)
    part = states(params, jnp.asarray(both), config=config, layers=1)
    assert len(part) == 2
    np.testing.assert_array_equal(part[1], found[1])
    assert not np.allclose(found[2][0].mean(-1), found[1][0].mean(-1), atol=1e-2)


def test_token_dropout_hides_what_is_masked_and_scales_the_rest():
    config = EsmConfig(**SMALL, token_dropout=True)
    params = random_params(config)
    params["esm.embeddings.position_embeddings.weight"] *= 0
    tokens = random_tokens((10,))
    tokens[0, 4:6] = config.mask_token_id
    found = np.asarray(states(params, jnp.asarray(tokens), config=config, layers=0)[0][0])
    assert np.all(found[4:6] == 0)
    plain = params["esm.embeddings.word_embeddings.weight"][tokens[0]]
    np.testing.assert_allclose(found[1], plain[1] * 0.88 / 0.8, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"position_embedding_type": "rotary"}, "position_embedding_type is 'rotary'"),
        ({"hidden_size": 25}, "hidden_size 25 is no multiple"),
    ],
)
def test_what_this_code_does_not_have_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        EsmConfig(**{**SMALL, **change})

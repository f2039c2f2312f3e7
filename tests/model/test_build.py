from functools import cache, partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from plantgfm.model.build import build
from plantgfm.model.config import CLS, FIRST_KNOWN, PAD, SEP, ComputeType, ModelConfig
from plantgfm.model.encoder import Encoder
from plantgfm.tokenization import vocabulary
from tests.fixtures import QUICK

V = 70


@cache
def network(features=True, **settings):
    """A network's functions, each compiled as one: called by themselves, each of their operations would be."""
    config = ModelConfig(**{"d_model": 32, "n_layers": 2, "n_heads": 2, "d_ff": 24, **settings})
    table = np.random.default_rng(1).normal(size=(V, 12)).astype(np.float32)
    net, quick = build(config, V, features=table if features else None), partial(jax.jit, compiler_options=QUICK)
    names = ("init", "fold", "states", "masked_logits", "next_region_logits", "pool")
    functions = {name: quick(getattr(net, name)) for name in names}
    return SimpleNamespace(whole=net, hidden=quick(net.hidden, static_argnames="layers"), **functions)


def some_tokens(batch=3, length=20, pad=5):
    tokens = np.random.default_rng(0).integers(4, V, (batch, length)).astype(np.int32)
    tokens[:, 0] = 1
    tokens[0, length - pad :] = 0
    return jnp.asarray(tokens)


def test_shapes_and_padded_vocabulary():
    net = network()
    params = net.init(jax.random.key(0))
    states = net.states(params, some_tokens())
    hidden = net.hidden(params, some_tokens())
    assert hidden.shape == (3, 20, 32)
    assert net.hidden(params, some_tokens(), layers=True).shape == (3, 3, 20, 32)
    logits = net.masked_logits(params, hidden[:, :7])
    assert logits.shape == (3, 7, 128)
    assert np.all(jax.nn.softmax(logits)[..., V:] == 0)
    following = net.next_region_logits(params, states, some_tokens(), jnp.array([0, 10, 10_000]))
    assert following.shape == (3, 128)
    np.testing.assert_allclose(jax.nn.logsumexp(following, axis=1), np.zeros(3), atol=1e-5)
    assert np.all(jnp.exp(following)[:, V:] == 0)


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


def test_fresh_logits_lie_near_the_log_unigram():
    net = network()
    log_unigram = np.log(np.random.default_rng(2).dirichlet(np.ones(V))).astype(np.float32)
    params = net.init(jax.random.key(0), log_unigram=log_unigram)
    states = net.states(params, some_tokens())
    masked = jax.nn.log_softmax(net.masked_logits(params, states[-1]))[..., :V]
    following = net.next_region_logits(params, states, some_tokens(), jnp.array([0, 10, 10_000]))
    assert np.mean(np.abs(masked - log_unigram.reshape(1, 1, -1))) < 0.15
    assert np.mean(np.abs(jax.nn.log_softmax(following)[:, :V] - log_unigram.reshape(1, -1))) < 0.15


def test_what_lies_behind_padding_or_ahead_of_a_causal_model_changes_nothing():
    tokens, params = some_tokens(), network().init(jax.random.key(1))
    for net, place in ((network(), 15), (network(causal=True), 8)):
        states = net.hidden(params, tokens)
        other = tokens.at[1:, place:].set(0 if place == 15 else 9)
        kept = net.hidden(params, jnp.concatenate([other, jnp.zeros((3, 4), jnp.int32)], axis=1))
        rows = slice(0, 1) if place == 15 else slice(0, 3)
        np.testing.assert_allclose(kept[rows, :place], states[rows, :place], rtol=0, atol=1e-5)


def test_pooling_is_the_mean_over_sequence_and_zero_without_any():
    hidden = jnp.arange(24.0).reshape(2, 4, 3)
    pooled = network().pool(hidden, jnp.array([[1, 9, 9, 2], [1, 0, 0, 0]], jnp.int32))
    np.testing.assert_allclose(pooled, [hidden[0, 1:3].mean(0), np.zeros(3)])


def test_distance_reaches_the_next_region_and_bfloat16_gives_float32_logits():
    net, params = network(compute_type=ComputeType.BFLOAT16), network().init(jax.random.key(0))
    tokens = some_tokens()
    states = net.states(params, tokens)
    near, far = (net.next_region_logits(params, states, tokens, jnp.full(3, d, jnp.int32)) for d in (10, 10_000))
    assert states[-1].dtype == jnp.bfloat16
    assert near.dtype == jnp.float32
    assert np.any(near != far)


def test_the_next_region_is_a_mixture_of_the_decoder_and_the_histogram_of_the_window():
    net = network()
    params = net.init(jax.random.key(0))
    tokens = some_tokens().at[1, 1:].set(0)  # a window of padding alone has nothing to copy
    distance = jnp.array([0, 10, 10_000])
    states = net.states(params, tokens)

    def probabilities(odds: float) -> np.ndarray:
        head = {**params["next_region"], "copy_bias": jnp.array([odds])}
        return np.exp(net.next_region_logits({**params, "next_region": head}, states, tokens, distance))

    decoded, mixed, copied = probabilities(-40.0), probabilities(0.0), probabilities(40.0)
    for row in (0, 2):
        counts = np.bincount(tokens[row][tokens[row] >= 5], minlength=net.whole.rows)
        np.testing.assert_allclose(copied[row], counts / counts.sum(), atol=1e-6)
        np.testing.assert_allclose(mixed[row], (decoded[row] + copied[row]) / 2, atol=1e-6)
    np.testing.assert_allclose(copied[1], decoded[1], atol=1e-7)


def test_the_profile_that_fits_the_window_says_what_comes_next():
    net = network(profiles=2)
    tokens = some_tokens()
    frequencies = np.full((2, V), 1e-3)
    frequencies[0, np.unique(tokens[0][tokens[0] >= 5])] = 1.0
    frequencies[1, 5:15] = 1.0
    frequencies /= frequencies.sum(axis=1, keepdims=True)
    params = net.init(jax.random.key(0), log_profiles=np.log(frequencies).astype(np.float32))
    still = {"copy_bias": jnp.array([-40.0]), "norm": {"scale": jnp.zeros(net.whole.config.d_model)}}
    params["next_region"] |= still  # nothing is copied, and the state says nothing

    def predicted(**head) -> np.ndarray:
        some = {**params, "next_region": {**params["next_region"], **head}}
        logits = net.next_region_logits(some, net.states(params, tokens), tokens, jnp.array([0, 10, 10_000]))
        return np.exp(logits[0, :V])

    np.testing.assert_allclose(predicted(trust_scale=jnp.array([9.0])), frequencies[0], atol=1e-5)
    np.testing.assert_allclose(predicted(trust_scale=jnp.array([0.0])), frequencies.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(predicted().sum(), 1.0, atol=1e-5)
    with pytest.raises(ValueError, match="model.profiles is 2, 3 are given"):
        net.init(jax.random.key(0), log_profiles=np.zeros((3, V), np.float32))
    with pytest.raises(ValueError, match="model.profiles is -1"):
        ModelConfig(profiles=-1)


def test_padding_changes_nothing_of_the_next_region():
    net = network()
    params = net.init(jax.random.key(0))
    distance = jnp.array([0, 10, 10_000])
    longer = jnp.pad(some_tokens(), ((0, 0), (0, 12)))
    short, long = (
        net.next_region_logits(params, net.states(params, tokens), tokens, distance)[:, :V]
        for tokens in (some_tokens(), longer)
    )
    np.testing.assert_allclose(long, short, rtol=0, atol=1e-4)


def test_gradients_of_the_next_region_are_finite_and_reach_both_summaries():
    net = network(profiles=2)
    profiles = np.log(np.random.default_rng(0).dirichlet(np.ones(V), 2)).astype(np.float32)
    params = net.init(jax.random.key(0), log_profiles=profiles)
    tokens = some_tokens().at[1, 1:].set(0)
    states = net.states(params, tokens)

    def loss(params, states):
        return -net.whole.next_region_logits(params, states, tokens, jnp.array([0, 10, 10_000]))[:, 9].sum()

    of_params, of_states = jax.jit(jax.grad(loss, argnums=(0, 1)), compiler_options=QUICK)(params, states)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((of_params, of_states)))
    assert np.any(of_params["next_region"]["copy_scale"] != 0)
    assert np.any(of_params["next_region"]["profile_scale"] != 0) and np.any(of_params["next_region"]["trust_scale"])
    assert not np.any(of_params["next_region"]["profiles"])  # counted once, and never moved
    assert np.any(of_states[0] != 0)
    assert np.any(of_states[-1] != 0)


def test_an_embedding_keeps_its_variance_when_it_is_factorised():
    spread = [
        np.std(net.fold(net.init(jax.random.key(0)))["embeddings"]["table"]) for net in (network(), network(False))
    ]
    assert abs(spread[0] / spread[1] - 1) < 0.1


def test_the_modules_are_a_tree_without_aliases_and_hold_parameters_alone():
    module = Encoder(ModelConfig(d_model=16, n_layers=2, n_heads=2, d_ff=16), 64, rngs=nnx.Rngs(params=0))
    nnx.split(module, nnx.Param)  # refuses any other kind of variable
    variables = [id(leaf) for _, leaf in nnx.iter_graph(module) if isinstance(leaf, nnx.Variable)]
    assert len(variables) == len(set(variables)) == len(jax.tree.leaves(nnx.state(module)))


def test_shapes_that_cannot_be_built_name_their_value():
    with pytest.raises(ValueError, match="192 over model.n_heads 5"):
        ModelConfig(n_heads=5)
    with pytest.raises(ValueError, match="local_attention is 3"):
        ModelConfig(local_attention=3)
    with pytest.raises(ValueError, match="7 rows"):
        build(ModelConfig(), V, features=np.zeros((7, 3), np.float32))


def test_equal_networks_are_one_and_differ_in_any_setting_or_feature():
    features = np.ones((V, 3), np.float32)
    net = build(ModelConfig(), V, features=features)
    assert net is build(ModelConfig(), V, features=features.copy())
    for other in (build(ModelConfig(), V), build(ModelConfig(), V + 1), build(ModelConfig(), V, features=2 * features)):
        assert other is not net
    config = ModelConfig(norm_eps=1e-4)
    assert build(config, V, features=features) is not net
    config.norm_eps = 1e-5  # of whoever gave it, which is no longer what was built
    assert build(config, V, features=features) is net


def test_special_tokens_are_those_of_the_vocabulary():
    assert (PAD, CLS, SEP) == (vocabulary.PAD, vocabulary.CLS, vocabulary.SEP)
    assert FIRST_KNOWN == vocabulary.FIRST_BASE

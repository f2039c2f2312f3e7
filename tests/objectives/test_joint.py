import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.model.build import build
from plantgfm.model.config import ModelConfig
from plantgfm.objectives.config import ObjectiveConfig
from plantgfm.objectives.joint import loss, summarise
from plantgfm.objectives.masking import draw_masks
from plantgfm.schema import Batch
from tests.fixtures import QUICK, fresh

V = 90
KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def network():
    return build(ModelConfig(d_model=16, n_layers=1, n_heads=2, d_ff=16, profiles=2), V)


@pytest.fixture(scope="module")
def params(network):
    profiles = np.log(np.random.default_rng(0).dirichlet(np.ones(V), 2)).astype(np.float32)
    return fresh(network, log_profiles=profiles)


def batch(**changes):
    rng = np.random.default_rng(0)
    tokens, following = rng.integers(5, V, (2, 4, 40)).astype(np.int32)
    tokens[:, 0] = following[:, 0] = 1
    columns = {
        "tokens": tokens,
        "repeat_fraction": np.zeros((4, 40), np.float32),
        "next_tokens": following,
        "distance_bp": np.array([0, 100, 1000, 10_000], np.int32),
        "species": np.array([0, 1, 1, 2], np.int32),
    }
    return Batch(**{name: jnp.asarray(value) for name, value in (columns | changes).items()})


def total(network, params, batch, **settings):
    return loss(network, params, batch, KEY, ObjectiveConfig(**settings), n_species=3)


@functools.cache
def compiled(network, **settings):
    return jax.jit(lambda p, columns: total(network, p, Batch(*columns), **settings), compiler_options=QUICK)


def run(network, params, batch, **settings):
    return compiled(network, **settings)(params, tuple(vars(batch).values()))


def test_the_joint_loss_is_the_weighted_sum_of_both(network, params):
    value, sums = run(network, params, batch(), next_region_weight=0.5)
    means = summarise(sums)
    np.testing.assert_allclose(value, means["masked_nats_per_token"] + 0.5 * means["next_nats_per_token"], rtol=1e-5)
    np.testing.assert_allclose(jnp.sum(sums["species_nats"]), sums["masked_nats"], rtol=1e-5)
    np.testing.assert_allclose(jnp.sum(sums["species_tokens"]), sums["masked_tokens"], rtol=1e-5)
    np.testing.assert_allclose(jnp.sum(sums["repeat_tokens"]), sums["masked_tokens"], rtol=1e-5)
    np.testing.assert_allclose(jnp.sum(sums["repeat_nats"]), sums["masked_nats"], rtol=1e-5)
    assert means["species_nats_per_token"].shape == (3,)


def test_the_next_region_is_a_target_and_never_an_input(network, params):
    _, sums = run(network, params, batch())
    _, others = run(network, params, batch(next_tokens=np.full((4, 40), 17, np.int32)))
    assert sums["masked_nats"] == others["masked_nats"]
    assert sums["next_nats"] != others["next_nats"]


def test_a_hidden_token_changes_no_input_and_so_no_logit():
    """With every chosen token behind [MASK], another token at a slot gives the same inputs."""
    config, tokens = ObjectiveConfig(), batch().tokens
    masks = draw_masks(KEY, tokens, config, vocabulary_size=V, evaluate=True)
    rows = jnp.arange(4)[:, None]
    changed = tokens.at[rows, masks.slots].set(jnp.where(masks.slot_valid, (masks.targets - 5 + 3) % (V - 5) + 5, 1))
    assert jnp.sum(changed != tokens) == jnp.sum(masks.slot_valid)
    other = draw_masks(KEY, changed, config, vocabulary_size=V, evaluate=True)
    np.testing.assert_array_equal(other.inputs, masks.inputs)
    np.testing.assert_array_equal(other.slots, masks.slots)


def test_gradient_reaches_every_parameter_and_a_few_steps_bring_the_loss_down(network, params):
    value_and_grad = jax.jit(jax.value_and_grad(lambda p: total(network, p, batch())[0]), compiler_options=QUICK)
    first, gradient = value_and_grad(params)
    assert not np.any(gradient["next_region"].pop("profiles"))  # counted once, and never moved
    assert all(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(gradient))
    current = params
    for _ in range(8):
        _, gradient = value_and_grad(current)
        current = jax.tree.map(lambda p, g: p - 0.5 * g, current, gradient)
    assert value_and_grad(current)[0] < first - 0.05


def test_without_weight_the_next_region_head_learns_nothing(network, params):
    learn = jax.grad(lambda p: total(network, p, batch(), next_region_weight=0.0)[0])
    gradient = jax.jit(learn, compiler_options=QUICK)(params)
    assert not any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(gradient["next_region"]))


def test_settings_out_of_range_name_their_value():
    for settings in (
        {"masked_fraction": 0.0},
        {"mask_share": 1.5},
        {"mean_span_tokens": 0.5},
        {"next_region_weight": -1.0},
    ):
        with pytest.raises(ValueError, match=next(iter(settings))):
            ObjectiveConfig(**settings)
    with pytest.raises(ValueError, match="exceed"):
        ObjectiveConfig(mask_share=0.9, random_share=0.2)


def test_the_z_loss_enters_the_sum_by_its_weight(network, params):
    plain, sums = run(network, params, batch())
    weighed = [run(network, params, batch(), z_loss_weight=weight) for weight in (0.1, 0.2)]
    steps = np.diff([plain, *(value for value, _ in weighed)])
    np.testing.assert_allclose(steps[0], steps[1], rtol=1e-3)
    assert steps[0] > 0
    np.testing.assert_allclose(weighed[0][1]["masked_nats"], sums["masked_nats"], rtol=1e-6)  # what is reported stays
    with pytest.raises(ValueError, match="z_loss_weight is -1"):
        ObjectiveConfig(z_loss_weight=-1.0)


def test_the_nucleotide_loss_enters_the_sum_by_its_weight_and_needs_the_bases(network, params):
    bases = np.full((V, 8), -1, np.int32)
    bases[5:9, 0], bases[9:, :6] = np.arange(4), np.random.default_rng(0).integers(0, 4, (V - 9, 6))
    config = ObjectiveConfig(nucleotide_weight=0.5)
    weighed = jax.jit(lambda p, b: loss(network, p, Batch(*b), KEY, config, token_bases=bases), compiler_options=QUICK)
    value, sums = weighed(params, tuple(vars(batch()).values()))
    means = summarise(sums)
    others = means["masked_nats_per_token"] + 0.1 * means["next_nats_per_token"]
    np.testing.assert_allclose(value, others + 0.5 * means["nucleotide_nats_per_base"], rtol=1e-5)
    assert 1.0 < means["nucleotide_nats_per_base"] < 2.0
    with pytest.raises(ValueError, match="objective.nucleotide_weight is 0.5: give token_bases"):
        run(network, params, batch(), nucleotide_weight=0.5)
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"objective.nucleotide_weight is {wrong}, needs at least 0"):
            ObjectiveConfig(nucleotide_weight=wrong)

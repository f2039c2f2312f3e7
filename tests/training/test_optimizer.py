import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.training.config import OptimizerConfig, OptimizerKind, Schedule
from plantgfm.training.optimizer import build_optimizer, build_schedule, decay_mask


def rates(schedule, steps, **settings):
    config = OptimizerConfig(peak_learning_rate=1.0, warmup_steps=4, schedule=schedule, **settings)
    learning_rate = build_schedule(config, steps)
    return [round(float(learning_rate(n)), 4) for n in range(steps)]


def test_wsd_rises_stays_and_falls_along_a_line():
    wanted = [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2]
    assert rates(Schedule.WSD, 10, decay_fraction=0.4, floor_fraction=0.2) == wanted


def test_cosine_ends_at_the_floor():
    wanted = [0.25, 0.5, 0.75, 1.0, 0.8682, 0.55, 0.2318, 0.1]
    assert rates(Schedule.COSINE, 8, floor_fraction=0.1) == wanted


def test_inverse_square_root_halves_at_four_times_the_warm_up():
    got = rates(Schedule.INVERSE_SQRT, 16)
    assert got[:5] == [0.25, 0.5, 0.75, 1.0, 0.8944]
    assert got[15] == 0.5


def test_constant_stays():
    assert rates(Schedule.CONSTANT, 6) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_without_warm_up_the_first_step_is_at_the_peak():
    config = OptimizerConfig(peak_learning_rate=0.5, warmup_steps=0, schedule=Schedule.CONSTANT)
    assert float(build_schedule(config, 3)(0)) == 0.5


def test_a_schedule_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"warmup_steps 8 leave none of 8 steps"):
        build_schedule(OptimizerConfig(warmup_steps=8, decay_fraction=0.4), 8)


def test_a_decay_begins_behind_the_warm_up():
    assert rates(Schedule.WSD, 8, decay_fraction=0.9, floor_fraction=0.0) == [
        0.25,
        0.5,
        0.75,
        1.0,
        0.75,
        0.5,
        0.25,
        0.0,
    ]


PARAMS = {
    "embeddings": {"norm": {"scale": jnp.ones((2, 3))}, "table": jnp.ones((5, 3))},
    "layers": {"attn": {"Wo": {"kernel": jnp.ones((2, 3, 3))}}, "mlp_norm": {"scale": jnp.ones((2, 3))}},
    "head": {"bias": jnp.ones((2, 5)), "dense": {"kernel": jnp.ones((3, 6))}, "vector": jnp.ones(3)},
}


def decayed(**settings):
    mask = decay_mask(PARAMS, **settings)
    return {jax.tree_util.keystr(path) for path, here in jax.tree_util.tree_leaves_with_path(mask) if here}


def test_only_matrices_decay_even_where_layers_are_stacked():
    matrices = {"['layers']['attn']['Wo']['kernel']", "['head']['dense']['kernel']"}
    assert decayed(decay_embeddings=False) == matrices
    assert decayed(decay_embeddings=True) == matrices | {"['embeddings']['table']"}


def test_what_is_named_never_decays_and_a_name_of_nothing_is_refused():
    assert decayed(decay_embeddings=True, never=["Wo", "table"]) == {"['head']['dense']['kernel']"}
    for kind in OptimizerKind:
        named = build_optimizer(OptimizerConfig(kind, never_decay=["dense"], warmup_steps=1), 10)
        named.transformation.init(PARAMS)
        wrong = build_optimizer(OptimizerConfig(kind, never_decay=["dense", "dennse"], warmup_steps=1), 10)
        with pytest.raises(ValueError, match="'dennse', which is part of no name"):
            wrong.transformation.init(PARAMS)


def test_what_is_named_keeps_its_value_where_there_is_no_gradient():
    config = OptimizerConfig(peak_learning_rate=0.1, warmup_steps=0, weight_decay=0.5, never_decay=["dense"])
    rule = build_optimizer(config, 10).transformation
    still = jax.tree.map(jnp.zeros_like, PARAMS)
    updates, _ = rule.update(still, rule.init(PARAMS), PARAMS)
    assert not np.any(updates["head"]["dense"]["kernel"])
    np.testing.assert_allclose(updates["layers"]["attn"]["Wo"]["kernel"], -0.05, rtol=1e-5)


def one_update(gradient, **settings):
    plain = {"peak_learning_rate": 0.1, "warmup_steps": 0, "schedule": Schedule.CONSTANT, "epsilon": 1e-30}
    config = OptimizerConfig(**plain | settings)
    transformation = build_optimizer(config, 10).transformation
    updates, _ = transformation.update(gradient, transformation.init(PARAMS), PARAMS)
    return updates


def test_first_update_is_the_sign_of_the_gradient_and_the_decay():
    updates = one_update(jax.tree.map(lambda x: -2.0 * x, PARAMS), weight_decay=0.5)
    # -0.1 x (sign -1 + 0.5 x parameter 1) where it decays, -0.1 x -1 elsewhere
    np.testing.assert_allclose(updates["head"]["dense"]["kernel"], 0.05, rtol=1e-5)
    np.testing.assert_allclose(updates["head"]["bias"], 0.1, rtol=1e-5)


def test_clipping_bounds_the_whole_gradient():
    gradient = jax.tree.map(lambda x: 100.0 * x, PARAMS)
    optimizer = build_optimizer(OptimizerConfig(clip_norm=2.0), 1000)
    _, state = optimizer.transformation.update(gradient, optimizer.transformation.init(PARAMS), PARAMS)
    first_moment = state[1][0].mu  # (1 - b1) x clipped gradient
    norm = np.sqrt(sum(float(jnp.sum(x**2)) for x in jax.tree.leaves(first_moment)))
    np.testing.assert_allclose(norm, 0.1 * 2.0, rtol=1e-5)


def muon_update(gradient, **settings):
    config = {"kind": OptimizerKind.MUON, "muon_learning_rate": 0.01, "weight_decay": 0.0, **settings}
    return one_update(gradient, **config)


def test_muon_turns_each_matrix_and_leaves_the_rest_to_adamw():
    keys = iter(jax.random.split(jax.random.key(0), 20))
    gradient = jax.tree.map(lambda x: jax.random.normal(next(keys), x.shape), PARAMS)
    muon, adamw = muon_update(gradient), one_update(gradient, weight_decay=0.0)
    wide = muon["head"]["dense"]["kernel"] / np.sqrt(6 / 3)  # outputs over inputs
    for matrix in (wide, *muon["layers"]["attn"]["Wo"]["kernel"]):
        # Newton and Schulz's five steps bring singular values to about 0.7 to 1.2.
        strengths = np.linalg.svd(matrix, compute_uv=False) / 0.01
        assert strengths.min() > 0.5 and strengths.max() < 1.3
    for path in (("embeddings", "table"), ("embeddings", "norm", "scale"), ("head", "bias"), ("head", "vector")):
        mine, theirs = muon, adamw
        for name in path:
            mine, theirs = mine[name], theirs[name]
        # Optax gives the rest Nesterov's momentum too: the first update is ahead by (1 - b1^2) / (1 - b1) and more.
        ahead = np.asarray(mine) / np.asarray(theirs)
        np.testing.assert_allclose(ahead, ahead.ravel()[0], rtol=1e-5)
        assert 1.0 < ahead.ravel()[0] < 1.6


def test_muon_decays_matrices_at_their_own_rate():
    nothing = jax.tree.map(jnp.zeros_like, PARAMS)
    updates = muon_update(nothing, weight_decay=0.5, epsilon=1e-8)
    np.testing.assert_allclose(updates["head"]["dense"]["kernel"], -0.01 * 0.5, rtol=1e-5)
    assert not np.any(updates["embeddings"]["table"])
    updates = muon_update(nothing, weight_decay=0.5, epsilon=1e-8, decay_embeddings=True)
    np.testing.assert_allclose(updates["embeddings"]["table"], -0.1 * 0.5, rtol=1e-5)
    for spared in (updates["head"]["bias"], updates["head"]["vector"], updates["embeddings"]["norm"]["scale"]):
        assert not np.any(spared)


def test_muon_follows_the_schedule():
    config = OptimizerConfig(kind=OptimizerKind.MUON, peak_learning_rate=0.1, muon_learning_rate=0.01, warmup_steps=4)
    transformation = build_optimizer(config, 100).transformation
    gradient = jax.tree.map(lambda x: jax.random.normal(jax.random.key(1), x.shape), PARAMS)
    state, lengths = transformation.init(PARAMS), []
    for _ in range(2):
        updates, state = transformation.update(gradient, state, PARAMS)
        lengths.append(float(jnp.linalg.norm(updates["head"]["dense"]["kernel"])))
    np.testing.assert_allclose(lengths[1] / lengths[0], 2.0, rtol=1e-3)

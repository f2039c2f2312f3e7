import jax
import jax.numpy as jnp
import numpy as np

from plantgfm.objectives.losses import (
    REPEAT_CLASSES,
    hits,
    masked_loss,
    next_region_loss,
    next_region_nats,
    repeat_sums,
    slot_nats,
    species_sums,
    z_loss,
)


def case(batch=3, slots=4, vocabulary=12):
    rng = np.random.default_rng(0)
    logits = jnp.asarray(3.0 * rng.normal(size=(batch, slots, vocabulary)), jnp.float32)
    targets = jnp.asarray(rng.integers(5, vocabulary, (batch, slots)), jnp.int32)
    valid = jnp.asarray(rng.random((batch, slots)) < 0.7)
    return logits, targets, valid, jnp.asarray(rng.random((batch, slots)), jnp.float32)


def test_slot_nats_and_their_gradient_equal_the_plain_cross_entropy():
    logits, targets, _, weight = case()

    def plain(logits):
        return -jnp.sum(jax.nn.log_softmax(logits) * jax.nn.one_hot(targets, 12), axis=-1)

    np.testing.assert_allclose(slot_nats(logits, targets), plain(logits), rtol=0, atol=1e-5)
    ours = jax.grad(lambda x: jnp.sum(slot_nats(x, targets) * weight))(logits)
    np.testing.assert_allclose(ours, jax.grad(lambda x: jnp.sum(plain(x) * weight))(logits), rtol=0, atol=1e-6)


def test_slots_that_are_not_used_count_nowhere():
    logits, targets, valid, repeat = case()
    value, sums = masked_loss(logits, targets, valid, repeat)
    other = jnp.where(valid[..., None], logits, 77.0)
    again, again_sums = masked_loss(other, jnp.where(valid, targets, 5), valid, repeat)
    np.testing.assert_allclose(value, again, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), sums, again_sums)
    assert sums["masked_tokens"] == np.sum(valid)


def test_repeats_weigh_what_the_setting_says():
    logits, targets, valid, _ = case()
    repeat = jnp.zeros(valid.shape).at[0].set(1.0)
    nats = np.asarray(slot_nats(logits, targets))
    weights = np.where(np.asarray(repeat) == 1.0, 0.25, 1.0) * np.asarray(valid)
    value, sums = masked_loss(logits, targets, valid, repeat, repeat_weight=0.25)
    np.testing.assert_allclose(value, np.sum(nats * weights) / np.sum(weights), rtol=1e-5)
    np.testing.assert_allclose(sums["masked_nats"], np.sum(nats * np.asarray(valid)), rtol=1e-5)
    plain, _ = masked_loss(logits, targets, valid, repeat)
    np.testing.assert_allclose(plain, np.sum(nats * np.asarray(valid)) / np.sum(valid), rtol=1e-5)


def test_sums_of_halves_add_up_to_the_sums_of_the_whole():
    columns = case(batch=4)
    whole = masked_loss(*columns)[1]
    halves = [masked_loss(*(column[part] for column in columns))[1] for part in (slice(0, 2), slice(2, 4))]
    for name, value in whole.items():
        np.testing.assert_allclose(sum(half[name] for half in halves), value, rtol=1e-5)


def test_the_next_region_loss_is_the_cross_entropy_against_the_histogram():
    rng = np.random.default_rng(1)
    logits = jnp.asarray(rng.normal(size=(3, 12)), jnp.float32)
    tokens = rng.integers(5, 12, (3, 9)).astype(np.int32)
    tokens[:, 0], tokens[0, 4], tokens[1, 6:], tokens[2] = 1, 4, 0, 0
    log_probability = np.asarray(jax.nn.log_softmax(logits))
    expected = []
    for row in range(2):
        counts = np.bincount(tokens[row][tokens[row] >= 5], minlength=12)
        expected.append(-np.sum(counts / counts.sum() * log_probability[row]))
    np.testing.assert_allclose(next_region_nats(logits, jnp.asarray(tokens))[:2], expected, rtol=1e-5)
    value, sums = next_region_loss(logits, jnp.asarray(tokens))
    assert sums["next_windows"] == 2, "a window without valid tokens is not scored"
    np.testing.assert_allclose(value, np.mean(expected), rtol=1e-5)


def test_species_sums_put_each_window_where_it_belongs():
    values = jnp.asarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    sums = species_sums(values, jnp.asarray([2, 0, 2], jnp.int32), n_species=4)
    np.testing.assert_array_equal(sums, [7.0, 0.0, 14.0, 0.0])


def test_a_hit_is_the_likeliest_token_and_a_tie_is_none():
    logits, targets, _, _ = case()
    np.testing.assert_array_equal(hits(logits, targets), jnp.argmax(logits, axis=-1) == targets)
    best = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    assert hits(logits, best).all()
    assert not hits(jnp.zeros_like(logits), targets).any()


def test_the_z_loss_is_the_mean_squared_log_normaliser_of_used_slots():
    logits, _, valid, _ = case()
    squares = np.log(np.sum(np.exp(np.asarray(logits, np.float64)), axis=-1)) ** 2
    np.testing.assert_allclose(z_loss(logits, valid), squares[np.asarray(valid)].mean(), rtol=1e-5)
    np.testing.assert_allclose(z_loss(jax.nn.log_softmax(logits), valid), 0.0, atol=1e-10)
    away = jax.grad(lambda x: z_loss(x, valid))(logits)
    assert np.all(np.sum(away, axis=-1)[np.asarray(valid)] > 0) and not np.any(np.asarray(away)[~np.asarray(valid)])


def test_repeat_sums_cut_at_half_of_the_bases():
    values = jnp.asarray([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
    fraction = jnp.asarray([[0.0, 0.49, 0.5], [1.0, 0.0, 0.75]])
    np.testing.assert_array_equal(repeat_sums(values, fraction), [1.0 + 2.0 + 16.0, 4.0 + 8.0 + 32.0])
    assert REPEAT_CLASSES == ("outside", "inside")

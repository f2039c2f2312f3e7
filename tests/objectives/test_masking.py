import jax
import jax.numpy as jnp
import numpy as np

from plantgfm.objectives.config import ObjectiveConfig
from plantgfm.objectives.masking import draw_masks, slot_count, stream_key
from plantgfm.tokenization.vocabulary import CLS, MASK, PAD, UNKNOWN_BASE

V = 4200


def windows(batch=64, length=200):
    rng = np.random.default_rng(3)
    tokens = rng.integers(5, V, (batch, length)).astype(np.int32)
    tokens[rng.random(tokens.shape) < 0.05] = UNKNOWN_BASE
    tokens[:, 0] = CLS
    tokens[::2, 180:] = PAD
    return jnp.asarray(tokens)


def draw(tokens, seed=0, evaluate=False, **settings):
    return draw_masks(jax.random.key(seed), tokens, ObjectiveConfig(**settings), vocabulary_size=V, evaluate=evaluate)


def test_slots_hold_valid_tokens_once_and_nothing_else_changes():
    tokens = windows()
    masks = draw(tokens)
    assert masks.slots.shape == (64, 30)
    for row, slots, used, seen in zip(np.asarray(tokens), masks.slots, masks.slot_valid, np.asarray(masks.inputs)):
        chosen = np.asarray(slots)[np.asarray(used)]
        assert len(set(chosen.tolist())) == len(chosen)
        assert abs(len(chosen) - 0.15 * np.sum(row >= 5)) < 0.501
        assert np.all(row[chosen] >= 5)
        untouched = np.setdiff1d(np.arange(row.size), chosen)
        assert np.array_equal(seen[untouched], row[untouched])


def test_evaluation_hides_every_chosen_token():
    masks = draw(windows(), evaluate=True)
    hidden = np.take_along_axis(np.asarray(masks.inputs), np.asarray(masks.slots), axis=1)
    assert np.all(hidden[np.asarray(masks.slot_valid)] == MASK)


def test_replacement_shares_are_80_10_10():
    tokens = windows(batch=600)
    masks = draw(tokens)
    used = np.asarray(masks.slot_valid)
    seen = np.take_along_axis(np.asarray(masks.inputs), np.asarray(masks.slots), axis=1)[used]
    targets = np.asarray(masks.targets)[used]
    masked, kept = np.mean(seen == MASK), np.mean(seen == targets)
    error = 4 * 0.4 / np.sqrt(seen.size)
    assert abs(masked - 0.8) < error
    assert abs(kept - 0.1) < error
    assert np.all(seen[(seen != MASK)] >= 5), "random tokens carry bases"


def run_lengths(**settings):
    tokens = jnp.asarray(np.random.default_rng(0).integers(5, V, (300, 400)), jnp.int32)
    masks = draw(tokens, evaluate=True, **settings)
    hidden = np.pad(np.asarray(masks.inputs) == MASK, ((0, 0), (1, 1)))
    edges = np.flatnonzero(np.diff(hidden.astype(np.int8).ravel()))
    return np.diff(edges.reshape(-1, 2), axis=1).ravel()


def test_spans_are_geometric_and_single_tokens_are_alone():
    # Single tokens run on by chance: a neighbour is hidden with probability 0.15. Spans run on in the same way at
    # either end, 1 / 0.85 spans a run, and the last one of a window is cut.
    alone = run_lengths(span_share=0.0)
    assert abs(alone.mean() - 1 / 0.85) < 0.03
    spans = run_lengths(span_share=1.0, mean_span_tokens=4.0)
    assert abs(spans.mean() - 4.0 / 0.85) < 0.4
    # A geometric length has no memory: of runs longer than 3, as many reach 6 as runs reach 3.
    assert abs(np.mean(spans[spans > 3] > 6) - np.mean(spans > 3)) < 0.06
    mixed = run_lengths(span_share=0.5, mean_span_tokens=4.0)
    assert alone.mean() < mixed.mean() < spans.mean()


def test_streams_are_pure_functions_of_seed_step_and_name():
    def bits(*arguments):
        return jax.random.bits(stream_key(*arguments)).item()

    assert bits(1, 2, "mask") == bits(1, 2, "mask")
    assert len({bits(1, 2, "mask"), bits(2, 2, "mask"), bits(1, 3, "mask"), bits(1, 2, "other")}) == 4
    assert jax.jit(lambda step: jax.random.bits(stream_key(1, step, "mask")))(2).item() == bits(1, 2, "mask")


def test_slots_of_a_window_are_15_percent_rounded_up():
    assert [slot_count(length, 0.15) for length in (10, 20, 100, 256, 512)] == [2, 3, 15, 39, 77]

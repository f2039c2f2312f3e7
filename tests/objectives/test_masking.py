import jax
import jax.numpy as jnp
import numpy as np

from plantgfm.objectives.config import ObjectiveConfig
from plantgfm.objectives.masking import draw_masks
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

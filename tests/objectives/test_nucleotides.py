import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.objectives import nucleotides
from plantgfm.tokenization.vocabulary import (
    CLS,
    FIRST_BASE,
    FIRST_EIGHT,
    FIRST_SIX,
    UNKNOWN_BASE,
    Vocabulary,
    kmer_code,
)
from tests.fixtures import small_vocabulary

VOCABULARY = small_vocabulary()
ROWS = 4160  # padded as the model pads
TARGETS = [FIRST_SIX + kmer_code("GATTAC"), FIRST_EIGHT + 2, FIRST_BASE + 3, CLS, UNKNOWN_BASE]


@jax.jit
def per_base_log_probabilities(logits, length_bp):
    return nucleotides.per_base_log_probabilities(logits, length_bp, VOCABULARY.token_bases)


def logits_of(*shape, scale=2.0, seed=0):
    logits = scale * np.random.default_rng(seed).normal(size=(*shape, ROWS))
    logits[..., VOCABULARY.size :] = -1e9
    return jnp.asarray(logits, jnp.float32)


def by_hand(logits, length):
    """The definition, token by token, in double precision: {(offset, letter): probability}."""
    share = np.exp(np.asarray(logits, np.float64) - np.max(logits))
    of_length = [i for i, text in enumerate(VOCABULARY.tokens) if len(text) == length and set(text) <= set("ACGT")]
    total = sum(share[i] for i in of_length)
    found = np.zeros((length, 4))
    for i in of_length:
        for offset, letter in enumerate(VOCABULARY.tokens[i]):
            found[offset, "ACGT".index(letter)] += share[i] / total
    return found


def test_the_bases_of_tokens_are_their_letters():
    for token, text in enumerate(VOCABULARY.tokens):
        bases = VOCABULARY.token_bases[token]
        letters = "".join("ACGT"[base] for base in bases[bases >= 0])
        assert letters == (text if token >= FIRST_BASE else "")
        assert np.all(bases[len(letters) :] == -1)


def test_a_base_is_as_likely_as_all_tokens_of_that_length_that_have_it():
    logits = logits_of(3)
    found = per_base_log_probabilities(logits, np.array([1, 6, 8]))
    assert found.shape == (3, 8, 4) and found.dtype == jnp.float32
    for row, length in enumerate((1, 6, 8)):
        np.testing.assert_allclose(np.exp(found[row, :length]), by_hand(logits[row], length), atol=1e-6)
        np.testing.assert_allclose(np.exp(found[row, :length]).sum(axis=1), 1.0, atol=1e-5)
        assert np.all(found[row, length:] == -np.inf)


def test_where_no_token_has_that_length_there_are_no_bases():
    assert np.all(per_base_log_probabilities(logits_of(2), np.array([0, 7])) == -np.inf)
    sixes = Vocabulary(np.zeros(0, np.uint16))
    assert np.all(nucleotides.per_base_log_probabilities(logits_of(1), np.array([8]), sixes.token_bases) == -np.inf)
    with pytest.raises(ValueError, match="4105 logits are fewer than the 4112 tokens"):
        per_base_log_probabilities(logits_of(1)[:, :4105], np.array([6]))


def test_logits_far_apart_give_finite_values_and_gradients():
    logits = jnp.zeros((1, ROWS)).at[0, FIRST_SIX].set(300.0)  # AAAAAA and nothing else

    def of_last(logits):
        return per_base_log_probabilities(logits, np.array([6]))[0, 5, 3]

    value, gradient = jax.value_and_grad(of_last)(logits)
    assert -88 < value < -87 and np.all(np.isfinite(gradient))


def loss_of(logits, *, valid=None, repeat=None, **more):
    targets = jnp.asarray([TARGETS[:3], TARGETS[2:]], jnp.int32)
    valid = jnp.ones((2, 3), bool) if valid is None else valid
    repeat = jnp.zeros((2, 3), jnp.float32) if repeat is None else repeat
    told = {"token_bases": VOCABULARY.token_bases, **more}
    return jax.jit(lambda *columns: nucleotides.nucleotide_loss(*columns, **told))(logits, targets, valid, repeat)


def base_nats(logits):
    """-ln p of each base of the first window's three targets, by hand."""
    for row, token in zip(logits, TARGETS):
        text = VOCABULARY.tokens[token]
        yield [-np.log(p["ACGT".index(letter)]) for p, letter in zip(by_hand(row, len(text)), text)]


def test_the_loss_is_the_mean_over_the_bases_of_used_slots():
    logits = logits_of(2, 3)
    six, eight, one = base_nats(logits[0])
    valid = jnp.asarray([[True, True, True], [False, True, True]])  # [CLS] and N have no bases
    loss, sums = loss_of(logits, valid=valid)
    np.testing.assert_allclose(loss, np.mean([*six, *eight, *one]), rtol=1e-5)
    assert sums["nucleotide_bases"] == 15
    np.testing.assert_allclose(sums["nucleotide_nats"], sum([*six, *eight, *one]), rtol=1e-5)
    repeat = jnp.zeros((2, 3)).at[0, 1].set(1.0)
    weighted, same = loss_of(logits, valid=valid, repeat=repeat, repeat_weight=0.25)
    np.testing.assert_allclose(weighted, (sum(six) + 0.25 * sum(eight) + sum(one)) / (7 + 0.25 * 8), rtol=1e-5)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, same, sums))


def test_a_token_that_shares_five_bases_with_the_true_one_is_pushed_up_and_a_stranger_down():
    gradient = jax.grad(lambda logits: loss_of(logits)[0])(jnp.zeros((2, 3, ROWS)))[0, 0]
    true, near, far = (gradient[FIRST_SIX + kmer_code(text)] for text in ("GATTAC", "GATTAA", "CTCCTG"))
    assert true < near < 0 < far
    assert not np.any(gradient[FIRST_EIGHT:]) and not np.any(gradient[:FIRST_SIX])


def test_without_any_base_the_loss_is_zero_and_its_gradient_finite():
    loss, gradient = jax.value_and_grad(lambda x: loss_of(x, valid=jnp.zeros((2, 3), bool))[0])(logits_of(2, 3))
    assert loss == 0 and not np.any(gradient)

"""The linear probe: closed form, strength from rows of its own, scored rows never seen."""

import numpy as np
import pytest

from plantgfm.evaluation.linear import STRENGTHS, _Solver, class_weights, fit_probe, one_hot


def parts(n):
    at = np.arange(n) % 4
    return at < 2, at == 2, at == 3


def even(rows):
    return np.ones(int(rows.sum()))


@pytest.mark.parametrize("n_features", [5, 60])
def test_a_planted_relation_is_found_on_rows_that_were_not_fitted(n_features):
    generator = np.random.default_rng(0)
    features = generator.standard_normal((160, n_features)) * generator.uniform(0.1, 9, n_features) + 3
    wanted = (features[:, :3] @ [1.0, -2.0, 0.5])[:, None]
    fit, tune, test = parts(160)
    probe = fit_probe(features, wanted, fit=fit, tune=tune, weigh=even)
    assert np.corrcoef(probe(features)[test, 0], wanted[test, 0])[0, 1] > 0.99
    assert probe.strength == STRENGTHS[0]
    noise = generator.standard_normal((160, 1))
    assert fit_probe(features, noise, fit=fit, tune=tune, weigh=even).strength >= 0.1


def test_labels_of_scored_rows_change_nothing():
    generator = np.random.default_rng(1)
    features, labels = generator.standard_normal((80, 6)), generator.integers(0, 3, 80)
    fit, tune, test = parts(80)
    said = []
    for known in (labels, np.where(test, 0, labels)):
        targets = one_hot(known, 3)
        said.append(
            fit_probe(features, targets, fit=fit, tune=tune, weigh=lambda r, k=known: class_weights(k[r]))(features)
        )
    np.testing.assert_array_equal(*said)


def test_both_gram_matrices_give_the_ridge_of_the_textbook():
    generator = np.random.default_rng(2)
    features, wanted, weights = generator.random((12, 4)), generator.random((12, 2)), generator.uniform(1, 3, 12)
    shares = weights / weights.sum()
    centred = (features - shares @ features) / np.sqrt(shares @ np.square(features - shares @ features))
    gram = centred.T @ (shares[:, None] * centred)
    penalty = 0.1 * np.trace(gram)
    direct = np.linalg.solve(gram + penalty * np.eye(4), centred.T @ (shares[:, None] * (wanted - shares @ wanted)))
    tall = _Solver(features, wanted, weights)
    wide = _Solver(
        np.concatenate([features, np.ones((12, 20))], axis=1), wanted, weights
    )  # what never varies says nothing
    assert wide._wide and not tall._wide
    np.testing.assert_allclose(tall.solve(0.1).weights, direct, rtol=1e-9)
    np.testing.assert_allclose(wide.solve(0.1).weights[:4], direct, rtol=1e-9)
    assert not wide.solve(0.1).weights[4:].any()


def test_every_class_weighs_the_same():
    weights = class_weights(np.array([0, 0, 0, 2]))
    np.testing.assert_allclose(weights, [2 / 3, 2 / 3, 2 / 3, 2.0])

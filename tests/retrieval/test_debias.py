"""All-but-the-top."""

import numpy as np
import pytest

from plantgfm.retrieval.debias import fit_debias


def cloud(n=500, width=8, seed=0):
    rng = np.random.default_rng(seed)
    loud = rng.normal(size=(n, 1)) * 20 * np.eye(width)[0]
    return (rng.normal(size=(n, width)) + loud + 5).astype(np.float32)


def test_the_leading_component_and_the_mean_are_gone():
    vectors = cloud()
    debias = fit_debias(vectors, components=1)
    assert abs(debias.components[0][0]) > 0.99
    corrected = debias.apply(vectors)
    np.testing.assert_allclose(np.linalg.norm(corrected, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(corrected @ debias.components[0], 0.0, atol=1e-5)


def test_no_component_removes_the_mean_only():
    vectors = cloud()
    debias = fit_debias(vectors, components=0)
    centred = vectors - vectors.mean(axis=0)
    expected = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(debias.apply(vectors), expected, atol=1e-4)


def test_components_equal_those_of_a_singular_value_decomposition():
    vectors = cloud(seed=3)
    debias = fit_debias(vectors, components=3)
    _, _, right = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(debias.components @ right[:3].T), np.eye(3), atol=1e-3)


def test_a_null_vector_stays_null_and_too_many_components_are_refused():
    vectors = cloud(n=20)
    debias = fit_debias(vectors, components=0)
    assert np.all(debias.apply(debias.mean[None].astype(np.float32)) < 1e-3)
    with pytest.raises(ValueError, match="components=8 needs at least 10 target windows"):
        fit_debias(vectors, components=8)

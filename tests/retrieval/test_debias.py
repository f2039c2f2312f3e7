"""All-but-the-top, and whitening."""

import numpy as np
import pytest

from plantgfm.retrieval.debias import Moments, fit_debias


def cloud(n=500, width=8, seed=0):
    rng = np.random.default_rng(seed)
    loud = rng.normal(size=(n, 1)) * 20 * np.eye(width)[0]
    return (rng.normal(size=(n, width)) + loud + 5).astype(np.float32)


def top(vectors, *, components):
    return fit_debias(vectors, components=components, whiten=False, ridge=1e-3)


def test_the_leading_component_and_the_mean_are_gone():
    vectors = cloud()
    debias = top(vectors, components=1)
    corrected = debias.apply(vectors)
    np.testing.assert_allclose(np.linalg.norm(corrected, axis=1), 1.0, atol=1e-5)
    loudest = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)[2][0]
    assert abs(loudest[0]) > 0.99
    np.testing.assert_allclose(corrected @ loudest, 0.0, atol=1e-4)


def test_no_component_removes_the_mean_only():
    vectors = cloud()
    debias = top(vectors, components=0)
    centred = vectors - vectors.mean(axis=0)
    expected = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(debias.apply(vectors), expected, atol=1e-4)


def test_components_equal_those_of_a_singular_value_decomposition():
    vectors = cloud(seed=3)
    debias = top(vectors, components=3)
    _, _, right = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(debias.matrix, np.eye(8) - right[:3].T @ right[:3], atol=1e-3)


def test_a_null_vector_stays_null_and_too_many_components_are_refused():
    vectors = cloud(n=20)
    debias = top(vectors, components=0)
    assert np.all(debias.apply(debias.mean[None].astype(np.float32)) < 1e-3)
    with pytest.raises(ValueError, match="components=8 needs at least 10 target windows"):
        top(vectors, components=8)


def test_whitening_gives_every_direction_the_same_variance():
    vectors = cloud(n=20_000) * np.geomspace(1, 30, 8, dtype=np.float32)
    debias = fit_debias(vectors, components=0, whiten=True, ridge=1e-6)
    covariance = np.cov(((vectors - debias.mean) @ debias.matrix).T)
    np.testing.assert_allclose(covariance / covariance[0, 0], np.eye(8), atol=0.02)


def test_whitening_hears_what_a_loud_direction_drowns():
    rng = np.random.default_rng(1)
    content = rng.normal(size=(300, 16))
    noise = np.concatenate([rng.normal(size=(600, 2)) * 50, np.zeros((600, 14))], axis=1)
    targets, queries = np.float32(content + noise[:300]), np.float32(content + noise[300:])

    def found(**kind):
        debias = fit_debias(targets, components=1, ridge=1e-3, **kind)
        return np.mean((debias.apply(queries) @ debias.apply(targets).T).argmax(axis=1) == np.arange(300))

    assert found(whiten=True) > 0.9 > 0.5 > found(whiten=False)


def test_a_large_ridge_is_no_whitening_and_constant_targets_stay_null():
    vectors = cloud()
    plain, ridged = top(vectors, components=1), fit_debias(vectors, components=1, whiten=True, ridge=1e9)
    np.testing.assert_allclose(ridged.apply(vectors), plain.apply(vectors), atol=1e-5)
    constant = np.ones((20, 8), np.float32)
    line = (np.arange(20)[:, None] * np.float32([3, 1, 0, 2]) + 5).astype(np.float32)
    for whiten in (False, True):  # nothing but rounding is left of them
        assert not fit_debias(line, components=1, whiten=whiten, ridge=1e-3).apply(line).any()
    assert not fit_debias(constant, components=1, whiten=True, ridge=1e-3).apply(constant).any()


def test_moments_are_read_as_they_were_written_and_norms_are_of_what_is_divided_by_them(tmp_path):
    vectors, moments = cloud(n=40), Moments()
    moments.add(vectors)
    moments.write(tmp_path / "m.npz")
    first, again = (
        one.fit(components=1, whiten=True, ridge=1e-3) for one in (moments, Moments.read(tmp_path / "m.npz"))
    )
    np.testing.assert_array_equal(first.matrix, again.matrix)
    np.testing.assert_array_equal(first.mean, again.mean)
    unit, norms = first.apply_with_norms(np.vstack([vectors, first.mean]).astype(np.float32))
    np.testing.assert_array_equal(unit[:-1], first.apply(vectors))
    np.testing.assert_allclose(unit[:-1] * norms[:-1, None], (vectors - first.mean) @ first.matrix, atol=1e-4)
    assert norms[-1] == 0 and not unit[-1].any()

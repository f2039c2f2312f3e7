"""A linear probe in closed form: ridge regression on features, its strength chosen on rows of its own.

Classes are regressed as ones and zeros, rows weighted so that every class counts the same (regularised least squares:
Rifkin, Yeo & Poggio 2003). Features are centred and scaled on the fitted rows. The same probe reads vectors of a model
and k-mer frequencies, so that a difference is one of the features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Integer

STRENGTHS = tuple(10.0 ** np.arange(-4, 4))
"""Penalties that are tried, as shares of the features' summed variance over the rows."""
_LEAST_SCALE = 1e-9  # a feature of less spread says nothing


@dataclass(frozen=True)
class Probe:
    """A fitted probe."""

    centre: Float64[np.ndarray, "F"]
    scale: Float64[np.ndarray, "F"]
    weights: Float64[np.ndarray, "F C"]
    intercept: Float64[np.ndarray, "C"]
    strength: float

    def __call__(self, features: np.ndarray) -> Float64[np.ndarray, "N C"]:
        """What is said of each row: a score of every class, or the one value of a regression."""
        return (features - self.centre) / self.scale @ self.weights + self.intercept


def one_hot(labels: Integer[np.ndarray, "N"], n_classes: int) -> Float64[np.ndarray, "N C"]:
    """Ones and zeros."""
    return np.eye(n_classes)[labels]


def class_weights(labels: Integer[np.ndarray, "N"]) -> Float64[np.ndarray, "N"]:
    """Of each row, so that all classes that occur weigh the same and the mean is 1."""
    counts = np.bincount(labels)
    return labels.size / (np.count_nonzero(counts) * counts[labels])


def fit_probe(
    features: np.ndarray,
    targets: Float64[np.ndarray, "N C"],
    *,
    fit: Bool[np.ndarray, "N"],
    tune: Bool[np.ndarray, "N"],
    weigh: Callable[[Bool[np.ndarray, "N"]], Float64[np.ndarray, "_"]],
) -> Probe:
    """Fit on the rows of `fit`, choose the strength on those of `tune`, fit again on both with it.

    Args:
        features: [N, F], of whatever kind.
        targets: what to say of each row.
        fit: rows that are fitted.
        tune: rows that choose; none of them is in `fit`.
        weigh: weights of some rows.
    """
    parts = _Solver(features[fit], targets[fit], weigh(fit))
    error = {}
    for strength in STRENGTHS:
        missed = np.square(parts.solve(strength)(features[tune]) - targets[tune]).mean(axis=1)
        error[strength] = float(np.average(missed, weights=weigh(tune)))
    best = min(error, key=error.__getitem__)
    both = fit | tune
    return _Solver(features[both], targets[both], weigh(both)).solve(best)


class _Solver:
    """Ridge of any strength on the same rows, by the smaller of both Gram matrices."""

    def __init__(self, features: np.ndarray, targets: np.ndarray, weights: np.ndarray):
        shares = weights / weights.sum()
        self._centre = shares @ features
        spread = np.sqrt(shares @ np.square(features - self._centre))
        self._scale = np.where(spread > _LEAST_SCALE, spread, np.inf)
        self._mean = shares @ targets
        root = np.sqrt(shares)[:, None]
        self._rows = root * ((features - self._centre) / self._scale)
        self._wanted = root * (targets - self._mean)
        self._wide = self._rows.shape[1] > self._rows.shape[0]
        self._gram = self._rows @ self._rows.T if self._wide else self._rows.T @ self._rows

    def solve(self, strength: float) -> Probe:
        size = len(self._gram)
        penalty = strength * max(float(np.trace(self._gram)), 1e-12)
        left = self._gram + penalty * np.eye(size)
        if self._wide:
            weights = self._rows.T @ np.linalg.solve(left, self._wanted)
        else:
            weights = np.linalg.solve(left, self._rows.T @ self._wanted)
        return Probe(self._centre, self._scale, weights, self._mean, strength)

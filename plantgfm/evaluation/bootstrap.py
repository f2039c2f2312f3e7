"""Intervals by bootstrap over regions.

Tokens of one region share their composition and their repeats, so the region is the unit that is drawn again (a cluster
bootstrap: Davison & Hinkley 1997, section 3.8). Regions are drawn within their species, so that every resample has the
species mix of the evaluation, which is fixed by design. Bounds are percentiles of the resampled statistic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer


@dataclass(frozen=True)
class Estimate:
    """A statistic and its interval, all in the statistic's unit."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def bootstrap_ratio(
    numerator: Float[np.ndarray, "N"],
    denominator: Float[np.ndarray, "N"],
    *,
    region: Integer[np.ndarray, "N"],
    stratum: Integer[np.ndarray, "N"],
    resamples: int,
    seed: int,
    confidence: float = 0.95,
) -> Estimate:
    """The ratio of two sums with a percentile interval; regions are drawn with replacement within their stratum.

    A difference of two predictors is paired when its numerator is the difference at each item: both are then scored on
    the same resamples.

    Args:
        numerator: one value an item, for instance nats at a scored token.
        denominator: for instance the bases of that token; its sum must be positive.
        region: which region an item belongs to.
        stratum: species of that region; constant within a region.
        resamples: how many to draw.
        seed: equal seeds give equal bounds.
        confidence: share of resamples between the bounds.

    Raises:
        ValueError: when there is nothing to divide by.
    """
    total = float(denominator.sum())
    if total <= 0:
        raise ValueError(f"a ratio over {numerator.size} items whose denominators sum to {total}: nothing was scored")
    names, index = np.unique(region, return_inverse=True)
    above = np.bincount(index, weights=numerator, minlength=names.size)
    below = np.bincount(index, weights=denominator, minlength=names.size)
    strata = np.zeros(names.size, dtype=np.int64)
    strata[index] = stratum
    ratios = _resampled(above, below, strata, resamples=resamples, seed=seed)
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(numerator.sum() / total), float(low), float(high))


def draw_regions(
    stratum: Integer[np.ndarray, "R"], *, resamples: int, seed: int = 0
) -> Float[np.ndarray, "resamples R"]:
    """How often each region is drawn, by resample; as many of each stratum (species) as there are."""
    generator = np.random.default_rng(seed)
    weights = np.zeros((resamples, stratum.size))
    for name in np.unique(stratum):
        members = np.flatnonzero(stratum == name)
        drawn = members[generator.integers(0, members.size, size=(resamples, members.size))]
        np.add.at(weights, (np.arange(resamples)[:, None], drawn), 1.0)
    return weights


def _resampled(above: np.ndarray, below: np.ndarray, strata: np.ndarray, *, resamples: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    sums = np.zeros((2, resamples))
    for name in np.unique(strata):
        members = np.flatnonzero(strata == name)
        drawn = members[generator.integers(0, members.size, size=(resamples, members.size))]
        sums[0] += above[drawn].sum(axis=1)
        sums[1] += below[drawn].sum(axis=1)
    # A resample of regions without any scored base says nothing.
    return sums[0][sums[1] > 0] / sums[1][sums[1] > 0]

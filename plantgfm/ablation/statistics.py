"""Whether an arm differs from the base: paired by seed and held-out region, corrected over arms, with its power.

A difference has two sources of chance: other seeds, and other held-out regions. Seeds are few, so their part is taken
from the differences of the seeds and has few degrees of freedom; regions are resampled within their species (a cluster
bootstrap: Davison & Hinkley 1997, section 3.8). Both variances add. The bar that the difference must pass is the mean
of both Student quantiles, weighted by the variances (Cochran & Cox 1957, section 4.14); one quantile at Satterthwaite's
degrees of freedom found 7 % of differences that were not there, at 5 %, where 3 seeds made nearly all the variance. The
part that lies in both (one seed on one region) is counted twice, so that intervals are rather too wide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from jaxtyping import Float64, Integer
from scipy.optimize import brentq
from scipy.special import stdtrit

from plantgfm.evaluation.bootstrap import draw_regions

_LEAST_P = 1e-12
_DRAWS = 2000


@dataclass(frozen=True)
class Scores:
    """One arm: sums whose ratio is the metric, by seed and region; regions are the same for all arms of a question."""

    numerator: Float64[np.ndarray, "S R"]
    denominator: Float64[np.ndarray, "S R"]

    @property
    def by_seed(self) -> Float64[np.ndarray, "S"]:
        """The metric of each seed over all regions."""
        return self.numerator.sum(axis=1) / self.denominator.sum(axis=1)

    @property
    def value(self) -> float:
        """The mean of the seeds."""
        return float(self.by_seed.mean())


@dataclass(frozen=True)
class Measured:
    """One arm: its metric of each seed, and of each seed in every resample of the regions."""

    by_seed: Float64[np.ndarray, "S"]
    resampled: Float64[np.ndarray, "S K"]


class Verdict(Enum):
    """What the data say of an arm beside the base."""

    BETTER = "better"
    WORSE = "worse"
    EQUAL = "equal within the margin"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Comparison:
    """An arm minus the base, in the metric's unit; `low` and `high` hold for all arms of the question together."""

    difference: float
    low: float
    high: float
    by_seed: list[float]
    se_seeds: float
    se_regions: float
    p: float
    p_adjusted: float  # by Holm, over the arms of the question
    smallest_shown: float  # the difference that would be found with the stated power
    verdict: Verdict

    @property
    def se(self) -> float:
        """Standard error of the difference."""
        return math.hypot(self.se_seeds, self.se_regions)


@dataclass(frozen=True)
class Rule:
    """How differences become verdicts."""

    alpha: float
    power: float
    margin: float
    lower_is_better: bool
    resamples: int
    stated: int = (
        0  # comparisons of the question, where more were stated than are made; none of them may be chosen away
    )


def compare_arms(
    base: Scores, arms: Mapping[str, Scores], *, stratum: Integer[np.ndarray, "R"], rule: Rule
) -> dict[str, Comparison]:
    """Each arm beside the base.

    Args:
        base: what the others are compared with.
        arms: the others.
        stratum: species of each region.
        rule: error rate, power, margin, direction.

    Raises:
        ValueError: when arms lack regions or seeds of the base, there are too few to tell chance from effect, or a
            draw of them has nothing that is scored.
    """
    for name, arm in arms.items():
        if arm.numerator.shape != base.numerator.shape:
            raise ValueError(f"arm {name} has {arm.numerator.shape} seeds and regions, the base {base.numerator.shape}")
    n_seeds, n_regions = base.numerator.shape
    free = n_regions - np.unique(stratum).size
    if n_seeds < 2 or free < 1:
        raise ValueError(
            f"{n_seeds} seeds and {n_regions} regions of {np.unique(stratum).size} species: two seeds, and more "
            "regions than species, are the least"
        )
    weights = draw_regions(stratum, resamples=rule.resamples)
    drawn = weights @ base.denominator.T
    if not drawn.all():
        empty = np.mean((drawn == 0).any(axis=1))
        raise ValueError(
            f"{empty:.1%} of the draws of regions hold nothing that this metric scores: too few have any; score "
            "more `windows`, or choose another `metric`"
        )
    measured = {name: _measured(arm, weights) for name, arm in {"": base, **arms}.items()}
    return compare_measured(measured.pop(""), measured, groups=n_regions, free=free, rule=rule)


def _measured(arm: Scores, weights: np.ndarray) -> Measured:
    return Measured(arm.by_seed, (weights @ arm.numerator.T / (weights @ arm.denominator.T)).T)


def compare_measured(
    base: Measured, arms: Mapping[str, Measured], *, groups: int, free: int, rule: Rule
) -> dict[str, Comparison]:
    """As `compare_arms`, for any metric that was resampled.

    Args:
        base: what the others are compared with.
        arms: the others, of the same seeds, on the same resamples.
        groups: how many regions were drawn from.
        free: of them, less one for each species.
        rule: error rate, power, margin, direction.
    """
    parts = {name: _parts(base, arm, groups=groups, free=free) for name, arm in arms.items()}
    n_arms = max(rule.stated, len(arms))
    adjusted = dict(zip(parts, holm([part[4] for part in parts.values()], of=n_arms)))
    return {name: _judged(*part, p_adjusted=adjusted[name], n_arms=n_arms, rule=rule) for name, part in parts.items()}


def holm(p: Sequence[float], *, of: int = 0) -> list[float]:
    """Adjusted p-values that keep the chance of any false finding (Holm 1979, https://www.jstor.org/stable/4615733).

    Args:
        p: of the comparisons that were made.
        of: how many were to be made, where that is more: those that were not count as p-values of 1.
    """
    adjusted, reached, every = [0.0] * len(p), 0.0, max(of, len(p))
    for rank, index in enumerate(np.argsort(p, kind="stable").tolist()):
        reached = max(reached, min(1.0, (every - rank) * p[index]))
        adjusted[index] = reached
    return adjusted


def _parts(base: Measured, arm: Measured, *, groups: int, free: int) -> tuple:
    """Differences of the seeds, both standard errors, their degrees of freedom, the p-value."""
    by_seed = arm.by_seed - base.by_seed
    n = by_seed.size
    resampled = (arm.resampled - base.resampled).mean(axis=0)
    # A bootstrap of n regions of one species has (n - 1) / n of the variance, and a lone one has none.
    se_regions = float(resampled.std()) * math.sqrt(groups / free)
    se_seeds = float(by_seed.std(ddof=1)) / math.sqrt(n)
    variance = se_seeds**2 + se_regions**2
    degrees = (n - 1, free)
    if variance == 0.0:  # the very same runs
        return by_seed, se_seeds, se_regions, degrees, _LEAST_P if by_seed.any() else 1.0
    return by_seed, se_seeds, se_regions, degrees, _p_value(abs(by_seed.mean()), se_seeds, se_regions, degrees)


def _bar(alpha: float, se_seeds: float, se_regions: float, degrees: tuple[int, int]) -> float:
    """What the size of a difference passes by chance with a probability of `alpha`; both sides counted."""
    variances = se_seeds**2, se_regions**2
    quantiles = [-float(stdtrit(free, alpha / 2)) for free in degrees]
    if not sum(variances):
        return 0.0
    return math.sqrt(sum(variances)) * sum(v * q for v, q in zip(variances, quantiles)) / sum(variances)


def _smallest_shown(alpha: float, power: float, se_seeds: float, se_regions: float, degrees: tuple[int, int]) -> float:
    """The difference that passes its bar with probability `power`, were both standard errors the true ones.

    Another sweep would find another standard error of the seeds, and so another bar: both are drawn.
    """
    generator = np.random.default_rng(0)
    seeds = se_seeds**2 * generator.chisquare(degrees[0], _DRAWS) / degrees[0]
    total = np.maximum(seeds + se_regions**2, np.finfo(float).tiny)
    quantiles = [-float(stdtrit(free, alpha / 2)) for free in degrees]
    bars = (seeds * quantiles[0] + se_regions**2 * quantiles[1]) / np.sqrt(total)
    reached = math.hypot(se_seeds, se_regions) * generator.standard_normal(_DRAWS)
    return float(np.quantile(bars - reached, power))


def _p_value(size: float, se_seeds: float, se_regions: float, degrees: tuple[int, int]) -> float:
    def excess(alpha: float) -> float:
        return _bar(alpha, se_seeds, se_regions, degrees) - size

    if excess(_LEAST_P) <= 0:
        return _LEAST_P
    return float(brentq(excess, _LEAST_P, 1.0))


def _judged(by_seed, se_seeds, se_regions, degrees, p, *, p_adjusted: float, n_arms: int, rule: Rule) -> Comparison:
    difference, errors = float(by_seed.mean()), (se_seeds, se_regions, degrees)
    bar = _bar(rule.alpha / n_arms, *errors)
    low, high = difference - bar, difference + bar
    verdict = Verdict.UNDECIDED
    if p_adjusted <= rule.alpha and difference:
        verdict = Verdict.BETTER if (difference < 0) is rule.lower_is_better else Verdict.WORSE
    elif max(-low, high) <= rule.margin:
        verdict = Verdict.EQUAL
    return Comparison(
        difference=difference,
        low=low,
        high=high,
        by_seed=[float(one) for one in by_seed],
        se_seeds=se_seeds,
        se_regions=se_regions,
        p=p,
        p_adjusted=p_adjusted,
        smallest_shown=_smallest_shown(rule.alpha / n_arms, rule.power, *errors),
        verdict=verdict,
    )


def winner(comparisons: Mapping[str, Comparison], *, base: str, margin: float) -> str:
    """The arm that the decision rule picks: of those that are better by the margin or more the best, else the base."""
    better = {
        name: abs(one.difference)
        for name, one in comparisons.items()
        if one.verdict is Verdict.BETTER and abs(one.difference) >= margin
    }
    return max(better, key=better.__getitem__) if better else base

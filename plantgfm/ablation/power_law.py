"""Loss as a floor and powers of sizes: L = E + sum of A_k / x_k^a_k, fitted to a few runs and bootstrapped.

Fitted as Hoffmann et al. 2022 do (arXiv:2203.15556, section 3.3 and appendix D.2, with x parameters and tokens): the
Huber loss, with its bend at 0.001, of the logarithm of the loss, from many starts, of which the best end counts.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int64
from scipy.optimize import least_squares

BEND = 1e-3
_FLOOR = 0.9  # start, of the least loss
_FACTOR = 0.03  # start, of the least loss, at the middle of the sizes
_EXPONENTS = (0.1, 0.4, 1.0)
_FIRST_STEPS, _KEPT, _STEPS = 15, 3, 200
_EXPONENT_RANGE = (0.01, 3.0)
_LEAST_PART = 1e-6  # of the least loss: of the floor and of the factors
_AT_BOUND = 1e-4


@dataclass(frozen=True)
class PowerLaw:
    """A fitted law; factors are those at `centre`, so that they are comparable with the loss."""

    floor: float  # E
    factors: tuple[float, ...]  # what each size adds to the loss where it is at the centre
    exponents: tuple[float, ...]
    centre: tuple[float, ...]  # geometric means of the sizes that it was fitted to
    misfit: float  # the Huber loss reached

    def __call__(self, sizes: Float64[np.ndarray, "n k"]) -> Float64[np.ndarray, "n"]:
        """The loss at other sizes."""
        grown = np.log(np.asarray(sizes, float)) - np.log(self.centre)
        return self.floor + (np.asarray(self.factors) * np.exp(-np.asarray(self.exponents) * grown)).sum(axis=1)

    @cached_property
    def unbounded(self) -> tuple[str, ...]:
        """What the runs do not tell: values that ended at the edge of what was allowed."""
        low, high = _EXPONENT_RANGE
        found = [
            f"exponent {k + 1}" for k, a in enumerate(self.exponents) if min(a / low - 1, 1 - a / high) < _AT_BOUND
        ]
        least = self.floor + sum(self.factors)
        small = _LEAST_PART * least * 2
        found += [f"factor {k + 1}" for k, factor in enumerate(self.factors) if factor < small]
        return tuple(found + (["floor"] if self.floor < small else []))

    @property
    def scale(self) -> tuple[float, ...]:
        """A_k, the factors at a size of one."""
        return tuple(f * c**a for f, c, a in zip(self.factors, self.centre, self.exponents))


def fit_power_law(
    sizes: Float64[np.ndarray, "n k"], loss: Float64[np.ndarray, "n"], *, starts: Sequence[np.ndarray] | None = None
) -> PowerLaw:
    """Fit the law.

    Args:
        sizes: of each run, positive.
        loss: of each run, positive.
        starts: what to begin from, as `start_of` gives it; without it a grid of starts.

    Raises:
        ValueError: where there are fewer different sizes than the law has unknowns.
    """
    sizes, loss = np.asarray(sizes, float), np.asarray(loss, float)
    n_sizes, unknowns = len(np.unique(sizes, axis=0)), 1 + 2 * sizes.shape[1]
    if n_sizes < unknowns:
        raise ValueError(f"{n_sizes} different sizes can't tell {unknowns} unknowns: add sizes or steps to the grid")
    for k in range(sizes.shape[1]):
        if len(np.unique(sizes[:, k])) < 3:
            raise ValueError("each of parameters and tokens needs 3 values or more, else its exponent is not told")
    centre = np.exp(np.log(sizes).mean(axis=0))
    grown, log_loss = np.log(sizes) - np.log(centre), np.log(loss)
    least = float(loss.min())
    low = np.r_[np.log(_LEAST_PART * least), [np.log(_LEAST_PART * least), _EXPONENT_RANGE[0]] * grown.shape[1]]
    high = np.r_[np.log(least), [np.log(10 * loss.max()), _EXPONENT_RANGE[1]] * grown.shape[1]]
    if starts is None:  # a few steps from each, then the best one to its end
        tried = [
            _descend(start, grown, log_loss, (low, high), steps=_FIRST_STEPS) for start in _grid(least, grown.shape[1])
        ]
        starts = [end for _, end in sorted(tried, key=lambda end: end[0])[:_KEPT]]
    ends = [_descend(np.clip(start, low, high), grown, log_loss, (low, high), steps=_STEPS) for start in starts]
    cost, best = min(ends, key=lambda end: end[0])
    factors, exponents = np.exp(best[1::2]), best[2::2]
    return PowerLaw(
        float(np.exp(best[0])), tuple(factors.tolist()), tuple(exponents.tolist()), tuple(centre.tolist()), cost
    )


def start_of(law: PowerLaw) -> np.ndarray:
    """A fitted law as a start for another fit to the same sizes."""
    pairs = zip(np.log(law.factors), law.exponents)
    return np.array([np.log(law.floor), *itertools.chain.from_iterable(pairs)])


def _grid(least: float, n: int) -> list[np.ndarray]:
    return [
        np.array([np.log(_FLOOR * least), *itertools.chain.from_iterable((np.log(_FACTOR * least), a) for a in each)])
        for each in itertools.product(_EXPONENTS, repeat=n)
    ]


def _descend(
    start: np.ndarray, grown: np.ndarray, log_loss: np.ndarray, bounds: tuple, *, steps: int
) -> tuple[float, np.ndarray]:
    def parts(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        powers = np.exp(theta[1::2] - theta[2::2] * grown)
        return powers, np.exp(theta[0]) + powers.sum(axis=1)

    def slopes(theta: np.ndarray) -> np.ndarray:
        powers, total = parts(theta)
        columns = np.stack([powers, -powers * grown], axis=2).reshape(len(grown), -1)
        return np.column_stack([np.full(len(grown), np.exp(theta[0])), columns]) / total[:, None]

    def errors(theta: np.ndarray) -> np.ndarray:
        return np.log(parts(theta)[1]) - log_loss

    huber = {"loss": "huber", "f_scale": BEND, "max_nfev": steps}
    end = least_squares(errors, start, jac=slopes, bounds=bounds, **huber)
    return float(end.cost), end.x


@dataclass(frozen=True, eq=False)
class Noise:
    """What a run may differ by from a fitted law, in logarithms of the loss, scaled for what the fit took up."""

    cells: Float64[np.ndarray, "cells"]  # means of the seeds of a size, minus the law
    seeds: Float64[np.ndarray, "n"]  # runs minus the mean of their cell

    def draw(self, cell: Int64[np.ndarray, "n"], generator: np.random.Generator) -> Float64[np.ndarray, "n"]:
        """What other runs of these cells would differ by; runs of a cell share its part."""
        shared = generator.choice(self.cells, size=int(cell.max()) + 1)
        return shared[cell] + generator.choice(self.seeds, size=cell.size)


def noise_of(law: PowerLaw, sizes: np.ndarray, log_loss: np.ndarray, cell: Int64[np.ndarray, "n"]) -> Noise:
    """The residuals of a fit, of cells (sizes) and of the seeds within them (Davison & Hinkley 1997, section 6.3).

    Raises:
        ValueError: where no cell has two seeds, or there are no more cells than unknowns.
    """
    count = np.bincount(cell)
    mean = np.bincount(cell, weights=log_loss) / count
    unknowns, several = 1 + 2 * sizes.shape[1], count[cell] > 1
    if not several.any() or count.size <= unknowns:
        raise ValueError(
            f"{count.size} cells of at most {count.max()} seeds: chance is told from more than {unknowns} cells, and "
            "from two seeds"
        )
    at = np.bincount(cell, weights=np.log(law(sizes))) / count
    cells = (mean - at) * np.sqrt(count.size / (count.size - unknowns))
    within = (log_loss - mean[cell])[several] * np.sqrt(count[cell] / np.maximum(count[cell] - 1, 1))[several]
    return Noise(cells, within)

"""Stored metrics of a grid to laws of the loss, their check on sizes held out, and what they say of larger models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from plantgfm.ablation.config import Grid
from plantgfm.ablation.grid import Target
from plantgfm.ablation.measure import scores_of
from plantgfm.ablation.power_law import Noise, PowerLaw, fit_power_law, noise_of, start_of
from plantgfm.ablation.statistics import Scores
from plantgfm.evaluation.bootstrap import draw_regions

_LEAST_FRONTIER = 4  # cells, for a law of three unknowns and a residual
_REPEATED = 4.0  # passes that count nearly as new data: Muennighoff et al. 2023, arXiv:2305.16264


@dataclass(frozen=True, eq=False)
class Points:
    """The runs of a grid; n runs, R held-out regions."""

    size: list[str]
    parameters: Float64[np.ndarray, "n"]
    tokens: Float64[np.ndarray, "n"]  # input tokens of all steps
    flops: Float64[np.ndarray, "n"]  # of training, all steps
    scores: Scores  # a row a run
    stratum: Int64[np.ndarray, "R"]  # species of each region
    cell: Int64[np.ndarray, "n"]  # number of size and steps, from 0
    flops_per_second: float  # measured: median of the runs of the largest size

    @property
    def loss(self) -> Float64[np.ndarray, "n"]:
        """Of each run, over all regions."""
        return self.scores.by_seed

    def of(self, chosen: Bool[np.ndarray, "n"]) -> Points:
        """Some of the runs; cells are numbered anew."""
        scores = Scores(self.scores.numerator[chosen], self.scores.denominator[chosen])
        arrays = (self.parameters[chosen], self.tokens[chosen], self.flops[chosen])
        cell = np.unique(self.cell[chosen], return_inverse=True)[1]
        names = [name for name, is_in in zip(self.size, chosen) if is_in]
        return Points(names, *arrays, scores, self.stratum, cell, self.flops_per_second)

    def means(self) -> Points:
        """A row a cell: the mean loss of its seeds, all regions taken as one."""
        first = np.unique(self.cell, return_index=True)[1]
        loss = np.bincount(self.cell, weights=self.loss) / np.bincount(self.cell)
        scores = Scores(loss[:, None], np.ones((loss.size, 1)))
        arrays = (self.parameters[first], self.tokens[first], self.flops[first])
        names = [self.size[row] for row in first]
        return Points(names, *arrays, scores, self.stratum[:1], np.arange(loss.size), self.flops_per_second)


def points_of(grid: Grid, runs: Sequence[dict[str, Any]]) -> tuple[Points, list[str]]:
    """The runs of a grid, and what is told of those that diverged and are left out.

    Raises:
        ValueError: naming what is missing, and for metrics of older code.
    """
    found = {(run["arm"], run["steps"], run["seed"]): run for run in runs}
    wanted = [(size, steps, seed) for size in grid.sizes for steps in sorted(grid.steps) for seed in grid.seeds]
    if missing := [
        f"{size}, {steps} steps, seed {seed}" for size, steps, seed in wanted if (size, steps, seed) not in found
    ]:
        raise ValueError(f"{len(missing)} of {len(wanted)} runs are missing, {'; '.join(missing[:3])}: run it on")
    lost = [f"{key[0]}, {key[1]} steps, seed {key[2]} diverged" for key in wanted if "diverged" in found[key]]
    mine = [found[key] for key in wanted if "diverged" not in found[key]]
    if older := [run for run in mine if not {"parameters", "flops_per_step"} <= run.keys()]:
        raise ValueError(
            f"the metrics of {older[0]['arm']} lack parameters and FLOPs: delete them, they are measured again"
        )
    if not mine:
        raise ValueError("all runs of the grid diverged: there is nothing to fit")
    windows = mine[0]["windows"]
    first = np.unique(windows["region"], return_index=True)[1]
    keys = [(run["arm"], run["steps"]) for run in mine]
    order = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    largest = max(run["parameters"] for run in mine)
    rates = [
        run["flops_per_step"] * run["steps"] * run["tokens_per_second"] / run["slots"]
        for run in mine
        if run["parameters"] == largest and run["tokens_per_second"]
    ]
    points = Points(
        size=[run["arm"] for run in mine],
        parameters=np.array([run["parameters"] for run in mine], float),
        tokens=np.array([run["slots"] for run in mine], float),
        flops=np.array([run["flops_per_step"] * run["steps"] for run in mine], float),
        scores=scores_of([run["windows"] for run in mine], grid.metric),
        stratum=np.asarray(windows["species"])[first],
        cell=np.array([order[key] for key in keys]),
        flops_per_second=float(np.median(rates)) if rates else float("nan"),
    )
    return points, lost


@dataclass(frozen=True, eq=False)
class Fit:
    """A law and what it would have been with other regions and seeds."""

    law: PowerLaw
    resampled: list[PowerLaw]
    noise: Noise

    def interval(self, sizes: Float64[np.ndarray, "m k"], *, alpha: float) -> Float64[np.ndarray, "2 m"]:
        """Bounds of the law at sizes."""
        return np.quantile(np.stack([law(sizes) for law in self.resampled]), [alpha / 2, 1 - alpha / 2], axis=0)


@dataclass(frozen=True, eq=False)
class Chance:
    """Other held-out regions: K draws, the same for all that is fitted and checked."""

    weights: Float64[np.ndarray, "K R"]

    def shifts(self, points: Points) -> Float64[np.ndarray, "K n"]:
        """What each draw of regions changes the logarithm of each run's loss by."""
        drawn = (self.weights @ points.scores.numerator.T) / (self.weights @ points.scores.denominator.T)
        return np.log(drawn) - np.log(points.loss)


def chance_of(points: Points, *, resamples: int) -> Chance:
    """Draws of regions within their species."""
    return Chance(draw_regions(points.stratum, resamples=resamples))


def fit(points: Points, sizes: Float64[np.ndarray, "n k"], chance: Chance) -> Fit:
    """Fit a law, and again for each draw of regions and of what runs differ by.

    Raises:
        ValueError: where the runs are too few.
    """
    log_loss = np.log(points.loss)
    law = fit_power_law(sizes, points.loss)
    noise = noise_of(law, sizes, log_loss, points.cell)
    generator, base = np.random.default_rng(1), np.log(law(sizes))
    start = [start_of(law)]
    resampled = [
        fit_power_law(sizes, np.exp(base + shift + noise.draw(points.cell, generator)), starts=start)
        for shift in chance.shifts(points)
    ]
    return Fit(law, resampled, noise)


def both(points: Points) -> Float64[np.ndarray, "n 2"]:
    """Parameters and tokens."""
    return np.column_stack([points.parameters, points.tokens])


@dataclass(frozen=True)
class Checked:
    """One size and number of steps that the checked fit did not see."""

    size: str
    parameters: float
    tokens: float
    predicted: float
    low: float  # the interval of what would be measured, for all that is held out together
    high: float
    measured: float
    nearest: float  # what the largest size of the fit had measured at these tokens: the trivial prediction

    @property
    def passed(self) -> bool:
        """Whether the measured loss lies in the interval."""
        return self.low <= self.measured <= self.high


def check(fitted: Fit, seen: Points, held: Points, chance: Chance, *, alpha: float) -> list[Checked]:
    """Predicted against measured, for each held-out size and number of steps.

    The regions are the same as those of the fit, so that a draw of regions moves both; seeds and misfit move each.
    """
    cells, n_cells = held.means(), int(held.cell.max()) + 1
    generator = np.random.default_rng(2)
    count = np.bincount(held.cell)
    off = np.empty((len(fitted.resampled), n_cells))
    truth = np.log(fitted.law(both(held)))
    for row, (law, shift) in enumerate(zip(fitted.resampled, chance.shifts(held))):
        again = np.exp(truth + shift + fitted.noise.draw(held.cell, generator))
        off[row] = law(both(cells)) - np.bincount(held.cell, weights=again) / count
    low, high = np.quantile(off, [alpha / (2 * n_cells), 1 - alpha / (2 * n_cells)], axis=0)
    known = seen.means()
    found = []
    for row, predicted in enumerate(fitted.law(both(cells)).tolist()):
        same = known.tokens == cells.tokens[row]
        nearest = known.loss[same][np.argmax(known.parameters[same])] if same.any() else float("nan")
        where = (cells.size[row], float(cells.parameters[row]), float(cells.tokens[row]))
        bounds = (predicted - float(high[row]), predicted - float(low[row]))
        found.append(Checked(*where, predicted, *bounds, float(cells.loss[row]), float(nearest)))
    return found


def frontier(points: Points) -> Bool[np.ndarray, "n"]:
    """Runs of the cells that no cell of less or the same compute beats."""
    cells = points.means()
    beaten = (cells.flops[None] <= cells.flops[:, None]) & (cells.loss[None] < cells.loss[:, None])
    return ~beaten.any(axis=1)[points.cell]


def fit_compute(points: Points, chance: Chance) -> Fit | None:
    """The law of compute alone over the frontier; None where that has too few cells."""
    best = points.of(frontier(points))
    if best.means().loss.size < _LEAST_FRONTIER:
        return None
    return fit(best, best.flops[:, None], chance)


@dataclass(frozen=True)
class Predicted:
    """Cost and loss of a target, and how far it lies beyond the grid, in orders of magnitude (0: within)."""

    target: Target
    tokens: float
    flops: float
    hours: float
    loss: float
    low: float
    high: float
    beyond: dict[str, float]  # by "parameters", "tokens", "compute"
    unsupported: dict[str, float]  # of these: by how much more than the check went beyond its fit


def predict(
    target: Target,
    fitted: Fit,
    points: Points,
    *,
    tokens: float,
    flops_per_second: float,
    reach: dict[str, float],
    alpha: float,
) -> Predicted:
    """What a target would cost and lose.

    Args:
        target: its size.
        fitted: the law of all runs.
        points: those runs.
        tokens: that it is trained on.
        flops_per_second: of the machine.
        reach: how far beyond its fit the check went and passed, in orders of magnitude.
        alpha: of the interval.
    """
    flops = target.flops_per_token * tokens
    size = np.array([[target.parameters, tokens]], float)
    low, high = fitted.interval(size, alpha=alpha)[:, 0]
    beyond = orders_beyond({"parameters": target.parameters, "tokens": tokens, "compute": flops}, points)
    more = {name: orders - reach[name] for name, orders in beyond.items() if orders > reach[name]}
    hours = flops / flops_per_second / 3600
    return Predicted(target, tokens, flops, hours, float(fitted.law(size)[0]), float(low), float(high), beyond, more)


def orders_beyond(sizes: dict[str, float], points: Points) -> dict[str, float]:
    """Orders of magnitude that sizes lie above the largest run, or below the smallest; 0 within."""
    ranges = {"parameters": points.parameters, "tokens": points.tokens, "compute": points.flops}
    return {
        name: float(max(0.0, np.log10(value / ranges[name].max()), np.log10(ranges[name].min() / value)))
        for name, value in sizes.items()
    }


def checked_reach(checks: Sequence[Checked], seen: Points, held: Points) -> dict[str, float]:
    """Orders of magnitude that a passed check went beyond the sizes of its fit; 0 where one failed."""
    if not all(one.passed for one in checks):
        return dict.fromkeys(("parameters", "tokens", "compute"), 0.0)
    largest = {"parameters": held.parameters.max(), "tokens": held.tokens.max(), "compute": held.flops.max()}
    return orders_beyond(largest, seen)


def repeats(tokens: float, *, corpus_tokens: float) -> str:
    """What is to be said of passes over a corpus, "" where nothing is."""
    passes = tokens / corpus_tokens
    if passes <= _REPEATED:
        return ""
    return f"{passes:.1f} passes over the corpus: repeats beyond {_REPEATED:.0f} are worth less than the law says"

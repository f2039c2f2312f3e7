"""Questions with planted effects, drawn as sweeps scatter, and how often the program decides them rightly.

The whole decision is asked: sums of windows in, seeds and regions compared, Holm's correction, verdicts, the winner.

    python -m plantgfm.ablation.decisions

Three seeds, 5 % over all arms, margin 0.002, 500 sweeps a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from plantgfm.ablation.config import Definition, View
from plantgfm.ablation.report import Answer, answer_view
from plantgfm.ablation.statistics import Verdict
from plantgfm.report.table import Table

_DRAWS = 500
_RESAMPLES = 400  # of regions, in each decision
_PLANTED = 0.005  # bits per base
TOLD_APART = (Verdict.BETTER, Verdict.WORSE)


@dataclass(frozen=True)
class Scatter:
    """What makes runs differ, in bits per base; the values are those of `masking` on real genomes (3 arms, 3 seeds).

    There the standard deviation of the mean difference of two arms within a species was 0.0034 to 0.0042, of which
    seeds on single regions make 0.0039.
    """

    regions: tuple[int, ...] = (4, 4, 46, 22, 4, 11, 2, 41, 4, 1)  # held-out regions of each species
    bases: float = 885.0  # hidden bases of a region: mean
    bases_sd: float = 482.0
    species_sd: float = 0.027  # of the level of a species, the same for all arms
    region_sd: float = 0.041  # of a region within its species, likewise
    seed_sd: float = 0.0005  # of a run
    arm_region_sd: float = 0.0015  # of an arm on a region, the same for all its seeds
    cell_sd: float = 0.0048  # of a run on a region


_WILD = Scatter(seed_sd=0.002)  # seeds make nearly all of the chance


def draw_runs(
    definition: Definition, effects: Sequence[float], scatter: Scatter, generator: np.random.Generator
) -> list[dict[str, Any]]:
    """Metrics of every arm and seed, as far as the decision reads them.

    Args:
        definition: whose arms and seeds to draw.
        effects: of each arm, in order, in bits per base.
        scatter: what chance does.
        generator: of the draws.
    """
    species = np.repeat(np.arange(len(scatter.regions)), scatter.regions)
    n = species.size
    shape = (scatter.bases / scatter.bases_sd) ** 2
    bases = np.maximum(generator.gamma(shape, scatter.bases / shape, n), 30.0)
    level = 1.9 + scatter.species_sd * generator.standard_normal(len(scatter.regions))[species]
    level += scatter.region_sd * generator.standard_normal(n)
    runs = []
    for arm, effect in zip(definition.arms, effects):
        mine = level + effect + scatter.arm_region_sd * generator.standard_normal(n)
        for seed in definition.seeds:
            chance = scatter.seed_sd * generator.standard_normal() + scatter.cell_sd * generator.standard_normal(n)
            windows = {"region": np.arange(n), "species": species, "bits": (mine + chance) * bases, "bases": bases}
            about = {"arm": arm, "seed": seed, "steps": 1, "seen_bp": 1, "views": [View.BASES.value]}
            runs.append(about | {"windows": windows})
    return runs


def decide(
    effects: Sequence[float],
    *,
    draws: int,
    seeds: int = 3,
    scatter: Scatter | None = None,
    seed: int = 0,
    **settings: Any,
) -> list[Answer]:
    """Answers to as many questions with these effects; the first arm is the base.

    Args:
        effects: of each arm, the base's among them.
        draws: how many sweeps.
        seeds: of each arm in a sweep.
        scatter: what chance does; by default as measured.
        seed: of the draws.
        settings: of `Definition`, such as margin and alpha.
    """
    arms = [f"arm{number}" for number in range(len(effects))]
    definition = Definition(question="planted", base=arms[0], arms=arms, seeds=list(range(seeds)), **settings)
    generator = np.random.default_rng(seed)
    return [
        answer_view(definition, draw_runs(definition, effects, scatter or Scatter(), generator), View.BASES)
        for _ in range(draws)
    ]


def share_of_false_findings(answers: Sequence[Answer], same: Sequence[str]) -> float:
    """The share of questions in which any of the arms that are the same as the base was told apart from it."""
    wrong = [any(answer.comparisons[arm].verdict in TOLD_APART for arm in same) for answer in answers]
    return float(np.mean(wrong))


def run(draws: int = _DRAWS) -> list[dict[str, Any]]:
    """How often the program decides rightly: rows of name, value, unit, bar."""
    how = {"draws": draws, "resamples": _RESAMPLES}
    same = decide([0.0] * 4, **how)
    wild = decide([0.0] * 4, **how, scatter=_WILD, seed=1)
    planted = decide([0.0, _PLANTED, -_PLANTED, 0.0], **how, seed=2)
    said = float(np.sqrt(np.mean([sweep.comparisons["arm1"].smallest_shown ** 2 for sweep in same])))
    shown = decide([0.0, said, 0.0, 0.0], **how, seed=3)
    others, truth = ["arm1", "arm2", "arm3"], {"arm1": _PLANTED, "arm2": -_PLANTED, "arm3": 0.0}
    held = [all(one.low <= truth[arm] <= one.high for arm, one in sweep.comparisons.items()) for sweep in planted]
    shares = [
        ("any of 3 same arms told apart", share_of_false_findings(same, others), 5.0),
        ("likewise, seeds 4 times as wild", share_of_false_findings(wild, others), 5.0),
        ("a same arm beside two planted ones told apart", share_of_false_findings(planted, ["arm3"]), 5.0),
        ("another winner than the base among same arms", np.mean([sweep.winner != "arm0" for sweep in same]), 5.0),
        (f"an arm worse by {_PLANTED} found worse", _worse(planted), None),
        (f"an arm better by {_PLANTED} wins", np.mean([sweep.winner == "arm2" for sweep in planted]), None),
        (f"an arm worse by what is said to be shown ({said:.4f}) found worse", _worse(shown), 80.0),
        ("intervals of all arms hold the truth", np.mean(held), 95.0),
    ]
    return [
        {"name": name, "value": 100 * float(share), "unit": "% of sweeps", "bar": bar} for name, share, bar in shares
    ]


def rates_table(rows: Sequence[dict[str, Any]]) -> Table:
    """The rows of `run`, for a terminal."""
    columns = ("name", "value", "unit", "bar")
    cells = [tuple(row[column] for column in columns) for row in rows]
    return Table("Decisions", columns, cells, formats={"value": ".1f", "bar": ".1f"})


def _worse(sweeps: Sequence[Answer]) -> float:
    return float(np.mean([sweep.comparisons["arm1"].verdict is Verdict.WORSE for sweep in sweeps]))


if __name__ == "__main__":
    print(rates_table(run()).to_text())

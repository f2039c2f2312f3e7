"""A grid of sizes, steps and seeds: composed as an experiment is, run by the same sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from plantgfm.ablation.config import Grid, View
from plantgfm.ablation.definition import CONFIGS, Experiment, compose_experiment, compose_settings, read_stated
from plantgfm.ablation.jobs import Job, job_config
from plantgfm.config import Config
from plantgfm.model.build import build
from plantgfm.model.flops import count_parameters
from plantgfm.tokenization.features import N_FEATURES
from plantgfm.wiring.training import work_of

GRID_FILE = "grid.yaml"


@dataclass(frozen=True)
class OpenGrid:
    """A grid whose sizes are composed and checked."""

    grid: Grid
    experiment: Experiment  # its arms are the sizes


def open_grid(folder: Path, overrides: Sequence[str] = ()) -> OpenGrid:
    """Read a grid and compose its sizes.

    Raises:
        ValueError: for a wrong grid, or a size that differs from the others in more than its file says.
    """
    path = folder / GRID_FILE
    if not path.is_file():
        raise ValueError(f"{folder} is no grid of sizes ({GRID_FILE} is missing)")
    grid = read_stated(path, Grid)
    return OpenGrid(grid, compose_experiment(folder, grid.definition, overrides, stated_in=GRID_FILE))


def grid_jobs(opened: OpenGrid, folder: Path) -> list[Job]:
    """Every size with every number of steps and seed; the cheapest first, so that what is wrong shows early.

    A composition that sets `run.steps` otherwise is not read: the grid gives them.
    """
    return [
        Job(size, seed, job_config(opened.experiment.arms[size], folder, seed, steps), (View.BASES,), float("nan"))
        for seed in opened.grid.seeds
        for steps in sorted(opened.grid.steps)
        for size in opened.grid.sizes
    ]


@dataclass(frozen=True)
class Target:
    """A named size as it would be trained on the corpus of a grid."""

    name: str
    parameters: int
    flops_per_token: float  # of training, by input token


def target_of(opened: OpenGrid, name: str, *, vocabulary_size: int, n_species: int) -> Target:
    """Parameters and arithmetic of `configs/model/NAME.yaml`, with the windows of the grid; nothing is allocated.

    Raises:
        ValueError: for a name that is no size.
    """
    if not (CONFIGS / "model" / f"{name}.yaml").is_file():
        known = ", ".join(sorted(path.stem for path in (CONFIGS / "model").glob("*.yaml")))
        raise ValueError(f"target {name!r} is no size of configs/model, there are {known}")
    (config,) = compose_settings([*opened.experiment.overrides, f"model={name}"])
    return Target(name, *_count(config, vocabulary_size=vocabulary_size, n_species=n_species))


def _count(config: Config, *, vocabulary_size: int, n_species: int) -> tuple[int, float]:
    model = replace(config.model, profiles=config.model.profiles or n_species)
    features = np.zeros((vocabulary_size, N_FEATURES), np.float32) if model.kmer_features else None
    # Layers from the second on are alike: two shallow networks are shaped in no time, 28 layers take seconds.
    shallow = [build(replace(model, n_layers=n), vocabulary_size, features=features) for n in (1, 2)]
    one, two = (count_parameters(network.shapes) for network in shallow)
    work = work_of(replace(config, model=model), replace(shallow[0], config=model))
    return one + (model.n_layers - 1) * (two - one), work.flops / work.tokens

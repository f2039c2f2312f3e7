"""The plan: which species, windows and strands a step sees, as arithmetic on its number."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from jaxtyping import Int64

from plantgfm.corpus.read import Corpus
from plantgfm.sampling import place
from plantgfm.sampling.config import SamplerConfig
from plantgfm.sampling.grid import Grid, build_grid, pair_law, unknown_index
from plantgfm.sampling.schedule import Schedule, build_schedule, species_weights
from plantgfm.schema import WindowPairs


@dataclass(frozen=True, eq=False)
class Plan:
    """Data order of a run: `step(n)` is a pure function of the corpus, the settings and n.

    What was computed for a block or an epoch is remembered, which changes no answer. Build it with `build_plan`.
    """

    config: SamplerConfig
    species: Int64[np.ndarray, "planned"]  # species of the corpus that are planned: index into Corpus.species
    grid: Grid
    schedule: Schedule  # over the planned species
    unknown: tuple[np.ndarray, np.ndarray]  # runs of unknown bases and their sums
    _block: object = field(init=False, repr=False)
    _order: object = field(init=False, repr=False)

    def __post_init__(self):
        # Bounded: two blocks, and a few epochs a species; frozen dataclasses are filled in through `object`.
        object.__setattr__(self, "_block", lru_cache(maxsize=2)(self.schedule.block))
        object.__setattr__(self, "_order", lru_cache(maxsize=4 * self.species.size)(self._epoch_order))

    def step(self, number: int) -> WindowPairs:
        """The window pairs of a step, B rows; the first `min_species` rows are of distinct species.

        Raises:
            ValueError: for a negative step.
        """
        if number < 0:
            raise ValueError(f"step {number} does not exist: steps start at 0")
        block, row = divmod(number, self.schedule.steps)
        species, ordinal = (table[row] for table in self._block(block))
        uses = block * self.schedule.uses[species] + ordinal
        species = self.species[species]
        epochs, places = np.divmod(uses, self.grid.kept[species])
        cells = np.array(
            [self._order(s, e)[p] for s, e, p in zip(species.tolist(), epochs.tolist(), places.tolist())],
            dtype=np.int64,
        )
        return self._pairs(species, cells, epochs)

    def at(self, number: int) -> tuple[Plan, int]:
        """The plan of one length that a step belongs to, and the number of the step there."""
        return self, number

    def species_per_step(self, number: int) -> int:
        """Distinct species of a step."""
        return int(np.unique(self.step(number).species).size)

    def _epoch_order(self, species: int, epoch: int) -> np.ndarray:
        return self.grid.epoch_order(species, epoch, seed=self.config.seed)

    def _pairs(self, species: np.ndarray, cells: np.ndarray, epochs: np.ndarray) -> WindowPairs:
        grid, law = self.grid, pair_law(self.config)
        out = np.empty((cells.size, 3), dtype=np.int64)
        place.place_pairs(
            cells,
            epochs,
            grid.first,
            grid.region,
            grid.proven,
            grid.jitter_bp,
            grid.mirrored,
            grid.region_start,
            grid.region_end,
            law,
            *self.unknown,
            self.config.seed,
            out,
        )
        start, following, reverse = out[:, 0].copy(), out[:, 1].copy(), out[:, 2].astype(bool)
        if not self.config.both_strands:  # the same two windows, the left one first
            start, following = np.minimum(start, following), np.maximum(start, following)
            reverse[:] = False
        return WindowPairs(
            region=grid.region[cells],
            species=species.astype(np.int32),
            start=start,
            next_start=following,
            reverse=reverse,
            distance_bp=(np.abs(following - start) - law[0]).astype(np.int32),
        )


def build_plan(corpus: Corpus, config: SamplerConfig) -> Plan:
    """Plan a corpus: every step will hold at least `config.min_species` species.

    Raises:
        ValueError: when fewer species than that have a training window.
    """
    grid = build_grid(corpus, config)
    cells = np.diff(grid.bounds)
    species = np.flatnonzero(cells)
    if species.size < config.min_species:
        _refuse(corpus, species, config)
    weights = species_weights(cells[species] * config.window_bp, config.temperature)
    schedule = build_schedule(
        weights,
        batch_windows=config.batch_windows,
        min_species=config.min_species,
        seed=config.seed,
        windows_per_species=config.windows_per_species,
    )
    plan = Plan(config, species, grid, schedule, unknown_index(corpus))
    _check_species(plan)
    return plan


@dataclass(frozen=True, eq=False)
class StagedPlan:
    """Plans of different window lengths, one after the other; each begins at its own step 0."""

    stages: tuple[tuple[int, Plan], ...]  # (first step, plan), the first from step 0

    def at(self, number: int) -> tuple[Plan, int]:
        """The plan that a step belongs to, and the number of the step there."""
        first, plan = max((stage for stage in self.stages if stage[0] <= max(number, 0)), key=lambda stage: stage[0])
        return plan, number - first

    def step(self, number: int) -> WindowPairs:
        """The window pairs of a step, as `Plan.step` gives them."""
        plan, own = self.at(number)
        return plan.step(own)


def shard(pairs: WindowPairs, host: int, hosts: int) -> WindowPairs:
    """A host's share of a step: its equal run of rows, in their order.

    Raises:
        ValueError: when the rows do not divide among the hosts.
    """
    if not 0 <= host < hosts or len(pairs) % hosts:
        raise ValueError(
            f"host {host} of {hosts} can't have an equal share of {len(pairs)} windows: set sampler.batch_windows to a "
            "multiple of the number of hosts"
        )
    each = len(pairs) // hosts
    rows = slice(host * each, (host + 1) * each)
    return WindowPairs(**{item.name: getattr(pairs, item.name)[rows] for item in dataclasses.fields(WindowPairs)})


def _refuse(corpus: Corpus, species: np.ndarray, config: SamplerConfig) -> None:
    width, nearest, _, _ = pair_law(config)
    without = sorted(set(corpus.species) - {corpus.species[index] for index in species})
    known = f" (none in {', '.join(without)})" if without else ""
    raise ValueError(
        f"{species.size} species have a training window{known}, but every step must hold "
        f"sampler.min_species={config.min_species}: lower sampler.min_species, or add species; a pair needs a region "
        f"of {2 * width + nearest} bp, which a smaller sampler.window_tokens makes shorter"
    )


def _check_species(plan: Plan) -> None:
    """Count the species of every step of one block: all blocks are laid out alike."""
    species, _ = plan.schedule.block(0)
    ordered = np.sort(species, axis=1)
    fewest = int((1 + (np.diff(ordered, axis=1) != 0).sum(axis=1)).min())
    if fewest < plan.config.min_species:
        raise ValueError(
            f"a step holds {fewest} species, below sampler.min_species={plan.config.min_species}: raise "
            "sampler.temperature or sampler.batch_windows"
        )

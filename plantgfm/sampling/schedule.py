"""Which species fill the slots of a step: exact shares in every block of steps, `min_species` or more in each step.

A block is a fixed number of steps in which each species has a fixed number of slots, so the uses of a species before
any step are a product and a short count within one block: to resume is arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32, Int64

from plantgfm.sampling.keys import STREAM_BLOCK, permutation

_MIN_BLOCK_STEPS = 256
_MAX_BLOCK_STEPS = 1 << 16
_RAREST_USES = 8  # slots a block that the rarest species should have, so that rounding is small


@dataclass(frozen=True)
class Schedule:
    """How many slots each species has in a block of steps."""

    steps: int  # in a block
    distinct: Int64[np.ndarray, "S"]  # slots a block among the first min_species of a step: no species twice in a step
    further: Int64[np.ndarray, "S"]  # slots a block among the rest of a step
    seed: int
    windows: int = 1  # in a slot, all of its species

    @property
    def uses(self) -> Int64[np.ndarray, "S"]:
        """Windows of each species in every block."""
        return self.windows * (self.distinct + self.further)

    def block(self, index: int) -> tuple[Int32[np.ndarray, "steps B"], Int64[np.ndarray, "steps B"]]:
        """Species of every window of a block, and how often the block used that species before the window.

        The first slots are laid out by wrap-around (McNaughton 1959): species in a drawn order, each in a run no longer
        than the block, so that no step meets one twice. The further slots are shuffled. A slot's windows lie
        B / windows apart, so that the first of all slots come first.
        """
        order, first, rest = (
            permutation(size, seed=self.seed, stream=STREAM_BLOCK, counter=3 * index + which)
            for which, size in enumerate((self.distinct.size, self.steps, int(self.further.sum())))
        )
        wrapped = np.repeat(order, self.distinct[order]).reshape(-1, self.steps)[:, first].T
        shuffled = np.repeat(np.arange(self.further.size), self.further)[rest].reshape(self.steps, -1)
        species = np.tile(np.concatenate((wrapped, shuffled), axis=1).astype(np.int32), (1, self.windows))
        return species, _ordinals(species.reshape(-1)).reshape(species.shape)


def species_weights(sizes_bp: Int64[np.ndarray, "S"], temperature: float) -> Float64[np.ndarray, "S"]:
    """Shares of species, in proportion to size^(1 / temperature); they sum to 1."""
    weights = np.power(sizes_bp / sizes_bp.max(), 1.0 / temperature)
    return weights / weights.sum()


def build_schedule(
    weights: Float64[np.ndarray, "S"], *, batch_windows: int, min_species: int, seed: int, windows_per_species: int = 1
) -> Schedule:
    """Slots a block, so that every step has `min_species` species and shares follow the weights.

    A step of B windows has B / windows_per_species slots: as many as `min_species`, and it has exactly so many species.
    Where the weights are so uneven that this many distinct species can't follow them, the small ones get more: a
    species has at most one of the first `min_species` slots of a step, the excess goes to the others by weight.
    """
    share = _inclusion(weights, min_species)
    slots = batch_windows // windows_per_species
    missing = np.maximum(slots * weights - share, 0.0)
    rest = slots - min_species
    further = rest * missing / missing.sum() if rest and missing.sum() > 0 else np.zeros_like(weights)
    rarest = float((share + further).min())
    steps = int(np.clip(2 ** np.ceil(np.log2(_RAREST_USES / rarest)), _MIN_BLOCK_STEPS, _MAX_BLOCK_STEPS))
    return Schedule(
        steps=steps,
        distinct=_round_to(share * steps, min_species * steps, most=steps, least=1),
        further=_round_to(further * steps, rest * steps, most=rest * steps, least=0),
        seed=seed,
        windows=windows_per_species,
    )


def _inclusion(weights: np.ndarray, count: int) -> np.ndarray:
    """Chances min(1, c x weight) that sum to `count`."""
    share = np.zeros_like(weights)
    open_ = np.ones(weights.size, dtype=bool)
    while open_.any():
        left = count - (~open_).sum()
        share[open_] = left * weights[open_] / weights[open_].sum()
        full = open_ & (share >= 1)
        if not full.any():
            break
        share[full], open_ = 1.0, open_ & ~full
    return np.minimum(share, 1.0)


def _round_to(values: np.ndarray, total: int, *, most: int, least: int) -> np.ndarray:
    """Whole numbers near the values, between `least` and `most`, that sum to `total`; ties go to the lower index."""
    rounded = np.clip(np.floor(values), least, most).astype(np.int64)
    while (excess := total - int(rounded.sum())) != 0:
        gain = (values - rounded) * np.sign(excess)
        room = rounded < most if excess > 0 else rounded > least
        rows = np.argsort(np.where(room, -gain, np.inf), kind="stable")[: min(abs(excess), int(room.sum()))]
        rounded[rows] += np.sign(excess)
    return rounded


def _ordinals(values: np.ndarray) -> np.ndarray:
    """How often each value stood before its place."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    firsts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    before = np.arange(values.size) - np.repeat(firsts, np.diff(np.append(firsts, values.size)))
    out = np.empty(values.size, dtype=np.int64)
    out[order] = before
    return out

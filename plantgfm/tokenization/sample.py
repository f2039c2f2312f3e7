"""The sample that a vocabulary is chosen from: windows stratified by species and by repeat density."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer, UInt8

from plantgfm.sequence import BASE_MASK, REPEAT_BIT, UNKNOWN
from plantgfm.tokenization.config import VocabularyConfig

MAX_UNKNOWN_FRACTION = 0.1  # windows with more are never planned for training either
HELD_BACK_EVERY = 4  # one window in four is kept from the choice, for the report


@dataclass(frozen=True)
class Stratum:
    """Windows of one species and one quantile bin of repeat density; bases with their repeat bit."""

    species: str
    repeat_bin: int  # 0 is the poorest in repeats
    repeat_range: tuple[float, float]  # smallest and largest repeat fraction of its windows
    chosen_from: UInt8[np.ndarray, "N window_bp"]
    held_back: UInt8[np.ndarray, "M window_bp"]

    @property
    def name(self) -> str:
        """Species, bin and range of repeat fractions, for tables."""
        low, high = self.repeat_range
        return f"{self.species}, bin {self.repeat_bin + 1} (repeats {low:.0%} to {high:.0%})"


def sample_strata(
    bases: UInt8[np.ndarray, "P"],
    *,
    offsets: Integer[np.ndarray, "R"],
    lengths: Integer[np.ndarray, "R"],
    species: Integer[np.ndarray, "R"],
    species_names: Sequence[str],
    config: VocabularyConfig,
) -> list[Stratum]:
    """Draw windows evenly over species and cut each species' windows into quantile bins of repeat density.

    Only the given regions are read, so give those of the training split. Every species gets the same share of
    `config.sample_bp` (or all it has); one window in four is held back from the choice. What a species gives depends
    on its name and the seed, not on which others stand beside it, apart from the size of its share.

    Args:
        bases: the corpus, codes with their repeat bit; may be memory-mapped.
        offsets: first base of each region.
        lengths: of each region, bp.
        species: index of each region's species in `species_names`.
        species_names: normalised binomials.
        config: sizes and seed.

    Raises:
        ValueError: when no region holds a window.
    """
    present = [index for index in range(len(species_names)) if np.any(species == index)]
    wanted = max(config.repeat_strata, config.sample_bp // (config.window_bp * max(1, len(present))))
    strata: list[Stratum] = []
    for index in present:
        mine = species == index
        starts = _draw_starts(offsets[mine], lengths[mine], wanted, config, species_names[index])
        windows = np.asarray(bases)[starts[:, None] + np.arange(config.window_bp)[None, :]]
        unknown = ((windows & BASE_MASK) == UNKNOWN).mean(axis=1)
        strata.extend(_bins(windows[unknown <= MAX_UNKNOWN_FRACTION], species_names[index], config.repeat_strata))
    if not strata:
        raise ValueError(
            f"no training region holds a window of {config.window_bp} known bases: lower tokenizer.window_bp, or check "
            "that the corpus has training regions"
        )
    return strata


def repeat_fractions(windows: UInt8[np.ndarray, "N window_bp"]) -> Float64[np.ndarray, "N"]:
    """Share of each window's bases that carry the repeat bit."""
    return ((windows & REPEAT_BIT) != 0).mean(axis=1, dtype=np.float64)


def held_back_rows(n: int) -> Bool[np.ndarray, "N"]:
    """Which of n windows, in order of repeat density, are kept from the choice."""
    return np.arange(n) % HELD_BACK_EVERY == HELD_BACK_EVERY - 1


def _draw_starts(
    offsets: Integer[np.ndarray, "R"],
    lengths: Integer[np.ndarray, "R"],
    wanted: int,
    config: VocabularyConfig,
    name: str,
) -> Int64[np.ndarray, "N"]:
    """Starts of windows drawn without replacement from the non-overlapping tiling of the regions, ascending."""
    counts = lengths.astype(np.int64) // config.window_bp
    ends = np.cumsum(counts)
    total = int(ends[-1])
    digest = hashlib.sha256(f"vocabulary|{config.seed}|{name}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    picks = np.sort(rng.choice(total, size=min(wanted, total), replace=False))
    region = np.searchsorted(ends, picks, side="right")
    return offsets.astype(np.int64)[region] + (picks - (ends - counts)[region]) * config.window_bp


def _bins(windows: UInt8[np.ndarray, "N window_bp"], name: str, bins: int) -> list[Stratum]:
    fractions = repeat_fractions(windows)
    order = np.argsort(fractions, kind="stable")
    strata = []
    for number, rows in enumerate(np.array_split(order, bins)):
        if rows.size:
            kept = held_back_rows(rows.size)
            limits = (float(fractions[rows[0]]), float(fractions[rows[-1]]))
            strata.append(Stratum(name, number, limits, windows[rows[~kept]], windows[rows[kept]]))
    return strata

"""One sequence under several species names: which of them is right, as far as the other sequence at hand tells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from plantgfm.sketch import distinct

MIN_MORE = 10
"""Hashes by which a name must fit better than another to be told right; chance shares one in thousands."""

_MIN_MORE_SHARE, _CLEAR_SHARE, _CLEAR_RATIO = 0.01, 0.05, 2
_UNRELATED_SHARE = 0.01  # two genomes of one species share more than this


@dataclass(frozen=True)
class Fit:
    """How a sequence fits the other sequence that bears a name."""

    found: int  # of its hashes, those that lie in other sequence of that name
    of: int
    at_hand: int  # hashes of that other sequence
    whole: bool  # another assembly of that name, of a stated genome size, is at hand
    bearers: int  # assemblies that hold this sequence under that name

    @property
    def share(self) -> float:
        """Share of the sequence that is found under the name."""
        return self.found / max(1, self.of)

    @property
    def refuted(self) -> bool:
        """A whole genome of that name is at hand, and this is no part of it."""
        return self.whole and self.share < _UNRELATED_SHARE

    @property
    def rank(self) -> tuple:
        """Sort key of names, the likeliest first: what no genome refutes; share found; no other at hand; bearers.

        A share is told to the hundredth: the few hashes that any two sister species share are no reason.
        """
        return (self.refuted, -round(self.share, 2), self.at_hand > 0, -self.bearers)

    def beats(self, other: Fit) -> bool:
        """Whether this name is told right and the other wrong."""
        more, ratio = self.found - other.found, self.found >= _CLEAR_RATIO * other.found
        clear = more >= MIN_MORE and more >= _MIN_MORE_SHARE * self.of
        clear = clear and (ratio or self.share - other.share >= _CLEAR_SHARE)
        return clear or (other.refuted and not self.refuted)


FitOf = Callable[[UInt64[np.ndarray, "hashes"], str, Iterable[tuple[str, str]]], Fit]
"""(hashes of a sequence, species name, the (assembly, record) that hold that sequence; "" for all records) -> fit."""


def fits_text(fits: dict[str, Fit]) -> str:
    """What is known of each name, as a clause."""
    told = []
    for name, fit in sorted(fits.items(), key=lambda item: (item[1].rank, item[0])):
        text = f"{fit.share:.1%} of it is found in other sequence of {name}" if fit.at_hand else f"no other {name}"
        told.append(text + (", a whole genome" if fit.refuted else ""))
    return ", ".join(told)


@dataclass(frozen=True)
class NamedRecord:
    """A record as evidence of what its species looks like."""

    assembly: str  # Assembly.key
    record: str
    species: str
    whole: bool  # of an assembly of a stated genome size
    hashes: UInt64[np.ndarray, "hashes"]  # sorted and distinct


@dataclass(frozen=True)
class NameIndex:
    """The records of a compartment by species name; its `fit` is a `FitOf`."""

    records: list[NamedRecord]

    @cached_property
    def _by_place(self) -> dict[tuple[str, str], list[NamedRecord]]:
        found = defaultdict(list)
        for one in self.records:
            found[one.assembly, one.record].append(one)
            found[one.assembly, ""].append(one)
        return found

    @cached_property
    def _by_species(self) -> dict[str, tuple[np.ndarray, np.ndarray, int, dict[str, int]]]:
        """Hashes, in how many records each lies, the sum of those numbers, and records of each sized assembly."""
        found = {}
        for species in sorted({one.species for one in self.records}):
            mine = [one for one in self.records if one.species == species]
            hashes, counts = _counted(mine)
            sized: dict[str, int] = defaultdict(int)
            for one in mine:
                sized[one.assembly] += one.whole
            found[species] = hashes, counts, int(counts.sum()), dict(sized)
        return found

    def fit(self, hashes: UInt64[np.ndarray, "hashes"], species: str, holders: Iterable[tuple[str, str]]) -> Fit:
        """How hashes fit the records of a species that are no holders of them."""
        if species not in self._by_species:
            return Fit(0, hashes.size, 0, whole=False, bearers=0)
        known, counts, total, sized = self._by_species[species]
        held = self._held(species, holders)
        inside, number = _counted(held)
        left = dict(sized)
        for one in held:
            left[one.assembly] -= one.whole
        bearers = {one.assembly for one in held}
        others = _lookup(known, counts, hashes) - _lookup(inside, number, hashes)
        return Fit(
            found=int(np.count_nonzero(others > 0)),
            of=int(hashes.size),
            at_hand=total - int(number.sum()),
            whole=any(count > 0 for assembly, count in left.items() if assembly not in bearers),
            bearers=len(bearers),
        )

    def lies_in(
        self, hashes: UInt64[np.ndarray, "n"], species: str, holders: Iterable[tuple[str, str]]
    ) -> Bool[np.ndarray, "n"]:
        """Which hashes lie in records of a species that are no holders."""
        known, counts = self._by_species[species][:2] if species in self._by_species else _counted([])
        return _lookup(known, counts, hashes) > _lookup(*_counted(self._held(species, holders)), hashes)

    @cached_property
    def species(self) -> list[str]:
        """All names, in order."""
        return sorted(self._by_species)

    def repeated_in(self, hashes: UInt64[np.ndarray, "n"], species: str) -> Bool[np.ndarray, "n"]:
        """Which hashes lie in several records of a species."""
        known, counts = self._by_species[species][:2] if species in self._by_species else _counted([])
        return _lookup(known, counts, hashes) > 1

    def smallest(self, species: str, most: int) -> UInt64[np.ndarray, "n"]:
        """The smallest hashes of a species, at most so many: a fair sample of it."""
        return self._by_species[species][0][:most]

    def _held(self, species: str, holders: Iterable[tuple[str, str]]) -> list[NamedRecord]:
        places = {(a, r) for a, r in holders}
        held = {id(one): one for place in sorted(places) for one in self._by_place[place] if one.species == species}
        return list(held.values())


def _counted(records: list[NamedRecord]) -> tuple[UInt64[np.ndarray, "n"], Int64[np.ndarray, "n"]]:
    joined = np.sort(np.concatenate([np.empty(0, np.uint64), *(one.hashes for one in records)]))
    hashes = distinct([joined])
    return hashes, np.diff(np.append(np.searchsorted(joined, hashes), joined.size)).astype(np.int64)


def _lookup(known: np.ndarray, counts: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    if not known.size:
        return np.zeros(hashes.size, dtype=np.int64)
    at = np.minimum(np.searchsorted(known, hashes), known.size - 1)
    return np.where(known[at] == hashes, counts[at], 0)

"""Records whose repeats are another species': sequence under a wrong name of which no copy is at hand.

A genome's repeats lie all over it, and unrelated genomes have next to none in common. A record that lies in other
records of its own species with little, and all along with several records of one other species, is likely that one's,
though the very sequence be nowhere else. What many species hold (ribosomal DNA, say) tells nothing. Relatives have
repeats in common: where most of a species is like another one's, nothing is said. It is a flag, never more: families
of repeats cross from species to species.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt64

from plantgfm.curation.chimeras import hits_by_species
from plantgfm.curation.config import ContaminationConfig
from plantgfm.curation.duplicates import Found, Sequence
from plantgfm.curation.names import NameIndex
from plantgfm.curation.stretches import MIN_MARKS
from plantgfm.sketch import fraction

_MIN_SHARE = 0.03  # of a record's hashes, in several records of the other species
_MOST_SPECIES = 2, 4  # hashes that more other species hold than so many, or one of so many, are everyone's
_MOST_OWN = 0.5  # of that number: how many may lie in other records of its own species, those of the other among them
_MOST_OTHERS = 0.2  # the same without those
_MOST_SUSPECTS = 0.5  # of a species' hashes in records that are like another one's: more, and the two are relatives
_MIN_REST = 4_000  # hashes of the others, 200 kb: in fewer, repeats of their own would not show
_TENTHS = 4  # of ten parts of a record hold some of it: more than an insertion does


@dataclass(frozen=True)
class Stray:
    """A record that is likely another species'."""

    sequence: Sequence
    number: int  # of its hashes that say so
    evidence: str


def find_strays(found: Found, index: NameIndex, config: ContaminationConfig) -> list[Stray]:
    """Records of a compartment that are likely another species' than they are named, in order of name.

    Args:
        found: records, with what their probes say of each other.
        index: all records by species name.
        config: how hashes are made.
    """
    gone = {removal.removed.place for removal in found.removals}
    suspects: dict[tuple[str, str], list[Sequence]] = defaultdict(list)
    for number, species in sorted(hits_by_species(found)):
        one = found.distinct[number]
        if one.place not in gone:
            suspects[one.species, species].append(one)
    strays: dict[tuple[str, str], Stray] = {}
    for (own, other), several in sorted(suspects.items()):
        places = [one.place for one in several]
        rest, total = (index.fit(several[0].hashes, own, held).at_hand for held in (places, []))
        if rest >= max(_MIN_REST, (1 - _MOST_SUSPECTS) * total):
            for one in several:
                stray = _judge(one, other, places, index, config)
                if stray and (one.place not in strays or stray.number > strays[one.place].number):
                    strays[one.place] = stray
    return [stray for _, stray in sorted(strays.items())]


def _judge(
    one: Sequence, other: str, suspects: list[tuple[str, str]], index: NameIndex, config: ContaminationConfig
) -> Stray | None:
    (codes,), hashes = one.parts(), one.hashes
    theirs = index.repeated_in(hashes, other)
    if theirs.sum() < MIN_MARKS:
        return None
    at_least, one_of = _MOST_SPECIES
    bearers = sum(index.lies_in(hashes, name, []).astype(int) for name in index.species if name != one.species)
    theirs &= bearers <= max(at_least, len(index.species) // one_of)
    number = int(theirs.sum())
    if number < max(MIN_MARKS, _MIN_SHARE * hashes.size):
        return None
    own = int(index.lies_in(hashes, one.species, [one.place]).sum())
    others = int(index.lies_in(hashes, one.species, suspects).sum())
    if own > _MOST_OWN * number or others > _MOST_OTHERS * number or _spread(codes, hashes[theirs], config) < _TENTHS:
        return None
    text = f"{number:,} of its {hashes.size:,} hashes, all along it, lie in several records of {other} each"
    text = f"{text}, {others:,} in other records of {one.species}: it has the repeats of {other}"
    return Stray(one, number, text)


def _spread(codes: np.ndarray, telling: UInt64[np.ndarray, "n"], config: ContaminationConfig) -> int:
    """How many tenths of a record hold telling hashes."""
    hashes, places = fraction(codes, k=config.k, scaled=config.scaled)
    held: Bool[np.ndarray, "n"] = np.isin(hashes, telling)
    return int(np.unique(10 * places[held] // codes.size).size)

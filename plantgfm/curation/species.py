"""Stage 5, the species of an assembly: whether it is nearer to assemblies of another name than to those of its own.

Being near to another species says nothing of a label: a crop and its wild ancestor differ in less than cultivars of
maize do. What is told is a comparison, of whole genomes with whole genomes; where the own name has none, or pieces
alone, which may lie anywhere in the genome, an assembly is flagged at most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt64

from plantgfm.curation.config import LabelConfig
from plantgfm.curation.label import AssemblyVerdict, distance, said
from plantgfm.schema import Assembly

MISMATCH = "species_mismatch"
NEARER = "nearer_to_other_species"
CLOSE = "close_to_other_species"

_WHOLE_FRACTION = 0.8  # of the expected size: two halves of one genome share less than whole sister species
_MIN_SHARED = 50  # hashes; fewer give no distance
_NOISE = 0.002  # of a distance from 50 hashes or a few more, and of what assemblers do


@dataclass(frozen=True)
class Genome:
    """What is left of an assembly, as species are told by it."""

    assembly: Assembly
    species: str  # by its accepted name
    known_bp: int
    hashes: UInt64[np.ndarray, "n"]  # FracMinHash, sorted and distinct

    @property
    def whole(self) -> bool:
        """Whether most of a genome of stated size is there."""
        expected = self.assembly.expected_size_bp
        return expected is not None and self.known_bp >= _WHOLE_FRACTION * expected


@dataclass(frozen=True)
class _Relative:
    genome: Genome
    gap: float  # sketch distance, 1 where too little is shared to give one

    def __str__(self) -> str:
        return f"{self.genome.assembly.key} {self.gap:.4f}" if self.gap < 1 else f"{self.genome.assembly.key} none"


def judge_species(one: Genome, others: list[Genome], *, k: int, config: LabelConfig) -> list[AssemblyVerdict]:
    """At most one verdict on an assembly.

    A mismatch where, among whole genomes, each of another name is nearer (by `species_margin`) than any of its own
    name is, and the nearest is nearly identical (within `max_species_distance`). Nearer to another species where that
    margin is not reached, is reached for some of its own name alone, or pieces were compared. Close to another species
    where nothing of its own name is at hand.

    Args:
        one: the assembly.
        others: all others of its compartment.
        k: of the hashes.
        config: thresholds and policies.
    """
    relatives = [_Relative(other, _gap(one, other, k)) for other in others]
    own = [r for r in relatives if r.genome.species == one.species]
    near = [r for r in relatives if r.genome.species != one.species and r.gap <= config.max_species_distance]
    if not near:
        return []
    nearest = min(near, key=lambda r: (r.gap, r.genome.assembly.key))
    species = nearest.genome.species
    text = f"distance to {nearest.genome.assembly.key} is {nearest.gap:.4f}"
    if not own:
        return said(config.on_close_species, CLOSE, f"{text}, and no other {one.species} is at hand to compare with")
    whole = [r for r in own if r.genome.whole]
    theirs = [r for r in relatives if r.genome.species == species and r.genome.whole]
    told = ", ".join(str(r) for r in sorted(own, key=lambda r: (r.gap, r.genome.assembly.key))[:3])
    text = f"{text}, to others named {one.species}: {told}"
    to_own = min(r.gap for r in own)
    if one.whole and whole and theirs and to_own > max(r.gap for r in theirs) + config.species_margin:
        return said(config.on_species_mismatch, MISMATCH, f"{text}: it is {species} rather")
    if one.whole and whole:
        apart = to_own > nearest.gap + _NOISE or max(r.gap for r in whole) > nearest.gap + config.species_margin
        text = f"{text}: it is nearer to {species}"
    else:
        apart = to_own > nearest.gap + _NOISE
        text = f"{text}: these are pieces, which may lie elsewhere"
    return said(config.on_close_species, NEARER, text) if apart else []


def _gap(one: Genome, other: Genome, k: int) -> float:
    gap, shared = distance(one.hashes, other.hashes, k)
    return gap if shared >= _MIN_SHARED else 1.0

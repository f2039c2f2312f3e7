"""What time does to a genome: substitution under selection, indels, and the larger rearrangements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from plantgfm.sequence import UNKNOWN
from plantgfm.simulate.background import Background
from plantgfm.simulate.codons import AMINO_INDEX
from plantgfm.simulate.columns import CODING, COPIES, Columns, Kind, concatenate, delete
from plantgfm.simulate.config import WorldConfig

MAX_STEP = 0.04  # substitutions a site in one step, so that multiple hits within it stay rare

# Rate of each Kind relative to neutral sites. Coding sites are proposed at the neutral rate and then selected by codon.
# UTR, intron and promoter rates follow their constraint in Arabidopsis (Haudry et al. 2013, doi:10.1038/ng.2684).
_RATES = {
    Kind.INTERGENIC: 1.0, Kind.REPEAT: 1.0, Kind.PROMOTER: 0.75, Kind.TATA: 0.12, Kind.AUXRE: 0.05, Kind.BOX: 0.2,
    Kind.UTR5: 0.55, Kind.START: 0.0, Kind.CDS1: 1.0, Kind.CDS2: 1.0, Kind.CDS3: 1.0, Kind.STOP: 0.0,
    Kind.INTRON: 0.85, Kind.SPLICE: 0.0, Kind.BRANCH: 0.2, Kind.UTR3: 0.6, Kind.POLYA: 0.1,
}  # fmt: skip
RATE = np.array([_RATES[kind] for kind in Kind], dtype=np.float32)
SOFT = np.isin(
    np.arange(len(Kind)), [Kind.INTERGENIC, Kind.REPEAT, Kind.PROMOTER, Kind.UTR5, Kind.INTRON, Kind.UTR3]
)  # kinds that bear an indel of any length
_TRANSITION = np.array([2, 3, 0, 1])
_CODON_KINDS = (int(Kind.CDS1), int(Kind.CDS2), int(Kind.CDS3))


@dataclass(frozen=True)
class Habit:
    """How substitution runs in one lineage: GC that it tends to, and the transition bias."""

    gc: float
    gc3: float
    kappa: float
    cpg_factor: float
    background: Background  # words that substitution prefers


def _hky(gc: float, kappa: float) -> tuple[np.ndarray, np.ndarray]:
    """Leaving rate of each base and cumulative target probabilities (HKY85, doi:10.1007/BF02101694), mean rate 1."""
    pi = np.array([1 - gc, gc, gc, 1 - gc]) / 2
    rate = np.tile(pi, (4, 1))
    rate[np.arange(4), _TRANSITION] *= kappa
    np.fill_diagonal(rate, 0)
    leaving = rate.sum(axis=1)
    return leaving / (pi * leaving).sum(), np.cumsum(rate / leaving[:, None], axis=1)


def mutate_codes(
    rng: np.random.Generator, codes: UInt8[np.ndarray, "P"], *, distance: float, gc: float, kappa: float
) -> UInt8[np.ndarray, "P"]:
    """Bare bases after neutral substitution at `distance` substitutions a site; unknown bases stay."""
    leaving, target = _hky(gc, kappa)
    known = np.where(codes < UNKNOWN, codes, 0)
    hit = (rng.random(codes.size) < -np.expm1(-leaving[known] * distance)) & (codes < UNKNOWN)
    out = codes.copy()
    out[hit] = (rng.random(int(hit.sum()))[:, None] >= target[codes[hit]]).sum(axis=1).clip(max=3)
    return out


def substitute(genome: Columns, rng: np.random.Generator, *, distance: float, habit: Habit, omega: float) -> None:
    """Substitute in place at `distance` neutral substitutions a site, purged by selection on codons."""
    before = genome.code.copy()
    neutral, third = _hky(habit.gc, habit.kappa), _hky(habit.gc3, habit.kappa)
    rate = RATE[genome.kind] * neutral[0].astype(np.float32)[before]
    rate[_methylated(genome)] *= habit.cpg_factor
    proposed = np.float32(distance / habit.background.acceptance)  # so that `distance` is what takes place
    chance = -np.expm1(-rate * proposed)
    hit = np.flatnonzero(rng.random(len(genome), dtype=np.float32) < chance)
    is_third = genome.kind[hit] == Kind.CDS3
    target = np.where(is_third[:, None], third[1][before[hit]], neutral[1][before[hit]])
    new = (rng.random(hit.size)[:, None] >= target).sum(axis=1).clip(max=3).astype(np.uint8)
    accepted = _accepted(rng, habit.background, before, hit, new)
    genome.code[hit[accepted]] = new[accepted]
    _select(genome, before, rng, omega=omega)


def _accepted(rng, background: Background, codes: np.ndarray, at: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Which proposals take place: Barker's rule, so that preferred words stay in equilibrium (doi:10.1071/PH650119)."""
    return rng.random(at.size) < 1 / (1 + np.exp(-background.preference(codes, at, new)))


def _methylated(genome: Columns) -> np.ndarray:
    cpg = (genome.code[:-1] == 1) & (genome.code[1:] == 2) & (genome.copy[:-1] >= 0)
    both = np.zeros(len(genome), dtype=bool)
    both[:-1] = cpg
    both[1:] |= cpg
    return both


def reading_order(genome: Columns, positions: np.ndarray) -> np.ndarray:
    """The positions sorted by gene, and within a gene in its reading direction."""
    along = positions * genome.strand[positions].astype(np.int64)
    return positions[np.lexsort((along, genome.gene[positions]))]


def coding_positions(genome: Columns) -> np.ndarray:
    """Coding positions in reading order, int64 [codons, 3]."""
    flags = np.zeros(len(Kind), dtype=bool)
    flags[list(CODING)] = True
    return reading_order(genome, np.flatnonzero(flags[genome.kind])).reshape(-1, 3)


def codon_numbers(genome: Columns, codes: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Number 0..63 of each codon, read on its gene's strand; `positions` is int64 [codons, 3]."""
    bases = codes[positions].astype(np.int64)
    bases = np.where(genome.strand[positions] < 0, 3 - bases, bases)
    return bases[:, 0] * 16 + bases[:, 1] * 4 + bases[:, 2]


def _select(genome: Columns, before: np.ndarray, rng: np.random.Generator, *, omega: float) -> None:
    """Take back every new stop and most changed amino acids: purifying selection at Ka/Ks of about `omega`."""
    positions = coding_positions(genome)
    positions = positions[(genome.code[positions] != before[positions]).any(axis=1)]
    old = AMINO_INDEX[codon_numbers(genome, before, positions)]
    new = AMINO_INDEX[codon_numbers(genome, genome.code, positions)]
    undone = (new != old) & ((new == 0) | (rng.random(old.size) >= omega))
    genome.code[positions[undone]] = before[positions[undone]]


def indels(genome: Columns, rng: np.random.Generator, *, distance: float, config: WorldConfig) -> Columns:
    """Small deletions and tandem duplications of a few bases; inside coding sequence whole codons only."""
    count = int(rng.poisson(len(genome) * distance * config.indel_rate))
    at = np.unique(rng.integers(1, len(genome) - 200, count))
    deletes = rng.random(at.size) < config.deletion_share
    mean = np.where(deletes, config.mean_deletion_bp, config.mean_insertion_bp)
    length = np.minimum(rng.geometric(1 / mean), 120)
    whole = _whole_codons(genome, at) & (rng.random(at.size) < config.omega)
    length[whole] = 3
    keep = whole | _all_soft(genome, at, length)
    at, length, deletes = at[keep], length[keep], deletes[keep]
    clear = np.concatenate((at[1:] >= (at + length)[:-1], [True])) if at.size else np.zeros(0, dtype=bool)
    at, length, deletes = at[clear], length[clear], deletes[clear]
    return _spliced(genome, at, length, deletes)


def _whole_codons(genome: Columns, at: np.ndarray) -> np.ndarray:
    kinds = genome.kind[at[:, None] + np.arange(3)]
    return (kinds == _CODON_KINDS).all(axis=1) | (kinds == _CODON_KINDS[::-1]).all(axis=1)


def _all_soft(genome: Columns, at: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Whether a span lies in one chromosome, one gene or none, one kind, and that bears indels."""
    firm = np.concatenate(([0], np.cumsum(~SOFT[genome.kind])))
    end = at + length
    same = (genome.chrom[at] == genome.chrom[end]) & (genome.gene[at] == genome.gene[end - 1])
    same &= genome.kind[at] == genome.kind[end - 1]  # else a tandem copy would put promoter into the transcript
    return same & (firm[at] == firm[end])


def _spliced(genome: Columns, at: np.ndarray, length: np.ndarray, deletes: np.ndarray) -> Columns:
    doomed = _covered(at[deletes], length[deletes])
    again, after = _covered(at[~deletes], length[~deletes]), np.repeat((at + length)[~deletes], length[~deletes])
    index = np.insert(np.arange(len(genome)), after, again)
    fresh = np.insert(np.zeros(len(genome), dtype=bool), after, True)
    gone = np.zeros(len(genome), dtype=bool)
    gone[doomed] = True
    keep = ~gone[index]
    changed = genome.take(index[keep])
    changed.site[fresh[keep]] = -1
    return changed


def _covered(at: np.ndarray, length: np.ndarray) -> np.ndarray:
    """All positions of the spans [at, at + length), in order."""
    if not at.size:
        return np.zeros(0, dtype=np.int64)
    first = np.cumsum(length) - length
    return np.arange(int(length.sum())) - np.repeat(first - at, length)


def rearrange(genome: Columns, rng: np.random.Generator, *, branch: float, config: WorldConfig) -> Columns:
    """Inversions and translocations of one branch; breakpoints never cut a gene or its promoter."""
    for _ in range(int(rng.poisson(config.inversion_rate * branch))):
        start, end = _segment(genome, rng)
        genome = genome.flipped(start, end)
    for _ in range(int(rng.poisson(config.translocation_rate * branch))):
        start, end = _segment(genome, rng)
        genome = _moved(genome, start, end, rng)
    return genome


def _segment(genome: Columns, rng: np.random.Generator) -> tuple[int, int]:
    """A span inside one chromosome, at most a third of it, with both ends outside genes."""
    spans = genome.spans()
    sizes = np.array([end - start for _, start, end in spans])
    _, low, high = spans[int(rng.choice(len(spans), p=sizes / sizes.sum()))]
    length = int(min(rng.lognormal(np.log(15_000), 0.8), (high - low) / 3))
    start = int(rng.integers(low + 1, high - length))
    return _outside(genome, start, low), _outside(genome, start + length, low)


def _outside(genome: Columns, position: int, low: int) -> int:
    """The last position at or before `position` that cuts no gene."""
    while position > low and genome.gene[position] >= 0 and genome.gene[position] == genome.gene[position - 1]:
        position -= 1
    return position


def _moved(genome: Columns, start: int, end: int, rng: np.random.Generator) -> Columns:
    moved, rest = genome.take(np.arange(start, end)), genome.take(np.r_[0:start, end : len(genome)])
    to = int(rng.integers(1, len(rest)))
    to = _outside(rest, to, 0)
    moved.chrom[:] = rest.chrom[max(to - 1, 0)]
    return concatenate([rest.take(np.arange(to)), moved, rest.take(np.arange(to, len(rest)))])


def double(genome: Columns, rng: np.random.Generator, *, fractionation: float) -> Columns:
    """Whole-genome duplication, chromosome fusion back to the old number, loss of one copy of some pairs."""
    twin = genome.take(np.arange(len(genome)))
    twin.gene[twin.gene >= 0] += 1
    number = int(genome.chrom.max()) + 1
    twin.chrom[:] = (twin.chrom + 1) % number
    both = concatenate([genome, twin])
    both = both.take(np.argsort(both.chrom, kind="stable"))
    roots = np.unique(genome.gene[genome.gene >= 0]) // COPIES
    lost = roots[rng.random(roots.size) < fractionation]
    return without_genes(both, lost * COPIES + rng.integers(0, 2, lost.size))


def lose_genes(genome: Columns, rng: np.random.Generator, *, share: float) -> Columns:
    """A genome without a random share of its genes."""
    genes = np.unique(genome.gene[genome.gene >= 0])
    return without_genes(genome, genes[rng.random(genes.size) < share])


def without_genes(genome: Columns, genes: np.ndarray) -> Columns:
    """A genome without these gene copies and their promoters."""
    return delete(genome, np.isin(genome.gene, genes) & (genome.gene >= 0))

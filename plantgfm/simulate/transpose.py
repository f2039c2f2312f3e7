"""Insertion of repeats into a genome: where each order goes, and how much of each."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from plantgfm.sequence import encode, reverse_complement
from plantgfm.simulate.columns import Columns, Kind, insert, piece
from plantgfm.simulate.config import WorldConfig
from plantgfm.simulate.repeats import TERMS, Family, array, element, simple_repeat

# Share of the transposed bases by order; LTR retrotransposons prevail in plants (Wicker et al. 2007; Lisch 2013).
ORDER_SHARE = {"Gypsy": 0.46, "Copia": 0.27, "hAT": 0.08, "CACTA": 0.09, "MITE": 0.10}
PERICENTROMERE = 0.22  # standard deviation of Gypsy insertion around the centre, in chromosome lengths
NEAR_GENE_BP = 1_200  # MITEs lie beside genes (Bureau & Wessler 1994)
FAR_WEIGHT = 0.08
CANDIDATES = 12  # positions looked at for each insertion
SPLICE_MARGIN_BP = 12


@dataclass
class Registry:
    """What every repeat copy of the world is, by copy id."""

    family: list[str] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    age: list[float] = field(default_factory=list)  # neutral substitutions a site since insertion, at the species

    def register(self, family: str, order: str, born: float) -> int:
        """The id of a new copy; `born` is its distance from the root."""
        self.family.append(family)
        self.order.append(order)
        self.age.append(born)
        return len(self.family) - 1


def transpose(
    genome: Columns,
    rng: np.random.Generator,
    *,
    families: list[Family],
    weights: np.ndarray,
    amount_bp: int,
    born: float,
    registry: Registry,
    config: WorldConfig,
) -> Columns:
    """A genome with about `amount_bp` of new copies of the families, chosen by weight; nested where it happens so."""
    chosen, total = [], 0
    mean_bp = np.array([max(family.full().size, 1) for family in families])
    chance = weights / mean_bp
    chance = chance / chance.sum()
    while total < amount_bp:
        family = families[int(rng.choice(len(families), p=chance))]
        codes = element(rng, family, full_fraction=config.full_fraction, solo_fraction=config.solo_fraction)
        if total and total + codes.size > amount_bp + codes.size // 2:
            break
        chosen.append((family, codes))
        total += codes.size
    positions = _positions(genome, rng, [family.order for family, _ in chosen])
    order = np.argsort(positions, kind="stable")
    pieces = [_insertion(genome, rng, *chosen[i], at=int(positions[i]), born=born, registry=registry) for i in order]
    return insert(genome, positions[order], pieces)


def family_weights(rng: np.random.Generator, families: list[Family]) -> np.ndarray:
    """How active each family is in a lineage: uneven within an order, orders at their share."""
    weights = np.zeros(len(families))
    for order, share in ORDER_SHARE.items():
        members = [i for i, family in enumerate(families) if family.order == order]
        weights[members] = share * rng.dirichlet(np.full(len(members), 0.8)) if members else 0
    return weights


def _insertion(
    genome: Columns, rng: np.random.Generator, family: Family, codes: np.ndarray, *, at: int, born: float, registry
) -> Columns:
    """The new copy and the target site that its insertion doubles."""
    strand = 1 if rng.random() < 0.5 else -1
    codes = codes if strand > 0 else reverse_complement(codes)
    gene = int(genome.gene[at]) if at and genome.gene[at] == genome.gene[at - 1] else -1
    copy = registry.register(family.name, family.order, born)
    new = piece(codes, kind=Kind.REPEAT, strand=strand, gene=gene, copy=copy)
    target = TERMS[family.order][1]
    if target and at > target and gene < 0:
        doubled = genome.take(np.arange(at - target, at))
        if (doubled.gene < 0).all():
            doubled.site[:] = -1
            return insert(new, np.array([len(new)]), [doubled])
    return new


def _positions(genome: Columns, rng: np.random.Generator, orders: list[str]) -> np.ndarray:
    """One position for each insertion, distinct, by the preference of its order."""
    allowed = np.flatnonzero(genome.gene[1:] < 0) + 1
    introns = _inside_introns(genome)
    centre, genes_before = _centrality(genome), np.concatenate(([0], np.cumsum(genome.gene >= 0)))
    taken: set[int] = set()
    out = []
    for order in orders:
        pool = introns if order == "MITE" and introns.size and rng.random() < 0.2 else allowed
        candidates = pool[rng.integers(0, pool.size, CANDIDATES)]
        candidates = np.array([c for c in candidates.tolist() if c not in taken] or [int(pool[0])])
        weight = np.ones(candidates.size)
        if order == "Gypsy":
            weight = np.exp(-0.5 * (centre[candidates] / PERICENTROMERE) ** 2) + 0.02
        elif order == "MITE":
            weight = np.where(_near_genes(genes_before, candidates), 1.0, FAR_WEIGHT)
        chosen = int(rng.choice(candidates, p=weight / weight.sum()))
        taken.add(chosen)
        out.append(chosen)
    return np.array(out, dtype=np.int64)


def _inside_introns(genome: Columns) -> np.ndarray:
    other = np.concatenate(([0], np.cumsum(genome.kind != Kind.INTRON)))
    at = np.flatnonzero(genome.kind == Kind.INTRON)
    at = at[(at > SPLICE_MARGIN_BP) & (at < len(genome) - SPLICE_MARGIN_BP)]
    return at[other[at + SPLICE_MARGIN_BP] == other[at - SPLICE_MARGIN_BP]]


def _centrality(genome: Columns) -> np.ndarray:
    """Distance of each base from its chromosome's centre, in chromosome lengths."""
    out = np.empty(len(genome), dtype=np.float32)
    for _, start, end in genome.spans():
        out[start:end] = np.abs(np.arange(end - start) / (end - start) - 0.5)
    return out


def _near_genes(genes_before: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Whether a gene lies within reach of each position; `genes_before` counts genic bases left of each."""
    high = np.minimum(at + NEAR_GENE_BP, genes_before.size - 1)
    return genes_before[high] > genes_before[np.maximum(at - NEAR_GENE_BP, 0)]


def add_satellites(
    genome: Columns, rng: np.random.Generator, *, family: Family, amount_bp: int, born: float, registry, config
) -> Columns:
    """A genome with a centromeric array in each chromosome, in proportion to its length."""
    positions, pieces = [], []
    for _, start, end in genome.spans():
        share = int(amount_bp * (end - start) / len(genome))
        free = np.flatnonzero(genome.gene[start + 1 : end] < 0) + start + 1
        at = int(free[np.argmin(np.abs(free - (start + end) // 2))])
        codes = array(rng, family.master, share, divergence=config.satellite_divergence)
        copy = registry.register(family.name, "Satellite", born)
        positions.append(at)
        pieces.append(piece(codes, kind=Kind.REPEAT, strand=1, copy=copy))
    return insert(genome, np.array(positions), pieces)


def add_simple_repeats(
    genome: Columns, rng: np.random.Generator, *, born: float, registry: Registry, config: WorldConfig
) -> Columns:
    """A genome with micro- and minisatellites between genes and in introns, and telomeres at chromosome ends."""
    megabases = len(genome) / 1e6
    counts = (
        rng.poisson(config.microsatellites_per_mb * megabases),
        rng.poisson(config.minisatellites_per_mb * megabases),
    )
    outside = np.flatnonzero((genome.gene[1:] < 0) & (genome.copy[1:] < 0)) + 1
    pool = np.concatenate([outside, _inside_introns(genome)])
    total = min(sum(counts), pool.size)
    positions = np.sort(rng.choice(pool, size=total, replace=False))
    minis = set(rng.permutation(total)[: counts[1]].tolist())
    pieces = []
    for number, at in enumerate(positions.tolist()):
        mini = number in minis and genome.gene[at] < 0
        name = "Minisatellite" if mini else "Microsatellite"
        gene = int(genome.gene[at]) if genome.gene[at] == genome.gene[at - 1] else -1
        copy = registry.register(name.lower(), name, born)
        pieces.append(piece(simple_repeat(rng, mini=mini), kind=Kind.REPEAT, strand=0, gene=gene, copy=copy))
    return _with_telomeres(insert(genome, positions, pieces), rng, born=born, registry=registry, config=config)


def _with_telomeres(
    genome: Columns, rng: np.random.Generator, *, born: float, registry, config: WorldConfig
) -> Columns:
    right = np.tile(encode("TTTAGGG"), config.telomere_bp // 7)
    positions, pieces = [], []
    for number, start, end in genome.spans():
        for at, codes in ((start, reverse_complement(right)), (end, right)):
            copy = registry.register("telomere", "Telomere", born)
            positions.append(at)
            pieces.append(piece(codes, kind=Kind.REPEAT, copy=copy, chrom=number))
    return _ordered_ends(genome, positions, pieces)


def _ordered_ends(genome: Columns, positions: list[int], pieces: list[Columns]) -> Columns:
    numbers = [int(new.chrom[0]) for new in pieces]
    grown = insert(genome, np.array(positions), pieces)
    for number, new in zip(numbers, pieces):
        grown.chrom[grown.copy == new.copy[0]] = number
    return grown

"""The clade: a root genome, and what becomes of it along the tree."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from plantgfm.sequence import reverse_complement
from plantgfm.simulate import change
from plantgfm.simulate.background import Background, domains, make_background
from plantgfm.simulate.columns import COPIES, Columns, Kind, concatenate, delete, insert, piece
from plantgfm.simulate.config import WorldConfig
from plantgfm.simulate.genes import Gene, make_domains, make_gene
from plantgfm.simulate.repeats import Family, make_family
from plantgfm.simulate.species import ROOT_GC, Node, children_of
from plantgfm.simulate.transpose import Registry, add_satellites, add_simple_repeats, family_weights, transpose

CORE_FRACTION = 0.42  # of genome_size_bp: the root without repeats
MEGABASE_CHROMOSOMES = (0.30, 0.26, 0.21, 0.17, 0.06)  # shares; the last is an unplaced scaffold
SMALL_CHROMOSOMES = (0.45, 0.37, 0.18)
SMALL_GENOME_BP = 400_000
AGES = (0.08, 0.045, 0.025, 0.012, 0.004, 0.001)  # of insertion bursts, substitutions a site before the present
MASTER_RATE = 0.5  # masters of repeat families change at half the neutral rate: they are under selection to move
ROOT_FAMILIES = ("Gypsy", "Gypsy", "Copia", "Copia", "hAT", "CACTA", "MITE", "MITE", "MITE", "Satellite")
CLADE_FAMILIES = ("Gypsy", "Copia", "MITE", "Satellite")  # born in each child of the root
SPECIES_FAMILIES = ("Gypsy", "MITE")  # born in each species
FRESH_BP = 900  # mean length of new unique sequence


@dataclass(frozen=True)
class Lineage:
    """The state at a node: its genome, and the repeat families as it carries them."""

    genome: Columns
    families: list[Family]
    depth: float  # neutral substitutions a site since the root


@dataclass(frozen=True)
class Clade:
    """What all species of a world share."""

    config: WorldConfig
    background: Background
    auxin: np.ndarray  # bool, by root gene
    registry: Registry


def stream(config: WorldConfig, name: str) -> np.random.Generator:
    """The random stream of one named use: depends on the seed and the name only."""
    return np.random.default_rng([config.seed, zlib.crc32(name.encode())])


def grow_clade(config: WorldConfig, *, kept: set[str]) -> Iterator[tuple[Node, Lineage, Clade]]:
    """The kept species one by one, in the order of the tree, with what they share."""
    background = make_background(stream(config, "background"))
    rng = stream(config, "root")
    genes = _genes(rng, config, background)
    registry = Registry()
    clade = Clade(config, background, np.array([gene.auxin for gene in genes]), registry)
    families = _new_families(stream(config, "root families"), clade, "Root", ROOT_FAMILIES, gc=ROOT_GC)
    genome = _root_genome(rng, config, background, genes)
    yield from _descend(clade, "", Lineage(genome, families, 0.0), kept)


def _descend(clade: Clade, name: str, lineage: Lineage, kept: set[str]) -> Iterator[tuple[Node, Lineage, Clade]]:
    for node in children_of(name, kept=kept):
        grown = _branch(clade, node, lineage)
        if node.is_species:
            yield node, grown, clade
        else:
            yield from _descend(clade, node.name, grown, kept)


def _genes(rng: np.random.Generator, config: WorldConfig, background: Background) -> list[Gene]:
    library, genes, total = make_domains(rng), [], 0
    period = round(1 / config.auxin_fraction)
    while total < config.gene_space_fraction * config.genome_size_bp:
        auxin = len(genes) % period == 1
        genes.append(make_gene(rng, config, background=background, domains=library, auxin=auxin))
        total += genes[-1].code.size
    return genes


def _root_genome(rng: np.random.Generator, config: WorldConfig, background: Background, genes: list[Gene]) -> Columns:
    """Chromosomes of genes in random order and strand, with spacers of exponential length between them."""
    small = config.genome_size_bp < SMALL_GENOME_BP
    shares = np.array(SMALL_CHROMOSOMES if small else MEGABASE_CHROMOSOMES)
    bounds = np.rint(np.cumsum(shares) * len(genes)).astype(int)
    sizes = np.array([gene.code.size for gene in genes])
    spare = int(CORE_FRACTION * config.genome_size_bp) - int(sizes.sum())
    first_sites = np.cumsum(sizes) - sizes
    chromosomes, last = [], 0
    for number, (bound, share) in enumerate(zip(bounds.tolist(), shares)):
        members = range(last, bound)
        spacers = rng.dirichlet(np.ones(len(members) + 1)) * spare * share
        gc = domains(rng, int(sizes[last:bound].sum() + spacers.sum()) + 1, ROOT_GC)
        parts, place = [], 0
        for gene, spacer in zip([*members, None], spacers):
            length = int(spacer) + 20
            local = np.resize(gc[place:], length) if place + length > gc.size else gc[place : place + length]
            parts.append(piece(background.draw(rng, length, local), kind=Kind.INTERGENIC))
            if gene is not None:
                parts.append(_placed(rng, genes[gene], number=gene, first_site=int(first_sites[gene])))
            place = min(place + sum(len(part) for part in parts[-2:]), gc.size - 1)
        chromosome = concatenate(parts)
        chromosome.chrom[:] = number
        chromosomes.append(chromosome)
        last = bound
    return concatenate(chromosomes)


def _placed(rng: np.random.Generator, gene: Gene, *, number: int, first_site: int) -> Columns:
    sites = first_site + np.arange(gene.code.size)
    if rng.random() < 0.5:
        return piece(gene.code, kind=gene.kind, strand=1, gene=number * COPIES, site=sites)
    code = reverse_complement(gene.code)
    return piece(code, kind=gene.kind[::-1], strand=-1, gene=number * COPIES, site=sites[::-1])


def _new_families(rng, clade: Clade, prefix: str, orders: tuple[str, ...], *, gc: float) -> list[Family]:
    counts: dict[str, int] = {}
    out = []
    for order in orders:
        counts[order] = counts.get(order, 0) + 1
        name = f"{prefix}_{order}{counts[order]}".replace(" ", "_")
        out.append(make_family(rng, name, order, background=clade.background, gc=gc))
    return out


def _branch(clade: Clade, node: Node, parent: Lineage) -> Lineage:
    """The lineage at the end of a branch."""
    rng, config = stream(clade.config, node.name), clade.config
    genome = parent.genome.take(np.arange(len(parent.genome)))
    if node.duplicates:
        genome = change.double(genome, rng, fractionation=config.fractionation)
    genome = change.lose_genes(genome, rng, share=config.gene_loss_rate * node.branch)
    genome = change.rearrange(genome, rng, branch=node.branch, config=config)
    families = _aged(rng, parent.families, distance=node.branch * MASTER_RATE, gc=node.gc, kappa=config.kappa)
    born = SPECIES_FAMILIES if node.is_species else CLADE_FAMILIES if not node.parent else ()
    families = families + _new_families(rng, clade, node.name, born, gc=node.gc)
    if node.is_species:
        genome = _species(clade, node, genome, families, rng, depth=parent.depth)
    else:
        genome = _ancestor(clade, node, genome, families, rng, depth=parent.depth)
    return Lineage(genome, families, parent.depth + node.branch)


def _aged(rng, families: list[Family], *, distance: float, gc: float, kappa: float) -> list[Family]:
    return [
        family.with_master(change.mutate_codes(rng, family.master, distance=distance, gc=gc, kappa=kappa))
        for family in families
    ]


def _transposable(families: list[Family]) -> list[Family]:
    return [family for family in families if family.order != "Satellite"]


def _ancestor(clade: Clade, node: Node, genome: Columns, families: list[Family], rng, *, depth: float) -> Columns:
    moving = _transposable(families)
    amount = int(clade.config.old_repeat_fraction * clade.config.genome_size_bp)
    genome = transpose(
        genome, rng, families=moving, weights=family_weights(rng, moving), amount_bp=amount, born=depth,
        registry=clade.registry, config=clade.config,
    )  # fmt: skip
    return _pass_time(clade, node, genome, rng, distance=node.branch)


def _pass_time(clade: Clade, node: Node, genome: Columns, rng, *, distance: float) -> Columns:
    """Substitution and indels over a distance, in steps short enough that multiple hits within one are rare."""
    config = clade.config
    habit = change.Habit(node.gc, node.gc3, config.kappa, config.cpg_factor, clade.background)
    steps = max(1, int(np.ceil(distance / change.MAX_STEP)))
    for _ in range(steps if distance > 0 else 0):
        change.substitute(genome, rng, distance=distance / steps, habit=habit, omega=config.omega)
        genome = change.indels(genome, rng, distance=distance / steps, config=config)
    return genome


def _species(clade: Clade, node: Node, genome: Columns, families: list[Family], rng, *, depth: float) -> Columns:
    """The last branch: unique sequence to its share, then bursts of repeats that grow younger, satellites last."""
    config, end = clade.config, depth + node.branch
    size = node.size * config.genome_size_bp
    genome = _fit_unique(genome, rng, clade, node, goal_bp=int(size * (1 - node.repeat_share)))
    ages = [age for age in AGES if age < node.branch]
    genome = _pass_time(clade, node, genome, rng, distance=node.branch - ages[0])
    missing = size * node.repeat_share - int((genome.copy >= 0).sum())
    satellites = config.satellite_fraction * size * node.repeat_share
    genome = add_simple_repeats(genome, rng, born=end - ages[0], registry=clade.registry, config=config)
    moving = _transposable(families)
    weights = family_weights(rng, moving)
    shares = np.exp(-np.array(ages) / config.mean_insertion_age) * np.array([*ages[:-1], ages[-1] * 4]) ** 0.5
    library = [family for family in families if family.order == "Satellite"]
    for index, (age, share) in enumerate(zip(ages, shares / shares.sum())):
        amount = int((missing - satellites) * share)
        genome = transpose(
            genome, rng, families=moving, weights=weights, amount_bp=amount, born=end - age,
            registry=clade.registry, config=config,
        )  # fmt: skip
        if age == 0.012:
            family = library[int(rng.integers(len(library)))]
            genome = add_satellites(
                genome, rng, family=family, amount_bp=int(satellites), born=end - age, registry=clade.registry,
                config=config,
            )  # fmt: skip
        following = ages[index + 1] if index + 1 < len(ages) else 0.0
        genome = _pass_time(clade, node, genome, rng, distance=age - following)
    return genome


def _fit_unique(genome: Columns, rng, clade: Clade, node: Node, *, goal_bp: int) -> Columns:
    """Turnover of what lies between genes: new unique sequence is added, or old is deleted, towards a goal."""
    surplus = int((genome.copy < 0).sum()) - goal_bp
    spacer = (genome.gene < 0) & (genome.copy < 0)
    if surplus > 0:
        rate = min(0.9, surplus / max(1, int(spacer.sum())))
        block = np.arange(len(genome)) // 50
        doomed = rng.random(int(block[-1]) + 1)[block] < rate
        return delete(genome, doomed & spacer)
    count = max(1, -surplus // FRESH_BP)
    positions = np.sort(rng.choice(np.flatnonzero(spacer[1:]) + 1, size=count))
    lengths = np.rint(rng.dirichlet(np.ones(count)) * -surplus).astype(int) + 1
    gc = node.gc + rng.normal(0, 0.04, count)
    pieces = [piece(clade.background.draw(rng, int(n), float(g)), kind=Kind.INTERGENIC) for n, g in zip(lengths, gc)]
    return insert(genome, positions, pieces)

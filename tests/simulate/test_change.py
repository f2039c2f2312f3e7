"""What time does to columns: rates are those asked for, selection purges, and no event breaks a gene."""

import numpy as np
import pytest

from plantgfm.sequence import reverse_complement
from plantgfm.simulate import change
from plantgfm.simulate.background import make_background
from plantgfm.simulate.clade import _genes, _root_genome, stream
from plantgfm.simulate.codons import AMINO_INDEX
from plantgfm.simulate.columns import CODING, COPIES, Columns, Kind, concatenate, delete, insert, piece
from plantgfm.simulate.config import WorldConfig

CONFIG = WorldConfig(genome_size_bp=200_000)


@pytest.fixture(scope="module")
def background():
    return make_background(np.random.default_rng(1))


@pytest.fixture(scope="module")
def root(background) -> Columns:
    rng = stream(CONFIG, "test root")
    return _root_genome(rng, CONFIG, background, _genes(rng, CONFIG, background))


@pytest.fixture
def habit(background) -> change.Habit:
    return change.Habit(gc=0.42, gc3=0.45, kappa=4.8, cpg_factor=3.0, background=background)


def copied(genome: Columns) -> Columns:
    return genome.take(np.arange(len(genome)))


def frames_are_open(genome: Columns) -> bool:
    positions = change.coding_positions(genome)
    codons = AMINO_INDEX[change.codon_numbers(genome, genome.code, positions)]
    is_stop = genome.kind[positions[:, 0]] == Kind.STOP
    return bool((codons[is_stop] == 0).all() and (codons[~is_stop] != 0).all())


def genes_are_whole(genome: Columns) -> bool:
    """Each gene lies in one piece on one chromosome, and keeps its sites in order along its strand."""
    for gene in np.unique(genome.gene[genome.gene >= 0]):
        at = np.flatnonzero(genome.gene == gene)
        sites = genome.site[at][genome.site[at] >= 0] * int(np.sign(genome.strand[at].sum()))
        if at[-1] - at[0] + 1 != at.size or np.unique(genome.chrom[at]).size > 1 or (np.diff(sites) < 0).any():
            return False
    return True


def chromosomes_are_whole(genome: Columns) -> bool:
    numbers = [number for number, _, _ in genome.spans()]
    return len(numbers) == len(set(numbers))


def test_root_genes_are_open_and_whole(root):
    assert frames_are_open(root)
    assert genes_are_whole(root)
    assert chromosomes_are_whole(root)


@pytest.mark.parametrize("distance", [0.02, 0.1, 0.3])
def test_neutral_distance_is_realised(distance):
    rng = np.random.default_rng(3)
    before = rng.integers(0, 4, 200_000).astype(np.uint8)
    after = change.mutate_codes(rng, before, distance=distance, gc=0.5, kappa=1.0)
    different = float((before != after).mean())
    assert different == pytest.approx(1 - np.exp(-distance), abs=0.005)


def test_transitions_outnumber_transversions():
    rng = np.random.default_rng(3)
    before = rng.integers(0, 4, 100_000).astype(np.uint8)
    after = change.mutate_codes(rng, before, distance=0.05, gc=0.5, kappa=4.8)
    changed = before != after
    share = float((np.abs(before[changed].astype(int) - after[changed]) == 2).mean())
    assert share == pytest.approx(4.8 / 6.8, abs=0.03)


def test_unknown_bases_stay_unknown():
    codes = np.full(500, 4, dtype=np.uint8)
    assert (change.mutate_codes(np.random.default_rng(0), codes, distance=1.0, gc=0.5, kappa=2.0) == 4).all()


def test_composition_drifts_to_what_the_lineage_tends_to():
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 4, 50_000).astype(np.uint8)
    for _ in range(60):
        codes = change.mutate_codes(rng, codes, distance=0.05, gc=0.3, kappa=3.0)
    assert float(np.isin(codes, (1, 2)).mean()) == pytest.approx(0.3, abs=0.03)


def test_substitution_leaves_frames_open_and_frozen_sites_alone(root, habit):
    genome, rng = copied(root), np.random.default_rng(4)
    for _ in range(10):
        change.substitute(genome, rng, distance=0.04, habit=habit, omega=0.17)
    assert frames_are_open(genome)
    frozen = np.isin(genome.kind, (Kind.START, Kind.STOP, Kind.SPLICE))
    assert np.array_equal(genome.code[frozen], root.code[frozen])


def test_constraint_orders_the_site_classes(root, habit):
    genome, rng = copied(root), np.random.default_rng(4)
    for _ in range(5):
        change.substitute(genome, rng, distance=0.04, habit=habit, omega=0.17)
    different = genome.code != root.code

    def rate(*kinds: Kind) -> float:
        return float(different[np.isin(root.kind, kinds)].mean())

    assert rate(Kind.INTERGENIC) == pytest.approx(0.18, abs=0.05)
    assert rate(Kind.INTERGENIC) > rate(Kind.UTR3) > rate(Kind.CDS1, Kind.CDS2) > rate(Kind.AUXRE)
    assert rate(Kind.CDS3) > 2 * rate(Kind.CDS2)


def test_selection_reaches_the_ratio_asked_for(root, habit):
    """Changed amino acids a nonsynonymous site over synonymous changes a site, against no selection at all."""

    def changed_amino(omega: float) -> float:
        genome = copied(root)
        change.substitute(genome, np.random.default_rng(5), distance=0.03, habit=habit, omega=omega)
        positions = change.coding_positions(genome)
        old = AMINO_INDEX[change.codon_numbers(genome, root.code, positions)]
        return float((old != AMINO_INDEX[change.codon_numbers(genome, genome.code, positions)]).mean())

    assert changed_amino(0.17) / changed_amino(1.0) == pytest.approx(0.17, abs=0.05)


def test_indels_keep_frames_and_genes(root):
    genome, rng = copied(root), np.random.default_rng(6)
    for _ in range(6):
        genome = change.indels(genome, rng, distance=0.05, config=CONFIG)
    assert len(genome) < len(root)
    assert frames_are_open(genome)
    assert genes_are_whole(genome)
    coding = [int(np.isin(g.kind, CODING).sum()) for g in (root, genome)]
    assert coding[0] != coding[1]
    assert all(count % 3 == 0 for count in coding)


def test_indel_rate(root):
    config = WorldConfig(genome_size_bp=200_000, deletion_share=1.0, mean_deletion_bp=1.0)
    genome = change.indels(copied(root), np.random.default_rng(6), distance=0.1, config=config)
    soft = float(change.SOFT[root.kind].mean())
    assert (len(root) - len(genome)) / len(root) == pytest.approx(0.1 * config.indel_rate * soft, rel=0.25)


def test_tandem_copies_are_younger_than_the_root(root):
    config = WorldConfig(genome_size_bp=200_000, deletion_share=0.0)
    genome = change.indels(copied(root), np.random.default_rng(6), distance=0.1, config=config)
    assert len(genome) > len(root)
    sites = genome.site[genome.site >= 0]
    assert sites.size == np.unique(sites).size == (root.site >= 0).sum()


def test_rearrangement_moves_and_turns_but_loses_nothing(root):
    genome = change.rearrange(copied(root), np.random.default_rng(7), branch=1.0, config=CONFIG)
    assert genes_are_whole(genome)
    assert chromosomes_are_whole(genome)
    assert frames_are_open(genome)
    assert np.array_equal(np.sort(genome.site), np.sort(root.site))
    assert len(genome) == len(root)
    order = [list(dict.fromkeys(g.gene[g.gene >= 0].tolist())) for g in (root, genome)]
    assert order[0] != order[1]
    assert not np.array_equal(genome.chrom, root.chrom)


def test_duplication_doubles_and_loses_a_third_of_the_pairs(root):
    genome = change.double(copied(root), np.random.default_rng(8), fractionation=0.35)
    pairs = np.unique(root.gene[root.gene >= 0]) // COPIES
    kept = np.unique(genome.gene[genome.gene >= 0])
    assert set(kept.tolist()) <= {int(p) * COPIES + i for p in pairs for i in (0, 1)}
    assert set((kept // COPIES).tolist()) == set(pairs.tolist())
    assert 1.3 * pairs.size < kept.size < 1.95 * pairs.size
    assert len(genome.spans()) == len(root.spans())
    assert genes_are_whole(genome)


def test_losing_genes_takes_whole_genes(root):
    genome = change.lose_genes(copied(root), np.random.default_rng(9), share=0.5)
    before, after = (set(np.unique(g.gene[g.gene >= 0]).tolist()) for g in (root, genome))
    assert after < before
    assert genes_are_whole(genome)


def test_background_words_survive_substitution(background, habit):
    """Preferred words are as frequent after long substitution as in fresh sequence; without preference they fade."""
    rng = np.random.default_rng(10)
    fresh = background.draw(rng, 60_000, 0.42)
    genome = piece(fresh, kind=Kind.INTERGENIC)
    for _ in range(15):
        change.substitute(genome, rng, distance=0.04, habit=habit, omega=0.17)
    neutral = change.mutate_codes(rng, fresh, distance=0.6, gc=0.42, kappa=4.8)

    def energy(codes: np.ndarray) -> float:
        number = sum(codes[i : codes.size - 5 + i].astype(np.int64) * 4 ** (5 - i) for i in range(6))
        return float(background.energy[number].mean())

    assert energy(genome.code) > energy(neutral) + 0.3 * (energy(fresh) - energy(neutral))


def test_preference_is_the_same_on_both_strands(background):
    rng = np.random.default_rng(11)
    codes = rng.integers(0, 4, 300).astype(np.uint8)
    at, new = np.arange(20, 280), rng.integers(0, 4, 260).astype(np.uint8)
    mirrored = background.preference(reverse_complement(codes), 299 - at, (3 - new).astype(np.uint8))
    short = background.preference(codes, at, new)
    cpg = codes[at - 1] * 0  # the CpG term looks at the last pair of a word only, so strands may differ there
    assert np.corrcoef(short + cpg, mirrored)[0, 1] > 0.8


def test_flipping_twice_is_the_identity(root):
    twice = root.flipped(100, 5_000).flipped(100, 5_000)
    assert np.array_equal(twice.code, root.code)
    assert np.array_equal(twice.strand, root.strand)
    once = root.flipped(100, 5_000)
    assert np.array_equal(once.code[100:5_000], reverse_complement(root.code[100:5_000]))


def test_insert_and_delete_undo_each_other(root):
    new = [piece(np.full(n, 2, dtype=np.uint8), copy=n) for n in (7, 11)]
    grown = insert(root, np.array([50, 9_000]), new)
    assert len(grown) == len(root) + 18
    assert (grown.copy[50:57] == 7).all()
    assert chromosomes_are_whole(grown)
    back = delete(grown, grown.copy >= 0)
    assert np.array_equal(back.code, root.code)
    assert len(concatenate([root, back])) == 2 * len(root)

"""The tree and the root: distances as cited, fewer species leave the others as they are, genes as planned."""

import itertools

import numpy as np
import pytest

from plantgfm.simulate import codons
from plantgfm.simulate.background import domains, make_background
from plantgfm.simulate.clade import grow_clade, stream
from plantgfm.simulate.columns import CODING, Kind
from plantgfm.simulate.config import MAX_SPECIES, WorldConfig
from plantgfm.simulate.genes import make_domains, make_gene
from plantgfm.simulate.species import CLADE, children_of, divergence, lineage_of, shares_duplication, species_of

HELD_OUT = WorldConfig().held_out


@pytest.fixture(scope="module")
def background():
    return make_background(np.random.default_rng(1))


def genes(background, count: int, **settings):
    rng, config = np.random.default_rng(4), WorldConfig(**settings)
    library = make_domains(rng)
    return [make_gene(rng, config, background=background, domains=library, auxin=i % 4 == 0) for i in range(count)]


def test_pairwise_divergence_spans_what_was_cited():
    names = [node.name for node in species_of(MAX_SPECIES, held_out=HELD_OUT)]
    distances = {pair: divergence(*pair) for pair in itertools.combinations(names, 2)}
    assert min(distances.values()) == pytest.approx(0.06)
    assert 0.55 < max(distances.values()) <= 0.62
    assert divergence("Duplaria mira", HELD_OUT) == pytest.approx(0.12)


def test_there_are_twelve_training_species_and_one_held_out():
    species = species_of(WorldConfig().species, held_out=HELD_OUT)
    assert len(species) == 13
    assert HELD_OUT in {node.name for node in species}
    assert len({node.name for node in CLADE}) == len(CLADE)


@pytest.mark.parametrize("count", range(3, 14))
def test_any_number_of_species_keeps_the_held_out_one(count):
    species = [node.name for node in species_of(count, held_out=HELD_OUT)]
    assert len(species) == count
    assert HELD_OUT in species


def test_another_species_can_be_held_out():
    assert "Basalea prima" in {node.name for node in species_of(3, held_out="Basalea prima")}
    with pytest.raises(ValueError, match="held_out = 'Rosa canina'"):
        species_of(5, held_out="Rosa canina")


def test_lineages_and_children_agree():
    for node in CLADE:
        assert lineage_of(node.name)[-1] is node
    assert [n.name for n in children_of("", kept={"Basalea prima"})] == ["Monocalis"]


def test_repeat_targets_lie_between_30_and_80_per_cent():
    shares = [node.repeat_share for node in CLADE if node.is_species]
    assert 0.3 <= min(shares) < 0.4
    assert 0.7 < max(shares) <= 0.8
    sizes = [node.size for node in CLADE if node.is_species]
    assert np.mean(sizes) == pytest.approx(1.0, abs=0.06)


def test_the_duplication_is_in_one_lineage():
    assert [node.name for node in CLADE if node.duplicates] == ["Duplaria"]
    assert shares_duplication("Duplaria mira", HELD_OUT)
    assert not shares_duplication("Virela solis", HELD_OUT)


def test_streams_depend_on_seed_and_name_only():
    draws = {(seed, name): stream(WorldConfig(seed=seed), name).random() for seed in (1, 2) for name in ("a", "b")}
    assert len(set(draws.values())) == 4
    assert stream(WorldConfig(seed=1), "a").random() == draws[1, "a"]


def test_a_species_does_not_depend_on_which_others_are_grown():
    config = WorldConfig(genome_size_bp=60_000)
    alone = {node.name: lineage for node, lineage, _ in grow_clade(config, kept={"Basalea prima"})}
    among = {node.name: lineage for node, lineage, _ in grow_clade(config, kept={"Basalea prima", "Gramena alba"})}
    assert np.array_equal(alone["Basalea prima"].genome.code, among["Basalea prima"].genome.code)


def test_genes_have_the_structure_of_their_source(background):
    made = genes(background, 60)
    introns = [int(np.sum(np.diff((gene.kind == Kind.SPLICE).astype(int)) == 1)) / 2 for gene in made]
    coding = [int(np.isin(gene.kind, CODING).sum()) for gene in made]
    assert np.mean(introns) == pytest.approx(WorldConfig().mean_introns, abs=1.2)
    assert 800 < np.median(coding) < 1_500
    assert np.mean([(gene.kind == Kind.UTR5).sum() for gene in made]) == pytest.approx(140, rel=0.3)
    assert all(count % 3 == 0 for count in coding)


def test_promoters_carry_motifs_in_their_share(background):
    made = genes(background, 120)
    tata = np.mean([(gene.kind == Kind.TATA).any() for gene in made])
    assert tata == pytest.approx(WorldConfig().tata_fraction, abs=0.13)
    for gene in made:
        assert (gene.kind == Kind.AUXRE).any() == gene.auxin
        assert (gene.kind == Kind.POLYA).sum() == 6


def test_proteins_of_the_auxin_family_share_a_domain(background):
    def translated(gene) -> str:
        numbers = gene.code[np.isin(gene.kind, CODING)].astype(int).reshape(-1, 3) @ [16, 4, 1]
        return "".join(codons.AMINO[n] for n in numbers)

    made = genes(background, 16)
    texts = [translated(gene) for gene in made if gene.auxin]
    others = [translated(gene) for gene in made if not gene.auxin]

    def shared(one: str, two: str) -> int:
        return len({one[i : i + 4] for i in range(len(one) - 3)} & {two[i : i + 4] for i in range(len(two) - 3)})

    within = np.mean([shared(a, b) for a, b in itertools.combinations(texts, 2)])
    between = np.mean([shared(a, b) for a in texts for b in others])
    assert within > between + 5


def test_codon_usage_follows_gc3(background):
    rng = np.random.default_rng(1)
    residues = codons.protein(rng, 3_000)
    shares = [
        float(np.isin(codons.coding_sequence(rng, residues, gc3, background)[2::3], (1, 2)).mean())
        for gc3 in (0.3, 0.7)
    ]
    assert shares[1] - shares[0] > 0.2


def test_coding_sequence_translates_back(background):
    rng = np.random.default_rng(1)
    residues = codons.protein(rng, 500)
    numbers = codons.coding_sequence(rng, residues, 0.5, background).astype(int).reshape(-1, 3) @ [16, 4, 1]
    assert [codons.AMINO[n] for n in numbers] == [codons.LETTERS[r] for r in residues]


def test_genetic_code_is_the_standard_one():
    named = {"ATG": "M", "TGG": "W", "TAA": "*", "TAG": "*", "TGA": "*", "GGC": "G", "AAA": "K", "TTT": "F"}
    for codon, amino in named.items():
        a, b, c = ("ACGT".index(base) for base in codon)
        assert codons.AMINO[16 * a + 4 * b + c] == amino
    assert sorted(set(codons.AMINO)) == sorted("*" + codons.LETTERS)


def test_background_has_the_gc_and_the_habits_asked_for(background):
    rng = np.random.default_rng(2)
    for gc in (0.3, 0.42, 0.55):
        codes = background.draw(rng, 60_000, gc)
        assert float(np.isin(codes, (1, 2)).mean()) == pytest.approx(gc, abs=0.06)
    codes = background.draw(rng, 100_000, 0.42)
    counts = np.bincount(codes[:-1].astype(int) * 4 + codes[1:], minlength=16) / codes.size
    share = np.bincount(codes, minlength=4) / codes.size
    assert counts[6] < 0.8 * share[1] * share[2]  # CpG
    assert share[0] == pytest.approx(share[3], abs=0.03)


def test_domains_wander_slowly():
    track = domains(np.random.default_rng(1), 200_000, 0.4)
    assert 0.02 < track.std() < 0.08
    assert np.abs(np.diff(track)).max() < 0.0001

"""Records that are partly another species': found with the interval, told by the repeats of both, relatives spared."""

import numpy as np
import pytest

from plantgfm.config import settings
from plantgfm.curation import chimeras
from plantgfm.curation.config import ContaminationConfig, CurationConfig
from plantgfm.curation.curate import curate
from plantgfm.schema import Outcome
from plantgfm.sequence import BASE_MASK, reverse_complement
from plantgfm.sketch import fraction
from tests.curation.planted import finals, flags, mutated, random_codes, write_assembly

CONFIG = ContaminationConfig()
ONE, TWO = "Planta prima", "Herba secunda"


def genome(seed, length_bp, *, repeats=True):
    """Sequence in which a family of 1.5 kb, the species' own, lies every 5 kb."""
    codes, family = random_codes(length_bp, seed), random_codes(1_500, seed // 100)
    for number, start in enumerate(range(1_000, length_bp - 1_500, 5_000) if repeats else ()):
        codes[start : start + 1_500] = mutated(family, 0.99, number)
    return codes


@pytest.fixture(scope="module")
def sources():
    return genome(1_100, 150_000), genome(1_200, 200_000)


def run(folder, assemblies, *asked):
    rows = [write_assembly(folder, stem, records, species=name, **more) for stem, name, records, more in assemblies]
    return curate(rows, settings(CurationConfig, list(asked)), store=folder / "store")


def half_and_half(sources):
    one, two = sources
    part = mutated(two[90_000:150_000], 0.995, 5)
    return np.concatenate([genome(1_101, 60_000), np.ascontiguousarray(reverse_complement(part))])


@pytest.fixture(scope="module")
def two_species(tmp_path_factory, sources):
    chimera = half_and_half(sources)
    assemblies = [
        ("one", ONE, [("chr1", sources[0]), ("half", chimera)], {}),
        ("two", TWO, [("c1", sources[1])], {}),
    ]
    return tmp_path_factory.mktemp("chimera"), assemblies, chimera


def test_half_of_another_species_is_flagged_with_its_interval_and_no_clean_record_is(two_species):
    folder, assemblies, chimera = two_species
    found = run(folder, assemblies)
    assert {end for end in finals(found).values()} == {("accepted", "accepted")}
    assert flags(found) == {("one", "half"): {"chimera"}}
    (one,) = found.ledger.findings
    assert (one.record, one.kind, one.name, one.action.value) == ("half", "chimera", TWO, "flag")
    assert abs(one.start - 60_000) < 300 and chimera.size - one.end < 300
    (flag,) = [d for d in found.ledger.decisions if d.outcome is Outcome.FLAGGED]
    assert flag.stage == "contamination" and f"it is {TWO} rather" in flag.evidence
    assert f"identical to a part of {TWO}||two c1, named {TWO}" in flag.evidence.replace("|two.fa.gz", "")


def test_a_chimera_is_cut_or_dropped_where_it_is_asked(two_species):
    folder, assemblies, chimera = two_species
    cut = run(folder, assemblies, "contamination.chimeras=CUT")
    assert finals(cut)["one", "half"] == ("accepted", "cut") and finals(cut)["two", "c1"][0] == "accepted"
    (piece,) = (record for record in cut.accepted if record.name == "half")
    assert piece.start == 0 and abs(piece.length_bp - 60_000) < 300
    assert np.array_equal(piece.load() & BASE_MASK, chimera[: piece.length_bp])
    dropped = run(folder, assemblies, "contamination.chimeras=DROP")
    assert finals(dropped)["one", "half"] == ("contamination", "chimera")
    longer = run(folder, assemblies, "contamination.min_chimera_bp=61000")
    assert flags(longer) == {}


def test_where_nothing_says_which_name_is_right_both_are_in_doubt(tmp_path):
    one, two = genome(1_100, 60_000, repeats=False), genome(1_200, 150_000, repeats=False)
    half = np.concatenate([genome(1_101, 50_000, repeats=False), two[:50_000]])
    found = run(tmp_path, [("one", ONE, [("chr1", one), ("half", half)], {}), ("two", TWO, [("c1", two)], {})])
    assert flags(found) == {("one", "half"): {"chimera_in_doubt"}, ("two", "c1"): {"chimera_in_doubt"}}
    assert all(piece.cut_bp == 0 for piece in found.ledger.decisions)


@pytest.mark.parametrize("identity", [0.99, 0.998])  # below and above what duplicates ask of two species names
def test_a_record_of_another_species_among_those_of_an_assembly_is_named_and_rejected(tmp_path, sources, identity):
    stray = mutated(sources[1][20_000:80_000], identity, 6)
    records = [("chr1", sources[0]), ("stray", stray)]
    found = run(tmp_path, [("one", ONE, records, {}), ("two", TWO, [("c1", sources[1])], {})])
    assert finals(found)["one", "stray"] == ("duplicates", "species_mismatch")
    assert finals(found)["two", "c1"] == finals(found)["one", "chr1"] == ("accepted", "accepted") and not flags(found)
    (rejection,) = [d for d in found.ledger.decisions if d.outcome is Outcome.REJECTED]
    assert (rejection.kept_assembly, rejection.kept_record) == (f"{TWO}||two|two.fa.gz", "c1")


def test_several_records_of_another_species_do_not_pass_for_relatives(tmp_path, sources):
    """Of an assembly 120 of 270 kb are another's; those near enough are told, and what is left of it is kept."""
    spans = [(0, 30_000), (50_000, 80_000), (120_000, 150_000)]
    strays = [(f"s{i}", mutated(sources[1][a:b], 0.99, i)) for i, (a, b) in enumerate(spans)]
    records = [("chr1", sources[0]), *strays, ("far", mutated(sources[1][160_000:190_000], 0.95, 9))]
    found = run(tmp_path, [("one", ONE, records, {}), ("two", TWO, [("c1", sources[1])], {})])
    assert {finals(found)["one", name] for name, _ in strays} == {("duplicates", "species_mismatch")}
    assert {finals(found)[kept] for kept in (("one", "chr1"), ("one", "far"), ("two", "c1"))} == {
        ("accepted", "accepted")
    }


def test_relatives_that_share_most_records_are_relatives(tmp_path):
    """Sister species, five of whose eight contigs lie in a piece of the other: nothing is wrong."""
    contigs = [genome(1_100 + i, 30_000, repeats=False) for i in range(8)]
    one = [(f"c{i}", mutated(codes, 0.985, i)) for i, codes in enumerate(contigs)]
    found = run(tmp_path, [("one", ONE, one, {}), ("two", TWO, [("p", np.concatenate(contigs[:5]))], {})])
    assert all(end[0] == "accepted" for end in finals(found).values())
    assert {reason for said in flags(found).values() for reason in said} == {"close_to_other_species"}


def relatives(whole):
    """Pieces of two sister species that overlap: half of each lies in the other, and nothing is wrong."""
    size = {"expected_size_bp": 100_000} if whole else {}
    ancestor = genome(1_100, 150_000)
    first, second = ancestor[:100_000], mutated(ancestor, 0.985, 7)[50_000:]
    return [("one", ONE, [("chr1", first)], size), ("two", TWO, [("c1", second)], size)]


def test_pieces_of_relatives_have_parts_in_common_by_chance(tmp_path):
    assert flags(run(tmp_path, relatives(whole=False))) == {}


def test_what_a_genome_holds_in_many_places_is_its_own(tmp_path, sources):
    """A mobile element of 12 kb that two species have, here and there."""
    element, (one, two) = random_codes(12_000, 77), (part.copy() for part in sources)
    for start in (20_000, 60_000, 100_000):
        one[start : start + 12_000], two[start : start + 12_000] = (
            mutated(element, 0.99, start),
            mutated(element, 0.99, 9),
        )
    lone = np.concatenate([genome(1_101, 30_000), element])
    found = run(tmp_path, [("one", ONE, [("chr1", one), ("lone", lone)], {}), ("two", TWO, [("c1", two)], {})])
    assert flags(found) == {}


def test_a_piece_of_a_near_relative_is_named_where_the_relatives_genome_is_whole(tmp_path):
    """Half of a chromosome from a sister species (an introgression, or a chimera), beside both genomes."""
    ancestor = genome(1_100, 200_000)
    one, two = mutated(ancestor, 0.96, 8), mutated(ancestor, 0.96, 9)
    mixed = np.concatenate([mutated(ancestor[:60_000], 0.93, 10), mutated(two[60_000:130_000], 0.998, 11)])
    records = [("chr1", one), ("mixed", mixed)]
    sister = ("two", TWO, [("c1", two)], {"expected_size_bp": 200_000})
    found = run(tmp_path, [("one", ONE, records, {}), sister])
    assert flags(found) == {("one", "mixed"): {"chimera_in_doubt"}}
    apart = run(tmp_path, [("one", ONE, records, {}), (*sister[:3], {})])
    assert flags(apart) == {}, "of a piece of a relative it is chance what it has in common"


def test_of_a_long_record_blocks_are_looked_at_first(monkeypatch, two_species):
    folder, assemblies, chimera = two_species
    monkeypatch.setattr(chimeras, "_BLOCKS", 8)
    monkeypatch.setattr(chimeras, "_BLOCK_BP", 8_000)
    assert len(chimeras._blocks(chimera.size)) == 8 and chimeras._blocks(chimera.size)[-1][1] == chimera.size
    found = run(folder, assemblies, "contamination.min_chimera_bp=10001")
    assert flags(found) == {("one", "half"): {"chimera"}}
    (one,) = found.ledger.findings
    assert abs(one.start - 60_000) < 300, "all of it is read in the end"


def test_dense_runs_are_those_in_which_marks_outweigh_gaps():
    marks = np.zeros(2_000, dtype=bool)
    marks[200:400], marks[900:1_500:2] = True, True
    assert chimeras.dense_runs(marks) == [(200, 400), (900, 1_499)]
    marks[905:1_495] = np.random.default_rng(1).random(590) < 0.3
    assert chimeras.dense_runs(marks) == [(200, 400)]
    assert chimeras.dense_runs(marks[:0]) == chimeras.dense_runs(np.zeros(100, dtype=bool)) == []


def test_a_split_says_how_much_lies_inside_and_beside():
    own, other = random_codes(40_000, 1), random_codes(40_000, 2)
    theirs = np.unique(fraction(other, k=CONFIG.k, scaled=CONFIG.scaled)[0])
    mixed = chimeras.split(np.concatenate([own, mutated(other, 0.99, 3)]), theirs, config=CONFIG)
    within, beside = mixed.shares
    assert mixed.parts_ways and 0.45 < mixed.part < 0.55 and 0.7 < within < 0.95 and beside == 0
    assert not chimeras.split(own, theirs, config=CONFIG).parts_ways
    assert not chimeras.split(own, theirs[:0], config=CONFIG).parts_ways
    assert not chimeras.split(mutated(other, 0.93, 4), theirs, config=CONFIG).parts_ways

"""Every way in which sequence comes twice, planted side by side in one input: each is found and named as what it is."""

import gzip

import numpy as np
import pytest

from plantgfm.curation.config import CurationConfig
from plantgfm.curation.curate import curate
from plantgfm.schema import Compartment, Outcome
from plantgfm.sequence import reverse_complement
from tests.curation.planted import finals, flags, mutated, random_codes, write_assembly

SIZES = (60_000, 40_000, 30_000)
ACCEPTED = ("accepted", "accepted")


def genome(seed):
    return [random_codes(size, 1_000 * seed + i) for i, size in enumerate(SIZES)]


def turned(codes):
    return np.ascontiguousarray(reverse_complement(codes))


def changed(records, identity, seed=1):
    return [mutated(codes, identity, 10 * seed + i) for i, codes in enumerate(records)]


def named(records, stem="x"):
    return [(f"{stem}{i}", codes) for i, codes in enumerate(records)]


COPIES = {
    "same": (lambda g: named(g[::-1]), "exact_duplicate", "on the same strand"),
    "turned": (lambda g: named([turned(one) for one in g]), "reverse_complement_twin", "on the other strand"),
    "partly": (lambda g: named([turned(g[0]), *g[1:]]), "exact_duplicate", "on both strands"),
    "half_percent": (lambda g: named(changed(g, 0.995)), "near_duplicate", "~99."),
    "pieces": (lambda g: named([p for one in g for p in np.array_split(one, 12)]), "near_duplicate", "higher N50"),
    "less": (lambda g: named([turned(p) for one in changed(g, 0.997) for p in np.array_split(one, 6)][:11]),
             "near_duplicate", "to a part of"),
    "joined": (lambda g: [("x", np.concatenate([p for one in g for p in (one, np.full(30_000, 4, np.uint8))][:-1])),
                          ("y", random_codes(2_000, 9))], "", ""),
    "gapped": (lambda g: named([np.where(np.arange(one.size) % 5_000 < 1_200, 4, one) for one in g]),
               "near_duplicate", "~"),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("planted")


@pytest.fixture(scope="module")
def copies(folder):
    """For each kind of copy a species of its own: the original and the copy."""
    rows = []
    for number, (kind, (make, _, _)) in enumerate(COPIES.items()):
        original, species = genome(number), f"Testus n{number}"
        rows.append(write_assembly(folder, f"{kind}_first", named(original, "chr"), species=species))
        copy = [(name, codes.astype(np.uint8)) for name, codes in make(original)]
        rows.append(write_assembly(folder, f"{kind}_second", copy, species=species))
    return curate(rows, CurationConfig(), store=folder / "store")


@pytest.mark.parametrize("kind", [kind for kind in COPIES if kind != "joined"])
def test_a_copy_is_found_and_named(copies, kind):
    _, reason, told = COPIES[kind]
    ends = finals(copies)
    assert {end for (where, _), end in ends.items() if where == f"{kind}_second"} == {("duplicates", reason)}
    assert {end for (where, _), end in ends.items() if where == f"{kind}_first"} == {ACCEPTED}
    for d in copies.ledger.decisions:
        if d.reason == reason and f"|{kind}_second|" in d.assembly:
            assert told in d.evidence and f"{kind}_first" in d.kept_assembly


def test_scaffolds_joined_by_gaps_replace_their_contigs(copies):
    """The same known bases in longer records, and a little more: the contigs go, each for what holds it."""
    ends = finals(copies)
    assert [ends["joined_first", f"chr{i}"][1] for i in range(3)] == ["near_duplicate"] * 3
    assert ends["joined_second", "x"] == ends["joined_second", "y"] == ACCEPTED


def test_line_widths_case_and_compression_change_nothing(folder):
    g = genome(20)
    row = write_assembly(folder, "wide", named(g, "chr"))
    letters = gzip.decompress(row.fasta.read_bytes()).decode().split(">")[1:]
    narrow = []
    for number, record in enumerate(letters):
        bases = "".join(record.split("\n")[1:])
        bases = bases.lower() if number % 2 else bases
        narrow.append(f">other{number} x\r\n" + "\r\n".join(bases[i : i + 37] for i in range(0, len(bases), 37)))
    (folder / "narrow.fa").write_text("\r\n".join(narrow) + "\r\n")
    again = write_assembly(folder, "zagain", named(g[:1]))
    again.fasta.unlink()
    again = type(again)(**{**again.__dict__, "fasta": folder / "narrow.fa"})
    ends = finals(curate([row, again], CurationConfig(), store=folder / "store"))
    assert {end for (where, _), end in ends.items() if where == "zagain"} == {("duplicates", "exact_duplicate")}


def test_a_record_turned_round_beside_itself(folder):
    g = genome(21)
    row = write_assembly(folder, "beside", [*named(g, "chr"), ("twin", turned(g[1])), ("part", turned(g[0][:9_000]))])
    ends = finals(curate([row], CurationConfig(), store=folder / "store"))
    assert ends["beside", "twin"] == ("duplicates", "reverse_complement_twin")
    assert ends["beside", "part"] == ("duplicates", "near_duplicate")
    assert all(ends["beside", f"chr{i}"] == ACCEPTED for i in range(3))


def two_species(folder, *, second=None, size=None):
    """Species one in an assembly (and a second cultivar), species two in one of its own."""
    one, two = genome(22), genome(23)
    rows = [
        write_assembly(folder, "one", named(one, "chr"), species="Unus primus", expected_size_bp=size),
        write_assembly(folder, "two", named(two, "chr"), species="Duo secundus", expected_size_bp=size),
    ]
    if second:
        more = named(changed(one, second, 2), "alt")
        rows.append(write_assembly(folder, "cultivar", more, species="Unus primus", expected_size_bp=size))
    return one, rows


def run(folder, rows):
    return curate(rows, CurationConfig(), store=folder / "store")


def test_one_genome_under_two_names_that_nothing_decides(folder):
    one, rows = two_species(folder)
    rows.append(write_assembly(folder, "again", named(one), species="Alius alter"))
    found = run(folder, rows)
    ends = finals(found)
    assert {ends["one", f"chr{i}"] for i in range(3)} == {("duplicates", "same_sequence_two_species")}
    assert {ends["again", f"x{i}"] for i in range(3)} == {ACCEPTED}
    assert flags(found)["again", "x0"] == {"species_in_doubt"}
    (text,) = {d.evidence for d in found.ledger.decisions if d.reason == "species_in_doubt"}
    assert "named Unus primus in Unus primus||one|one.fa.gz" in text and "no other Alius alter" in text


def test_of_a_longer_assembly_the_records_that_both_names_have_are_in_doubt_and_no_others(folder):
    one = genome(24)
    rows = [
        write_assembly(folder, "longer", named(one, "chr"), species="Unus primus"),
        write_assembly(folder, "part", named([turned(one[0]), one[1][:20_000]]), species="Alius alter"),
    ]
    found = run(folder, rows)
    assert {finals(found)["part", f"x{i}"][1] for i in range(2)} == {"same_sequence_two_species"}
    doubts = {record for (where, record), reasons in flags(found).items() if "species_in_doubt" in reasons}
    assert doubts == {"chr0", "chr1"}, "nothing is said of chr2"


@pytest.mark.parametrize("other_strand", [False, True])
def test_a_genome_under_the_name_of_a_species_that_is_at_hand(folder, other_strand):
    one, rows = two_species(folder, second=0.985)
    copy = [turned(codes) if other_strand else codes for codes in one]
    rows.append(write_assembly(folder, "wrong", named(copy), species="Duo secundus", cultivar="q"))
    found = run(folder, rows)
    ends = finals(found)
    assert {ends["wrong", f"x{i}"] for i in range(3)} == {("duplicates", "species_mismatch")}
    assert {end for (where, _), end in ends.items() if where != "wrong"} == {ACCEPTED}
    (text,) = {d.evidence for d in found.ledger.decisions if d.reason == "species_mismatch"}
    assert "it is Unus primus rather" in text and ("other strand" if other_strand else "same strand") in text


def test_a_genome_that_its_own_name_refutes(folder):
    one, rows = two_species(folder, size=130_000)
    wrong = write_assembly(folder, "wrong2", named(one), species="Duo secundus", cultivar="q", expected_size_bp=130_000)
    ends = finals(run(folder, [*rows, wrong]))
    assert {ends["wrong2", f"x{i}"] for i in range(3)} == {("duplicates", "species_mismatch")}
    assert {ends["one", f"chr{i}"] for i in range(3)} == {ACCEPTED}


@pytest.mark.parametrize("identity", [1.0, 0.998])
def test_a_record_of_one_species_among_those_of_another(folder, identity):
    one, rows = two_species(folder, second=0.985)
    two = [*named(genome(23), "chr"), ("stolen", mutated(one[1], identity)), ("bit", mutated(one[0][:8_000], identity))]
    rows[1] = write_assembly(folder, f"two{identity}", two, species="Duo secundus")
    ends = finals(run(folder, rows))
    assert ends[f"two{identity}", "stolen"] == ends[f"two{identity}", "bit"] == ("duplicates", "species_mismatch")
    assert sum(end != ACCEPTED for end in ends.values()) == 2


def plastids(folder, *codes):
    return [
        write_assembly(folder, f"plastid{i}", [("ptg", one)], species=f"Testus n{i}", compartment=Compartment.PLASTID)
        for i, one in enumerate(codes)
    ]


def test_plastids_of_sister_species_are_kept_and_the_very_same_ring_is_not(folder):
    """Nicotiana sylvestris and N. tabacum differ by about 6 of 156,000 bp, and both names are right."""
    ring = random_codes(150_000, 24)
    sister = ring.copy()
    sister[[100, 60_000, 120_000]] = (sister[[100, 60_000, 120_000]] + 1) % 4
    partial = ring[20_000:22_000]  # a gene in which sister species don't differ
    rolled = turned(np.roll(ring, 40_000))
    ends = finals(run(folder, plastids(folder, ring, sister, rolled, mutated(ring, 0.9995), partial)))
    assert [ends[f"plastid{i}", "ptg"] for i in (0, 1, 3, 4)] == [ACCEPTED] * 4
    assert ends["plastid2", "ptg"] == ("duplicates", "same_sequence_two_species")
    rows = plastids(folder, ring, sister, rolled)
    rows = [type(row)(**{**row.__dict__, "species": "Testus unus"}) for row in rows]
    found = run(folder, rows)
    assert sum(end == ACCEPTED for end in finals(found).values()) == 1
    assert "exact_duplicate" in {d.reason for d in found.ledger.decisions}


def test_sister_species_at_99_percent_are_kept_where_copies_are_not(folder):
    g = genome(25)
    rows = [
        write_assembly(folder, "sister_a", named(g, "a"), species="Soror prima"),
        write_assembly(folder, "sister_b", named(changed(g, 0.991), "b"), species="Soror secunda"),
    ]
    found = run(folder, rows)
    assert set(finals(found).values()) == {ACCEPTED}
    assert {d.reason for d in found.ledger.decisions if d.outcome is Outcome.FLAGGED} == {"close_to_other_species"}
    rows[1] = write_assembly(folder, "sister_b", named(changed(g, 0.996), "b"), species="Soror secunda")
    assert ("duplicates", "same_sequence_two_species") in finals(run(folder, rows)).values()


def test_synonyms_are_one_species_for_duplicates(folder):
    """Lycopersicon esculentum and Solanum lycopersicum: a copy, and no doubt of what it is."""
    g = genome(26)
    (folder / "names.tsv").write_text("name\taccepted\nLycopersicon esculentum\tSolanum lycopersicum\n")
    rows = [
        write_assembly(folder, "old", named(g, "chr"), species="Lycopersicon esculentum"),
        write_assembly(folder, "young", named(g, "chr"), species="Solanum lycopersicum"),
        write_assembly(folder, "other", named(changed(g, 0.992), "x"), species="Lycopersicon esculentum"),
    ]
    config = CurationConfig()
    assert {reason for _, reason in finals(run(folder, rows)).values()} >= {"same_sequence_two_species"}
    config.label.synonyms = str(folder / "names.tsv")
    found = curate(rows, config, store=folder / "store", what_if=True)
    ends = finals(found)
    assert {ends["young", f"chr{i}"] for i in range(3)} == {("duplicates", "exact_duplicate")}
    assert {ends["other", f"x{i}"] for i in range(3)} == {("duplicates", "near_duplicate")}, "0.99 asked, not 0.994"
    assert {end for (where, _), end in ends.items() if where == "old"} == {ACCEPTED} and not flags(found)
    looser = {s.gained_records for s in found.ledger.steps if s.setting == "duplicates.species_identity"}
    assert looser == {0}, "no bar across species was asked"


def test_a_few_genes_shared_with_a_sister_do_not_name_a_genome(folder):
    """A name of which no other sequence is at hand may well be right."""
    g, sister = genome(27), genome(28)
    sister[0][1_000:1_400] = g[0][1_000:1_400]
    rows = [
        write_assembly(folder, "true", named(g, "chr"), species="Zzz vera"),
        write_assembly(folder, "false", named(changed(g, 0.999), "f"), species="Aaa soror"),
        write_assembly(folder, "sister", named(sister, "s"), species="Aaa soror"),
    ]
    found = run(folder, rows)
    assert {end for (where, _), end in finals(found).items() if where != "false"} == {ACCEPTED}
    assert {end for (where, _), end in finals(found).items() if where == "false"} == {
        ("duplicates", "same_sequence_two_species")
    }

"""Contamination: other strains of the references are found, plants of the same composition are not."""

import numpy as np
import pytest

from plantgfm.curation import contamination
from plantgfm.curation.config import ContaminationConfig
from plantgfm.curation.facts import stated_compartment
from plantgfm.curation.references import list_references, load_references
from plantgfm.curation.vectors import ADAPTORS, find_vectors, index_vectors
from plantgfm.formats.errors import FormatError
from plantgfm.formats.fasta import write_fasta
from plantgfm.formats.tables import write_tsv
from plantgfm.schema import Compartment, Outcome
from plantgfm.sequence import encode, reverse_complement
from plantgfm.sketch import fraction
from tests.curation.planted import facts_of, mutated, random_codes, told

CONFIG = ContaminationConfig()
BACTERIUM, VECTOR, PLASTID = random_codes(60_000, 11), random_codes(4_000, 12), random_codes(40_000, 13)


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    folder = tmp_path_factory.mktemp("references")
    rows = []
    for name, kind, codes in (
        ("Some bacterium", "foreign", BACTERIUM),
        ("pTest", "vector", VECTOR),
        ("Plastid of test", "organelle", PLASTID),
    ):
        write_fasta(folder / f"{kind}.fa", [(name.split()[-1], codes)])
        rows.append({"name": name, "kind": kind, "path": f"{kind}.fa"})
    write_tsv(folder / "references.tsv", rows, columns=["name", "kind", "path"])
    found = tuple(list_references(folder, CONFIG))
    return load_references(found, CONFIG.k, CONFIG.scaled, CONFIG.vector_seed_k)


def judge(codes, references, name="r", compartment=Compartment.NUCLEAR, description=""):
    fact = facts_of(name, codes, description)
    hashes, places = fraction(codes, k=CONFIG.k, scaled=CONFIG.scaled)
    found = contamination.judge_record(
        fact, codes, hashes, places, compartment=compartment, references=references, config=CONFIG
    )
    return told(found, codes.size)


def reasons(found):
    return [(v.outcome, v.reason) for v in found[0]]


@pytest.mark.parametrize("identity", [0.95, 0.97, 1.0])
@pytest.mark.parametrize("other_strand", [False, True])
def test_another_strain_of_a_bacterium_is_rejected(references, identity, other_strand):
    codes = mutated(BACTERIUM[10_000:18_000], identity)
    codes = reverse_complement(codes) if other_strand else codes
    assert reasons(judge(codes, references)) == [(Outcome.REJECTED, "foreign_organism")]


def test_clean_sequence_of_the_same_composition_is_kept(references):
    shuffled = np.random.default_rng(5).permutation(BACTERIUM[:20_000])
    assert judge(shuffled, references)[0] == []


def test_a_small_foreign_interval_is_masked_and_flagged(references):
    codes = np.concatenate([random_codes(30_000, 1), BACTERIUM[:4_000], random_codes(30_000, 2)])
    found, runs = judge(codes, references)
    assert [(v.outcome, v.reason) for v in found] == [(Outcome.FLAGGED, "foreign_organism_masked")]
    assert runs.shape == (1, 2) and abs(runs[0, 0] - 30_000) < 400 and abs(runs[0, 1] - 34_000) < 400


def test_two_shared_hashes_are_chance(references):
    hashes, places = fraction(BACTERIUM, k=CONFIG.k, scaled=CONFIG.scaled)
    for count, intervals in ((2, 0), (3, 1)):
        found = contamination.shared_intervals(hashes[:count], places[:count], references.foreign, CONFIG)
        assert len(found) == intervals
    repeated = contamination.shared_intervals(hashes[[0, 0, 0, 1]], places[:4], references.foreign, CONFIG)
    assert repeated == []


@pytest.mark.parametrize("other_strand", [False, True])
def test_vector_of_another_strain_is_found_where_it_lies(references, other_strand):
    insert = mutated(VECTOR, 0.95)
    insert = reverse_complement(insert) if other_strand else insert
    record = np.concatenate([random_codes(2_000, 1), insert, random_codes(2_000, 2)])
    found, runs = judge(record, references)
    assert [(v.outcome, v.reason) for v in found] == [(Outcome.REJECTED, "vector")] and runs.size == 0
    long = np.concatenate([random_codes(50_000, 1), insert[:1_000], random_codes(50_000, 2)])
    found, runs = judge(long, references)
    assert [(v.outcome, v.reason) for v in found] == [(Outcome.FLAGGED, "vector_masked")]
    covered = np.zeros(long.size, bool)
    for start, end in runs:
        covered[start:end] = True
    assert covered[50_000:51_000].mean() > 0.8 and covered.sum() < 1_100


def test_vector_matches_agree_with_a_slow_search():
    subject, query = random_codes(300, 3), random_codes(500, 4)
    query[100:140] = subject[50:90]
    query[120] = (query[120] + 1) % 4
    index = index_vectors([("v", subject)], 15)
    ((start, end, score, name),) = find_vectors(query, index, 30)
    best = max(
        (int(np.where(query[q : q + n] == subject[s : s + n], 1, -5).sum()), q, q + n)
        for q in range(80, 121)
        for s in (q - 50,)
        for n in range(10, 80)
    )
    assert (score, start, end) == best and name == "v"


def test_weak_matches_are_below_the_bar():
    subject = random_codes(300, 3)
    query = random_codes(500, 4)
    query[100:125] = subject[50:75]
    assert find_vectors(query, index_vectors([("v", subject)], 15), 30) == []


@pytest.mark.parametrize("other_strand", [False, True])
def test_adaptors_of_every_maker_are_always_screened(other_strand):
    assert {name.split()[0] for name in ADAPTORS} == {"Illumina", "PacBio", "Nanopore", "MGI"}
    index = index_vectors([], 15)
    for name, text in ADAPTORS.items():
        adaptor = reverse_complement(encode(text)) if other_strand else encode(text)
        query = np.concatenate([random_codes(400), adaptor, random_codes(400, 2)])
        ((start, end, _, found),) = find_vectors(query, index, 24)
        assert (found, start <= 400, end >= 400 + len(text)) == (name, True, True)


def test_plastid_under_a_nuclear_label_is_rejected_and_an_insertion_is_flagged(references):
    assert reasons(judge(mutated(PLASTID[:9_000], 0.96), references)) == [
        (Outcome.REJECTED, "organelle_under_nuclear_label")
    ]
    insertion = np.concatenate([random_codes(20_000, 1), PLASTID[:5_000], random_codes(20_000, 2)])
    found, runs = judge(insertion, references)
    assert [(v.outcome, v.reason) for v in found] == [(Outcome.FLAGGED, "organelle_insertion")]
    assert runs.size == 0, "insertions are natural: nothing is masked"
    assert judge(PLASTID[:9_000], references, compartment=Compartment.PLASTID)[0] == []


@pytest.mark.parametrize(
    ("name", "description", "expected"),
    [
        ("ChrC", "1..1545", Compartment.PLASTID),
        ("ChrM", "", Compartment.MITOCHONDRION),
        ("Mt", "", Compartment.MITOCHONDRION),
        ("Pt", "dna:chromosome", Compartment.PLASTID),
        ("NC_1", "Some plant chloroplast, complete genome", Compartment.PLASTID),
        ("NC_2", "Some plant mitochondrion, complete genome", Compartment.MITOCHONDRION),
        ("B73_mitochondrion_contig2", "", Compartment.MITOCHONDRION),
        ("Chloroplast1", "length=9", Compartment.PLASTID),
        ("lcl|plastid|NUMT_mitochondrial", "", None),
        ("nonplastidic_1", "", None),
        ("Chr1", "", None),
        ("C01", "", None),
        ("M5", "", None),
        ("Mt4.0v2_chr3", "", None),
        ("x", "nuclear gene for chloroplast product", None),
        ("x", "similar to chloroplast and mitochondrial sequence", None),
    ],
)
def test_compartment_that_a_header_states(name, description, expected):
    assert stated_compartment(name, description) is expected


def test_header_against_label_is_rejected_and_header_with_label_is_kept(references):
    codes = random_codes(3_000)
    assert reasons(judge(codes, references, "ChrC")) == [(Outcome.REJECTED, "plastid_under_nuclear_label")]
    assert judge(codes, references, "ChrC", Compartment.PLASTID)[0] == []
    assert reasons(judge(codes, references, "Mt", Compartment.PLASTID)) == [
        (Outcome.REJECTED, "mitochondrion_under_plastid_label")
    ]


@pytest.mark.parametrize(("kind", "path", "message"), [("bug", "a.fa", "'bug'"), ("foreign", "b.fa", "does not exist")])
def test_bad_reference_tables_are_named(tmp_path, kind, path, message):
    write_fasta(tmp_path / "a.fa", [("a", random_codes(100))])
    rows = [{"name": "x", "kind": kind, "path": path}]
    write_tsv(tmp_path / "references.tsv", rows, columns=["name", "kind", "path"])
    with pytest.raises(FormatError, match=message):
        list_references(tmp_path / "references.tsv", CONFIG)

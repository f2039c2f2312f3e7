"""Duplicates: found on both strands and under two names; near misses and chains are kept apart."""

import hashlib

import numpy as np
import pytest

from plantgfm.curation import duplicates
from plantgfm.curation.config import DuplicateConfig
from plantgfm.curation.duplicates import Sequence
from plantgfm.curation.names import Fit
from plantgfm.sequence import reverse_complement
from plantgfm.sketch import fraction, jaccard, jaccard_of_identity, minhash
from tests.curation.planted import mutated, random_codes

CONFIG = DuplicateConfig()
BASE = random_codes(40_000, 31)


def sequence(name, codes, species="Testus unus", named="", annotated=False, n50_bp=100):
    digests = [hashlib.sha256(np.ascontiguousarray(side)).hexdigest() for side in (codes, reverse_complement(codes))]
    return Sequence(
        assembly=name,
        record="r",
        species=species,
        named=named or species,
        length_bp=codes.size,
        known_bp=int((codes < 4).sum()),
        annotated=annotated,
        n50_bp=n50_bp,
        forward=digests[0],
        reverse=digests[1],
        content=min(digests),
        signature=minhash(codes, k=CONFIG.k, permutations=CONFIG.permutations, seed=CONFIG.seed),
        hashes=np.unique(fraction(codes, k=21, scaled=50)[0]),
        parts=lambda: [codes],
        k=CONFIG.k,
        bins=CONFIG.bins,
    )


def unknown(hashes, species, holders):
    """No other sequence is at hand."""
    return Fit(0, hashes.size, 0, whole=False, bearers=1)


def fits_as(shares, whole=False):
    """Shares found under each name, with other sequence of the names at hand."""
    return lambda hashes, species, holders: Fit(
        int(shares[species] * hashes.size), hashes.size, 9_999, whole=whole, bearers=1
    )


def find(*sequences, fit=unknown, across=0.99):
    return duplicates.find_duplicates(list(sequences), fit, identity=0.99, across=across, config=CONFIG).removals


def remove(*sequences, **more):
    return [(one.removed.assembly, one.kept.assembly, one.reason) for one in find(*sequences, **more)]


def test_exact_copies_and_exact_twins_are_named():
    assert remove(sequence("a", BASE), sequence("b", BASE)) == [("b", "a", "exact_duplicate")]
    twin = sequence("b", reverse_complement(BASE))
    assert remove(sequence("a", BASE), twin) == [("b", "a", "reverse_complement_twin")]


@pytest.mark.parametrize("other_strand", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_near_duplicates_are_found_on_both_strands(seed, other_strand):
    codes = mutated(BASE, 0.997, seed)
    codes = np.ascontiguousarray(reverse_complement(codes)) if other_strand else codes
    found = find(sequence("a", BASE), sequence("b", codes))
    assert [(one.removed.assembly, one.reason) for one in found] == [("b", "near_duplicate")]
    assert ("on the other strand" if other_strand else "on the same strand") in found[0].evidence
    assert "99." in found[0].evidence and "40,000" in found[0].evidence


@pytest.mark.parametrize("identity", [0.95, 0.98])
def test_near_misses_are_kept(identity):
    for seed in range(5):
        assert remove(sequence("a", BASE), sequence("b", mutated(BASE, identity, seed))) == []


def test_unrelated_and_empty_sequences_are_kept():
    empty = sequence("c", np.full(3_000, 4, np.uint8))
    assert remove(sequence("a", BASE), sequence("b", random_codes(40_000, 5)), empty) == []


def test_one_sequence_under_two_species_names_that_nothing_decides():
    twin = sequence("b", reverse_complement(BASE), species="Alter duo")
    (found,) = find(sequence("a", BASE), twin)
    assert (found.removed.assembly, found.reason) == ("b", "same_sequence_two_species")
    assert "Alter duo here and Testus unus there: not enough says" in found.evidence
    assert "other strand" in found.evidence and "named Alter duo in b r" in found.in_doubt


@pytest.mark.parametrize("wrong", ["a", "b"])
def test_the_sequence_of_a_species_under_the_name_of_another_is_named_as_such(wrong):
    a, b = sequence("a", BASE), sequence("b", mutated(BASE, 0.998), species="Alter duo")
    names = {"a": "Testus unus", "b": "Alter duo"}
    shares = {name: 0.0 if key == wrong else 0.4 for key, name in names.items()}
    (found,) = find(a, b, fit=fits_as(shares))
    assert (found.removed.assembly, found.reason, found.in_doubt) == (wrong, "species_mismatch", "")
    right = names["b" if wrong == "a" else "a"]
    assert f"it is {right} rather (40.0% of it is found in other sequence of {right}, 0.0%" in found.evidence


def test_a_name_without_other_sequence_is_no_mismatch_but_a_second_name():
    def fit(hashes, species, holders):
        at_hand = 9_999 if species == "Testus unus" else 0
        return Fit(hashes.size // 2 if at_hand else 0, hashes.size, at_hand, whole=False, bearers=1)

    (found,) = find(sequence("a", BASE), sequence("b", BASE, species="Alter duo"), fit=fit)
    assert (found.removed.assembly, found.reason, found.in_doubt) == ("b", "same_sequence_two_species", "")
    assert "it is Testus unus rather" in found.evidence and "no other Alter duo" in found.evidence


def test_a_whole_genome_of_the_name_that_shares_nothing_refutes_it():
    shares = {"Testus unus": 0.0, "Alter duo": 0.0}

    def fit(hashes, species, holders):
        return fits_as(shares, whole=species == "Testus unus")(hashes, species, holders)

    (found,) = find(sequence("a", BASE), sequence("b", BASE, species="Alter duo"), fit=fit)
    assert (found.removed.assembly, found.reason, found.in_doubt) == ("a", "species_mismatch", "")


def test_the_kept_one_is_chosen_by_rank_and_the_reason_is_told():
    plain, better = sequence("a", BASE), mutated(BASE, 0.999)
    gapped = BASE.copy()
    gapped[:50] = 4
    assert remove(plain, sequence("b", better, annotated=True))[0][:2] == ("a", "b")
    assert remove(sequence("a", gapped), sequence("b", better))[0][:2] == ("a", "b")
    assert remove(plain, sequence("b", better, n50_bp=200))[0][:2] == ("a", "b")
    assert remove(plain, sequence("b", better))[0][:2] == ("b", "a")
    (found,) = find(plain, sequence("b", better, annotated=True))
    assert "has annotation" in found.evidence


def test_order_of_input_changes_nothing():
    copies = [sequence(name, mutated(BASE, 0.998, i)) for i, name in enumerate("abcd")]
    expected = remove(*copies)
    assert len(expected) == 3
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(4)
        assert remove(*(copies[i] for i in order)) == expected


def test_a_part_is_no_duplicate_of_the_whole_even_where_kmers_agree():
    monomer = random_codes(180, 3)
    assert remove(sequence("a", np.tile(monomer, 40)), sequence("b", np.tile(monomer, 20))) == []


def test_every_two_members_of_a_cluster_reach_the_threshold():
    drift = [BASE]
    for seed in range(5):
        drift.append(mutated(drift[-1], 0.994, seed))
    sequences = [sequence(name, codes) for name, codes in zip("abcdef", drift)]
    found = find(*sequences)
    bar = jaccard_of_identity(0.99, CONFIG.k)
    clusters = {}
    for one in (one for one in found if "a part of" not in one.evidence):
        clusters.setdefault(one.kept.assembly, [one.kept]).append(one.removed)
    for members in clusters.values():
        assert all(jaccard(a.sketch, b.sketch) >= bar for a in members for b in members)
    assert 2 <= len(found) < 5


def test_strand_vote():
    other = np.ascontiguousarray(reverse_complement(mutated(BASE, 0.98)))
    assert duplicates.strand([BASE], [other], 21) == "other"
    assert duplicates.strand([BASE[:9_000], BASE[9_000:]], [mutated(BASE, 0.98)], 21) == "same"
    assert duplicates.strand([BASE], [BASE[:20_000], reverse_complement(BASE[20_000:])], 21) == "both"


def test_sister_species_may_be_held_to_a_higher_bar():
    near, same = mutated(BASE, 0.996), mutated(BASE, 0.9998)
    for codes, expected in ((near, []), (same, [("b", "a", "same_sequence_two_species")])):
        assert remove(sequence("a", BASE), sequence("b", codes, species="Alter duo"), across=0.999) == expected
    part = sequence("b", near[:20_000], species="Alter duo")
    assert remove(sequence("a", BASE), part, across=0.999) == []
    assert remove(sequence("a", BASE), part) == [("b", "a", "same_sequence_two_species")]


@pytest.mark.parametrize("other_strand", [False, True])
def test_a_copied_part_is_found_and_a_part_at_95_percent_is_kept(other_strand):
    for identity, expected in ((0.997, [("b", "a", "near_duplicate")]), (0.95, [])):
        part = mutated(BASE[5_000:25_000], identity)
        part = np.ascontiguousarray(reverse_complement(part)) if other_strand else part
        assert remove(sequence("a", BASE), sequence("b", part)) == expected


def test_a_part_under_another_name_is_named_as_such():
    part = sequence("b", BASE[5_000:25_000], species="Alter duo")
    (found,) = find(sequence("a", BASE), part, fit=fits_as({"Testus unus": 0.4, "Alter duo": 0.0}))
    assert (found.removed.assembly, found.reason, found.in_doubt) == ("b", "species_mismatch", "")
    (found,) = find(sequence("a", BASE), part)
    assert found.reason == "same_sequence_two_species" and "not enough says which is right" in found.in_doubt


def test_exact_copies_of_one_content_are_one_cluster_under_however_many_names():
    copies = [sequence(f"{i:02d}", BASE, species=f"Testus {'abc'[i % 3]}") for i in range(12)]
    assert [kept for _, kept, _ in remove(*copies, across=1.0)] == ["00"] * 11


@pytest.mark.parametrize("across", [1.0, 0.9999])
def test_a_bar_of_one_means_the_very_same_sequence(across):
    base = random_codes(150_000, 5)
    other = base.copy()
    other[70_000] = (other[70_000] + 1) % 4  # one change in 150 kb: sketches of 1,024 bins can't see it
    found = remove(sequence("a", base), sequence("b", other, species="Testus duo"), across=across)
    assert bool(found) == (across < 1)
    assert remove(sequence("a", base), sequence("b", base, species="Testus duo"), across=across)


def test_gaps_are_no_length():
    gapped = np.concatenate([BASE[:20_000], np.full(40_000, 4, np.uint8), BASE[20_000:]])
    assert remove(sequence("a", BASE), sequence("b", gapped)) == [("b", "a", "near_duplicate")]


@pytest.mark.parametrize("identity", [1.0, 0.998])
def test_two_names_of_one_species_are_no_two_species(identity):
    (found,) = find(sequence("a", BASE), sequence("b", mutated(BASE, identity), named="Testus prior"))
    assert found.reason == ("exact_duplicate" if identity == 1 else "near_duplicate") and not found.in_doubt
    assert "Testus prior" in found.evidence and "names of one species, Testus unus" in found.evidence
    (part,) = find(sequence("a", BASE), sequence("b", BASE[9_000:21_000], named="Testus prior"))
    assert part.reason == "near_duplicate" and "names of one species" in part.evidence

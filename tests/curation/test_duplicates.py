"""Duplicates: found on both strands and under two names; near misses and chains are kept apart."""

import hashlib

import numpy as np
import pytest

from plantgfm.curation import duplicates
from plantgfm.curation.config import DuplicateConfig
from plantgfm.curation.contained import find_containers, shared_counts
from plantgfm.curation.duplicates import Sequence
from plantgfm.sequence import reverse_complement
from plantgfm.sketch import fraction, jaccard_of_identity, minhash
from tests.curation.planted import mutated, random_codes

CONFIG = DuplicateConfig()
BASE = random_codes(40_000, 31)


def sequence(name, codes, species="Testus unus", annotated=False, n50_bp=100):
    return Sequence(
        assembly=name,
        record="r",
        species=species,
        length_bp=codes.size,
        known_bp=int((codes < 4).sum()),
        annotated=annotated,
        n50_bp=n50_bp,
        forward=hashlib.sha256(codes).hexdigest(),
        reverse=hashlib.sha256(np.ascontiguousarray(reverse_complement(codes))).hexdigest(),
        signature=minhash(codes, k=CONFIG.k, permutations=CONFIG.permutations, seed=CONFIG.seed),
        hashes=np.unique(fraction(codes, k=21, scaled=50)[0]),
        codes=lambda: codes,
        k=CONFIG.k,
        bins=CONFIG.bins,
    )


def remove(*sequences, support=lambda one, cluster: 0.0, across=0.99):
    found = duplicates.find_duplicates(list(sequences), support, identity=0.99, across=across, config=CONFIG)
    return [(one.removed.assembly, one.kept.assembly, one.reason) for one in found]


def test_exact_copies_and_exact_twins_are_named():
    assert remove(sequence("a", BASE), sequence("b", BASE)) == [("b", "a", "exact_duplicate")]
    twin = sequence("b", reverse_complement(BASE))
    assert remove(sequence("a", BASE), twin) == [("b", "a", "reverse_complement_twin")]


@pytest.mark.parametrize("other_strand", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_near_duplicates_are_found_on_both_strands(seed, other_strand):
    codes = mutated(BASE, 0.997, seed)
    codes = np.ascontiguousarray(reverse_complement(codes)) if other_strand else codes
    found = duplicates.find_duplicates(
        [sequence("a", BASE), sequence("b", codes)], lambda *_: 0.0, identity=0.99, across=0.99, config=CONFIG
    )
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


def test_one_sequence_under_two_species_names():
    twin = sequence("b", reverse_complement(BASE), species="Alter duo")
    assert remove(sequence("a", BASE), twin) == [("b", "a", "same_sequence_two_species")]
    fits = {"a": 0.1, "b": 0.9}
    (found,) = duplicates.find_duplicates(
        [sequence("a", BASE), twin], lambda one, cluster: fits[one.assembly], identity=0.99, across=0.99, config=CONFIG
    )
    assert (found.removed.assembly, found.in_doubt) == ("a", False)
    assert "Testus unus here and Alter duo there" in found.evidence and "other strand" in found.evidence
    (doubtful,) = duplicates.find_duplicates(
        [sequence("a", BASE), twin], lambda *_: 0.0, identity=0.99, across=0.99, config=CONFIG
    )
    assert doubtful.in_doubt and "nothing says" in doubtful.evidence


def test_the_kept_one_is_chosen_by_rank_and_the_reason_is_told():
    plain, better = sequence("a", BASE), mutated(BASE, 0.999)
    gapped = BASE.copy()
    gapped[:50] = 4
    assert remove(plain, sequence("b", better, annotated=True))[0][:2] == ("a", "b")
    assert remove(sequence("a", gapped), sequence("b", better))[0][:2] == ("a", "b")
    assert remove(plain, sequence("b", better, n50_bp=200))[0][:2] == ("a", "b")
    assert remove(plain, sequence("b", better))[0][:2] == ("b", "a")
    (found,) = duplicates.find_duplicates(
        [plain, sequence("b", better, annotated=True)], lambda *_: 0.0, identity=0.99, across=0.99, config=CONFIG
    )
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


def test_complete_linkage_does_not_chain():
    values = {(0, 1): 0.9, (1, 2): 0.85, (2, 3): 0.8, (0, 2): 0.3, (1, 3): 0.3, (0, 3): 0.1}
    found = duplicates.complete_linkage(4, {(0, 1), (1, 2), (2, 3)}, lambda i, j: values[i, j], 0.7)
    assert found == [[0, 1], [2, 3]]
    close = dict.fromkeys(values, 0.9)
    assert duplicates.complete_linkage(4, set(values), lambda i, j: close[i, j], 0.7) == [[0, 1, 2, 3]]


def test_every_two_members_of_a_cluster_reach_the_threshold():
    drift = [BASE]
    for seed in range(5):
        drift.append(mutated(drift[-1], 0.994, seed))
    sequences = [sequence(name, codes) for name, codes in zip("abcdef", drift)]
    found = duplicates.find_duplicates(sequences, lambda *_: 0.0, identity=0.99, across=0.99, config=CONFIG)
    bar = jaccard_of_identity(0.99, CONFIG.k)
    for one in found:
        assert duplicates.jaccard(one.removed.sketch, one.kept.sketch) >= bar
    assert 2 <= len(found) < 5


def test_strand_vote():
    other = np.ascontiguousarray(reverse_complement(mutated(BASE, 0.98)))
    assert duplicates.strand(BASE, other, 21) == "other"
    assert duplicates.strand(BASE, mutated(BASE, 0.98), 21) == "same"
    assert duplicates.strand(BASE, np.concatenate([BASE[:20_000], reverse_complement(BASE[20_000:])]), 21) == "both"


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
    (found,) = duplicates.find_duplicates(
        [sequence("a", BASE), part],
        lambda one, cluster: {"a": 0.4, "b": 0.0}[one.assembly],
        identity=0.99,
        across=0.99,
        config=CONFIG,
    )
    assert (found.removed.assembly, found.reason, found.in_doubt) == ("b", "same_sequence_two_species", False)
    assert "0% and 40%" in found.evidence


def test_shared_counts_agree_with_set_arithmetic():
    rng = np.random.default_rng(3)
    sets = [np.unique(rng.integers(0, 60, size).astype(np.uint64)) for size in (40, 20, 30, 5, 1)]
    rows, counted = shared_counts(sets)
    expected = {(i, j): np.intersect1d(sets[i], sets[j]).size for i in range(5) for j in range(i + 1, 5)}
    assert {(i, j): n for i, j, n in rows.tolist()} == {pair: n for pair, n in expected.items() if n}
    assert counted.tolist() == [one.size for one in sets]
    assert shared_counts([])[0].shape == (0, 3)


def test_repeats_of_everyone_say_nothing():
    everyone = np.arange(100, dtype=np.uint64)
    sets = [np.concatenate([everyone, np.arange(1_000 * i, 1_000 * i + 30, dtype=np.uint64)]) for i in range(1, 41)]
    assert find_containers(sets, lambda i, j: 0.99, k=21) == {}

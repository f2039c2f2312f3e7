"""Containment: copied parts are found whatever their strand and breaks; scattered repeats contain nothing."""

from collections import Counter

import numpy as np
import pytest

from plantgfm.curation import contained
from plantgfm.curation.contained import Contents, find_containers
from plantgfm.sequence import reverse_complement
from plantgfm.sketch import fraction
from tests.curation.planted import mutated, random_codes

BASE = random_codes(200_000, 41)


def contents(*parts):
    codes = [np.ascontiguousarray(part) for part in parts]
    hashes = np.unique(np.concatenate([fraction(part, k=21, scaled=50)[0] for part in codes]))
    return Contents(hashes, lambda: codes)


def containers(*sequences, bar=0.99):
    return find_containers(list(sequences), lambda i, j: bar, k=21)


@pytest.mark.parametrize("probes", [3, 128])
@pytest.mark.parametrize("partition", [7, 1 << 24])
def test_probes_agree_with_set_arithmetic(partition, probes, monkeypatch):
    monkeypatch.setattr(contained, "_PARTITION", partition)
    monkeypatch.setattr(contained, "PROBES", probes)
    monkeypatch.setattr(contained, "MAX_SHARERS", 3)
    rng = np.random.default_rng(3)
    sets = [np.unique(rng.integers(0, 90, size).astype(np.uint64)) for size in (60, 40, 50, 45, 9, 1, 0)]
    holders = Counter(value for one in sets for value in one.tolist())
    says = [[value for value in one.tolist() if holders[value] <= 3] for one in sets]
    found = contained.probe(sets)
    expected = {
        (i, j): len(set(says[i][:probes]) & set(sets[j].tolist())) for i in range(7) for j in range(7) if i != j
    }
    assert {(i, j): n for i, j, n in found.pairs.tolist()} == {pair: n for pair, n in expected.items() if n}
    assert found.counted.tolist() == [len(one) for one in says]
    assert found.probes.tolist() == [min(probes, len(one)) for one in says]
    assert max(holders.values()) == 4, "some values must be held by more than say anything"


def test_nothing_probes_nothing():
    assert contained.probe([]).pairs.shape == contained.probe([np.empty(0, np.uint64)]).pairs.shape == (0, 3)


def test_a_part_is_found_on_either_strand_and_in_pieces_of_either_side():
    part = mutated(BASE[30_000:110_000], 0.996)
    whole = contents(BASE)
    halves = contents(reverse_complement(part[:50_000]), part[50_000:])
    gapped = contents(np.concatenate([part[:30_000], np.full(70_000, 4, np.uint8), part[30_000:]]))
    for inner in (contents(part), contents(reverse_complement(part)), halves, gapped):
        (found,) = containers(inner, whole).items()
        assert found[0] == 0 and found[1][0] == 1 and found[1][1] == pytest.approx(0.996, abs=0.001)
    broken = contents(BASE[110_000:], BASE[20_000:110_000], BASE[:20_000])
    assert containers(contents(part), broken)[0][0] == 1


def test_of_two_that_contain_each_other_one_is_contained():
    for number, order in enumerate((slice(None), slice(None, None, -1))):
        pair = [contents(BASE[:30_000]), contents(mutated(BASE[:30_000], 0.997))]
        assert len(containers(*pair[order])) == 1, number


def test_a_scaffold_of_contigs_from_far_apart_is_found_contig_by_contig():
    gap = np.full(1_000, 4, np.uint8)
    scaffold = np.concatenate([BASE[:10_000], gap, BASE[60_000:70_000], gap, BASE[120_000:130_000]])
    assert containers(contents(scaffold), contents(BASE)) == {0: (1, 1.0)}


def test_repeats_scattered_over_a_longer_sequence_contain_no_record_made_of_them():
    """Each stretch of 400 bp of the inner one lies somewhere in the outer one: all its k-mers, and no copy of it."""
    inner, rng = random_codes(20_000, 42), np.random.default_rng(0)
    stretches = np.split(inner, 50)
    outer = [part for i in rng.permutation(50) for part in (stretches[i], rng.integers(0, 4, 6_000).astype(np.uint8))]
    shared = np.intersect1d(contents(inner).hashes, contents(np.concatenate(outer)).hashes).size
    assert shared > 0.9 * contents(inner).hashes.size
    assert containers(contents(inner), contents(np.concatenate(outer))) == {}


def test_the_copy_is_found_where_its_repeats_lie_elsewhere_too():
    element = random_codes(8_000, 43)
    inner = np.concatenate([element, random_codes(4_000, 44), element])
    copies = [part for i in range(30) for part in (mutated(element, 0.95, i), random_codes(9_000, 100 + i))]
    outer = np.concatenate([*copies, mutated(inner, 0.995), *copies[::-1]])
    assert containers(contents(inner), contents(outer))[0][1] == pytest.approx(0.996, abs=0.003)
    assert containers(contents(inner), contents(np.concatenate(copies))) == {}


@pytest.mark.parametrize("length", [1_000, 2_000, 6_000, 40_000])
def test_parts_at_95_to_98_percent_are_kept_at_99(length):
    inners = [
        contents(mutated(BASE[start : start + length], identity, start))
        for identity in (0.95, 0.97, 0.98)
        for start in range(0, 150_000, 15_000)
    ]
    found = containers(*inners, contents(BASE))
    assert len(found) <= 2 * (length < 2_000), "as many changes as this are drawn by chance in a short sequence"


def test_the_largest_container_is_named_and_the_next_where_that_one_fails():
    part = BASE[50_000:60_000]
    scattered = np.concatenate([x for i in range(20) for x in (part[i * 500 : (i + 1) * 500], random_codes(20_000, i))])
    found = containers(contents(part), contents(BASE[40_000:80_000]), contents(BASE[:150_000]), contents(scattered))
    assert found[0][0] == 2 and found[1][0] == 2


def test_repeats_of_everyone_say_nothing():
    everyone = random_codes(6_000, 45)
    sequences = [contents(np.concatenate([everyone, random_codes(1_000, 200 + i)])) for i in range(40)]
    assert containers(*sequences) == {}

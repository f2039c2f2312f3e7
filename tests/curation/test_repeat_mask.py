"""Repeat masks: the file's own where it has one, else low complexity and k-mers seen often, on either strand."""

import numpy as np
import pytest

from plantgfm.curation.config import RepeatConfig
from plantgfm.curation.multiplicity import Multiplicity
from plantgfm.curation.repeats import (
    COMPUTED,
    SOFT_MASK,
    mark_frequent,
    mark_runs,
    settle_mask,
    source_of_mask,
)
from plantgfm.sequence import encode, reverse_complement
from plantgfm.sketch import EMPTY, canonical_kmers
from tests.curation.planted import random_codes

CONFIG = RepeatConfig()


def frequent_mask(sequences, config=CONFIG):
    total = sum(codes.size for codes in sequences)
    return [(one & 8) > 0 for one in mark_frequent(lambda: (codes.copy() for codes in sequences), total, config)]


def frequent_by_hand(sequences, k, min_count):
    kmers = [canonical_kmers(codes, k) for codes in sequences]
    unique, count = np.unique(np.concatenate(kmers), return_counts=True)
    frequent = unique[(count >= min_count) & (unique != EMPTY)]
    masks = [np.zeros(codes.size, dtype=bool) for codes in sequences]
    for found, mask in zip(kmers, masks):
        for start in np.flatnonzero(np.isin(found, frequent)):
            mask[start : start + k] = True
    return masks


def repetitive(seed):
    """Records with copies on both strands, unknown bases, a tandem repeat and one shorter than a k-mer."""
    rng = np.random.default_rng(seed)
    families = [random_codes(int(rng.integers(30, 300)), seed + i) for i in range(5)]
    parts = [[random_codes(int(rng.integers(50, 900)), 100 * seed + i)] for i in range(12)]
    for i, part in enumerate(parts):
        family = families[i % 5]
        part += [family if i % 2 else reverse_complement(family), np.full(int(rng.integers(0, 3)), 4, np.uint8)]
    whole = np.concatenate([one for part in parts for one in part])
    return [whole[:3_000], encode("ACGT"), whole[3_000:], np.tile(encode("ACGTTGCA"), 200), whole[500:1_500]]


def test_soft_mask_is_taken_where_it_says_something():
    assert source_of_mask(500, 10_000, CONFIG) == source_of_mask(100, 10_000, CONFIG) == SOFT_MASK
    for soft in (0, 99, 10_000):
        assert source_of_mask(soft, 10_000, CONFIG) == COMPUTED
    assert source_of_mask(0, 0, CONFIG) == COMPUTED


def test_one_mark_becomes_the_repeat_bit_and_the_others_go():
    bases = np.array([0, 1, 2, 3, 4], dtype=np.uint8)
    mark_runs(bases, np.array([[0, 2], [4, 5]]), 8)
    mark_runs(bases, np.array([[1, 3]]), 16)
    low = bases.copy()
    settle_mask(low, 16)
    settle_mask(bases, 8)
    assert low.tolist() == [0, 9, 10, 3, 4] and bases.tolist() == [8, 9, 2, 3, 12]


def test_three_copies_are_masked_on_both_strands_and_two_are_not():
    element, spare = random_codes(300, 7), random_codes(300, 8)
    parts = [random_codes(2_000, i) for i in range(6)]
    codes = [parts[0], element, parts[1], reverse_complement(element), parts[2], spare, parts[3], spare, parts[4]]
    mask, other = frequent_mask([np.concatenate(codes), np.concatenate([element, parts[5]])])
    expected = np.zeros(mask.size, bool)
    expected[2_000:2_300] = expected[4_300:4_600] = True
    assert (mask != expected).mean() < 0.01 and mask[expected].all()
    assert other[:300].all() and not mask[6_600:6_900].all()


def test_counts_beyond_a_byte_are_told_apart():
    rare, often = (np.tile(random_codes(30, seed), copies) for seed, copies in ((1, 290), (2, 320)))
    found = frequent_mask([rare, often], RepeatConfig(k=21, min_count=300))
    assert not found[0].any() and found[1].all()


@pytest.mark.parametrize(("k", "min_count"), [(21, 3), (11, 2), (5, 40), (23, 3), (25, 3), (31, 4), (15, 1)])
def test_frequent_kmers_are_those_that_plain_counting_finds(k, min_count):
    sequences = repetitive(k)
    found = frequent_mask(sequences, RepeatConfig(k=k, min_count=min_count))
    expected = frequent_by_hand(sequences, k, min_count)
    assert any(mask.any() for mask in expected) and not all(mask.all() for mask in expected)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_large_assembly_counts_some_kmers_and_finds_the_same_repeats():
    family = random_codes(3_000, 1)
    sequences = [np.concatenate([random_codes(5_000, 10 + i), family]) for i in range(4)]
    exact, thinned = frequent_mask(sequences), frequent_mask(sequences, RepeatConfig(max_kmers=3_200))
    for mask, some in zip(exact, thinned):
        assert not (some & ~mask).any(), "nothing else is marked"
        assert some[5_000:].mean() > 0.97 and not some[:4_900].any()


def test_unknown_bases_between_two_frequent_kmers_are_not_filled():
    family = random_codes(2_000, 1)
    sequence = np.concatenate([family, np.full(500, 4, np.uint8), family, random_codes(4_000, 2), family])
    (mask,) = frequent_mask([sequence], RepeatConfig(max_kmers=1_000))
    assert not mask[2_000:2_500].any() and mask[:2_000].mean() > 0.9


def test_an_assembly_whose_few_kmers_overflow_the_room_is_counted_thinner():
    wholes = [np.tile(encode(unit), 9_000_000 // len(unit)) for unit in ("A", "C", "AC", "AG", "AT", "CG")]

    def overflows(codes):
        counter = Multiplicity(k=21, min_count=3, total_bp=codes.size, max_kmers=codes.size // 2)
        assert counter.one_of == 2
        return not counter.add(codes)

    codes = next(whole for whole in wholes if overflows(whole))
    (mask,) = frequent_mask([codes], RepeatConfig(max_kmers=codes.size // 2))
    assert not mask.any(), "the few k-mers that there are fell to the thinning"


def test_short_and_unknown_records_have_no_frequent_kmers():
    assert not any(mask.any() for mask in frequent_mask([encode("ACGT"), np.full(100, 4, np.uint8)]))


@pytest.mark.parametrize(
    "wrong", [{"k": 20}, {"k": 33}, {"min_count": 0}, {"min_count": 1 << 16}, {"max_kmers": 1 << 27}]
)
def test_wrong_settings_are_named(wrong):
    (value,) = wrong.values()
    with pytest.raises(ValueError, match=str(value)):
        RepeatConfig(**wrong)

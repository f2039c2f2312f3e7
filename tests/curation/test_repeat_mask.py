"""Repeat masks: the file's own where it has one, else low complexity and k-mers seen often, on either strand."""

import numpy as np

from plantgfm.curation.config import RepeatConfig
from plantgfm.curation.repeats import COMPUTED, SOFT_MASK, frequent_kmers, low_complexity, repeat_masks
from plantgfm.schema import Record
from plantgfm.sequence import encode, reverse_complement, runs_of
from plantgfm.sketch import EMPTY, canonical_kmers
from tests.curation.planted import random_codes

CONFIG = RepeatConfig()


def record(codes, soft=(), name="r"):
    return Record(name, "", codes, np.array(soft, dtype=np.int64).reshape(-1, 2))


def test_soft_mask_is_taken_where_it_says_something():
    codes = random_codes(10_000)
    source, (mask,) = repeat_masks([record(codes, [(100, 200), (500, 900)])], CONFIG)
    assert source == SOFT_MASK and runs_of(mask).tolist() == [[100, 200], [500, 900]]


def test_a_soft_mask_of_nothing_or_of_everything_says_nothing():
    codes = random_codes(10_000)
    for soft in ([], [(0, 99)], [(0, 10_000)]):
        assert repeat_masks([record(codes, soft)], CONFIG)[0] == COMPUTED
    assert repeat_masks([record(codes, [(0, 100)])], CONFIG)[0] == SOFT_MASK
    assert repeat_masks([], CONFIG) == (COMPUTED, [])


def test_three_copies_are_masked_on_both_strands_and_two_are_not():
    element, spare = random_codes(300, 7), random_codes(300, 8)
    parts = [random_codes(2_000, i) for i in range(6)]
    codes = [parts[0], element, parts[1], reverse_complement(element), parts[2], spare, parts[3], spare, parts[4]]
    source, (mask, other) = repeat_masks(
        [record(np.concatenate(codes)), record(np.concatenate([element, parts[5]]))], CONFIG
    )
    assert source == COMPUTED
    expected = np.zeros(mask.size, bool)
    expected[2_000:2_300] = expected[4_300:4_600] = True
    assert (mask != expected).mean() < 0.01 and mask[expected].all()
    assert other[:300].all() and not mask[6_600:6_900].all()


def test_low_complexity_is_masked():
    codes = np.concatenate([random_codes(500, 1), encode("AT" * 60), random_codes(500, 2)])
    runs = low_complexity(codes, CONFIG)
    assert any(start <= 510 and end >= 610 for start, end in runs.tolist())
    assert low_complexity(encode("ACG"), CONFIG).shape == (0, 2)


def test_frequent_kmers_do_not_depend_on_batches():
    codes = [np.tile(random_codes(500, 1), 3), random_codes(3_000, 2)]
    whole = frequent_kmers(codes, CONFIG)
    batched = frequent_kmers(codes, RepeatConfig(batch_kmers=700))
    assert np.array_equal(whole, batched)
    kmers = np.concatenate([canonical_kmers(one, CONFIG.k) for one in codes])
    unique, count = np.unique(kmers[kmers != EMPTY], return_counts=True)
    assert np.array_equal(whole, unique[count >= 3])


def test_short_and_unknown_records_have_no_frequent_kmers():
    assert frequent_kmers([encode("ACGT"), np.full(100, 4, np.uint8)], CONFIG).size == 0

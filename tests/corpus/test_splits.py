import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantgfm.corpus.config import CorpusConfig
from plantgfm.corpus.splits import region_hash, split_regions, tile_record
from plantgfm.schema import Split


@given(st.integers(1, 200_000), st.integers(1, 40_000))
def test_regions_tile_a_record_and_stay_below_one_and_a_half(length_bp, region_bp):
    lengths = tile_record(length_bp, region_bp)
    assert lengths.sum() == length_bp
    assert np.all(lengths > 0) and np.all(2 * lengths < 3 * region_bp)
    assert np.all(lengths[:-1] == region_bp)


def test_a_remainder_stands_alone_from_half_a_region_on():
    assert tile_record(250, 100).tolist() == [100, 100, 50]
    assert tile_record(249, 100).tolist() == [100, 149]
    assert tile_record(20, 100).tolist() == [20]


def draw(counts, *, eligible=None, config=None):
    species = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    hashes = [region_hash(0, int(owner), row) for row, owner in enumerate(species)]
    eligible = np.ones(species.size, dtype=bool) if eligible is None else eligible
    return species, split_regions(species, hashes, eligible, config or CorpusConfig())


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_each_species_has_every_split_from_three_regions_on(counts):
    species, split = draw(counts)
    for index, count in enumerate(counts):
        mine = split[species == index]
        if count >= 3:
            assert set(mine.tolist()) == {int(s) for s in Split}
            assert np.sum(mine == Split.TRAIN) >= count / 2 - 1
        else:
            assert np.all(mine == Split.TRAIN)


def test_fractions_are_met_and_zero_means_none():
    _, split = draw([1000])
    assert np.sum(split == Split.TEST) == 60 and np.sum(split == Split.VALIDATION) == 60
    _, split = draw([50], config=CorpusConfig(test_fraction=0.0))
    assert np.sum(split == Split.TEST) == 0 and np.sum(split == Split.VALIDATION) == 3


def test_what_is_not_eligible_trains():
    eligible = np.arange(40) % 2 == 0
    _, split = draw([40], eligible=eligible)
    assert np.all(split[~eligible] == Split.TRAIN)
    assert np.any(split[eligible] != Split.TRAIN)


def test_the_hash_depends_on_every_part_of_the_key():
    assert region_hash(0, "a", "bc") != region_hash(0, "ab", "c")
    assert len({region_hash(seed, "a", start) for seed in range(3) for start in range(3)}) == 9
    assert region_hash(0, "Arabidopsis thaliana", "Chr1", 0) == 8384367723971158057


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"segment_bp": 40_000}, "corpus.layout.segment_bp"),
        ({"validation_fraction": 0.4, "test_fraction": 0.2}, "corpus.layout.test_fraction"),
        ({"test_fraction": -0.1}, "corpus.layout.test_fraction"),
        ({"min_region_bp": 50_000}, "corpus.layout.min_region_bp"),
    ],
)
def test_settings_that_can_not_be_are_named(change, named):
    with pytest.raises(ValueError, match=named):
        CorpusConfig(**change)

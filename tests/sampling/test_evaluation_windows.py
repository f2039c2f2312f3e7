import numpy as np
import pytest

from plantgfm.sampling.evaluation_windows import evaluation_pairs, require_pairs, select_pairs
from plantgfm.schema import Split
from plantgfm.sequence import UNKNOWN
from tests.corpus.worlds import accepted, random_bases, species_name

HELD_OUT = [Split.VALIDATION, Split.TEST]


def rows(pairs):
    return set(zip(pairs.start.tolist(), pairs.next_start.tolist(), pairs.reverse.tolist()))


@pytest.mark.parametrize("split", HELD_OUT)
def test_pairs_lie_in_their_split_and_share_no_base(gapped, make_config, split):
    config = make_config()
    pairs = evaluation_pairs(gapped, split, config)
    assert np.all(gapped.regions.split[pairs.region] == split)
    assert np.array_equal(gapped.regions.species[pairs.region], pairs.species)
    covered = np.zeros(gapped.bases.size, dtype=int)
    for start in (pairs.start, pairs.next_start):
        low = gapped.regions.offset[pairs.region]
        assert np.all(start >= low)
        assert np.all(start + config.window_bp <= low + gapped.regions.length_bp[pairs.region])
        for first in start:
            covered[first : first + config.window_bp] += 1
    assert covered.max() == 1
    assert covered.sum() > 0.4 * np.sum(gapped.regions.length_bp[gapped.regions.split == split])


def test_pairs_keep_the_law_of_training(gapped, make_config):
    config = make_config()
    pairs = evaluation_pairs(gapped, Split.TEST, config)
    assert np.array_equal(np.abs(pairs.next_start - pairs.start) - config.window_bp, pairs.distance_bp)
    assert pairs.distance_bp.min() >= config.distance_min_bp
    assert np.array_equal(pairs.next_start < pairs.start, pairs.reverse)
    assert 0.3 < pairs.reverse.mean() < 0.7
    unknown = np.concatenate(([0], np.cumsum((gapped.bases & 7) == UNKNOWN)))
    for start in (pairs.start, pairs.next_start):
        assert (unknown[start + config.window_bp] - unknown[start]).max() <= 0.1 * config.window_bp


def test_pairs_are_fixed_and_fewer_are_a_subset_of_more(gapped, make_config):
    config = make_config()
    every, again = (evaluation_pairs(gapped, Split.TEST, config) for _ in range(2))
    assert np.array_equal(every.start, again.start) and every.near_duplicates == 0
    assert every.candidates == len(every)
    fewer = evaluation_pairs(gapped, Split.TEST, config, max_windows=25)
    assert len(fewer) == 25 and rows(fewer) < rows(every)
    counts = np.bincount(fewer.species, minlength=10)
    assert counts.max() - counts.min() <= 1


def test_a_near_duplicate_of_training_is_dropped_and_counted(make_corpus, make_config, tmp_path):
    """Two copies of one cluster: windows 0 to 9 of a record repeat in its windows 20 to 29."""
    ids = np.full(40, -1, dtype=np.int64)
    ids[:10] = ids[20:30] = np.arange(10)
    sizes = np.where(ids >= 0, 2, 1).astype(np.int32)
    bases = random_bases(np.random.default_rng(0), 40 * 6_144)
    bases[20 * 6_144 : 30 * 6_144] = bases[: 10 * 6_144]
    corpus = make_corpus([accepted(tmp_path, species_name(0), "chr1", bases, cluster_id=ids, cluster_size=sizes)])
    config = make_config()
    kept = dropped = 0
    for split in HELD_OUT:
        pairs = evaluation_pairs(corpus, split, config)
        kept, dropped = kept + len(pairs), dropped + pairs.near_duplicates
        assert pairs.candidates == len(pairs) + pairs.near_duplicates
        assert f"{pairs.near_duplicates:,} of {pairs.candidates:,} dropped for a near-duplicate" in pairs.describe()
        train = [corpus.cluster_rows(r, int(o), int(o + n)) for r, o, n in training_regions(corpus)]
        seen = {i for rows_ in train for i in corpus.cluster_id[rows_].tolist()} - {-1}
        for region, start, following in zip(pairs.region, pairs.start, pairs.next_start):
            for first in (int(start), int(following)):
                mine = corpus.cluster_id[corpus.cluster_rows(int(region), first, first + config.window_bp)]
                assert not seen & set(mine.tolist())
    assert kept > 0 and dropped > 0


def training_regions(corpus):
    table = corpus.regions
    for row in np.flatnonzero(table.split == Split.TRAIN):
        yield int(row), table.offset[row], table.length_bp[row]


def test_an_empty_split_says_what_to_do(make_corpus, make_config, tmp_path):
    record = accepted(tmp_path, species_name(0), "chr1", random_bases(np.random.default_rng(0), 9_000))
    corpus, config = make_corpus([record]), make_config()
    for look in (evaluation_pairs, require_pairs):
        with pytest.raises(ValueError, match="split test holds no window pair"):
            look(corpus, Split.TEST, config)


def test_a_split_with_a_pair_passes(gapped, make_config):
    require_pairs(gapped, Split.TEST, make_config())
    with pytest.raises(ValueError, match="split test holds no window pair"):
        require_pairs(gapped, Split.TEST, make_config(window_tokens=40_000, width_bp=80_000))


def test_some_rows_can_be_picked(gapped, make_config):
    pairs = evaluation_pairs(gapped, Split.TEST, make_config())
    mine = select_pairs(pairs, pairs.species == 3)
    assert len(mine) == np.sum(pairs.species == 3) and np.all(mine.species == 3)

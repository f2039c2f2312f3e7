"""Window clusters: copies are found wherever they lie, chains end at the leader, order of buckets does not matter."""

import numpy as np
import pytest

from plantgfm.curation.windows import bands_for, buckets_of, cluster_windows
from plantgfm.sketch import EMPTY, densify, jaccard_of_identity, verification_sketches, window_sketches
from tests.curation.planted import mutated, random_codes

WIDTH = 6_144
INDEX = jaccard_of_identity(0.97, 21)


def cluster(windows):
    codes = np.concatenate(windows)
    sketches = densify(window_sketches(codes, k=21, bins=128, window_bp=WIDTH))
    large = verification_sketches(codes, k=21, bins=1024, window_bp=WIDTH)
    return cluster_windows(sketches, lambda chosen: large[chosen], min_jaccard=INDEX)


def test_copies_on_either_strand_cluster_and_others_stay_alone():
    base = random_codes(WIDTH, 1)
    copies = [base, mutated(base, 0.99, 2), 3 - mutated(base, 0.985, 3)[::-1]]
    identity, size = cluster([random_codes(WIDTH, 5), *copies, random_codes(WIDTH, 6), mutated(base, 0.90, 7)])
    assert identity.tolist() == [-1, 0, 0, 0, -1, -1]
    assert size.tolist() == [1, 3, 3, 3, 1, 1]


def test_unknown_windows_are_alone_not_alike():
    nothing = np.full(WIDTH, 4, np.uint8)
    identity, size = cluster([nothing, nothing, random_codes(WIDTH, 1)])
    assert identity.tolist() == [-1] * 3 and size.tolist() == [1] * 3


def test_few_kmers_cluster_too():
    satellite = np.tile(random_codes(170, 4), 40)[:WIDTH]
    identity, _ = cluster(
        [satellite, random_codes(WIDTH, 8), np.roll(satellite, 33), np.tile(random_codes(97, 9), 64)[:WIDTH]]
    )
    assert identity[0] == identity[2] == 0 and identity[1] == identity[3] == -1


def leaders_by_hand(windows):
    large = [verification_sketches(codes, k=21, bins=1024, window_bp=WIDTH)[0] for codes in windows]
    leaders, found = [], []
    for i, one in enumerate(large):
        matches = [(np.mean(one == large[j]), -j) for j in leaders if np.mean(one == large[j]) >= INDEX]
        found.append(-max(matches)[1] if matches else i)
        leaders += [i] if found[-1] == i else []
    return found


def test_members_gather_around_leaders_and_do_not_chain():
    drift = [random_codes(WIDTH, 1)]
    for seed in range(8):
        drift.append(mutated(drift[-1], 0.988, seed))
    identity, size = cluster(drift)
    expected = leaders_by_hand(drift)
    assert 1 < len(set(expected)) < 9, "the chain must break"
    together = [[expected[i] == expected[j] for j in range(9)] for i in range(9)]
    assert [[identity[i] == identity[j] >= 0 or i == j for j in range(9)] for i in range(9)] == together
    assert size.tolist() == [expected.count(one) for one in expected]


@pytest.mark.parametrize("seed", range(3))
def test_recall_among_verified_pairs(seed):
    base = [random_codes(WIDTH, 100 * seed + i) for i in range(25)]
    identity, _ = cluster(base + [mutated(one, 0.985, i) for i, one in enumerate(base)])
    found = sum(identity[i] >= 0 and identity[i] == identity[i + 25] for i in range(25))
    assert found >= 24


def test_buckets_hold_only_shared_bands():
    rows = densify(window_sketches(random_codes(4 * WIDTH, 2), k=21, bins=128, window_bp=WIDTH))
    ranges = bands_for(INDEX, 128)
    assert (buckets_of(rows, ranges) == -1).all()
    doubled = buckets_of(np.concatenate([rows, rows, np.full((2, 128), EMPTY)]), ranges)
    assert (doubled[:4] == doubled[4:8]).all() and (doubled[:4] >= 0).all() and (doubled[8:] == -1).all()


def test_no_windows_give_no_clusters():
    identity, size = cluster_windows(np.empty((0, 128), np.uint64), lambda chosen: None, min_jaccard=INDEX)
    assert identity.size == size.size == 0

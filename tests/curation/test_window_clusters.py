"""Window clusters: copies are found wherever they lie, chains end at the leader, order of buckets does not matter."""

import numpy as np
import pytest
from datasketch import MinHashLSH
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from plantgfm.curation import windows as banding
from plantgfm.curation.windows import bands_for, buckets_of, cluster_windows, components_of
from plantgfm.sketch import (
    EMPTY,
    densify,
    jaccard_of_identity,
    one_permutation_as_datasketch,
    verification_sketches,
    window_sketches,
)
from tests.curation.planted import mutated, random_codes

WIDTH = 6_144
INDEX = jaccard_of_identity(0.97, 21)


def cluster(windows):
    codes = np.concatenate(windows)
    sketches = densify(window_sketches(codes, k=21, bins=128, window_bp=WIDTH))
    large = verification_sketches(codes, k=21, bins=1024, window_bp=WIDTH)
    return cluster_windows([sketches[:2], sketches[2:2], sketches[2:]], lambda chosen: large[chosen], min_jaccard=INDEX)


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
    identity, size = cluster_windows([np.empty((0, 128), np.uint64)], lambda chosen: None, min_jaccard=INDEX)
    assert identity.size == size.size == 0


def related_rows(n, families, slots=128):
    """Sketches of which some share most slots: members of a family differ in a tenth of them."""
    rng = np.random.default_rng(n)
    rows = rng.integers(0, 1 << 63, (n, slots)).astype(np.uint64)
    base = rng.integers(0, 1 << 63, (families, slots)).astype(np.uint64)
    members = rng.choice(n, n // 5, replace=False)
    rows[members] = np.where(
        rng.random((members.size, slots)) < 0.96, base[rng.integers(0, families, members.size)], rows[members]
    )
    return rows


def test_candidates_are_those_of_datasketch_on_50_000_windows():
    rows = related_rows(50_000, 2_000)
    index = 0.8  # few bands: datasketch takes its time
    lsh = MinHashLSH(threshold=index, num_perm=128, weights=banding.LSH_WEIGHTS)
    signatures = [one_permutation_as_datasketch(row, seed=1) for row in rows]
    with lsh.insertion_session() as session:
        for i, signature in enumerate(signatures):
            session.insert(i, signature, check_duplication=False)
    buckets, sharers = buckets_of(rows, bands_for(index, 128)), {}
    for i, band in np.argwhere(buckets >= 0).tolist():
        sharers.setdefault((band, int(buckets[i, band])), set()).add(i)
    ours = [set() for _ in rows]
    for members in sharers.values():
        for i in members:
            ours[i] |= members
    for i, signature in enumerate(signatures):
        assert set(lsh.query(signature)) == (ours[i] or {i})
    edges = np.array([(i, j) for i, others in enumerate(ours) for j in others])
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(len(rows), len(rows)))
    _, theirs = connected_components(graph, directed=False)
    smallest = np.full(theirs.max() + 1, len(rows))
    np.minimum.at(smallest, theirs, np.arange(len(rows)))
    assert np.array_equal(components_of([rows], bands_for(index, 128)), smallest[theirs])
    assert 1_000 < np.unique(smallest[theirs]).size < 49_000


def test_components_do_not_depend_on_parts_or_on_how_many_bands_are_made_at_a_time(monkeypatch):
    rows = np.concatenate([related_rows(3_000, 90), np.full((2, 128), EMPTY)])
    whole = components_of([rows], bands_for(INDEX, 128))
    assert whole[-2:].tolist() == [3_000, 3_001], "windows without k-mers are alone"
    monkeypatch.setattr(banding, "_KEYS_AT_A_TIME", 2 * len(rows))
    monkeypatch.setattr(banding, "_ROWS_AT_A_TIME", 700)
    assert np.array_equal(components_of([rows[:10], rows[10:10], rows[10:]], bands_for(INDEX, 128)), whole)


def test_clusters_do_not_depend_on_batches(monkeypatch):
    base = [random_codes(WIDTH, i) for i in range(6)]
    windows = [mutated(base[i % 6], 0.995, i) for i in range(24)]
    identity, size = cluster(windows)
    monkeypatch.setattr(banding, "_ROWS_AT_A_TIME", 3)
    again = cluster(windows)
    assert np.array_equal(identity, again[0]) and np.array_equal(size, again[1]) and len(set(identity.tolist())) == 6


def test_equal_leading_bits_are_no_equal_keys():
    keys = np.array([7 << 20, (7 << 20) | 1, 7 << 20, 5, (7 << 20) | 1], dtype=np.uint64)
    parent = np.arange(5)
    banding._link(keys, banding._sorted_with_rows(keys), keys.size.bit_length(), parent)
    assert banding._roots(parent).tolist() == [0, 1, 0, 3, 1]

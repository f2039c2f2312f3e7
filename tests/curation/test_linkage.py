"""Complete linkage: every two members match, the most similar pair first."""

from itertools import combinations

import numpy as np
import pytest

from plantgfm.curation.linkage import Matcher


def matcher(sketches, within=0.7, across=0.7, **more):
    n = len(sketches)
    known = {"content": np.arange(n), "species": np.zeros(n, np.int64), "known_bp": np.full(n, 1_000), **more}
    return Matcher(sketches=np.asarray(sketches, dtype=np.uint64), within=within, across=across, **known)


def drifting(n, slots, changed, seed=0):
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, 2**63, slots)]
    for _ in range(n - 1):
        row = rows[-1].copy()
        row[rng.permutation(slots)[:changed]] = rng.integers(0, 2**63, changed)
        rows.append(row)
    return np.array(rows, dtype=np.uint64)


def every_pair(n):
    return np.array(list(combinations(range(n), 2)), dtype=np.int64).reshape(-1, 2)


def by_hand(one, pairs):
    """Clusters by the definition: pairs from the most similar on, joined where all members match."""
    known = {
        tuple(pair): s
        for pair, s in zip(every_pair(len(one.content)).tolist(), one.similarity(every_pair(len(one.content))))
    }
    clusters = [{i} for i in range(len(one.content))]
    for pair in sorted((tuple(p) for p in pairs.tolist()), key=lambda p: (-known[p], p)):
        a, b = (next(c for c in clusters if i in c) for i in pair)
        if a is not b and all(known[min(x, y), max(x, y)] > 0 for x in a for y in b):
            clusters.remove(b)
            a |= b
    return sorted(sorted(c) for c in clusters if len(c) > 1)


@pytest.mark.parametrize("seed", range(5))
def test_a_chain_breaks_where_its_ends_do_not_match(seed):
    rows = drifting(40, 200, 20, seed)
    one = matcher(rows[np.random.default_rng(seed).permutation(40)])
    found = one.clusters(every_pair(40))
    assert found == by_hand(one, every_pair(40)) and 5 < len(found) < 20
    for cluster in found:
        pairs = np.array(list(combinations(cluster, 2)), dtype=np.int64)
        assert (one.similarity(pairs) > 0).all()


def test_only_candidates_start_a_cluster_but_all_members_are_compared():
    one = matcher(drifting(4, 100, 5))
    assert one.clusters(np.array([[0, 1], [1, 2], [2, 3]])) == [[0, 1, 2, 3]]
    assert one.clusters(np.array([[0, 1], [2, 3]])) == [[0, 1], [2, 3]]
    assert one.clusters(np.empty((0, 2), np.int64)) == []


def test_lengths_names_and_contents_decide():
    rows = drifting(3, 100, 15)
    pairs = every_pair(3)
    assert matcher(rows, known_bp=np.array([1_000, 1_200, 799])).clusters(pairs) == [[0, 1]]
    two = {"species": np.array([0, 1, 0])}
    assert matcher(rows, across=0.9, **two).clusters(pairs) == [[0, 2]]
    assert matcher(rows, across=2.0, content=np.array([7, 7, 8]), **two).clusters(pairs) == [[0, 1]]


def test_empty_bins_of_both_are_no_agreement():
    empty = np.full((2, 50), np.iinfo(np.uint64).max, dtype=np.uint64)
    assert matcher(empty).clusters(every_pair(2)) == []

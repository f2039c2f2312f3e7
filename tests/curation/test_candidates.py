"""Candidates: sorted bands propose what datasketch's LSH proposes; the weights favour recall."""

import numpy as np
import pytest
from datasketch import MinHashLSH

from plantgfm.curation.candidates import LSH_WEIGHTS, candidate_pairs
from plantgfm.sketch import EMPTY, as_datasketch, jaccard_of_identity, minhash
from tests.curation.planted import mutated, random_codes

INDEX = jaccard_of_identity(0.99, 21)


def signatures_of_families(n, seed):
    """Signatures in which any share of slots may agree: families that drift, empty ones, exact copies."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 2**64 - 1, (n, 128), dtype=np.uint64)
    for i in range(1, n):
        if rng.random() < 0.7:
            kept = rng.random(128) < rng.random() ** 0.5
            rows[i, kept] = rows[rng.integers(max(0, i - 50), i), kept]
    rows[rng.random(n) < 0.02] = EMPTY
    rows[-3:] = rows[:3]
    return rows


def by_datasketch(signatures, index):
    lsh = MinHashLSH(threshold=index, num_perm=128, weights=LSH_WEIGHTS)
    sketched = [(i, as_datasketch(row, seed=1)) for i, row in enumerate(signatures) if row[0] != EMPTY]
    for i, one in sketched:
        lsh.insert(i, one)
    return sorted({(i, j) for i, one in sketched for j in lsh.query(one) if i < j})


@pytest.mark.parametrize("identity", [0.99, 0.97, 0.999])
@pytest.mark.parametrize("seed", range(3))
def test_sorted_bands_propose_what_datasketch_proposes(seed, identity):
    rows, index = signatures_of_families(1_500, seed), jaccard_of_identity(identity, 21)
    expected = by_datasketch(rows, index)
    assert len(expected) > 100
    for sorted_from in (0, 10**9):
        found = candidate_pairs(rows, index, seed=1, sorted_from=sorted_from)
        assert [tuple(pair) for pair in found.tolist()] == expected


def test_records_with_and_without_kmers_alike():
    base = [random_codes(3_000, i) for i in range(60)]
    codes = [*base, *(mutated(one, 0.985 + 0.0002 * i, i) for i, one in enumerate(base)), np.full(900, 4, np.uint8)]
    rows = np.array([minhash(one, k=21, permutations=128, seed=1) for one in codes])
    expected = by_datasketch(rows, INDEX)
    assert {(i, i + 60) for i in range(40, 60)} <= set(expected)
    found = candidate_pairs(rows, INDEX, seed=1, sorted_from=0)
    assert [tuple(pair) for pair in found.tolist()] == expected


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_make_no_pair(rows):
    for sorted_from in (0, 9):
        empty = np.zeros((rows, 128), np.uint64)
        assert candidate_pairs(empty, INDEX, seed=1, sorted_from=sorted_from).shape == (0, 2)


def test_recall_at_the_threshold():
    """Closed form, for the bands that the weights make: (1 - (1 - J^r)^b)."""
    lsh = MinHashLSH(threshold=INDEX, num_perm=128, weights=LSH_WEIGHTS)
    assert 1 - (1 - INDEX**lsh.r) ** lsh.b > 0.97
    assert 1 - (1 - jaccard_of_identity(0.995, 21) ** lsh.r) ** lsh.b > 0.9999

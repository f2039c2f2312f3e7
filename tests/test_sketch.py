"""Sketches: values of datasketch bit for bit, both strands alike, estimates near the truth."""

import numpy as np
import pytest
from datasketch import MinHash, MinHashLSH

from plantgfm import sketch
from plantgfm.sequence import encode, reverse_complement


def random_codes(length_bp, seed=0):
    return np.random.default_rng(seed).integers(0, 4, length_bp).astype(np.uint8)


def mutated(codes, identity, seed=1):
    rng = np.random.default_rng(seed)
    changed = codes.copy()
    places = rng.random(codes.size) > identity
    changed[places] = (changed[places] + rng.integers(1, 4, int(places.sum()))) % 4
    return changed.astype(np.uint8)


def naive_kmers(codes, k):
    found = []
    for start in range(codes.size - k + 1):
        part = codes[start : start + k]
        if part.max() > 3:
            found.append(int(sketch.EMPTY))
            continue
        both = [sum(int(base) << (2 * (k - 1 - i)) for i, base in enumerate(x)) for x in (part, 3 - part[::-1])]
        found.append(min(both))
    return found


@pytest.mark.parametrize("k", [3, 15, 31])
def test_canonical_kmers_are_what_a_slow_loop_says(k):
    codes = random_codes(200)
    codes[[50, 120]] = 4
    assert sketch.canonical_kmers(codes, k).tolist() == naive_kmers(codes, k)


@pytest.mark.parametrize("k", [3, 15, 21, 31])
@pytest.mark.parametrize("start", [0, 20, 31, 32, 77])
@pytest.mark.parametrize("size", [5, 64, 200])
def test_kmers_of_a_piece_are_those_of_the_whole(k, start, size):
    codes = random_codes(400, seed=k + start)
    whole = np.full((2, codes.size), sketch.EMPTY)
    for unknown in ([], [300], [start + size - 1], [max(0, start - k + 1), start]):
        codes[unknown] = 4
        whole[0, k - 1 :] = naive_kmers(codes, k)
        windows = np.lib.stride_tricks.sliding_window_view(codes, k)
        plain = windows.astype(np.uint64) @ np.uint64(4) ** np.arange(k - 1, -1, -1, dtype=np.uint64)
        whole[1, k - 1 :] = np.where((windows < 4).all(axis=1), plain, sketch.EMPTY)
        for both_strands, expected in zip((True, False), whole[:, start : start + size]):
            out, words = np.zeros(size, dtype=np.uint64), np.zeros((2, size // 32 + 1), dtype=np.uint64)
            everywhere = sketch.kmers_at(codes | np.uint8(8), start, k, both_strands, words, out)
            assert out.tolist() == expected.tolist()
            assert not everywhere or sketch.EMPTY not in expected
    assert size != 64 or start < 32 or sketch.kmers_at(random_codes(400), start, k, True, words, out)


def test_a_signature_of_a_share_is_datasketchs_of_those_kmers():
    codes = random_codes(20_000)
    kmers = sketch.canonical_kmers(codes, 21)
    hashes, places = sketch.fraction(codes, k=21, scaled=8)
    theirs = MinHash(num_perm=128, seed=5, scheme="affine64", hashfunc=int)
    theirs.update_batch(kmers[places].tolist())
    ours = sketch.survey(codes, k=21, permutations=128, seed=5, signature_scaled=8, scaled=3)
    assert np.array_equal(ours.signature, theirs.hashvalues) and 2_000 < hashes.size < 3_000
    assert np.array_equal(ours.hashes, sketch.fraction(codes, k=21, scaled=3)[0])
    whole = sketch.survey(codes, k=21, permutations=128, seed=5)
    assert not np.array_equal(whole.signature, ours.signature)


def test_signature_equals_datasketch_bit_for_bit():
    codes = random_codes(20_000)
    codes[5_000:5_010] = 4
    kmers = sketch.canonical_kmers(codes, 21)
    theirs = MinHash(num_perm=128, seed=5, scheme="affine64", hashfunc=int)
    theirs.update_batch(kmers[kmers != sketch.EMPTY].tolist())
    ours = sketch.minhash(codes, k=21, permutations=128, seed=5)
    assert np.array_equal(ours, theirs.hashvalues)
    assert sketch.as_datasketch(ours, seed=5).jaccard(theirs) == 1.0


def test_all_sketches_are_blind_to_the_strand_and_to_the_repeat_bit():
    codes = random_codes(9_000)
    codes[100] = 4
    other = reverse_complement(codes) | np.uint8(8)
    for make in (
        lambda x: sketch.minhash(x, k=21, permutations=16, seed=1),
        lambda x: sketch.one_permutation(x, k=21, bins=64),
        lambda x: np.sort(sketch.fraction(x, k=21, scaled=10)[0]),
    ):
        assert np.array_equal(make(codes), make(other))


def test_signatures_and_bins_merge_by_minimum():
    codes = random_codes(5_000)
    left, right = codes[:3_000], codes[3_000 - 20 :]  # overlap by k - 1: no k-mer is lost
    for make in (
        lambda x: sketch.minhash(x, k=21, permutations=16, seed=1),
        lambda x: sketch.one_permutation(x, k=21, bins=64),
    ):
        assert np.array_equal(np.minimum(make(left), make(right)), make(codes))


def test_one_permutation_estimates_identity():
    codes = random_codes(200_000)
    for identity in (0.999, 0.99, 0.95):
        index = sketch.jaccard(
            sketch.one_permutation(codes, k=21, bins=1024),
            sketch.one_permutation(mutated(codes, identity), k=21, bins=1024),
        )
        assert abs(index - sketch.jaccard_of_identity(identity, 21)) < 0.06
        assert abs(sketch.identity_of_jaccard(index, 21) - identity) < 0.01


def test_jaccard_of_identity_matches_its_table():
    expected = {(21, 0.999): 0.959, (21, 0.99): 0.681, (21, 0.95): 0.212, (31, 0.98): 0.368}
    for (k, identity), index in expected.items():
        assert round(sketch.jaccard_of_identity(identity, k), 3) == index
        assert abs(sketch.identity_of_jaccard(sketch.jaccard_of_identity(identity, k), k) - identity) < 1e-9
    assert sketch.mash_distance(np.array([1.0, 0.0]), 21).tolist() == [0.0, 1.0]


def test_unrelated_sequences_share_nothing():
    a, b = (sketch.one_permutation(random_codes(50_000, seed), k=21, bins=1024) for seed in (1, 2))
    assert sketch.jaccard(a, b) == 0.0
    assert sketch.jaccard(np.full(8, sketch.EMPTY), np.full(8, sketch.EMPTY)) == 0.0


def test_fraction_holds_each_hash_below_the_bound_with_its_place():
    codes = random_codes(10_000)
    everything, places = sketch.fraction(codes, k=21, scaled=1)
    some, where = sketch.fraction(codes, k=21, scaled=20)
    below = everything <= np.uint64(2**64 // 20 - 1)
    assert np.array_equal(some, everything[below]) and np.array_equal(where, places[below])
    assert 300 < some.size < 700


def test_fraction_grows_where_one_kmer_repeats():
    codes = np.zeros(5_000, dtype=np.uint8)
    scaled = next(s for s in (1, 2, 3) if sketch.fraction(codes, k=3, scaled=s)[0].size)
    assert sketch.fraction(codes, k=3, scaled=scaled)[0].size == 4_998


def test_windows_stand_alone():
    codes = random_codes(2_500)
    rows = sketch.window_sketches(codes, k=21, bins=32, window_bp=1_000)
    assert rows.shape == (3, 32)
    assert np.array_equal(rows[1], sketch.one_permutation(codes[1_000:2_000], k=21, bins=32))
    assert np.array_equal(rows[2], sketch.one_permutation(codes[2_000:], k=21, bins=32))


def test_densified_rows_are_full_and_agree_where_sets_agree():
    codes = random_codes(60)
    row = sketch.one_permutation(codes, k=21, bins=128)
    assert (row == sketch.EMPTY).any()
    full = sketch.densify(row)[0]
    assert (full != sketch.EMPTY).all() and np.array_equal(full[row != sketch.EMPTY], row[row != sketch.EMPTY])
    assert set(full.tolist()) == set(row[row != sketch.EMPTY].tolist())
    empty = np.full((1, 8), sketch.EMPTY)
    assert (sketch.densify(empty) == sketch.EMPTY).all()


def test_band_keys_give_the_candidates_of_datasketch():
    base = [random_codes(3_000, seed) for seed in range(40)]
    codes = base + [mutated(one, 0.98, seed) for seed, one in enumerate(base)]
    rows = sketch.densify(np.array([sketch.one_permutation(x, k=21, bins=128) for x in codes]))
    lsh = MinHashLSH(threshold=0.4, num_perm=128, weights=(0.2, 0.8))
    for i, row in enumerate(rows):
        lsh.insert(i, sketch.one_permutation_as_datasketch(row, seed=1))
    keys = sketch.band_keys(rows, list(lsh.hashranges))
    for i, row in enumerate(rows):
        theirs = set(lsh.query(sketch.one_permutation_as_datasketch(row, seed=1)))
        assert set(np.flatnonzero((keys == keys[i]).any(axis=1)).tolist()) == theirs
    assert any((keys[i] == keys[i + 40]).any() for i in range(40))


def test_datasketch_refuses_to_mix_the_two_kinds():
    codes = random_codes(3_000)
    one = sketch.one_permutation_as_datasketch(sketch.one_permutation(codes, k=21, bins=128), seed=1)
    other = sketch.as_datasketch(sketch.minhash(codes, k=21, permutations=128, seed=1), seed=1)
    with pytest.raises(ValueError, match="seed"):
        one.jaccard(other)


def test_verification_sketches_agree_with_the_wide_ones():
    codes = random_codes(6_000)
    wide = [sketch.one_permutation(x, k=21, bins=64) for x in (codes, mutated(codes, 0.99))]
    narrow = [sketch.verification_sketches(x, k=21, bins=64, window_bp=6_000)[0] for x in (codes, mutated(codes, 0.99))]
    assert ((narrow[0] == narrow[1]) == (wide[0] == wide[1])).all()


def test_distinct_sorts_and_drops_copies():
    parts = [np.array([5, 1, 5], dtype=np.uint64), np.array([], dtype=np.uint64), np.array([1, 9], dtype=np.uint64)]
    assert sketch.distinct(parts).tolist() == [1, 5, 9]
    assert sketch.distinct([]).tolist() == []


def plain_mix(values):
    values = values.copy()
    for shift, factor in ((33, 0xFF51AFD7ED558CCD), (33, 0xC4CEB9FE1A85EC53), (33, 1)):
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    return values


@pytest.mark.parametrize(("length_bp", "window_bp"), [(5_000, 700), (1_024, 1_024), (3_100, 3_000), (20, 7), (0, 7)])
def test_one_pass_gives_what_plain_numpy_gives(length_bp, window_bp):
    codes, k, bins, window_bins, scaled = random_codes(length_bp) | np.uint8(8), 21, 64, 16, 10
    codes[1_500:1_600] = 4
    codes[4_000:4_001] = 12
    kmers = sketch.canonical_kmers(codes, k)
    places = np.flatnonzero(kmers != sketch.EMPTY)
    hashes = plain_mix(kmers[places])
    found = sketch.survey(
        codes, k=k, bins=bins, window_bins=window_bins, window_bp=window_bp, permutations=8, seed=3, scaled=scaled
    )

    def minima(values, slots):
        return [min([v for v in values.tolist() if v * slots >> 64 == i], default=2**64 - 1) for i in range(slots)]

    assert found.bins.tolist() == minima(hashes, bins)
    for window, row in enumerate(found.windows):
        inside = (places >= window * window_bp) & (places + k <= (window + 1) * window_bp)
        assert row.tolist() == minima(hashes[inside], window_bins)
    below = hashes <= 2**64 // scaled - 1
    assert np.array_equal(found.hashes, hashes[below]) and np.array_equal(found.places, places[below])
    theirs = MinHash(num_perm=8, seed=3, scheme="affine64", hashfunc=int)
    theirs.update_batch(kmers[places].tolist())
    assert np.array_equal(found.signature, theirs.hashvalues)


@pytest.mark.parametrize("k", [2, 20, 33])
def test_bad_k_is_named(k):
    with pytest.raises(ValueError, match=f"k = {k}"):
        sketch.canonical_kmers(encode("ACGT"), k)


def test_bad_bins_and_identity_are_named():
    with pytest.raises(ValueError, match="100 bins"):
        sketch.one_permutation(encode("ACGT"), k=3, bins=100)
    with pytest.raises(ValueError, match="identity = 0"):
        sketch.jaccard_of_identity(0, 21)


def test_sequences_shorter_than_k_have_empty_sketches():
    codes = encode("ACGTA")
    assert sketch.canonical_kmers(codes, 21).size == 0
    assert (sketch.minhash(codes, k=21, permutations=4, seed=1) == sketch.EMPTY).all()
    assert (sketch.one_permutation(np.empty(0, np.uint8), k=21, bins=4) == sketch.EMPTY).all()


def test_ring_digest_is_of_the_ring_not_of_where_it_was_cut_or_read():
    ring = np.random.default_rng(8).integers(0, 4, 5_000).astype(np.uint8)
    expected = sketch.ring_digest(ring, k=21)
    for cut in (1, 20, 2_500, 4_999):
        turned = np.roll(ring, cut)
        assert sketch.ring_digest(turned, k=21) == expected
        assert sketch.ring_digest(np.ascontiguousarray(reverse_complement(turned)), k=21) == expected
    for place in (0, 2_500, 4_999):
        changed = ring.copy()
        changed[place] = (changed[place] + 1) % 4
        assert sketch.ring_digest(changed, k=21) != expected
    assert sketch.ring_digest(np.append(ring, ring[:100]), k=21) != expected
    assert sketch.ring_digest(ring[:10], k=21) == sketch.ring_digest(np.roll(ring[:10], 3), k=21)

"""Sources of evidence by hand: composition, containment, alignments, GC, cosine."""

import numpy as np
import pytest

from plantgfm.embedding.embed import Embedder
from plantgfm.retrieval import alignment, sources
from plantgfm.retrieval.alignment import MATCH, AlignedShares, AlignmentIndex
from plantgfm.retrieval.config import FitOn, RetrievalConfig
from plantgfm.retrieval.debias import no_debias
from plantgfm.retrieval.kmers import KmerIndex, canonical_columns, composition
from plantgfm.retrieval.queries import Query, query_of
from plantgfm.retrieval.sources import (
    AlignmentSource,
    CompositionSource,
    ContainmentSource,
    EmbeddingSource,
    FirstQueries,
    GcSource,
    QueryVectors,
    Weighing,
    embed_queries,
)
from plantgfm.retrieval.targets import Block, joined
from plantgfm.sequence import encode, reverse_complement
from tests.fixtures import random_codes, record


def query(name, codes):
    return Query(name, codes.size, [codes])


def block_of(tiles, vectors=None):
    bases, offsets = joined(list(tiles))
    vectors = np.zeros((len(tiles), 2), np.float32) if vectors is None else vectors
    return Block(np.arange(len(tiles)), vectors, bases, offsets)


def scored(source, block):
    source.fit(block)
    return source.scores(block)


def diverged(codes, share, seed=0):
    """A copy with a share of its bases replaced by another one."""
    rng = np.random.default_rng(seed)
    hit = rng.random(codes.size) < share
    return np.where(hit, (codes + rng.integers(1, 4, codes.size)) % 4, codes).astype(np.uint8)


def test_a_piece_is_found_on_either_strand():
    tiles = [random_codes(400, seed=s) for s in range(6)]
    queries = [query("a", tiles[2][100:300]), query("b", reverse_complement(tiles[4][50:350]))]
    kinds = {
        "composition": CompositionSource(queries, k=6),
        **{kind.value: ContainmentSource(queries, weighing=kind) for kind in Weighing},
        "alignment": AlignmentSource(queries),
    }
    for name, source in kinds.items():
        assert scored(source, block_of(tiles)).argmax(axis=1).tolist() == [2, 4], name
    for kind in Weighing:
        assert kinds[kind.value].scores(block_of(tiles))[0, 2] == pytest.approx(1.0, abs=1e-5)


def test_composition_by_hand_and_what_overlapping_windows_share_counts_once():
    bases, offsets = joined([encode("AAAATTTTN"), encode("AC")])
    rows = composition(bases, offsets, k=4, columns=canonical_columns(4))
    assert rows.shape == (2, 136) and rows[1].sum() == 0.0
    assert rows[0, 0] == pytest.approx(2 / 5) and rows[0].sum() == pytest.approx(1.0)
    codes = random_codes(300)
    whole, cut = query("q", codes), query_of(record("q", codes), window_bp=100)  # windows every 50 bp
    assert len(cut.windows) == 5
    tiles = block_of([random_codes(200, seed=s) for s in range(4)])
    expected, found = (scored(CompositionSource([one], k=4), tiles) for one in (whole, cut))
    np.testing.assert_array_equal(found, expected)


def test_containment_by_hand_and_by_rarity():
    queries = [encode("ACGTAAC"), encode("ACGTA"), encode("NNNN")]
    index = KmerIndex(queries, 3)
    assert index.sizes.tolist() == [4, 2, 0]  # ACG = CGT, GTA = TAC, TAA = TTA, AAC = GTT
    bases, offsets = joined([encode("TTGTAC"), encode("ACGNTTA"), encode("ACGT")])
    shares = index.shared(bases, offsets, np.ones(index.vocabulary.size))
    np.testing.assert_allclose(shares, [[0.25, 0.5, 0.25], [0.5, 0.5, 0.5], [0, 0, 0]], atol=1e-6)
    counts = dict(zip(index.vocabulary.tolist(), index.windows_with(bases, offsets).tolist()))
    acg, gta, taa = (int(encode(text) @ np.array([16, 4, 1])) for text in ("ACG", "GTA", "TAA"))
    assert (counts[acg], counts[min(gta, int(encode("TAC") @ np.array([16, 4, 1])))], counts[taa]) == (2, 1, 1)
    rare = np.where(index.vocabulary == acg, 1.0, 3.0)
    np.testing.assert_allclose(index.shared(bases, offsets, rare)[0], [0.3, 0.4, 0.1], atol=1e-6)


def test_a_kmer_of_all_windows_says_less_than_a_rare_one():
    common, rare = random_codes(60, seed=1), random_codes(60, seed=2)
    tiles = [np.concatenate([common, random_codes(50, seed=s)]) for s in range(10, 18)]
    tiles.append(np.concatenate([rare, random_codes(50, seed=30)]))
    asked = [query("q", np.concatenate([common, rare]))]
    plain, rarity, votes = (scored(ContainmentSource(asked, weighing=kind), block_of(tiles))[0] for kind in Weighing)
    assert abs(plain[8] - plain[0]) < 0.02 and rarity[8] > 5 * rarity[0]
    assert votes[8] / votes[0] == pytest.approx(9 / 2, rel=0.05)  # 1 / (1 + 1) for each of its k-mers, 1 / (8 + 1)


def test_alignments_are_summed_by_strand_as_a_share_of_a_perfect_one():
    codes = random_codes(200)
    queries = [codes, random_codes(150, seed=7)]
    index, shares = AlignmentIndex(queries), AlignedShares(np.array([200, 150]), weighed=False)

    def scores_of(tiles):
        return shares.scores(index.aligned(*joined(tiles)), len(tiles))

    tile = np.concatenate([random_codes(60, seed=3), codes, random_codes(60, seed=4)])
    scores = scores_of([tile, reverse_complement(tile), random_codes(300, seed=5)])
    assert scores.shape == (2, 2, 3)
    assert (
        scores[0, 0, 0] == scores[1, 0, 1] == 1.0
        and scores[:, 1].max() == scores[0, 0, 1] == scores[:, 0, 2].max() == 0
    )
    half = scores_of([np.concatenate([random_codes(60, seed=3), codes[:100], random_codes(60, seed=4)])])
    assert 0.5 <= half[0, 0, 0] < 0.53  # 100 of 200 bases; by chance a few more on either side
    apart = [codes[:70], random_codes(40, seed=8), codes[100:170]]  # two exons and another intron
    two = scores_of([np.concatenate(apart)])[0, 0, 0]
    assert 0.69 <= two < 0.75
    assert MATCH * 18 == 90


def test_alignments_by_hand_with_votes_and_each_base_once_a_window():
    # window, query, strand, start, end, score
    found = np.array(
        [[0, 0, 0, 0, 40, 200], [0, 0, 0, 20, 60, 160], [0, 0, 1, 0, 40, 200], [1, 0, 0, 0, 40, 200]], np.int32
    )
    full, votes = (AlignedShares(np.array([100, 30]), weighed=weighed) for weighed in (False, True))
    for one in (full, votes):
        one.learn(found)
    np.testing.assert_allclose(full.scores(found, 2)[:, 0], [[(200 + 20 * 4) / 500, 0.4], [0.4, 0.0]], rtol=1e-6)
    # bases 0 to 40 align in two windows, 40 to 60 in one, the others in none: votes of 1/3, 1/2 and 1
    total = 40 / 3 + 20 / 2 + 40
    first = (40 / 3 * 5 + 20 / 2 * 4) / (5 * total)
    np.testing.assert_allclose(
        votes.scores(found, 2)[:, 0], [[first, 40 / 3 / total]] + [[40 / 3 / total, 0]], rtol=1e-6
    )
    assert not full.scores(found, 2)[:, 1].any() and not votes.scores(found[:0], 1).any()


def test_one_place_that_holds_the_rest_of_a_query_outvotes_repeats():
    """Half of the query is a repeat of ten windows of 51, hardly changed; the true one has the other half, diverged."""
    repeat, rest = random_codes(300, seed=1), random_codes(300, seed=2)
    tiles = [np.concatenate([diverged(repeat, 0.05, seed=s), random_codes(200, seed=s)]) for s in range(10, 20)]
    tiles.append(np.concatenate([diverged(rest, 0.12), random_codes(200, seed=30)]))
    tiles += [random_codes(500, seed=s) for s in range(40, 80)]
    asked = [query("q", np.concatenate([repeat, rest]))]
    for kinds in (
        [AlignmentSource(asked, weighed=weighed) for weighed in (False, True)],
        [ContainmentSource(asked, weighing=kind) for kind in (Weighing.RARITY, Weighing.VOTES)],
    ):
        before, after = (scored(kind, block_of(tiles))[0] for kind in kinds)
        assert before[10] < before[:10].max() and after[10] > after[:10].max()


def test_alignments_beyond_the_room_are_made_again_with_more(monkeypatch):
    codes = random_codes(300)
    tiles = [random_codes(50, seed=1), reverse_complement(codes), codes[40:250]]
    index = AlignmentIndex([codes, codes[100:]])
    expected = index.aligned(*joined(tiles))
    assert expected[:, :3].tolist() == [[1, 0, 1], [1, 1, 1], [2, 0, 0], [2, 1, 0]]
    spans = expected[[0, 1]]
    assert (spans[:, 3:5] == [[0, 300], [0, 200]]).all() and (spans[:, 5] == [1500, 1000]).all()
    assert expected[2, 3] <= 40 and expected[2, 4] >= 250 and expected[3, 3] == 0 and expected[3, 4] >= 150
    monkeypatch.setattr(alignment, "_ROOM", 1)
    np.testing.assert_array_equal(index.aligned(*joined(tiles)), expected)
    assert index.aligned(*joined([])).shape == (0, 6)


def test_alignments_hear_what_shared_kmers_do_not():
    codes, tiles = random_codes(600), [random_codes(900, seed=s) for s in range(1, 60)]
    tiles[17][100:700] = diverged(codes, 0.3)
    block = block_of(tiles)
    shared = scored(ContainmentSource([query("q", codes)], weighing=Weighing.EQUAL), block)[0]
    aligned = scored(AlignmentSource([query("q", codes)]), block)[0]
    assert aligned.argmax() == 17 and aligned[17] > 3 * np.sort(aligned)[-2]
    assert shared[17] < 0.05


def test_repeats_seed_nothing_and_unknown_bases_end_an_alignment():
    dull = query("dull", encode("AT" * 100))
    assert not scored(AlignmentSource([dull]), block_of([encode("AT" * 200)])).any()
    codes = random_codes(120)
    cut = codes.copy()
    cut[60] = 4
    source = AlignmentSource([query("q", codes)], weighed=False)
    scores = scored(source, block_of([cut, codes[:10], codes[:0]]))[0]
    assert scores[0] == pytest.approx(119 / 120) and scores[1] == scores[2] == 0  # two alignments of 60 and 59


def test_gc_scores_are_minus_the_difference():
    source = GcSource([query("q", encode("GGCC"))])
    np.testing.assert_allclose(
        scored(source, block_of([encode("GCAT"), encode("GGGG"), encode("NNNN")])), [[-0.5, 0.0, -0.5]]
    )


def test_cosines_are_the_best_over_windows_and_strands():
    vectors = QueryVectors(
        np.array([0, 0, 1]), np.float32([[1, 0], [0, 1], [0, 2]]), np.float32([[0, 0]] * 2 + [[-1, 0]])
    )
    config = RetrievalConfig(components=0, whiten=False)
    source = EmbeddingSource(vectors, config)
    block = block_of([encode("A")] * 4, np.float32([[1, 0], [-1, 0], [0, 1], [0, -1]]))  # their mean is 0
    found = scored(source, block)
    np.testing.assert_allclose(found, [[1, 0, 1, 0], [0, 1, 1, 0]], atol=1e-6)
    np.testing.assert_array_equal(FirstQueries(source, 1).scores(block), found[:1])
    again = EmbeddingSource(vectors.first(1), config, moments=source.moments)
    again.fit(block)  # the moments are the other's to take in
    np.testing.assert_allclose(again.scores(block), found[:1], atol=1e-6)
    assert again.moments.rows == 4


def test_components_of_both_sets_by_hand():
    """A window counts once, in two strands and two phases; the second query is a null and does not count."""
    forward, backward = (np.float32([[x, 8], [x, 8], [99, 9], [9, 99]]) for x in (3, -1))
    queries = QueryVectors(np.array([0, 0, 1, 1]), forward, backward, phases=2)
    block = block_of([encode("A")] * 3, np.float32([[0, 0], [1, 0], [2, 0]]))
    of_both, of_targets = (RetrievalConfig(fit_on=fit_on, whiten=False) for fit_on in (FitOn.BOTH, FitOn.TARGETS))
    both, targets = (EmbeddingSource(queries, config, n_real=1) for config in (of_both, of_targets))
    for source in (both, targets):
        source.fit(block)
    assert both.moments.rows == 4 and targets.moments.rows == 3
    np.testing.assert_allclose(both.debias.mean, [1, 2], atol=1e-9)
    np.testing.assert_allclose(both.debias.matrix, np.diag([1, 0]), atol=1e-9)  # variances 1.5 and 12
    np.testing.assert_allclose(targets.debias.mean, [1, 0], atol=1e-9)
    np.testing.assert_allclose(targets.debias.matrix, np.diag([0, 1]), atol=1e-9)
    np.testing.assert_allclose(EmbeddingSource(queries, of_both, moments=both.moments).debias.mean, [1, 2], atol=1e-9)


class Phased(Embedder):
    """An embedder whose vectors tell how many bases it was given, and the first of them."""

    parts = 1

    def __init__(self):
        """No model is needed."""

    def embed(self, sequences):
        return np.array([[codes.size, codes[0]] for codes in sequences], np.float32)


def test_phases_are_windows_without_their_first_bases_on_both_strands():
    codes = np.array([0, 1, 2, 3, 0, 0, 2], np.uint8)
    queries = [query("a", codes), query("b", codes[:1])]
    found = embed_queries(Phased(), queries, RetrievalConfig(query_phases=3))
    assert found.owner.tolist() == [0, 0, 0, 1, 1, 1] and found.starts.tolist() == [0, 3] and found.phases == 3
    assert found.sides[0].tolist() == [[7, 0], [6, 1], [5, 2], [1, 0], [1, 0], [1, 0]]
    assert found.sides[1].tolist()[:3] == [[7, 1], [6, 3], [5, 3]]  # of CTTACGT -> 1, 3, 3
    assert found.first(1).phases == 3 and found.first(1).owner.tolist() == [0, 0, 0]
    alone = embed_queries(Phased(), queries, RetrievalConfig(both_strands=False))
    assert (alone.sides[0] == alone.sides[1]).all() and alone.phases == 1


def test_scores_are_the_same_however_few_queries_pass_by_at_a_time(monkeypatch):
    rng = np.random.default_rng(3)
    owner = np.repeat([0, 1, 2, 3], [1, 3, 2, 4])
    vectors = QueryVectors(owner, *(rng.normal(size=(10, 4)).astype(np.float32) for _ in range(2)))
    block = block_of([random_codes(9)] * 7, rng.normal(size=(7, 4)).astype(np.float32))
    source = EmbeddingSource(vectors, RetrievalConfig())
    source.fit(block)
    expected = np.maximum.reduceat(source.cosines(block).max(axis=0), vectors.starts, axis=0)
    for cells in (1, 7 * 4, 1 << 20):
        monkeypatch.setattr(sources, "_CELLS", cells)
        np.testing.assert_allclose(source.scores(block), expected, atol=1e-6)


def test_a_hub_is_found_by_fewer_queries_where_its_nearest_queries_are_taken_off():
    """Each query has a window of its own, and one window is near to all of them."""
    own = np.eye(6, 7, dtype=np.float32)
    hub = np.array([1, 1, 1, 1, 1, 1, 0], np.float32)
    queries = QueryVectors(np.arange(6), own + 0.45 * hub, own + 0.45 * hub)
    vectors = np.vstack([own + 0.1 * np.eye(7, dtype=np.float32)[6], hub[None, :]]).astype(np.float32)
    block = block_of([random_codes(9)] * 7, vectors)
    kinds = {k: EmbeddingSource(queries, RetrievalConfig(csls=k), debias=no_debias(7)) for k in (0, 3)}
    assert (kinds[0].scores(block).argmax(axis=1) == 6).all()
    assert kinds[3].scores(block).argmax(axis=1).tolist() == list(range(6))
    cosines = kinds[3].best_cosines(block)
    np.testing.assert_allclose(cosines, kinds[0].scores(block))
    mean = np.sort(cosines, axis=0)[-3:].mean(axis=0)
    np.testing.assert_allclose(kinds[3].scores(block), 2 * cosines - mean, atol=1e-6)

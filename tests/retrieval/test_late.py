"""Parts of queries matched with parts of windows, and votes."""

import numpy as np
import pytest

from plantgfm.retrieval import late
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.debias import no_debias
from plantgfm.retrieval.late import LateSource, embedding_source
from plantgfm.retrieval.search import search
from plantgfm.retrieval.sources import EMBEDDING, EmbeddingSource, QueryVectors
from plantgfm.retrieval.targets import Block
from plantgfm.sequence import Interval
from tests.retrieval.worlds import windows

PLAIN = RetrievalConfig(components=0, whiten=False)


def block_of(vectors):
    vectors = np.asarray(vectors, np.float32)
    n = vectors.shape[0]
    return Block(np.arange(n), vectors.reshape(n, -1), np.zeros(0, np.uint8), np.zeros(1, np.int64))


def rows(parts):
    """Rows of parts side by side."""
    parts = np.asarray(parts, np.float32)
    return parts.reshape(parts.shape[0], -1)


def random_rows(n, parts, width, *, seed):
    return np.random.default_rng(seed).normal(size=(n, parts, width)).astype(np.float32)


def test_each_part_of_a_query_takes_its_best_cosine_and_has_one_vote():
    a, b, c = np.eye(3)
    queries = QueryVectors(np.array([0]), rows([[a, b]]), rows([[-a, -b]]), parts=2)
    source = LateSource(queries, PLAIN, debias=no_debias(3))
    block = block_of([[b, a], [c, a], [c, a + b], [c, c]])
    best = source.best(block)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(best[0], [[1, 1, half, 0], [1, 0, half, 0]], atol=1e-3)  # of a and of b, forward
    np.testing.assert_allclose(source.cosines(block)[0], [[1, 0.5, half, 0]], atol=1e-3)
    source.settle([block])
    raised = np.exp(best.astype(np.float64) * late.SHARPNESS * np.sqrt(3))
    votes = (raised / raised.sum(axis=2, keepdims=True)).mean(axis=1)
    np.testing.assert_allclose(votes.sum(axis=1), 1)
    np.testing.assert_allclose(source.scores(block)[0], votes.max(axis=0), rtol=1e-3)  # the better strand


def test_votes_are_counted_before_they_are_shared():
    queries = QueryVectors(np.array([0]), *(rows(random_rows(1, 3, 4, seed=s)) for s in (0, 1)), parts=3)
    source = LateSource(queries, PLAIN, debias=no_debias(4))
    with pytest.raises(RuntimeError, match="settle first"):
        source.scores(block_of(random_rows(5, 3, 4, seed=2)))


def test_what_lies_everywhere_counts_less_than_what_lies_once():
    """A part that half the windows hold against one that a single window holds: its cosine there is lower."""
    common, rare, other = np.eye(3, 8)
    queries = QueryVectors(np.array([0]), rows([[common, rare]]), rows([[common, rare]]), parts=2)
    vectors = [[common, other]] * 6 + [[other, rare + 0.3 * other]] + [[other, other]] * 5
    source, block = LateSource(queries, PLAIN, debias=no_debias(8)), block_of(vectors)
    source.settle([block])
    assert source.scores(block)[0].argmax() == 6 and source.cosines(block)[0, 0].argmax() != 6


def test_null_parts_of_short_windows_are_no_part():
    short = random_rows(2, 4, 3, seed=3)
    short[0, 2:] = 0
    queries = QueryVectors(np.array([0, 1]), rows(short), rows(short[::-1]), parts=4)
    source = LateSource(queries, PLAIN, debias=no_debias(3))
    assert source.best(block_of(random_rows(5, 4, 3, seed=4))).shape == (2, 6, 5)
    assert source.rows_of(rows(short)).shape == (6, 3)


def test_windows_that_overlap_speak_by_their_inner_parts_on_both_strands():
    forward = np.arange(1, 25, dtype=np.float32).reshape(3, 8, 1)
    forward[2, 6:] = 0  # the last window is short
    queries = QueryVectors(np.array([0, 0, 0]), rows(forward), rows(forward), parts=8)
    source = LateSource(queries, PLAIN, debias=no_debias(1))
    taken = np.array([0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 18, 19, 20, 21])
    assert source._taken.tolist() == taken.tolist() and source._window.tolist() == (taken // 8).tolist()
    assert source._mirrored.tolist() == [7, 6, 5, 4, 3, 2, 13, 12, 11, 10, 19, 18, 17, 16]


def test_a_phase_is_another_chance_of_the_same_part():
    sides = [random_rows(4, 2, 5, seed=seed) for seed in (5, 6)]
    both = QueryVectors(np.array([0, 0, 1, 1]), *map(rows, sides), phases=2, parts=2)
    each = [QueryVectors(np.array([0, 1]), *(rows(side[p::2]) for side in sides), parts=2) for p in (0, 1)]
    block = block_of(random_rows(6, 2, 5, seed=7))
    found, *apart = (LateSource(one, PLAIN, debias=no_debias(5)).best(block) for one in (both, *each))
    np.testing.assert_array_equal(found, np.maximum(*apart))
    cosines = LateSource(both, PLAIN, debias=no_debias(5)).cosines(block)
    assert cosines.shape == (2, 4, 6) and (cosines[:, 0::2] == cosines[:, 1::2]).all()


def test_a_search_finds_what_scores_of_the_whole_target_find(monkeypatch):
    """Block by block, through the file in which cosines are kept, and however few parts pass by at a time."""
    vectors = rows(random_rows(9, 3, 4, seed=8))
    targets = windows([Interval("t", 10 * i, 10 * i + 10) for i in range(9)], vectors)
    queries = QueryVectors(np.arange(2), vectors[[2, 7]] + 0.1, rows(random_rows(2, 3, 4, seed=9)), parts=3)
    monkeypatch.setattr("plantgfm.retrieval.targets.BLOCK_ROWS", 4)
    monkeypatch.setattr(late, "_CELLS", 40)
    config = RetrievalConfig()
    source = embedding_source(queries, config)
    sizes = {"n_queries": 2, "n_counted": 2, "top_k": 9}
    found = search(targets, {EMBEDDING: source}, weights={}, **sizes).rankings[EMBEDDING]
    whole = LateSource(queries, config, debias=source.debias)
    block = block_of(vectors)
    whole.settle([block])
    scores = whole.scores(block)
    assert [rows[0] for rows in found.rows] == [2, 7]
    for query, (order, values) in enumerate(zip(found.rows, found.scores)):
        np.testing.assert_allclose(values, scores[query, order], rtol=1e-3)
    assert source.moments.rows == 27  # parts, not windows


def test_cosines_of_a_block_are_made_once_while_they_are_kept(monkeypatch, tmp_path):
    vectors = rows(random_rows(2, 3, 4, seed=12))
    source = LateSource(QueryVectors(np.arange(2), vectors, vectors, parts=3), PLAIN, debias=no_debias(4))
    parts = random_rows(6, 3, 4, seed=13)
    plain, made = source._matched, []
    monkeypatch.setattr(source, "_matched", lambda block: made.append(block.rows.size) or plain(block))
    with (tmp_path / "kept").open("w+b") as file, source.keeping(file):
        first = source.best(block_of(parts))
        np.testing.assert_array_equal(source.best(block_of(parts)), first)
        np.testing.assert_array_equal(source.best(block_of(parts).take(np.array([0, 2]))), first[:, :, [0, 2]])
    assert made == [6, 2]  # some of a block's windows are no block of the search
    source.best(block_of(parts))
    assert made == [6, 2, 6]


def test_one_vector_a_window_is_searched_as_before():
    queries = QueryVectors(np.array([0]), np.ones((1, 4), np.float32), np.ones((1, 4), np.float32))
    assert type(embedding_source(queries, PLAIN)) is EmbeddingSource

"""Ranking by one source and by their sum: z by hand, exact whatever the blocks, merged where windows overlap."""

from dataclasses import replace

import numpy as np
import pytest

from plantgfm.retrieval import targets as module
from plantgfm.retrieval.config import RankBy, RetrievalConfig
from plantgfm.retrieval.queries import Query
from plantgfm.retrieval.retrieve import weights_of
from plantgfm.retrieval.search import FUSED, Background, Top, fused_z, hit_blocks, merged_rows, search
from plantgfm.retrieval.sources import AlignmentSource, FirstQueries
from plantgfm.sequence import Interval
from tests.fixtures import random_codes
from tests.retrieval.worlds import ranking_of, tiled, windows


class Given:
    """A source whose scores are given, [Q, N]."""

    needs_bases = False

    def __init__(self, scores, floor=0.0):
        self.given, self.floor, self.fitted = np.float32(scores), np.full(len(scores), floor), 0

    def fit(self, block):
        self.fitted += block.rows.size

    def scores(self, block):
        assert self.fitted == self.given.shape[1]  # every block was shown before the first is scored
        return self.given[:, block.rows]


def apart(n, width=10):
    return windows([Interval("c", width * i, width * i + width) for i in range(n)])


def test_best_first_and_ties_by_row():
    (rows,) = ranking_of([[1, 3, 3, 2]], apart(4), top_k=3).rows
    assert rows.tolist() == [1, 2, 3]


def test_a_window_that_overlaps_a_better_one_is_merged_into_it():
    near = windows([Interval("c", s, s + 10) for s in (0, 5, 10, 20)])
    assert ranking_of([[1, 3, 2, 0]], near).rows[0].tolist() == [1, 3]
    other = windows([Interval("a", 0, 10), Interval("b", 5, 15)])
    assert ranking_of([[1, 2]], other).rows[0].tolist() == [1, 0]
    assert merged_rows(np.array([2, 2, 1]), near, top_k=5).tolist() == [0]  # one that is there twice, too


def test_the_best_are_kept_as_a_sort_would_whatever_the_blocks():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 40, (5, 300)).astype(np.float64)  # many ties
    for block in (300, 64, 7):
        top = Top(5, 30)
        for first in range(0, 300, block):
            part = scores[:, first : first + block]
            top.add(part, np.arange(first, first + part.shape[1]))
        for query in range(5):
            rows, values = top.best(query)
            assert rows.tolist() == np.argsort(-scores[query], kind="stable")[:30].tolist()
            assert (values == scores[query][rows]).all()
    few = Top(1, 10)
    few.add(scores[:1, :3], np.arange(3))
    assert few.best(0)[0].size == 3


def test_z_is_of_each_query_and_a_floor_keeps_what_is_rare_small():
    found = search(apart(4), {"a": Given([[0, 0, 0, 4]]), "b": Given([[1, 1, 1, 1]])}, weights={"a": 1.0, "b": 1.0},
                   n_queries=1, n_counted=1, top_k=4)  # fmt: skip
    spread = np.sqrt(3)
    np.testing.assert_allclose(
        found.rankings[FUSED].scores[0], np.array([3, -1, -1, -1]) / spread / np.sqrt(2), rtol=1e-6
    )
    assert found.rankings[FUSED].rows[0].tolist() == [3, 0, 1, 2]
    np.testing.assert_allclose(found.best_z, np.array([-1, -1, -1, 3]) / spread / np.sqrt(2), rtol=1e-6)
    floored = search(apart(4), {"a": Given([[0, 0, 0, 4]], floor=9.0)}, weights={"a": 1.0}, n_queries=1, n_counted=1,
                     top_k=1)  # fmt: skip
    assert floored.rankings[FUSED].scores[0][0] == pytest.approx(3 / (spread + 9), rel=1e-6)


def test_weights_are_heard_and_noise_keeps_its_spread():
    backgrounds = {name: Background(np.zeros(1), np.ones(1)) for name in "ab"}
    parts = {"a": np.float32([[3, 0]]), "b": np.float32([[0, 4]])}
    np.testing.assert_allclose(fused_z(parts, backgrounds, {"a": 1.0, "b": 1.0}), [[3 / np.sqrt(2), 4 / np.sqrt(2)]])
    np.testing.assert_allclose(fused_z(parts, backgrounds, {"a": 2.0, "b": 1.0}), [[6 / np.sqrt(5), 4 / np.sqrt(5)]])
    noise = np.random.default_rng(0).normal(size=(2, 1, 100_000)).astype(np.float32)
    assert fused_z(dict(zip("ab", noise)), backgrounds, {"a": 3.0, "b": 0.5}).std() == pytest.approx(1, abs=0.01)


def test_a_sure_source_outweighs_one_that_sees_nothing():
    rng = np.random.default_rng(1)
    n = 2_000
    truth = rng.integers(0, n, 30)
    blind = rng.normal(size=(30, n))
    sure = rng.normal(size=(30, n)) * 0.01
    sure[np.arange(30), truth] += 0.2
    found = search(apart(n), {"blind": Given(blind), "sure": Given(sure)}, weights={"blind": 1.0, "sure": 1.0},
                   n_queries=30, n_counted=30, top_k=1)  # fmt: skip
    first = {name: [rows[0] for rows in ranking.rows] for name, ranking in found.rankings.items()}
    assert first["sure"] == truth.tolist() == first[FUSED] and np.mean(first["blind"] == truth) < 0.1


def test_every_source_is_ranked_exactly_over_blocks_and_overlaps(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", 11)
    targets = tiled(tmp_path, {"a": random_codes(700), "b": random_codes(300, seed=1)}, width=40, stride=10)
    scores = np.random.default_rng(2).normal(size=(3, len(targets)))
    done = []
    found = search(targets, {"a": Given(scores)}, weights={}, n_queries=3, n_counted=3, top_k=9,
                   progress=lambda *told: done.append(told))  # fmt: skip
    expected = ranking_of(np.float32(scores), targets, top_k=9)
    assert FUSED not in found.rankings and done[-1] == ("search", 3 * len(targets), 3 * len(targets))
    for rows, wanted in zip(found.rankings["a"].rows, expected.rows):
        assert rows.tolist() == wanted.tolist() and rows.size == 9
    seen = {}
    for block, cells in hit_blocks(targets, expected, n_queries=3, bases=True, top_k=2):
        for query, place, column in cells:
            seen[query, place] = block.rows[column]
            piece = block.bases[block.offsets[column] : block.offsets[column + 1]]
            where = targets.interval(block.rows[column])
            codes = random_codes(700) if where.sequence == "a" else random_codes(300, seed=1)
            assert (piece == codes[where.start : where.end]).all()
    assert seen == {(q, place): expected.rows[q][place] for q in range(3) for place in range(2)}


def test_votes_without_bases_are_refused():
    config = RetrievalConfig(share_votes=False)
    assert set(weights_of(config, bases=True)) == set(weights_of(RetrievalConfig(), bases=True))
    for one, bases in ((config, False), (replace(config, rank_by=RankBy.EMBEDDING), True)):
        with pytest.raises(ValueError, match=r"retrieval\.share_votes=false is of 11-mers and alignments"):
            weights_of(one, bases=bases)


def test_only_the_queries_that_count_are_on_the_track():
    found = search(apart(3), {"a": Given([[0, 1, 2], [9, 0, 0]])}, weights={"a": 1.0}, n_queries=2, n_counted=1,
                   top_k=1)  # fmt: skip
    assert found.best_z.argmax() == 2 and found.rankings[FUSED].rows[1].tolist() == [0]


def test_alignments_are_made_once_a_window_and_rank_as_if_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", 16)
    codes = random_codes(4_000, seed=4)
    targets = tiled(tmp_path, {"c": codes}, width=100, stride=50)
    queries = [Query(f"q{i}", 90, [codes[at : at + 90]]) for i, at in enumerate((120, 1_930, 3_600))]
    seen, own = [], AlignmentSource(queries)
    made = own.aligned
    monkeypatch.setattr(own, "aligned", lambda block: seen.extend(block.rows.tolist()) or made(block))
    sizes = {"weights": {"a": 1.0}, "n_queries": 3, "n_counted": 3, "top_k": 5}
    kept = search(targets, {"a": own}, **sizes)
    assert sorted(seen) == list(range(len(targets)))
    again = AlignmentSource(queries)
    for block in targets.blocks(bases=True):
        again.fit(block)
    anew = search(targets, {"a": FirstQueries(again, 3)}, **sizes)
    for one, other in zip(kept.rankings["a"].rows, anew.rankings["a"].rows):
        assert one.tolist() == other.tolist()
    assert (kept.best_z == anew.best_z).all() and kept.best_z.max() > 3

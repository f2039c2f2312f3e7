"""The approximate index: what it finds beside exact search, what it keeps, goes on with, and refuses."""

from contextlib import nullcontext

import numpy as np
import pytest

from plantgfm.embedding.embed import Embedded
from plantgfm.embedding.store import write_vectors
from plantgfm.embedding.tiles import Tile
from plantgfm.retrieval import approximate, index, targets
from plantgfm.retrieval.approximate import asks_for_index, search_by_embedding, search_by_index
from plantgfm.retrieval.config import FitOn, IndexUse, RetrievalConfig
from plantgfm.retrieval.index import IndexProcess, spread_rows
from plantgfm.retrieval.search import FUSED, search
from plantgfm.retrieval.sources import ALIGNMENT, EMBEDDING, EmbeddingSource, QueryVectors
from plantgfm.retrieval.targets import Targets
from plantgfm.sequence import Interval

N, D, QUERIES, NULLS = 3_000, 12, 20, 4
SIZES = {"n_queries": QUERIES + NULLS, "n_counted": QUERIES, "top_k": 10}
needs_faiss = pytest.mark.skipif(not index.has_library(), reason="faiss is an extra (index)")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Windows in 60 clusters, half a window apart, in a file; and queries of two windows, near to some of them."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, D))[rng.integers(0, 60, N)] + 0.3 * rng.normal(size=(N, D)) + 2
    vectors[1_007] = vectors[7]
    tiles = [Tile(Interval("chr1", 50 * i, 50 * i + 100), np.zeros(0, np.uint8), partial=False) for i in range(N)]
    path = tmp_path_factory.mktemp("index") / "v.parquet"
    write_vectors(path, [Embedded(tiles, vectors.astype(np.float32), 0)], width=D, origin={"bundle": "b"})
    near = vectors[rng.integers(0, N, 2 * (QUERIES + NULLS))] + 0.1 * rng.normal(size=(2 * (QUERIES + NULLS), D))
    near[0] = vectors[7]
    sides = (near.astype(np.float32), rng.normal(size=near.shape).astype(np.float32))
    return path, QueryVectors(np.repeat(np.arange(QUERIES + NULLS), 2), *sides)


@pytest.fixture(scope="module")
def process():
    """faiss, loaded once."""
    if not index.has_library():
        pytest.skip("faiss is an extra (index)")
    with IndexProcess() as process:
        yield process


@pytest.fixture
def quick(process, monkeypatch):
    """Searches share a process."""
    monkeypatch.setattr(approximate, "IndexProcess", lambda: nullcontext(process))


def by_index(path, queries, *, recall=0.95, **changes):
    source = EmbeddingSource(queries, RetrievalConfig(**changes), n_real=QUERIES)
    return search_by_index(Targets.open(path), source, recall=recall, **SIZES)


def copy_of(path, folder):
    """The same vectors elsewhere, so that their index is not there."""
    (folder / "v.parquet").write_bytes(path.read_bytes())
    return folder / "v.parquet"


def asked_of(monkeypatch, *, stop_at=None):
    """What is asked of faiss from now on; the user gives up at a number of requests to add."""
    asked, real = [], IndexProcess.ask

    def ask(self, do, **values):
        if do == "add":
            asked.append((do, values["first"], len(np.load(values["vectors"]))))
            if len([one for one in asked if one[0] == "add"]) == stop_at:
                raise KeyboardInterrupt
        else:
            asked.append((do,))
        return real(self, do, **values)

    monkeypatch.setattr(IndexProcess, "ask", ask)
    return asked


def same(one, other):
    for name in (EMBEDDING, FUSED):
        for a, b in zip(one.rankings[name].rows, other.rankings[name].rows):
            np.testing.assert_array_equal(a, b)
        for a, b in zip(one.rankings[name].scores, other.rankings[name].scores):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.best_z, other.best_z)
    assert one.approximation.told() == other.approximation.told()


@pytest.mark.usefixtures("quick")
def test_the_index_finds_what_exact_search_finds_with_exact_cosines(made):
    path, queries = made
    found = by_index(path, queries)
    whole = {EMBEDDING: EmbeddingSource(queries, RetrievalConfig())}
    exact = search(Targets.open(path), whole, weights={EMBEDDING: 1.0}, **SIZES)
    for name in (EMBEDDING, FUSED):
        ours, theirs = found.rankings[name], exact.rankings[name]
        assert len(ours.rows) == QUERIES + NULLS
        assert np.mean([np.isin(a, b).mean() for a, b in zip(theirs.rows, ours.rows)]) > 0.95
        for query in range(QUERIES + NULLS):
            np.testing.assert_allclose(ours.scores[query][0], theirs.scores[query][0], atol=1e-5)
    rows = found.rankings[EMBEDDING].rows[0].tolist()
    assert rows.index(7) + 1 == rows.index(1_007)  # equal cosines: the first window first
    np.testing.assert_allclose(found.backgrounds[EMBEDDING].mean, exact.backgrounds[EMBEDDING].mean)
    np.testing.assert_allclose(np.nanmax(found.best_z), exact.best_z.max(), atol=1e-5)
    named = ~np.isnan(found.best_z)
    assert 0 < named.sum() < N and (found.best_z[named] <= exact.best_z[named] + 1e-5).all()
    told = found.approximation.told()
    assert told["lists_read"] < told["lists"] == 54 and told["recall"] > 0.9 and told["background_windows"] == N
    assert (told["recall_at"], told["recall_measured_on_queries"]) == (10, 4)
    assert "of 54 lists read" in found.approximation.note()


@pytest.mark.usefixtures("quick")
def test_all_lists_are_read_where_fewer_do_not_find_enough_and_then_nothing_is_missed(made, monkeypatch):
    path, queries = made
    monkeypatch.setattr(approximate, "_FIRST_PROBES", 1)
    noise = np.random.default_rng(5).normal(size=(2, 2 * (QUERIES + NULLS), D)).astype(np.float32)  # near to nothing
    hard = QueryVectors(queries.owner, *noise)
    few, all_of_them = (by_index(path, hard, recall=recall).approximation for recall in (0.3, 1.0))
    assert few.probes < all_of_them.probes and all_of_them.recall > 0.99 and few.recall < all_of_them.recall
    whole = {EMBEDDING: EmbeddingSource(hard, RetrievalConfig())}
    exact = search(Targets.open(path), whole, weights={EMBEDDING: 1.0}, **SIZES)
    monkeypatch.setattr(approximate, "_WORTH_READING", 0.01)
    source = EmbeddingSource(hard, RetrievalConfig())  # left to AUTO, exact search answers then, and says why
    found = search_by_embedding(Targets.open(path), source, RetrievalConfig(index_recall=1.0), progress=None, **SIZES)
    np.testing.assert_array_equal(found.best_z, exact.best_z)
    assert found.approximation is None and exact.note() == "" and exact.told() == {"index": "exact"}
    assert found.told() == {"index": "exact", "why": found.note()}
    assert found.note().startswith("searched exactly: for 100% of the hits the approximate index would read ")
    asked_for = RetrievalConfig(index=IndexUse.APPROXIMATE, index_recall=1.0)
    found = search_by_embedding(Targets.open(path), EmbeddingSource(hard, asked_for), asked_for, progress=None, **SIZES)
    assert found.approximation.probes == all_of_them.probes and "lists read" in found.note()


@pytest.mark.usefixtures("quick")
def test_an_index_is_found_again_and_built_anew_is_the_same(made, tmp_path, monkeypatch):
    path, queries = made
    first = by_index(path, queries)
    asked = asked_of(monkeypatch)
    same(first, by_index(path, queries))
    assert {one[0] for one in asked} == {"hello", "search"}
    other = copy_of(path, tmp_path)
    same(first, by_index(other, queries))
    assert "train" in {one[0] for one in asked}
    (folder,) = (one for one in tmp_path.glob("v.parquet.index/*") if one.is_dir())
    assert sorted(one.name for one in folder.iterdir()) == [
        "about.json",
        "index.faiss",
        "lists.ivfdata",
        "moments.npz",
        "norms.npy",
        "trained.faiss",
    ]
    with pytest.raises(ValueError, match="retrieval.components=12 needs"):
        by_index(other, queries, components=12)
    for side in queries.sides:
        by_index(other, QueryVectors(queries.owner, side, side), fit_on=FitOn.BOTH)
    assert len(list(tmp_path.glob("v.parquet.index/*/about.json"))) == 3  # each knows the queries it was fitted on
    other.write_bytes(path.read_bytes())  # embedded again
    by_index(other, queries)
    assert len(list(tmp_path.glob("v.parquet.index/*/about.json"))) == 1


@needs_faiss
def test_a_stopped_build_goes_on_a_block_at_a_time_and_ends_the_same(made, tmp_path, monkeypatch):
    path, queries = made
    monkeypatch.setattr(targets, "BLOCK_ROWS", 256)
    monkeypatch.setattr(index, "_SHARD_BLOCKS", 3)  # 768 windows
    other = copy_of(path, tmp_path)
    with monkeypatch.context() as patch:
        before = asked_of(patch, stop_at=8)
        with pytest.raises(KeyboardInterrupt):
            by_index(other, queries)
    assert all(one[2] <= 256 for one in before if one[0] == "add")  # no more than a block is ever handed over
    assert not list(tmp_path.glob("v.parquet.index/[!.]*"))  # nothing that could pass for an index
    after = asked_of(monkeypatch)
    found = by_index(other, queries)
    assert ("train",) in before and ("train",) not in after
    assert [one[1] for one in after if one[0] == "add"][0] == 2 * 768  # behind the shards that were whole
    (tmp_path / "whole").mkdir()
    same(found, by_index(copy_of(path, tmp_path / "whole"), queries))


@pytest.mark.usefixtures("quick")
def test_vectors_in_memory_leave_no_index_behind_and_a_folder_that_is_closed_is_named(made, tmp_path, monkeypatch):
    path, queries = made
    opened = Targets.open(path)
    vectors = np.concatenate([block.vectors for block in opened.blocks()])
    source = EmbeddingSource(queries, RetrievalConfig())
    in_memory = Targets(*(getattr(opened, name) for name in list(Targets.__annotations__)[:6]), vectors)
    found = search_by_index(in_memory, source, recall=0.95, **SIZES)
    np.testing.assert_array_equal(found.rankings[FUSED].rows[0], by_index(path, queries).rankings[FUSED].rows[0])
    other = copy_of(path, tmp_path)
    (tmp_path / "v.parquet.index").write_text("")  # no folder
    with pytest.raises(ValueError, match=r"v.parquet.index can't be written \(.*\): give retrieval.index=EXACT"):
        by_index(other, queries)


@needs_faiss
def test_faiss_that_fails_or_is_killed_is_told_in_a_line(tmp_path):
    with IndexProcess() as process:
        assert process.ask("hello")["library"].startswith("faiss 1")
        with pytest.raises(ValueError, match="faiss could not search .*nowhere.*retrieval.index=EXACT needs none"):
            process.ask("search", index="nowhere", queries="no.npy", best=1, probes=1, rows="r.npy", scores="s.npy")
        process._child.kill()
        process._child.wait()
        with pytest.raises(ValueError, match=r"faiss ended \(-9\) when asked to hello"):
            process.ask("hello")


ALONE, FUSED_WEIGHTS = {EMBEDDING: 1.0}, {EMBEDDING: 1.0, ALIGNMENT: 2.0}


def test_an_index_is_taken_where_it_is_asked_for_or_the_target_is_large(monkeypatch):
    def asks(weights=ALONE, windows=100, **settings):
        return asks_for_index(RetrievalConfig(**settings), weights, windows)

    monkeypatch.setattr(index.importlib.util, "find_spec", lambda name: name == "faiss")
    least = RetrievalConfig().index_least_windows
    assert not asks(windows=least - 1) and asks(windows=least) and asks(index_least_windows=100)
    assert not asks(windows=least, index=IndexUse.EXACT) and asks(index=IndexUse.APPROXIMATE)
    assert not asks(FUSED_WEIGHTS, windows=least) and not asks(windows=least, csls=3)
    with pytest.raises(ValueError, match="is of vectors alone, .* give --rank-by embedding"):
        asks(FUSED_WEIGHTS, index=IndexUse.APPROXIMATE)
    monkeypatch.setattr(index.importlib.util, "find_spec", lambda name: None)
    assert not asks(windows=least)
    with pytest.raises(ValueError, match=r"needs another package: pip install 'plantgfm\[index\]', or give EXACT"):
        asks(index=IndexUse.APPROXIMATE)


def test_rows_lie_evenly_over_a_target():
    assert spread_rows(5, 9).tolist() == [0, 1, 2, 3, 4] and spread_rows(9, 3).tolist() == [0, 4, 8]
    assert spread_rows(1, 4).tolist() == [0] and spread_rows(10**9, 50_000).size == 50_000

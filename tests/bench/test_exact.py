"""The bench of exact search: ours finds what a sort finds, and the figures are those of the quickest turn."""

import numpy as np

from plantgfm.bench import exact as bench


def test_ours_finds_what_a_sort_of_all_scores_finds(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "BLOCK_ROWS", 300)
    bench._write(tmp_path, vectors=1_000, queries=3)
    vectors, queries = np.load(tmp_path / "v.npy"), np.load(tmp_path / "q.npy")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    seconds, found = bench._ours(tmp_path)
    assert seconds > 0 and found.shape == (3, bench.BEST)
    scores = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    assert (found == np.argsort(-scores, axis=1)[:, : bench.BEST]).all()


def test_the_quickest_turn_counts_and_a_peer_that_is_absent_is_left_out(monkeypatch):
    times = {bench._ours: iter([5.0, 2.0, 3.0, 4.0, 6.0]), bench._faiss: iter([1.0, 4.0, 4.0, 4.0, 4.0])}
    rows_of = {bench._ours: np.array([[1, 2], [3, 4]]), bench._faiss: np.array([[2, 1], [3, 9]])}
    monkeypatch.setattr(bench, "_alone", lambda work, folder: (next(times[work]), rows_of[work]))
    monkeypatch.setattr(bench, "_write", lambda folder, **sizes: None)
    monkeypatch.setattr(bench.importlib.util, "find_spec", lambda name: name == "faiss")
    found = [(row["value"], row["bar"]) for row in bench.run(vectors=10, queries=2)]
    assert found == [(2.0, None), (1.0, None), (2.0, 1.25), (0.75, None)]
    times[bench._ours] = iter([1.0] * 5)
    monkeypatch.setattr(bench.importlib.util, "find_spec", lambda name: None)
    assert [row["value"] for row in bench.run(vectors=10, queries=2)] == [1.0]

"""The evaluation stream: recall and ranks by hand, chance where it should be, baselines, cut genes."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest

from plantgfm.formats.errors import FormatError
from plantgfm.retrieval import baselines
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.evaluate import RetrievalEvaluation, evaluate_retrieval, first_true_rank, read_truth
from plantgfm.retrieval.queries import Query
from plantgfm.sequence import Interval, encode, reverse_complement
from tests.fixtures import random_codes

TILES = [Interval("c", 10 * i, 10 * i + 10) for i in range(40)]
NAMES = [f"q{i}" for i in range(12)]
TRUTH = {name: [Interval("c", 30 * i + 2, 30 * i + 5)] for i, name in enumerate(NAMES)}


def perfect():
    scores = np.zeros((12, 40), np.float32)
    scores[np.arange(12), 3 * np.arange(12)] = 1
    return scores


def test_first_true_rank_by_hand():
    scores = np.float32([5, 4, 3, 2])
    truth = [Interval("c", 25, 26)]
    assert first_true_rank(scores, TILES[:4], truth, top_k=4) == 3
    assert first_true_rank(scores, TILES[:4], truth, top_k=2) == 0
    assert first_true_rank(scores, TILES[:4], [Interval("other", 25, 26)], top_k=4) == 0
    assert first_true_rank(scores, TILES[:4], [Interval("c", 10, 10)], top_k=4) == 0


def test_a_perfect_model_beats_chance_and_differs_from_it():
    result = evaluate_retrieval(
        {"model": perfect(), "none": np.zeros((12, 40), np.float32)},
        NAMES,
        intervals=TILES,
        truth=TRUTH,
        config=RetrievalConfig(top_k=50, permutations=50),
    )
    by_name = {method.method: method for method in result.methods}
    assert by_name["model"].recall[1] == 1.0 == by_name["model"].mean_reciprocal_rank
    assert by_name["none"].recall[1] == pytest.approx(1 / 12)
    assert by_name["chance"].recall[1] == pytest.approx(1 / 40, abs=0.02)
    assert by_name["chance"].recall[10] == pytest.approx(10 / 40, abs=0.06)
    mean, low, high = result.differences["chance"]
    assert 0 < low <= mean <= high


def test_the_result_is_written_and_repeats(tmp_path):
    methods = {"model": perfect()}
    make = lambda: evaluate_retrieval(methods, NAMES, intervals=TILES, truth=TRUTH, config=RetrievalConfig())  # noqa: E731
    make().write(tmp_path / "a.json")
    make().write(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()
    assert json.loads((tmp_path / "a.json").read_text())["ranks"]["model"] == [[1] * 12]
    assert RetrievalEvaluation.read(tmp_path / "a.json").methods == make().methods


def test_queries_without_truth_are_counted_and_too_few_are_refused():
    half = {name: TRUTH[name] for name in NAMES[:6]}
    result = evaluate_retrieval({"model": perfect()}, NAMES, intervals=TILES, truth=half, config=RetrievalConfig())
    assert result.queries_without_truth == 6 and result.methods[0].queries == 6
    few = {name: TRUTH[name] for name in NAMES[:4]}
    with pytest.raises(ValueError, match="only 4 of 12 queries"):
        evaluate_retrieval({"model": perfect()}, NAMES, intervals=TILES, truth=few, config=RetrievalConfig())


def test_truth_tables_of_both_kinds_are_read(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("query\ttarget_contig\tstart\tend\nq0\tc\t1\t5\nq0\tother\t1\t5\n")
    assert read_truth(path, target_sequences={"c"}) == {"q0": [Interval("c", 1, 5)]}
    path.write_text("gene_id\tchr\tstart\tend\nq0\tc\t1\tx\n")
    with pytest.raises(FormatError, match="line 2.*bad coordinates"):
        read_truth(path, target_sequences={"c"})
    path.write_text("gene\tchr\tstart\tend\nq0\tc\t1\t2\n")
    with pytest.raises(FormatError, match="lacks a column"):
        read_truth(path, target_sequences={"c"})


def query(name, codes):
    return Query(name, codes.size, [codes])


def test_baselines_find_an_exact_piece_on_either_strand():
    tiles = [random_codes(400, seed=s) for s in range(6)]
    queries = [query("a", tiles[2][100:300]), query("b", reverse_complement(tiles[4][50:350]))]
    for scores in (
        baselines.composition_scores(queries, tiles, k=6),
        baselines.containment_scores(queries, tiles),
    ):
        assert scores.argmax(axis=1).tolist() == [2, 4]
    assert baselines.containment_scores(queries, tiles)[0, 2] == pytest.approx(1.0, abs=1e-5)


def test_composition_by_hand():
    (row,) = baselines.composition([encode("AAAATTTTN")], k=4)
    assert row[0] == pytest.approx(2 / 5) and row.sum() == pytest.approx(1.0)
    assert baselines.composition([encode("AC")], k=4).sum() == 0.0


def test_gc_scores_are_minus_the_difference():
    scores = baselines.gc_scores([query("q", encode("GGCC"))], [encode("GCAT"), encode("GGGG"), encode("NNNN")])
    np.testing.assert_allclose(scores, [[-0.5, 0.0, -0.5]])


def test_the_retrieval_stream_can_not_reach_the_truth():
    folder = Path(baselines.__file__).parent
    for name in (
        "retrieve.py",
        "search.py",
        "queries.py",
        "genes.py",
        "debias.py",
        "null.py",
        "tracks.py",
        "localize.py",
    ):
        source = (folder / name).read_text()
        imported = [n.module for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ImportFrom)]
        assert "plantgfm.retrieval.evaluate" not in imported and "read_truth" not in source

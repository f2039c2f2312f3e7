"""The evaluation stream: recall and ranks by hand, chance where it should be, labels that could not be used."""

import ast
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from plantgfm.formats.errors import FormatError
from plantgfm.formats.orthologs import Ortholog
from plantgfm.retrieval import evaluate as module
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.evaluate import (
    CLOSED_FORM,
    RetrievalEvaluation,
    Truth,
    chance_of_none,
    evaluate_retrieval,
    first_true_rank,
    promoter_truth,
    read_truth,
    true_windows,
)
from plantgfm.retrieval.search import Ranking
from plantgfm.retrieval.targets import Targets
from plantgfm.sequence import Interval
from tests.retrieval.worlds import ranking_of, windows

TILES = windows([Interval("c", 10 * i, 10 * i + 10) for i in range(40)])
NAMES = [f"q{i}" for i in range(12)]
LABELS = {name: [Ortholog(name, Interval("c", 30 * i + 2, 30 * i + 5))] for i, name in enumerate(NAMES)}
TRUTH = Truth(LABELS)


def perfect():
    scores = np.zeros((12, 40))
    scores[np.arange(12), 3 * np.arange(12)] = 1
    return ranking_of(scores, TILES)


def evaluated(rankings, truth=TRUTH, **settings):
    return evaluate_retrieval(rankings, NAMES, targets=TILES, truth=truth, config=RetrievalConfig(**settings))


def test_first_true_rank_by_hand():
    true = true_windows(TILES, [Ortholog("q", Interval("c", 25, 32))])
    assert true.tolist() == [2, 3]
    order = np.array([7, 1, 3, 2])
    assert first_true_rank(order, true, top_k=4) == 3 and first_true_rank(order, true, top_k=2) == 0
    touching = [Ortholog("q", Interval("c", 10, 20)), Ortholog("q", Interval("c", 10, 11))]
    assert true_windows(TILES, touching).tolist() == [1]


def test_promoters_are_judged_by_the_promoters_of_the_orthologs():
    """On the plus strand before the start, on the minus strand behind the end, cut where the sequence ends."""
    labels = {
        "a": [Ortholog("a", Interval("c", 100, 200, "+"))],
        "b": [Ortholog("b", Interval("c", 300, 390, "-")), Ortholog("b", Interval("c", 10, 20, "."))],
        "c": [Ortholog("c", Interval("c", 50, 60))],
    }
    sizes = {"upstream_bp": 30, "downstream_bp": 5, "lengths_bp": {"c": 400}}
    moved = promoter_truth(Truth(labels, elsewhere=2, unplaced=1), **sizes)
    assert moved.by_query["a"][0].where == Interval("c", 70, 105, "+") and moved.by_query["a"][0].tss == 100
    assert moved.by_query["b"][0].where == Interval("c", 385, 400, "-") and moved.by_query["b"][0].tss == 389
    assert "c" not in moved.by_query and moved.unplaced == 3 and moved.elsewhere == 2


def test_a_perfect_model_beats_chance_and_differs_from_it():
    nothing = ranking_of(np.zeros((12, 40)), TILES)
    result = evaluated({"fused": perfect(), "model": nothing}, permutations=50)
    by_name = {method.method: method for method in result.methods}
    assert by_name["fused"].recall[1] == 1.0 == by_name["fused"].mean_reciprocal_rank
    assert by_name["model"].recall[1] == pytest.approx(1 / 12)
    for chance in ("chance", CLOSED_FORM):
        assert by_name[chance].recall[1] == pytest.approx(1 / 40, abs=0.02)
        assert by_name[chance].recall[10] == pytest.approx(10 / 40, abs=0.06)
    harmonic = sum(1 / k for k in range(1, 41)) / 40
    assert by_name[CLOSED_FORM].mean_reciprocal_rank == pytest.approx(harmonic)
    assert by_name["chance"].mean_reciprocal_rank == pytest.approx(harmonic, abs=0.03)
    mean, low, high = result.differences["chance"]
    assert 0 < low <= mean <= high
    assert result.best_single().method == "model"
    assert result.model_differences["fused"][0] == -result.differences["model"][0] < 0


def test_queries_of_two_levels_are_judged_among_the_windows_of_their_own():
    """Half the queries among 40 windows, half among 4; windows of the other level are neither true nor drawn."""
    wide = windows([Interval("c", 100 * i, 100 * i + 100) for i in range(4)])
    both = Targets.joined([TILES, wide])
    pools = [both.rows_of(number % 2) for number in range(12)]
    rows = [np.array([3 * n if n % 2 == 0 else 40 + 30 * n // 100]) for n in range(12)]
    rankings = {"model": Ranking(rows, [np.ones(1)] * 12)}
    found = evaluate_retrieval(
        rankings, NAMES, targets=both, truth=TRUTH, config=RetrievalConfig(permutations=150), pools=pools
    )
    assert found.ranks["model"].tolist() == [[1] * 12]
    by_name = {method.method: method for method in found.methods}
    for chance in ("chance", CLOSED_FORM):
        assert by_name[chance].recall[1] == pytest.approx((1 / 40 + 1 / 4) / 2, abs=0.03)
    assert true_windows(both, LABELS["q1"], pools[1]).tolist() == [40]


def test_chance_of_none_counts_the_draws():
    draws = list(combinations(range(8), 3))
    assert chance_of_none(2, 8, 3) == pytest.approx(np.mean([not {0, 1} & set(draw) for draw in draws]))
    assert chance_of_none(2, 8, 7) == 0.0 and chance_of_none(2, 8, 0) == pytest.approx(1.0)


def test_the_result_is_written_and_repeats(tmp_path):
    def make():
        return evaluated({"model": perfect()}, truth=Truth(LABELS, 3, 2))

    make().write(tmp_path / "a.json")
    make().write(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()
    assert json.loads((tmp_path / "a.json").read_text())["ranks"]["model"] == [[1] * 12]
    again = RetrievalEvaluation.read(tmp_path / "a.json")
    assert again.methods == make().methods and (again.labels_elsewhere, again.labels_unplaced) == (3, 2)
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ValueError, match="is damaged"):
        RetrievalEvaluation.read(tmp_path / "a.json")


def test_queries_without_truth_are_counted_few_are_warned_of_and_too_few_refused():
    half = Truth({name: LABELS[name] for name in NAMES[:6]})
    result = evaluated({"model": perfect()}, truth=half)
    assert result.queries_without_truth == 6 and result.methods[0].queries == 6
    assert result.warnings == ["6 queries: fewer than 20, so that intervals are wide and rest on few"]
    few = Truth({name: LABELS[name] for name in NAMES[:4]}, elsewhere=7)
    with pytest.raises(ValueError, match="only 4 of 12 queries.*7 labels lie on sequences that were not processed"):
        evaluated({"model": perfect()}, truth=few)
    assert module.few_queries(20) == []


def test_labels_on_other_sequences_are_left_out_and_counted(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("query\ttarget_contig\tstart\tend\nq0\tc\t1\t5\nq0\tother\t1\t5\nq1\tother\t1\t5\n")
    truth = read_truth(path, target_sequences={"c"})
    assert truth == Truth({"q0": [Ortholog("q0", Interval("c", 1, 5))]}, elsewhere=2)
    path.write_text("gene_id\tchr\tstart\tend\nq0\tc\t1\tx\n")
    with pytest.raises(FormatError, match="line 2.*bad coordinates"):
        read_truth(path, target_sequences={"c"})


def test_the_retrieval_stream_can_not_reach_the_truth():
    """No module that the search is made of imports one that reads labels, directly or through others."""
    folder = Path(module.__file__).parent
    labelled = {"evaluate", "places", "chance", "divergence", "rerank_training"}
    labelled |= {"projection_pairs", "projection_training"}
    labelled = {f"plantgfm.retrieval.{name}" for name in labelled} | {"plantgfm.formats.orthologs"}
    stream = [path for path in folder.glob("*.py") if f"plantgfm.retrieval.{path.stem}" not in labelled]
    assert len(stream) > 12
    for path in stream:
        imported = {n.module for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)}
        assert not imported & labelled, path.name

"""What is found by divergence: groups by hand, and the words on who overtakes whom."""

import numpy as np
import pytest

from plantgfm.formats.orthologs import Ortholog
from plantgfm.formats.tables import read_tsv
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.divergence import (
    DIVERGENCE_COLUMNS,
    divergence_rows,
    identities_of,
    overtaking,
    write_divergence,
)
from plantgfm.retrieval.evaluate import RetrievalEvaluation
from plantgfm.sequence import Interval


def label(identity):
    return Ortholog("q", Interval("c", 0, 9), perc_id=identity)


def test_identities_are_shares_whatever_the_table_says():
    assert identities_of([[label(0.9), label(0.8)], [label(0.5)]]).tolist() == [0.9, 0.5]
    percent = identities_of([[label(90.0)], [label(None)], [label(1.0)]])
    assert percent[0] == 0.9 and np.isnan(percent[1]) and percent[2] == 0.01
    assert np.isnan(identities_of([[label(None)]])).all()


def rows_of(ranks, identities):
    evaluation = RetrievalEvaluation([], ranks, {}, {}, 0, 50)
    return divergence_rows(evaluation, np.asarray(identities, float), config=RetrievalConfig(resamples=50))


def test_groups_are_of_equal_size_and_each_method_has_its_line(tmp_path):
    """Twelve queries with an identity are two groups of six; the model finds the close ones second, the others not."""
    identities = [*np.linspace(0.5, 0.6, 6), np.nan, *np.linspace(0.9, 1.0, 6)]
    model, kmers = [0] * 6 + [1] + [2] * 6, [1] * 13
    rows = rows_of({"model": np.array([model]), "11-mer containment": np.array([kmers])}, identities)
    assert [(row["method"], row["queries"], row["mrr"]) for row in rows] == [
        ("model", 6, 0.5),
        ("11-mer containment", 6, 1.0),
        ("model", 6, 0.0),
        ("11-mer containment", 6, 1.0),
    ]
    assert (rows[0]["identity_from"], rows[0]["identity_to"], rows[0]["identity_median"]) == (0.9, 1.0, 0.95)
    assert rows[0]["recall_at_1"] == 0 and rows[1]["recall_at_1"] == 1
    write_divergence(tmp_path / "d.tsv", rows)
    assert [row["mrr"] for row in read_tsv(tmp_path / "d.tsv", required=DIVERGENCE_COLUMNS)] == [
        "0.5",
        "1.0",
        "0.0",
        "1.0",
    ]
    assert rows_of({"model": np.array([model])}, [np.nan] * 9 + [0.5] * 4) == []


def test_intervals_hold_the_figure_and_are_wide_with_few_queries():
    ranks = {"model": np.array([[1, 0] * 10])}
    (row,) = [row for row in rows_of(ranks, np.full(20, 0.7)) if row["identity_median"] == 0.7][:1]
    assert row["recall_low"] < row["recall_at_1"] < row["recall_high"]
    assert row["queries"] == 5


@pytest.mark.parametrize(
    "mrr, said",
    [
        ((0.9, 0.2), "model never finds more than k-mers, down to an identity of 0.60"),
        ((0.9, 0.6), "model finds more than k-mers at identities of 0.60"),
    ],
)
def test_overtaking_is_said_with_where(mrr, said):
    other = (1.0, 0.5)
    rows = [
        {"method": method, "identity_median": identity, "mrr": value}
        for method, values in (("model", mrr), ("k-mers", other))
        for identity, value in zip((0.9, 0.6), values)
    ]
    assert overtaking(rows, "model", "k-mers") == said
    assert overtaking(rows, "model", "aligner") == "model and aligner were not both asked"

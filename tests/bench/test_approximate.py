"""The bench of the approximate index on a few windows: what it writes is searched both ways, and ratios are of them."""

import numpy as np
import pytest

from plantgfm.bench import approximate as bench


def test_both_searches_answer_the_same_queries_and_are_compared(monkeypatch):
    pytest.importorskip("faiss", reason="faiss is an extra (index)")
    monkeypatch.setattr(bench, "WIDTH", 8)
    monkeypatch.setenv("PLANTGFM_BENCH_WINDOWS", "600")
    monkeypatch.setattr(bench, "_alone", bench._measured)
    rows = {row["name"]: row for row in bench.run(queries=(3,))}
    what = "top 50 of 3 queries against 600 x 8"
    assert rows[f"{what}: recall of the index"]["value"] > 0.9
    ratio = rows[f"{what}: index"]["value"] / rows[f"{what}: exact"]["value"]
    assert rows[f"{what}: index against exact"]["value"] == ratio
    assert rows["index of 600 x 8: built and searched"]["unit"] == "s"


def test_recall_is_the_share_of_exact_hits_and_faiss_is_asked_for(monkeypatch):
    found = iter([[[1, 2]], [[1, 2]], [[2, 9]]])
    monkeypatch.setattr(bench, "_write", lambda folder, **sizes: None)
    monkeypatch.setattr(bench, "_alone", lambda work: (2.0, 1.0, [np.array(rows) for rows in next(found)]))
    monkeypatch.setattr(bench, "has_library", lambda: True)
    assert [row["value"] for row in bench.run(queries=(1,))] == [2.0, 1.0, 2.0, 2.0, 1.0, 0.5]
    monkeypatch.setattr(bench, "has_library", lambda: False)
    with pytest.raises(ValueError, match=r"pip install 'plantgfm\[index\]'"):
        bench.run()

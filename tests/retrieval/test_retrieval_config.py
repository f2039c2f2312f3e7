"""Settings of retrieval that cannot be meant are refused by name."""

import pytest

from plantgfm.retrieval.config import RetrievalConfig


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ridge", 0.0),
        ("ridge", -1e-3),
        ("ridge", float("nan")),
        ("ridge", float("inf")),
        ("top_k", 0),
        ("components", -1),
        ("flank_bp", -1),
        ("permutations", 0),
        ("resamples", 0),
        ("seed", -1),
    ],
)
def test_a_value_out_of_range_is_named_with_its_value(field, value):
    with pytest.raises(ValueError, match=rf"retrieval\.{field}={value} "):
        RetrievalConfig(**{field: value})


def test_the_edges_are_allowed():
    RetrievalConfig(ridge=1e-9, top_k=1, components=0, flank_bp=0, permutations=1, resamples=1, seed=0)

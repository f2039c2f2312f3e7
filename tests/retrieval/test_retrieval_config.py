"""Settings of retrieval that cannot be meant are refused by name."""

import pytest

from plantgfm.retrieval.config import QueryPart, RetrievalConfig


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ridge", 0.0),
        ("ridge", -1e-3),
        ("ridge", float("nan")),
        ("ridge", float("inf")),
        ("top_k", 0),
        ("weight_embedding", -1.0),
        ("weight_composition", float("nan")),
        ("weight_containment", float("inf")),
        ("weight_alignment", -0.5),
        ("components", -1),
        ("flank_bp", -1),
        ("upstream_bp", -1),
        ("downstream_bp", -1),
        ("max_query_tokens", 0),
        ("null_queries", -1),
        ("localize_hits", -1),
        ("scan_window_bp", -1),
        ("scan_stride_bp", -1),
        ("confirm_hits", -1),
        ("confirm_margin_bp", -1),
        ("csls", -1),
        ("shortlist_recall", -0.1),
        ("shortlist_recall", 1.0),
        ("query_phases", -1),
        ("query_phases", 7),
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


def test_settings_of_another_part_of_the_gene_are_refused():
    promoter = {"query_part": QueryPart.PROMOTER}
    assert RetrievalConfig(**promoter, upstream_bp=500, downstream_bp=0).upstream_bp == 500
    with pytest.raises(ValueError, match="leave no promoter"):
        RetrievalConfig(**promoter, upstream_bp=0, downstream_bp=0)
    with pytest.raises(ValueError, match="flank_bp=9 widens whole genes, query_part is promoter"):
        RetrievalConfig(**promoter, flank_bp=9)
    with pytest.raises(ValueError, match="upstream_bp=500 .* are of promoters, query_part is gene"):
        RetrievalConfig(upstream_bp=500)


def test_widths_of_a_scan_that_is_off_are_refused():
    with pytest.raises(ValueError, match="scan_window_bp=99 .* give localize_hits"):
        RetrievalConfig(scan_window_bp=99)
    assert RetrievalConfig(scan_window_bp=99, localize_hits=1).scan_window_bp == 99


def test_some_source_has_a_weight():
    names = ("embedding", "composition", "containment", "alignment")
    with pytest.raises(ValueError, match="leave nothing to rank by"):
        RetrievalConfig(**{f"weight_{name}": 0.0 for name in names})
    assert RetrievalConfig(top_k=7).deepest_rank == 50 and RetrievalConfig(top_k=70).deepest_rank == 70

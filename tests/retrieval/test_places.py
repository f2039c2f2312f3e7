"""Distances in base pairs by hand, and what chance gives of them."""

import numpy as np
import pytest

from plantgfm.formats.orthologs import Ortholog
from plantgfm.formats.tables import read_tsv
from plantgfm.retrieval import chance
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.places import (
    GAP,
    QUERIES,
    ROWS,
    TSS,
    PlaceEvaluation,
    Prediction,
    evaluate_places,
    gap_between,
    nearest_of,
    place,
    write_rows,
)
from plantgfm.retrieval.search import Ranking
from plantgfm.retrieval.targets import Targets
from plantgfm.sequence import Interval
from tests.retrieval.worlds import ranking_of, windows


def label(start, end, strand=".", sequence="c", name=""):
    return Ortholog("q", Interval(sequence, start, end, strand), name)


def said(start, end, *, query="q", rank=1, cosine=0.5, sequence="c"):
    return Prediction(query, rank, Interval(sequence, start, end), cosine, 3.0)


def test_gaps_by_hand():
    one = Interval("c", 10, 20)
    gaps = [gap_between(one, Interval("c", *span)) for span in ((0, 5), (0, 10), (15, 16), (20, 30), (27, 30))]
    assert gaps == [5, 0, 0, 0, 7] and gap_between(one, Interval("d", 10, 20)) is None


def test_tss_distances_are_signed_along_the_genome_and_along_the_gene():
    plus = place(said(100, 120), [label(200, 300, "+")])
    assert (plus.gap_bp, plus.along_genome_bp, plus.along_gene_bp, plus.tss_distance_bp) == (80, -90, -90, 90)
    minus = place(said(100, 120), [label(40, 81, "-")])  # its TSS is base 80
    assert (minus.gap_bp, minus.along_genome_bp, minus.along_gene_bp, minus.tss_distance_bp) == (19, 30, -30, 30)
    unknown = place(said(100, 120), [label(40, 81)])
    assert (unknown.gap_bp, unknown.along_genome_bp, unknown.along_gene_bp, unknown.tss_distance_bp) == (19,) + (
        None,
    ) * 3
    assert unknown.measure(TSS) == np.inf and unknown.measure(GAP) == 19


def test_the_nearest_label_is_taken_and_other_sequences_are_infinitely_far():
    labels = [label(0, 10, "+"), label(115, 400, "-"), label(110, 130, "+"), label(100, 101, sequence="d")]
    assert place(said(100, 120), labels).label == labels[2]  # both overlap; its TSS is nearer
    far = place(said(100, 120, sequence="e"), labels)
    assert far.label is None and far.gap_bp is None and far.measure(GAP) == np.inf


def levels():
    """Ten queries with two rows each: the second row of query i lies 1,000 i bp off, the first one far."""
    truth = [label(50_000, 50_100, "+")]
    rows = []
    for i in range(10):
        rows.append(place(said(900_000 + i, 900_100 + i, query=f"q{i}", rank=2, cosine=0.1), truth))
        rows.append(place(said(50_100 + 1_000 * i, 50_200 + 1_000 * i, query=f"q{i}", cosine=0.9 - i / 100), truth))
    return {"windows": rows}


def test_accuracy_medians_and_rho_by_hand(tmp_path):
    found = evaluate_places(levels(), config=RetrievalConfig(resamples=200), nulls=[])
    shares = {(a.of, a.measure, a.tolerance_bp): (a.share, a.low, a.high) for a in found.accuracies}
    assert shares[QUERIES, GAP, 0][0] == 0.1 and shares[ROWS, GAP, 0][0] == 0.05
    share, low, high = shares[QUERIES, GAP, 5_000]
    assert share == 0.6 and 0.2 <= low < 0.6 < high <= 0.9
    assert shares[ROWS, GAP, 5_000][0] == 0.3 and shares[QUERIES, GAP, 10_000] == (1.0, 1.0, 1.0)
    assert shares[QUERIES, TSS, 1_000][0] == 0.1  # 150 bp behind the TSS, 1,150, ...
    spreads = {one.measure: one for one in found.spreads}
    gap, tss = spreads[GAP], spreads[TSS]
    assert (gap.quartile_1_bp, gap.median_bp, gap.quartile_3_bp) == (2_000, 4_000, 7_000)
    assert tss.median_bp == 4_150 and gap.median_low_bp < 4_000 < gap.median_high_bp
    (rho,) = found.correlations
    assert 0.93 < rho.rho < 0.94 and rho.rows == 20 and rho.low > 0.8
    found.write(tmp_path / "p.json")
    assert PlaceEvaluation.read(tmp_path / "p.json") == found
    (tmp_path / "p.json").write_text('{"accuracies": 1}')
    with pytest.raises(ValueError, match="is damaged"):
        PlaceEvaluation.read(tmp_path / "p.json")


def test_intervals_are_over_queries_not_rows():
    """Many rows that say the same of one query make nothing surer."""
    few, many = levels(), levels()
    many["windows"] = [row for row in many["windows"] for _ in range(20)]
    settings = RetrievalConfig(resamples=500)
    widths = []
    for rows in (few, many):
        found = evaluate_places(rows, config=settings, nulls=[])
        (one,) = [a for a in found.accuracies if (a.of, a.measure, a.tolerance_bp) == (ROWS, GAP, 5_000)]
        widths.append(one.high - one.low)
    assert widths[1] == pytest.approx(widths[0], rel=0.05)


def test_labels_without_strands_have_no_tss_figures_and_far_queries_no_median():
    rows = [place(said(0, 10, query=f"q{i}", sequence="c" if i < 2 else "e"), [label(5, 50)]) for i in range(6)]
    found = evaluate_places({"windows": rows}, config=RetrievalConfig(resamples=50), nulls=[])
    (spread,) = found.spreads
    assert (spread.measure, spread.median_bp, spread.quartile_1_bp) == (GAP, None, 0.0)
    assert nearest_of(rows, [f"q{i}" for i in range(6)]).tolist() == [0.0, 0.0] + [np.inf] * 4


def test_rows_are_written_with_both_signs(tmp_path):
    placed = place(said(100, 120), [label(40, 81, "-", name="IAA14")])
    write_rows(tmp_path / "d.tsv", {"windows": [placed, place(said(0, 5, sequence="x"), [label(1, 2)])]})
    one, other = read_tsv(tmp_path / "d.tsv")
    assert (one["tss_along_genome_bp"], one["tss_along_gene_bp"], one["label_name"]) == ("30", "-30", "IAA14")
    assert (other["gap_bp"], other["label_start"]) == ("", "")


TILES = windows([Interval("c", 100 * i, 100 * i + 100) for i in range(200)], repeats=np.arange(200) % 2)


def test_windows_are_grouped_with_their_like():
    gc = np.repeat([0.3, 0.6], 100)
    strata = chance.strata_of(gc, np.tile([0.0, 1.0], 100))
    counts = np.bincount(strata)
    assert counts.size == 25 and counts.min() == counts.max() == 8
    assert all(np.ptp(gc[strata == group]) == 0 for group in [*range(10), *range(15, 25)])
    assert chance.strata_of(np.zeros(3), np.zeros(3)).max() < 25


def test_the_nearest_gap_goes_round_the_end_of_a_sequence():
    rows, truth = np.array([198]), [label(150, 160)]
    assert chance.nearest_gap(TILES, rows, truth) == 19_640
    assert chance.nearest_gap(TILES, rows, truth, shift_bp=310) == 0  # 19,800 + 310 - 20,000 = 110
    assert (
        chance.nearest_gap(TILES, rows, truth, shift_bp=260) == 0
        and chance.nearest_gap(TILES, rows, truth, shift_bp=380) == 20
    )
    elsewhere = windows([Interval("c", 0, 10), Interval("d", 0, 10)])
    assert chance.nearest_gap(elsewhere, np.array([1]), truth) == np.inf


def test_nulls_take_as_many_windows_as_a_query_has_hits_and_know_a_good_hit():
    rng = np.random.default_rng(0)
    scores = rng.random((8, 200))
    places = rng.permutation(200)[:8]
    scores[np.arange(8), places] = 2
    ranking = ranking_of(scores, TILES, top_k=5)
    labels = [[label(100 * row + 20, 100 * row + 60)] for row in places.tolist()]
    config = RetrievalConfig(top_k=5, permutations=99)
    strata = chance.strata_of(np.zeros(200), TILES.repeat_fraction.astype(float))
    nulls = dict(chance.null_gaps(TILES, ranking, list(range(8)), labels, strata=strata, config=config))
    assert list(nulls) == [chance.UNIFORM, chance.MATCHED, chance.SHIFTED, chance.OTHERS]
    assert all(gaps.shape == (8, 99) for gaps in nulls.values())
    expected = chance.within_by_chance(0, windows=5, window_bp=100, label_bp=40, target_bp=20_000)
    assert np.mean(nulls[chance.UNIFORM] == 0) == pytest.approx(5 / 200, abs=0.01) and 0.025 < expected < 0.04
    rows = {row["null"]: row for row in chance.null_rows(np.zeros(8), nulls)}
    for kind in (chance.UNIFORM, chance.MATCHED, chance.SHIFTED):
        assert rows[kind]["median_p"] < 0.2 and rows[kind]["within"]["0"] < 0.2, kind
    bad = chance.null_rows(np.full(8, 10_000.0), nulls)
    assert all(row["median_p"] > 0.9 for row in bad)
    again = dict(chance.null_gaps(TILES, ranking, list(range(8)), labels, strata=strata, config=config))
    assert all((again[kind] == gaps).all() for kind, gaps in nulls.items())


def test_the_closed_form_stands_beside_the_drawn_nulls_and_agrees_with_them():
    ranking = ranking_of(np.eye(8, 200), TILES, top_k=5)
    labels = [[label(1_000 * i + 30, 1_000 * i + 70)] for i in range(8)]
    config, strata = RetrievalConfig(top_k=5, permutations=400), np.zeros(200, np.int64)
    drawn = dict(chance.null_gaps(TILES, ranking, list(range(8)), labels, strata=strata, config=config))
    (uniform,) = [row for row in chance.null_rows(np.full(8, 900.0), drawn) if row["null"] == chance.UNIFORM]
    closed = chance.closed_row(np.full(8, 900.0), [5] * 8, labels, TILES)
    assert set(uniform) <= set(closed) and closed["draws"] is None
    assert closed["median_gap_bp"] == pytest.approx(uniform["median_gap_bp"], rel=0.15)
    assert closed["median_p"] == pytest.approx(uniform["median_p"], abs=0.06)
    assert closed["within"]["1000"] == pytest.approx(uniform["within"]["1000"], abs=0.06)
    twice = [[*own, label(1_000 * i + 10_030, 1_000 * i + 10_070)] for i, own in enumerate(labels)]
    both = dict(chance.null_gaps(TILES, ranking, list(range(8)), twice, strata=strata, config=config))
    (two,) = [row for row in chance.null_rows(np.full(8, 300.0), both) if row["null"] == chance.UNIFORM]
    apart = chance.closed_row(np.full(8, 300.0), [5] * 8, twice, TILES)
    assert apart["median_gap_bp"] == pytest.approx(two["median_gap_bp"], rel=0.2)
    assert apart["median_gap_bp"] < 0.7 * closed["median_gap_bp"]
    assert apart["median_p"] == pytest.approx(two["median_p"], abs=0.06)
    assert closed["mean_distance_bp"] == 20_000 / 12 and closed["windows"] == 5


def test_matched_windows_are_of_the_stratum_of_the_hit():
    ranking = ranking_of(np.eye(6, 200), TILES, top_k=1)
    strata = np.repeat([1, 0], 100)  # all first hits lie among the first hundred windows
    config = RetrievalConfig(top_k=1, permutations=200)
    truth = [[label(19_950, 19_960)]] * 6
    nulls = dict(chance.null_gaps(TILES, ranking, list(range(6)), truth, strata=strata, config=config))
    assert nulls[chance.MATCHED].min() >= 9_950 > nulls[chance.UNIFORM].min()


def test_nulls_of_two_levels_are_drawn_from_the_windows_of_their_own():
    """Wide windows end with the sequence, the narrow ones of query 0 at half of it: what is drawn tells which."""
    narrow = windows([Interval("c", 10 * i, 10 * i + 10) for i in range(1_000)])
    both = Targets.joined([narrow, windows([Interval("c", 10_000 + 500 * i, 10_500 + 500 * i) for i in range(20)])])
    pools = [both.rows_of(0), both.rows_of(1), both.rows_of(1)]
    ranking = Ranking([np.array([5]), np.array([1_003]), np.array([1_007])], [np.ones(1)] * 3)
    config, truth = RetrievalConfig(top_k=1, permutations=60), [[label(9_990, 10_010)]] * 3
    strata = np.repeat([0, 1], [1_000, 20])
    given = {"strata": strata, "config": config, "pools": pools}
    nulls = dict(chance.null_gaps(both, ranking, [0, 1, 2], truth, **given))
    for kind in (chance.UNIFORM, chance.MATCHED):
        assert (nulls[kind][0] % 10 == 0).all() and nulls[kind][0].max() < 9_990, kind
        assert (nulls[kind][1:] % 500 == 490).sum() > 100 and nulls[kind][1:].max() > 8_000, kind
    assert set(nulls[chance.OTHERS][1]) == {10_000 + 500 * 7 - 10_010} and len(set(nulls[chance.OTHERS][0])) == 2
    closed = chance.closed_row(np.full(3, 100.0), [1] * 3, truth, both, pools)
    widths = [10, 500, 500]
    expected = [chance.within_by_chance(0, windows=1, window_bp=w, label_bp=20, target_bp=20_000) for w in widths]
    assert closed["within"]["0"] == pytest.approx(np.mean(expected))


def test_the_tss_of_a_promoter_is_where_its_gene_starts():
    ahead = Ortholog("q", Interval("c", 100, 530, "+"), tss=500)
    placed = place(said(300, 420), [ahead])
    assert placed.gap_bp == 0 and placed.along_genome_bp == -140 == placed.along_gene_bp


def test_closed_forms_of_the_study():
    """50 random windows on 75 Mb: 0.74 Mb on average, 0.52 Mb in the median, 4 % within 32 kb."""
    mean, median = chance.nearest_by_chance(windows=50, target_bp=75_000_000)
    assert mean == pytest.approx(735_294, rel=1e-5) and median == pytest.approx(516_273, rel=1e-3)
    assert chance.within_by_chance(32_000, windows=50, window_bp=0, label_bp=0, target_bp=75_000_000) == pytest.approx(
        0.042, abs=0.001
    )
    rng = np.random.default_rng(0)
    drawn = np.abs(rng.random((20_000, 50)) * 75e6 - 37.5e6).min(axis=1)
    assert np.mean(drawn <= 32_000) == pytest.approx(0.042, abs=0.005)

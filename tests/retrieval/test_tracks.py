"""Tracks for a browser, and p and q of hits, by hand."""

import numpy as np
import pytest

from plantgfm.formats.bed import read_bed, write_bed, write_bedgraph
from plantgfm.formats.errors import FormatError
from plantgfm.formats.gff3 import read_gff3, write_gff3
from plantgfm.retrieval.hits import Hit
from plantgfm.retrieval.retrieve import with_significance
from plantgfm.retrieval.tracks import bed_rows, best_z_track, gff3_rows, hit_track
from plantgfm.sequence import Interval
from tests.retrieval.worlds import windows


def hit(query, rank, start, *, cosine=0.5, score=2.0, strand="+"):
    return Hit(query, (0, 10), rank, Interval("c", start, start + 10), strand, score, cosine)


def test_hits_lie_along_the_target_in_bed_and_gff3(tmp_path):
    hits = [hit("a;b", 1, 40, cosine=0.1234), hit("a;b", 2, 0, cosine=-0.2, strand="-")]
    write_bed(tmp_path / "h.bed", bed_rows(hits))
    rows = read_bed(tmp_path / "h.bed")
    assert [(row.interval.start, row.interval.strand, row.score) for row in rows] == [(0, "-", 0.0), (40, "+", 123.0)]
    write_gff3(tmp_path / "h.gff3", gff3_rows(with_significance(hits, np.array([1.0, 3.0]))))
    far, near = read_gff3(tmp_path / "h.gff3")
    assert near.attributes["Name"] == ("a;b",) and near.score == pytest.approx(0.1234)
    assert (far.interval, far.attributes["rank"]) == (Interval("c", 0, 10, "-"), ("2",))
    assert near.attributes["p"] == ("0.666667",) and "p" not in gff3_rows(hits)[0].attributes


def test_p_is_against_the_best_of_the_null_and_q_over_the_queries_of_one_rank():
    hits = [
        hit("a", 1, 0, score=9.0),
        hit("a", 2, 20, score=1.0),
        hit("b", 1, 40, score=2.5),
        hit("b", 2, 60, score=0.0),
    ]
    rated = with_significance(hits, np.array([1.0, 2.0, 3.0]))
    assert [one.p for one in rated] == [0.25, 1.0, 0.5, 1.0]
    assert [one.q for one in rated] == [0.5, 1.0, 0.5, 1.0]


def test_the_best_score_of_the_hits_over_each_base_by_hand():
    hits = [
        hit("a", 1, 0, score=1.0),
        hit("b", 1, 5, score=3.0),
        hit("c", 1, 15, score=3.0),
        hit("a", 2, 40, score=2.0),
    ]
    hits += [hit("d", 1, 2, score=0.5), Hit("a", (0, 10), 3, Interval("b", 7, 9), "+", -4.0, 0.1)]
    spans = [(where.sequence, where.start, where.end, score) for where, score in hit_track(hits)]
    assert spans == [("b", 7, 9, -4.0), ("c", 0, 5, 1.0), ("c", 5, 25, 3.0), ("c", 40, 50, 2.0)]


def test_the_best_z_parts_windows_in_the_middle_of_what_they_share(tmp_path):
    intervals = [Interval("c", 0, 10), Interval("c", 4, 14), Interval("c", 20, 30), Interval("d", 5, 9)]
    rows = list(best_z_track(np.float32([1, -1, 1, 1]), windows(intervals)))
    spans = [("c", 0, 7), ("c", 7, 14), ("c", 20, 30), ("d", 5, 9)]
    assert rows == [(Interval(*span), z) for span, z in zip(spans, (1.0, -1.0, 1.0, 1.0))]
    write_bedgraph(tmp_path / "z.bedgraph", rows)
    lines = (tmp_path / "z.bedgraph").read_text().splitlines()
    assert lines == ["#sequence\tstart\tend\tvalue", "c\t0\t7\t1", "c\t7\t14\t-1", "c\t20\t30\t1", "d\t5\t9\t1"]


def test_windows_without_a_score_leave_gaps_and_no_neighbour_is_cut_for_them():
    intervals = [Interval("c", 0, 10), Interval("c", 4, 14), Interval("c", 8, 18), Interval("d", 5, 9)]
    rows = list(best_z_track(np.float32([1, np.nan, 2, np.nan]), windows(intervals)))
    assert rows == [(Interval("c", 0, 9), 1.0), (Interval("c", 9, 18), 2.0)]


def test_regions_in_any_order_and_inside_each_other_make_a_track_without_overlaps(tmp_path):
    intervals = [Interval("d", 0, 5), Interval("c", 90, 120), Interval("c", 0, 100), Interval("c", 10, 20)]
    rows = list(best_z_track(np.float32([0, 1, 2, 3]), windows(intervals)))
    spans = [(where.sequence, where.start, where.end) for where, _ in rows]
    assert spans == [("c", 0, 55), ("c", 90, 120), ("d", 0, 5)]
    write_bedgraph(tmp_path / "z.bedgraph", rows)


def test_a_bedgraph_that_no_browser_reads_is_refused_and_not_written(tmp_path):
    for wrong in (
        [Interval("c", 0, 10), Interval("c", 9, 12)],
        [Interval("c", 5, 10), Interval("c", 0, 5)],
        [Interval("c", 0, 10), Interval("d", 0, 1), Interval("c", 10, 12)],
        [Interval("track", 0, 10)],
        [Interval("a b", 0, 10)],
    ):
        with pytest.raises(FormatError, match="overlap or are not sorted|cannot open a bedGraph line"):
            write_bedgraph(tmp_path / "w.bedgraph", [(where, 1.0) for where in wrong])
    assert not list(tmp_path.iterdir())

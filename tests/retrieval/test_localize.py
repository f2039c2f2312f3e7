"""The fine scan: grids, merging, peaks and spans by hand; each window embedded once."""

import numpy as np
import pytest

from plantgfm.formats.gff3 import read_gff3
from plantgfm.formats.tables import read_tsv
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.localize import ScanIndex, merged, scan_grid, scan_regions, scan_widths, spans_of, write_spans
from plantgfm.retrieval.queries import query_of, rewindowed
from plantgfm.sequence import Interval
from tests.fixtures import random_codes, record


def test_touching_candidates_become_one_and_sequences_stay_apart():
    hits = [
        Interval("c", 20, 30),
        Interval("c", 0, 10, "-"),
        Interval("d", 5, 9),
        Interval("c", 8, 20),
        Interval("c", 31, 40),
    ]
    assert merged(hits) == [Interval("c", 0, 30), Interval("c", 31, 40), Interval("d", 5, 9)]


def test_widths_are_those_of_the_study_unless_given():
    assert scan_widths(RetrievalConfig(), target_window_bp=6144) == (2048, 256)
    given = RetrievalConfig(localize_hits=1, scan_window_bp=600, scan_stride_bp=100)
    assert scan_widths(given, target_window_bp=600) == (600, 100)
    with pytest.raises(ValueError, match="scan_window_bp=600 is wider than the target's windows, 599 bp"):
        scan_widths(given, target_window_bp=599)
    with pytest.raises(ValueError, match="scan_stride_bp=601 leaves gaps between windows of 600 bp"):
        scan_widths(RetrievalConfig(localize_hits=1, scan_window_bp=600, scan_stride_bp=601), target_window_bp=900)


def test_a_grid_ends_with_its_region():
    def spans(length):
        grid = scan_grid(Interval("c", 100, 100 + length), window_bp=8, stride_bp=3)
        return [(window.start - 100, window.end - 100) for window in grid]

    assert spans(14) == [(0, 8), (3, 11), (6, 14)]
    assert spans(13) == [(0, 8), (3, 11), (5, 13)]
    assert spans(8) == [(0, 8)] and spans(5) == [(0, 5)]


def test_every_window_is_embedded_once_from_its_own_bases():
    records, seen = [record("c", random_codes(60)), record("d", random_codes(40, seed=1))], []

    def embed(sequences):
        seen.extend(sequences)
        return np.zeros((len(sequences), 3), np.float32)

    regions = merged([Interval("c", 0, 20), Interval("c", 10, 30), Interval("d", 20, 40), Interval("c", 0, 20)])
    scan = scan_regions(records, regions, embed, window_bp=8, stride_bp=2)
    assert len(set(scan.windows)) == len(scan.windows) == len(seen) == len(scan.vectors) == 12 + 7
    codes = {one.name: one.codes for one in records}
    assert all((bases == codes[w.sequence][w.start : w.end]).all() for w, bases in zip(scan.windows, seen))


def scanned(values, *candidates):
    windows = scan_grid(Interval("c", 0, 8 + 2 * (len(values) - 1)), window_bp=8, stride_bp=2)
    index, candidates = ScanIndex(windows), [Interval("c", *c) for c in candidates]
    rows = [index.rows(candidate) for candidate in candidates]
    places = [(one, [windows[i] for i in inside]) for one, inside in zip(candidates, rows)]
    inside = np.concatenate(rows)
    scores = np.float64(values)[inside]
    return spans_of("q", places, scores, scores / 10, inside % 2 == 1, stride_bp=2)


def test_windows_are_found_by_sequence_and_a_candidate_between_them_has_the_nearest():
    windows = [Interval("d", s, s + 8) for s in (0, 2, 4)] + [Interval("c", s, s + 8) for s in (0, 2, 20, 22)]
    index = ScanIndex(windows)
    assert index.rows(Interval("c", 0, 10)).tolist() == [3, 4] and index.rows(Interval("d", 2, 12)).tolist() == [1, 2]
    assert index.rows(Interval("c", 20, 40)).tolist() == [5, 6]
    assert index.rows(Interval("c", 1, 9)).tolist() == [3] and index.rows(Interval("c", 21, 30)).tolist() == [6]


def test_a_peak_has_its_half_height_span_and_its_strand():
    (span,) = scanned([0, 0, 0.2, 0.6, 1.0, 0.5, 0.4, 0, 0], (0, 24))  # median 0.2, half height 0.6
    assert (span.peak.start, span.peak.end) == (8, 16)
    assert span.where == Interval("c", 9, 13, "+")  # middles at 10 and 12, half a stride around
    assert span.z == pytest.approx((1.0 - 0.3) / np.std([0, 0, 0.2, 0.6, 1.0, 0.5, 0.4, 0, 0]), rel=1e-5)
    (other,) = scanned([0, 0, 0, 3, 0, 0], (0, 18))
    assert other.where == Interval("c", 9, 11, "-")


def test_candidates_are_ranked_by_their_peaks_and_do_not_run_into_each_other():
    first, second = scanned([0.1, 0.1, 0.7, 0.9, 0.9, 0.1, 0.1, 0.8, 0.1], (0, 14), (14, 24))
    assert (first.rank, first.candidate.start, first.peak.start) == (1, 0, 6)
    assert (second.rank, second.candidate.start, second.peak.start) == (2, 14, 14)
    flat = scanned([0.5] * 9, (0, 14), (14, 24))
    assert [(span.rank, span.peak.start, span.z) for span in flat] == [(1, 0, 0.0), (2, 14, 0.0)]
    assert (flat[0].where.start, flat[0].where.end) == (3, 11)  # middles 4 to 10, half a stride around


def test_a_query_in_narrow_windows_holds_the_same_bases():
    query = query_of(record("q", random_codes(250)), window_bp=100)
    narrow = rewindowed(query, window_bp=40)
    assert (narrow.bases() == random_codes(250)).all() and max(w.size for w in narrow.windows) == 40


def test_spans_are_written_and_counted_as_each_format_counts(tmp_path):
    write_spans(tmp_path, scanned([0.1, 0.1, 0.7, 0.9, 0.9, 0.1, 0.1, 0.8, 0.1], (0, 14), (14, 24)))
    rows = read_tsv(tmp_path / "spans.tsv")
    assert [(row["rank"], row["peak_start"], row["score"]) for row in rows] == [("1", "6", "0.9"), ("2", "14", "0.8")]
    assert [row["cosine"] for row in rows] == ["0.09", "0.08"]
    profile = read_tsv(tmp_path / "scan.tsv")  # of the first span alone
    assert [(row["middle"], row["score"]) for row in profile] == [
        ("4", "0.1"),
        ("6", "0.1"),
        ("8", "0.7"),
        ("10", "0.9"),
    ]
    first = read_gff3(tmp_path / "spans.gff3")[0]
    assert (first.attributes["peak"], first.interval.strand) == (("7-14",), "-")

"""Windows over records."""

import numpy as np
import pytest

from plantgfm.embedding.tiles import tile_record, tile_records
from plantgfm.sequence import decode
from tests.fixtures import record


def spans(text, window, stride):
    return [
        (t.interval.start, t.interval.end, t.partial)
        for t in tile_record(record("r", text), window_bp=window, stride_bp=stride)
    ]


def test_windows_cover_the_record_and_the_last_is_flagged():
    assert spans("ACGTACGTAC", 4, 4) == [(0, 4, False), (4, 8, False), (8, 10, True)]
    assert spans("ACGTACGT", 4, 4) == [(0, 4, False), (4, 8, False)]
    assert spans("ACG", 4, 2) == [(0, 3, True)]


def test_no_window_lies_inside_the_one_before():
    assert spans("ACGTACGT", 4, 2) == [(0, 4, False), (2, 6, False), (4, 8, False)]
    assert spans("ACGTACGTA", 4, 2)[-1] == (6, 9, True)


def test_an_empty_record_has_no_window():
    assert spans("", 4, 2) == []


def test_soft_mask_becomes_the_repeat_bit():
    (tile,) = tile_record(record("r", "ACgtNN"), window_bp=6, stride_bp=6)
    assert tile.repeat_fraction == pytest.approx(2 / 6)
    assert tile.unknown_fraction == pytest.approx(2 / 6)
    assert decode(tile.bases) == "ACGTNN"


def test_records_follow_one_another():
    names = [
        t.interval.sequence for t in tile_records([record("a", "ACGT"), record("b", "ACGTA")], window_bp=4, stride_bp=4)
    ]
    assert names == ["a", "b", "b"]
    assert np.all([len(name) == 1 for name in names])

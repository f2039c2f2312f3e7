"""Windows over records."""

import numpy as np
import pytest

from plantgfm.embedding.tiles import tile_pieces, tile_record, tile_records
from plantgfm.formats.fasta import Piece
from plantgfm.sequence import decode
from tests.fixtures import random_codes, record


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


@pytest.mark.parametrize(("window", "stride"), [(10, 10), (10, 5), (10, 3), (7, 1)])
@pytest.mark.parametrize("size", [1, 6, 7, 10, 11, 20, 23])
def test_cores_part_the_record_among_its_windows(window, stride, size):
    tiles = list(tile_record(record("r", random_codes(size)), window_bp=window, stride_bp=stride))
    cores = [(t.interval.start + t.core[0], t.interval.start + t.core[1]) for t in tiles]
    assert cores[0][0] == 0 and cores[-1][1] == size
    assert all(t.core[0] == (window - stride) // 2 for t in tiles[1:])  # overlaps are parted in their middle
    assert [one[1] for one in cores[:-1]] == [one[0] for one in cores[1:]]


@pytest.mark.parametrize(("window", "stride"), [(10, 10), (10, 5), (10, 3)])
@pytest.mark.parametrize("cut", [1, 4, 10, 17, 40])
def test_windows_over_pieces_are_those_over_the_whole_record(window, stride, cut):
    for sizes in ((37, 10, 1), (20, 30)):
        records = [record(f"r{i}", random_codes(size, seed=i)) for i, size in enumerate(sizes)]
        pieces = [
            Piece(one.name, start, one.codes[start : start + cut], start + cut >= one.length_bp)
            for one in records
            for start in range(0, one.length_bp, cut)
        ]
        found = list(tile_pieces(pieces, window_bp=window, stride_bp=stride))
        expected = list(tile_records(records, window_bp=window, stride_bp=stride))
        told = lambda tiles: [(t.interval, t.partial, t.core, t.bases.tolist()) for t in tiles]  # noqa: E731
        assert told(found) == told(expected)


def test_a_last_piece_without_bases_ends_its_record():
    pieces = [Piece("a", 0, random_codes(10), False), Piece("a", 10, random_codes(0), True)]
    tiles = [*tile_pieces(pieces, window_bp=10, stride_bp=5)]
    assert [(t.interval.start, t.interval.end, t.core) for t in tiles] == [(0, 10, (0, 10))]

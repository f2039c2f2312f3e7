import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plantgfm.corpus.segments import bases_to_fields, fields_to_bases, fit_clusters, merge_regions, pack, unpack
from plantgfm.schema import Regions
from plantgfm.sequence import REPEAT_BIT, encode

BASE = st.sampled_from([0, 1, 2, 3, 4, 8, 9, 10, 11, 12])


@settings(deadline=None)
@given(st.lists(BASE, max_size=300))
def test_bases_survive_packing(codes):
    bases = np.array(codes, dtype=np.uint8)
    assert np.array_equal(fields_to_bases(bases_to_fields(bases), bases.size), bases)


def test_packing_is_four_bases_a_byte_first_base_lowest():
    assert pack(encode("ACGTT")) == bytes([0b11100100, 0b00000011])
    assert unpack(bytes([0b11100100, 0b00000011]), 5).tolist() == [0, 1, 2, 3, 3]
    with pytest.raises(ValueError, match="2 packed bytes"):
        unpack(b"ab", 20)


def test_runs_are_stored_as_start_and_end():
    bases = encode("ACNNGTA")
    bases[4:] |= REPEAT_BIT
    fields = bases_to_fields(bases)
    assert fields["unknown_runs"].tolist() == [[2, 4]] and fields["repeat_runs"].tolist() == [[4, 7]]


def regions(lengths, split, record):
    lengths, record = np.array(lengths, dtype=np.int32), np.array(record, dtype=np.int32)
    offset = np.cumsum(lengths) - lengths
    starts = np.concatenate([np.cumsum(x) - x for x in (lengths[record == r] for r in np.unique(record))])
    return Regions(
        offset.astype(np.int64),
        lengths,
        np.zeros_like(record),
        np.array(split, np.int8),
        record,
        starts.astype(np.int64),
    )


def test_neighbours_of_one_split_and_record_share_a_segment():
    table = regions([10, 10, 10, 10, 12, 10, 10], [0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1, 1])
    found = [(s.record, s.split, s.start, s.length_bp) for s in merge_regions(table, 25)]
    assert found == [(0, 0, 0, 20), (0, 0, 20, 10), (0, 1, 30, 22), (1, 1, 0, 10), (1, 0, 10, 10)]


def test_a_tail_window_shares_the_cluster_before_it():
    assert fit_clusters(np.array([4, 5]), 3, owner="x").tolist() == [4, 5, 5]
    assert fit_clusters(np.array([4, 5]), 2, owner="x").tolist() == [4, 5]
    for windows in (1, 4):
        with pytest.raises(ValueError, match="chr1 has 2 cluster windows"):
            fit_clusters(np.array([4, 5]), windows, owner="chr1")

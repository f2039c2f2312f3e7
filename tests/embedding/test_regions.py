"""Regions of BED and GFF3 files: which windows they give, on which strand, and what is refused."""

import tracemalloc

import numpy as np
import pytest

from plantgfm.embedding.regions import Region, bed_regions, gff3_regions, tile_regions
from plantgfm.embedding.tiles import marked_bases
from plantgfm.formats.fasta import Piece
from plantgfm.sequence import Interval, decode
from tests.fixtures import record

LENGTHS = {"chr1": 20, "chr2": 8}


def pieces(*records, size=7):
    """The records as a FASTA file is read, cut in the middle of regions."""
    for one in records:
        bases = marked_bases(one)
        for start in range(0, bases.size, size):
            yield Piece(one.name, start, bases[start : start + size], start + size >= bases.size)


def tiles(*regions, window=6, stride=6):
    found = tile_regions(
        pieces(record("chr1", "AACCGGTTACGTacgtNNNN"), record("chr2", "TTTTCCCC")),
        [Region(Interval(*place), name) for *place, name in regions],
        window_bp=window,
        stride_bp=stride,
    )
    return [
        (t.interval.sequence, t.interval.start, t.interval.end, t.interval.strand, t.name, decode(t.bases))
        for t in found
    ]


def test_a_region_is_read_on_its_strand_and_keeps_its_coordinates():
    assert tiles(("chr1", 1, 6, "+", "a"), ("chr1", 1, 6, "-", "b"), ("chr1", 1, 6, "?", "c")) == [
        ("chr1", 1, 6, "+", "a", "ACCGG"),
        ("chr1", 1, 6, "-", "b", "CCGGT"),
        ("chr1", 1, 6, ".", "c", "ACCGG"),
    ]


def test_a_long_region_has_several_windows_from_its_own_left_end():
    forward = tiles(("chr1", 0, 10, "+", "a"), window=6, stride=4)
    assert [one[1:3] for one in forward] == [(0, 6), (4, 10)]
    minus = tiles(("chr1", 0, 11, "-", "a"), window=6, stride=4)
    assert [(one[1:3], one[5]) for one in minus] == [((5, 11), "CGTAAC"), ((1, 7), "ACCGGT"), ((0, 3), "GTT")]


def test_regions_come_by_record_and_then_in_their_own_order():
    found = tiles(("chr2", 0, 4, ".", "late"), ("chr1", 8, 12, ".", "second"), ("chr1", 0, 4, ".", "third"))
    assert [one[4] for one in found] == ["second", "third", "late"]


def test_neither_a_long_record_nor_a_long_region_is_held_in_memory():
    one = np.zeros(1 << 20, np.uint8)
    whole = (Piece("c", at * one.size, one, at == 15) for at in range(16))
    regions = [Region(Interval("c", 0, 16 * one.size, "-"), "all"), Region(Interval("c", 5, 9), "few")]
    tracemalloc.start()
    found = sum(tile.bases.size for tile in tile_regions(whole, regions, window_bp=1 << 16, stride_bp=1 << 16))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == 16 * one.size + 4 and peak < 4 * one.size


def test_bed_rows_have_names_strands_and_must_lie_inside(tmp_path):
    path = tmp_path / "r.bed"
    path.write_text("chr1\t1\t6\tmine\t0\t-\nchr2\t0\t8\n")
    assert bed_regions(path, lengths=LENGTHS) == [
        Region(Interval("chr1", 1, 6, "-"), "mine"),
        Region(Interval("chr2", 0, 8, "."), ""),
    ]
    for text, said in (
        ("chr1\t1\t60\n", "r.bed.*past the sequence's end"),
        ("chr9\t1\t6\n", "not in the FASTA"),
        ("chr1\t4\t4\n", "chr1:4-4 has no base"),
        ("# nothing\n", "has no rows"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=said):
            bed_regions(path, lengths=LENGTHS)


def test_features_of_one_type_are_named_by_their_id(tmp_path):
    path = tmp_path / "a.gff3"
    rows = ["gene\t3\t6\t.\t-\t.\tID=g1;Name=x", "mRNA\t3\t6\t.\t-\t.\tID=m1;Parent=g1", "gene\t7\t8\t.\t+\t.\tName=y"]
    path.write_text("##gff-version 3\n" + "".join(f"chr1\tx\t{row}\n" for row in rows))
    assert gff3_regions(path, feature="gene", lengths=LENGTHS) == [
        Region(Interval("chr1", 2, 6, "-"), "g1"),
        Region(Interval("chr1", 6, 8, "+"), "y"),
    ]
    with pytest.raises(ValueError, match="no feature of type 'exon'; it has gene, mRNA"):
        gff3_regions(path, feature="exon", lengths=LENGTHS)

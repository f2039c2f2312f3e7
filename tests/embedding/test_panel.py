"""Accessions of a panel: their SNPs in the reference's windows, on either strand, and nothing else."""

import numpy as np
import pytest

from plantgfm.embedding.config import EmbeddingConfig
from plantgfm.embedding.embed import Embedder
from plantgfm.embedding.panel import check_sequences, open_panel, tile_panel
from plantgfm.embedding.regions import Region, tile_regions
from plantgfm.embedding.tiles import tile_records
from plantgfm.formats.errors import FormatError
from plantgfm.sequence import Interval, decode
from tests.embedding.test_regions import pieces
from tests.fixtures import record, small_bundle

HEAD = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\tc\n"
REFERENCE = "AACCGGTTACGTacgtNNAC"


def vcf(folder, *sites):
    fixed = ".\t.\t.\tGT"
    rows = ["\t".join((name, str(pos), ".", ref, alt, fixed, *calls)) for name, pos, ref, alt, *calls in sites]
    (folder / "p.vcf").write_text(HEAD + "\n".join(rows) + "\n")
    return folder / "p.vcf"


@pytest.fixture
def panel(tmp_path):
    sites = [("chr1", 14, "C", "A", "1|1", "0/0", "1/1"), ("chr1", 2, "A", "G", "1/1", "0/1", "./.")]
    sites += [("x", 1, "A", "C", *"000")]
    sites += [("chr1", 5, "G", "GA", "1/1", "1/1", "1/1"), ("chr1", 18, "A", "T", "0/0", "1/1", "0/0")]
    return vcf(tmp_path, *sites)


def told(tiles):
    return [(t.interval.start, t.accession, decode(t.bases), round(t.repeat_fraction, 2)) for t in tiles]


def test_what_both_chromosomes_have_is_put_in(panel):
    tiles = tile_records([record("chr1", REFERENCE)], window_bp=10, stride_bp=10)
    assert told(tile_panel(tiles, open_panel(panel))) == [
        (0, "a", "AGCCGGTTAC", 0),
        (0, "b", "AACCGGTTAC", 0),
        (0, "c", "AACCGGTTAC", 0),
        (10, "a", "GTAAGTNNAC", 0.4),
        (10, "b", "GTACGTNTAC", 0.4),  # the FASTA does not know this base, the panel does
        (10, "c", "GTAAGTNNAC", 0.4),
    ]


def test_chosen_accessions_come_in_their_order_and_regions_on_their_strand(panel):
    regions = [Region(Interval("chr1", 0, 4, "-"), "gene"), Region(Interval("chr1", 12, 16, "+"), "other")]
    tiles = list(tile_regions(pieces(record("chr1", REFERENCE)), regions, window_bp=10, stride_bp=10))
    found = list(tile_panel(tiles, open_panel(panel, ["c", "a"])))
    assert [(t.name, t.accession, decode(t.bases)) for t in found] == [
        ("gene", "c", "GGTT"),
        ("gene", "a", "GGCT"),
        ("other", "c", "AAGT"),
        ("other", "a", "AAGT"),
    ]


def test_windows_that_accessions_share_are_computed_once(panel, tmp_path, monkeypatch):
    config = EmbeddingConfig(window_bp=10, stride_bp=10, max_unknown_fraction=1.0)
    embedder = Embedder(small_bundle(tmp_path / "b"), config)
    tiles = list(tile_panel(tile_records([record("chr1", REFERENCE)], window_bp=10, stride_bp=10), open_panel(panel)))
    computed, before = [], Embedder.embed
    monkeypatch.setattr(Embedder, "embed", lambda self, rows: computed.append(len(rows)) or before(self, rows))
    (block,) = embedder.embed_tiles(tiles)
    assert computed == [4] and block.columns()["accession"] == list("abcabc")
    np.testing.assert_allclose(block.vectors, before(embedder, [tile.bases for tile in tiles]), atol=1e-5)


def test_a_panel_of_another_assembly_is_refused(panel, tmp_path):
    found = open_panel(panel)
    with pytest.raises(FormatError, match="record x: is not in the FASTA"):
        check_sequences(found, {"chr1": 20})
    with pytest.raises(FormatError, match="record chr1: has a site at 18, beyond the 17 bp"):
        check_sequences(found, {"chr1": 17, "x": 5})
    check_sequences(found, {"chr1": 20, "x": 5})
    with pytest.raises(FormatError, match="REF at 2 is A, the FASTA has C"):
        list(tile_panel(tile_records([record("chr1", "ACCCGGTTACGTACGTACAC")], window_bp=10, stride_bp=10), found))
    with pytest.raises(FormatError, match="has no sample 'd'; it has a, b, c"):
        open_panel(panel, ["a", "d"])
    with pytest.raises(FormatError, match=r"has no biallelic SNP \(1 other sites\)"):
        open_panel(vcf(tmp_path, ("chr1", 5, "G", "GA", "1/1", "1/1", "1/1")))

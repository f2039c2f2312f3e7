"""Genes as queries: on their strand, whole, as coding sequence, as promoter; ids and coordinates that are wrong."""

import numpy as np
import pytest

from plantgfm.formats.errors import FormatError
from plantgfm.formats.fasta import write_fasta
from plantgfm.retrieval.config import QueryPart
from plantgfm.retrieval.genes import cut_genes, read_gene_ids
from plantgfm.sequence import decode, reverse_complement
from tests.fixtures import random_codes, record

CODES = random_codes(100)
GENES = """##gff-version 3
c\tx\tgene\t11\t20\t.\t+\t.\tID=one
c\tx\tmRNA\t11\t20\t.\t+\t.\tID=one.1;Parent=one
c\tx\tCDS\t12\t13\t.\t+\t0\tParent=one.1
c\tx\tmRNA\t11\t20\t.\t+\t.\tID=one.2;Parent=one
c\tx\tCDS\t17\t18\t.\t+\t0\tParent=one.2
c\tx\tCDS\t12\t14\t.\t+\t0\tParent=one.2
c\tx\tgene\t31\t40\t.\t-\t.\tID=gene:two
c\tx\tCDS\t38\t40\t.\t-\t0\tParent=gene:two
c\tx\tCDS\t32\t33\t.\t-\t0\tParent=gene:two
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("genes")
    write_fasta(folder / "g.fa", [record("c", CODES)])
    (folder / "a.gff3").write_text(GENES)
    (folder / "mixed.gff3").write_text(GENES + "c\tx\tgene\t51\t60\t.\t?\t.\tID=three\n")
    return folder


def cut(folder, *ids, annotation="a.gff3", **options):
    return cut_genes(folder / "g.fa", folder / annotation, gene_ids=ids or None, **options)


def texts(found):
    return [(one.name, decode(one.codes)) for one in found.records]


def forward(start, end):
    return decode(CODES[start:end])


def reverse(start, end):
    return decode(reverse_complement(CODES[start:end]))


def test_genes_are_cut_on_their_strand_in_the_order_asked_for(folder):
    assert texts(cut(folder, "two", "one")) == [("two", reverse(30, 40)), ("one", forward(10, 20))]
    assert texts(cut(folder, "gene:two")) == [("gene:two", reverse(30, 40))]  # as it was asked for
    assert texts(cut(folder)) == [("one", forward(10, 20)), ("two", reverse(30, 40))]
    assert texts(cut(folder, "one", flank_bp=5)) == [("one", forward(5, 25))]
    assert texts(cut(folder, "one", flank_bp=50)) == [("one", forward(0, 70))]


def test_the_coding_sequence_is_that_of_the_longest_transcript(folder):
    found = cut(folder, part=QueryPart.CDS)
    assert texts(found) == [("one", forward(11, 14) + forward(16, 18)), ("two", reverse(37, 40) + reverse(31, 33))]
    assert found.records[1].description == "c:31-33,37-40(-)"


def test_promoters_lie_upstream_on_the_strand_of_the_gene_and_end_with_the_sequence(folder):
    options = {"part": QueryPart.PROMOTER, "upstream_bp": 6, "downstream_bp": 3}
    assert texts(cut(folder, **options)) == [("one", forward(4, 13)), ("two", reverse(37, 46))]
    wide = cut(folder, part=QueryPart.PROMOTER)  # 2,000 bp up, 300 bp down: all there is
    assert texts(wide) == [("one", forward(0, 100)), ("two", reverse(0, 100))]
    with pytest.raises(ValueError, match="gene three has strand '\\?': its promoter"):
        cut(folder, "three", annotation="mixed.gff3", part=QueryPart.PROMOTER)


def test_a_gene_without_a_coding_sequence_is_left_out_by_name_or_refused_where_it_was_asked_for(folder):
    found = cut(folder, annotation="mixed.gff3", part=QueryPart.CDS)
    assert [one.name for one in found.records] == ["one", "two"] and found.without == ["three"]
    with pytest.raises(ValueError, match="no CDS of gene 'three'"):
        cut(folder, "one", "three", annotation="mixed.gff3", part=QueryPart.CDS)


def test_unknown_ids_and_sequences_and_empty_lists_are_told_in_one_line(folder, tmp_path):
    with pytest.raises(ValueError, match=r"no gene 'four' \(1 of 2 ids are unknown\)"):
        cut(folder, "one", "four")
    (tmp_path / "other.gff3").write_text(GENES + "d\tx\tgene\t1\t9\t.\t+\t.\tID=five\n")
    with pytest.raises(FormatError, match="record d, line 11: sequence is not in the FASTA file"):
        cut_genes(folder / "g.fa", tmp_path / "other.gff3", gene_ids=["one"])
    (tmp_path / "none.txt").write_text("\n \n")
    with pytest.raises(FormatError, match="holds no gene id"):
        read_gene_ids(tmp_path / "none.txt")
    (tmp_path / "two.txt").write_text("one\n\n two\n")
    assert read_gene_ids(tmp_path / "two.txt") == ["one", "two"]


def test_a_table_of_traits_pathways_and_genes_gives_each_gene_once(tmp_path):
    path = tmp_path / "traits.tsv"
    rows = ["Trait\tPathway\tGene", "root\tauxin\tAT5G20730", "height\tauxin\tAT1G19220", "branch\tauxin\tAT5G20730"]
    path.write_text("\r\n".join(rows) + "\r\n")
    assert read_gene_ids(path) == ["AT5G20730", "AT1G19220"]
    for text, said in (
        ("trait\tpathway\nroot\tauxin\n", "line 1: is a table without a column 'gene'"),
        ("trait\tgene\nroot\tone\n\nheight\n", "line 4: row without a gene"),
        ("trait\tgene\n", "holds no gene below its header"),
    ):
        path.write_text(text)
        with pytest.raises(FormatError, match=said):
            read_gene_ids(path)


PLASTID = """##gff-version 3
c\tx\tgene\t11\t14\t.\t-\t.\tID=g1;Name=trnK
c\tx\tgene\t1\t3\t.\t-\t.\tID=g1;Name=trnK
c\tx\tgene\t21\t40\t.\t+\t.\tID=g2;Name=rpl2
c\tx\tCDS\t21\t26\t.\t+\t0\tID=c2;Name=rpl2
c\tx\tCDS\t35\t40\t.\t+\t0\tID=c2;Name=rpl2
c\tx\tgene\t61\t80\t.\t-\t.\tID=g3;Name=rpl2
c\tx\tCDS\t61\t66\t.\t-\t0\tID=c3;Name=rpl2
c\tx\tgene\t51\t53\t.\t-\t.\tID=g4;Name=rps12
c\tx\tgene\t91\t96\t.\t+\t.\tID=g4;Name=rps12
c\tx\tCDS\t51\t53\t.\t-\t0\tID=c4;Name=rps12
c\tx\tCDS\t91\t96\t.\t+\t0\tID=c4;Name=rps12
"""


def test_genes_in_parts_are_joined_and_a_cds_without_a_parent_is_that_of_its_name_and_place(folder):
    """As in conversions of GenBank's tables of plastids: joined locations, names for parents, trans-splicing."""
    (folder / "p.gff3").write_text(PLASTID)
    whole = cut(folder, annotation="p.gff3")
    parts = [
        reverse_complement(np.concatenate([CODES[:3], CODES[10:14]])),
        CODES[20:40],
        reverse_complement(CODES[60:80]),
    ]
    assert texts(whole) == [(f"g{n}", decode(codes)) for n, codes in enumerate(parts, start=1)] and whole.without == [
        "g4"
    ]
    coding = cut(folder, annotation="p.gff3", part=QueryPart.CDS)
    parts = [np.concatenate([CODES[20:26], CODES[34:40]]), reverse_complement(CODES[60:66])]
    assert texts(coding) == [(f"g{n}", decode(codes)) for n, codes in enumerate(parts, start=2)]
    assert coding.without == ["g1", "g4"]
    sizes = {"part": QueryPart.PROMOTER, "upstream_bp": 2, "downstream_bp": 1}
    assert texts(cut(folder, "g1", annotation="p.gff3", **sizes)) == [("g1", decode(reverse_complement(CODES[13:16])))]
    flanked = cut(folder, "g1", annotation="p.gff3", flank_bp=2).records[0]
    assert decode(flanked.codes) == decode(reverse_complement(np.concatenate([CODES[:3], CODES[10:16]])))
    with pytest.raises(ValueError, match="gene 'g4' of .* lies on several strands or sequences: leave it out"):
        cut(folder, "g4", annotation="p.gff3")

"""Annotation to classes of bases and distances to genes, on literal features."""

import numpy as np

from plantgfm.ablation.annotation import (
    CODING,
    DNA,
    INTERGENIC,
    INTRON,
    LTR,
    OTHER,
    TANDEM,
    Annotation,
    gene_distance_bp,
    paint_genes,
    repeat_class,
)
from plantgfm.corpus.segments import CorpusRecord
from plantgfm.formats.gff3 import read_gff3
from plantgfm.schema import Assembly, Compartment

GENES = """##gff-version 3
chr1\tx\tchromosome\t1\t60\t.\t+\t.\tID=chr1
chr1\tx\tgene\t5\t40\t.\t+\t.\tID=g
chr1\tx\tmRNA\t5\t40\t.\t+\t.\tID=t;Parent=g
chr1\tx\texon\t5\t14\t.\t+\t.\tParent=t
chr1\tx\tCDS\t8\t14\t.\t+\t0\tParent=t
chr1\tx\tCDS\t25\t30\t.\t+\t0\tParent=t
chr1\tx\tpseudogene\t50\t52\t.\t+\t.\tID=p
chr2\tx\tregion\t1\t60\t.\t+\t.\tID=chr2
"""


def record(name="chr1", *, start=0, length_bp=60, offset=0):
    return CorpusRecord("Alpha una", "", "v1", name, "nuclear", length_bp, offset, "soft-mask", 6144, 0, start)


def annotation(folder, **more):
    (folder / "genes.gff3").write_text(GENES)
    assembly = Assembly("Alpha una", "", "v1", Compartment.NUCLEAR, folder / "g.fa", annotation=folder / "genes.gff3")
    return Annotation([assembly], **more)


def test_introns_lie_between_coding_parts_and_ends_of_genes_are_neither(tmp_path):
    painted = annotation(tmp_path).genes(record())
    wanted = np.full(60, INTERGENIC)
    wanted[4:40], wanted[7:30] = OTHER, INTRON
    wanted[7:14] = wanted[24:30] = CODING
    wanted[49:52] = OTHER
    np.testing.assert_array_equal(painted, wanted)


def test_a_record_that_is_a_piece_is_painted_where_it_lies(tmp_path):
    whole = paint_genes([f for f in read_genes(tmp_path) if f.interval.sequence == "chr1"][1:], record())
    piece = annotation(tmp_path).genes(record(start=10, length_bp=25, offset=7))
    np.testing.assert_array_equal(piece, whole[10:35])


def read_genes(folder):
    annotation(folder)
    return read_gff3(folder / "genes.gff3")


def test_nothing_is_known_of_records_without_a_gene_or_a_file(tmp_path):
    known = annotation(tmp_path)
    assert known.genes(record("chr2")) is None and known.genes(record("chr3", offset=5)) is None
    assert known.repeats(record()) is None and not known.has_repeats and known.has_genes
    other = CorpusRecord("Beta dua", "", "v1", "chr1", "nuclear", 60, 3, "soft-mask", 6144, 0)
    assert known.genes(other) is None and known.gene_spans(other).shape == (0, 2)


def test_repeats_have_the_classes_of_their_terms(tmp_path):
    (tmp_path / "repeats.gff3").write_text(
        "chr1\tx\tMITE\t2\t4\t.\t+\t.\tID=a\nchr1\tx\thelitron\t9\t9\t.\t+\t.\tID=b\n"
    )
    painted = annotation(tmp_path, repeats={tmp_path / "g.fa": tmp_path / "repeats.gff3"}).repeats(record())
    assert painted.tolist() == [0, DNA, DNA, DNA, 0, 0, 0, 0, 4, *[0] * 51]
    terms = {
        "Gypsy_LTR_retrotransposon": LTR, "Mutator_TIR_transposon": DNA, "terminal_inverted_repeat_element": DNA,
        "satellite_DNA": TANDEM, "microsatellite": TANDEM, "telomeric_repeat": TANDEM, "LINE_element": 4,
    }  # fmt: skip
    assert {term: repeat_class(term) for term in terms} == terms


def test_distances_to_genes_are_those_of_a_plain_search(tmp_path):
    spans = np.array([[4, 40], [70, 71], [90, 120]])
    positions = np.arange(150)
    inside = [np.arange(start, end) for start, end in spans]
    wanted = [min(int(np.abs(one - at).min()) for one in inside) for at in positions]
    assert gene_distance_bp(positions, spans).tolist() == wanted
    assert annotation(tmp_path).gene_spans(record(start=10)).tolist() == [[-6, 30]]

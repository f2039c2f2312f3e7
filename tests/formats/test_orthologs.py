"""Tables of orthologs: plain, BioMart's and Compara's, and what is wrong with them."""

import pytest

from plantgfm.formats.errors import FormatError
from plantgfm.formats.orthologs import Ortholog, read_orthologs
from plantgfm.sequence import Interval

GFF3 = """##gff-version 3
1\tx\tgene\t11\t20\t.\t-\t.\tID=gene:AL1G10
1\tx\tmRNA\t11\t20\t.\t-\t.\tID=transcript:AL1G10.t1;Parent=gene:AL1G10
2\tx\tgene\t5\t9\t.\t+\t.\tID=AL2G20
"""
BIOMART = (
    "Gene stable ID\tArabidopsis lyrata gene stable ID\tArabidopsis lyrata chromosome/scaffold name\t"
    "Arabidopsis lyrata chromosome/scaffold start (bp)\tArabidopsis lyrata chromosome/scaffold end (bp)\t"
    "Arabidopsis lyrata homology type\t%id. target Arabidopsis lyrata gene identical to query gene\n"
)
COMPARA = (
    "gene_stable_id\tprotein_stable_id\tspecies\tidentity\thomology_type\thomology_gene_stable_id\t"
    "homology_species\tgoc_score\n"
)


def told(folder, text, **options):
    path = folder / "t.tsv"
    path.write_text(text)
    return read_orthologs(path, **options)


def test_a_plain_table_with_every_field(tmp_path):
    header = "gene_id chr start end strand display_name homology_type perc_id perc_cov score source_seed other"
    row = "AT1 c 4 9 - ARF7 ortholog_one2one 81.5 97 12 seed1 x"
    (one,) = told(tmp_path, "\n".join("\t".join(line.split()) for line in (header, row)) + "\n").orthologs
    where = Interval("c", 4, 9, "-")
    assert one == Ortholog("AT1", where, "ARF7", "ortholog_one2one", 81.5, 97.0, 12.0, "seed1")


def test_other_names_numbers_for_strands_and_empty_cells(tmp_path):
    text = "query,target_contig,start,end,strand,identity,score\nq,c,1,5,-1,0.88,\nq,c,1,5,,,\n"
    found = told(tmp_path, text).orthologs
    assert [one.where.strand for one in found] == ["-", "."]
    assert [(one.perc_id, one.score) for one in found] == [(0.88, None), (None, None)]


def test_a_table_of_biomart_counts_from_one_and_lists_genes_without_a_counterpart(tmp_path):
    found = told(tmp_path, BIOMART + "AT1\tAL1\t1\t11\t20\tortholog_one2one\t88.1\nAT2\t\t\t\t\t\t\n").orthologs
    assert found == [Ortholog("AT1", Interval("1", 10, 20, "."), "AL1", "ortholog_one2one", 88.1)]
    with pytest.raises(FormatError, match="line 2.*bad coordinates.*1-based and closed"):
        told(tmp_path, BIOMART + "AT1\tAL1\t1\t30\t20\tx\t\n")
    with pytest.raises(FormatError, match="lacks a column: 'SPECIES chromosome/scaffold name'"):
        told(tmp_path, "Gene stable ID\tX gene stable ID\na\tb\n")


def test_a_compara_dump_takes_places_from_the_annotation_and_leaves_paralogs_out(tmp_path):
    (tmp_path / "a.gff3").write_text(GFF3)
    lines = [
        "AT1\tp\tat\t80.0\tortholog_one2one\tAL1G10\tal\t100",
        "AT1\tp\tat\t70.0\twithin_species_paralog\tAL2G20\tat\tNULL",
        "AT2\tp\tat\tNULL\tortholog_one2many\tAL2G20\tal\t0",
        "AT3\tp\tat\t60.0\tortholog_one2one\tAL9G90\tal\t0",
    ]
    table = told(tmp_path, COMPARA + "\n".join(lines) + "\n", annotation=tmp_path / "a.gff3")
    assert table.unplaced == 1
    assert [(one.gene_id, one.where, one.perc_id) for one in table.orthologs] == [
        ("AT1", Interval("1", 10, 20, "-"), 80.0),
        ("AT2", Interval("2", 4, 9, "+"), None),
    ]
    with pytest.raises(FormatError, match="names genes without places: give the target's GFF3"):
        told(tmp_path, COMPARA + lines[0] + "\n")
    with pytest.raises(FormatError, match="tells places itself"):
        told(tmp_path, "query\tchr\tstart\tend\nq\tc\t1\t5\n", annotation=tmp_path / "a.gff3")


@pytest.mark.parametrize(
    "text, said",
    [
        ("gene\tchr\tstart\tend\nq\tc\t1\t2\n", "line 1.*lacks a column: gene_id or query"),
        ("query\tchr\tstart\tend\nq\tc\t1\tx\n", "line 2.*bad coordinates.*0-based and half-open"),
        ("query\tchr\tstart\tend\nq\tc\t5\t5\n", "bad coordinates: no base lies from 5 to 5"),
        ("query\tchr\tstart\tend\n\tc\t1\t5\n", "the query has no name"),
        ("query\tchr\tstart\tend\tstrand\nq\tc\t1\t5\tplus\n", "strand 'plus' is none of"),
        ("query\tchr\tstart\tend\tperc_id\nq\tc\t1\t5\thigh\n", "perc_id 'high' is no number"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, text, said):
    with pytest.raises(FormatError, match=said):
        told(tmp_path, text)

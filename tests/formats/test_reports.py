"""Reports of FCS, Kraken 2, BUSCO and compleasm: read as their tools write them; what is broken is named by line."""

import pytest

from plantgfm.formats.busco import read_completeness
from plantgfm.formats.errors import FormatError
from plantgfm.formats.fcs import GX_ACTIONS, read_fcs_adaptor, read_fcs_gx
from plantgfm.formats.kraken2 import lineage, read_kraken2_output, read_kraken2_report
from plantgfm.sequence import Interval
from tests.formats import reports

READERS = {
    "gx": read_fcs_gx,
    "adaptor": read_fcs_adaptor,
    "kraken2": read_kraken2_output,
    "kraken2 report": read_kraken2_report,
    "completeness": read_completeness,
}


@pytest.fixture
def read(tmp_path):
    def of(reader, text):
        path = tmp_path / "report with space.txt"
        path.write_text(text, encoding="utf-8")
        return READERS[reader](path)

    return of


def test_fcs_gx_rows_become_half_open(read):
    rows = read("gx", reports.GX)
    assert [(row.interval, row.sequence_bp, row.action, row.coverage_percent) for row in rows] == [
        (Interval("seq_00011", 0, 908), 667_816, "TRIM", 100),
        (Interval("seq_00012", 100_010, 100_963), 1_079_187, "FIX", 98),
        (Interval("seq_00019", 0, 1_000), 1_000, "EXCLUDE", 100),
        (Interval("seq_00020", 0, 1_154), 1_154, "REVIEW", 12),
    ]
    assert (rows[1].source, rows[1].line) == ("prok:g-proteobacteria, Pseudomonas aeruginosa", 4)


def test_fcs_gx_of_a_clean_genome_and_of_other_runs(read):
    assert read("gx", reports.GX_HEADER) == []
    early = reports.GX.replace('"FCS genome report", 2, 1', '"GX taxonomy analysis report",1,1')
    assert len(read("gx", early.replace("\n", "\r\n"))) == 4
    rules = reports.GX_HEADER.replace("top_tax_name", "top_tax_name\trules") + "a\t1\t9\t9\tKEEP\t\t0\t\tM04\n"
    assert read("gx", rules) == [], "what a debug run keeps is no finding"
    every = "".join(f"s\t1\t9\t9\t{action}\tplnt:plants\t50\tX\n" for action in GX_ACTIONS)
    assert [row.action for row in read("gx", reports.GX_HEADER + every)] == list(GX_ACTIONS)


def test_fcs_adaptor_ranges_and_whole_sequences(read):
    rows = read("adaptor", reports.ADAPTOR)
    assert [(row.interval, row.action, row.line) for row in rows] == [
        (Interval("seq_00001", 0, 58), "TRIM", 2),
        (Interval("seq_00006", 100_000, 100_058), "TRIM", 3),
        (Interval("seq_00006", 200_000, 200_033), "TRIM", 3),
        (Interval("seq_00018", 0, 522), "EXCLUDE", 4),
    ]
    assert rows[0].source == "ADAPTOR:NGB00360.1:Illumina PCR Primer"
    assert read("adaptor", reports.ADAPTOR_HEADER) == []


def test_kraken2_output_counts_kmers_by_taxon(read):
    first, second, third = read("kraken2", reports.KRAKEN)
    assert (first.name, first.taxon, first.length_bp) == ("ctg1", 562, 70)
    assert first.kmers == {562: 16, 561: 4, 0: 1}, "ambiguous k-mers were not looked up"
    assert (second.taxon, second.kmers, second.line) == (0, {0: 266}, 2)
    assert third.taxon == 33_090
    (translated,) = read("kraken2", "C\tx\t2\t90\t2:3 -:- 0:2 -:- 2:1\n")
    assert translated.kmers == {2: 4, 0: 2}


def test_kraken2_report_holds_the_tree(read):
    taxa = read("kraken2 report", reports.KRAKEN_REPORT)
    assert lineage(taxa, 562) == [562, 561, 2, 131_567, 1]
    assert lineage(taxa, 33_090) == [33_090, 2_759, 131_567, 1]
    assert lineage(taxa, 0) == [0] and taxa[562].rank == "S" and taxa[561].name == "Escherichia"
    minimizers = reports.KRAKEN_REPORT.replace("\tR\t1\troot", "\t10\t5\tR\t1\troot").splitlines()[1]
    assert set(read("kraken2 report", minimizers + "\n")) == {1}
    with pytest.raises(ValueError, match="taxon 9 is not in the report"):
        lineage(taxa, 9)


def test_completeness_of_every_kind(read):
    text = read("completeness", reports.BUSCO_TEXT)
    assert (text.tool, text.lineage, text.mode, text.markers) == ("BUSCO", "embryophyta_odb10", "euk_genome_min", 1_614)
    assert text.complete == pytest.approx(1_574 / 1_614) and text.missing == pytest.approx(26 / 1_614)
    assert "C:97.5%[S:94.2%,D:3.3%],F:0.9%,M:1.6%,n:1614" in text.describe()
    new = read("completeness", reports.BUSCO_JSON)
    assert (new.lineage, new.mode, new.single) == ("eukaryota_odb10", "euk_genome_met", pytest.approx(164 / 255))
    old = read("completeness", reports.BUSCO_JSON_54)
    assert (old.markers, old.complete) == (255, pytest.approx(0.976))
    older = read("completeness", reports.BUSCO_JSON_52)
    assert (older.tool, older.lineage, older.mode, older.markers) == ("BUSCO", "eudicots_odb10", "", 2_326)
    assert older.complete == pytest.approx(2_303 / 2_326) and older.fragmented == pytest.approx(12 / 2_326)
    compleasm = read("completeness", reports.COMPLEASM.replace("F:0.52%, 12\nI:0.00%, 0", "F:0.30%, 7\nI:0.22%, 5"))
    assert (compleasm.tool, compleasm.lineage, compleasm.markers) == ("compleasm", "eudicots_odb10", 2_326)
    assert compleasm.complete == pytest.approx(2_295 / 2_326) and compleasm.fragmented == pytest.approx(12 / 2_326)
    assert read("completeness", reports.COMPLEASM.replace("I:0.00%, 0\n", "")).markers == 2_326


GX_ROW = "s\t1\t9\t100\tTRIM\tanml:primates\t100\tHomo sapiens\n"
ADAPTOR_ROW = "s\t100\tACTION_TRIM\t1..9\tX\n"
MALFORMED = [
    ("gx", "", "is empty", None),
    ("gx", "s\t1\t9\n", "the first line of an FCS-GX action report", 1),
    ("gx", reports.GX_HEADER.replace("}}]", "}"), "no JSON", 1),
    ("gx", reports.GX_HEADER.replace("report", "rapport"), "'FCS genome rapport' version 2", 1),
    ("gx", reports.GX_HEADER.replace(", 2, 1", ", 3, 1"), "version 3", 1),
    ("gx", reports.GX_HEADER.replace("\tdiv", "\tdivision"), "names its columns", 2),
    ("gx", reports.GX_HEADER.splitlines()[0], "names its columns", None),
    ("gx", reports.GX_HEADER + GX_ROW + "s\t1\t9\n", "3 columns", 4),
    ("gx", reports.GX_HEADER + GX_ROW.replace("TRIM", "DROP"), "'DROP' is none", 3),
    ("gx", reports.GX_HEADER + GX_ROW.replace("\t9\t", "\t101\t"), r"1\.\.101 does not lie in 1\.\.100", 3),
    ("gx", reports.GX_HEADER + GX_ROW.replace("\t1\t", "\t0\t"), r"0\.\.9 does not lie", 3),
    ("gx", reports.GX_HEADER + GX_ROW.replace("\t9\t", "\t-9\t"), "end_pos '-9'", 3),
    ("gx", reports.GX_HEADER + GX_ROW.removeprefix("s"), "without a sequence name", 3),
    ("adaptor", reports.GX, "names its columns", 1),
    ("adaptor", reports.ADAPTOR_HEADER + ADAPTOR_ROW.replace("ACTION_", ""), "'TRIM' is none", 2),
    ("adaptor", reports.ADAPTOR_HEADER + ADAPTOR_ROW.replace("1..9", ""), "range ''", 2),
    ("adaptor", reports.ADAPTOR_HEADER + ADAPTOR_ROW.replace("1..9", "1-9"), "range '1-9'", 2),
    ("adaptor", reports.ADAPTOR_HEADER + ADAPTOR_ROW.replace("1..9", "1..9,5..101"), r"5\.\.101 does not", 2),
    ("adaptor", reports.ADAPTOR_HEADER + ADAPTOR_ROW.replace("100", "1e2"), "length '1e2'", 2),
    ("kraken2", reports.KRAKEN_REPORT, "6 columns", 1),
    ("kraken2", reports.KRAKEN + "X\ta\t0\t9\t0:1\n", "not 'X'", 4),
    ("kraken2", reports.KRAKEN + "C\ta\t0\t9\t0:1\n", "C does not go with taxon 0", 4),
    ("kraken2", reports.KRAKEN + "U\tctg1\t0\t9\t0:1\n", "already in line 1", 4),
    ("kraken2", "C\ta\t2\t98|94\t2:9 |:| 2:9\n", "paired reads", 1),
    ("kraken2", "C\ta\t2\t98\t2:Q\n", "--quick", 1),
    ("kraken2", "C\ta\tE. coli\t98\t2:9\n", "'E. coli' is neither", 1),
    ("kraken2", "C\ta\t2\t98\t2:9 x\n", "'x' is no taxon:count", 1),
    ("kraken2 report", reports.KRAKEN, "5 columns", 1),
    ("kraken2 report", "d__Bacteria\t9\n", "MetaPhlAn", 1),
    ("kraken2 report", reports.KRAKEN_REPORT + "0\t1\t1\tS\t9\t                  X\n", "indented by 9 levels", 9),
    ("kraken2 report", reports.KRAKEN_REPORT + "0\t1\t1\tS\t9\t   X\n", "two spaces a level", 9),
    ("kraken2 report", reports.KRAKEN_REPORT + "0\t1\t1\tS\t562\t  X\n", "562 stands twice", 9),
    ("kraken2 report", reports.KRAKEN_REPORT.replace("66.67\t2", "66.67\tx"), "count 'x'", 2),
    ("kraken2 report", reports.KRAKEN_REPORT.replace("\tU\t", "\tunc\t"), "rank code 'unc'", 1),
    ("completeness", "hello\n", "no short summary", 1),
    ("completeness", reports.BUSCO_TEXT.replace("\t26\tMissing BUSCOs (M)", ""), "Missing BUSCOs", 22),
    ("completeness", reports.BUSCO_TEXT.replace("\t26\t", "\t27\t"), "do not sum to the 1614", 15),
    ("completeness", reports.BUSCO_TEXT.replace("\t53\t", "\t54\t"), "1574 complete are not", 15),
    ("completeness", reports.BUSCO_TEXT + "\t3\tMissing BUSCOs (M)\n", "stands twice", 23),
    ("completeness", reports.COMPLEASM * 2, "a second summary", 8),
    ("completeness", reports.COMPLEASM.replace("M:0.82%, 19\n", ""), "no line holds M", 6),
    ("completeness", reports.COMPLEASM.replace("2257", "2256"), "do not sum to the 2326", 7),
    ("completeness", reports.COMPLEASM.replace("D:1.63%, 38", "D 38"), "'D 38' is no", 3),
    ("completeness", reports.BUSCO_JSON[:200], "no JSON .*line 5", 5),
    ("completeness", '{"C": 97.6}', "neither an object 'results'", 1),
    ("completeness", reports.BUSCO_JSON_52.replace('"F": 12,', ""), "the summary' has no 'F'", 1),
    ("completeness", reports.BUSCO_JSON_52.replace('"M": 11', '"M": 12'), "do not sum to the 2326", 5),
    ("completeness", reports.BUSCO_JSON_52.replace("2303", "2302"), "2302 complete are not", 5),
    ("completeness", reports.BUSCO_JSON.replace('"n_markers": 255,', ""), "no 'n_markers'", 4),
    ("completeness", reports.BUSCO_JSON.replace('"n_markers": 255', '"n_markers": 254.5'), "254.5, no count", 16),
    ("completeness", reports.BUSCO_JSON.replace('"n_markers": 255', f'"n_markers": 1{"0" * 400}'), "no number", 16),
    ("completeness", '{"results": ' + "[" * 100_000, "nested too deeply", None),
    ("completeness", reports.BUSCO_JSON.replace('"Missing BUSCOs": 49', '"Missing BUSCOs": "?"'), "no number", 15),
    ("completeness", reports.BUSCO_JSON.replace('"Missing BUSCOs": 49', '"Missing BUSCOs": 50'), "do not sum", 16),
    ("completeness", reports.BUSCO_JSON_54.replace("38.0,", "39.0,"), "sum to 101.0", 4),
]  # fmt: skip


@pytest.mark.parametrize(("reader", "text", "words", "line"), MALFORMED)
def test_malformed_reports_are_named_by_line(read, reader, text, words, line):
    with pytest.raises(FormatError, match=words) as caught:
        read(reader, text)
    assert caught.value.line == line, str(caught.value)


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_report(tmp_path, reader):
    for path, words in ((tmp_path, "directory"), (tmp_path / "no", "not exist")):
        with pytest.raises(FormatError, match=words):
            READERS[reader](path)

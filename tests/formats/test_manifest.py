"""The manifest: names are normalised, paths are relative to it, and a bad row is named by its line."""

import pytest

from plantgfm.formats.errors import FormatError
from plantgfm.formats.manifest import COLUMNS, REPORTS, normalise_species, read_manifest, read_manifests, write_manifest
from plantgfm.schema import Compartment

HEAD = "species,cultivar,assembly,compartment,ploidy,fasta,annotation,expected_size_bp,source,licence\n"
ROW = "Zea mays,B73,v5,nuclear,2,a.fa,,1000,here,CC0\n"


@pytest.fixture
def manifest(tmp_path):
    def write(text: str):
        for name in ("a.fa", "b, c.fa", "a.gff3"):
            (tmp_path / name).touch()
        (tmp_path / "manifest.csv").write_text(text, encoding="utf-8")
        return tmp_path / "manifest.csv"

    return write


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("zea_mays", "Zea mays"),
        ("  ARABIDOPSIS   Thaliana ", "Arabidopsis thaliana"),
        ("Hordeum vulgare subsp. vulgare L.", "Hordeum vulgare"),
        ("Fragaria x ananassa", "Fragaria × ananassa"),
        ("Fragaria ×ananassa Duchesne", "Fragaria × ananassa"),
        ("Capsella bursa-pastoris", "Capsella bursa-pastoris"),
        ("Chlorella sp.", "Chlorella sp."),
    ],
)
def test_species_names(given, expected):
    assert normalise_species(given) == expected
    assert normalise_species(expected) == expected


@pytest.mark.parametrize("name", ["", "Zea", "Zea 7", "12 mays", "_"])
def test_names_that_are_no_binomials(name):
    with pytest.raises(ValueError, match="no binomial"):
        normalise_species(name)


def test_cells_are_typed(manifest):
    path = manifest(HEAD + ROW + '"rosa_canina",,"one, two",Plastid,,"b, c.fa",a.gff3,,,\n')
    maize, rose = read_manifest(path)
    assert (maize.species, maize.ploidy, maize.expected_size_bp, maize.source) == ("Zea mays", 2, 1000, "here")
    assert maize.fasta == path.parent / "a.fa" and maize.annotation is None and maize.accession == ""
    assert (rose.species, rose.assembly, rose.compartment) == ("Rosa canina", "one, two", Compartment.PLASTID)
    assert rose.ploidy is None and rose.annotation == path.parent / "a.gff3"


def test_several_manifests_are_read_as_one_and_what_two_of_them_have_is_refused(manifest, tmp_path):
    first = manifest(HEAD + ROW)
    other = tmp_path / "sub" / "plastids.tsv"
    other.parent.mkdir()
    (other.parent / "p.fa").touch()
    row = "Zea mays,,v5,plastid,,{},,,,\n"
    other.write_text((HEAD + row.format("p.fa")).replace(",", "\t"))
    assert [one.fasta for one in read_manifests([first, other])] == [tmp_path / "a.fa", other.parent / "p.fa"]
    other.write_text((HEAD + row.format("../a.fa")).replace(",", "\t"))
    with pytest.raises(FormatError, match=r"plastids.tsv: .*a.fa stands already in .*manifest.csv: leave one"):
        read_manifests([first, other])
    with pytest.raises(FormatError, match="leave one of them out"):
        read_manifests([first, first])


def test_tabs_and_byte_order_marks_are_read(manifest):
    path = manifest("\ufeff" + (HEAD + ROW).replace(",", "\t").replace("\n", "\r\n"))
    assert read_manifest(path)[0].cultivar == "B73"


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        (HEAD, "without rows", None),
        (HEAD.replace("fasta", "file") + ROW, "'fasta' is missing", 1),
        (HEAD.replace("licence", "license") + ROW, "unknown column 'license'", 1),
        (HEAD.replace("licence", "source") + ROW, "stands twice", 1),
        (HEAD.replace("licence", "") + ROW, "has no name", 1),
        (HEAD + ROW + "Zea mays,x\n", "2 cells", 3),
        (HEAD + ROW.replace("Zea mays", "Zea"), "no binomial", 2),
        (HEAD + ROW.replace("nuclear", "vacuole"), "'vacuole'", 2),
        (HEAD + ROW.replace("a.fa", "no.fa"), "no.fa' does not exist", 2),
        (HEAD + ROW.replace("a.fa", "."), "is no file", 2),
        (HEAD + ROW.replace("a.fa", ""), "'fasta' is empty", 2),
        (HEAD + ROW.replace("a.fa,", "a.fa,no.gff3"), "annotation", 2),
        (HEAD + ROW.replace("1000", "1e6"), "expected_size_bp '1e6'", 2),
        (HEAD + ROW.replace(",2,", ",0,"), "ploidy '0'", 2),
        (HEAD + "\n" + ROW + ROW, "already in line 3", 4),
        (HEAD + ROW + ROW.replace("Zea", "Rosa"), "already in line 2", 3),
        (HEAD + ROW + '"open\n', "quotes", 3),
    ],
)
def test_bad_rows_are_named_by_line(manifest, text, words, line):
    with pytest.raises(FormatError, match=words) as caught:
        read_manifest(manifest(text))
    assert caught.value.line == line


def test_written_is_read_from_elsewhere(manifest, tmp_path):
    path = manifest(HEAD + ROW + 'Rosa canina,,x,nuclear,,"b, c.fa",a.gff3,,,\n')
    assemblies = read_manifest(path)
    (tmp_path / "sub").mkdir()
    write_manifest(tmp_path / "sub" / "m.csv", assemblies)
    text = (tmp_path / "sub" / "m.csv").read_text()
    assert text.splitlines()[0] == ",".join(COLUMNS) and "../a.fa" in text
    again = read_manifest(tmp_path / "sub" / "m.csv")
    assert [a.key for a in again] == [a.key for a in assemblies]
    assert [a.fasta.resolve() for a in again] == [a.fasta.resolve() for a in assemblies]


def test_an_assembly_given_twice_is_not_written(manifest, tmp_path):
    (assembly,) = read_manifest(manifest(HEAD + ROW))
    for given in ([assembly, assembly], []):
        with pytest.raises(FormatError):
            write_manifest(tmp_path / "m.csv", given)
    assert not (tmp_path / "m.csv").exists()


CELLS = ("a.fcs_gx_report.txt", "adaptor.txt", "a.kraken", "a.kreport", "short_summary.json", "a.vcf", "genes.fa", "s1")


def with_reports(tmp_path, cells, compartment="nuclear", columns=(*REPORTS, "sample")):
    for name in CELLS[:-1]:
        (tmp_path / name).touch()
    head = HEAD.strip() + "," + ",".join(columns) + "\n"
    return head + ROW.strip().replace("nuclear", compartment) + "," + ",".join(cells) + "\n"


def test_reports_are_optional_columns_relative_to_the_manifest(manifest, tmp_path):
    (row,) = read_manifest(manifest(with_reports(tmp_path, CELLS)))
    assert [getattr(row, column) for column in REPORTS] == [tmp_path / name for name in CELLS[:-1]]
    assert row.sample == "s1"
    (empty,) = read_manifest(manifest(with_reports(tmp_path, [""] * 8)))
    (old,) = read_manifest(manifest(HEAD + ROW))
    assert empty == old and [getattr(old, column) for column in REPORTS] == [None] * 7 and old.sample == ""


def test_a_report_column_is_written_where_there_is_one(manifest, tmp_path):
    (row,) = read_manifest(manifest(with_reports(tmp_path, ["short_summary.json"], columns=["busco"])))
    (tmp_path / "sub").mkdir()
    write_manifest(tmp_path / "sub" / "m.csv", [row])
    head, line = (tmp_path / "sub" / "m.csv").read_text().splitlines()
    assert head == ",".join([*COLUMNS, "busco"]) and line.endswith(",../short_summary.json")
    assert read_manifest(tmp_path / "sub" / "m.csv")[0].busco.resolve() == row.busco.resolve()


@pytest.mark.parametrize(
    ("column", "cell", "compartment", "words"),
    [
        ("fcs_gx", "no.txt", "nuclear", "fcs_gx .*no.txt' does not exist"),
        ("kraken2", "a.kraken", "nuclear", "belong together"),
        ("kraken2_report", "a.kreport", "nuclear", "belong together"),
        ("busco", "short_summary.json", "plastid", "nuclear genes, the row is plastid"),
        ("marker_genes", "genes.fa", "plastid", "marker_genes counts nuclear genes"),
        ("genotypes", "a.vcf", "nuclear", "genotypes and sample belong together"),
        ("sample", "s1", "nuclear", "genotypes and sample belong together"),
        ("fcsgx", "a.fcs_gx_report.txt", "nuclear", "unknown column 'fcsgx'; known are .*fcs_gx"),
    ],
)
def test_bad_report_cells_are_named_by_line(manifest, tmp_path, column, cell, compartment, words):
    text = with_reports(tmp_path, [cell], compartment, columns=[column])
    with pytest.raises(FormatError, match=words) as caught:
        read_manifest(manifest(text))
    assert caught.value.line == (1 if column == "fcsgx" else 2)

"""Passport tables: MCPD names, real columns by alias, NA as nothing, and a bad row named by accession and line."""

import pytest

from plantgfm.formats.errors import FormatError
from plantgfm.formats.passport import PassportRecord, read_passport, write_passport


def read_text(folder, text: str):
    (folder / "p.csv").write_text(text)
    return read_passport(folder / "p.csv")


def test_mcpd_names_in_either_case(tmp_path):
    (tmp_path / "s.fa").touch()
    (record,) = read_text(
        tmp_path,
        "INSTCODE,ACCENUMB,Genus,SPECIES,ACCENAME,ORIGCTY,DECLATITUDE,DECLONGITUDE,DOI,REFSKETCH,SAMPSTAT\n"
        "SYR002,IG 1,Triticum,durum,Haurani;Hourani,SYR,36.5,NA,10.18730/X,s.fa,300\n",
    )
    assert record == PassportRecord(
        accenumb="IG 1",
        instcode="SYR002",
        genus="Triticum",
        species="durum",
        accename="Haurani;Hourani",
        origcty="SYR",
        doi="10.18730/X",
        declatitude=36.5,
        refsketch=tmp_path / "s.fa",
        other={"SAMPSTAT": "300"},
    )
    assert record.binomial == "Triticum durum" and record.names == ("Haurani", "Hourani")


MCPD = ("PUID", "INSTCODE", "ACCENUMB", "GENUS", "SPECIES", "ACCENAME", "DECLATITUDE", "DECLONGITUDE", "ELEVATION")


def test_puid_of_mcpd_is_the_doi_unless_a_doi_stands_beside_it(tmp_path):
    cells = ("10.18730/8S5W", "USA003", "PI 1", "Zea", "mays", "B73", "", "", "")
    (record,) = read_text(tmp_path, ",".join(MCPD) + "\n" + ",".join(cells) + "\n")
    assert record.doi == "10.18730/8S5W" and record.other == {}
    (record,) = read_text(tmp_path, "puid,ACCENUMB,DOI\nARK:1,PI 1,10.18730/X\n")
    assert record.doi == "10.18730/X" and record.other == {"PUID": "ARK:1"}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_semicolons_byte_order_mark_and_decimal_commas_of_a_spreadsheet(tmp_path, end):
    cells = ('"10.18730/8S5W"', "DEU146", "HOR 1", "Hordeum", "vulgare", '"Haisa;Haisa 2"', "51,83", "-11,5", "112")
    text = end.join([";".join(MCPD), ";".join(cells), ""])
    (tmp_path / "p.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (record,) = read_passport(tmp_path / "p.csv")
    assert (record.doi, record.accenumb, record.names) == ("10.18730/8S5W", "HOR 1", ("Haisa", "Haisa 2"))
    assert (record.declatitude, record.declongitude, record.elevation) == (51.83, -11.5, 112.0)


def test_an_elevation_with_a_comma_may_be_thousands_and_is_refused(tmp_path):
    with pytest.raises(FormatError, match="ELEVATION '1,250' is no number"):
        read_text(tmp_path, "ACCENUMB;ELEVATION\n1;1,250\n")


def test_a_workbook_is_told_what_to_do(tmp_path):
    (tmp_path / "p.xlsx").write_bytes(b"PK\x03\x04 and more")
    with pytest.raises(FormatError, match="Excel workbook.* save its sheet as CSV"):
        read_passport(tmp_path / "p.xlsx")


def test_one_number_in_two_genera_is_two_accessions_as_in_genesys(tmp_path):
    (tmp_path / "s.fa").touch()
    head = "INSTCODE,ACCENUMB,GENUS,ORIGCTY,REFSKETCH,,\n"
    found = read_text(
        tmp_path, f"{head}A,1,Zea,usa,s.fa,,\nA,1,Oryza,,,,\n"
    )  # empty columns as spreadsheets write them
    assert [(one.genus, one.origcty) for one in found] == [("Zea", "USA"), ("Oryza", "")]
    write_passport(tmp_path / "q.csv", found)
    assert read_passport(tmp_path / "q.csv") == found
    with pytest.raises(FormatError, match="already in line 2"):
        read_text(tmp_path, f"{head}A,1,Zea,usa,s.fa,,\nA,1,Oryza,,s.fa,,\n")


@pytest.mark.parametrize(
    ("genus", "species", "binomial"),
    [
        ("FRAGARIA", "x ananassa", "Fragaria × ananassa"),
        ("Fragaria", "×ananassa", "Fragaria × ananassa"),
        ("Zea", "mays subsp. mays", "Zea mays"),
        ("Zea", "sp.", "Zea sp."),
        ("Zea", "?", "Zea ?"),
        ("", "mays", ""),
    ],
)
def test_binomials_are_those_of_the_manifest(genus, species, binomial):
    assert PassportRecord("1", genus=genus, species=species).binomial == binomial


def test_real_columns_are_known_by_alias(tmp_path):
    first, second = read_text(
        tmp_path, '"SiteCode","IG","Country","Latitude","PopulationType"\n"A",7,"AFG",36.6,NA\n"A",8,"AFG",NA,"LA"\n'
    )
    assert (first.accenumb, first.origcty, first.declatitude, first.other) == ("7", "AFG", 36.6, {"SiteCode": "A"})
    assert second.declatitude is None and second.other == {"SiteCode": "A", "PopulationType": "LA"}
    assert first.binomial == "" and first.names == ()


def test_a_site_names_the_accession_only_where_nothing_else_does(tmp_path):
    assert read_text(tmp_path, "SiteCode,Latitude\nITA::5,43\n")[0].accenumb == "ITA::5"


@pytest.mark.parametrize(
    ("text", "words", "record", "line"),
    [
        ("GENUS,SPECIES\nZea,mays\n", "names the accession", None, 1),
        ("ACCENUMB,accenumb\n1,2\n", "same field", None, 1),
        ("ACCENUMB,GENUS\nNA,Zea\n", "without a number", None, 2),
        ("ACCENUMB,GENUS\n1,Zea\n1,Zea\n", "already in line 2", "1", 3),
        ("ACCENUMB,DECLATITUDE\n1,91\n", "outside ±90", "1", 2),
        ("ACCENUMB,DECLONGITUDE\n1,east\n", "no number", "1", 2),
        ("ACCENUMB,ELEVATION\n1,inf\n", "not finite", "1", 2),
        ("ACCENUMB,ORIGCTY\n1,Syria\n", "three-letter", "1", 2),
        ("ACCENUMB,REFSKETCH\n1,none.fa\n", "does not exist", "1", 2),
        ("ACCENUMB,GENUS\n1\n", "1 cells", None, 2),
    ],
)
def test_bad_rows_are_named(tmp_path, text, words, record, line):
    with pytest.raises(FormatError, match=words) as caught:
        read_text(tmp_path, text)
    assert (caught.value.record, caught.value.line) == (record, line)


@pytest.mark.parametrize("name", ["p.csv", "p.tsv", "p.tsv.gz"])
def test_written_is_read(tmp_path, name):
    (tmp_path / "s.fa").touch()
    records = [
        PassportRecord("1", genus="Zea", species="mays", accename='B"7, 3', declatitude=-1.5, elevation=40.0),
        PassportRecord("1", instcode="X", refsketch=tmp_path / "s.fa", other={"note": "a\tb"}),
    ]
    write_passport(tmp_path / name, records)
    assert read_passport(tmp_path / name) == records


def test_an_accession_given_twice_is_not_written(tmp_path):
    for records in ([PassportRecord("1")] * 2, [PassportRecord("")]):
        with pytest.raises(FormatError, match="given twice"):
            write_passport(tmp_path / "p.csv", records)
    assert list(tmp_path.iterdir()) == []

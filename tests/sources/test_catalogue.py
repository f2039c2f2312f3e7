"""The catalogue: what is shipped keeps its promises, and a malformed line is named with its line and the way out."""

import re

import pytest

from plantgfm.formats.errors import FormatError
from plantgfm.sources.catalogue import CATALOGUE, COLUMNS, Source, choose, fetchable, read_catalogue
from plantgfm.sources.checksums import Checksum
from plantgfm.sources.errors import FetchError

ROW = {
    "name": "rice",
    "species": "oryza_sativa",
    "cultivar": "Nipponbare",
    "assembly": "IRGSP-1.0",
    "accession": "GCF_001433935.1",
    "source": "ncbi",
    "page": "https://example.org/rice https://example.org/more",
    "url": "https://example.org/{accession_path}/{accession}_{assembly}.fna.gz",
    "checksum_url": "https://example.org/{accession_path}/md5checksums.txt",
    "checksum": "",
    "licence": "free",
    "taxon_id": "39947",
    "ploidy": "2",
    "expected_size_bp": "",
    "verified": "yes",
}
POINTER = {**ROW, "name": "reads", "source": "sra", "accession": "SRR000001", "url": "", "checksum_url": ""}


def write(path, *rows):
    lines = ["\t".join(COLUMNS), *("\t".join(row[column] for column in COLUMNS) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def catalogue(tmp_path):
    return lambda *rows: write(tmp_path / "catalogue.tsv", *rows)


def test_cells_are_typed_and_templates_filled(catalogue):
    rice, reads = read_catalogue(catalogue(ROW, POINTER))
    assert rice.species == "Oryza sativa" and rice.source is Source.NCBI and rice.verified
    assert rice.url == "https://example.org/GCF/001/433/935/GCF_001433935.1_IRGSP-1.0.fna.gz"
    assert rice.checksum_url == "https://example.org/GCF/001/433/935/md5checksums.txt"
    assert rice.file_name == "GCF_001433935.1_IRGSP-1.0.fna.gz"
    assert rice.pages == ("https://example.org/rice", "https://example.org/more")
    assert (rice.taxon_id, rice.ploidy, rice.expected_size_bp, rice.checksum) == (39947, 2, None, None)
    assert reads.source.is_pointer and reads.file_name == ""


def test_paths_of_ensembl_are_made_from_the_species(catalogue):
    url = "https://example.org/{species_path}/{Species_path}.{assembly}.fa.gz"
    row = {**ROW, "source": "ensembl-plants", "url": url, "checksum_url": "", "checksum": "sum:00042 7"}
    entry = read_catalogue(catalogue(row))[0]
    assert entry.url == "https://example.org/oryza_sativa/Oryza_sativa.IRGSP-1.0.fa.gz"
    assert entry.checksum == Checksum("sum", "42 7")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Rice 1"}, "name 'Rice 1' is not of lower-case"),
        ({"species": "rice"}, "'rice' is no binomial"),
        ({"source": "ddbj"}, "source 'ddbj' is none of ensembl-plants, ncbi"),
        ({"accession": "GCF_00143393.1"}, "accession 'GCF_00143393.1' is none of ncbi"),
        ({"accession": ""}, "accession '' is none of ncbi"),
        ({"source": "sgn", "accession": ""}, "accession '' is none of sgn"),
        ({"verified": "maybe"}, "verified 'maybe' is neither 'yes' nor 'no'"),
        ({"page": ""}, "verified without a page"),
        ({"page": "seen somewhere"}, "page 'seen' is no http"),
        ({"url": ""}, "verified without a url"),
        ({"url": "ftp://example.org/a.fa.gz"}, "is no http or https address"),
        ({"url": "https:///a.fa.gz"}, "is no http or https address"),
        ({"url": "https://example.org/"}, "ends in no plain file name"),
        ({"url": "https://example.org/..%2Fetc%2F.hidden"}, "ends in no plain file name"),
        ({"url": "https://example.org/{accesion}.gz"}, re.escape("url has the field {accesion}; known are Species")),
        ({"url": "https://example.org/{.gz"}, "is no template"),
        ({"url": "https://example.org/{accession:>99}.gz"}, "has ':' or '!' in a field; write {accession} alone"),
        ({"url": "https://example.org/{accession!r}.gz"}, "has ':' or '!' in a field"),
        ({"url": "https://example.org/a b.gz"}, "is no http or https address"),
        ({"url": "https://example.org/a\u0430.gz"}, "is no http or https address"),
        ({"url": "https://example.org:port/a.gz"}, "[Pp]ort"),
        ({"url": "https://[example.org/a.gz"}, "IPv6"),
        ({"url": "https://example.org/Manifest.csv"}, "is no FASTA file"),
        ({"taxon_id": "9" * 30}, "at most 18 digits"),
        ({"checksum_url": ""}, "verified without a checksum"),
        ({"checksum": "12ab"}, "checksum '12ab' is none of md5"),
        ({"assembly": ""}, "assembly is empty"),
        ({"taxon_id": "rice"}, "taxon_id 'rice' is no positive whole number"),
        ({"ploidy": "0"}, "ploidy '0' is no positive whole number"),
        ({"expected_size_bp": "1e9"}, "expected_size_bp '1e9' is no positive whole number"),
        ({"source": "grin"}, "grin entries are pointers; leave url"),
    ],
)
def test_a_malformed_line_is_named(catalogue, change, message):
    row = {**ROW, "name": "second", "url": ROW["url"].replace("fna", "second"), **change}
    with pytest.raises(FormatError, match=message) as caught:
        read_catalogue(catalogue(ROW, row))
    assert caught.value.line == 3


def test_names_and_files_are_unique(catalogue):
    with pytest.raises(FormatError, match=r"line 3: name 'rice' stands already in line 2"):
        read_catalogue(catalogue(ROW, ROW))
    with pytest.raises(FormatError, match=r"line 3: file 'GCF_.*' stands already in line 2"):
        read_catalogue(catalogue(ROW, {**ROW, "name": "other"}))


def test_a_table_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "catalogue.tsv"
    path.write_text("name\tspecies\nrice\tOryza sativa\n")
    with pytest.raises(FormatError, match="column 'cultivar' is missing"):
        read_catalogue(path)
    path.write_text("\t".join(COLUMNS) + "\n")
    with pytest.raises(FormatError, match="without entries"):
        read_catalogue(path)


def test_what_nobody_verified_is_refused_with_the_way_out(catalogue):
    entries = read_catalogue(catalogue({**ROW, "verified": "no"}, POINTER))
    with pytest.raises(FetchError, match=r"rice is not verified and is refused.*GCF_001433935\.1.*example\.org/rice"):
        choose(entries, ["rice"])
    with pytest.raises(FetchError, match="reads is a pointer to sra SRR000001"):
        choose(entries, ["reads"])
    with pytest.raises(FetchError, match="the catalogue has no 'maize'; it has rice, reads"):
        choose(entries, ["maize"])
    assert fetchable(entries) == []


def test_names_are_chosen_once_in_the_order_given(catalogue):
    second = {**ROW, "name": "second", "url": ROW["url"].replace("fna", "second")}
    entries = read_catalogue(catalogue(ROW, second, POINTER))
    assert [entry.name for entry in choose(entries, ["second", "rice", "second"])] == ["second", "rice"]
    assert [entry.name for entry in fetchable(entries)] == ["rice", "second"]


def test_the_shipped_catalogue_can_be_read_and_is_wide_enough():
    entries = read_catalogue(CATALOGUE)
    assert {entry.source for entry in entries} == set(Source)
    assert len({entry.species for entry in entries}) >= 48
    assert len({entry.species for entry in fetchable(entries)}) >= 8  # a step of training needs eight species
    assert all(entry.pages and entry.taxon_id for entry in entries)


def test_verified_entries_of_ncbi_come_with_the_checksums_of_ncbi():
    for entry in fetchable(read_catalogue(CATALOGUE)):
        if entry.source is Source.NCBI:
            folder = f"https://ftp.ncbi.nlm.nih.gov/genomes/all/{entry.accession[:3]}/"
            assert entry.url.startswith(folder) and entry.file_name.startswith(f"{entry.accession}_{entry.assembly}_")
            assert entry.checksum_url == entry.url.removesuffix(entry.file_name) + "md5checksums.txt"

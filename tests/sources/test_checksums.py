"""Checksums as coreutils gives them, and the lists that the sources publish."""

import pytest

from plantgfm.sources.checksums import Checksum, file_checksum, find_checksum, parse_checksum

NCBI = """\
0123456789abcdef0123456789abcdef  ./GCF_1_genomic.fna.gz
fedcba9876543210fedcba9876543210  ./GCF_1_rna_from_genomic.fna.gz
"""
ENSEMBL = """\
12345 678 Oryza_sativa.IRGSP-1.0.dna_sm.toplevel.fa.gz
00042 9 Oryza_sativa.IRGSP-1.0.dna.toplevel.fa.gz
"""


@pytest.mark.parametrize(
    ("content", "kind", "value"),
    [  # md5sum, sha256sum and sum of GNU coreutils
        (b"ACGT\n", "md5", "58ce66d7df0a1cf9b360cabf43da3ea5"),
        (b"ACGT\n", "sha256", "a4b0723993d3751f3d530e3c20da4c24ccdd32e65820fba897cc5f119e85ca55"),
        (b"ACGT\n", "sum", "12370 1"),
        (b"A" * 3000, "sum", "12414 3"),
        (b"", "sum", "0 0"),
    ],
)
def test_values_are_those_of_coreutils(tmp_path, content, kind, value):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert file_checksum(path, kind) == Checksum(kind, value)


def test_the_sum_does_not_depend_on_the_blocks_it_is_read_in(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 9)
    whole = file_checksum(path, "sum")
    monkeypatch.setattr("plantgfm.sources.checksums._BLOCK_BYTES", 7)
    assert file_checksum(path, "sum") == whole


@pytest.mark.parametrize(
    ("listing", "name", "expected"),
    [
        (NCBI, "GCF_1_genomic.fna.gz", "md5:0123456789abcdef0123456789abcdef"),
        (ENSEMBL, "Oryza_sativa.IRGSP-1.0.dna_sm.toplevel.fa.gz", "sum:12345 678"),
        (ENSEMBL, "Oryza_sativa.IRGSP-1.0.dna.toplevel.fa.gz", "sum:42 9"),
        (f"{'AB' * 32} *a.fa\n", "a.fa", f"sha256:{'ab' * 32}"),
        (f"# made by hand\n\n{'ab' * 16}  x/a.fa\r\n{'ab' * 16}  y/a.fa\n", "a.fa", f"md5:{'ab' * 16}"),
    ],
)
def test_published_lists_are_read(listing, name, expected):
    assert str(find_checksum(listing, name)) == expected


@pytest.mark.parametrize("listing", ["", "<html>busy</html>", NCBI.replace("_genomic", "_protein")])
def test_a_list_without_the_file_is_an_error(listing):
    with pytest.raises(ValueError, match="'GCF_1_genomic.fna.gz' with 0 different"):
        find_checksum(listing, "GCF_1_genomic.fna.gz")


def test_a_name_with_two_values_is_an_error():
    with pytest.raises(ValueError, match="2 different"):
        find_checksum(f"{'ab' * 16}  x/a.fa\n{'cd' * 16}  y/a.fa\n", "a.fa")


def test_a_checksum_in_the_catalogue_has_its_form():
    assert parse_checksum("sum:00042  9") == Checksum("sum", "42 9")
    assert parse_checksum("md5:" + "AB" * 16) == Checksum("md5", "ab" * 16)
    for text in ("", "md5:" + "ab" * 15, "sha1:" + "ab" * 20, "ab" * 16, "sum:12", "sha256:" + "zz" * 32):
        with pytest.raises(ValueError, match="is none of md5"):
            parse_checksum(text)

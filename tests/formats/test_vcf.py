"""Variants of VCF files: every alternative a row, written back with more INFO, refused by line."""

import gzip

import numpy as np
import pysam
import pytest

from plantgfm.formats.errors import FormatError
from plantgfm.formats.vcf import InfoField, bgzf_block, read_variants, write_with_info

HEAD = "##fileformat=VCFv4.2\n##contig=<ID=1>\n"
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
SAMPLES = f"{COLUMNS}\tFORMAT\ta\tb\n"
SCORE = InfoField("X_LLR", "Float", "a score")
WHY = InfoField("X_WHY", "String", "why not")


def line(pos, ref, alt, *, info=".", calls=("GT", "0/1", "1|1"), name="1"):
    return "\t".join((name, str(pos), ".", ref, alt, ".", "PASS", info, *calls)) + "\n"


@pytest.fixture
def vcf(tmp_path):
    def of(text):
        (tmp_path / "x.vcf").write_text(text)
        return tmp_path / "x.vcf"

    return of


def test_every_alternative_is_a_row_at_its_zero_based_place(vcf):
    text = HEAD + SAMPLES + line(5, "a", "C,g") + line(0, "N", "<DEL>") + line(9, "AC", ".", name="chr,2")
    found = read_variants(vcf(text))
    assert found.names == ["1", "chr,2"] and found.sequence.tolist() == [0, 0, 0, 1]
    assert found.start.tolist() == [4, 4, -1, 8] and found.line.tolist() == [4, 4, 5, 6]
    assert (found.ref, found.alt) == (["A", "A", "N", "AC"], ["C", "G", "<DEL>", "."])


def test_a_file_without_samples_or_variants_is_read(vcf):
    assert len(read_variants(vcf(HEAD + COLUMNS + "\n"))) == 0
    found = read_variants(vcf(COLUMNS + "\n" + line(7, "A", "T", calls=())))
    assert found.start.tolist() == [6] and found.start.dtype == np.int64


@pytest.mark.parametrize(
    ("text", "words", "number"),
    [
        (HEAD, "no line #CHROM", None),
        (line(5, "A", "C"), "before the header", 1),
        (COLUMNS.replace("\tQUAL", "") + "\n", "the header is no #CHROM", 1),
        (COLUMNS + "\tFORMAT\n", "the header is no #CHROM", 1),
        (SAMPLES + line(5, "A", "C", calls=("GT", "0/1")), "10 columns where the header has 11", 2),
        (SAMPLES + line("5.0", "A", "C"), "POS '5.0' is no whole number", 2),
        (SAMPLES + line("9" * 19, "A", "C"), "is no whole number of at most 18 digits", 2),
        (SAMPLES + line(5, "", "C"), "REF '' is not made of", 2),
        (SAMPLES + line(5, "R", "C"), "REF 'R' is not made of", 2),
        (SAMPLES + line(5, "A", "C,"), "holds an empty allele", 2),
        (SAMPLES + line(5, "A", "C", name=""), "without the name of a sequence", 2),
    ],
)
def test_broken_variants_are_named_by_line(vcf, text, words, number):
    with pytest.raises(FormatError, match=words) as caught:
        read_variants(vcf(text))
    assert caught.value.line == number


def scored(path, out, *, n, header=()):
    write_with_info(out, path, {SCORE: [str(i) for i in range(n)], WHY: ["."] * (n - 1) + ["why"]}, header=header)
    return out


def test_lines_keep_all_they_had_and_get_one_value_an_alternative(vcf, tmp_path):
    text = HEAD + SAMPLES + line(5, "a", "C,g", info="DP=3;X") + line(9, "AC", "A")
    out = scored(vcf(text), tmp_path / "o.vcf", n=3, header=["##made=here"])
    lines = out.read_text().splitlines()
    assert lines[:3] == [*HEAD.splitlines(), "##made=here"]
    assert lines[3] == '##INFO=<ID=X_LLR,Number=A,Type=Float,Description="a score">'
    assert lines[5] == SAMPLES.rstrip()
    assert lines[6] == line(5, "a", "C,g", info="DP=3;X;X_LLR=0,1;X_WHY=.,.").rstrip()
    assert lines[7] == line(9, "AC", "A", info="X_LLR=2;X_WHY=why").rstrip()
    with pysam.VariantFile(str(out)) as file:  # htslib agrees that it is one
        rows = [(row.pos, row.info["X_LLR"], row.samples["b"]["GT"]) for row in file]
    assert rows == [(5, (0.0, 1.0), (1, 1)), (9, (2.0,), (1, 1))]


def test_a_gz_file_is_bgzf_that_htslib_can_index(vcf, tmp_path):
    sites = [line(pos, "A", "C", info="Z=" + "ab" * (pos % 97)) for pos in range(1, 4_000)]
    out = scored(vcf(HEAD + SAMPLES + "".join(sites)), tmp_path / "o.vcf.gz", n=len(sites))
    pysam.tabix_index(str(out), preset="vcf")
    with pysam.TabixFile(str(out)) as file:
        assert [row.split("\t")[1] for row in file.fetch("1", 2_000, 2_003)] == ["2001", "2002", "2003"]
    assert gzip.decompress(out.read_bytes()).count(b"\n") == len(sites) + 5
    assert {path.name for path in tmp_path.iterdir()} == {"x.vcf", "o.vcf.gz", "o.vcf.gz.tbi"}
    with pytest.raises(ValueError, match="more than a block's"):
        bgzf_block(b"x" * 65_281)


@pytest.mark.parametrize("name", ["o.vcf", "o.vcf.gz"])
def test_a_scored_or_changed_file_is_refused_and_nothing_half_written_stays(vcf, tmp_path, name):
    path = vcf(HEAD + SAMPLES + line(5, "A", "C"))
    with pytest.raises(FormatError, match="has 1 alternative alleles, 2 when it was read"):
        scored(path, tmp_path / name, n=2)
    again = scored(path, tmp_path / "once.vcf", n=1)
    with pytest.raises(FormatError, match="has X_LLR already") as caught:
        scored(again, tmp_path / name, n=1)
    assert caught.value.line == 3
    assert {path.name for path in tmp_path.iterdir()} == {"x.vcf", "once.vcf"}

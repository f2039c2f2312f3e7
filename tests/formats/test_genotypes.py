"""VCF genotypes and tables of synonyms: read to the allele, refused by line."""

import numpy as np
import pytest

from plantgfm.formats.errors import FormatError
from plantgfm.formats.genotypes import read_genotypes
from plantgfm.formats.taxonomy import read_synonyms

HEAD = '##fileformat=VCFv4.2\n##SAMPLE=<ID=a,DOI=10.18730/X1,EXT_ID="biosample:S1, x">\n'
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\tc\n"


def line(*calls, ref="A", alt="C", form="GT:DP"):
    return "\t".join(("1", "5", ".", ref, alt, ".", ".", ".", form, *calls)) + "\n"


@pytest.fixture
def read(tmp_path):
    def of(text, reader=read_genotypes):
        (tmp_path / "x.txt").write_text(text)
        return reader(tmp_path / "x.txt")

    return of


def test_calls_are_counts_of_the_alternative_allele(read):
    text = HEAD + COLUMNS + line("0/0:3", "0|1", "1/1") + line("./.", ".", "1") + line("0/2", "0/0/1", "0")
    others = line("0/0", "0/1", "1/1", alt="C,T") + line("0/1", "0/1", "0/1", ref="AC") + line(*"000", alt="<DEL>")
    found = read(text + others)
    assert found.samples == ["a", "b", "c"] and found.links == {"a": ["10.18730/X1", "biosample:S1, x"]}
    assert found.dosages.tolist() == [[0, 1, 2], [-1, -1, 2], [-1, -1, 0]] and found.skipped == 3


def test_sites_have_their_place_and_alleles(read):
    found = read(COLUMNS + line("0/0", "0/1", "1/1") + line("0/0", "0/1", "1/1", alt="C,T") + line(*"001", alt="g"))
    assert found.sequence == ["1", "1"] and found.start.tolist() == [4, 4]
    assert (found.ref.tolist(), found.alt.tolist()) == ([0, 0], [1, 2])


def test_identity_counts_sites_that_both_have(read):
    calls = [("0/0", "0/0", "1/1"), ("0/1", "0/0", "./."), ("1/1", "1/1", "0/1"), ("./.", "0/0", "0/0")]
    identity, sites = read(COLUMNS + "".join(line(*call) for call in calls)).identity("a")
    assert sites.tolist() == [3, 3, 2]
    np.testing.assert_allclose(identity, [1.0, 1 - 0.5 / 3, 1 - 1.5 / 2])


@pytest.mark.parametrize(
    ("text", "words", "number"),
    [
        (HEAD, "no line #CHROM", None),
        (COLUMNS.replace("\tb", "\ta"), "one of them twice", 1),
        (COLUMNS.replace("\tQUAL", ""), "the header is no #CHROM", 1),
        (line("0/0", "0/0", "0/0"), "before the header", 1),
        (COLUMNS + line("0/0", "0/0"), "11 columns where the header has 12", 2),
        (COLUMNS + line("0/0", "0/0", "0/0").replace("\t5\t", "\t0\t"), "POS '0' is no whole number from 1", 2),
        (COLUMNS + line("0/0", "0/0", "A/A"), "genotype 'A/A' is no", 2),
        (COLUMNS + line("0/0", "0/0", "0/0", form="DP"), "does not begin with GT", 2),
    ],
)
def test_broken_genotypes_are_named_by_line(read, text, words, number):
    with pytest.raises(FormatError, match=words) as caught:
        read(text)
    assert caught.value.line == number


def test_synonyms_are_normalised_and_followed_to_their_end(read):
    text = "name\taccepted\tsource\nZea_mexicana\tZea mays subsp. mexicana\tx\nzea ameghinoi\tZea mexicana\ty\n"
    assert read(text, read_synonyms) == {"Zea mexicana": "Zea mays", "Zea ameghinoi": "Zea mays"}


@pytest.mark.parametrize(
    ("rows", "words", "number"),
    [
        (["Zea\tZea mays"], "no binomial", 2),
        (["Zea a\tZea b", "Zea a\tZea c"], "stands already for Zea b in line 2", 3),
        (["Zea a\tZea b", "Zea b\tZea c", "Zea c\tZea b"], "in a circle", 2),
    ],
)
def test_broken_tables_of_synonyms_are_named_by_line(read, rows, words, number):
    with pytest.raises(FormatError, match=words) as caught:
        read("\n".join(["name\taccepted", *rows]), read_synonyms)
    assert caught.value.line == number
    with pytest.raises(FormatError, match="'accepted' is missing"):
        read("name\tx\nZea mays\ty\n", read_synonyms)


@pytest.mark.realdata
def test_a_real_file_is_read(real_data):
    found = read_genotypes(real_data / "genotypes" / "maize_hapmap3" / "chr1.vcf.gz")
    assert len(found.samples) == 916 and found.dosages.shape[0] + found.skipped == 38
    identity, sites = found.identity(found.samples[0])
    assert identity[0] == 1.0 and sites.max() == sites[0] and ((identity >= 0) & (identity <= 1)).all()

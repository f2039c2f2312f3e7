"""A VCF file in, scores out, from the command line: standards kept, wrong input told, nothing half-written."""

import gzip

import numpy as np
import pysam
import pytest
from click.testing import CliRunner

from plantgfm.cli import commands
from plantgfm.embedding.opened import load
from plantgfm.formats.errors import FormatError
from plantgfm.formats.fasta import write_fasta
from plantgfm.formats.tables import read_tsv
from plantgfm.sequence import decode
from plantgfm.wiring.variants import score_variants_file
from tests.fixtures import random_codes, record, write_small_bundle

HEAD = '##fileformat=VCFv4.2\n##contig=<ID=chr1>\n##FILTER=<ID=PASS,Description="fine">\n'
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tplant\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bundle, a genome, and variants of every kind."""
    found = tmp_path_factory.mktemp("variants")
    write_small_bundle(found / "bundle")
    codes = random_codes(600)
    write_fasta(found / "g.fa.gz", [record("chr1", codes)])
    letters = decode(codes)
    others = ["".join(base for base in "ACGT" if base != letter) for letter in letters]
    rows = [(31, letters[30], f"{others[30][0]},{others[30][1]},{letters[30]}A"), (601, "N", "<DEL>")]
    rows += [(600, letters[599], others[599][2]), (9, letters[8:10], "T")]
    sites = "".join(f"chr1\t{pos}\tid{pos}\t{ref}\t{alt}\t50\tPASS\tDP=7\tGT\t0/1\n" for pos, ref, alt in rows)
    (found / "v.vcf").write_text(HEAD + COLUMNS + sites)
    (found / "v.vcf.gz").write_bytes(gzip.compress((HEAD + COLUMNS + sites).encode()))
    wrong = f"chr1\t5\t.\t{others[4][0]}\t{letters[4]}\t.\t.\t.\tGT\t1/1\n"
    (found / "mismatch.vcf").write_text(HEAD + COLUMNS + wrong + sites.splitlines()[0] + "\n")
    return found


def score(folder, out, *options, vcf="v.vcf"):
    places = {"vcf": folder / vcf, "fasta": folder / "g.fa.gz", "out": out}
    named = [str(part) for name, path in places.items() for part in (f"--{name}", path)]
    return CliRunner().invoke(commands, ["score-variants", str(folder / "bundle"), *named, *options])


def test_a_scored_vcf_keeps_its_lines_and_a_tsv_tells_the_same(folder, tmp_path):
    told = score(folder, tmp_path / "o.vcf.gz", vcf="v.vcf.gz")
    assert told.exit_code == 0, told.output
    assert "o.vcf.gz: {'scored': 3, 'no_single_base_substitution': 3}\n" in told.output
    assert score(folder, tmp_path / "o.tsv").exit_code == 0
    scores = load(folder / "bundle").score_variants(folder / "v.vcf", folder / "g.fa.gz")
    rows = read_tsv(tmp_path / "o.tsv")
    assert [row["position"] for row in rows] == ["31", "31", "31", "601", "600", "9"]
    assert [row["reason"] for row in rows] == scores.reason
    found = [float(row["log_ratio"] or "nan") for row in rows]
    np.testing.assert_allclose(found, scores.log_ratio, rtol=1e-4)
    with pysam.VariantFile(str(tmp_path / "o.vcf.gz")) as file:
        first, *_, last = file
        assert "Model=" in str(file.header) and file.header.info["PGFM_LLR"].number == "A"
    assert (first.id, first.info["DP"], first.samples["plant"]["GT"]) == ("id31", "7", (0, 1))
    expected = [*scores.log_ratio[:2], None]
    assert [None if one is None else round(one, 3) for one in first.info["PGFM_LLR"]] == [
        None if one is None else round(float(one), 3) for one in expected
    ]
    assert first.info["PGFM_WHY"] == (".", ".", "no_single_base_substitution") or first.info["PGFM_WHY"][2]
    assert last.pos == 9 and last.info["PGFM_DIST"] == (None,)


def test_the_window_and_mismatches_are_settings(folder, tmp_path):
    told = score(folder, tmp_path / "o.tsv", vcf="mismatch.vcf")
    assert isinstance(told.exception, FormatError) and "--ref-mismatch skip" in str(told.exception)
    assert "mismatch.vcf, record chr1, line 5: REF" in str(told.exception) and not list(tmp_path.iterdir())
    assert score(folder, tmp_path / "o.tsv", "--ref-mismatch", "skip", vcf="mismatch.vcf").exit_code == 0
    wide = read_tsv(tmp_path / "o.tsv")
    assert [row["reason"] for row in wide][:2] == ["ref_mismatch", ""]
    score(folder, tmp_path / "n.tsv", "--ref-mismatch", "skip", "--window-bp", "60", vcf="mismatch.vcf")
    assert read_tsv(tmp_path / "n.tsv")[1]["log_ratio"] != wide[1]["log_ratio"]


def test_wrong_places_are_told_and_nothing_is_written(folder, tmp_path):
    before = sorted(path.name for path in folder.iterdir())
    (tmp_path / "empty.vcf").write_text(HEAD + COLUMNS)
    given = {
        "bundle": folder / "bundle",
        "vcf": folder / "v.vcf",
        "fasta": folder / "g.fa.gz",
        "out": tmp_path / "o.vcf",
    }
    for change, said in (
        ({"out": tmp_path / "o.bcf"}, "ends in none of .vcf, .vcf.gz, .tsv, .tsv.gz"),
        ({"out": folder / "v.vcf"}, "is an input"),
        ({"vcf": tmp_path / "empty.vcf"}, "has no variants"),
        ({"vcf": folder / "g.fa.gz"}, "before the header #CHROM"),
        ({"fasta": folder / "v.vcf"}, "is no FASTA"),
        ({"bundle": tmp_path}, "is no bundle"),
        ({"window_bp": -6}, "window_bp=-6 is negative"),
    ):
        arguments = {**given, **change}
        places = [arguments.pop(name) for name in ("bundle", "vcf", "fasta", "out")]
        with pytest.raises(ValueError, match=said):
            score_variants_file(*places, **arguments)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["empty.vcf"]

"""Files in, vectors out: what is refused, what is left alone."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from plantgfm.cli import commands
from plantgfm.embedding.config import EmbeddingConfig, Pooling, Storage
from plantgfm.embedding.embed import Embedder
from plantgfm.embedding.opened import load
from plantgfm.embedding.store import read_vectors
from plantgfm.formats.fasta import write_fasta
from plantgfm.sequence import Interval, reverse_complement
from plantgfm.wiring.downstream import Places, embed_files
from tests.fixtures import random_codes, record


def manifest_of(folder: Path, *files: str) -> Path:
    rows = [f"Fictus primus,,{name},nuclear,{name}" for name in files]
    path = folder / "manifest.csv"
    path.write_text("\n".join(["species,cultivar,assembly,compartment,fasta", *rows]) + "\n")
    return path


def embed(bundle, out, **inputs):
    config = EmbeddingConfig(window_bp=120, batch_windows=4)
    return embed_files(bundle, out, config=config, **{"fasta": None, "manifest": None, **inputs})


def test_the_same_input_is_not_embedded_twice_and_other_input_is(bundle, tmp_path):
    write_fasta(tmp_path / "a.fa", [record("chr1", random_codes(600))])
    assert embed(bundle, tmp_path / "v.parquet", fasta=tmp_path / "a.fa") == {"windows": 9, "skipped": 0}
    assert embed(bundle, tmp_path / "v.parquet", fasta=tmp_path / "a.fa") == {"reused": 1}
    write_fasta(tmp_path / "a.fa", [record("chr1", random_codes(600, seed=1))])
    assert embed(bundle, tmp_path / "v.parquet", fasta=tmp_path / "a.fa")["windows"] == 9


def test_regions_are_embedded_on_their_strand_under_their_names(bundle, tmp_path):
    codes = random_codes(600)
    write_fasta(tmp_path / "a.fa", [record("chr1", codes)])
    write_fasta(tmp_path / "minus.fa", [record("gene1", reverse_complement(codes[60:160]))])
    (tmp_path / "r.bed").write_text("chr1\t60\t160\tgene1\t0\t-\n")
    (tmp_path / "a.gff3").write_text("chr1\tx\tgene\t61\t160\t.\t-\t.\tID=gene1\n")
    asked = {"bed": Places(bed=tmp_path / "r.bed"), "gff3": Places(gff3=tmp_path / "a.gff3", feature="gene")}
    expected = tmp_path / "minus.parquet"
    embed(bundle, expected, fasta=tmp_path / "minus.fa")
    for name, places in asked.items():
        out = tmp_path / f"{name}.parquet"
        assert embed(bundle, out, fasta=tmp_path / "a.fa", places=places) == {"windows": 1, "skipped": 0}
        found = read_vectors(out)
        assert found.intervals == [Interval("chr1", 60, 160, "-")]
        np.testing.assert_allclose(found.vectors, read_vectors(expected).vectors, rtol=0, atol=1e-5)
        assert embed(bundle, out, fasta=tmp_path / "a.fa", places=places) == {"reused": 1}
    (tmp_path / "r.bed").write_text("chr1\t60\t161\tgene1\t0\t-\n")
    assert embed(bundle, tmp_path / "bed.parquet", fasta=tmp_path / "a.fa", places=asked["bed"])["windows"] == 1


def test_places_that_contradict_each_other_are_refused():
    for wrong, said in (
        ({"bed": Path("a"), "gff3": Path("b"), "feature": "gene"}, "either --bed or --gff3"),
        ({"gff3": Path("b")}, "--gff3 and --feature go together"),
        ({"feature": "gene"}, "--gff3 and --feature go together"),
        ({"accessions": ("a",)}, "--accession chooses samples of --panel"),
    ):
        with pytest.raises(ValueError, match=said):
            Places(**wrong)


def test_a_stopped_job_goes_on_and_gives_the_same_file(bundle, tmp_path, monkeypatch):
    write_fasta(tmp_path / "a.fa", [record("chr1", random_codes(3_000))])
    embed(bundle, tmp_path / "whole.parquet", fasta=tmp_path / "a.fa")
    blocks = []

    def stop(label, done, total):
        blocks.append(done)
        if len(blocks) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(bundle, tmp_path / "v.parquet", fasta=tmp_path / "a.fa", progress=stop)
    calls, before = [], Embedder.embed
    monkeypatch.setattr(Embedder, "embed", lambda self, rows: calls.append(len(rows)) or before(self, rows))
    counts = embed(bundle, tmp_path / "v.parquet", fasta=tmp_path / "a.fa")
    assert counts == {"windows": 49, "skipped": 0} and calls == [17]  # 32 of 49 were there
    assert (tmp_path / "v.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("pooling", [Pooling.TOKEN, Pooling.BASE])
def test_tokens_and_bases_are_written_with_their_places(bundle, tmp_path, pooling):
    codes = random_codes(300)
    write_fasta(tmp_path / "a.fa", [record("chr1", codes)])
    (tmp_path / "r.bed").write_text("chr1\t60\t160\tgene1\t0\t-\n")
    config = EmbeddingConfig(window_bp=120, batch_windows=4, pooling=pooling, storage=Storage.BFLOAT16)
    found = {}
    for name, places in (("all", Places()), ("gene", Places(bed=tmp_path / "r.bed"))):
        out = tmp_path / f"{name}.parquet"
        counts = embed_files(bundle, out, fasta=tmp_path / "a.fa", manifest=None, config=config, places=places)
        found[name] = read_vectors(out)
        assert counts == {"vectors": len(found[name].intervals), "skipped": 0}
    widths = {one.length_bp for one in found["all"].intervals}
    assert widths == ({1} if pooling is Pooling.BASE else {1, 6, 8} & widths | {6})
    if pooling is Pooling.BASE:
        assert [one.start for one in found["all"].intervals] == list(range(300))
        assert [one.start for one in found["gene"].intervals] == list(range(159, 59, -1))
    model = load(bundle)
    (expected,) = model.embed([reverse_complement(codes[60:160])], pooling=pooling)
    np.testing.assert_allclose(found["gene"].vectors, expected, rtol=2**-7, atol=1e-4)
    assert {one.strand for one in found["gene"].intervals} == {"-"}


def test_a_panel_is_embedded_an_accession_a_row(bundle, tmp_path):
    codes = random_codes(240)
    write_fasta(tmp_path / "a.fa", [record("chr1", codes)])
    header = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tx\ty\n"
    ref, alt = "ACGT"[codes[9]], "ACGT"[3 - codes[9]]
    (tmp_path / "p.vcf").write_text(f"{header}chr1\t10\t.\t{ref}\t{alt}\t.\t.\t.\tGT\t1/1\t0/0\n")
    options = ("--window-bp", "120", "--stride-bp", "120", "--panel", str(tmp_path / "p.vcf"))
    given = ["embed", str(bundle), "--fasta", str(tmp_path / "a.fa"), *options]
    for name, chosen in (("both", ()), ("one", ("--accession", "x"))):
        told = CliRunner().invoke(commands, [*given, "--out", str(tmp_path / f"{name}.parquet"), *chosen])
        assert told.exit_code == 0, told.output
    rows = pq.read_table(tmp_path / "both.parquet")
    assert rows["accession"].to_pylist() == ["x", "y", "x", "y"] and rows["start"].to_pylist() == [0, 0, 120, 120]
    vectors = read_vectors(tmp_path / "both.parquet").vectors
    changed = codes.copy()
    changed[9] = 3 - changed[9]
    expected = load(bundle).embed([changed[:120], codes[:120], codes[120:], codes[120:]])
    np.testing.assert_allclose(vectors, expected, atol=1e-4)
    assert pq.read_table(tmp_path / "one.parquet")["accession"].to_pylist() == ["x", "x"]


def test_a_zarr_group_is_written_reused_and_stays_what_it_is(bundle, tmp_path):
    pytest.importorskip("zarr", reason="Zarr is an extra")
    write_fasta(tmp_path / "a.fa", [record("chr1", random_codes(600))])
    out, given = tmp_path / "v.zarr", ["embed", str(bundle), "--fasta", str(tmp_path / "a.fa"), "--window-bp", "120"]
    for storage in ("float32", "int8"):
        for told in ("'windows': 9", "'reused': 1"):
            done = CliRunner().invoke(commands, [*given, "--out", str(out), "--storage", storage])
            assert done.exit_code == 0 and told in done.output
        done = CliRunner().invoke(commands, [*given, "--out", str(tmp_path / f"{storage}.parquet")])
        assert done.exit_code == 0
        found, expected = read_vectors(out), read_vectors(tmp_path / f"{storage}.parquet")
        assert found.intervals == expected.intervals and found.origin["settings"]["storage"] == storage
        steps = 0 if storage == "float32" else np.abs(expected.vectors).max() / 127
        np.testing.assert_allclose(found.vectors, expected.vectors, rtol=0, atol=steps)
    (tmp_path / "mine.zarr").write_text("mine")
    for name in ("mine.zarr", "bundle"):
        where = tmp_path / name if name == "mine.zarr" else bundle
        done = CliRunner().invoke(commands, [*given, "--out", str(where)])
        assert done.exit_code != 0 and "is no file of vectors" in str(done.exception)
    assert {one.name for one in tmp_path.iterdir()} == {
        "a.fa",
        "mine.zarr",
        "v.zarr",
        "float32.parquet",
        "int8.parquet",
    }


def test_one_name_in_two_files_is_refused_before_the_first_vector(bundle, tmp_path):
    for name in ("a.fa", "b.fa"):
        write_fasta(tmp_path / name, [record("chr1", random_codes(200))])
    with pytest.raises(ValueError, match=r"'chr1' is in .*a\.fa and in .*b\.fa"):
        embed(bundle, tmp_path / "v.parquet", manifest=manifest_of(tmp_path, "a.fa", "b.fa"))
    assert not (tmp_path / "v.parquet").exists()


def test_another_file_is_never_overwritten(bundle, tmp_path):
    write_fasta(tmp_path / "a.fa", [record("chr1", random_codes(200))])
    before = (tmp_path / "a.fa").read_bytes()
    with pytest.raises(ValueError, match="exists and is no file of vectors"):
        embed(bundle, tmp_path / "a.fa", fasta=tmp_path / "a.fa")
    assert (tmp_path / "a.fa").read_bytes() == before

"""Files in, vectors and hits out: what is refused, what is left alone."""

from dataclasses import replace
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
from plantgfm.formats.gff3 import read_gff3
from plantgfm.formats.tables import read_tsv
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.sequence import Interval, reverse_complement
from plantgfm.wiring.downstream import Places, RetrievalInputs, embed_files, retrieve_files
from tests.fixtures import random_codes, record, write_small_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_small_bundle(tmp_path_factory.mktemp("downstream") / "bundle")


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


def test_vectors_of_tokens_are_no_target_of_a_search(bundle, search, tmp_path):
    config = EmbeddingConfig(window_bp=120, pooling=Pooling.TOKEN)
    embed_files(bundle, tmp_path / "t.parquet", fasta=search.target[0], manifest=None, config=config)
    with pytest.raises(ValueError, match="pooling=token gives several vectors"):
        retrieve_files(bundle, tmp_path / "hits", replace(search, vectors=tmp_path / "t.parquet"), RetrievalConfig())


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


@pytest.fixture(scope="module")
def search(bundle, tmp_path_factory):
    """A target with its vectors, six noisy pieces of it as queries, where they come from, and an untrained bundle."""
    folder = tmp_path_factory.mktemp("search")
    target = random_codes(6_000, seed=2)
    write_fasta(folder / "target.fa", [record("chr1", target)])
    embed(bundle, folder / "vectors.parquet", fasta=folder / "target.fa")
    pieces, rows = [], ["query\tchr\tstart\tend"]
    for number, start in enumerate(range(300, 5_700, 900)):
        piece = target[start : start + 200].copy()
        piece[::9] = (piece[::9] + 1) % 4
        pieces.append(record(f"q{number}", piece))
        rows.append(f"q{number}\tchr1\t{start}\t{start + 200}")
    write_fasta(folder / "queries.fa", pieces)
    (folder / "truth.tsv").write_text("\n".join(rows) + "\n")
    write_small_bundle(folder / "untrained", seed=1)
    return RetrievalInputs(
        vectors=folder / "vectors.parquet",
        queries=folder / "queries.fa",
        truth=folder / "truth.tsv",
        target=(folder / "target.fa",),
        untrained=folder / "untrained",
    )


def ranks_of(found, method):
    (one,) = [one for one in found.methods if one.method == method]
    return found.ranks[method].tolist(), one.mean_reciprocal_rank


def test_whitened_figures_stand_beside_those_of_all_but_the_top(bundle, search, tmp_path):
    config = RetrievalConfig(resamples=20, permutations=2)
    hits, whitened = retrieve_files(bundle, tmp_path / "whitened", search, config)
    raw_hits, raw = retrieve_files(bundle, tmp_path / "raw", search, replace(config, whiten=False))
    names = {one.method for one in whitened.methods}
    assert {"model", "model, not whitened", "untrained model", "untrained model, not whitened"} <= names
    assert not [one.method for one in raw.methods if "whitened" in one.method]
    for method in ("model", "untrained model"):
        assert ranks_of(whitened, f"{method}, not whitened") == ranks_of(raw, method)
    assert not np.allclose(hits.scores.best, raw_hits.scores.best)


def test_no_whiten_on_the_command_line_is_heard(bundle, search, tmp_path):
    told = {}
    for name, option in (("whitened", "--whiten"), ("raw", "--no-whiten")):
        options = ("--queries", search.queries, "--vectors", search.vectors, "--out", tmp_path / name, option)
        result = CliRunner().invoke(commands, ["retrieve", str(bundle), *map(str, options)])
        assert result.exit_code == 0, result.output
        found, _ = retrieve_files(
            bundle,
            tmp_path / f"{name} again",
            RetrievalInputs(vectors=search.vectors, queries=search.queries),
            RetrievalConfig(whiten=name == "whitened"),
        )
        told[name] = (tmp_path / name / "hits.tsv").read_text()
        assert told[name] == (tmp_path / f"{name} again" / "hits.tsv").read_text() and found.hits
    assert told["whitened"] != told["raw"]


def test_inputs_that_would_do_nothing_are_refused():
    here = Path("x")
    for wrong, said in (
        ({}, "give either --queries"),
        ({"queries": here, "genome": here}, "give either --queries"),
        ({"genome": here}, "go together"),
        ({"queries": here, "truth": here, "untrained": here}, "--untrained needs --target"),
        ({"queries": here, "genes": here}, "does not go with --queries"),
    ):
        with pytest.raises(ValueError, match=said):
            RetrievalInputs(vectors=here, **wrong)


def wrong_evaluations(search, folder):
    """Inputs whose evaluation can't be, by what is said of them."""
    lines = search.truth.read_text().splitlines(keepends=True)
    texts = {"few.tsv": "".join(lines[:5]), "bad.tsv": "".join([*lines, "q0\tchr1\t9\tten\n"])}
    for name, text in texts.items():
        (folder / name).write_text(text)
    write_fasta(folder / "other.fa", [record("chr2", random_codes(6_000))])
    write_fasta(folder / "short.fa", [record("chr1", random_codes(3_000))])
    return {
        "does not exist": {"truth": folder / "absent.tsv"},
        "only 4 of 6 queries have a true place": {"truth": folder / "few.tsv"},
        "bad coordinates": {"truth": folder / "bad.tsv"},
        "--target lacks sequence 'chr1'": {"target": (folder / "other.fa",)},
        "--target has 3,000 bp of 'chr1'": {"target": (folder / "short.fa",)},
        "is no bundle": {"untrained": folder},
    }


def test_a_wrong_evaluation_is_told_before_anything_is_written(bundle, search, tmp_path):
    before = {path.name for path in search.truth.parent.iterdir()}
    for said, change in wrong_evaluations(search, tmp_path).items():
        out = tmp_path / "hits"
        with pytest.raises(ValueError, match=said):
            retrieve_files(bundle, out, replace(search, **change), RetrievalConfig(resamples=20, permutations=2))
        assert not out.exists(), said
    assert {path.name for path in search.truth.parent.iterdir()} == before


def annotated(folder, search):
    """The target as an annotated genome of its own: a gene with a CDS, one without, on both strands."""
    lines = ["chr1\tx\tgene\t3001\t3400\t.\t-\t.\tID=a", "chr1\tx\tgene\t4501\t4900\t.\t+\t.\tID=b"]
    lines.append("chr1\tx\tCDS\t3101\t3300\t.\t-\t0\tParent=a")
    (folder / "genes.gff3").write_text("\n".join(lines) + "\n")
    return ("--genome", search.target[0], "--annotation", folder / "genes.gff3", "--vectors", search.vectors)


def command(bundle, *options):
    return CliRunner().invoke(commands, ["retrieve", str(bundle), *map(str, options)], catch_exceptions=True)


def test_parts_of_genes_are_searched_from_the_command_line_and_what_is_left_out_is_said(bundle, search, tmp_path):
    genes, out = annotated(tmp_path, search), tmp_path / "hits"
    told = command(bundle, *genes, "--part", "cds", "--top-k", 1, "--out", out)
    assert "1 genes have no CDS and were left out, b first" in told.output
    (hit,) = read_tsv(out / "hits.tsv")
    assert (hit["query_id"], hit["query_length_bp"]) == ("a", "200")
    short = ("--part", "promoter", "--upstream-bp", 300, "--downstream-bp", 60, "--set", "max_query_tokens=60")
    told = command(bundle, *genes, *short, "--top-k", 1, "--out", out)
    assert "2 queries were trimmed at their end to retrieval.max_query_tokens, a first (180 of 360 bp" in told.output
    assert [hit["query_length_bp"] for hit in read_tsv(out / "hits.tsv")] == ["360", "360"]


def test_a_part_of_queries_from_fasta_is_refused(bundle, search, tmp_path):
    told = command(
        bundle, "--queries", search.queries, "--vectors", search.vectors, "--out", tmp_path / "o", "--part", "cds"
    )
    assert told.exit_code == 1 and "do not go with --queries" in str(told.exception)
    assert not (tmp_path / "o").exists()


def test_hits_are_scanned_finely_where_asked_for(bundle, search, tmp_path):
    asked, out = ("--queries", search.queries, "--vectors", search.vectors, "--out", tmp_path / "o"), tmp_path / "o"
    for wrong, said in (
        (("--target", search.target[0]), "give --truth or --localize too"),
        (("--localize", 2), "--localize needs --target"),
        (
            ("--localize", 2, "--target", search.target[0], "--set", "scan_window_bp=121"),
            "wider than the target's windows",
        ),
    ):
        assert said in str(command(bundle, *asked, *wrong).exception) and not out.exists()
    told = command(bundle, *asked, "--localize", 2, "--target", search.target[0], "--set", "null_queries=0")
    assert told.exit_code == 0, told.output
    spans, hits = read_tsv(out / "spans.tsv"), read_tsv(out / "hits.tsv")
    assert {(span["query_id"], span["rank"]) for span in spans} >= {(f"q{n}", "1") for n in range(6)}
    tiles = {(h["query_id"], h["target_start"]) for h in hits if int(h["rank"]) <= 2}
    assert all((span["query_id"], span["candidate_start"]) in tiles for span in spans)
    assert len(read_gff3(out / "spans.gff3")) == len(pq.read_table(out / "spans.parquet")) == len(spans)
    assert {hit["p"] for hit in hits} == {""}
    told = command(bundle, *asked, "--set", "null_queries=0")
    assert told.exit_code == 0 and not (out / "spans.tsv").exists()  # those of the earlier search are gone

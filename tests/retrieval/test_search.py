"""Ranks, merging, and queries; a query that is a piece of the target is found there."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from plantgfm.embedding.config import EmbeddingConfig
from plantgfm.embedding.embed import Embedder
from plantgfm.embedding.store import read_vectors, write_vectors
from plantgfm.embedding.tiles import tile_record
from plantgfm.formats.bed import read_bed
from plantgfm.formats.fasta import write_fasta
from plantgfm.formats.gff3 import read_gff3
from plantgfm.formats.tables import read_tsv
from plantgfm.retrieval.config import FitOn, IndexUse, RetrievalConfig
from plantgfm.retrieval.queries import fasta_queries, query_of, within_budget
from plantgfm.retrieval.retrieve import ALL_COLUMNS, retrieve
from plantgfm.retrieval.targets import Targets
from plantgfm.sequence import Interval, reverse_complement
from tests.fixtures import random_codes, record, small_bundle


def test_a_long_query_becomes_windows_and_an_unknown_one_is_refused():
    query = query_of(record("q", random_codes(250)), window_bp=100)
    assert [window.size for window in query.windows] == [100, 100, 100, 100]
    assert [query.span_of(i) for i in range(4)] == [(0, 100), (50, 150), (100, 200), (150, 250)]
    assert all((w == random_codes(250)[a:b]).all() for w, (a, b) in zip(query.windows, map(query.span_of, range(4))))
    with pytest.raises(ValueError, match="query n holds no known base"):
        query_of(record("n", "NNNN"), window_bp=100)


def test_a_query_is_trimmed_to_its_budget_of_tokens_and_says_so():
    query = query_of(record("q", random_codes(240)), window_bp=120)  # three windows, every 60 bp

    def trimmed(max_tokens):
        return within_budget(query, lambda codes: codes.size // 6, max_tokens=max_tokens)

    assert trimmed(60) is query and query.trimmed_bp == 0
    cut = trimmed(59)
    assert [cut.span_of(i) for i in range(len(cut.windows))] == [(0, 120), (60, 180)]
    assert (cut.length_bp, cut.trimmed_bp) == (240, 60)
    assert (len(trimmed(20).windows), trimmed(20).trimmed_bp) == (1, 120)
    with pytest.raises(ValueError, match="first window of query q has 20 tokens, more than .*=19: raise it"):
        trimmed(19)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    bundle = small_bundle(folder / "b")
    embedder = Embedder(bundle, EmbeddingConfig(window_bp=300, stride_bp=150))
    target = record("chr1", random_codes(9000, seed=5))
    tiles = tile_record(target, window_bp=300, stride_bp=150)
    origin = {"bundle": bundle.fingerprint, "settings": {"pooling": "mean", "layer": -1, "strand": "forward"}}
    write_vectors(folder / "v.parquet", embedder.embed_tiles(tiles), width=embedder.width, origin=origin)
    pieces = {"exact": target.codes[3000:3300], "twin": reverse_complement(target.codes[6000:6300])}
    write_fasta(folder / "q.fa", [record(name, codes) for name, codes in pieces.items()])
    return folder, embedder


def test_pieces_of_the_target_are_found_on_their_strand(searched, tmp_path):
    folder, embedder = searched
    queries = fasta_queries(folder / "q.fa", window_bp=300)
    targets = read_vectors(folder / "v.parquet")
    config = RetrievalConfig(top_k=3, null_queries=30)
    found = retrieve(embedder, queries, targets, config=config)
    first = {hit.query: hit for hit in found.hits if hit.rank == 1}
    assert (first["exact"].target.start, first["exact"].strand) == (3000, "+")
    assert (first["twin"].target.start, first["twin"].strand) == (6000, "-")
    assert first["exact"].cosine == pytest.approx(1.0, abs=1e-4) and first["exact"].parts["model"] > 3
    assert first["exact"].query_span == (0, 300) and first["exact"].q >= first["exact"].p == pytest.approx(1 / 31)
    assert all(hit.p > 1 / 31 for hit in found.hits if hit.rank > 1)
    assert all(hit.score == pytest.approx(hit.parts["model"]) and hit.gc is None for hit in found.hits)
    assert found.notes() == ["ranked by the embedding alone; --target adds evidence from the sequences themselves"]
    found.write(tmp_path / "one")
    retrieve(embedder, queries, targets, config=config).write(tmp_path / "two")
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == [
        "best_z.bedgraph",
        "cosines.tsv",
        "hits.bed",
        "hits.gff3",
        "hits.parquet",
        "hits.tsv",
        "retrieval.json",
    ]
    assert json.loads((tmp_path / "one/retrieval.json").read_text())["ranked_by"] == {"model": 1.0}
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    check_tables(tmp_path / "one")


def test_components_of_both_sets_are_those_of_the_real_queries_and_the_manifest_says_so(searched):
    folder, embedder = searched
    queries, targets = fasta_queries(folder / "q.fa", window_bp=300), read_vectors(folder / "v.parquet")
    alone, beside, default = (
        retrieve(embedder, queries, targets, config=RetrievalConfig(top_k=1, null_queries=n, fit_on=fit_on))
        for n, fit_on in ((0, FitOn.BOTH), (4, FitOn.BOTH), (4, FitOn.TARGETS))
    )
    np.testing.assert_allclose(alone.embedding.debias.mean, beside.embedding.debias.mean, atol=1e-6)
    assert np.abs(alone.embedding.debias.mean - default.embedding.debias.mean).max() > 1e-4
    assert beside.manifest()["debias_fitted_on"] == {"target_windows": 59, "query_windows": 2}
    assert default.manifest()["debias_fitted_on"] == {"target_windows": 59, "query_windows": 0}
    assert beside.manifest()["settings"]["fit_on"] == "both"


def test_an_index_ranks_as_exact_search_does_says_so_and_writes_the_same_twice(searched, tmp_path):
    pytest.importorskip("faiss", reason="faiss is an extra (index)")
    folder, embedder = searched
    queries, targets = fasta_queries(folder / "q.fa", window_bp=300), Targets.open(folder / "v.parquet")
    config = RetrievalConfig(top_k=3, null_queries=6, index=IndexUse.APPROXIMATE, index_recall=1.0)
    exact = retrieve(embedder, queries, targets, config=replace(config, index=IndexUse.EXACT))
    for name in ("one", "two"):
        retrieve(embedder, queries, targets, config=config).write(tmp_path / name)
    exact.write(tmp_path / "exact")
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    ours, theirs = (read_tsv(tmp_path / name / "hits.tsv") for name in ("one", "exact"))
    assert [row["target_span"] for row in ours] == [row["target_span"] for row in theirs] and len(ours) == 6
    for one, other in zip(ours, theirs):
        for name in ("score", "cosine", "z", "p", "q"):
            assert float(one[name]) == pytest.approx(float(other[name]), abs=2e-4)
    assert (tmp_path / "one/cosines.tsv").read_text() == (tmp_path / "exact/cosines.tsv").read_text()
    told, known = (
        json.loads((tmp_path / name / "retrieval.json").read_text())["levels"][0]["search"] for name in ("one", "exact")
    )
    assert told["index"] == "approximate" and told["recall"] == 1.0 and told["recall_measured_on_queries"] == 1
    assert known == {"index": "exact"} and not [note for note in exact.notes() if "index" in note]


def check_tables(out):
    """Two queries with three hits each, told alike by every file."""
    cosines = read_tsv(out / "cosines.tsv")
    before, after = (sum(int(row[name]) for row in cosines) for name in ("before", "after"))
    assert before == after == 2 * 59 and len(cosines) == 100  # two queries, 59 windows
    assert int(cosines[-1]["after"]) >= 2 and cosines[0]["from"] == "-1.0"  # each finds itself, at 1
    rows, parquet = read_tsv(out / "hits.tsv"), pq.read_table(out / "hits.parquet").to_pylist()
    assert len(rows) == len(parquet) == 6 and list(rows[0]) == list(ALL_COLUMNS) == list(parquet[0])
    best = next(row for row in rows if row["query_id"] == "twin" and row["rank"] == "1")
    assert (best["query_span"], best["target_span"], best["strand"]) == ("0-300", "6000-6300", "-")
    where = Interval("chr1", 6000, 6300, "-")
    assert [row.score for row in read_bed(out / "hits.bed") if (row.name, row.interval) == ("twin", where)] == [1000.0]
    (feature,) = [f for f in read_gff3(out / "hits.gff3") if f.attributes["ID"] == ("twin:1",)]
    assert feature.interval == where and feature.attributes["p"] == (f"{float(best['p']):.6f}",)
    assert json.loads((out / "retrieval.json").read_text())["settings"]["null_queries"] == 30


def test_vectors_of_another_model_or_pooling_are_refused(searched, tmp_path):
    folder, embedder = searched
    targets, queries = read_vectors(folder / "v.parquet"), fasta_queries(folder / "q.fa", window_bp=300)
    other = Embedder(small_bundle(tmp_path / "other", seed=9), EmbeddingConfig())
    with pytest.raises(ValueError, match="made by bundle"):
        retrieve(other, queries, targets, config=RetrievalConfig())
    layer = Embedder(embedder.encoder, EmbeddingConfig(layer=1))
    with pytest.raises(ValueError, match="layer=-1, the queries 1"):
        retrieve(layer, queries, targets, config=RetrievalConfig())
    both = replace(targets, origin={**targets.origin, "settings": {**targets.origin["settings"], "strand": "both"}})
    with pytest.raises(ValueError, match="strand='both': embed the target with --strand forward"):
        retrieve(embedder, queries, both, config=RetrievalConfig())
    with pytest.raises(ValueError, match="query long has 9,001 bp, the target 9,000"):
        retrieve(
            embedder, [query_of(record("long", random_codes(9001)), window_bp=300)], targets, config=RetrievalConfig()
        )
    with pytest.raises(ValueError, match="there is no query"):
        retrieve(embedder, [], targets, config=RetrievalConfig())

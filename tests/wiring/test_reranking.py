"""A reranker from files: trained on hits, used on another target, refused on what it saw."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from plantgfm.cli import commands
from plantgfm.embedding.config import EmbeddingConfig
from plantgfm.formats.fasta import write_fasta
from plantgfm.formats.tables import read_tsv
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.wiring.downstream import embed_files
from plantgfm.wiring.retrieval import RetrievalInputs, retrieve_files
from tests.fixtures import random_codes, record
from tests.wiring.conftest import report_of


@pytest.fixture(scope="module")
def many(bundle, search, tmp_path_factory):
    """Hits of thirty pieces of another target, with their truth: what a reranker is trained on."""
    folder = tmp_path_factory.mktemp("many")
    target = random_codes(9_000, seed=11)
    write_fasta(folder / "target.fa", [record("chrA", target)])
    config = EmbeddingConfig(window_bp=120, batch_windows=4)
    embed_files(bundle, folder / "v.parquet", fasta=folder / "target.fa", manifest=None, config=config)
    rng, pieces, rows = np.random.default_rng(0), [], ["query\tchr\tstart\tend"]
    for number in range(30):
        start = 290 * number
        piece = target[start : start + 150].copy()
        hit = rng.random(150) < (0.05 if number % 2 else 0.6)
        piece[hit] = rng.integers(0, 4, int(hit.sum()))
        pieces.append(record(f"p{number}", piece))
        rows.append(f"p{number}\tchrA\t{start}\t{start + 150}")
    write_fasta(folder / "q.fa", pieces)
    (folder / "truth.tsv").write_text("\n".join(rows) + "\n")
    inputs = RetrievalInputs(vectors=folder / "v.parquet", queries=folder / "q.fa", target=(folder / "target.fa",))
    retrieve_files(bundle, folder / "hits", inputs, RetrievalConfig(null_queries=0, top_k=5))
    return folder


def train(*options):
    return CliRunner().invoke(commands, ["train-reranker", *map(str, options)])


def test_a_reranker_is_trained_used_elsewhere_and_refuses_what_it_saw(bundle, search, many, tmp_path):
    out = tmp_path / "r.json"
    told = train(many / "hits", "--species", "Fictus minor", "--truth", many / "truth.tsv", "--out", out)
    assert told.exit_code == 0, told.output
    assert "Reliability" in told.output and "seen: Fictus minor (1 sequences)" in told.output
    assert json.loads(out.read_text())["vectors"] == {"layer": -1, "part_bp": 0, "pooling": "mean"}
    config = RetrievalConfig(null_queries=0, resamples=20, permutations=2)
    inputs = replace(search, untrained=None, reranker=out, target_species="Fictus primus")
    outcome = retrieve_files(bundle, tmp_path / "o", inputs, config)
    assert [one.method for one in outcome.evaluation.methods][:2] == ["reranked", "fused"]
    hits = read_tsv(tmp_path / "o/hits.tsv")
    for name in {hit["query_id"] for hit in hits}:
        own = [float(hit["probability"]) for hit in hits if hit["query_id"] == name]
        assert own == sorted(own, reverse=True) and own[0] > 0.5 > own[-1]
    assert "Reliability of the reranker on this target" in report_of(tmp_path / "o", tmp_path / "r.html")
    assert sorted({int(hit["searched_rank"]) for hit in hits}) == sorted({int(hit["rank"]) for hit in hits})
    again = replace(inputs, vectors=many / "v.parquet", target=(many / "target.fa",), truth=None)
    for species, said in (("Fictus minor", "trained on Fictus minor, chrA"), ("Fictus other", "the very file")):
        with pytest.raises(ValueError, match=said):
            retrieve_files(bundle, tmp_path / "n", replace(again, target_species=species), config)
    assert not (tmp_path / "n").exists()
    told = train(tmp_path / "o", "--species", "F p", "--truth", search.truth, "--out", tmp_path / "x.json")
    assert "were reranked" in str(told.exception) and not (tmp_path / "x.json").exists()


def test_a_reranker_remembers_the_projection_of_its_hits(many, tmp_path):
    shutil.copytree(many / "hits", tmp_path / "hits")
    manifest = json.loads((many / "hits/retrieval.json").read_text())
    (tmp_path / "hits/retrieval.json").write_text(json.dumps({**manifest, "projected_by": "ab"}))
    told = train(tmp_path / "hits", "--species", "F m", "--truth", many / "truth.tsv", "--out", tmp_path / "r.json")
    assert told.exit_code == 0 and json.loads((tmp_path / "r.json").read_text())["projected_by"] == "ab"
    both = (tmp_path / "hits", many / "hits", *(("--species", "F m", "--truth", many / "truth.tsv") * 2))
    assert "ranked by different sources" in str(train(*both, "--out", tmp_path / "x.json").exception)
    target = manifest["target"] | {"settings": manifest["target"]["settings"] | {"part_bp": 96}}
    (tmp_path / "hits/retrieval.json").write_text(json.dumps({**manifest, "target": target}))
    assert "are of different vectors" in str(train(*both, "--out", tmp_path / "x.json").exception)


def test_folders_and_labels_that_do_not_belong_together_are_refused(search, many, tmp_path):
    out = ("--out", tmp_path / "r.json")
    for options, said in (
        (
            (many / "hits", "--species", "a b", "--species", "c d", "--truth", many / "truth.tsv"),
            "1 folders, 2 --species",
        ),
        ((many / "hits", "--species", "a b", "--truth", search.truth), "no query of the hits in A b has a label"),
        ((tmp_path, "--species", "a b", "--truth", many / "truth.tsv"), "holds no retrieval.json: give a folder"),
        ((many / "hits", "--species", "a b", "--truth", many / "truth.tsv", "--within-bp", -1), "is negative"),
    ):
        assert said in str(train(*options, *out).exception)
    with pytest.raises(ValueError, match="--reranker and --target-species go together"):
        replace(search, reranker=tmp_path / "r.json")
    assert not list(tmp_path.iterdir())

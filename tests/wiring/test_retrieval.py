"""Retrieval from files: what is ranked, evaluated, refused, and that labels reach the evaluation alone."""

import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from plantgfm.cli import commands
from plantgfm.embedding.config import EmbeddingConfig, Pooling, Storage
from plantgfm.formats.fasta import write_fasta
from plantgfm.formats.gff3 import read_gff3
from plantgfm.formats.tables import read_tsv
from plantgfm.retrieval import tools
from plantgfm.retrieval.config import IndexUse, RankBy, RetrievalConfig
from plantgfm.retrieval.evaluate import RetrievalEvaluation
from plantgfm.retrieval.projection import kept_settings
from plantgfm.retrieval.retrieve import ALIGNED_COLUMNS, ALL_COLUMNS
from plantgfm.wiring import retrieval as module
from plantgfm.wiring.downstream import embed_files
from plantgfm.wiring.retrieval import RetrievalInputs, retrieve_files
from plantgfm.wiring.tables import place_tables, retrieval_table
from tests.fixtures import random_codes, record
from tests.wiring.conftest import report_of


def ranks_of(outcome, method):
    found = outcome.evaluation
    (one,) = [one for one in found.methods if one.method == method]
    return found.ranks[method].tolist(), one.mean_reciprocal_rank


@pytest.fixture(scope="module")
def evaluated(bundle, search, tmp_path_factory):
    """Both ways of debiasing, and the folders that they wrote."""
    folder, config = tmp_path_factory.mktemp("evaluated"), RetrievalConfig(null_queries=5, resamples=20, permutations=2)
    whitened = retrieve_files(bundle, folder / "whitened", search, replace(config, localize_hits=3))
    raw = retrieve_files(bundle, folder / "raw", search, replace(config, whiten=False))
    return folder, whitened, raw


def test_whitened_figures_stand_beside_those_of_all_but_the_top(evaluated):
    _, whitened, raw = evaluated
    names = {one.method for one in whitened.evaluation.methods}
    assert {"model", "model, not whitened", "untrained model", "untrained model, not whitened"} <= names
    assert not [one.method for one in raw.evaluation.methods if "whitened" in one.method]
    for method in ("model", "untrained model"):
        assert ranks_of(whitened, f"{method}, not whitened") == ranks_of(raw, method)
    assert whitened.found.search.rankings["model"].scores[0][0] != raw.found.search.rankings["model"].scores[0][0]


def test_all_methods_stand_in_one_table_and_the_sum_is_ranked_by(evaluated):
    folder, whitened, _ = evaluated
    methods = [one.method for one in whitened.evaluation.methods]
    assert methods[:5] == ["fused", "model", "6-mer cosine", "weighted 11-mers", "alignments"]
    assert {"11-mer containment", "11-mers by rarity", "alignments in full"} <= set(methods)
    assert {"GC content", "4-mer cosine", "chance", "chance, closed form"} <= set(methods)
    assert ranks_of(whitened, "fused") == ([[1] * 6], 1.0)  # nine bases of ten are those of the place
    assert RetrievalEvaluation.read(folder / "whitened/evaluation.json").methods == whitened.evaluation.methods
    hits = read_tsv(folder / "whitened/hits.tsv")
    assert all(float(hit["score"]) > 3 and hit["strand"] == "+" for hit in hits if hit["rank"] == "1")
    parts = [[float(hit[name]) for hit in hits] for name in ("z", "z_6mers", "z_11mers", "z_alignments")]
    total = np.array([0.2, 0.2, 2, 2]) @ np.array(parts) / np.sqrt(8.08)
    np.testing.assert_allclose(total, [float(hit["score"]) for hit in hits], atol=2e-3)
    first = [hit for hit in hits if hit["query_id"] == "q0"]
    assert float(first[0]["margin"]) == pytest.approx(float(first[0]["score"]) - float(first[1]["score"]), abs=2e-3)
    assert {hit["strands_agree"] for hit in hits} <= {"", "0", "1"} and float(first[0]["gc"]) > 0


def test_vectors_of_a_zarr_group_in_int8_find_the_same(bundle, search, evaluated, tmp_path):
    pytest.importorskip("zarr", reason="Zarr is an extra")
    config = EmbeddingConfig(window_bp=120, batch_windows=4, storage=Storage.INT8)
    embed_files(bundle, tmp_path / "v.zarr", fasta=search.target[0], manifest=None, config=config)
    inputs = replace(search, vectors=tmp_path / "v.zarr", untrained=None)
    ours = RetrievalConfig(null_queries=5, resamples=20, permutations=2)
    found = retrieve_files(bundle, tmp_path / "hits", inputs, ours)
    expected = {one["query_id"]: one for one in read_tsv(evaluated[0] / "whitened/hits.tsv") if one["rank"] == "1"}
    hits = [one for one in read_tsv(tmp_path / "hits/hits.tsv") if one["rank"] == "1"]
    assert len(hits) == 6 and ranks_of(found, "fused") == ([[1] * 6], 1.0)
    for one in hits:
        assert one["target_start"] == expected[one["query_id"]]["target_start"]
        assert 0 < abs(float(one["cosine"]) - float(expected[one["query_id"]]["cosine"])) < 0.05


def test_distances_are_told_at_both_levels_beside_their_nulls(evaluated):
    folder, whitened, _ = evaluated
    rows = read_tsv(folder / "whitened/distances.tsv")
    assert {row["level"] for row in rows} == {"windows", "spans"}
    best = [row for row in rows if row["level"] == "spans" and row["rank"] == "1"]
    assert len(best) == 6 and all(row["gap_bp"] == "0" and int(row["tss_distance_bp"]) < 200 for row in best)
    within = {(a.level, a.of, a.tolerance_bp): a.share for a in whitened.places.accuracies if a.measure == "gap"}
    assert within["spans", "queries", 0] == within["windows", "queries", 0] == 1.0 > within["windows", "rows", 0]
    nulls = [row["null"] for row in whitened.places.nulls]
    assert nulls[:2] == ["uniform windows, closed form", "uniform windows"] and len(nulls) == 5
    note = place_tables(whitened.places)[-1].note
    assert "the nearest of 45 random points on 6,000 bp it is 65 bp on average, 46 in the median" in note


def test_all_figures_are_drawn_again_from_the_tables(evaluated, tmp_path):
    folder, _, _ = evaluated
    copy = shutil.copytree(folder / "whitened", tmp_path / "moved")  # nothing but its own files is read
    html = report_of(copy, tmp_path / "r.html")
    assert html == report_of(copy, tmp_path / "again.html")
    captions = re.findall(r"<figcaption>([^<:]*)", html)
    assert captions == [
        "Retrieval ranks",
        "Accuracy against tolerance",
        "Distance distribution",
        "Distance distribution",
        "Recall against divergence",
        "Cosine distribution over all queries and windows, before and after debiasing",
        "Top-K curves",
        "Fine scan",
        "Genome track",
    ]
    assert "model finds more than 11-mer containment at identities of 0.89" in html
    assert html.index("of single sources") < html.index("recall@1")
    for name in ("evaluation.json", "places.json", "distances.tsv", "divergence.tsv", "spans.tsv", "scan.tsv"):
        (copy / name).unlink()
    bare = re.findall(r"<figcaption>([^<:]*)", report_of(copy, tmp_path / "bare.html"))
    assert bare == captions[5:7]


def test_two_runs_give_the_same_bytes(bundle, search, evaluated, tmp_path):
    folder, _, _ = evaluated
    config = RetrievalConfig(null_queries=5, resamples=20, permutations=2, localize_hits=3)
    retrieve_files(bundle, tmp_path / "again", search, config)
    names = sorted(path.name for path in (tmp_path / "again").iterdir())
    assert {"hits.tsv", "spans.tsv", "distances.tsv", "evaluation.json", "places.json"} <= set(names)
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (folder / "whitened" / name).read_bytes(), name


def test_no_label_is_open_while_the_search_runs_and_none_changes_it(bundle, search, tmp_path, monkeypatch):
    """Every file that is opened during the search is seen; the truth is not among them, nor can it be."""
    labels = tmp_path / "other.tsv"
    lines = search.truth.read_text().splitlines()
    rows = [line.split("\t") for line in lines[1:]]
    moved = ["\t".join([name, chrom, "10", "60", strand, known]) for name, chrom, _, _, strand, known in rows]
    labels.write_text("\n".join([lines[0], *moved]) + "\n")
    opened, watching = [], []
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if watching and event == "open" else None)

    def watched(step):
        def run(*args, **kwargs):
            watching.append(1)
            try:
                return step(*args, **kwargs)
            finally:
                watching.clear()

        return run

    monkeypatch.setattr(module, "retrieve", watched(module.retrieve))
    monkeypatch.setattr(module, "localize", watched(module.localize))
    config, hits = RetrievalConfig(null_queries=5, resamples=20, permutations=2, localize_hits=1), []
    for number, truth in enumerate((search.truth, labels, None)):
        inputs = replace(search, truth=truth, untrained=None)
        retrieve_files(bundle, tmp_path / str(number), inputs, config)
        hits.append([(tmp_path / str(number) / name).read_bytes() for name in ("hits.tsv", "spans.tsv")])
    assert str(search.target[0]) in opened  # the hook sees what is read
    assert not {str(search.truth), str(labels)} & set(opened)
    assert hits[0] == hits[1] == hits[2]


def test_no_whiten_on_the_command_line_is_heard(bundle, search, tmp_path):
    told = {}
    for name, option in (("whitened", "--whiten"), ("raw", "--no-whiten")):
        options = (
            "--queries",
            search.queries,
            "--vectors",
            search.vectors,
            "--out",
            tmp_path / name,
            option,
            "--set",
            "null_queries=5",
        )
        result = CliRunner().invoke(commands, ["retrieve", str(bundle), *map(str, options)])
        assert result.exit_code == 0, result.output
        found = retrieve_files(
            bundle,
            tmp_path / f"{name} again",
            RetrievalInputs(vectors=search.vectors, queries=search.queries),
            RetrievalConfig(null_queries=5, whiten=name == "whitened"),
        ).found
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
        ({"queries": here, "target": (here,), "untrained": here}, "--untrained needs --target and --truth"),
        ({"queries": here, "genes": here}, "does not go with --queries"),
        ({"queries": here, "truth_annotation": here}, "--truth-annotation places the genes of --truth"),
    ):
        with pytest.raises(ValueError, match=said):
            RetrievalInputs(vectors=here, **wrong)


def wrong_evaluations(search, folder):
    """Inputs whose evaluation can't be, by what is said of them."""
    lines = search.truth.read_text().splitlines(keepends=True)
    texts = {"few.tsv": "".join(lines[:5]), "bad.tsv": "".join([*lines, "q0\tchr1\t9\tten\t+\t\n"])}
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
            retrieve_files(
                bundle, out, replace(search, **change), RetrievalConfig(null_queries=5, resamples=20, permutations=2)
            )
        assert not out.exists(), said
    assert {path.name for path in search.truth.parent.iterdir()} == before


def test_names_and_folders_that_can_not_be_are_told_before_the_search(bundle, search, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "retrieve", lambda *args, **kwargs: pytest.fail("searched"))
    write_fasta(tmp_path / "odd.fa", [record('"q"', random_codes(200))])
    (tmp_path / "file").write_text("")
    odd = RetrievalInputs(vectors=search.vectors, queries=tmp_path / "odd.fa")
    twice = replace(search, target=search.target * 2)
    for inputs, out, said in (
        (odd, "o", "query '\"q\"' holds a tab or a line break, or begins with a quote"),
        (twice, "o", "--target has sequence 'chr1' twice"),
        (search, "file", "can't be a folder: .*/file is a file"),
    ):
        with pytest.raises(ValueError, match=said):
            retrieve_files(bundle, tmp_path / out, inputs, RetrievalConfig(null_queries=5))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "odd.fa"]


def test_where_the_disk_is_full_the_earlier_tables_stay(bundle, search, tmp_path, monkeypatch):
    (tmp_path / "hits").mkdir()
    for name in ("hits.tsv", "evaluation.json"):
        (tmp_path / "hits" / name).write_text("of an earlier search")
    whole = module.Retrieval.write

    def full(self, folder, **kwargs):
        whole(self, folder, **kwargs)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.Retrieval, "write", full)
    with pytest.raises(OSError, match="No space left"):
        bare = RetrievalInputs(vectors=search.vectors, queries=search.queries)
        retrieve_files(bundle, tmp_path / "hits", bare, RetrievalConfig(null_queries=0))
    assert {path.name: path.read_text() for path in (tmp_path / "hits").iterdir()} == dict.fromkeys(
        ("hits.tsv", "evaluation.json"), "of an earlier search"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["hits"]


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
    told = command(bundle, *genes, "--part", "cds", "--top-k", 1, "--out", out, "--set", "null_queries=5")
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
        (("--target", search.target[0], "--rank-by", "embedding"), "rank_by=embedding asks for none"),
        (("--rank-by", "fused"), "rank_by=fused reads the bases of the target: give --target"),
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


def test_aligners_stand_in_the_table_confirm_hits_and_are_named_where_they_are_absent(
    bundle, search, tmp_path, monkeypatch
):
    """A stub of minimap2 says where query 1 lies; the bands are as wide as the target, so that places are the same."""
    program, folder = tmp_path / "bin" / "minimap2", tmp_path / "bin"
    folder.mkdir()
    line = "q1\\t200\\t0\\t200\\t+\\tt0\\t6000\\t1200\\t1400\\t150\\t200\\t60"
    program.write_text(f'#!/bin/sh\nprintf "{line}\\n"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setattr(tools, "mappy", lambda: None)
    for name in set(tools.TOOLS) - {"minimap2"}:
        monkeypatch.setitem(tools._PROGRAMS, name, f"no-{name}")
    out = tmp_path / "hits"
    config = RetrievalConfig(null_queries=2, confirm_hits=2, confirm_margin_bp=6_000, seed=1)
    outcome = retrieve_files(bundle, out, search, config)
    assert ranks_of(outcome, "minimap2")[0] == [[0, 1, 0, 0, 0, 0]]
    assert outcome.evaluation.absent["tblastx"] == "not on the PATH"
    assert RetrievalEvaluation.read(out / "evaluation.json").absent == outcome.evaluation.absent
    text = retrieval_table(outcome.evaluation).to_text()
    assert "tblastx: not on the PATH" in text and "miniprot: not on the PATH" in text
    rows = [row for row in read_tsv(out / "hits.tsv", required=tuple(ALIGNED_COLUMNS)) if row["query_id"] == "q1"]
    seen = [row["aligned_by"] for row in rows]
    assert seen[:2] == ["minimap2"] * 2 and not any(seen[2:])
    assert rows[0]["identity"] == "0.75" and (rows[0]["aligned_start"], rows[0]["aligned_end"]) == ("1200", "1400")
    with pytest.raises(ValueError, match="--confirm asks an aligner, but retrieval.tools=none"):
        retrieve_files(bundle, tmp_path / "no", search, replace(config, tools="none"))
    assert not (tmp_path / "no").exists()


def test_phases_hubs_and_motifs_are_told_in_the_tables(bundle, search, tmp_path):
    config = RetrievalConfig(null_queries=2, query_phases=2, csls=2, motifs="AuxRE", weight_motifs=0.1)
    inputs = replace(search, truth=None, untrained=None)
    outcome = retrieve_files(bundle, tmp_path / "hits", inputs, config)
    rows = read_tsv(tmp_path / "hits" / "hits.tsv", required=ALL_COLUMNS)
    assert all(row["z_motifs"] and not row["shortlisted"] and not row["aligned_by"] for row in rows)
    assert {row["query_span"] for row in rows} <= {"0-120", "60-180", "120-200"}  # a phase is no window of its own
    hubs = outcome.found.manifest()["hubs"]["by_source"]
    assert set(hubs) == {"fused", "model", "6-mer cosine", "weighted 11-mers", "alignments", "motifs"}
    assert hubs["motifs"] == {"queries_of_largest": 6, "windows": 10, "skewness": hubs["motifs"]["skewness"]}
    assert hubs["motifs"]["skewness"] > hubs["fused"]["skewness"] > 0  # the prior is the same for all queries
    html = report_of(tmp_path / "hits", tmp_path / "r.html")
    assert "hubs of motifs" in html
    for wrong, said in (({"csls": 6}, "csls=6 needs more queries"), ({"shortlist_recall": 0.5}, "needs --reranker")):
        with pytest.raises(ValueError, match=said):
            retrieve_files(bundle, tmp_path / "no", inputs, replace(config, **wrong))
    assert not (tmp_path / "no").exists()


def test_embedding_alone_is_ranked_by_where_that_is_asked_for(bundle, search, evaluated, tmp_path):
    config = RetrievalConfig(null_queries=5, resamples=20, permutations=2, rank_by=RankBy.EMBEDDING)
    outcome = retrieve_files(bundle, tmp_path / "o", replace(search, untrained=None), config)
    methods = [one.method for one in outcome.evaluation.methods]
    assert methods[0] == "model" and "fused" not in methods and "6-mer cosine" in methods
    assert all(hit.score == pytest.approx(hit.parts["model"], abs=1e-3) for hit in outcome.found.hits)
    weighed = replace(config, rank_by=RankBy.FUSED, weight_alignment=0.0, weight_composition=0.0, share_votes=False)
    both = retrieve_files(bundle, tmp_path / "b", replace(search, truth=None, untrained=None), weighed).found
    assert (
        both.search.weights == {"model": 0.2, "weighted 11-mers": 2.0}
        and both.hits[0].score != outcome.found.hits[0].score
    )
    shared, by_rarity = (
        {(hit.query, hit.row): hit.parts for hit in found.hits} for found in (evaluated[1].found, both)
    )
    firsts = [(shared[key], by_rarity[key]) for key in shared.keys() & by_rarity.keys()]
    assert len(firsts) > 6 and all(a["model"] == pytest.approx(b["model"]) for a, b in firsts)
    assert any(abs(a["weighted 11-mers"] - b["weighted 11-mers"]) > 0.1 for a, b in firsts)


def test_vectors_of_tokens_are_no_target_of_a_search(bundle, search, tmp_path):
    config = EmbeddingConfig(window_bp=120, pooling=Pooling.TOKEN)
    embed_files(bundle, tmp_path / "t.parquet", fasta=search.target[0], manifest=None, config=config)
    with pytest.raises(ValueError, match="pooling=token gives several vectors"):
        retrieve_files(bundle, tmp_path / "hits", replace(search, vectors=tmp_path / "t.parquet"), RetrievalConfig())


def test_windows_with_parts_are_matched_part_by_part_and_refused_elsewhere(bundle, search, tmp_path):
    config = EmbeddingConfig(window_bp=120, batch_windows=4, part_bp=48)
    embed_files(bundle, tmp_path / "v.parquet", fasta=search.target[0], manifest=None, config=config)
    inputs = replace(search, vectors=tmp_path / "v.parquet")
    ours = RetrievalConfig(null_queries=2, resamples=20, permutations=2, localize_hits=1)
    outcome = retrieve_files(bundle, tmp_path / "hits", inputs, ours)
    queries = outcome.found.embedding.queries
    assert (queries.parts, queries.phases) == (4, 6)
    methods = {one.method for one in outcome.evaluation.methods}
    assert {"model", "untrained model"} <= methods and not [name for name in methods if "not whitened" in name]
    (_, parted), (_, chance) = (ranks_of(outcome, name) for name in ("model", "chance"))
    assert parted > 2 * chance and ranks_of(outcome, "fused") == ([[1] * 6], 1.0)
    assert {span.where.strand for span in outcome.spans} == {"+"} and len(outcome.spans) == 6
    assert outcome.found.manifest()["target"]["settings"]["part_bp"] == 48
    with pytest.raises(ValueError, match="retrieval.csls=2 is of cosines of whole windows"):
        retrieve_files(bundle, tmp_path / "hubs", inputs, replace(ours, csls=2))
    with pytest.raises(ValueError, match="index=APPROXIMATE is of one vector a window, the target has part_bp=48"):
        alone = replace(ours, rank_by=RankBy.EMBEDDING, localize_hits=0, index=IndexUse.APPROXIMATE)
        retrieve_files(bundle, tmp_path / "index", replace(inputs, untrained=None, truth=None, target=()), alone)
    with pytest.raises(ValueError, match="a projection is of one vector a window, these vectors have part_bp=48"):
        kept_settings(outcome.found.targets.origin["settings"])
    embedder = module.Embedder(module.open_encoder(bundle), EmbeddingConfig(window_bp=120))
    with pytest.raises(ValueError, match="have part_bp=48, the queries 0"):
        module.retrieve(embedder, outcome.found.queries, outcome.found.targets, config=ours)

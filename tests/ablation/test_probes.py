"""Probes of a small model on a small corpus: planted signals are found, nulls are not, scored labels are not seen."""

from dataclasses import replace

import numpy as np
import pytest

from plantgfm.ablation.annotation import Annotation
from plantgfm.ablation.config import ProbeConfig
from plantgfm.ablation.probe_data import Part
from plantgfm.ablation.probe_report import summary_table, write_probes
from plantgfm.ablation.probe_search import SearchInputs, open_hunt
from plantgfm.ablation.probes import MODEL, UNTRAINED, Prober, Sources, Subject, fitted
from plantgfm.embedding.config import EmbeddingConfig
from plantgfm.embedding.embed import Embedder
from plantgfm.embedding.encoders import BundleEncoder
from plantgfm.formats.fasta import write_fasta
from plantgfm.schema import Assembly, Compartment
from tests.ablation.test_probe_data import write_tasks
from tests.evaluation.conftest import LENGTH_BP, SPECIES, config, corpus, sampler  # noqa: F401
from tests.fixtures import lively_bundle

CONFIG = ProbeConfig(windows=60, tile_bp=126, class_tiles=30, task_rows=60, target_bp=10_000, queries=8, resamples=100)


def write_genes(folder):
    """A gene of two coding parts every 2 kb."""
    lines = []
    for at in range(0, LENGTH_BP - 2000, 2000):
        for kind, start, end, more in (
            ("gene", 401, 1600, f"ID=g{at}"), ("mRNA", 401, 1600, f"ID=t{at};Parent=g{at}"),
            ("CDS", 451, 800, f"Parent=t{at}"), ("CDS", 1201, 1550, f"Parent=t{at}"),
        ):  # fmt: skip
            lines.append(f"chr1\tx\t{kind}\t{at + start}\t{at + end}\t.\t+\t{0 if kind == 'CDS' else '.'}\t{more}\n")
    (folder / "genes.gff3").write_text("".join(lines))
    files = {"fasta": folder / "genome.fa", "annotation": folder / "genes.gff3"}
    return [Assembly(name, "", "v1", Compartment.NUCLEAR, **files) for name in SPECIES]


def write_search(folder):
    """Queries that are pieces of a random target, with every thirtieth base changed."""
    generator = np.random.default_rng(3)
    target, records, rows = generator.integers(0, 4, 12_000).astype(np.uint8), [], ["query\tchr\tstart\tend"]
    for at in range(0, 11_000, 1_100):
        piece = target[at : at + 300].copy()
        piece[::30] = (piece[::30] + 1) % 4
        records.append((f"q{at}", piece))
        rows.append(f"q{at}\tt1\t{at}\t{at + 300}")
    write_fasta(folder / "q.fa", records)
    write_fasta(folder / "t.fa", [("t1", target)])
    (folder / "truth.tsv").write_text("\n".join(rows) + "\n")
    return SearchInputs(folder / "q.fa", folder / "truth.tsv", folder / "t.fa")


@pytest.fixture(scope="module")
def probed(tmp_path_factory, corpus, sampler, config):  # noqa: F811
    """(prober, probes by name, encoder) of a random model that is its own untrained model, too."""
    folder = tmp_path_factory.mktemp("probes")
    sources = Sources(
        corpus=corpus,
        sampler=sampler,
        evaluation=config,
        annotation=Annotation(write_genes(folder)),
        search=write_search(folder),
        tasks=write_tasks(folder / "tasks"),
    )
    encoder = BundleEncoder(lively_bundle(folder / "bundle"))
    told = []
    prober = Prober(sources, CONFIG, window_bp=sampler.window_bp, progress=lambda *said: told.append(said))
    twin = encoder.with_params(encoder.bundle.params)
    found = {one["name"]: one for one in prober.probe(Subject("random", encoder, twin))}
    assert told[-1][1] == told[-1][2]
    return prober, found, encoder


def values(one, score=None):
    return {row["predictor"]: row["value"] for row in one["rows"] if row["score"] == (score or one["score"])}


def test_what_there_is_is_probed_and_what_is_not_says_why(probed):
    prober, found, _ = probed
    bits = {f"bits per base, {where}" for where in ("inside genes", "up to 1 kb")}
    tasks = {"promoter strength", "6mA, fictus"}
    assert set(found) == {"species", "repeat share", "gene class", "retrieval"} | tasks | bits
    assert (
        prober.skipped["repeat class"] == "no annotation"
        and "holds no table" in prober.skipped["promoter strength, leaf"]
    )
    assert found["gene class"]["classes"] == ["intergenic", "intron", "coding"]


def test_composition_tells_species_and_no_more_than_chance_the_rest(probed):
    _, found, _ = probed
    species = values(found["species"])
    assert species["4-mer ridge"] > 0.6 and species["majority"] == pytest.approx(1 / 3)
    assert set(values(found["species"], "macro F1")) == set(species)
    for name, chance in (
        ("repeat share", 0.0),
        ("promoter strength", 0.0),
        ("6mA, fictus", 0.5),
        ("gene class", 1 / 3),
    ):
        row = next(row for row in found[name]["rows"] if row["predictor"] == "4-mer ridge")
        assert row["low"] - 0.1 < chance < row["high"] + 0.1 and row["low"] < row["high"], name
    assert values(found["repeat share"])["mean"] == 0.0 and values(found["6mA, fictus"])["majority"] == 0.5


def test_the_model_is_read_by_its_mean_pooled_vectors(probed, sampler):  # noqa: F811
    prober, found, encoder = probed
    species, test = prober.labelled[0], prober.labelled[0].part == Part.TEST
    vectors = Embedder(encoder, EmbeddingConfig(window_bp=sampler.window_bp)).embed(species.pool.sequences)
    said = fitted(species, vectors[species.rows])[test].argmax(axis=1)
    assert found["species"]["items"]["said"] == said.tolist()
    assert found["species"]["items"]["truth"] == species.labels[test].tolist()


def test_the_same_parameters_score_the_same_and_differences_are_of_the_model(probed):
    _, found, _ = probed
    for one in found.values():
        rows = {(row["score"], row["predictor"]): row for row in one["rows"]}
        for (score, predictor), row in rows.items():
            if predictor == UNTRAINED:
                assert row["model_minus"] == row["minus_low"] == row["minus_high"] == 0.0
            elif predictor != MODEL:
                assert row["model_minus"] == pytest.approx(rows[score, MODEL]["value"] - row["value"])


def test_retrieval_finds_pieces_by_their_k_mers_and_not_by_chance(probed):
    _, found, _ = probed
    said = values(found["retrieval"])
    assert said["6-mer cosine"] > 0.9 and said["chance"] < 0.4 and 0 < said[MODEL] <= 1
    assert set(said) == set(values(found["retrieval"], "recall@10")) and "8 queries" in found["retrieval"]["note"]


def test_bits_by_distance_are_sums_over_the_hidden_bases_of_regions(probed):
    prober, found, _ = probed
    held_out, _ = next(iter(prober._hidden.values()))
    parts = [found[name] for name in found if name.startswith("bits per base")]
    assert sum(sum(one["items"]["truth"]) for one in parts) == held_out.positions.bp.sum()  # genes are 800 bp apart
    for one in parts:
        assert one["less_is_better"]
        assert values(one)[MODEL] == pytest.approx(sum(one["items"]["said"]) / sum(one["items"]["truth"]), rel=1e-5)
        assert 1.8 < values(one)["token frequencies of the species"] < 2.2


def test_labels_of_scored_rows_reach_no_probe(probed):
    prober, *_ = probed
    for one in prober.labelled:
        features = one.pool.gc[one.rows]
        hidden = replace(one, labels=np.where(one.part == Part.TEST, one.labels[one.part == Part.FIT][0], one.labels))
        np.testing.assert_array_equal(fitted(one, features), fitted(hidden, features))


def test_probes_are_written_with_a_report_that_names_what_is_left_out(probed, tmp_path):
    prober, found, _ = probed
    stored = {
        "model": "m", "seconds": 1.0, "hardware": "h", "commit": "c", "probes": list(found.values()),
        "left_out": prober.skipped,
    }  # fmt: skip
    paths = write_probes(stored, tmp_path / "out")
    text = paths[2].read_text()
    assert "## Species" in text and "Classes: Alpha una" in text and "repeat class | no annotation" in text
    assert [path.name for path in paths] == ["probes.json", "report.html", "report.md"]
    table = summary_table(stored).to_text()
    assert "4-mer ridge" in table and "6-mer cosine" in table


def test_queries_need_their_files_and_places(tmp_path):
    search = write_search(tmp_path)
    with pytest.raises(ValueError, match="--queries, --truth and --target go together"):
        SearchInputs(queries=tmp_path / "q.fa")
    with pytest.raises(ValueError, match="no queries were given, and the corpus is no simulated world"):
        open_hunt(SearchInputs(), window_bp=378, config=CONFIG)
    with pytest.raises(ValueError, match="orthologs.tsv is not there"):
        open_hunt(SearchInputs(world=tmp_path), window_bp=378, config=CONFIG)
    (tmp_path / "truth.tsv").write_text("query\tchr\tstart\tend\nq0\tt1\t0\t300\n")
    with pytest.raises(ValueError, match="1 queries have a place in the first 10,000 bp"):
        open_hunt(search, window_bp=378, config=CONFIG)


def test_nothing_to_probe_is_an_error():
    with pytest.raises(ValueError, match="nothing can be probed: .*species: no held-out windows: give --run"):
        Prober(Sources(), CONFIG, window_bp=378)

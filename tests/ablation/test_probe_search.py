"""What is searched for: a world's own orthologs, the first part of a target, and models without held-out windows."""

import numpy as np
import pytest

from plantgfm.ablation.config import ProbeConfig
from plantgfm.ablation.probe_run import ProbeInputs, probe_model
from plantgfm.ablation.probe_search import SearchInputs, open_hunt, reciprocal_ranks
from plantgfm.formats.fasta import write_fasta
from plantgfm.formats.manifest import write_manifest
from plantgfm.schema import Assembly, Compartment
from plantgfm.sequence import reverse_complement
from tests.ablation.test_probe_data import write_tasks
from tests.fixtures import write_small_bundle

CONFIG = ProbeConfig(target_bp=10_000, queries=6, task_rows=60, resamples=100)
COLUMNS = (
    "gene_id", "query_species", "query_chr", "query_start", "query_end", "query_strand",
    "species", "chr", "start", "end", "strand", "identity",
)  # fmt: skip


@pytest.fixture
def world(tmp_path):
    """(folder, genome) of a world with ten genes of one species and one of another; the last two lie far down."""
    generator = np.random.default_rng(0)
    genome, target = (generator.integers(0, 4, 30_000).astype(np.uint8) for _ in range(2))
    assemblies = {}
    for name, species, codes in (("a", "Alpha una", genome), ("b", "Beta dua", genome), ("t", "Tau tria", target)):
        write_fasta(tmp_path / f"{name}.fa", [("chr1", codes)])
        assemblies[name] = Assembly(species, "", "v1", Compartment.NUCLEAR, tmp_path / f"{name}.fa")
    write_manifest(tmp_path / "manifest.csv", [assemblies["a"], assemblies["b"]])
    write_manifest(tmp_path / "held_out.csv", [assemblies["t"]])
    rows = [("b0", "Beta dua", "chr1", 0, 300, "+", "Tau tria", "chr1", 50, 350, "+", 0.9)]
    for at in range(10):
        where = 1_000 * at if at < 8 else 20_000 + at
        strand = "-" if at % 2 else "+"
        rows.append((f"a{at}", "Alpha una", "chr1", 500 * at, 500 * at + 400, strand, "Tau tria", "chr1"))
        rows[-1] += (where, where + 400, "+", 0.9)
    (tmp_path / "truth").mkdir()
    text = "\n".join("\t".join(map(str, row)) for row in (COLUMNS, *rows))
    (tmp_path / "truth" / "orthologs.tsv").write_text(text + "\n")
    return tmp_path, genome


def test_a_world_is_searched_for_the_genes_of_the_species_that_shares_most(world):
    folder, genome = world
    hunt = open_hunt(SearchInputs(world=folder), window_bp=300, config=CONFIG)
    assert [query.name for query in hunt.queries] == [f"a{at}" for at in range(6)]  # no more than asked for
    forward, backward = hunt.asked
    np.testing.assert_array_equal(forward.sequences[0], genome[:300])
    np.testing.assert_array_equal(forward.sequences[1], reverse_complement(genome[500:900])[:300])
    np.testing.assert_array_equal(backward.sequences[1], reverse_complement(forward.sequences[1]))
    assert hunt.target == folder / "t.fa" and "6 queries, 34 windows of 300 bp in 10,200 bp of t.fa" in hunt.note


def test_only_queries_with_their_place_in_the_part_that_is_searched_are_asked(world):
    folder, _ = world
    every = ProbeConfig(target_bp=10_000, queries=50)
    hunt = open_hunt(SearchInputs(world=folder), window_bp=300, config=every)
    assert [query.name for query in hunt.queries] == [f"a{at}" for at in range(8)]
    assert set(hunt.truth.by_query) == {query.name for query in hunt.queries}
    targets = hunt.targets(np.zeros((34, 2), np.float32))
    assert len(targets) == 34 and targets.names == ["chr1"] and int(targets.end.max()) == 10_200


def test_vectors_that_point_at_their_place_rank_it_first_and_others_do_not(world):
    folder, _ = world
    hunt = open_hunt(SearchInputs(world=folder), window_bp=300, config=ProbeConfig(target_bp=10_000, queries=50))
    generator = np.random.default_rng(1)
    windows = generator.normal(size=(34, 12)).astype(np.float32)
    inside = [int(np.flatnonzero([tile.interval.start >= 1_000 * at for tile in hunt.tiles])[0]) for at in range(8)]
    pointing, other = windows[inside], generator.normal(size=(8, 12)).astype(np.float32)
    sides = {"forward": (pointing, other), "backward": (other, pointing), "none": (other, other)}
    ranks = reciprocal_ranks(hunt, {name: (windows, *both) for name, both in sides.items()})
    assert set(ranks) == {"forward", "backward", "none", "6-mer cosine", "4-mer cosine", "GC", "chance"}
    assert (ranks["forward"] == 1).all() and (ranks["backward"] == 1).all()  # queries are read on both strands
    assert (ranks["none"] != 1).any() and ranks["none"].shape == ranks["GC"].shape == (1, 8)
    assert len(ranks["chance"]) > 1  # many shuffled rankings


def test_files_that_are_named_go_before_a_world_and_long_queries_are_cut(world):
    folder, genome = world
    write_fasta(folder / "q.fa", [(f"q{at}", genome[500 * at : 500 * at + 450]) for at in range(6)])
    rows = "".join(f"q{at}\tchr1\t{1_000 * at}\t{1_000 * at + 450}\t+\n" for at in range(6))
    (folder / "places.tsv").write_text("query\tchr\tstart\tend\tstrand\n" + rows)
    files = SearchInputs(folder / "q.fa", folder / "places.tsv", folder / "t.fa", world=folder)
    hunt = open_hunt(files, window_bp=300, config=CONFIG)
    assert [query.name for query in hunt.queries] == [f"q{at}" for at in range(6)]
    np.testing.assert_array_equal(hunt.asked[0].sequences[2], genome[1_000:1_300])  # its first window alone
    with pytest.raises(ValueError, match="4 queries have a place in the first 10,000 bp of .*t.fa: 5 are the least"):
        (folder / "places.tsv").write_text("query\tchr\tstart\tend\tstrand\n" + "".join(rows.splitlines(True)[:4]))
        open_hunt(files, window_bp=300, config=CONFIG)


def test_a_bundle_alone_is_probed_by_tasks_and_says_what_it_can_not_be_probed_by(tmp_path):
    bundle = write_small_bundle(tmp_path / "bundle")
    stored = probe_model(bundle, ProbeInputs(tasks=write_tasks(tmp_path / "tasks")), CONFIG)
    assert [one["name"] for one in stored["probes"]] == ["promoter strength", "6mA, fictus"]
    assert {row["predictor"] for row in stored["probes"][1]["rows"]} == {
        "model", "6-mer ridge", "4-mer ridge", "GC", "majority",
    }  # fmt: skip
    assert "give --run, the run that it is of" in stored["left_out"]["untrained model"]
    assert "no held-out windows: give --run" in stored["left_out"]["species"]
    with pytest.raises(ValueError, match="embedding.layer=9 does not exist"):
        inputs = ProbeInputs(tasks=tmp_path / "tasks")
        probe_model(bundle, inputs, ProbeConfig(task_rows=60, layer=9))

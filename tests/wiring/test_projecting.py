"""A projection from files: trained, used elsewhere, named, refused; no label reaches a search that uses it."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from plantgfm.cli import commands
from plantgfm.embedding.config import EmbeddingConfig
from plantgfm.formats.fasta import write_fasta
from plantgfm.identity import fingerprint
from plantgfm.retrieval.config import IndexUse, RankBy, RetrievalConfig
from plantgfm.retrieval.projection import Projection
from plantgfm.wiring import retrieval as module
from plantgfm.wiring.downstream import embed_files
from plantgfm.wiring.retrieval import RetrievalInputs, retrieve_files
from tests.fixtures import random_codes, record

SEARCH = RetrievalConfig(null_queries=0, resamples=20, permutations=2, top_k=5)
STEPS = ("--rank", "4", "--set", "max_steps=4", "--set", "check_steps=2", "--set", "learning_rate=0.02")
EMBEDDED = EmbeddingConfig(window_bp=120, batch_windows=16)


def plant(folder, name, *, bundle, seed, queries):
    """A species of two sequences with its vectors, noisy pieces of it as queries, and where they come from."""
    target = {f"chr{n}": random_codes(2_500, seed=seed + n) for n in (1, 2)}
    write_fasta(folder / f"{name}.fa", [record(*pair) for pair in target.items()])
    embed_files(bundle, folder / f"{name}.parquet", fasta=folder / f"{name}.fa", manifest=None, config=EMBEDDED)
    rng, pieces, rows = np.random.default_rng(seed), [], ["query\tchr\tstart\tend\tstrand"]
    for number in range(queries):
        on, start = f"chr{1 + number % 2}", 105 * (number // 2)
        piece = target[on][start : start + 120].copy()
        hit = rng.random(120) < 0.3
        piece[hit] = rng.integers(0, 4, int(hit.sum()))
        pieces.append(record(f"{name}{number}", piece))
        rows.append(f"{name}{number}\t{on}\t{start}\t{start + 120}\t+")
    write_fasta(folder / f"{name}_queries.fa", pieces)
    (folder / f"{name}.tsv").write_text("\n".join(rows) + "\n")
    files = {"queries": folder / f"{name}_queries.fa", "truth": folder / f"{name}.tsv"}
    return RetrievalInputs(vectors=folder / f"{name}.parquet", target=(folder / f"{name}.fa",), **files)


@pytest.fixture(scope="module")
def plants(bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plants")
    return {
        name: plant(folder, name, bundle=bundle, seed=seed, queries=queries)
        for name, seed, queries in (("a", 10, 44), ("b", 20, 8))
    }


def train(bundle, inputs, out, *options):
    given = {"--vectors": inputs.vectors, "--queries": inputs.queries, "--truth": inputs.truth, "--out": out}
    given |= {"--target-species": "Fictus minor", "--query-species": "Fictus parvus"}
    told = [*STEPS, *(str(part) for pair in given.items() for part in pair), *map(str, options)]
    return CliRunner().invoke(commands, ["train-projection", str(bundle), *told])


@pytest.fixture(scope="module")
def head(bundle, plants, tmp_path_factory):
    """A file that is no identity, and what the command said."""
    out = tmp_path_factory.mktemp("head") / "head.json"
    told = train(bundle, plants["a"], out, "--hold-out", "chr2")
    assert told.exit_code == 0, (told.output, told.exception)
    found = Projection.read(out)
    moved = np.random.default_rng(0).normal(0, 0.3, np.array(found.up).shape)
    replace(found, up=moved.tolist()).write(out.parent / "moved.json")
    return out, told.output


def used(plants, head, **changes):
    known = {"target_species": "Zea mays", "query_species": "Oryza sativa", **changes}
    return replace(plants["b"], projection=head, **known)


def test_the_command_says_what_it_did(head):
    out, said = head
    found = Projection.read(out)
    assert (
        "22 queries (22 pairs) trained on, 22 held out (chr2)" in said and "seen: Fictus minor, Fictus parvus" in said
    )
    assert [look.step for look in found.curve] == [0, 2, 4] and found.validation.queries == 22
    assert found.seen[0].sequences == ["chr1", "chr2"] and found.seen[1].sequences == []
    assert found.embedding["window_bp"] == 120 and found.correction["whiten"] is True


def test_a_head_changes_the_search_and_no_label_does(bundle, plants, head, tmp_path, monkeypatch):
    """It is named, stands beside none, and as the identity changes nothing; no table of labels is open meanwhile."""
    other, moved, rows = (
        tmp_path / "other.tsv",
        head[0].parent / "moved.json",
        plants["b"].truth.read_text().splitlines(),
    )
    shifted = ["\t".join([row.split("\t")[0], "chr1", "10", "60", "-"]) for row in rows[1:]]
    other.write_text("\n".join([rows[0], *shifted]) + "\n")
    replace(Projection.read(moved), up=np.zeros((4, 32)).tolist()).write(tmp_path / "still.json")
    opened, watching, search = [], [], module.retrieve
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if watching and event == "open" else None)

    def watched(*args, **kwargs):
        watching.append(1)
        try:
            return search(*args, **kwargs)
        finally:
            watching.clear()

    monkeypatch.setattr(module, "retrieve", watched)
    found = {}
    for name, inputs in (
        ("none", plants["b"]),
        ("still", replace(used(plants, tmp_path / "still.json"), truth=None)),
        ("moved", used(plants, moved)),
        ("moved, other labels", used(plants, moved, truth=other)),
    ):
        outcome = retrieve_files(bundle, tmp_path / name, inputs, SEARCH)
        manifest = json.loads((tmp_path / name / "retrieval.json").read_text())
        found[name] = outcome, (tmp_path / name / "hits.tsv").read_bytes(), manifest["projected_by"]
    assert str(plants["b"].target[0]) in opened  # the hook sees what is read
    assert not {str(one) for one in (plants["a"].truth, plants["b"].truth, other)} & set(opened)
    none, still, own, others = (found[name][1] for name in found)
    assert none == still != own == others
    said = fingerprint(Projection.read(moved))
    assert [found[name][2] for name in ("none", "moved")] == [None, said]
    outcome, plain = found["moved"][0], found["none"][0].evaluation.ranks
    assert outcome.evaluation.ranks["model, not projected"].tolist() == plain["model"].tolist()
    assert "model, not projected" in outcome.evaluation.model_differences and "model, not projected" not in plain
    assert f"vectors passed the projection {said}, trained on Fictus minor, Fictus parvus" in outcome.found.notes()


def test_what_it_was_trained_on_and_vectors_of_another_kind_are_refused(bundle, plants, head, tmp_path):
    own = replace(used(plants, head[0]), vectors=plants["a"].vectors, target=plants["a"].target, truth=None)
    made = Projection.read(head[0])
    replace(made, embedding={**made.embedding, "layer": 1}).write(tmp_path / "layer.json")
    replace(made, bundle="0" * 16).write(tmp_path / "foreign.json")
    for inputs, said in (
        (used(plants, head[0], target_species="Fictus minor"), "trained on Fictus minor, chr1, which is searched here"),
        (own, "trained on the very file that is searched here .as Fictus minor"),
        (used(plants, head[0], query_species="fictus parvus"), "Fictus parvus, whose sequences are looked for here"),
        (used(plants, head[0], query_species="Fictus minor"), "Fictus minor, whose sequences are looked for here"),
        (replace(used(plants, head[0]), queries=plants["a"].queries), "the very file that queries come from"),
        (used(plants, tmp_path / "layer.json"), "embedding.layer=1, these have -1"),
        (used(plants, tmp_path / "foreign.json"), "trained on vectors of bundle 0000000000000000, this is bundle"),
    ):
        with pytest.raises(ValueError, match=said):
            retrieve_files(bundle, tmp_path / "n", inputs, SEARCH)
    with pytest.raises(ValueError, match="retrieval.components=1, these have 0"):
        retrieve_files(bundle, tmp_path / "n", used(plants, head[0]), replace(SEARCH, components=0))
    index = replace(SEARCH, index=IndexUse.APPROXIMATE, rank_by=RankBy.EMBEDDING)
    with pytest.raises(ValueError, match="index=APPROXIMATE knows no projection"):
        retrieve_files(bundle, tmp_path / "n", used(plants, head[0]), index)
    assert not (tmp_path / "n").exists()
    for wrong, said in (
        ({"projection": head[0]}, "--projection and --target-species go together"),
        ({"query_species": "Zea mays"}, "--query-species serves --projection"),
    ):
        with pytest.raises(ValueError, match=said):
            replace(plants["b"], **wrong)


def test_a_query_species_that_is_not_named_is_said(bundle, plants, head, tmp_path):
    given = {"--queries": plants["b"].queries, "--vectors": plants["b"].vectors, "--out": tmp_path / "o"}
    given |= {"--projection": head[0], "--target-species": "Zea mays", "--set": "null_queries=0"}
    told = CliRunner().invoke(
        commands, ["retrieve", str(bundle), *(str(part) for pair in given.items() for part in pair)]
    )
    assert told.exit_code == 0 and "only their file was asked for; give --query-species" in told.output


def test_files_that_do_not_belong_together_are_told_and_nothing_is_written(bundle, plants, tmp_path):
    a, out = plants["a"], tmp_path / "p.json"
    for options, said in (
        (("--truth", a.truth), "1 --vectors, 2 --truth: give one for each, in their order"),
        (("--genome", a.target[0]), "give either --queries, or --genome with --annotation"),
        (("--hold-out", "chr7"), "'chr7' is neither one of the species Fictus minor, Fictus parvus nor a sequence"),
        (("--part", "promoter"), "they do not go with --queries"),
        (("--set", "steps=3"), "Key 'steps' not in 'ProjectionConfig'"),
    ):
        assert said in str(train(bundle, a, out, *options).exception)
    wrong = replace(a, truth=plants["b"].truth)
    assert "no query of Fictus parvus has a label in Fictus minor" in str(train(bundle, wrong, out).exception)
    assert "no folder: make it first" in str(train(bundle, a, tmp_path / "none" / "p.json").exception)
    assert "is a folder: name a file in it" in str(train(bundle, a, tmp_path).exception)
    assert not list(tmp_path.iterdir())

"""A corpus that follows another one of the same input says what changed."""

import json
import shutil

import pytest

from plantgfm.corpus.read import open_corpus
from plantgfm.formats.manifest import write_manifest
from plantgfm.wiring.data import prepare_corpus
from plantgfm.wiring.lineage import CHANGES_FILE, changes_table, last_corpus
from tests.curation.planted import random_codes, write_assembly
from tests.curation.small import make_world
from tests.wiring.runs import manifest_config


def prepared(folder, **layout):
    return prepare_corpus(manifest_config(folder, **layout))[0]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A first corpus, and a second one after an assembly came to the manifest."""
    folder = tmp_path_factory.mktemp("lineage")
    rows = make_world(folder)
    write_manifest(folder / "manifest.csv", rows[:1])
    first = prepared(folder)
    write_manifest(folder / "manifest.csv", [rows[0], rows[2]])
    return folder, first, prepared(folder)


def test_the_first_corpus_has_nothing_before_it(world):
    _, first, _ = world
    assert changes_table(first) is None and "previous" not in first.lineage


def test_the_next_corpus_names_the_last_and_what_changed_per_species(world):
    _, first, second = world
    assert second.lineage["previous"] == first.fingerprint
    stated = json.loads((second.path / CHANGES_FILE).read_text())
    assert (stated["before"], stated["after"]) == (first.fingerprint, second.fingerprint)
    table = changes_table(second)
    assert table.title == f"Since corpus {first.fingerprint} of the same input"
    assert [row[:3] for row in table.rows] == [["Tertius tres", 1, 50_000], ["all", 1, 50_000]]
    assert table.note == "unchanged species: 1"


def test_a_corpus_that_is_there_is_not_compared_again(world):
    folder, first, second = world
    before = (second.path / CHANGES_FILE).stat().st_mtime_ns
    assert prepared(folder).fingerprint == second.fingerprint
    assert (second.path / CHANGES_FILE).stat().st_mtime_ns == before


def test_other_splits_of_the_same_bases_are_told(world):
    folder, _, second = world
    third = prepared(folder, seed=3)
    assert third.lineage["previous"] == second.fingerprint
    assert changes_table(third).rows[-1][:7] == ["all", *[0] * 6] and changes_table(third).rows[-1][7] > 0
    shutil.rmtree(third.path)


def test_changes_that_cannot_be_read_are_named_with_the_way_out(world, tmp_path):
    _, _, second = world
    shutil.copytree(second.path, tmp_path / "copy")
    (tmp_path / "copy" / CHANGES_FILE).write_text("{")
    with pytest.raises(ValueError, match=r"copy/changes\.json is no JSON .*; delete it"):
        changes_table(open_corpus(tmp_path / "copy"))


def test_another_input_and_a_damaged_corpus_are_nothing_to_follow(world, tmp_path):
    folder, first, second = world
    corpora = tmp_path / "corpora"
    shutil.copytree(second.path.parent, corpora)
    manifest = second.lineage["manifest"]
    assert last_corpus(corpora, manifest).fingerprint == second.fingerprint
    assert last_corpus(corpora, "other.csv") is None and last_corpus(tmp_path / "absent", manifest) is None
    another_spelling = str(folder / "runs" / ".." / "manifest.csv")
    assert last_corpus(corpora, another_spelling).fingerprint == second.fingerprint
    (corpora / second.path.name / "corpus.json").write_text("{")
    assert last_corpus(corpora, manifest).fingerprint == first.fingerprint


def test_a_manifest_that_comes_beside_the_first_is_a_change_of_the_same_input(tmp_path):
    for stem, seed in (("manifest", 990), ("more", 991)):
        row = write_assembly(tmp_path, stem, [("c", random_codes(20_000, seed))])
        write_manifest(tmp_path / f"{stem}.csv", [row])
    config = manifest_config(tmp_path)
    first, _ = prepare_corpus(config)
    config.corpus.more = [str(tmp_path / "more.csv")]
    second, _ = prepare_corpus(config)
    assert second.lineage["more"] == config.corpus.more and second.lineage["previous"] == first.fingerprint
    assert "more" not in first.lineage and second.bases.size == 2 * first.bases.size

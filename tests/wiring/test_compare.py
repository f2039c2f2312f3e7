"""Two runs or corpora compared in words and as JSON."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from plantgfm.cli import commands
from plantgfm.config import Config
from plantgfm.corpus.config import CorpusConfig
from plantgfm.corpus.write import write_corpus
from plantgfm.wiring.compare import compare_corpora, comparison_tables
from tests.corpus.worlds import accepted, random_bases
from tests.curation.small import make_world
from tests.wiring.runs import LAYOUT, curated_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The later run accepts the short record, lacks an assembly, and draws other splits."""
    folder = tmp_path_factory.mktemp("compare")
    rows = make_world(folder)
    curated_run(folder / "a", rows, folder)
    config = Config()
    config.curation.completeness.min_record_bp = 400
    curated_run(folder / "b", rows[:3], folder, config, layout={"seed": 3})
    return folder / "a", folder / "b"


def tables_of(a, b):
    return {table.title: table for table in comparison_tables(compare_corpora(a, b))}


def test_a_run_compared_with_itself_has_nothing_to_tell(runs):
    found = compare_corpora(runs[0], runs[0])
    assert found.records == [] and found.decisions == [] and found.settings == {}
    titles = {table.title: table for table in comparison_tables(found)}
    assert list(titles) == ["Corpora", "Content, from A to B", "Decisions, from A to B"]
    assert titles["Corpora"].note.startswith("the same corpus")


def test_content_decisions_and_settings_are_told_per_species(runs):
    tables = tables_of(*runs)
    (tertius, testus, whole) = tables["Content, from A to B"].rows
    assert testus[:7] == ["Testus unus", 3, 4, 143_000, 143_500, 500, 0]
    assert tertius[:7] == ["Tertius tres", 1, 1, 50_000, 50_000, 0, 0]
    assert whole[1:8] == [4, 5, 193_000, 193_500, 500, 0, 0] and whole[8] == tertius[8] + testus[8] > 0
    (tertius, testus, whole) = tables["Decisions, from A to B"].rows
    assert tertius == ["Tertius tres", 2, 1, 100_000, 50_000, 50_000, 50_000, 0, 0]
    assert testus[:3] == ["Testus unus", 9, 9] and testus[5:] == [143_000, 143_500, 1, 500]
    assert whole[1:3] == [11, 10]
    short, gone = tables["Decisions that differ"].rows
    assert short[1:] == ("short", 500, "completeness: too_short", "accepted")
    assert gone[1:] == ("w", 50_000, "label: label_mismatch", "not in the input")
    settings = {row[0]: row[1:] for row in tables["Settings that differ"].rows}
    assert settings == {
        "corpus.layout.seed": ("0", "3"),
        "curation.completeness.min_record_bp": ("1000", "400"),
    }
    prints = compare_corpora(*runs).fingerprints
    assert ("fingerprint", *prints) in tables["Corpora"].rows and prints[0] != prints[1]


def test_corpus_folders_are_compared_without_ledgers(runs):
    a, b = (run / "data" for run in runs)
    for pair in ((a, b), (runs[0], b), (a, runs[1])):
        tables = tables_of(*pair)
        assert not [title for title in tables if title.startswith("Decisions")]
        assert tables["Settings that differ"].rows == [("corpus.layout.seed", "0", "3")]
        assert tables["Content, from A to B"].rows == tables_of(*runs)["Content, from A to B"].rows


def test_corpora_that_differ_in_clusters_alone_say_so(tmp_path):
    bases = random_bases(np.random.default_rng(2), 60_000)
    for name, cluster in (("a", -1), ("b", 4)):
        ids = np.full(10, cluster, np.int64)
        record = accepted(tmp_path / name, "Testus unus", "r", bases, cluster_id=ids)
        write_corpus([record], CorpusConfig(**LAYOUT), out=tmp_path / name / "corpus", lineage={})
    note = tables_of(tmp_path / "a" / "corpus", tmp_path / "b" / "corpus")["Corpora"].note
    assert note.startswith("the same bases, masks and splits")


def test_the_json_file_holds_all_that_differs(runs, tmp_path):
    out = tmp_path / "new" / "changes.json"
    result = CliRunner().invoke(commands, ["compare-corpora", *map(str, runs), "--out", str(out)])
    assert result.exit_code == 0 and f"{out}: " in result.output and "Settings that differ" in result.output
    stored, found = json.loads(out.read_text()), compare_corpora(*runs)
    assert [(c["record"], c["change"], c["resplit_bp"]) for c in stored["records"]] == [
        (c.record, c.change.value, c.resplit_bp) for c in found.records
    ]
    assert [c["after"] for c in stored["decisions"]] == ["", "accepted"]
    assert stored["fingerprints"] == list(found.fingerprints) and len(stored["species"]) == 2
    assert stored["lineages"][0]["manifest"] == "m.csv"


def test_long_lists_are_cut_on_the_terminal_and_say_so(runs, monkeypatch):
    monkeypatch.setattr("plantgfm.wiring.compare._SHOWN", 1)
    table = tables_of(*runs)["Decisions that differ"]
    assert len(table.rows) == 1 and table.note == "1 more: --out writes all"


def gone_corpus(runs, folder):
    shutil.copytree(runs[0] / "ledger", folder / "ledger")
    stored = json.loads((runs[0] / "settings.json").read_text())
    (folder / "settings.json").write_text(json.dumps({**stored, "corpus": str(folder / "gone")}))
    return folder


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda runs, folder: folder / "absent", "absent is no folder"),
        (lambda runs, folder: folder, "holds none of these files"),
        (lambda runs, folder: runs[0] / "ledger", "has no corpus at hand"),
        (lambda runs, folder: (folder / "corpus.json").write_text("{}") and folder, "does not say so"),
        (gone_corpus, "has no corpus at hand"),
    ],
)
def test_what_is_no_corpus_is_one_clear_error(runs, tmp_path, wrong, said):
    (tmp_path / "wrong").mkdir()
    found = wrong(runs, tmp_path / "wrong")
    for pair in ((found, runs[0]), (runs[0], found)):
        result = CliRunner().invoke(commands, ["compare-corpora", *map(str, pair), "--out", str(tmp_path / "o.json")])
        assert isinstance(result.exception, ValueError) and said in str(result.exception)
    assert not (tmp_path / "o.json").exists()

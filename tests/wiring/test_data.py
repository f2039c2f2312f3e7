"""What runs share is made once, and made again where it is damaged or older code made it."""

import json

import pytest

from plantgfm.formats.manifest import write_manifest
from plantgfm.tokenization.choose import CHOICE_VERSION
from plantgfm.wiring.data import prepare_corpus, prepare_vocabulary, store_of
from plantgfm.wiring.vocabulary import stored_report
from tests.curation.small import make_world
from tests.wiring.runs import manifest_config


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Settings on a small manifest, and its corpus."""
    folder = tmp_path_factory.mktemp("data")
    write_manifest(folder / "manifest.csv", make_world(folder)[:1])
    config = manifest_config(folder)
    return config, prepare_corpus(config)[0]


def older(path):
    stated = json.loads(path.read_text())
    path.write_text(json.dumps({**stated, "version": 0}))


def test_a_vocabulary_is_chosen_once_and_again_by_a_newer_choice(prepared, monkeypatch):
    config, corpus = prepared
    config.tokenizer.eight_mers, config.tokenizer.sample_bp = 32, 20_000
    stored = store_of(config) / "vocabularies"
    first = prepare_vocabulary(config, corpus)
    assert prepare_vocabulary(config, corpus) == first and len(list(stored.iterdir())) == 1
    monkeypatch.setattr("plantgfm.wiring.data.CHOICE_VERSION", CHOICE_VERSION + 1)
    assert prepare_vocabulary(config, corpus) == first and len(list(stored.iterdir())) == 2


@pytest.mark.parametrize("name", ["CHOICE_VERSION", "REPORT_VERSION"])
def test_a_report_is_measured_once_and_again_by_newer_code(prepared, monkeypatch, tmp_path, name):
    config, corpus = prepared
    config.tokenizer.eight_mers, config.tokenizer.sample_bp = 32, 20_000
    vocabulary, measured = prepare_vocabulary(config, corpus), []
    monkeypatch.setattr("plantgfm.wiring.vocabulary.build_on", lambda *_: (vocabulary, []))
    monkeypatch.setattr("plantgfm.wiring.vocabulary.tokenizer_report", lambda *_: measured.append(1) or Report())
    for _ in range(2):
        assert stored_report(corpus, vocabulary, config.tokenizer, store=tmp_path) == {"claims": []}
    assert len(measured) == 1
    monkeypatch.setattr(f"plantgfm.wiring.vocabulary.{name}", 99)
    stored_report(corpus, vocabulary, config.tokenizer, store=tmp_path)
    assert len(measured) == 2


class Report:
    """A report without rows: what is measured is tested where it is measured."""

    def tables(self):
        return {"claims": []}


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: (path / "corpus.json").write_text("{"), "corpus.json can't be read"),
        (lambda path: (path / "corpus.json").unlink(), "holds no corpus.json"),
        (lambda path: older(path / "corpus.json"), "has format version 0"),
        (
            lambda path: (
                (path / "cache" / "bases.u8").write_bytes(b"")
                + min(path.rglob("*.array_record*")).write_bytes(b"damaged")
            ),
            "is damaged",
        ),
    ],
)
def test_a_damaged_corpus_is_written_again_and_that_is_told(prepared, harm, said):
    config, corpus = prepared
    bases, told = corpus.bases.copy(), []
    harm(corpus.path)
    again, _ = prepare_corpus(config, write=told.append)
    assert (again.path, again.fingerprint) == (corpus.path, corpus.fingerprint)
    assert (again.bases == bases).all()
    assert len(told) == 1 and "written again" in told[0] and said in told[0]
    assert prepare_corpus(config, write=told.append)[0].fingerprint == corpus.fingerprint and len(told) == 1

"""What runs share is made once, and made again where it is damaged or older code made it."""

import json

import pytest

from plantgfm.formats.manifest import write_manifest
from plantgfm.tokenization.choose import CHOICE_VERSION
from plantgfm.training.hosts import Hosts
from plantgfm.wiring.data import prepare_corpus, prepare_together, prepare_vocabulary, store_of
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


class SecondOfTwo(Hosts):
    """Process 1 of two, the first of which tells what it is given."""

    def lead(self, name, make):
        return self.__dict__["told"]

    def agree(self, name, check):
        mine = check()
        return [self.__dict__.get("settings", mine), mine]


def second(**told):
    hosts = SecondOfTwo(1, 2, 1.0)
    hosts.__dict__.update(told)
    return hosts


def test_other_processes_open_what_the_first_prepared(prepared, monkeypatch):
    config, corpus = prepared
    config.tokenizer.eight_mers, config.tokenizer.sample_bp = 32, 20_000
    vocabulary = prepare_vocabulary(config, corpus)
    monkeypatch.setattr("plantgfm.wiring.data.prepare_corpus", lambda *args, **more: pytest.fail("curates, too"))
    monkeypatch.setattr("plantgfm.wiring.data._SEEN_S", 0.0)
    sign = store_of(config) / ".hosts-x"
    told = {"corpus": corpus.fingerprint, "vocabulary": vocabulary.fingerprint, "folder": corpus.path.name}
    told |= {"sign": sign.name, "store": "/there/.store"}
    with pytest.raises(ValueError, match="is not the folder that process 0 writes to as /there/.store: let "):
        prepare_together(config, second(told=told), write=print)
    sign.touch()
    found = prepare_together(config, second(told=told), write=print)
    assert found.corpus.fingerprint == corpus.fingerprint and found.vocabulary == vocabulary and found.curation is None
    with pytest.raises(ValueError, match="the corpus in .* has fingerprint .* and other on process 0"):
        prepare_together(config, second(told={**told, "corpus": "other"}), write=print)
    with pytest.raises(ValueError, match=r"processes \[1\] have other settings than process 0"):
        prepare_together(config, second(told=told, settings="other"), write=print)

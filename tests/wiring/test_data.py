"""What runs share is made once, and made again where it is damaged."""

import json

import pytest

from plantgfm.formats.manifest import write_manifest
from plantgfm.wiring.data import prepare_corpus
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

"""The reader's folder, made once, a copy of it for each page, and models that are compiled once for all pages."""

import shutil

import pytest

from plantgfm.embedding import encoders, predict
from tests.docs.reader import add_genomes, make_reader


@pytest.fixture(scope="package", autouse=True)
def compiled_once():
    """Every command opens and checks its model; what it compiles is kept for the next one with the same model."""
    opened, asked, open_encoder, predictor = {}, {}, encoders.open_encoder, predict.Predictor

    def opening(path, **options):
        found = open_encoder(path, **options)
        return opened.setdefault(found.fingerprint, found)

    with pytest.MonkeyPatch.context() as patch:
        for module in ("embedding.opened", "wiring.downstream", "wiring.retrieval"):
            patch.setattr(f"plantgfm.{module}.open_encoder", opening)
        patch.setattr("plantgfm.embedding.opened.Predictor", lambda b: asked.setdefault(b.fingerprint, predictor(b)))
        yield


@pytest.fixture(scope="package")
def reader(tmp_path_factory, compiled_once):
    folder = tmp_path_factory.mktemp("reader")
    make_reader(folder)
    add_genomes(folder)
    return folder


@pytest.fixture
def desk(reader, tmp_path, monkeypatch):
    """A copy of the reader's folder, in which the commands of one page run."""
    monkeypatch.chdir(shutil.copytree(reader, tmp_path / "desk"))

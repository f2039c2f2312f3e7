"""The reader's folder, made once, a copy of it for each page, and models that are compiled once for all pages."""

import shutil

import pytest

from plantgfm.embedding import encoders, masked
from plantgfm.embedding.predict import Predictor
from tests.docs.reader import add_genomes, make_reader


@pytest.fixture(scope="package", autouse=True)
def compiled_once():
    """Every command opens and checks its model; what it compiles is kept for the next one with the same model."""
    kept, open_encoder, masked_model = {}, encoders.open_encoder, masked.masked_model

    def opening(path, **options):
        found = open_encoder(path, **options)
        return kept.setdefault(found.fingerprint, found)

    def asking(model):
        return kept.setdefault((Predictor, id(model)), Predictor(model))

    def hiding(encoder):
        return kept.setdefault((masked_model, encoder.fingerprint), masked_model(encoder))

    with pytest.MonkeyPatch.context() as patch:
        for module in ("embedding.opened", "wiring.downstream", "wiring.retrieval"):
            patch.setattr(f"plantgfm.{module}.open_encoder", opening)
        patch.setattr("plantgfm.embedding.opened.masked_model", hiding)
        patch.setattr("plantgfm.embedding.opened.Predictor", asking)
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

"""The reader's folder, made once, and a copy of it for each page."""

import shutil

import pytest

from tests.docs.reader import add_genomes, make_reader


@pytest.fixture(scope="package")
def reader(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reader")
    make_reader(folder)
    add_genomes(folder)
    return folder


@pytest.fixture
def desk(reader, tmp_path, monkeypatch):
    """A copy of the reader's folder, in which the commands of one page run."""
    monkeypatch.chdir(shutil.copytree(reader, tmp_path / "desk"))

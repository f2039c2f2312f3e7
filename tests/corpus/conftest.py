"""One small corpus for the whole room: four species with planted gaps."""

import pytest

from plantgfm.corpus.config import CorpusConfig
from plantgfm.corpus.write import write_corpus
from tests.corpus.worlds import make_records

SMALL = {"region_bp": 8_192, "segment_bp": 32_768, "min_region_bp": 1_024}


@pytest.fixture
def small():
    return CorpusConfig(**SMALL)


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    return make_records(tmp_path_factory.mktemp("records"), species=4, length_bp=120_000)


@pytest.fixture(scope="session")
def written(records, tmp_path_factory):
    """A corpus to read; tests that harm one write their own."""
    return write_corpus(
        records, CorpusConfig(**SMALL), out=tmp_path_factory.mktemp("corpus") / "c", lineage={"from": 1}
    )

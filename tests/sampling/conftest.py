"""Small corpora of ten species, with and without gaps, and a small vocabulary."""

import numpy as np
import pytest

from plantgfm.corpus.config import CorpusConfig
from plantgfm.corpus.write import write_corpus
from plantgfm.sampling.config import SamplerConfig
from plantgfm.tokenization.vocabulary import Vocabulary
from tests.corpus.worlds import make_records

SMALL = {"region_bp": 8_192, "segment_bp": 32_768, "min_region_bp": 1_024}
WINDOW_TOKENS = 64


@pytest.fixture(scope="session")
def make_corpus(tmp_path_factory):
    def make(records=None, *, config=None, **world):
        folder = tmp_path_factory.mktemp("corpus")
        records = make_records(folder / "records", **world) if records is None else records
        return write_corpus(records, config or CorpusConfig(**SMALL), out=folder / "c", lineage={})

    return make


@pytest.fixture(scope="session")
def gapped(make_corpus):
    """Ten species from 60 to 550 kb, with gaps of unknown bases."""
    return make_corpus(species=10, length_bp=60_000, gaps=8, growth=0.9)


@pytest.fixture(scope="session")
def gapless(make_corpus):
    return make_corpus(species=8, length_bp=60_000, gaps=0)


@pytest.fixture
def make_config():
    def make(**change):
        return SamplerConfig(
            **{"window_tokens": WINDOW_TOKENS, "distance_max_bp": 2_000, "cluster_alpha": 0.0, **change}
        )

    return make


@pytest.fixture(scope="session")
def vocabulary():
    """A vocabulary with the 8-mers of homopolymers and of one repeat."""
    eight = {int(text, 4) for text in ("00000000", "33333333", "01010101", "23232323")}
    return Vocabulary(eight_mers=np.array(sorted(eight), dtype=np.uint16))

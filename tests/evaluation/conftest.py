"""A small corpus of three species, each a random chain with its own composition and with runs of repeats."""

import numpy as np
import pytest

from plantgfm.corpus.config import CorpusConfig
from plantgfm.corpus.write import write_corpus
from plantgfm.evaluation.config import EvaluationConfig
from plantgfm.objectives.config import ObjectiveConfig
from plantgfm.sampling.config import SamplerConfig
from plantgfm.schema import AcceptedRecord, Assembly, Compartment
from plantgfm.sequence import REPEAT_BIT
from plantgfm.tokenization.vocabulary import Vocabulary, reverse_complement_codes

SPECIES = ("Alpha una", "Beta dua", "Gamma tria")
COMPARTMENTS = (Compartment.NUCLEAR, Compartment.NUCLEAR, Compartment.PLASTID)
LENGTH_BP = 150_000


def chain_bases(seed: int, length_bp: int) -> np.ndarray:
    """Bases whose shares differ by species and that like to repeat the base two before."""
    generator = np.random.default_rng(seed)
    shares = generator.dirichlet([6.0] * 4)
    fresh = generator.choice(4, size=length_bp, p=shares).astype(np.uint8)
    copies = generator.random(length_bp) < 0.3
    for i in range(2, length_bp):
        if copies[i]:
            fresh[i] = fresh[i - 2]
    fresh[LENGTH_BP // 3 : LENGTH_BP // 2] |= REPEAT_BIT
    return fresh


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    records = []
    for seed, species in enumerate(SPECIES):
        path, windows = folder / f"{seed}.u8", -(-LENGTH_BP // 6144)
        chain_bases(seed, LENGTH_BP).tofile(path)
        assembly = Assembly(species, "", "v1", COMPARTMENTS[seed], folder / "genome.fa")
        alone = (np.full(windows, -1, np.int64), np.ones(windows, np.int32))
        records.append(AcceptedRecord(assembly, "chr1", path, 0, LENGTH_BP, "soft-mask", 6144, *alone))
    config = CorpusConfig(
        region_bp=8192, segment_bp=32_768, min_region_bp=1024, validation_fraction=0.25, test_fraction=0.25
    )
    return write_corpus(records, config, out=folder / "corpus", lineage={})


@pytest.fixture(scope="session")
def vocabulary():
    some = np.random.default_rng(1).choice(4**8, size=500, replace=False)
    return Vocabulary(np.union1d(some, reverse_complement_codes(some, 8)).astype(np.uint16))


@pytest.fixture(scope="session")
def sampler():
    return SamplerConfig(window_tokens=64, batch_windows=3, min_species=3, distance_max_bp=1024)


@pytest.fixture(scope="session")
def objective():
    return ObjectiveConfig()


@pytest.fixture(scope="session")
def config():
    return EvaluationConfig(
        max_windows=30,
        tune_windows=12,
        watch_windows=10,
        batch_windows=8,
        resamples=100,
        markov_order=4,
        two_sided_orders=[2],
        distance_bins=2,
    )

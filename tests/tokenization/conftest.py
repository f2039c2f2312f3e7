"""Vocabularies that the tests of this room share."""

import numpy as np
import pytest

from plantgfm.tokenization.vocabulary import Vocabulary, reverse_complement_codes


def closed(codes) -> np.ndarray:
    codes = np.asarray(codes, dtype=np.int64)
    return np.union1d(codes, reverse_complement_codes(codes, 8)).astype(np.uint16)


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    """About 4,000 random 8-mers and their reverse complements, low-complexity ones among them."""
    rng = np.random.default_rng(7)
    low_complexity = [0, 0x3333, 0x4444, 0x1111, 0x0F0F]
    return Vocabulary(closed(np.concatenate((rng.integers(0, 4**8, 2000), low_complexity))))


@pytest.fixture(scope="session")
def dense() -> Vocabulary:
    """A third of all 8-mers: the longest match is taken often."""
    return Vocabulary(closed(np.random.default_rng(8).integers(0, 4**8, 12_000)))

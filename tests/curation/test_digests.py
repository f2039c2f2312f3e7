"""Digests of both strands: equal where sequences are, different where a single base is."""

import numpy as np
import pytest

from plantgfm.curation import digests
from plantgfm.curation.digests import strand_digests
from plantgfm.sequence import reverse_complement
from tests.curation.planted import random_codes


def with_unknown(length_bp, places, seed=1):
    codes = random_codes(length_bp, seed)
    codes[[place for place in places if place < length_bp]] = 4
    return codes


@pytest.mark.parametrize("length_bp", [1, 31, 32, 33, 64, 1_000, 1_024, 5_003])
@pytest.mark.parametrize("places", [(), (0,), (40, 41, 999)])
def test_the_other_strand_changes_sides(length_bp, places, monkeypatch):
    monkeypatch.setattr(digests, "_CHUNK_BP", 1 << 10)
    codes = with_unknown(length_bp, places)
    other = reverse_complement(codes)
    assert strand_digests(other) == strand_digests(codes)[::-1]
    assert strand_digests(codes | np.uint8(8)) == strand_digests(codes)


def test_every_base_and_the_length_count(monkeypatch):
    monkeypatch.setattr(digests, "_CHUNK_BP", 64)
    codes = with_unknown(300, (130, 131))
    seen = {strand_digests(codes)[0]}
    for place in range(300):
        changed = codes.copy()
        changed[place] = (changed[place] + 1) % 5
        seen.add(strand_digests(changed)[0])
    zeros = [np.zeros(n, dtype=np.uint8) for n in (1, 2, 32, 33, 64, 65, 128)]
    unknown = [np.full(n, 4, dtype=np.uint8) for n in (1, 2, 32, 33, 64, 65, 128)]
    seen |= {strand_digests(one)[0] for one in (*zeros, *unknown)}
    assert len(seen) == 301 + 14

"""Symmetric DUST: the union of perfect intervals, as the definition says and as pydustmasker finds it."""

import numpy as np
import pydustmasker
import pytest

from plantgfm.curation.dust import low_complexity_runs
from plantgfm.sequence import decode, encode, mask_of, runs_of
from tests.curation.planted import random_codes


def pieces(seed, unknown):
    """A sequence of plain, tandem, AT-rich and (where asked) unknown parts."""
    rng = np.random.default_rng(seed)
    found = []
    for kind in rng.integers(0, 4 if unknown else 3, 14):
        length = int(rng.integers(1, 90))
        found.append(
            [
                rng.integers(0, 4, length),
                np.resize(rng.integers(0, 4, int(rng.integers(1, 9))), length),
                rng.choice(4, 2 * length, p=[0.45, 0.05, 0.05, 0.45]),
                np.full(1 + length % 4, 4),
            ][kind]
        )
    return np.concatenate(found).astype(np.uint8)


def perfect_by_definition(codes, window_bp, threshold):
    """Every interval of triplets in a window, scored one by one; scores are compared without division."""
    mask, best = np.zeros(codes.size, dtype=bool), {}
    triplet = [-1] * codes.size
    for i in range(codes.size - 2):
        if max(codes[i : i + 3]) < 4:
            triplet[i] = int(codes[i]) * 16 + int(codes[i + 1]) * 4 + int(codes[i + 2])
    for last in range(codes.size - 2):
        counts, pairs = {}, 0
        for first in range(last, max(-1, last - (window_bp - 2)), -1):
            if triplet[first] < 0:
                break
            pairs += counts.get(triplet[first], 0)
            counts[triplet[first]] = counts.get(triplet[first], 0) + 1
            length = last - first
            inner = [best.get(place, (0, 1)) for place in ((first + 1, last), (first, last - 1))]
            top = max(inner, key=lambda one: one[0] / one[1])
            at_least = pairs * top[1] >= top[0] * length
            if length and pairs * 10 > threshold * length and at_least:
                mask[first : last + 3] = True
            best[first, last] = (pairs, length) if length and at_least else top
    return mask


@pytest.mark.parametrize(("window_bp", "threshold"), [(64, 20), (32, 15), (20, 30), (4, 5)])
def test_what_is_found_is_the_union_of_perfect_intervals(window_bp, threshold):
    shares = []
    for seed in range(6):
        codes = pieces(seed, unknown=True)
        expected = perfect_by_definition(codes, window_bp, threshold)
        runs = low_complexity_runs(codes | np.uint8(8), window_bp=window_bp, threshold=threshold)
        assert np.array_equal(mask_of(runs, codes.size), expected)
        assert not (codes[expected] == 4).any() and (np.diff(runs.ravel()) >= 0).all()
        shares.append(expected.mean())
    assert window_bp == 4 or 0.05 < np.mean(shares) < 0.95


@pytest.mark.parametrize("seed", range(30))
def test_pydustmasker_finds_the_same(seed):
    codes = pieces(100 + seed, unknown=False)
    for window_bp, threshold in ((64, 20), (40, 25)):
        theirs = np.array(pydustmasker.DustMasker(decode(codes), window_bp, threshold).intervals).reshape(-1, 2)
        assert np.array_equal(low_complexity_runs(codes, window_bp=window_bp, threshold=threshold), theirs)


def test_low_complexity_is_masked():
    codes = np.concatenate([random_codes(500, 1), encode("AT" * 60), random_codes(500, 2)])
    runs = low_complexity_runs(codes, window_bp=64, threshold=20)
    assert any(start <= 510 and end >= 610 for start, end in runs.tolist())


def test_an_interval_that_ends_at_unknown_bases_is_not_lost():
    text = "TTAAATTACATTTTTATTTTTATAATATAATTTTAAAATAANNTTAAATATATTTATATACTAGATATTTTTGTAAATGTTATATATA"
    assert low_complexity_runs(encode(text), window_bp=32, threshold=15).tolist() == [[10, 41]]


def test_short_sequences_and_more_runs_than_expected():
    for text in ("", "A", "ACG", "NNNNNNNN"):
        assert low_complexity_runs(encode(text), window_bp=64, threshold=20).shape == (0, 2)
    codes = encode(("A" * 12 + "N") * 500)
    runs = low_complexity_runs(codes, window_bp=64, threshold=20)
    assert np.array_equal(runs, runs_of(codes == 0))


@pytest.mark.parametrize("wrong", [{"window_bp": 3}, {"window_bp": 255}, {"threshold": 0}])
def test_wrong_settings_are_named(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name} = {value}"):
        low_complexity_runs(encode("ACGT"), **{"window_bp": 64, "threshold": 20, **wrong})

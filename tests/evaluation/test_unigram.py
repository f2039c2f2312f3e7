"""Token frequencies and shrinkage, against numbers worked out by hand."""

import numpy as np
import pytest

from plantgfm.evaluation.next_region import histogram_nats
from plantgfm.evaluation.unigram import (
    count_tokens,
    count_windows,
    fit_unigram,
    likeliest_mass,
    pieces_of,
    shrink,
)
from plantgfm.schema import Split
from plantgfm.sequence import encode as bases_of
from plantgfm.sequence import reverse_complement
from plantgfm.tokenization.encode import encode
from plantgfm.tokenization.vocabulary import FIRST_BASE, FIRST_SIX, Vocabulary, kmer_code

PLAIN = Vocabulary(np.zeros(0, np.uint16))


def id_of(text: str) -> int:
    return FIRST_SIX + kmer_code(text)


def test_tokens_are_counted_on_both_strands_without_unknown_bases():
    counts = count_tokens([bases_of("AAAAAAACGTTGNC")], PLAIN)
    # Forward: AAAAAA ACGTTG N C; reverse: G N CAACGT TTTTTT.
    expected = {id_of("AAAAAA"): 1, id_of("ACGTTG"): 1, id_of("CAACGT"): 1, id_of("TTTTTT"): 1, 5 + 1: 1, 5 + 2: 1}
    assert {int(i): int(counts[i]) for i in np.flatnonzero(counts)} == expected
    assert count_tokens([bases_of("AAAAAAAAAAAA")], PLAIN, both_strands=False)[id_of("AAAAAA")] == 2


def test_shrinking_adds_the_prior_as_if_it_were_tokens():
    counts, prior = np.array([[3.0, 1.0, 0.0]]), np.array([[0.2, 0.3, 0.5]])
    np.testing.assert_allclose(shrink(counts, prior, 10.0), [[5 / 14, 4 / 14, 5 / 14]])


def test_the_likeliest_mass_trusts_counts_that_hold_and_distrusts_noise():
    prior = np.full((1, 4), 0.25)
    counts = np.array([[10.0, 0.0, 0.0, 0.0]])
    assert likeliest_mass(np.array([[50.0, 0.0, 0.0, 0.0]]), counts, prior, grid=[1.0, 100.0]) == 1.0
    assert likeliest_mass(np.array([[12.0, 13.0, 12.0, 13.0]]), counts, prior, grid=[1.0, 100.0]) == 100.0


def test_the_unigram_is_the_smoothed_share_of_training_tokens(corpus, vocabulary):
    unigram = fit_unigram(corpus, vocabulary, shrinkages=[64.0])
    counts = count_tokens(pieces_of(corpus, Split.TRAIN), vocabulary)
    pooled = (counts[FIRST_BASE:] + 1) / (counts.sum() + vocabulary.size - FIRST_BASE)
    np.testing.assert_allclose(unigram.pooled[FIRST_BASE:], pooled)
    own = count_tokens(pieces_of(corpus, Split.TRAIN, 1), vocabulary)
    np.testing.assert_allclose(unigram.species[1], (own + 64 * unigram.pooled) / (own.sum() + 64))
    np.testing.assert_allclose(unigram.species.sum(axis=1), 1.0)
    assert unigram.species.shape == (3, vocabulary.size)
    assert np.isneginf(unigram.log_pooled[:FIRST_BASE]).all() and np.isneginf(unigram.log_species[:, 0]).all()


def test_windows_are_counted_as_a_model_is_given_them(corpus, vocabulary, monkeypatch):
    """With the single bases at their ends, as far as 17 tokens hold a window of 102 bp."""
    monkeypatch.setattr("plantgfm.evaluation.unigram._WINDOWS_AT_ONCE", 7)
    for both_strands in (True, False):
        found = count_windows(corpus, Split.VALIDATION, vocabulary, window_bp=102, both_strands=both_strands)
        for species in range(3):
            expected = np.zeros(vocabulary.size, np.int64)
            for piece in pieces_of(corpus, Split.VALIDATION, species):
                for start in range(0, len(piece) - 101, 102):
                    window = np.ascontiguousarray(piece[start : start + 102])
                    for strand in (window, reverse_complement(window))[: 1 + both_strands]:
                        expected += np.bincount(encode(vocabulary, strand)[:17], minlength=vocabulary.size)
            np.testing.assert_array_equal(found[species], expected)
    whole = fit_unigram(corpus, vocabulary, shrinkages=[64.0])
    cut = fit_unigram(corpus, vocabulary, shrinkages=[64.0], window_bp=102)
    single = slice(FIRST_BASE, FIRST_SIX)
    assert cut.pooled[single].sum() > 3 * whole.pooled[single].sum()


def test_a_limit_spreads_the_windows_that_are_counted(corpus, vocabulary):
    every = count_windows(corpus, Split.TRAIN, vocabulary, window_bp=102, both_strands=False)
    some = count_windows(corpus, Split.TRAIN, vocabulary, window_bp=102, both_strands=False, most_bp=10_000)
    share = some.sum(axis=1) / every.sum(axis=1)
    bases = (corpus.regions.split == int(Split.TRAIN)).astype(int) * corpus.regions.length_bp
    for species in range(3):
        assert 0.5 < share[species] * bases[corpus.regions.species == species].sum() / 10_000 <= 1.05


def test_pieces_of_a_split_are_disjoint_and_cover_its_regions(corpus):
    sizes = {split: sum(map(len, pieces_of(corpus, split))) for split in Split}
    assert sum(sizes.values()) == corpus.bases.size
    for split in Split:
        assert sizes[split] == sum(sum(map(len, pieces_of(corpus, split, s))) for s in range(3))


def test_the_shrunk_histogram_by_hand():
    prior = np.zeros((1, 12))
    prior[0, 5:] = 1 / 7
    up, down = (
        np.array([[1, 5, 5, 6, 0]], np.int32),
        np.array([[1, 5, 9, 4, 0]], np.int32),
    )  # [CLS], N, [PAD] do not count
    seen = [(2 + 2 / 7) / 5, (0 + 2 / 7) / 5]
    np.testing.assert_allclose(histogram_nats(up, down, prior, mass=2.0), [-np.log(seen).mean()])
    assert histogram_nats(up, np.zeros_like(down), prior, mass=2.0).tolist() == [0.0]
    with pytest.raises(IndexError):
        histogram_nats(up, down + 20, prior, mass=2.0)

"""Token frequencies and shrinkage, against numbers worked out by hand."""

import numpy as np
import pytest

from plantgfm.evaluation.next_region import histogram_nats
from plantgfm.evaluation.unigram import count_tokens, fit_unigram, likeliest_mass, pieces_of, shrink, windows_of
from plantgfm.schema import Split
from plantgfm.sequence import encode as bases_of
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
    unigram = fit_unigram(corpus, vocabulary, window_bp=100, shrinkages=[64.0])
    counts = count_tokens(windows_of(pieces_of(corpus, Split.TRAIN), 100), vocabulary)
    pooled = (counts[FIRST_BASE:] + 1) / (counts.sum() + vocabulary.size - FIRST_BASE)
    np.testing.assert_allclose(unigram.pooled[FIRST_BASE:], pooled)
    own = count_tokens(windows_of(pieces_of(corpus, Split.TRAIN, 1), 100), vocabulary)
    np.testing.assert_allclose(unigram.species[1], (own + 64 * unigram.pooled) / (own.sum() + 64))
    np.testing.assert_allclose(unigram.species.sum(axis=1), 1.0)
    assert unigram.species.shape == (3, vocabulary.size)
    assert np.isneginf(unigram.log_pooled[:FIRST_BASE]).all() and np.isneginf(unigram.log_species[:, 0]).all()


def test_single_bases_are_as_common_as_at_the_ends_of_windows():
    # 22 bp a window: three 6-mers and four single bases; in the whole piece, 220 bp, four in all.
    piece = np.random.default_rng(0).integers(0, 4, 229).astype(np.uint8)
    windows = windows_of([piece, piece[:9]], 22)
    assert [len(window) for window in windows] == [22] * 10 + [9]
    counts = count_tokens(windows[:10], PLAIN, both_strands=False)
    assert counts[FIRST_BASE:FIRST_SIX].sum() == 40 and counts[FIRST_SIX:].sum() == 30
    assert count_tokens([piece[:220]], PLAIN, both_strands=False)[FIRST_BASE:FIRST_SIX].sum() == 4


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

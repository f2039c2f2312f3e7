import numpy as np
import pytest

from plantgfm import sequence
from plantgfm.tokenization import choose as c
from plantgfm.tokenization.config import VocabularyConfig
from plantgfm.tokenization.vocabulary import kmer_code, reverse_complement_codes

WINDOW = 256


def random_bases(seed, size=60_000, weights=(0.3, 0.2, 0.2, 0.3)):
    return np.random.default_rng(seed).choice(4, size=size, p=weights).astype(np.uint8)


def is_closed(codes):
    return np.array_equal(np.unique(codes), np.unique(reverse_complement_codes(codes, 8)))


@pytest.fixture(scope="module")
def samples():
    satellite = np.tile(random_bases(9, 171), 300)
    return [
        ("poor|0", random_bases(1)),
        ("rich|0", np.concatenate((satellite, random_bases(2, 10_000)))),
        ("gc|0", random_bases(3, weights=(0.2, 0.3, 0.3, 0.2))),
    ]


@pytest.mark.parametrize("size", [0, 1, 2, 15, 16, 255, 256, 257, 4095, 4096, 65_279, 65_535, 65_536])
def test_the_set_has_exactly_the_size_asked_for_and_is_closed(size):
    scores = np.random.default_rng(5).random(4**8)
    scores = scores + scores[reverse_complement_codes(np.arange(4**8), 8)]
    chosen = c.best_closed_set(scores, size)
    assert chosen.size == np.unique(chosen).size == size and is_closed(chosen)


def test_the_set_is_the_best_one_of_its_size():
    scores = np.zeros(4**8)
    pair, palindrome, other = kmer_code("AAAAAAAC"), kmer_code("ACGTACGT"), kmer_code("AATTAATT")
    scores[pair] = scores[reverse_complement_codes(np.array([pair]), 8)[0]] = 3.0
    scores[palindrome], scores[other] = 5.0, 2.0
    assert set(c.best_closed_set(scores, 1)) == {palindrome}
    assert set(c.best_closed_set(scores, 2)) == {palindrome, other}  # 5 + 2 > 3 + 3
    assert set(c.best_closed_set(scores, 3)) == {palindrome, pair, kmer_code("GTTTTTTT")}


def test_equal_scores_are_settled_by_the_lower_code():
    chosen = c.best_closed_set(np.zeros(4**8), 4)
    assert np.array_equal(chosen, c.best_closed_set(np.zeros(4**8), 4)) and 0 in chosen


def test_counts_cover_both_strands_and_break_at_unknown_bases_and_rows():
    counts = c.count_eight_mers(sequence.encode("ACGGTTTANACGTACGT"))
    assert counts[kmer_code("ACGGTTTA")] == counts[kmer_code("TAAACCGT")] == 1
    assert counts[kmer_code("ACGTACGT")] == 2 and counts.sum() == 4
    rows = np.stack([sequence.encode("ACGGTTTAC"), sequence.encode("ACGGTTTAC") | sequence.REPEAT_BIT])
    assert c.count_eight_mers(rows).sum() == 2 * 2 * 2


def test_choice_is_closed_exact_and_independent_of_the_order_of_samples(samples):
    config = VocabularyConfig(eight_mers=513)
    vocabulary = c.choose_eight_mers(samples, config)
    assert vocabulary.eight_mers.size == 513 and is_closed(vocabulary.eight_mers.astype(np.int64))
    assert c.choose_eight_mers(samples[::-1], config) == vocabulary
    halves = [(name, half) for name, bases in samples for half in np.split(bases[: bases.size // 16 * 16], 2)]
    assert c.choose_eight_mers(iter(halves), config).eight_mers.size == 513


def test_one_repeat_rich_stratum_does_not_own_the_vocabulary(samples):
    rows = np.stack([c.count_eight_mers(bases) / max(1, c.count_eight_mers(bases).sum()) for _, bases in samples])
    by_mean = c.best_closed_set(rows.mean(axis=0), 512)
    fair = c.choose_eight_mers(samples, VocabularyConfig(eight_mers=512)).eight_mers
    assert rows[:, fair].sum(axis=1).min() > rows[:, by_mean].sum(axis=1).min()
    assert np.log(rows[:, fair].sum(axis=1)).mean() > np.log(rows[:, by_mean].sum(axis=1)).mean()


def test_samples_without_an_eight_mer_are_refused():
    with pytest.raises(ValueError, match="hold no 8 known bases"):
        c.choose_eight_mers([("a", sequence.encode("ACGTNACGT"))], VocabularyConfig())


def test_a_size_that_does_not_exist_is_refused_when_configured():
    for size in (-1, 65_537):
        with pytest.raises(ValueError, match="there are 65,536"):
            VocabularyConfig(eight_mers=size)
    with pytest.raises(ValueError, match="holds no 8-mer"):
        VocabularyConfig(window_bp=7)
    with pytest.raises(ValueError, match="repeat_strata=0"):
        VocabularyConfig(repeat_strata=0)


def test_build_vocabulary_goes_from_regions_to_a_vocabulary_and_its_strata():
    bases = random_bases(4, 200_000)
    vocabulary, strata = c.build_vocabulary(
        bases,
        offsets=np.array([0, 100_000]),
        lengths=np.array([90_000, 100_000]),
        species=np.array([0, 1]),
        species_names=["Alpha beta", "Gamma delta"],
        config=VocabularyConfig(eight_mers=100, window_bp=WINDOW, repeat_strata=2, sample_bp=100_000),
    )
    assert vocabulary.eight_mers.size == 100
    assert [(s.species, s.repeat_bin) for s in strata] == [
        (n, b) for n in ("Alpha beta", "Gamma delta") for b in (0, 1)
    ]

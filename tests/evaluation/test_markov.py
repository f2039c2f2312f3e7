"""Back-off chains against counting by hand, and the token probabilities that they induce against enumeration."""

import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from plantgfm.evaluation.markov import Direction, count_both_strands, fit_chain, kmers, token_nats
from plantgfm.evaluation.positions import Positions, find_positions
from plantgfm.sequence import encode as bases_of
from plantgfm.sequence import reverse_complement
from plantgfm.tokenization.encode import encode
from plantgfm.tokenization.vocabulary import MASK, Vocabulary, reverse_complement_codes

TOLERANCE = 1e-5


def make_vocabulary(n: int, seed: int = 0) -> Vocabulary:
    some = np.random.default_rng(seed).choice(4**8, size=n, replace=False)
    codes = np.union1d(some, reverse_complement_codes(some, 8)) if n else some
    return Vocabulary(codes.astype(np.uint16))


def random_bases(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, n).astype(np.uint8)


def make_chain(bases: np.ndarray, order: int, strengths=(3.0,)):
    return fit_chain(count_both_strands([bases], order), strengths=strengths, tuning=kmers([bases], order, limit=1000))


def code_of(text: str) -> int:
    return int("".join(str(digit) for digit in bases_of(text)), 4) if text else 0


def all_tokens(vocabulary: Vocabulary, *, left: str = "", right: str = "", left_six: str = "") -> Positions:
    """One position for every 6-mer and chosen 8-mer, all in the same visible surroundings."""
    code = np.concatenate((np.arange(4**6), vocabulary.eight_mers.astype(np.int64)))
    n, flipped = code.size, reverse_complement(bases_of(right))
    return Positions(
        window=np.zeros(n, np.int32),
        slot=np.zeros(n, np.int32),
        token=(9 + np.arange(n)).astype(np.int32),
        code=code,
        bp=np.repeat([6, 8], [4**6, vocabulary.eight_mers.size]),
        repeat_fraction=np.zeros(n, np.float32),
        left=np.full(n, code_of(left)),
        left_bp=np.full(n, len(left)),
        left_six=np.full(n, code_of(left_six) if left_six else -1),
        right=np.full(n, int("0" + "".join(map(str, flipped)), 4)),
        right_bp=np.full(n, len(right)),
        left_out=0,
    )


def counted(pieces: list[str], text: str) -> int:
    strands = [*pieces, *("".join("TGCA"["ACGT".index(b)] for b in p[::-1]) for p in pieces)]
    return sum(s.startswith(text, i) for s in strands for i in range(len(s)))


def test_probabilities_are_the_back_off_formula_counted_by_hand():
    text = "ACGTTGCAACGGT"
    order, a = 2, 0.7
    chain = fit_chain(
        count_both_strands([bases_of(text)], order), strengths=[a], tuning=kmers([bases_of(text)], order, limit=99)
    )
    triples = [text[i : i + 3] for i in range(len(text) - 2)]

    def n(suffix):
        flip = ["".join("TGCA"["ACGT".index(b)] for b in t[::-1]) for t in triples]
        return sum(t.endswith(suffix) for t in triples + flip)

    def p(context, base):
        lower = p(context[1:], base) if context else 0.25
        total = sum(n(context + b) for b in "ACGT")
        return (n(context + base) + a * lower) / (total + a)

    for k in range(order + 1):
        for context in map("".join, itertools.product("ACGT", repeat=k)):
            row = chain.probabilities(k)[code_of(context)]
            np.testing.assert_allclose(row, [p(context, b) for b in "ACGT"], rtol=TOLERANCE)


def test_counts_are_of_both_strands_and_stop_at_unknown_bases():
    pieces = ["ACGTTGCAACGGTA", "GGCATT"]
    counts = count_both_strands([bases_of(pieces[0] + "N" + pieces[1])], 3)
    for text in map("".join, itertools.product("ACGT", repeat=4)):
        assert counts[code_of(text)] == counted(pieces, text)


def test_strengths_are_the_most_likely_of_the_grid_on_held_out_sequence():
    bases = random_bases(4000)
    tuning = kmers([random_bases(4000, seed=1)], 4, limit=10_000)
    counts = count_both_strands([bases], 4)
    chain = fit_chain(counts, strengths=[1.0, 30.0, 1000.0], tuning=tuning)
    # The source is uniform: at order 4 what was seen 30 times a context is noise, so the largest strength wins.
    assert chain.strengths[4] == 1000.0
    worse = fit_chain(counts, strengths=[1.0], tuning=tuning)
    scored = [np.log(c.probabilities(4).ravel()[tuning]).sum() for c in (chain, worse)]
    assert scored[0] > scored[1]
    with pytest.raises(ValueError, match="no held-out"):
        fit_chain(counts, strengths=[1.0], tuning=tuning[:0])
    assert fit_chain(counts, strengths=[9.0], tuning=tuning[:0], fallback=(1.0,) * 5).strengths == (1.0,) * 5


SURROUNDINGS = [
    {},
    {"left": "ACGTTGCAACGG"},
    {"left": "TTGCAACGG", "left_six": "CAACGG"},
    {"left": "AAAAAA", "left_six": "AAAAAA", "right": "CCGATA"},
    {"right": "TAAACGTAGGAC"},
    {"left": "AC", "right": "GGATTA"},
]


def total_probability(around, *, n_eights, order, direction):
    vocabulary, chain = make_vocabulary(n_eights), make_chain(random_bases(30_000), 5)
    nats = token_nats(chain, all_tokens(vocabulary, **around), vocabulary, order=order, direction=direction)
    return np.exp(-nats).sum()


@pytest.mark.parametrize("around", SURROUNDINGS)
@pytest.mark.parametrize("n_eights", [0, 300, 20_000])
def test_forward_probabilities_sum_to_one(around, n_eights):
    for order in (0, 2, 5):
        total = total_probability(around, n_eights=n_eights, order=order, direction=Direction.FORWARD)
        assert total == pytest.approx(1.0, abs=TOLERANCE)


@pytest.mark.parametrize("around", SURROUNDINGS[:1] + SURROUNDINGS[3:])
def test_backward_and_two_sided_probabilities_sum_to_one(around):
    for direction in (Direction.BACKWARD, Direction.TWO_SIDED):
        total = total_probability(around, n_eights=200, order=4, direction=direction)
        assert total == pytest.approx(1.0, abs=TOLERANCE)


@cache
def given(chain, seen):
    """Probabilities of A, C, G and T behind some bases."""
    return chain.probabilities(len(seen))[code_of(seen)].tolist()


def spell(chain, order, context, text):
    """Probability of a text after a context, base by base."""
    p = 1.0
    for base in text:
        p *= given(chain, context[len(context) - min(order, len(context)) :])["ACGT".index(base)]
        context += base
    return p


def texts(vocabulary):
    return vocabulary.tokens[9:]


def test_forward_probabilities_are_the_share_of_continuations_that_the_tokenizer_reads_so():
    vocabulary, left, order = make_vocabulary(6000), "GATTACA", 3
    chain = make_chain(random_bases(30_000), 4)
    # Enumerate every 8-base continuation and read its first token as the tokenizer does.
    shares = np.zeros(vocabulary.size)
    for digits in itertools.product("ACGT", repeat=8):
        text = "".join(digits)
        if vocabulary.eight_index[code_of("TTACAA" + text[:2])] >= 0:
            continue  # then the visible "TTACAA" before would have been an 8-mer
        code = code_of(text)
        eight = vocabulary.eight_index[code]
        shares[eight if eight >= 0 else 9 + (code >> 4)] += spell(chain, order, left + "A", text)
    around = all_tokens(vocabulary, left=left + "A", left_six="TTACAA")
    nats = token_nats(chain, around, vocabulary, order=order, direction=Direction.FORWARD)
    np.testing.assert_allclose(np.exp(-nats), shares[9:] / shares.sum(), atol=1e-9, rtol=1e-4)


def test_backward_is_forward_on_the_reverse_complement():
    vocabulary = make_vocabulary(0)  # plain 6-mers: both strands tokenise alike
    chain = make_chain(random_bases(30_000), 6)
    here = token_nats(
        chain, all_tokens(vocabulary, right="GATTACAT"), vocabulary, order=6, direction=Direction.BACKWARD
    )
    there = token_nats(chain, all_tokens(vocabulary, left="ATGTAATC"), vocabulary, order=6, direction=Direction.FORWARD)
    np.testing.assert_allclose(here, there[reverse_complement_codes(np.arange(4**6), 6)], rtol=TOLERANCE)


def test_backward_weighs_tokens_by_their_probability_on_the_other_strand():
    vocabulary, right, order = make_vocabulary(600), "GATTACAT", 3
    chain = make_chain(random_bases(30_000), 4)

    def flip(text):
        return "".join("TGCA"["ACGT".index(b)] for b in text[::-1])

    tokens = texts(vocabulary)
    chosen = set(tokens[4**6 :])
    weights = np.array([0.0 if t + right[:2] in chosen else spell(chain, order, flip(right), flip(t)) for t in tokens])
    nats = token_nats(chain, all_tokens(vocabulary, right=right), vocabulary, order=order, direction=Direction.BACKWARD)
    np.testing.assert_allclose(np.exp(-nats), weights / weights.sum(), atol=1e-9, rtol=1e-4)


def test_two_sided_is_bayes_over_the_tokens():
    vocabulary, left, right, order = make_vocabulary(600), "CGTAC", "GATTACAT", 3
    chain = make_chain(random_bases(30_000), 4)
    tokens = texts(vocabulary)
    chosen = set(tokens[4**6 :])
    weights = np.array([0.0 if t + right[:2] in chosen else spell(chain, order, left, t + right) for t in tokens])
    around = all_tokens(vocabulary, left=left, right=right)
    nats = token_nats(chain, around, vocabulary, order=order, direction=Direction.TWO_SIDED)
    np.testing.assert_allclose(np.exp(-nats), weights / weights.sum(), atol=1e-9, rtol=1e-4)


def test_two_sided_without_right_context_is_forward():
    vocabulary = make_vocabulary(300)
    chain = make_chain(random_bases(30_000), 4)
    around = all_tokens(vocabulary, left="TTGCAACGG", left_six="CAACGG")
    two = token_nats(chain, around, vocabulary, order=4, direction=Direction.TWO_SIDED)
    one = token_nats(chain, around, vocabulary, order=4, direction=Direction.FORWARD)
    np.testing.assert_allclose(two, one, rtol=1e-4)


def markov_source(n: int, seed: int, order: int = 2, sharpness: float = 0.4) -> tuple[np.ndarray, float]:
    """Bases of a random chain that reads alike on both strands only by chance, and its entropy in bits per base."""
    generator = np.random.default_rng(7)
    rows = generator.dirichlet([sharpness] * 4, size=4**order)
    draws, context = np.random.default_rng(seed).random(n), 0
    out, cumulative, surprise = np.empty(n, np.uint8), rows.cumsum(axis=1), 0.0
    for i in range(n):
        base = min(3, int(np.searchsorted(cumulative[context], draws[i])))
        surprise -= np.log2(rows[context, base])
        out[i] = base
        context = (context << 2 | base) & (4**order - 1)
    return out, surprise / n


def forward_bits(chain, positions, vocabulary, order):
    nats = token_nats(chain, positions, vocabulary, order=order, direction=Direction.FORWARD)
    return nats.sum() / positions.bp.sum() / np.log(2)


def masked_positions(bases: np.ndarray, vocabulary: Vocabulary) -> Positions:
    ids = encode(vocabulary, bases)
    ids = ids[: ids.size // 100 * 100].reshape(-1, 100)
    slots = np.tile(np.arange(5, 100, 7, dtype=np.int32), (len(ids), 1))
    zeros = np.zeros(ids.shape, np.float32)
    return find_positions(ids, zeros, slots=slots, valid=np.ones(slots.shape, bool), vocabulary=vocabulary)


def test_a_source_of_known_order_is_scored_near_its_entropy():
    vocabulary = make_vocabulary(300)
    bases, _ = markov_source(150_000, seed=1)
    held_out, entropy = markov_source(40_000, seed=2)
    counts = np.zeros(4**4, np.int32)  # of one strand: the source has no symmetry between strands
    np.add.at(counts, kmers([bases], 3, limit=10**9), 1)
    chain = fit_chain(counts, strengths=[1.0, 10.0], tuning=kmers([held_out], 3, limit=10**5))
    positions = masked_positions(held_out, vocabulary)
    bits = [forward_bits(chain, positions, vocabulary, order) for order in range(4)]
    assert bits[2] == pytest.approx(entropy, abs=0.04)
    assert bits[0] > bits[1] > bits[2] + 0.05
    assert bits[3] == pytest.approx(bits[2], abs=0.01)
    two = token_nats(chain, positions, vocabulary, order=2, direction=Direction.TWO_SIDED)
    assert two.sum() / positions.bp.sum() / np.log(2) < bits[2]


def test_masked_neighbours_shorten_the_context():
    vocabulary = make_vocabulary(0)
    ids = encode(vocabulary, bases_of("ACGTTGCAACGGTTTACAGGGTCACCCCCCATATAT"))[None]
    rows = np.zeros(ids.shape, np.float32)
    slots = np.array([[3, 1, 2, 0]], dtype=np.int32)
    valid = np.array([[True, True, False, False]])
    found = find_positions(ids, rows, slots=slots, valid=valid, vocabulary=vocabulary)
    assert found.left_bp.tolist() == [6, 6] and found.right_bp.tolist() == [12, 6]
    assert found.left.tolist() == [code_of("TTTACA"), code_of("ACGTTG")]
    assert found.left_six.tolist() == [code_of("TTTACA"), code_of("ACGTTG")]
    assert found.right.tolist() == [code_of("ATATATGGGGGG"), code_of("TGTAAA")]
    masked = ids.copy()
    masked[0, 2] = MASK
    both = find_positions(ids, rows, slots=slots, valid=np.array([[True, True, True, False]]), vocabulary=vocabulary)
    assert both.left_bp.tolist() == [0, 6, 0] and both.left_six.tolist() == [-1, code_of("ACGTTG"), -1]


def test_positions_that_the_tokenizer_cut_short_are_left_out_and_counted():
    vocabulary = make_vocabulary(0)
    ids = encode(vocabulary, bases_of("ACGTTGCAACGGTTNACGTAC"))[
        None
    ]  # 6 6 T T N 6: the second 6-mer meets a single base
    slots = np.arange(ids.shape[1], dtype=np.int32)[None]
    valid = ids >= 5
    found = find_positions(ids, np.zeros(ids.shape, np.float32), slots=slots, valid=valid, vocabulary=vocabulary)
    assert found.slot.tolist() == [0] and found.left_out == int(valid.sum()) - 1


def test_an_order_that_was_not_fitted_is_an_error():
    vocabulary = make_vocabulary(0)
    chain = make_chain(random_bases(5000), 2)
    positions = all_tokens(vocabulary)
    with pytest.raises(ValueError, match="order 3 of a chain of order 2"):
        token_nats(chain, positions, vocabulary, order=3, direction=Direction.FORWARD)
    assert len(replace(positions, left_out=3)) == 4**6

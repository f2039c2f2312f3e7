import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plantgfm import sequence
from plantgfm.tokenization import encode as e
from plantgfm.tokenization import kernels
from plantgfm.tokenization import vocabulary as v
from plantgfm.tokenization.vocabulary import Vocabulary

TEXTS = st.lists(
    st.one_of(
        st.text("ACGTN", max_size=40),
        st.text("ACGT", max_size=60),
        st.builds(lambda unit, n: unit * n, st.text("ACGT", min_size=1, max_size=9), st.integers(1, 12)),
    ),
    max_size=5,
).map("".join)

# Greedy longest match, written out in letters: what the kernel must equal.
GOLDEN_EIGHTS = ("AAAAAAAA", "ACGTACGT", "CCCCGGGG", "GATTACAG", "CTGTAATC", "TTTTTTTT")
GOLDEN = {
    "": [],
    "N": [4],
    "ACGT": [5, 6, 7, 8],
    "AAAAAA": [9],
    "TTTTTT": [4104],
    "AAAAAAA": [9, 5],
    "AAAAAAAA": [4105],
    "TTTTTTTTT": [4110, 8],
    "CTGTAATC": [4108],
    "GATTACAGATTACA": [4109, 973],
    "ACGTACGTACGTAC": [4106, 442],
    "ACGTACGNACGTACGT": [442, 7, 4, 4106],
    "NNACGTANCCCCGGGG": [4, 4, 5, 6, 7, 8, 5, 4, 4107],
    "acgtRYACGTAC": [5, 6, 7, 8, 4, 4, 442],
    "UUUUUU": [4104],
}


@functools.cache
def ids_of(vocabulary: Vocabulary) -> dict[str, int]:
    return {token: i for i, token in enumerate(vocabulary.tokens)}


def greedy(vocabulary: Vocabulary, text: str) -> list[int]:
    ids = ids_of(vocabulary)
    found, at = [], 0
    while at < len(text):
        k = next(k for k in (8, 6, 1) if text[at : at + k] in ids and at + k <= len(text))
        found.append(ids[text[at : at + k]])
        at += k
    return found


def golden_vocabulary() -> Vocabulary:
    return Vocabulary(np.array([v.kmer_code(text) for text in sorted(GOLDEN_EIGHTS)], dtype=np.uint16))


@pytest.mark.parametrize("text", GOLDEN)
def test_golden_table(text):
    ids = e.encode(golden_vocabulary(), sequence.encode(text)).tolist()
    assert ids == GOLDEN[text], (
        f"{text!r} now gives {ids}: every checkpoint and every exported tokenizer reads the old ids. If the change is "
        "meant, raise LAYOUT_VERSION in plantgfm/tokenization/vocabulary.py, renew this table, say so in CHANGELOG.md."
    )


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_kernel_equals_the_greedy_rule(dense, text):
    assert e.encode(dense, sequence.encode(text)).tolist() == greedy(dense, text)


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_encode_then_decode_is_the_identity_and_spans_tile(dense, text):
    ids = e.encode(dense, sequence.encode(text))
    assert sequence.decode(e.decode(dense, ids)) == text
    spans = e.spans(dense, ids)
    assert np.array_equal(spans[1:, 0], spans[:-1, 1]) and (not len(ids) or spans[0, 0] == 0)
    assert (spans[-1, 1] if len(ids) else 0) == len(text)
    assert all(dense.tokens[i] == text[a:b] for i, (a, b) in zip(ids, spans))


@given(st.binary(max_size=200).map(lambda raw: np.frombuffer(raw, dtype=np.uint8)))
@settings(max_examples=100, deadline=None)
def test_no_iupac_text_maps_to_a_special_token(vocabulary, raw):
    letters = np.frombuffer(b"ACGTUNRYSWKMBDHVacgtunryswkmbdhv", dtype=np.uint8)
    ids = e.encode(vocabulary, sequence.encode(letters[raw % 32].tobytes()))
    assert ids.size == 0 or ids.min() >= v.UNKNOWN_BASE
    assert vocabulary.token_bp[ids].sum() == raw.size


@given(TEXTS, st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_repeat_fraction_is_the_mean_repeat_bit_of_the_span(dense, text, seed):
    repeats = np.random.default_rng(seed).random(len(text)) < 0.5
    bases = sequence.encode(text) | np.where(repeats, sequence.REPEAT_BIT, 0).astype(np.uint8)
    ids, fraction = e.encode_with_repeats(dense, bases)
    assert ids.tolist() == greedy(dense, text), "the repeat bit must not move a token"
    expected = [repeats[a:b].mean() for a, b in e.spans(dense, ids)]
    np.testing.assert_allclose(fraction, expected, atol=1e-6)


def genome(size=5_000, seed=3):
    rng = np.random.default_rng(seed)
    bases = rng.integers(0, 4, size).astype(np.uint8)
    bases[1000:1040] = sequence.UNKNOWN
    bases[rng.integers(0, size, 20)] = sequence.UNKNOWN
    bases[2000:3000] |= sequence.REPEAT_BIT
    return bases


@pytest.mark.parametrize("width", [0, 1, 5, 6, 7, 8, 9, 15, 64, 601])
def test_windows_equal_encoding_each_span_on_its_strand(dense, width):
    bases = genome()
    rng = np.random.default_rng(width)
    starts = np.concatenate((rng.integers(0, bases.size - width, 40), [0, bases.size - width])).astype(np.int64)
    reverse = rng.random(starts.size) < 0.5
    ids, repeat, cut = e.windows(dense, bases, starts=starts, reverse=reverse, width_bp=width, max_tokens=width + 2)
    assert cut == 0
    for row, (start, flip) in enumerate(zip(starts, reverse)):
        span = bases[start : start + width]
        expected, fraction = e.encode_with_repeats(dense, sequence.reverse_complement(span) if flip else span)
        n = expected.size
        assert ids[row, 0] == v.CLS and ids[row, 1 : n + 1].tolist() == expected.tolist()
        assert (ids[row, n + 1 :] == v.PAD).all() and (repeat[row, n + 1 :] == 0).all() and repeat[row, 0] == 0
        assert repeat[row, 1 : n + 1].tolist() == fraction.tolist()


def test_windows_cut_what_overflows_and_count_it(vocabulary):
    bases = np.full(100, sequence.UNKNOWN, dtype=np.uint8)
    starts, reverse = np.array([0, 50]), np.array([False, True])
    ids, _, cut = e.windows(vocabulary, bases, starts=starts, reverse=reverse, width_bp=50, max_tokens=11)
    assert cut == 2 * 40 and (ids[:, 1:] == v.UNKNOWN_BASE).all()
    _, _, cut = e.windows(vocabulary, bases, starts=starts, reverse=reverse, width_bp=50, max_tokens=51)
    assert cut == 0


def test_windows_read_a_memory_map_and_a_strided_view(vocabulary, tmp_path):
    bases = genome()
    bases.tofile(tmp_path / "bases.u8")
    mapped = np.memmap(tmp_path / "bases.u8", dtype=np.uint8, mode="r")
    doubled = np.repeat(bases, 2)[::2]
    args = {"starts": np.arange(0, 4000, 400), "reverse": np.arange(10) % 2 == 0, "width_bp": 306, "max_tokens": 64}
    expected = e.windows(vocabulary, bases, **args)
    for other in (mapped, doubled):
        found = e.windows(vocabulary, other, **args)
        assert np.array_equal(found[0], expected[0]) and np.array_equal(found[1], expected[1])


@pytest.mark.parametrize("start", [-1, 4_701])
def test_windows_outside_the_bases_are_refused(vocabulary, start):
    with pytest.raises(ValueError, match="window 0 covers"):
        e.windows(
            vocabulary, genome(), starts=np.array([start]), reverse=np.array([False]), width_bp=300, max_tokens=64
        )


def test_windows_need_room_for_cls(vocabulary):
    with pytest.raises(ValueError, match="one token for"):
        e.windows(vocabulary, genome(), starts=np.array([0]), reverse=np.array([False]), width_bp=6, max_tokens=0)


def test_decode_skips_specials_without_bases_and_refuses_mask(vocabulary):
    assert sequence.decode(e.decode(vocabulary, np.array([v.CLS, 9, 4, 8, v.SEP, v.PAD]))) == "AAAAAANT"
    with pytest.raises(ValueError, match=r"token at 1 is \[MASK\]"):
        e.decode(vocabulary, np.array([9, v.MASK]))


def test_ids_of_another_vocabulary_are_refused(vocabulary):
    for bad in (-1, vocabulary.size):
        with pytest.raises(ValueError, match=f"token id {bad} at 1"):
            e.spans(vocabulary, np.array([9, bad]))


def test_kernel_tokenizes_every_six_mer_to_its_own_id():
    plain = Vocabulary(np.zeros(0, dtype=np.uint16))
    bases = v.kmer_digits(np.arange(4**6), 6).astype(np.uint8).reshape(-1)
    ids, repeat = np.empty(bases.size, dtype=np.int32), np.empty(bases.size, dtype=np.float32)
    n = kernels.tokenize(bases, plain.eight_index, ids, repeat)
    assert ids[:n].tolist() == list(range(v.FIRST_SIX, v.FIRST_EIGHT))

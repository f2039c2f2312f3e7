"""What is visible around a masked token, against a plain reading of the window's text."""

import numpy as np
import pytest

from plantgfm.evaluation.positions import CONTEXT_BP, find_positions, take, token_codes
from plantgfm.sequence import UNKNOWN
from plantgfm.tokenization.encode import encode
from plantgfm.tokenization.vocabulary import CLS, FIRST_SIX, PAD, Vocabulary, kmer_code

LENGTH = 24


def windows_of(vocabulary: Vocabulary, *, seed: int, n: int = 12) -> np.ndarray:
    """Token windows with [CLS], some N, and padding."""
    generator = np.random.default_rng(seed)
    rows = np.full((n, LENGTH), PAD, np.int32)
    rows[:, 0] = CLS
    for row in rows:
        bases = generator.integers(0, 4, 130).astype(np.uint8)
        bases[generator.integers(0, 130, 2)] = UNKNOWN
        ids = encode(vocabulary, bases)[: LENGTH - 1 - int(generator.integers(0, 4))]
        row[1 : 1 + ids.size] = ids
    return rows


def draw_slots(tokens: np.ndarray, *, seed: int, n: int = 6) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    slots = np.zeros((len(tokens), n), np.int32)
    valid = np.zeros(slots.shape, bool)
    for row, ids in enumerate(tokens):
        choice = generator.permutation(np.flatnonzero(ids >= 5))[: n - 1]
        slots[row, : choice.size], valid[row, : choice.size] = choice, True
    return slots, valid


def side(texts: list[str]) -> str:
    """Text of tokens up to the first that is hidden, special or N, which is given as ''."""
    out = ""
    for text in texts:
        if not text:
            break
        out += text
    return out


def flip(text: str) -> str:
    return "".join("TGCA"["ACGT".index(base)] for base in text[::-1])


@pytest.mark.parametrize("seed", range(3))
def test_contexts_are_the_text_up_to_the_first_gap(vocabulary, seed):
    tokens = windows_of(vocabulary, seed=seed)
    slots, valid = draw_slots(tokens, seed=seed + 10)
    repeat = np.random.default_rng(seed).random(tokens.shape).astype(np.float32)
    found = find_positions(tokens, repeat, slots=slots, valid=valid, vocabulary=vocabulary)
    assert len(found) > 20
    for i in range(len(found)):
        row, column = found.window[i], slots[found.window[i], found.slot[i]]
        hidden = set(slots[row][valid[row]].tolist())
        texts = ["" if j in hidden or t < 5 else vocabulary.tokens[t] for j, t in enumerate(tokens[row].tolist())]
        left = flip(side([flip(text) for text in texts[:column][::-1]]))[-CONTEXT_BP:]
        right = side(texts[column + 1 :])[:CONTEXT_BP]
        assert (found.left_bp[i], found.right_bp[i]) == (len(left), len(right))
        assert found.left[i] == kmer_code(left) and found.right[i] == kmer_code(flip(right))
        before = texts[column - 1]
        assert found.left_six[i] == (kmer_code(before) if len(before) == 6 else -1)
        truth = vocabulary.tokens[tokens[row, column]]
        assert (found.code[i], found.bp[i]) == (kmer_code(truth), len(truth))
        assert found.repeat_fraction[i] == repeat[row, column]


def test_scored_are_long_tokens_before_long_tokens(vocabulary):
    tokens = windows_of(vocabulary, seed=5)
    slots, valid = draw_slots(tokens, seed=6)
    zeros = np.zeros(tokens.shape, np.float32)
    found = find_positions(tokens, zeros, slots=slots, valid=valid, vocabulary=vocabulary)
    wanted = set()
    for row, column in zip(*np.nonzero(valid)):
        at = slots[row, column]
        if at + 1 < LENGTH and tokens[row, at] >= FIRST_SIX and tokens[row, at + 1] >= FIRST_SIX:
            wanted.add((int(row), int(column)))
    assert set(zip(found.window.tolist(), found.slot.tolist())) == wanted
    assert found.left_out == valid.sum() - len(wanted) > 0


def test_the_last_column_has_nothing_after_it():
    vocabulary = Vocabulary(np.zeros(0, np.uint16))
    tokens = np.array([[CLS, FIRST_SIX, FIRST_SIX + 1]], np.int32)
    slots, valid = np.array([[2, 1]], np.int32), np.array([[True, True]])
    found = find_positions(tokens, np.zeros((1, 3), np.float32), slots=slots, valid=valid, vocabulary=vocabulary)
    assert found.slot.tolist() == [1] and found.right_bp.tolist() == [0]


def test_codes_spell_the_tokens(vocabulary):
    codes = token_codes(vocabulary)
    assert (codes[:5] == -1).all()
    for index in (5, 8, FIRST_SIX + 77, vocabulary.size - 1):
        assert codes[index] == kmer_code(vocabulary.tokens[index])


def test_taking_rows_keeps_them_whole(vocabulary):
    tokens = windows_of(vocabulary, seed=5)
    slots, valid = draw_slots(tokens, seed=6)
    zeros = np.zeros(tokens.shape, np.float32)
    found = find_positions(tokens, zeros, slots=slots, valid=valid, vocabulary=vocabulary)
    part = take(found, np.array([4, 2]))
    assert part.token.tolist() == found.token[[4, 2]].tolist()
    assert part.right.tolist() == found.right[[4, 2]].tolist()
    assert len(part) == 2 and part.left_out == found.left_out

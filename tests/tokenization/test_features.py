import numpy as np
import pytest

from plantgfm.tokenization import features as f
from plantgfm.tokenization import vocabulary as v
from plantgfm.tokenization.encode import encode
from plantgfm.tokenization.vocabulary import Vocabulary, kmer_code
from tests.fixtures import random_codes


@pytest.fixture(scope="module")
def matrix(vocabulary):
    return f.kmer_features(vocabulary)


def test_shape_type_and_determinism(vocabulary, matrix):
    assert matrix.shape == (vocabulary.size, f.N_FEATURES) == (vocabulary.size, 377) and matrix.dtype == np.float32
    assert np.array_equal(matrix, f.kmer_features(Vocabulary(vocabulary.eight_mers.copy())))


def test_columns_are_centred_and_rows_have_norm_about_one(matrix):
    np.testing.assert_allclose(matrix[1:].mean(axis=0), 0, atol=1e-5)
    norms = np.linalg.norm(matrix[1:], axis=1)
    assert (norms**2).mean() == pytest.approx(1, abs=1e-4)
    assert norms.min() > 0.4 and norms.max() < 2
    assert not matrix[v.PAD].any()


def test_padding_rows_are_zero_and_change_nothing_else(vocabulary, matrix):
    rows = -(-vocabulary.size // 128) * 128
    padded = f.kmer_features(vocabulary, rows=rows)
    assert padded.shape[0] == rows and not padded[vocabulary.size :].any()
    assert np.array_equal(padded[: vocabulary.size], matrix)
    with pytest.raises(ValueError, match="rows=100 is fewer"):
        f.kmer_features(vocabulary, rows=100)


def test_every_token_that_covers_bases_has_its_own_row(matrix):
    assert len(np.unique(matrix[v.UNKNOWN_BASE :].round(6), axis=0)) == len(matrix) - v.UNKNOWN_BASE


def columns(start, width):
    return slice(start, start + width)


def row(vocabulary, text):
    if len(text) == 6:
        return v.FIRST_SIX + kmer_code(text)
    return int(vocabulary.eight_index[kmer_code(text)])


def test_six_mers_and_eight_mers_share_what_touches_their_neighbours(vocabulary, matrix):
    eight = vocabulary.tokens[v.FIRST_EIGHT + 100]
    left, right = row(vocabulary, eight[:6]), row(vocabulary, eight[2:])
    me = row(vocabulary, eight)
    for start, width in ((0, 24), (48, 80), (208, 64)):
        assert np.array_equal(matrix[me, columns(start, width)], matrix[left, columns(start, width)])
    for start, width in ((24, 24), (128, 80), (272, 64)):
        assert np.array_equal(matrix[me, columns(start, width)], matrix[right, columns(start, width)])


def peaks(matrix, index, start, width, kinds):
    return matrix[index, columns(start, width)].reshape(-1, kinds).argmax(axis=1).tolist()


def test_columns_say_what_the_table_of_columns_says(vocabulary, matrix):
    index = row(vocabulary, "GATTAC")
    assert peaks(matrix, index, 0, 24, 4) == [2, 0, 3, 3, 0, 1]
    assert peaks(matrix, index, 24, 24, 4) == [1, 0, 3, 3, 0, 2]
    twos = [kmer_code(text) for text in ("GA", "AT", "TT", "TA", "AC")]
    assert peaks(matrix, index, 48, 80, 16) == twos
    assert peaks(matrix, index, 128, 80, 16) == twos[::-1]
    assert peaks(matrix, index, 208, 64, 64) == [kmer_code("GAT")]
    assert peaks(matrix, index, 272, 64, 64) == [kmer_code("TAC")]
    kinds = [peaks(matrix, i, 356, 5, 5)[0] for i in (v.CLS, v.UNKNOWN_BASE, v.FIRST_BASE, v.FIRST_SIX, v.FIRST_EIGHT)]
    assert kinds == [0, 1, 2, 3, 4]


def test_a_six_mer_never_stands_before_a_dinucleotide_that_its_columns_mark(vocabulary, matrix):
    marked = matrix[:, -16:] > 0
    assert marked.sum() == vocabulary.eight_mers.size and not marked[v.FIRST_EIGHT :].any()
    for text in vocabulary.tokens[v.FIRST_EIGHT : v.FIRST_EIGHT + 50]:
        assert marked[row(vocabulary, text[:6]), kmer_code(text[6:])]
    ids = encode(vocabulary, random_codes(20_000, seed=4))
    first, second = ids[:-1], ids[1:]
    six = (first >= v.FIRST_SIX) & (first < v.FIRST_EIGHT) & (second >= v.FIRST_SIX)
    opening = [kmer_code(vocabulary.tokens[token][:2]) for token in second[six]]
    assert six.sum() > 1000 and not marked[first[six], opening].any()

"""Ids of AgroNT's tokenizer: its golden vectors, and the vocabulary files that are refused."""

from itertools import product

import numpy as np
import pytest

from plantgfm.sequence import encode
from plantgfm.tokenization.esm import esm_tokens

SPECIALS = ["<unk>", "<pad>", "<mask>", "<cls>"]
SIXES = ["".join(letters) for letters in product("ATCG", repeat=6)]
AGRO_NT = [*SPECIALS, *SIXES, *"ATCGN", "<eos>", "<bos>"]  # the last two lie beyond the model's 4,105 rows

GOLDEN = {
    "ATTCCGATTCCGATTCCG": "3 367 367 367",
    "AAAACCCCGGGGTTTTACGTNACGTNNNNACGTTGCAACGTACGT": (
        "3 14 2819 1366 4103 4101 4104 4100 4102 4103 4101 4104 4104 4104 4104 731 2097 4100 4102 4103 4101"
    ),
    "ACGTGTACNTGCACGGANCGACTAGTCTGA": "3 737 4100 4102 4104 1935 4103 4100 4104 2856 3488",
    "ATCCCGGNNTCGACACN": "3 431 4103 4104 4104 1740 4102 4104",
    "ACGTG": "3 4100 4102 4103 4101 4103",
    "ACGTGTACG": "3 737 4100 4102 4103",
}


@pytest.mark.parametrize("text", GOLDEN)
def test_ids_are_those_of_the_published_tokenizer(text):
    assert esm_tokens(AGRO_NT, rows=4105).encode(encode(text)).tolist() == list(map(int, GOLDEN[text].split()))


def test_lower_case_is_read_as_bases_and_ambiguity_as_n():
    tokens = esm_tokens(AGRO_NT, rows=4105)
    assert tokens.encode(encode("acgtgtac")).tolist() == [3, 737, 4100, 4102]
    assert tokens.encode(encode("ACGTRYACGTGTAC")).tolist()[5:7] == [4104, 4104]
    assert (tokens.cls, tokens.pad, tokens.mask) == (3, 1, 2)


def test_another_order_of_specials_moves_all_ids():
    second = esm_tokens([*SPECIALS, "<eos>", "<bos>", *SIXES, *"ATCGN"], rows=4107)
    first = esm_tokens(AGRO_NT, rows=4105)
    codes = encode("ACGTGTACNTGC")
    np.testing.assert_array_equal(second.encode(codes)[1:], first.encode(codes)[1:] + 2)


def test_a_vocabulary_that_lacks_what_sequence_needs_is_refused():
    with pytest.raises(ValueError, match="token 'AAAAAC' is missing"):
        esm_tokens([token for token in AGRO_NT if token != "AAAAAC"], rows=4105)
    with pytest.raises(ValueError, match="token 'N' has id 4104, beyond the 4104 rows"):
        esm_tokens(AGRO_NT, rows=4104)

"""Which tokenizers of other people's models tell single bases, and by which ids."""

import re

import numpy as np
import pytest

from plantgfm.embedding.cutting import Cutting, esm_table, token_table
from plantgfm.export.bundle import BundleError
from plantgfm.sequence import encode
from plantgfm.tokenization.esm import PLAIN, esm_tokens
from plantgfm.tokenization.vocabulary import FIRST_BASE, MASK, UNKNOWN_BASE
from tests.tokenization.test_esm import AGRO_NT, GOLDEN

SIXES = AGRO_NT[4:4100]


class Tokenizer:
    """As one of transformers: tokens of a vocabulary, found by a pattern, between special ones."""

    def __init__(self, tokens, pattern, *, before=("[CLS]",), behind=(), lower=False, mask="[MASK]", odd=None):
        self.known = {token: i for i, token in enumerate(["[UNK]", "[PAD]", "[MASK]", "[CLS]", "[SEP]", *tokens])}
        self.pattern, self.before, self.behind, self.lower, self.odd = pattern, before, behind, lower, odd
        self.mask_token_id = self.known.get(mask)

    def get_vocab(self):
        return self.known

    def __call__(self, text):
        text = text.lower() if self.lower else text
        found = [*self.before, *re.findall(self.pattern, text), *self.behind]
        found = found[: self.odd] if self.odd else found
        return {"input_ids": [self.known.get(token, 0) for token in found]}


SIX = "[ACGT]{6}|."


@pytest.mark.parametrize("around", [{}, {"before": (), "behind": ("[SEP]",)}, {"behind": ("[SEP]",)}])
def test_six_mers_are_found_whatever_stands_around_them(around):
    tokenizer = Tokenizer([*SIXES, *"ATCGN"], SIX, **around)
    table = token_table(tokenizer)
    codes = encode("ACGTACGNAC")
    ids = [*table.before, *table.ids[table.cutting.encode(codes)], *table.behind]
    assert ids == tokenizer("ACGTACGNAC")["input_ids"] and table.cutting.longest_bp == 6
    assert table.ids[MASK] == 2 and table.before.size == len(around.get("before", "1"))
    widths = table.token_bp(np.array(ids, np.int32))
    assert widths[widths > 0].tolist() == [6, 1, 1, 1, 1] and widths.size == 5 + table.before.size + table.behind.size


@pytest.mark.parametrize("letters", ["ACGTN", "acgt", "NTGCAXYZ"])
def test_single_bases_are_found_in_either_case_and_without_a_token_for_n(letters):
    tokenizer = Tokenizer(letters, ".", behind=("[SEP]",), lower=letters.islower())
    table = token_table(tokenizer)
    assert table.cutting.longest_bp == 1
    ids = [*table.before, *table.ids[table.cutting.encode(encode("ACGTNA"))], *table.behind]
    assert ids == tokenizer("ACGTNA")["input_ids"]
    assert table.token_bp(np.array(ids, np.int32)).tolist() == [0, 1, 1, 1, 1, 1, 1, 0]
    assert table.ids[UNKNOWN_BASE] == (0 if "N" not in letters else tokenizer.known["N"])


WRONG = {
    "has no mask token": Tokenizer("ACGTN", ".", mask=None),
    "tokens are 2 to 3 bases long": Tokenizer([*"ACGTN", "AC", "TTA"], "AC|TTA|."),
    "tokens are 6 bases long": Tokenizer([*SIXES[:4000], *"ACGTN"], SIX),
    "no token for a single base": Tokenizer(SIXES, SIX),
    "has no token for a single base": Tokenizer("XYZ", "."),
    "does not cut .* into single bases": Tokenizer("ACGTN", ".", odd=9),
    "does not cut .* into 6-mers from the left": Tokenizer([*SIXES, *"ACGTN"], "[ACGT]{6}(?=.)|."),
}


@pytest.mark.parametrize("said", WRONG)
def test_other_tokenizers_are_refused_with_the_reason(said):
    with pytest.raises(BundleError, match=said):
        token_table(WRONG[said])


def test_the_table_of_esm_is_that_of_its_tokenizer():
    tokens = esm_tokens(AGRO_NT, rows=4105)
    table = esm_table(tokens)
    assert (table.before.tolist(), table.behind.size, table.ids[MASK]) == ([3], 0, 2)
    for text, golden in GOLDEN.items():
        ids, spans = table.cutting.tokens_of(encode(text))
        theirs = np.concatenate([table.before, table.ids[ids[1:]]])
        assert theirs.tolist() == list(map(int, golden.split()))
        widths = [0, *(spans[:, 1] - spans[:, 0]).tolist()]
        assert table.token_bp(theirs).tolist() == widths == tokens.token_bp(theirs).tolist()


def test_single_bases_are_cut_one_by_one():
    ids, spans = Cutting(PLAIN, 1).tokens_of(encode("ACGNT"))
    assert ids[1:].tolist() == [FIRST_BASE, FIRST_BASE + 1, FIRST_BASE + 2, UNKNOWN_BASE, FIRST_BASE + 3]
    assert spans.tolist() == [[i, i + 1] for i in range(5)]

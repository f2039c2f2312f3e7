import json
import re

import numpy as np
import pytest
from tokenizers import Tokenizer

from plantgfm import sequence
from plantgfm.tokenization import huggingface as hf
from plantgfm.tokenization import vocabulary as v
from plantgfm.tokenization.encode import encode
from plantgfm.tokenization.vocabulary import Vocabulary


def exported(vocabulary: Vocabulary) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(hf.tokenizer_json(vocabulary)))


@pytest.fixture(scope="module")
def tokenizer(dense):
    return exported(dense)


def check(tokenizer, vocabulary, text):
    expected = [v.CLS, *encode(vocabulary, sequence.encode(text)).tolist()]
    assert tokenizer.encode(text).ids == expected, text


def random_texts(seed, letters, probabilities, n=60):
    rng = np.random.default_rng(seed)
    table = np.frombuffer(letters, dtype=np.uint8)
    for length in rng.integers(0, 400, n):
        yield rng.choice(table, size=length, p=probabilities).tobytes().decode()


def test_ids_equal_the_kernel_on_plain_text(tokenizer, dense):
    for text in random_texts(1, b"ACGTN", [0.3, 0.19, 0.19, 0.3, 0.02]):
        check(tokenizer, dense, text)


def test_ids_equal_the_kernel_on_any_iupac_text_in_either_case(tokenizer, dense):
    letters = b"ACGTUNRYSWKMBDHVacgtunryswkmbdhv"
    weights = np.array([8.0 if chr(letter) in "ACGTacgt" else 0.2 for letter in letters])
    for text in random_texts(2, letters, weights / weights.sum()):
        check(tokenizer, dense, text)


def test_ids_equal_the_kernel_on_adversarial_text(tokenizer, dense):
    eights = dense.tokens[v.FIRST_EIGHT :]
    texts = ["", "N", "A", "NNNNNNNN", "n" * 50, "ACGTACGTN", "NACGTACGT", "uuuuuuuu", "ACGTAC" * 20]
    for word in eights[::400]:
        # 8-mers that overlap, that touch N, that end the text, that lack their last base.
        texts += [word, word[:7], word[1:] + word, word + word[4:], f"N{word}N", f"ACGTAC{word}", f"A{word}", word * 3]
    for text in texts:
        check(tokenizer, dense, text)


def test_a_vocabulary_without_eight_mers_exports_too():
    plain = Vocabulary(np.zeros(0, dtype=np.uint16))
    tokenizer = exported(plain)
    for text in ("ACGTACGTACGTAC", "ACGTN", "", "nacgtacg"):
        check(tokenizer, plain, text)


def test_every_token_has_the_same_id_there(tokenizer, dense):
    assert tokenizer.get_vocab_size() == dense.size
    assert [tokenizer.id_to_token(i) for i in range(dense.size)] == dense.tokens


def test_letters_that_are_no_nucleotides_become_n(tokenizer):
    assert tokenizer.encode("AC-GT *x\n").ids == [v.CLS, 5, 6, 4, 7, 8, 4, 4, 4, 4]


def test_decoding_gives_the_text_back(tokenizer):
    text = "ACGTACGTNNACGATTACAGT"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_special_tokens_in_the_text_stay_special(tokenizer, dense):
    six = encode(dense, sequence.encode("CCACCA")).tolist()
    assert tokenizer.encode("CCACCA [MASK] CCACCA").ids == [v.CLS, *six, v.MASK, *six]
    assert tokenizer.encode("[PAD]").ids == [v.CLS, v.PAD]
    assert tokenizer.encode("CCACCA", "CCACCA").ids == [v.CLS, *six, v.SEP, *six]


def test_the_pattern_lists_exactly_the_chosen_eight_mers(vocabulary):
    pattern = re.compile(hf.split_pattern(vocabulary))
    for code in range(0, 4**8, 53):
        text = v.kmer_text(code, 8)
        assert len(pattern.match(text).group()) == (8 if vocabulary.eight_index[code] >= 0 else 6), text


def test_the_config_names_specials_and_no_unknown_token():
    config = hf.tokenizer_config(max_tokens=512)
    assert config["model_max_length"] == 512 and "unk_token" not in config
    assert (config["pad_token"], config["mask_token"], config["cls_token"]) == ("[PAD]", "[MASK]", "[CLS]")
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"

import json

import numpy as np
import pytest

from plantgfm.tokenization import vocabulary as v
from plantgfm.tokenization.vocabulary import Vocabulary

EMPTY = np.zeros(0, dtype=np.uint16)
GOLDEN_FINGERPRINT = "b5d5821bbc920a71"


def test_layout_is_the_published_one(vocabulary):
    tokens = vocabulary.tokens
    assert tokens[:9] == ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "N", "A", "C", "G", "T"]
    assert tokens[9] == "AAAAAA" and tokens[10] == "AAAAAC" and tokens[4104] == "TTTTTT"
    assert (v.PAD, v.CLS, v.SEP, v.MASK, v.UNKNOWN_BASE, v.FIRST_BASE) == (0, 1, 2, 3, 4, 5)
    assert (v.FIRST_SIX, v.FIRST_EIGHT, v.N_SPECIAL) == (9, 4105, 4)
    assert len(tokens) == vocabulary.size == 4105 + vocabulary.eight_mers.size
    assert len(set(tokens)) == vocabulary.size
    assert tokens[9:4105] == sorted(tokens[9:4105]) and tokens[4105:] == sorted(tokens[4105:])


def test_token_bp_is_the_length_of_the_text(vocabulary):
    lengths = [0 if text.startswith("[") else len(text) for text in vocabulary.tokens]
    assert vocabulary.token_bp.tolist() == lengths


def test_eight_index_gives_the_id_of_each_chosen_eight_mer(vocabulary):
    chosen = np.flatnonzero(vocabulary.eight_index >= 0)
    assert np.array_equal(chosen, vocabulary.eight_mers)
    for code in chosen[::97]:
        assert vocabulary.tokens[vocabulary.eight_index[code]] == v.kmer_text(code, 8)


def test_reverse_complement_of_codes_is_an_involution_and_right():
    codes = np.arange(4**8)
    flipped = v.reverse_complement_codes(codes, 8)
    assert np.array_equal(v.reverse_complement_codes(flipped, 8), codes)
    assert (flipped == codes).sum() == 256  # palindromes
    assert v.kmer_text(v.reverse_complement_codes(np.array([v.kmer_code("AACCGGTC")]), 8)[0], 8) == "GACCGGTT"


def test_a_set_that_is_not_closed_is_refused():
    with pytest.raises(ValueError, match="AAAAAAAC stands without its reverse complement"):
        Vocabulary(np.array([1], dtype=np.uint16))


def test_unsorted_or_repeated_eight_mers_are_refused():
    for codes in ([65535, 0], [0, 0, 65535]):
        with pytest.raises(ValueError, match="unique and ascending"):
            Vocabulary(np.array(codes, dtype=np.uint16))


def test_equality_is_that_of_fingerprints(vocabulary):
    same = Vocabulary(vocabulary.eight_mers.copy())
    assert same == vocabulary and hash(same) == hash(vocabulary)
    assert Vocabulary(EMPTY) != vocabulary and vocabulary != "text"


def test_save_and_load_round_trip_and_leave_nothing_beside(vocabulary, tmp_path):
    path = vocabulary.save(tmp_path / "vocabulary.json")
    assert Vocabulary.load(path) == vocabulary
    assert Vocabulary.load(Vocabulary(EMPTY).save(tmp_path / "plain.json")).size == v.FIRST_EIGHT
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plain.json", "vocabulary.json"]


def test_a_changed_file_is_refused_with_both_fingerprints(vocabulary, tmp_path):
    path = vocabulary.save(tmp_path / "vocabulary.json")
    content = json.loads(path.read_text())
    content["eight_mers"] = []
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"{vocabulary.fingerprint}.*{Vocabulary(EMPTY).fingerprint}"):
        Vocabulary.load(path)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"format": "other"}, "is no plantgfm vocabulary"),
        ({"layout": 99}, "token layout 99"),
        ({"eight_mers": ["ACG"]}, "texts of 8 letters"),
        ({"eight_mers": ["ACGTACGN"]}, "only A, C, G and T"),
        ({"fingerprint": None}, "states no fingerprint"),
    ],
)
def test_a_malformed_file_is_refused_by_name(vocabulary, tmp_path, change, message):
    path = vocabulary.save(tmp_path / "vocabulary.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        Vocabulary.load(path)


def test_a_file_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "v.json").write_text(">chr1\nACGT\n")
    with pytest.raises(ValueError, match="v.json: is no JSON"):
        Vocabulary.load(tmp_path / "v.json")


def test_the_fingerprint_stands_for_the_layout_too(vocabulary, monkeypatch):
    plain = Vocabulary(EMPTY)
    assert plain.fingerprint == GOLDEN_FINGERPRINT, (
        f"the vocabulary of no 8-mers now has fingerprint {plain.fingerprint}: every saved vocabulary and checkpoint "
        "would be refused. If the change is meant, raise LAYOUT_VERSION, renew this value, say so in CHANGELOG.md."
    )
    monkeypatch.setattr(v, "LAYOUT_VERSION", v.LAYOUT_VERSION + 1)
    assert Vocabulary(vocabulary.eight_mers).fingerprint != vocabulary.fingerprint


def test_a_write_that_fails_leaves_nothing_behind(vocabulary, tmp_path, monkeypatch):
    def full(self, target):
        raise OSError("no space left on device")

    monkeypatch.setattr(v.Path, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        vocabulary.save(tmp_path / "vocabulary.json")
    assert not list(tmp_path.iterdir())

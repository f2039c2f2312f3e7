"""Vocabularies of single bases and of byte-pair encoding: their ids, files, and what refuses them."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plantgfm import sequence
from plantgfm.sequence import REPEAT_BIT
from plantgfm.tokenization import encode as e
from plantgfm.tokenization.choose import build_vocabulary
from plantgfm.tokenization.config import VocabularyConfig, VocabularyKind
from plantgfm.tokenization.features import N_FEATURES, kmer_features
from plantgfm.tokenization.huggingface import tokenizer_json
from plantgfm.tokenization.learn import as_library, learn_merges
from plantgfm.tokenization.report import tokenizer_report
from plantgfm.tokenization.vocabulary import CLS, FIRST_BASE, PAD, UNKNOWN_BASE, Vocabulary

BASES = Vocabulary.of_bases()
TEXTS = st.lists(
    st.one_of(
        st.text("ACGTN", max_size=30),
        st.text("AC", max_size=60),
        st.builds(lambda unit, n: unit * n, st.text("ACGT", min_size=1, max_size=7), st.integers(1, 14)),
    ),
    max_size=5,
).map("".join)


def text_of(seed: int, length: int, unknown: float = 0.0) -> np.ndarray:
    """Bases that copy themselves at short distances, so that merges of many lengths are learnt."""
    rng = np.random.default_rng(seed)
    bases = rng.integers(0, 4, length).astype(np.uint8)
    for i in np.flatnonzero(rng.random(length) < 0.6):
        bases[i] = bases[max(0, i - 1 - seed % 5)]
    bases[rng.random(length) < unknown] = sequence.UNKNOWN
    return bases


@functools.cache
def learnt(seed: int = 0, size: int = 300) -> Vocabulary:
    return learn_merges(text_of(seed, 40_000, unknown=0.002).reshape(40, 1000), size)


def joined_by_the_rule(vocabulary: Vocabulary, text: str) -> list[str]:
    """Byte-pair encoding as its paper has it: the first-learnt pair of neighbours is joined, the leftmost of equals."""
    rank = {pair: number for number, pair in enumerate(vocabulary.merges)}
    tokens = list(text)
    while True:
        found = min((rank.get(pair, 10**9), at) for at, pair in enumerate([*zip(tokens, tokens[1:]), ("", "")]))
        if found[0] == 10**9:
            return tokens
        tokens[found[1] : found[1] + 2] = [tokens[found[1]] + tokens[found[1] + 1]]


@given(TEXTS, st.integers(0, 4), st.sampled_from([12, 40, 300]))
@settings(max_examples=150, deadline=None)
def test_ids_are_those_of_the_rule_and_of_the_library(text, seed, size):
    vocabulary = learnt(seed, size)
    ids = e.encode(vocabulary, sequence.encode(text)).tolist()
    assert [vocabulary.tokens[i] for i in ids] == joined_by_the_rule(vocabulary, text)
    assert ids == as_library(vocabulary).encode(text).ids


@given(TEXTS)
@settings(max_examples=60, deadline=None)
def test_decoding_gives_the_text_back_and_spans_tile_it(text):
    for vocabulary in (BASES, learnt()):
        codes = sequence.encode(text)
        ids = e.encode(vocabulary, codes)
        assert sequence.decode(e.decode(vocabulary, ids)) == text
        spans = e.spans(vocabulary, ids)
        assert [text[start:end] for start, end in spans] == [vocabulary.tokens[i] for i in ids]


def test_single_bases_in_lower_case_and_with_ambiguity_codes():
    assert e.encode(BASES, sequence.encode("acgtRYuN")).tolist() == [5, 6, 7, 8, 4, 4, 8, 4]
    assert e.encode(learnt(), sequence.encode("acgtnRACGT")).tolist() == (
        e.encode(learnt(), sequence.encode("ACGTNNACGT")).tolist()
    )
    assert e.encode(BASES, sequence.encode("")).size == e.encode(learnt(), sequence.encode("")).size == 0


@pytest.mark.parametrize("kind", ["bases", "bpe"])
def test_windows_are_their_spans_on_their_strand_with_the_share_of_repeats(kind):
    vocabulary = BASES if kind == "bases" else learnt()
    bases = text_of(9, 3000, unknown=0.01)
    bases[1000:1500] |= REPEAT_BIT
    starts, reverse = np.array([0, 700, 960, 1400, 2799], np.int64), np.array([False, True, False, True, True])
    ids, repeat, cut = e.windows(vocabulary, bases, starts=starts, reverse=reverse, width_bp=201, max_tokens=202)
    assert cut == 0
    for row, (start, flip) in enumerate(zip(starts.tolist(), reverse.tolist())):
        piece = bases[start : start + 201]
        piece = sequence.reverse_complement(piece) if flip else piece
        wanted, shares = e.encode_with_repeats(vocabulary, piece)
        n = wanted.size
        assert ids[row, 0] == CLS and ids[row, 1 : n + 1].tolist() == wanted.tolist()
        assert (ids[row, n + 1 :] == PAD).all() and (repeat[row, n + 1 :] == 0).all()
        inside = (piece & REPEAT_BIT) != 0
        by_hand = [inside[a:b].mean() for a, b in e.spans(vocabulary, wanted)]
        np.testing.assert_allclose(shares, by_hand, atol=1e-6)
        assert repeat[row, 1 : n + 1].tolist() == shares.tolist()


@pytest.mark.parametrize("kind", ["bases", "bpe"])
def test_tokens_beyond_the_slots_are_cut_and_their_bases_counted(kind):
    vocabulary = BASES if kind == "bases" else learnt()
    bases, start = text_of(4, 500), np.zeros(1, np.int64)
    ids, _, cut = e.windows(vocabulary, bases, starts=start, reverse=start > 0, width_bp=500, max_tokens=21)
    whole = e.encode(vocabulary, bases)
    assert ids[0, 1:].tolist() == whole[:20].tolist()
    assert cut == 500 - vocabulary.token_bp[whole[:20]].sum()


def test_learning_is_deterministic_joins_no_unknown_base_and_reads_both_strands():
    windows = text_of(3, 20_000, unknown=0.01).reshape(20, 1000)
    one, other = (learn_merges(windows, 100) for _ in range(2))
    assert one == other and one.merges == other.merges and one.size == 100
    assert not any("N" in text for text in one.tokens[FIRST_BASE:])
    forward = Vocabulary.of_merges((("A", "C"),))
    assert learn_merges(sequence.encode("AC" * 400)[None, :], 10).merges[0] in (forward.merges[0], ("G", "T"))
    both = learn_merges(np.stack([sequence.encode("AC" * 400)]), 11)
    assert set(both.tokens[9:]) == {"AC", "GT"}


def test_too_little_to_learn_from_is_told():
    with pytest.raises(ValueError, match="gave .* tokens of the 5000 wanted: raise tokenizer.sample_bp"):
        learn_merges(text_of(1, 300).reshape(1, 300), 5000)
    with pytest.raises(ValueError, match="8 tokens are fewer than"):
        learn_merges(text_of(1, 300).reshape(1, 300), 8)


@pytest.mark.parametrize("kind", list(VocabularyKind))
def test_settings_choose_the_kind_on_the_same_sample(kind):
    config = VocabularyConfig(eight_mers=0, sample_bp=400_000, window_bp=500, kind=kind)
    vocabulary, strata = build_vocabulary(
        text_of(2, 600_000),
        offsets=np.array([0, 300_000]),
        lengths=np.array([300_000, 300_000]),
        species=np.array([0, 1]),
        species_names=["una", "dua"],
        config=config,
    )
    assert vocabulary.kind is kind and strata
    assert vocabulary.size == (9 if kind is VocabularyKind.BASES else 4105)


@pytest.mark.parametrize("kind", ["bases", "bpe"])
def test_a_file_gives_the_same_vocabulary_and_a_damaged_one_is_refused(kind, tmp_path):
    vocabulary = BASES if kind == "bases" else learnt()
    path = vocabulary.save(tmp_path / "vocabulary.json")
    again = Vocabulary.load(path)
    assert again == vocabulary and again.kind is vocabulary.kind and again.merges == vocabulary.merges
    text = path.read_text()
    path.write_text(text.replace(f'"{kind}"', '"words"'))
    with pytest.raises(ValueError, match="is of kind 'words', this code knows hybrid, bases, bpe"):
        Vocabulary.load(path)
    path.write_text(text.replace('"merges"', '"merged"'))
    with pytest.raises(ValueError, match="merges must be a list"):
        Vocabulary.load(path)


def test_wrong_parts_are_refused():
    none = np.zeros(0, np.uint16)
    with pytest.raises(ValueError, match="merge 1 joins AC and GG, but 'GG' is no token before it"):
        Vocabulary.of_merges((("A", "C"), ("AC", "GG")))
    with pytest.raises(ValueError, match="merge 2 makes AAA, which is a token already"):
        Vocabulary.of_merges((("A", "A"), ("AA", "A"), ("A", "AA")))
    with pytest.raises(ValueError, match="kind bases has no merges, 1 are given"):
        Vocabulary(none, VocabularyKind.BASES, (("A", "C"),))
    with pytest.raises(ValueError, match="kind bpe has no 8-mers, 1 are given"):
        Vocabulary(np.zeros(1, np.uint16), VocabularyKind.BPE)


def test_layout_widths_and_bases_of_every_id():
    vocabulary = Vocabulary.of_merges((("A", "C"), ("AC", "AC"), ("G", "AC")))
    assert vocabulary.tokens[UNKNOWN_BASE:] == ["N", "A", "C", "G", "T", "AC", "ACAC", "GAC"]
    assert vocabulary.token_bp.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 4, 3]
    assert vocabulary.token_bases[9:].tolist() == [[0, 1, -1, -1], [0, 1, 0, 1], [2, 0, 1, -1]]
    assert len({BASES.fingerprint, vocabulary.fingerprint, Vocabulary(np.zeros(0, np.uint16)).fingerprint}) == 3


@pytest.mark.parametrize("vocabulary", [BASES, learnt()], ids=["bases", "bpe"])
def test_every_token_that_covers_bases_has_features_of_its_own(vocabulary):
    features = kmer_features(vocabulary)
    assert features.shape == (vocabulary.size, N_FEATURES) and np.isfinite(features).all()
    assert len(np.unique(features[FIRST_BASE:18].round(5), axis=0)) == len(features[FIRST_BASE:18])
    assert (features[PAD] == 0).all()


@pytest.mark.parametrize("vocabulary", [BASES, learnt()], ids=["bases", "bpe"])
def test_what_needs_kmers_says_so_in_one_line(vocabulary):
    wanted = rf"works with 6- and 8-mers only, this vocabulary is of tokenizer.kind={vocabulary.kind.name}: [^\n]*$"
    for refuse in (tokenizer_json, lambda v: tokenizer_report(v, []), lambda v: v.eight_index):
        with pytest.raises(ValueError, match=wanted):
            refuse(vocabulary)

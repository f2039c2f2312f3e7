"""A model from Python: what its methods give is what the network computes; wrong input is told in a line."""

import json
import shutil
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import plantgfm
from plantgfm.embedding.opened import Model, load
from plantgfm.export.bundle import BundleError, load_bundle
from plantgfm.export.exchange import write_exchange
from plantgfm.objectives.nucleotides import per_base_log_probabilities
from plantgfm.sequence import encode, reverse_complement
from plantgfm.tokenization.encode import encode as encode_tokens
from plantgfm.tokenization.vocabulary import CLS, MASK
from tests.fixtures import lively_bundle, small_bundle, states_and_logits

TEXTS = ["ACGTACGGCATTACGATTNACGTACGT", "ttgacca"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model(lively_bundle(tmp_path_factory.mktemp("opened") / "b"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A bundle `b` and its export `there`."""
    folder = tmp_path_factory.mktemp("opened")
    write_exchange(folder / "there", small_bundle(folder / "b"))
    return folder


def test_six_lines_open_a_bundle_or_its_export_and_give_the_same(folders):
    bundle, there = plantgfm.load(folders / "b"), plantgfm.load(str(folders / "there"))
    assert bundle.bundle.vocabulary == there.bundle.vocabulary and there.width == 32
    np.testing.assert_allclose(there.embed(TEXTS), bundle.embed(TEXTS), atol=1e-5)
    assert there.fingerprint != bundle.fingerprint == load_bundle(folders / "b").fingerprint


def test_pooling_layer_and_strand_are_heard(model):
    codes = [encode(text) for text in TEXTS]
    tokens = model.embed(TEXTS, pooling="token", strand="reverse")
    assert [len(one) for one in tokens] == [len(model.spans(text, strand="reverse")) for text in TEXTS]
    np.testing.assert_allclose([one.mean(axis=0) for one in tokens], model.embed(TEXTS, strand="reverse"), atol=1e-4)
    assert [one.shape for one in model.embed(codes, pooling="base")] == [(27, 32), (7, 32)]
    forward = [one.max(axis=0) for one in model.embed(TEXTS, pooling="token", layer=1)]
    np.testing.assert_allclose(model.embed(TEXTS, pooling="max", layer=1), forward, atol=1e-4)


def test_few_sequences_make_a_batch_of_few_rows(model, monkeypatch):
    rows, vectors = [], model.encoder.vectors
    monkeypatch.setattr(
        model.encoder, "vectors", lambda tokens, **how: (rows.append(len(tokens)), vectors(tokens, **how))[1]
    )
    for n, most in ((1, 32), (3, 32), (3, 2)):
        assert model.embed(["ACGTACG"] * n, batch_windows=most).shape == (n, 32)
    assert rows == [1, 4, 2, 2]


def test_spans_tile_the_sequence_on_either_strand(model):
    forward, reverse = (model.spans("ACGTTGCANACG", strand=strand) for strand in ("forward", "reverse"))
    assert forward.tolist() == [[0, 6], [6, 7], [7, 8], [8, 9], [9, 10], [10, 11], [11, 12]]
    assert reverse.tolist() == [[0, 1], [1, 2], [2, 8], [8, 9], [9, 10], [10, 11], [11, 12]]


def test_logits_are_those_of_the_network_cls_first(model):
    found = model.logits(TEXTS)
    for text, logits in zip(TEXTS, found):
        row = [CLS, *encode_tokens(model.bundle.vocabulary, encode(text))]
        assert logits.shape == (len(row), model.bundle.vocabulary.size)
        np.testing.assert_allclose(logits, states_and_logits(model.bundle, row)[1], atol=1e-4)


def test_a_base_has_the_probability_that_hiding_its_token_gives(model):
    vocabulary = model.bundle.vocabulary
    (forward,) = model.per_base_probabilities([TEXTS[0]], strand="forward")
    codes = encode(TEXTS[0])
    ids = encode_tokens(vocabulary, codes)
    for index, (start, end) in enumerate(model.spans(TEXTS[0])):
        row = np.array([CLS, *ids], np.int32)
        row[index + 1] = MASK
        log = jnp.asarray(states_and_logits(model.bundle, row)[1][index + 1])
        expected = per_base_log_probabilities(log, np.int32(end - start), vocabulary.token_bases)
        np.testing.assert_allclose(forward[start:end], np.exp(expected)[: end - start], atol=1e-4)
    (back,) = model.per_base_probabilities([reverse_complement(codes)], strand="forward")
    (reverse,) = model.per_base_probabilities([TEXTS[0]], strand="reverse")
    np.testing.assert_allclose(reverse, back[::-1, ::-1], atol=1e-4)
    (both,) = model.per_base_probabilities([TEXTS[0]])
    np.testing.assert_allclose(both, (forward + reverse) / 2, atol=1e-5)
    np.testing.assert_allclose(both.sum(axis=1), 1, atol=1e-4)
    assert np.abs(forward - reverse).max() > 0.01


def test_gaps_are_filled_with_the_likeliest_bases_that_agree_with_what_is_known(model):
    text = "ACGTACGGCATTACNNTTACGTACGTTTGN"
    filled = model.fill(text)
    assert filled.positions.tolist() == [14, 15, 29] and filled.probabilities.shape == (3,)
    kept = [i for i in range(len(text)) if text[i] != "N"]
    assert [filled.sequence[i] for i in kept] == [text[i] for i in kept] and "N" not in filled.sequence
    assert np.all((filled.probabilities > 0) & (filled.probabilities <= 1 + 1e-6))
    # One gap in one token: by hand, the likeliest of the sixteen 6-mers that have its known bases.
    text, vocabulary = "ACGTGAGGCATTACNNTTCACTAC", model.bundle.vocabulary
    parts = [encode_tokens(vocabulary, encode(part)).tolist() for part in (text[:12], text[18:])]
    row = [CLS, *parts[0], MASK, *parts[1]]
    log = jax.nn.log_softmax(states_and_logits(model.bundle, row)[1][len(parts[0]) + 1])
    fits = {i: token for i, token in enumerate(vocabulary.tokens) if len(token) == 6 and token[:2] == "AC"}
    fits = {i: token for i, token in fits.items() if token[4:] == "TT"}
    shares = {token: float(np.exp(log[i])) for i, token in fits.items()}
    best = max(shares, key=shares.get)
    found = model.fill(text)
    assert len(fits) == 16 and found.sequence == text[:12] + best + text[18:]
    first = sum(share for token, share in shares.items() if token[2] == best[2]) / sum(shares.values())
    np.testing.assert_allclose(found.probabilities[0], first, atol=1e-4)


def test_a_mask_stands_for_six_bases_and_a_whole_sequence_can_be_unknown(model):
    with_mask, with_n = model.fill("ACGTGAGGCATT[MASK]CACTAC"), model.fill("ACGTGAGGCATTNNNNNNCACTAC")
    assert with_mask.sequence == with_n.sequence and with_mask.positions.tolist() == list(range(12, 18))
    assert len(model.fill("N" * 40).sequence) == 40 and "N" not in model.fill("N" * 40).sequence
    assert model.fill("acgtac").sequence == "ACGTAC" and model.fill("acgtac").positions.size == 0


WRONG = {
    "one text was given where a list": lambda model: model.embed("ACGT"),
    "sequence 1 is empty": lambda model: model.embed(["ACGT", ""]),
    "sequence 0: character 'L' at position 1 is no IUPAC nucleotide": lambda model: model.embed(["LVLV"]),
    "sequence 0 is neither a text nor an array of base codes": lambda model: model.logits([np.array([5], np.uint8)]),
    "neither a text nor an array": lambda model: model.logits([np.array([1, 2])]),
    "unknown pooling 'median': give one of mean, cls, max, token, base": lambda m: m.embed(["A"], pooling="median"),
    "unknown strand 'both strands'": lambda model: model.per_base_probabilities(["A"], strand="both strands"),
    "embedding.layer=3 does not exist": lambda model: model.embed(["A"], layer=3),
    "pooling=token has no mean of both": lambda model: model.embed(["A"], pooling="token", strand="both"),
    "ask for forward or reverse": lambda model: model.spans("A", strand="both"),
    "window_bp=-1 is negative": lambda model: model.score_variants("v", "f", window_bp=-1),
    "v.vcf: does not exist": lambda model: model.score_variants("v.vcf", "f"),
}


@pytest.mark.parametrize("said", WRONG)
def test_wrong_input_is_told_in_a_line(model, said):
    with pytest.raises(ValueError, match=said) as caught:
        WRONG[said](model)
    assert "\n" not in str(caught.value)


def test_a_causal_model_has_no_mask(model):
    causal = replace(model.bundle, model_config=replace(model.bundle.model_config, causal=True))
    model = Model(causal)
    with pytest.raises(BundleError, match="this model is causal"):
        model.per_base_probabilities(["ACGT"])


def test_a_damaged_folder_is_refused(folders, tmp_path):
    for name in ("b", "there"):
        shutil.copytree(folders / name, tmp_path / name)
    there = tmp_path / "there"
    (tmp_path / "b" / "vocabulary.json").write_text("{}")
    mark = json.loads((there / "plantgfm.json").read_text())
    (there / "plantgfm.json").write_text(json.dumps({**mark, "vocabulary_fingerprint": "0"}))
    for path, said in ((tmp_path / "b", "SHA-256 differs"), (there, "of another model"), (tmp_path, "is no bundle")):
        with pytest.raises(BundleError, match=said):
            load(path)

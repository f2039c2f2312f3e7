"""Other people's masked models behind the interface of ours: ESM-format ones in JAX, by hand; what is refused."""

from functools import cache

import jax
import numpy as np
import pytest

from plantgfm.embedding.masked import masked_model
from plantgfm.embedding.opened import load
from plantgfm.export.bundle import BundleError
from plantgfm.formats.fasta import write_fasta
from plantgfm.model import esm
from plantgfm.sequence import BASES, decode, encode, reverse_complement
from tests.export.test_esm import write_esm
from tests.fixtures import random_codes, record
from tests.tokenization.test_esm import AGRO_NT

TEXT = "ACGTACGGCATTNACGATTACG"  # two 6-mers, N, a 6-mer, three single bases
SPANS = [[0, 6], [6, 12], [12, 13], [13, 19], [19, 20], [20, 21], [21, 22]]


@pytest.fixture(scope="module")
def agro(tmp_path_factory):
    return load(write_esm(tmp_path_factory.mktemp("masked") / "agro"))


@cache
def compiled(model):
    def forward(params, tokens):
        states = esm.states(params, tokens, config=model.config)[-1]
        return states, esm.logits(params, states, config=model.config)

    return jax.jit(forward)


def computed(agro, ids):
    """States [L, D] and logits [L, W] of one row, from the model's own functions."""
    model, row = agro.encoder.model, np.full((1, 32), 1, np.int32)  # <pad> is 1
    row[0, : len(ids)] = ids
    states, logits = compiled(model)(model.params, row)
    return np.asarray(states)[0, : len(ids)], np.asarray(logits)[0, : len(ids)]


def hidden(agro, ids, index, offset):
    """P(A, C, G, T) at an offset of a token while it is hidden, summed over the tokens of its length, one by one."""
    row = np.array(ids)
    length = len(AGRO_NT[row[index]])
    row[index] = AGRO_NT.index("<mask>")
    shares = np.asarray(jax.nn.softmax(computed(agro, row)[1][index]))
    fits = [i for i, token in enumerate(AGRO_NT) if len(token) == length and set(token) <= set(BASES)]
    sums = np.array([sum(shares[i] for i in fits if AGRO_NT[i][offset] == base) for base in BASES])
    return sums / sums.sum()


def test_logits_and_spans_are_those_of_the_model_itself(agro):
    ids = agro.encoder.encode(encode(TEXT), reverse=False)
    (found,) = agro.logits([TEXT])
    assert found.shape == (8, 4105)
    np.testing.assert_allclose(found, computed(agro, ids)[1], atol=1e-4)
    assert agro.spans(TEXT).tolist() == SPANS
    assert agro.spans(TEXT, strand="reverse")[-1].tolist() == [16, 22]


def test_a_base_has_the_probability_that_hiding_its_token_gives(agro):
    (found,) = agro.per_base_probabilities([TEXT], strand="forward")
    ids = agro.encoder.encode(encode(TEXT), reverse=False)
    for base, token in ((0, 0), (8, 1), (14, 3), (18, 3), (20, 5)):
        expected = hidden(agro, ids, token + 1, base - SPANS[token][0])
        np.testing.assert_allclose(found[base], expected, atol=1e-4)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-4)
    assert np.ptp(found) > 0.1
    back = agro.per_base_probabilities([reverse_complement(encode(TEXT))], strand="forward")[0]
    both = agro.per_base_probabilities([TEXT])[0]
    np.testing.assert_allclose(both, (found + back[::-1, ::-1]) / 2, atol=1e-4)


def test_a_gap_is_filled_with_the_likeliest_token_that_fits(agro):
    found = agro.fill("ACGTACGGNNTTACGATT")
    ids = agro.encoder.encode(encode("ACGTACGGAATTACGATT"), reverse=False)
    ids[2] = AGRO_NT.index("<mask>")
    log = computed(agro, ids)[1][2]
    fits = [i for i, token in enumerate(AGRO_NT) if len(token) == 6 and token[:2] == "GG" and token[4:] == "TT"]
    best = AGRO_NT[max(fits, key=lambda i: log[i])]
    assert len(fits) == 16 and found.sequence == "ACGTAC" + best + "ACGATT" and found.positions.tolist() == [8, 9]
    assert agro.fill("N" * 15).sequence.count("N") == 0


def sites(folder, codes, *places):
    write_fasta(folder / "g.fa", [record("c", codes)])
    rows = [f"c\t{at + 1}\t.\t{decode(codes)[at]}\t{BASES[(codes[at] + 1) % 4]}\t.\t.\t.\n" for at in places]
    (folder / "v.vcf").write_text("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + "".join(rows))
    return folder / "v.vcf", folder / "g.fa"


def test_a_variant_is_scored_on_both_strands(agro, tmp_path):
    codes = random_codes(60, seed=5)
    scores = agro.score_variants(*sites(tmp_path, codes, 27), window_bp=60)
    ratios, distances = [], []
    for piece, at in ((codes, 27), (reverse_complement(codes), 32)):
        alt = (codes[27] + 1) % 4 if piece is codes else 3 - (codes[27] + 1) % 4
        ids, changed = agro.encoder.encode(piece, reverse=False), piece.copy()
        changed[at] = alt
        shares = hidden(agro, ids, at // 6 + 1, at % 6)
        ratios.append(np.log(shares[alt] / shares[piece[at]]))
        states = [computed(agro, one)[0][1:].mean(axis=0) for one in (ids, agro.encoder.encode(changed, reverse=False))]
        distances.append(np.linalg.norm(states[1] - states[0]))
    np.testing.assert_allclose(scores.log_ratio_forward, ratios[0], atol=1e-3)
    np.testing.assert_allclose(scores.log_ratio_reverse, ratios[1], atol=1e-3)
    np.testing.assert_allclose(scores.distance, np.mean(distances), atol=1e-3)
    assert min(distances) > 1e-2


def test_what_the_model_has_no_position_for_is_refused_or_left_out_around_a_variant(agro, tmp_path):
    assert agro.encoder.max_tokens == 32
    codes = random_codes(400, seed=6)
    for ask in (agro.logits, agro.per_base_probabilities, lambda rows: agro.spans(rows[0])):
        with pytest.raises(ValueError, match="makes 33 tokens, this model reads 32: give a shorter one"):
            ask([codes[:192]])
    with pytest.raises(ValueError, match="this model reads 32"):
        agro.fill("N" * 192)
    assert agro.logits([codes[:186]])[0].shape == (32, 4105)
    paths = sites(tmp_path, codes, 200)
    with pytest.raises(ValueError, match="window_bp=187 is more than the 186 bp"):
        agro.score_variants(*paths, window_bp=187)
    whole = agro.score_variants(*paths)  # 186 bp around 200
    codes[107:289][:14] = 4  # of the window, so that it makes more tokens than 32
    cut = agro.score_variants(*sites(tmp_path, codes, 200))
    assert cut.reason == [""] and np.isfinite(cut.log_ratio) and abs(cut.log_ratio[0] - whole.log_ratio[0]) < 5


def test_an_encoder_of_another_kind_gives_vectors_only(agro):
    class Theirs:
        fingerprint = width = n_layers = window_bp = max_tokens = pad = first = 0
        encode = vectors = logits = token_bp = staticmethod(len)

    with pytest.raises(BundleError, match="Theirs gives vectors only"):
        masked_model(Theirs())

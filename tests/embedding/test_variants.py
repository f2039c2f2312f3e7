"""Variant scores: those of a plain computation by hand, at ends and on both strands; what can't be scored is told."""

import jax
import numpy as np
import pytest

from plantgfm.embedding.opened import Model
from plantgfm.embedding.variants import check_variants
from plantgfm.formats.errors import FormatError
from plantgfm.formats.fasta import write_fasta
from plantgfm.formats.vcf import read_variants
from plantgfm.sequence import decode, encode, reverse_complement
from plantgfm.tokenization.encode import encode as encode_tokens
from plantgfm.tokenization.encode import spans
from plantgfm.tokenization.vocabulary import CLS, MASK
from tests.fixtures import lively_bundle, random_codes, record, states_and_logits

HEAD = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
EIGHT = encode("TGTCTCGG")  # a chosen 8-mer
WINDOW = 60


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model(lively_bundle(tmp_path_factory.mktemp("variants") / "b"))


@pytest.fixture
def genome(tmp_path):
    """Two sequences, one of them with an 8-mer at 100, and one shorter than a window."""
    codes = random_codes(300, seed=3)
    codes[100:108] = EIGHT
    records = [record("chr1", codes), record("tiny", random_codes(20, seed=4))]
    write_fasta(tmp_path / "g.fa", records)
    return {one.name: one for one in records}


def vcf(folder, *sites):
    rows = [f"{name}\t{pos + 1}\t.\t{ref}\t{alt}\t.\t.\t.\n" for name, pos, ref, alt in sites]
    (folder / "v.vcf").write_text(HEAD + "".join(rows))
    return folder / "v.vcf"


def other(base, n=1):
    return "ACGT"[("ACGT".index(base) + n) % 4]


def by_hand(model, codes, at, alt):
    """Log ratio and distance of one strand: every token that fits is asked for its probability, one by one."""
    bundle = model.bundle
    ids = encode_tokens(bundle.vocabulary, codes)
    index = next(i for i, (start, end) in enumerate(spans(bundle.vocabulary, ids)) if start <= at < end)
    start, end = spans(bundle.vocabulary, ids)[index]
    row = np.concatenate([[CLS], ids]).astype(np.int32)
    hidden = row.copy()
    hidden[index + 1] = MASK
    probability = np.asarray(jax.nn.softmax(states_and_logits(bundle, hidden)[1][index + 1]))
    sums = dict.fromkeys("ACGT", 0.0)
    for token in range(5, bundle.vocabulary.size):
        if bundle.vocabulary.token_bp[token] == end - start:
            sums[bundle.vocabulary.tokens[token][at - start]] += float(probability[token])
    changed = codes[start:end].copy()
    changed[at - start] = "ACGT".index(alt)
    others = np.concatenate([row[: index + 1], encode_tokens(bundle.vocabulary, changed), row[index + 2 :]])
    vectors = [states_and_logits(bundle, tokens)[0][-1, 1:].mean(axis=0) for tokens in (row, others)]
    distance = float(np.linalg.norm(vectors[1] - vectors[0]))
    ratio = np.log(sums[alt] / sums[decode(codes)[at]]) if sums[alt] else -np.inf
    return float(ratio), distance, int(end - start)


@pytest.mark.parametrize(
    ("name", "at", "window"),
    [
        ("chr1", 150, (120, 180)),  # in the middle
        ("chr1", 0, (0, 60)),
        ("chr1", 7, (0, 60)),
        ("chr1", 299, (240, 300)),
        ("tiny", 19, (0, 20)),  # a sequence shorter than the window
        ("chr1", 104, (74, 134)),
    ],
)
def test_scores_are_those_of_a_computation_by_hand(model, genome, tmp_path, name, at, window):
    codes = genome[name].codes
    ref = decode(codes)[at]
    scores = model.score_variants(vcf(tmp_path, (name, at, ref, other(ref))), tmp_path / "g.fa", window_bp=WINDOW)
    piece, inside = codes[window[0] : window[1]], at - window[0]
    forward = by_hand(model, piece, inside, other(ref))
    complement = decode(reverse_complement(encode(other(ref))))
    reverse = by_hand(model, reverse_complement(piece), piece.size - 1 - inside, complement)
    assert scores.reason == [""] and scores.n_scored == 1
    np.testing.assert_allclose(scores.log_ratio_forward, forward[0], atol=1e-4)
    np.testing.assert_allclose(scores.log_ratio_reverse, reverse[0], atol=1e-4)
    np.testing.assert_allclose(scores.log_ratio, (forward[0] + reverse[0]) / 2, atol=1e-4)
    np.testing.assert_allclose(scores.distance, (forward[1] + reverse[1]) / 2, atol=1e-4)
    assert abs(forward[0] - reverse[0]) > 1e-3 and forward[1] > 1e-3


def test_a_base_of_an_eight_mer_keeps_the_segmentation_of_the_reference(model, genome, tmp_path):
    codes = genome["chr1"].codes
    at = next(at for at in range(100, 108) if by_hand(model, codes[at - 30 : at + 30], 30, "A")[2] == 8)
    ref = decode(codes)[at]
    sites = [("chr1", at, ref, other(ref, n)) for n in (1, 2, 3)]
    scores = model.score_variants(vcf(tmp_path, *sites), tmp_path / "g.fa", window_bp=WINDOW)
    for row, (_, _, _, alt) in enumerate(sites):
        ratio, _, width = by_hand(model, codes[at - 30 : at + 30], 30, alt)
        assert width == 8
        if np.isfinite(ratio):  # of the seven 8-mers of this vocabulary some places have no other base
            np.testing.assert_allclose(scores.log_ratio_forward[row], ratio, atol=1e-4)


def test_rows_are_those_of_the_file_whatever_its_order_and_several_alternatives_are_several_rows(
    model, genome, tmp_path
):
    letters = decode(genome["chr1"].codes)
    sites = [("chr1", 200, letters[200], f"{other(letters[200])},{other(letters[200], 2)}")]
    sites += [("tiny", 3, decode(genome["tiny"].codes)[3], other(decode(genome["tiny"].codes)[3]))]
    sites += [("chr1", 50, letters[50], other(letters[50]))]
    together = model.score_variants(vcf(tmp_path, *sites), tmp_path / "g.fa", window_bp=WINDOW)
    alone = [model.score_variants(vcf(tmp_path, one), tmp_path / "g.fa", window_bp=WINDOW) for one in sites]
    for name in ("log_ratio", "log_ratio_forward", "log_ratio_reverse", "distance"):
        expected = np.concatenate([getattr(one, name) for one in alone])
        np.testing.assert_allclose(getattr(together, name), expected, atol=1e-4)
    table = together.columns()
    assert table["position"] == [201, 201, 4, 51] and table["sequence"] == ["chr1", "chr1", "tiny", "chr1"]


def test_a_substitution_that_is_written_with_its_neighbours_is_scored_as_without(model, genome, tmp_path):
    letters = decode(genome["chr1"].codes)
    alt = other(letters[30])
    sites = [("chr1", 30, letters[30:32], f"{letters[30]},{alt}{letters[31]}")]  # beside a deletion
    sites += [("chr1", 28, letters[28:31], letters[28:30] + alt), ("chr1", 30, letters[30], alt)]
    scores = model.score_variants(vcf(tmp_path, *sites), tmp_path / "g.fa", window_bp=WINDOW)
    assert scores.reason == ["no_single_base_substitution", "", "", ""]
    assert abs(scores.log_ratio[3]) > 1e-3 and (scores.log_ratio[1:] == scores.log_ratio[3]).all()
    assert scores.columns()["position"] == [31, 31, 29, 31]  # as in the file


def test_nothing_is_compiled_again_from_site_to_site(model, genome, tmp_path):
    letters = decode(genome["chr1"].codes)
    model.score_variants(vcf(tmp_path, ("chr1", 30, letters[30], other(letters[30]))), tmp_path / "g.fa")
    warm = model._predictor.model.compiled._cache_size()
    many = [("chr1", at, letters[at], other(letters[at])) for at in range(0, 300, 3)]
    done = []
    model.score_variants(vcf(tmp_path, *many), tmp_path / "g.fa", progress=lambda *told: done.append(told))
    assert model._predictor.model.compiled._cache_size() == warm
    assert done == [(64, 100), (100, 100), (100, 100)]


def test_what_is_no_substitution_of_one_base_is_told_by_reason(model, genome, tmp_path):
    codes = genome["chr1"].codes.copy()
    codes[200:230] = 4
    write_fasta(tmp_path / "g.fa", [record("chr1", codes)])
    letters = decode(codes)
    sites = {
        "no_single_base_substitution": [(10, letters[10], letters[10] + "A"), (10, letters[10:12], letters[10])],
        "no_alternative": [(10, letters[10], "."), (10, letters[10], letters[10])],
        "ambiguous_base": [(10, letters[10], "N"), (210, "N", "A")],
        "unknown_base_in_reference": [(210, "A", "C")],
        "window_rich_in_n": [(190, letters[190], other(letters[190]))],
        "": [(10, letters[10], other(letters[10]))],
    }
    sites["no_single_base_substitution"] += [(10, letters[10], one) for one in ("<DEL>", "*", f"{letters[10]}[chr1:9[")]
    sites["no_single_base_substitution"] += [(-1, "N", "<DEL>"), (300, "N", "<DEL>")]
    sites["no_single_base_substitution"] += [(10, letters[10:12], other(letters[10]) + other(letters[11]))]
    flat = [("chr1", *site) for group in sites.values() for site in group]
    scores = model.score_variants(vcf(tmp_path, *flat), tmp_path / "g.fa", window_bp=WINDOW)
    assert scores.reason == [reason for reason, group in sites.items() for _ in group]
    assert np.isfinite(scores.log_ratio).tolist() == [reason == "" for reason in scores.reason]
    assert np.isfinite(scores.distance).tolist() == [reason == "" for reason in scores.reason]


def test_a_file_of_another_assembly_is_refused_by_line(genome, tmp_path):
    letters = decode(genome["chr1"].codes)
    fine = ("chr1", 10, letters[10], other(letters[10]))
    for wrong, said in (
        (("chr1", 11, other(letters[11]), letters[11]), f"record chr1, line 4: REF .* at 12 is '{letters[11]}'"),
        (("chr1", 300, "A", "C"), "line 4: REF 'A' at 301 lies beyond the sequence's 300 bp"),
        (("chr1", 299, letters[299] + "A", "C"), "lies beyond"),
        (("2", 5, "A", "C"), "record 2, line 4: is not in the FASTA file, which has chr1, tiny"),
    ):
        variants = read_variants(vcf(tmp_path, fine, wrong))
        with pytest.raises(FormatError, match=said):
            check_variants(variants, genome.values())
    variants = read_variants(vcf(tmp_path, fine, ("chr1", 11, other(letters[11]), letters[11])))
    assert check_variants(variants, genome.values(), skip_mismatches=True) == ["", "ref_mismatch"]

import numpy as np
import pytest

from plantgfm.sequence import UNKNOWN, decode
from plantgfm.tokenization import measures as m
from plantgfm.tokenization import segmenters as g
from plantgfm.tokenization.encode import encode
from plantgfm.tokenization.vocabulary import Vocabulary

PLAIN = Vocabulary(np.zeros(0, dtype=np.uint16))


@pytest.fixture(scope="module")
def windows():
    rng = np.random.default_rng(0)
    windows = rng.integers(0, 4, (60, 600)).astype(np.uint8)
    windows[5, 100:120] = UNKNOWN
    return windows


@pytest.fixture(scope="module")
def bpe(windows):
    return g.train_bpe(windows, 300)


def test_segmentations_tile_the_windows_and_cross_no_edge(windows, bpe, dense):
    for segment in (g.kmer_segmenter(dense), g.kmer_segmenter(PLAIN), g.bpe_segmenter(bpe)):
        found = segment(windows)
        assert found.start[0] == 0 and (found.start + found.width)[-1] == windows.size
        assert np.array_equal(found.start[1:], (found.start + found.width)[:-1])
        assert (found.start // 600 == (found.start + found.width - 1) // 600).all()


def test_kmer_segmenter_equals_encode(windows, dense):
    expected = np.concatenate([encode(dense, row) for row in windows])
    assert np.array_equal(g.kmer_segmenter(dense)(windows).ids, expected)


def test_bpe_is_lossless_deterministic_and_of_the_size_asked_for(windows, bpe):
    assert bpe.get_vocab_size() == 300
    assert g.train_bpe(windows, 300).get_vocab() == bpe.get_vocab()
    assert "".join(bpe.encode(decode(windows[5])).tokens) == decode(windows[5])


def test_bpe_reads_a_sample_of_the_size_asked_for(windows):
    # One window in sixty: A, C, G, T, N and few pairs seen twice.
    assert g.train_bpe(windows, 5_000, sample_bp=600).get_vocab_size() < 2_000


def test_tokens_and_bases_are_shared_out_at_edges(windows):
    segmentation = g.kmer_segmenter(PLAIN)(windows[:2])
    inside = np.zeros((2, 600), dtype=bool)
    inside[0, :9] = inside[1, 594:] = True  # one token and a half; the last token
    tokens, bases = m.tokens_and_bases(segmentation, inside)
    assert tokens.tolist() == [1.5, 1.0] and bases.tolist() == [9, 6]
    everywhere, total = m.tokens_and_bases(segmentation, ~np.zeros((2, 600), dtype=bool))
    assert everywhere.sum() == segmentation.ids.size and total.sum() == 1200


def test_middles_count_each_token_once(windows):
    segmentation = g.kmer_segmenter(PLAIN)(windows)
    inside = np.random.default_rng(1).random(windows.shape) < 0.3
    one, other = m.middles_inside(segmentation, inside), m.middles_inside(segmentation, ~inside)
    assert np.array_equal(one, ~other)


def test_entropy_of_types():
    assert m.type_entropy_bits(np.array([7, 7, 7])) == 0
    assert m.type_entropy_bits(np.arange(16)) == pytest.approx(4)
    assert m.type_entropy_bits(np.zeros(0, dtype=np.int64)) == 0


def test_substitute_changes_exactly_so_many_bases(windows):
    known = windows[10:]
    copies = m.substitute(known, 7, np.random.default_rng(3))
    assert ((copies != known).sum(axis=1) == 7).all() and copies.max() < 4


def test_one_substitution_changes_one_six_mer(windows):
    known = windows[10:]
    copies = m.substitute(known, 1, np.random.default_rng(4))
    assert (m.changed_bp(g.kmer_segmenter(PLAIN), known, copies) == 6).all()
    assert (m.changed_bp(g.kmer_segmenter(PLAIN), known, known) == 0).all()


def test_a_substitution_that_shifts_the_frame_changes_more_in_a_hybrid(windows, dense):
    known = windows[10:]
    copies = m.substitute(known, 1, np.random.default_rng(4))
    changed = m.changed_bp(g.kmer_segmenter(dense), known, copies)
    assert changed.min() >= 1 and changed.mean() > 6


@pytest.mark.parametrize("unit, spellings", [(12, 1), (9, 2), (10, 3), (11, 6)])
def test_six_mers_spell_identical_copies_in_as_many_ways_as_their_phase_has(unit, spellings):
    word = np.random.default_rng(unit).integers(0, 4, unit).astype(np.uint8)
    copies = np.tile(word, (14, 1))
    assert m.distinct_spellings(g.kmer_segmenter(PLAIN), copies) == pytest.approx(spellings / 12)


def test_tiled_arrays_repeat_the_first_unit_of_arrays_of_fitting_units(windows):
    arrays = np.zeros((60, 3), dtype=np.int64)
    arrays[3], arrays[4], arrays[7] = (50, 200, 30), (0, 60, 2), (10, 590, 250)
    (tiled,) = m.tiled_arrays(windows, arrays, units=(9, 200))
    assert tiled.shape[1] == 30 and (tiled == windows[3, 50:80]).all()

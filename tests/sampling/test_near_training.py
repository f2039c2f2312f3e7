"""Windows that training has seen are found wherever their copy lies, and others are not."""

from dataclasses import replace

import numpy as np
import pytest

from plantgfm.sampling import near_training as module
from plantgfm.sampling.config import SamplerConfig
from plantgfm.sampling.evaluation_windows import evaluation_pairs
from plantgfm.sampling.near_training import near_training
from plantgfm.schema import Split
from plantgfm.sequence import reverse_complement
from plantgfm.sketch import fraction
from tests.corpus.worlds import accepted, random_bases, species_name

WIDTH = 1_500
NEAR = SamplerConfig().near_identity


def mutated(codes, identity, seed):
    rng, changed = np.random.default_rng(seed), codes.copy()
    places = rng.random(codes.size) > identity
    changed[places] = (changed[places] + rng.integers(1, 4, int(places.sum()))) % 4
    return changed.astype(np.uint8)


@pytest.fixture(scope="module")
def corpus(make_corpus, tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("near"), np.random.default_rng(0)
    records = [accepted(folder, species_name(0), f"chr{i}", random_bases(rng, 200_000)) for i in range(2)]
    return make_corpus(records)


def with_copies(corpus, identity, *, length=WIDTH, turned=False, seed=0):
    """The corpus with changed copies of held-out sequence in training regions, at any phase; where they were."""
    rng, bases, table = np.random.default_rng(seed), np.array(corpus.bases), corpus.regions
    held_out = np.flatnonzero((table.split == int(Split.TEST)) & (table.length_bp >= 4_000))
    training = np.flatnonzero((table.split == int(Split.TRAIN)) & (table.length_bp >= 4_000))
    starts = []
    for number, row in enumerate(held_out.tolist()):
        start = int(table.offset[row] + rng.integers(0, table.length_bp[row] - WIDTH))
        home = training[number % training.size]
        place = int(table.offset[home] + rng.integers(0, table.length_bp[home] - length))
        copy = mutated(bases[start : start + WIDTH] & 7, identity, number)[:length]
        bases[place : place + length] = reverse_complement(copy) if turned else copy
        starts.append(start)
    return replace(corpus, bases=bases), np.array(starts, dtype=np.int64)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("identity", [1.0, 0.99, 0.98])
def test_a_copy_at_any_phase_and_strand_is_found(corpus, identity, turned):
    changed, starts = with_copies(corpus, identity, turned=turned)
    assert starts.size >= 3
    assert near_training(changed, starts, WIDTH, identity=NEAR).all()
    assert not near_training(corpus, starts, WIDTH, identity=NEAR).any()


def test_what_is_less_alike_or_half_as_long_is_not(corpus):
    for identity, length in ((0.95, WIDTH), (1.0, int(0.4 * WIDTH))):
        changed, starts = with_copies(corpus, identity, length=length)
        assert not near_training(changed, starts, WIDTH, identity=NEAR).any()


def test_copies_across_chunks_and_regions_are_found(corpus, monkeypatch):
    changed, starts = with_copies(corpus, 0.99)
    expected = near_training(changed, starts, WIDTH, identity=NEAR)
    monkeypatch.setattr(module, "_CHUNK_BP", 1_000)
    assert near_training(changed, starts, WIDTH, identity=NEAR).tolist() == expected.tolist()
    chunks = module._training_chunks(corpus, 1_875)
    covered = np.zeros(corpus.bases.size, dtype=bool)
    for start, end in chunks:
        covered[start:end] = True
    table = corpus.regions
    for row in range(table.offset.size):
        part = covered[table.offset[row] : table.offset[row] + table.length_bp[row]]
        assert part.all() if table.split[row] == int(Split.TRAIN) else not part.any()


def test_scattered_parts_of_a_window_are_no_copy(corpus):
    """Its k-mers lie in training, 100 bp here and 100 there: repeats, not a copy."""
    changed, starts = with_copies(corpus, 1.0, length=0)
    row = int(np.flatnonzero((corpus.regions.split == int(Split.TRAIN)) & (corpus.regions.length_bp > 8_000))[0])
    first, window = int(corpus.regions.offset[row]), changed.bases[starts[0] : starts[0] + WIDTH].copy()
    for part in range(15):
        at = first + part * 500
        changed.bases[at : at + 100] = window[part * 100 : part * 100 + 100]
    assert not near_training(changed, starts[:1], WIDTH, identity=NEAR).any()


def test_a_window_of_one_repeated_kmer_family_counts_kinds_not_places(corpus):
    """Many places of few of its hashes are no copy of it."""
    changed, starts = with_copies(corpus, 1.0, length=0)
    row = int(np.flatnonzero((corpus.regions.split == int(Split.TRAIN)) & (corpus.regions.length_bp > 8_000))[0])
    first, unit = int(corpus.regions.offset[row]), changed.bases[starts[0] : starts[0] + 200].copy()
    changed.bases[first : first + 8_000] = np.tile(unit, 40)
    assert 40 * fraction(unit, k=21, scaled=7)[0].size > 0.9 * WIDTH / 7, "more places than are needed"
    assert not near_training(changed, starts[:1], WIDTH, identity=NEAR).any()


def test_unknown_windows_and_no_windows(corpus):
    empty = replace(corpus, bases=np.full(corpus.bases.size, 4, np.uint8))
    assert not near_training(empty, np.array([0, 500]), WIDTH, identity=NEAR).any()
    assert near_training(corpus, np.empty(0, np.int64), WIDTH, identity=NEAR).shape == (0,)


def test_pairs_with_a_copy_off_the_grid_of_clusters_are_dropped_and_counted(corpus, make_config):
    config = make_config()
    before = evaluation_pairs(corpus, Split.TEST, config)
    assert before.near_duplicates == 0
    changed, starts = with_copies(corpus, 0.99)
    after = evaluation_pairs(changed, Split.TEST, config)
    assert after.near_duplicates > 0 and after.candidates == before.candidates == len(after) + after.near_duplicates
    gone = set(before.start.tolist()) - set(after.start.tolist())
    width = config.window_bp
    inside = {
        int(pair)
        for pair, other in zip(before.start, before.next_start)
        if any(start <= one and one + width <= start + WIDTH for start in starts for one in (pair, other))
    }
    assert inside and inside <= gone


def test_the_identity_from_which_a_window_counts_as_seen_is_a_setting(corpus, make_config):
    changed, _ = with_copies(corpus, 0.95)
    dropped = {
        identity: evaluation_pairs(changed, Split.TEST, make_config(near_identity=identity)).near_duplicates
        for identity in (0.93, 0.97)
    }
    assert dropped[0.93] > dropped[0.97] == 0

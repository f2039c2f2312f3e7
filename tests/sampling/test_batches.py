import threading
from dataclasses import replace

import numpy as np
import pytest

from plantgfm.sampling.batches import Batches, make_batch, prefetch, tokenize_pairs
from plantgfm.sampling.plan import StagedPlan, build_plan
from plantgfm.schema import WindowPairs
from plantgfm.sequence import REPEAT_BIT, decode, encode
from plantgfm.tokenization import encode as tokens_of

#        upstream    gap  downstream
TEXT = "ACGTACGGTTCC" + "NN" + "TTGACATTTGCA" + "A"


def pair(*, start, next_start, reverse):
    def column(value, dtype):
        return np.array([value], dtype=dtype)

    return WindowPairs(
        region=column(0, np.int32),
        species=column(3, np.int32),
        start=column(start, np.int64),
        next_start=column(next_start, np.int64),
        reverse=column(reverse, bool),
        distance_bp=column(2, np.int32),
    )


def texts(vocabulary, batch):
    return [decode(tokens_of.decode(vocabulary, ids[0])) for ids in (batch.tokens, batch.next_tokens)]


def test_a_flip_swaps_upstream_and_downstream(gapless, vocabulary):
    corpus = replace(gapless, bases=encode(TEXT))
    forward = make_batch(corpus, vocabulary, pair(start=0, next_start=14, reverse=False), 3)
    assert texts(vocabulary, forward) == ["ACGTACGGTTCC", "TTGACATTTGCA"]
    flipped = make_batch(corpus, vocabulary, pair(start=14, next_start=0, reverse=True), 3)
    assert texts(vocabulary, flipped) == ["TGCAAATGTCAA", "GGAACCGTACGT"]
    assert forward.distance_bp.tolist() == [2] and forward.species.tolist() == [3]


def test_repeats_follow_their_bases_through_a_flip(gapless, vocabulary):
    bases = encode(TEXT)
    bases[:6] |= REPEAT_BIT
    corpus = replace(gapless, bases=bases)
    forward = make_batch(corpus, vocabulary, pair(start=0, next_start=14, reverse=False), 3)
    assert forward.repeat_fraction.tolist() == [[0, 1, 0]]
    flipped = make_batch(corpus, vocabulary, pair(start=0, next_start=14, reverse=True), 3)
    assert flipped.repeat_fraction.tolist() == [[0, 0, 1]]


def test_what_makes_too_many_tokens_is_cut_and_counted(gapless, vocabulary):
    corpus = replace(gapless, bases=encode("N" + TEXT[1:]))
    batch, cut = tokenize_pairs(corpus, vocabulary, pair(start=0, next_start=14, reverse=False), window_tokens=3)
    assert batch.tokens.shape == (1, 3) and cut == 5


@pytest.fixture
def batches(gapped, make_config, vocabulary):
    config = make_config()
    return Batches(build_plan(gapped, config), gapped, vocabulary, config)


def assert_equal(first, second):
    for name in ("tokens", "repeat_fraction", "next_tokens", "distance_bp", "species"):
        assert np.array_equal(getattr(first, name), getattr(second, name))


def test_a_batch_is_the_tokens_of_its_step(batches, gapped, vocabulary):
    pairs = batches.plan.step(4)
    batch = batches.batch(4)
    assert batch.tokens.shape == batch.next_tokens.shape == (16, 64)
    for row in range(16):
        span = gapped.bases[pairs.start[row] : pairs.start[row] + 6 * 63]
        if not pairs.reverse[row]:
            expected = tokens_of.encode(vocabulary, span)[:63]
            assert np.array_equal(batch.tokens[row, 1 : 1 + expected.size], expected)


def test_the_stream_restored_at_every_position_is_the_same(batches):
    whole = [batches.batch(number) for number in range(12)]
    for start in range(12):
        stream = batches.iterate(start)
        for expected in whole[start:]:
            assert_equal(next(stream), expected)
        stream.close()


def test_windows_of_two_lengths_are_each_plan_in_its_turn_and_restored_at_every_position(
    gapped, make_config, vocabulary
):
    short, long = (make_config(window_tokens=tokens, batch_windows=1024 // tokens) for tokens in (32, 64))
    plan = StagedPlan(((0, build_plan(gapped, short)), (3, build_plan(gapped, long))))
    batches = Batches(plan, gapped, vocabulary, long)
    whole = [batches.batch(number) for number in range(6)]
    assert [batch.tokens.shape for batch in whole] == [(32, 32)] * 3 + [(16, 64)] * 3
    for number, batch in enumerate(whole):
        assert np.unique(batch.species).size >= 8
        alone = Batches(*[(build_plan(gapped, one), gapped, vocabulary, one) for one in (short, long)][number >= 3])
        assert_equal(batch, alone.batch(number % 3))
    for start in range(6):
        stream = batches.iterate(start)
        for expected in whole[start:]:
            assert_equal(next(stream), expected)
        stream.close()
    with pytest.raises(ValueError, match="step -1 does not exist"):
        plan.step(-1)


def test_what_is_cut_is_counted_for_what_was_given_not_for_what_was_made_ahead(batches, gapped, vocabulary):
    def cut_of(step):
        return tokenize_pairs(gapped, vocabulary, batches.plan.step(step), window_tokens=64)[1]

    batches.batch(0)
    assert batches.cut_bp == 0
    stream = batches.iterate(3)
    for _ in range(4):
        next(stream)
    stream.close()
    assert batches.cut_bp == sum(cut_of(step) for step in range(3, 7)) > 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_hosts_together_see_what_one_sees(batches, gapped, make_config, vocabulary):
    parts = [Batches(batches.plan, gapped, vocabulary, make_config(), host=host, hosts=4) for host in range(4)]
    tokens = np.concatenate([part.batch(9).tokens for part in parts])
    assert np.array_equal(tokens, batches.batch(9).tokens)


def test_an_error_of_the_thread_is_raised_in_its_turn():
    def make(number):
        if number == 7:
            raise ValueError("step 7 is broken")
        return number

    stream = prefetch(make, 5, depth=4)
    assert [next(stream), next(stream)] == [5, 6]
    with pytest.raises(ValueError, match="step 7 is broken"):
        next(stream)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_the_queue_is_bounded_and_closing_joins_the_thread():
    made = []
    stream = prefetch(made.append, 0, depth=3)
    assert not made  # nothing starts before the first item is asked for
    for _ in range(5):
        next(stream)
    stream.close()
    assert made == list(range(len(made))) and len(made) <= 5 + 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]

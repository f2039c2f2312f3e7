"""On a Markov source without repeats or kinship, nothing scores below what its chain allows."""

import numpy as np
import pytest

from plantgfm.evaluation.bootstrap import bootstrap_ratio
from plantgfm.evaluation.floor import floor_violation
from plantgfm.evaluation.markov import Direction, fit_chain, kmers, token_nats
from plantgfm.evaluation.next_region import histogram_nats
from plantgfm.evaluation.unigram import count_tokens, likeliest_mass, shrink
from plantgfm.tokenization.encode import encode
from tests.evaluation.test_markov import make_vocabulary, markov_source, masked_positions

ORDER = 2


@pytest.fixture(scope="module")
def null():
    """A long training sequence, held-out sequence, its entropy rate in bits per base, and a fitted chain."""
    vocabulary = make_vocabulary(300)
    bases, _ = markov_source(200_000, seed=1, order=ORDER, sharpness=4.0)
    held_out, entropy = markov_source(60_000, seed=2, order=ORDER, sharpness=4.0)
    counts = np.zeros(4**6, np.int32)
    np.add.at(counts, kmers([bases], 5, limit=10**9), 1)
    chain = fit_chain(counts, strengths=[1.0, 10.0, 100.0, 1000.0], tuning=kmers([held_out], 5, limit=10**5))
    return vocabulary, bases, held_out, entropy, chain


def estimate(nats, positions):
    bases = positions.bp.astype(np.float64)
    at = {"region": positions.window // 4, "stratum": positions.window * 0, "resamples": 300, "seed": 0}
    return bootstrap_ratio(nats / np.log(2), bases, **at)


def test_no_order_or_direction_scores_below_both_sides_of_the_true_order(null):
    vocabulary, _, held_out, entropy, chain = null
    positions = masked_positions(held_out, vocabulary)

    def score(order, direction):
        return estimate(token_nats(chain, positions, vocabulary, order=order, direction=direction), positions)

    floor = score(ORDER, Direction.TWO_SIDED)
    for direction in Direction:
        for order in (1, ORDER, 5):
            found = score(order, direction)
            assert floor_violation(found, floor.value) == 0.0
            assert found.value > floor.value - 0.005
    forward = score(ORDER, Direction.FORWARD)
    assert forward.low < entropy < forward.high
    # Why the floor of a masked model is not the entropy rate: what follows a token tells of it too.
    assert floor.value < entropy - 0.005


def test_a_leak_is_seen(null):
    vocabulary, _, held_out, entropy, chain = null
    positions = masked_positions(held_out, vocabulary)
    nats = token_nats(chain, positions, vocabulary, order=ORDER, direction=Direction.FORWARD)
    leaking = np.where(np.arange(nats.size) % 5 == 0, 0.0, nats)  # every fifth token known beforehand
    assert floor_violation(estimate(nats, positions), entropy) == 0.0
    assert floor_violation(estimate(leaking, positions), entropy) > 0.1


def test_the_upstream_histogram_gains_nothing_over_the_unigram(null):
    vocabulary, bases, held_out, _, _ = null
    ids = encode(vocabulary, held_out)
    ids = ids[: ids.size // 200 * 200].reshape(-1, 2, 100)
    counts = count_tokens([bases], vocabulary, both_strands=False)[None].astype(np.float64)
    uniform = np.full(counts.shape, 1 / counts.size)
    prior = np.repeat(shrink(counts, uniform, 1000.0), len(ids), axis=0)
    upstream = np.stack([np.bincount(row, minlength=vocabulary.size) for row in ids[:, 0]]).astype(np.float64)
    downstream = np.stack([np.bincount(row, minlength=vocabulary.size) for row in ids[:, 1]]).astype(np.float64)
    grid = [2.0**i for i in range(4, 20)]
    assert likeliest_mass(downstream, upstream, prior, grid=grid) >= 2.0**12
    nothing = histogram_nats(np.zeros_like(ids[:, 0]), ids[:, 1], prior, mass=1.0)
    own = histogram_nats(ids[:, 0], ids[:, 1], prior, mass=2.0**12)
    region = np.arange(len(ids))
    gain = bootstrap_ratio(nothing - own, np.ones(len(ids)), region=region, stratum=region * 0, resamples=300, seed=0)
    assert gain.low < 0.002 and abs(gain.value) < 0.01

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from plantgfm.sampling import keys, place
from plantgfm.sequence import runs_of


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.data())
def test_unknown_bases_are_counted_as_by_hand(mask, data):
    mask = np.array(mask)
    runs = runs_of(mask)
    before = np.concatenate(([0], np.cumsum(runs[:, 1] - runs[:, 0])))
    start = data.draw(st.integers(0, mask.size))
    end = data.draw(st.integers(start, mask.size))
    assert place.unknown_bases(runs, before, start, end) == mask[start:end].sum()


def pair(start, *, u=0.0, coin=False, nearest=10, farthest=10):
    """A window of 100 bp in a region from 1,000 to 2,000."""
    return place.pair_at(start, 1_000, 2_000, 100, nearest, farthest, u, coin)


def test_the_strand_that_was_drawn_gives_the_side():
    assert pair(1_500, coin=False) == (1_610, False)
    assert pair(1_500, coin=True) == (1_390, True)


def test_an_edge_takes_the_strand_that_leaves_room():
    assert pair(1_000, coin=True) == (1_110, False)
    assert pair(1_109, coin=True) == (1_219, False)
    assert pair(1_110, coin=True) == (1_000, True)
    assert pair(1_900, coin=False) == (1_790, True)


def test_a_distance_that_fits_on_one_side_only_turns_the_strand():
    assert pair(1_300, coin=True, nearest=400, farthest=400) == (1_800, False)


def test_a_distance_that_fits_nowhere_is_drawn_within_the_room():
    following, reverse = pair(1_450, u=0.999, nearest=10, farthest=5_000)
    assert (following, reverse) == (1_899, False)
    assert place.pair_at(1_010, 1_000, 1_150, 100, 10, 20, 0.5, False) == (-1, False)


def test_log_uniform_covers_both_ends():
    assert place.log_uniform(7, 90, 0.0) == 7
    assert place.log_uniform(7, 90, 1 - 2**-53) == 90
    assert place.log_uniform(5, 5, 0.7) == 5


def test_a_key_gives_the_same_bits_everywhere():
    names = ("seed", "stream", "first", "second")
    drawn = [keys.uniform(**dict(zip(names, parts, strict=True))) for parts in product((0, 1), repeat=4)]
    assert len(set(drawn)) == 16 and drawn[5] == keys.uniform(seed=0, stream=1, first=0, second=1)
    # Steele et al. 2014: the first output of splitmix64 seeded with 0.
    assert int(keys.mix(0)) == 0xE220A8397B1DCDAF


def test_a_keyed_order_is_a_permutation_and_even():
    orders = [keys.permutation(10, seed=0, stream=1, counter=epoch) for epoch in range(2_000)]
    assert all(sorted(order.tolist()) == list(range(10)) for order in orders)
    firsts = np.bincount([order[0] for order in orders], minlength=10)
    assert firsts.min() > 140 and firsts.max() < 260

import numpy as np

from plantgfm.sequence import REPEAT_BIT, UNKNOWN
from plantgfm.tokenization.compartments import Compartment, compartments

WIDTH = 900


def unique_windows(n=40, seed=0):
    return np.random.default_rng(seed).integers(0, 4, (n, WIDTH)).astype(np.uint8)


def test_random_sequence_holds_no_tandem_repeat():
    labels, arrays = compartments(unique_windows())
    assert (labels == Compartment.TANDEM).mean() < 1e-3
    assert (arrays[:, 2] > 0).mean() < 0.1


def test_planted_arrays_are_found_with_their_unit_and_their_edges():
    windows = unique_windows(5)
    rng = np.random.default_rng(1)
    units = [1, 2, 17, 90, 171]
    for row, unit in enumerate(units):
        length = max(5 * unit, 60) if unit < 171 else 3 * unit
        word = np.zeros(1, dtype=np.uint8) if unit == 1 else rng.integers(0, 4, unit)
        windows[row, 200 : 200 + length] = np.resize(word, length)
        windows[row, 199] = (windows[row, 199 + unit] + 1) % 4  # the array does not go on by chance
        windows[row, 200 + length] = (windows[row, 200 + length - unit] + 1) % 4
    labels, arrays = compartments(windows)
    for row, unit in enumerate(units):
        length = max(5 * unit, 60) if unit < 171 else 3 * unit
        assert (labels[row, 200 : 200 + length] == Compartment.TANDEM).all()
        assert (labels[row] == Compartment.TANDEM).sum() <= length + 30
        assert arrays[row, 2] % unit == 0 and abs(arrays[row, 0] - 200) <= 12


def test_a_decayed_array_is_still_one():
    windows = unique_windows(1)
    rng = np.random.default_rng(2)
    array = np.tile(rng.integers(0, 4, 50), 8).astype(np.uint8)
    hits = rng.random(array.size) < 0.05
    array[hits] = (array[hits] + 1) % 4
    windows[0, 100:500] = array
    labels, _ = compartments(windows)
    assert (labels[0, 100:500] == Compartment.TANDEM).mean() > 0.9


def test_the_repeat_bit_makes_interspersed_what_is_not_tandem():
    windows = unique_windows(1)
    windows[0, 300:500] = 0
    windows[0, 100:500] |= REPEAT_BIT
    labels, _ = compartments(windows)
    assert (labels[0, 110:290] == Compartment.INTERSPERSED).all()
    assert (labels[0, 310:490] == Compartment.TANDEM).all()
    assert (labels[0, :90] == Compartment.UNIQUE).all()


def test_runs_of_unknown_bases_are_no_array():
    windows = unique_windows(1)
    windows[0, 100:400] = UNKNOWN
    labels, arrays = compartments(windows)
    assert (labels[0, 100:400] == Compartment.UNIQUE).all() and not arrays[0].any()

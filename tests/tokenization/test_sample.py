import numpy as np
import pytest

from plantgfm.sequence import REPEAT_BIT, UNKNOWN
from plantgfm.tokenization import sample as s
from plantgfm.tokenization.config import VocabularyConfig

CONFIG = VocabularyConfig(sample_bp=60_000, window_bp=200, repeat_strata=3, seed=1)
NAMES = ["Alpha beta", "Gamma delta", "Absent species"]


@pytest.fixture(scope="module")
def bases():
    """Position-coded repeats: the second species has ever more of them; a stretch of N in the first."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, 100_000).astype(np.uint8)
    density = np.linspace(0, 1, 100_000)
    codes[rng.random(100_000) < density] |= REPEAT_BIT
    codes[10_000:15_000] = UNKNOWN
    return codes


def draw(bases, config=CONFIG, offsets=(0, 50_000), lengths=(50_000, 50_000), species=(0, 1), names=NAMES):
    return s.sample_strata(
        bases,
        offsets=np.array(offsets),
        lengths=np.array(lengths),
        species=np.array(species),
        species_names=names,
        config=config,
    )


def everything(strata):
    return np.concatenate([part for x in strata for part in (x.chosen_from, x.held_back)])


def test_every_species_present_has_its_bins_of_equal_size_and_rising_density(bases):
    strata = draw(bases)
    assert [(x.species, x.repeat_bin) for x in strata] == [(n, b) for n in NAMES[:2] for b in range(3)]
    for species in NAMES[:2]:
        mine = [x for x in strata if x.species == species]
        edges = [edge for x in mine for edge in x.repeat_range]
        assert edges == sorted(edges)
        sizes = [len(x.chosen_from) + len(x.held_back) for x in mine]
        assert max(sizes) - min(sizes) <= 1 and sum(sizes) <= 150
        for x in mine:
            fractions = s.repeat_fractions(np.concatenate((x.chosen_from, x.held_back)))
            assert (fractions.min(), fractions.max()) == x.repeat_range


def test_one_window_in_four_is_held_back_and_none_is_in_both(bases):
    for x in draw(bases):
        n = len(x.chosen_from) + len(x.held_back)
        assert len(x.held_back) == n // 4
    rows = everything(draw(bases))
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_windows_lie_inside_their_regions(bases):
    marked = bases.copy()
    marked[40_000:50_000] = UNKNOWN  # outside every region below: it must never be seen
    strata = draw(marked, offsets=(0, 20_000, 50_000), lengths=(9_990, 20_000, 50_000), species=(0, 0, 1))
    assert not ((everything(strata) & 7) == UNKNOWN).any()


def test_windows_of_unknown_bases_are_left_out(bases):
    unknown = ((everything(draw(bases)) & 7) == UNKNOWN).mean(axis=1)
    assert unknown.max() <= s.MAX_UNKNOWN_FRACTION


def test_same_seed_same_sample_and_another_seed_another(bases):
    small = VocabularyConfig(sample_bp=8_000, window_bp=200, seed=1)
    again = VocabularyConfig(sample_bp=8_000, window_bp=200, seed=2)
    assert np.array_equal(everything(draw(bases, small)), everything(draw(bases, small)))
    assert not np.array_equal(everything(draw(bases, small)), everything(draw(bases, again)))


def test_the_order_of_species_does_not_change_what_each_gives(bases):
    one = {x.name: x.chosen_from for x in draw(bases)}
    swapped = draw(bases, species=(1, 0), names=[NAMES[1], NAMES[0], NAMES[2]])
    assert sorted(one) == sorted(x.name for x in swapped)
    for x in swapped:
        assert np.array_equal(one[x.name], x.chosen_from)


def test_regions_too_short_for_a_window_are_refused(bases):
    with pytest.raises(ValueError, match="lower tokenizer.window_bp"):
        draw(bases, lengths=(100, 150))

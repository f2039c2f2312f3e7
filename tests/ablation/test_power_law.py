"""Laws of the loss: found again from what they made, alike from any scale, and refused where runs are too few."""

import numpy as np
import pytest

from plantgfm.ablation.power_law import Noise, fit_power_law, noise_of, start_of

PARAMETERS, TOKENS = np.array([0.6e6, 1.4e6, 2.6e6, 4.3e6]), np.array([0.3e6, 0.6e6, 1.2e6])
SIZES = np.array([(n, d) for n in PARAMETERS for d in TOKENS for _ in range(2)])
CELL = np.repeat(np.arange(12), 2)


def law_of(sizes):
    return 1.8 + 0.05 * (sizes[:, 0] / 1e6) ** -0.4 + 0.04 * (sizes[:, 1] / 1e6) ** -0.6


def test_a_planted_law_is_found_again():
    found = fit_power_law(SIZES, law_of(SIZES))
    assert found.floor == pytest.approx(1.8, abs=1e-4) and found.exponents == pytest.approx((0.4, 0.6), abs=1e-3)
    a, b = found.scale
    assert a / 1e6**0.4 == pytest.approx(0.05, rel=0.01) and b / 1e6**0.6 == pytest.approx(0.04, rel=0.01)
    far = np.array([[1e9, 2e10]])
    assert found(far) == pytest.approx(law_of(far), abs=1e-4) and not found.unbounded


def test_one_wild_run_hardly_moves_a_fit_and_the_units_of_sizes_do_not():
    wild = law_of(SIZES)
    wild[3] += 0.05
    found, far = fit_power_law(SIZES, wild), np.array([[8e6, 2.4e6]])
    assert found(far) == pytest.approx(law_of(far), abs=0.004)
    other = fit_power_law(SIZES * [1e-3, 1e3], wild)
    assert other(far * [1e-3, 1e3]) == pytest.approx(found(far), abs=1e-5)
    assert fit_power_law(SIZES, wild, starts=[start_of(found)]).misfit == pytest.approx(found.misfit, rel=1e-3)


@pytest.fixture(scope="module")
def law():
    return fit_power_law(SIZES, law_of(SIZES))


def test_what_runs_do_not_tell_is_named():
    flat = 1.8 + 0.04 * (SIZES[:, 1] / 1e6) ** -0.6  # parameters do nothing
    assert "factor 1" in fit_power_law(SIZES, flat).unbounded


def test_too_few_sizes_are_refused():
    with pytest.raises(ValueError, match="4 different sizes can't tell 5 unknowns"):
        fit_power_law(SIZES[:8], law_of(SIZES[:8]))
    two = SIZES[np.isin(SIZES[:, 1], TOKENS[:2])]
    with pytest.raises(ValueError, match="needs 3 values or more"):
        fit_power_law(two, law_of(two))


def test_noise_is_what_seeds_and_misfit_are_and_cells_share_theirs(law):
    generator = np.random.default_rng(0)
    log_loss = np.log(law_of(SIZES)) + 1e-3 * generator.standard_normal(12)[CELL] + 1e-4 * generator.standard_normal(24)
    noise = noise_of(law, SIZES, log_loss, CELL)
    assert noise.seeds.std() == pytest.approx(1e-4, rel=0.6) and 0.5e-3 < noise.cells.std() < 2.5e-3
    drawn = Noise(noise.cells, np.zeros(1)).draw(CELL, generator).reshape(12, 2)
    assert (drawn[:, 0] == drawn[:, 1]).all() and np.unique(drawn[:, 0]).size > 3


def test_noise_needs_two_seeds_and_more_cells_than_unknowns(law):
    with pytest.raises(ValueError, match="12 cells of at most 1 seeds"):
        noise_of(law, SIZES[::2], np.log(law_of(SIZES[::2])), np.arange(12))
    with pytest.raises(ValueError, match="5 cells of at most 2 seeds"):
        noise_of(law, SIZES[:10], np.log(law_of(SIZES[:10])), CELL[:10])

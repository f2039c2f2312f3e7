import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plantgfm.sampling.schedule import build_schedule, species_weights


def distinct_per_step(species):
    ordered = np.sort(species, axis=1)
    return 1 + (np.diff(ordered, axis=1) != 0).sum(axis=1)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 10**6), min_size=8, max_size=30),
    st.integers(0, 12),
    st.integers(1, 8),
    st.sampled_from([1.0, 2.0, 10.0]),
)
def test_every_step_has_enough_species_and_every_species_is_used(sizes, more, min_species, temperature):
    weights = species_weights(np.array(sizes) + 10**4, temperature)
    schedule = build_schedule(weights, batch_windows=min_species + more, min_species=min_species, seed=1)
    species, ordinals = schedule.block(3)
    assert species.shape == (schedule.steps, min_species + more)
    assert distinct_per_step(species).min() >= min_species
    assert distinct_per_step(species[:, :min_species]).min() == min_species
    assert np.array_equal(np.bincount(species.ravel(), minlength=len(sizes)), schedule.uses)
    assert schedule.uses.min() >= 1
    for index in range(len(sizes)):
        assert np.array_equal(ordinals[species == index], np.arange(schedule.uses[index]))


def test_shares_follow_the_weights():
    weights = species_weights(np.array([1, 4, 9, 16, 25, 36, 49, 64, 81, 100]) * 1_000, 2.0)
    assert weights == pytest.approx(np.arange(1, 11) / 55)
    schedule = build_schedule(weights, batch_windows=64, min_species=8, seed=0)
    assert schedule.uses / schedule.uses.sum() == pytest.approx(weights, rel=0.05)


def test_uneven_weights_give_way_to_distinct_species():
    weights = np.array([0.93] + [0.01] * 7)
    schedule = build_schedule(weights, batch_windows=10, min_species=8, seed=0)
    assert np.all(schedule.distinct == schedule.steps)
    assert schedule.further[0] > 1.9 * schedule.steps


def test_as_many_slots_as_species_uses_each_once_a_step():
    schedule = build_schedule(np.full(8, 0.125), batch_windows=8, min_species=8, seed=0)
    assert np.all(schedule.uses == schedule.steps)


def test_blocks_differ_and_repeat_themselves():
    schedule = build_schedule(species_weights(np.arange(1, 13), 1.0), batch_windows=16, min_species=8, seed=0)
    assert np.array_equal(schedule.block(5)[0], schedule.block(5)[0])
    assert not np.array_equal(schedule.block(5)[0], schedule.block(6)[0])


def test_slots_of_several_windows_make_steps_of_few_species():
    schedule = build_schedule(
        species_weights(np.arange(1, 13), 2.0), batch_windows=16, min_species=2, seed=0, windows_per_species=8
    )
    species, ordinals = schedule.block(1)
    assert np.all(distinct_per_step(species) == 2)
    assert np.all(distinct_per_step(species[:, :2]) == 2)
    assert np.array_equal(np.bincount(species.ravel(), minlength=12), schedule.uses)
    for index in range(12):
        assert np.array_equal(ordinals[species == index], np.arange(schedule.uses[index]))
    assert schedule.uses / schedule.uses.sum() == pytest.approx(species_weights(np.arange(1, 13), 2.0), rel=0.05)


def test_every_pair_of_species_meets():
    schedule = build_schedule(np.full(12, 1 / 12), batch_windows=8, min_species=8, seed=0)
    species = np.concatenate([schedule.block(index)[0] for index in range(4)])
    present = np.zeros((species.shape[0], 12), dtype=int)
    np.put_along_axis(present, species, 1, axis=1)
    together = (present.T @ present)[~np.eye(12, dtype=bool)]
    assert together.min() > 0.5 * together.mean()


def test_a_species_is_spread_over_a_block():
    """In 256 steps that hold a species by even chance, a run of 40 with or without it is one in a million million."""
    schedule = build_schedule(np.full(16, 1 / 16), batch_windows=8, min_species=8, seed=0)
    species, _ = schedule.block(0)
    for index in range(16):
        present = (species == index).any(axis=1)
        assert np.diff(np.flatnonzero(np.diff(present))).max() < 40

import dataclasses

import numpy as np
import pytest

from plantgfm.sampling.config import SamplerConfig
from plantgfm.sampling.plan import build_plan, shard
from plantgfm.schema import Split, WindowPairs
from plantgfm.sequence import UNKNOWN
from tests.corpus.worlds import accepted, random_bases, species_name

STEPS = 600  # more than two blocks, and more than an epoch of every species


def fields(pairs):
    return [getattr(pairs, item.name) for item in dataclasses.fields(WindowPairs)]


def assert_equal(first, second):
    assert all(np.array_equal(a, b) for a, b in zip(fields(first), fields(second), strict=True))


def joined(plan, steps):
    columns = zip(*(fields(plan.step(number)) for number in steps))
    return WindowPairs(*(np.concatenate(column) for column in columns))


@pytest.mark.parametrize(
    "change", [{}, {"temperature": 1.0}, {"batch_windows": 8}, {"cluster_alpha": 1.0}, {"seed": 5}]
)
def test_every_step_has_eight_species(gapped, make_config, change):
    plan = build_plan(gapped, make_config(**change))
    assert min(plan.species_per_step(number) for number in range(STEPS)) >= 8


def test_a_step_of_two_species_has_eight_windows_of_each(gapped, make_config):
    plan = build_plan(gapped, make_config(batch_windows=16, min_species=2, windows_per_species=8))
    for number in range(STEPS):
        assert sorted(np.unique(plan.step(number).species, return_counts=True)[1]) == [8, 8]


def test_no_window_comes_back_before_all_were_used(gapped, make_config):
    plan = build_plan(gapped, make_config())
    pairs = joined(plan, range(STEPS))
    for species in plan.species:
        starts = pairs.start[pairs.species == species]
        cells = int(plan.grid.kept[species])
        assert cells == plan.grid.bounds[species + 1] - plan.grid.bounds[species]
        assert starts.size > cells
        for epoch in range(starts.size // cells):
            assert np.unique(starts[epoch * cells : (epoch + 1) * cells]).size == cells


def test_windows_of_an_epoch_do_not_overlap_and_move_between_epochs(gapless, make_config):
    config = make_config()
    plan = build_plan(gapless, config)
    pairs = joined(plan, range(STEPS))
    starts, cells = pairs.start[pairs.species == 0], int(plan.grid.kept[0])
    first, second = np.sort(starts[:cells]), np.sort(starts[cells : 2 * cells])
    assert np.diff(first).min() >= config.window_bp and np.diff(second).min() >= config.window_bp
    assert np.intersect1d(first, second).size < 0.1 * cells
    trained = gapless.regions.length_bp[(gapless.regions.species == 0) & (gapless.regions.split == Split.TRAIN)]
    assert cells * config.window_bp > 0.9 * trained.sum()


def test_a_step_is_the_same_however_it_is_reached(gapped, make_config):
    config = make_config()
    plan = build_plan(gapped, config)
    straight = [plan.step(number) for number in range(300)]
    backwards = build_plan(gapped, config)
    for number in reversed(range(300)):
        assert_equal(backwards.step(number), straight[number])
    for number in range(0, 300, 7):
        assert_equal(build_plan(gapped, config).step(number), straight[number])


def test_a_late_step_costs_one_block_and_one_order_a_species(gapped, make_config):
    plan = build_plan(gapped, make_config())
    plan.step(10**6)
    assert plan._block.cache_info().misses == 1
    assert plan._order.cache_info().misses <= 16
    with pytest.raises(ValueError, match="step -1"):
        plan.step(-1)


def test_seeds_give_other_plans(gapped, make_config):
    first, second = (build_plan(gapped, make_config(seed=seed)).step(0) for seed in (0, 1))
    assert not np.array_equal(first.start, second.start)


def test_both_windows_lie_in_one_training_region(gapped, make_config):
    config = make_config()
    pairs = joined(build_plan(gapped, config), range(STEPS))
    low = gapped.regions.offset[pairs.region]
    high = low + gapped.regions.length_bp[pairs.region]
    for start in (pairs.start, pairs.next_start):
        assert np.all(start >= low) and np.all(start + config.window_bp <= high)
    assert np.all(gapped.regions.split[pairs.region] == Split.TRAIN)
    assert np.array_equal(gapped.regions.species[pairs.region], pairs.species)


def test_the_gap_is_the_distance_and_the_strand_its_side(gapped, make_config):
    config = make_config()
    pairs = joined(build_plan(gapped, config), range(STEPS))
    gap = np.abs(pairs.next_start - pairs.start) - config.window_bp
    assert np.array_equal(gap, pairs.distance_bp)
    assert gap.min() >= config.distance_min_bp and gap.max() <= config.distance_max_bp
    assert np.array_equal(pairs.next_start < pairs.start, pairs.reverse)
    assert abs(pairs.reverse.mean() - 0.5) < 0.02


def test_on_one_strand_the_same_windows_are_read_from_the_left(gapped, make_config):
    drawn, forward = (
        joined(build_plan(gapped, make_config(both_strands=both)), range(STEPS)) for both in (True, False)
    )
    assert drawn.reverse.any() and not forward.reverse.any()
    for name in ("region", "species", "distance_bp"):
        assert np.array_equal(getattr(drawn, name), getattr(forward, name))
    assert np.all(forward.start < forward.next_start)
    for first, second in ((drawn.start, forward.start), (drawn.next_start, forward.next_start)):
        assert np.array_equal(first[~drawn.reverse], second[~drawn.reverse])
        assert not np.any(first[drawn.reverse] == second[drawn.reverse])
    both_ways = np.sort([drawn.start, drawn.next_start], axis=0)
    assert np.array_equal(both_ways, [forward.start, forward.next_start])


def test_no_window_is_mostly_unknown(gapped, make_config):
    config = make_config(max_unknown_fraction=0.1)
    pairs = joined(build_plan(gapped, config), range(STEPS))
    unknown = np.concatenate(([0], np.cumsum((gapped.bases & 7) == UNKNOWN)))
    for start in (pairs.start, pairs.next_start):
        count = unknown[start + config.window_bp] - unknown[start]
        assert count.max() <= 0.1 * config.window_bp
    assert count.max() > 0  # windows that touch a gap are used


def test_distances_are_log_uniform(gapped, make_config):
    config = make_config(distance_min_bp=16, distance_max_bp=1_600)
    drawn = np.sort(np.log(joined(build_plan(gapped, config), range(STEPS)).distance_bp + 0.5))
    expected = (drawn - np.log(16)) / (np.log(1_601) - np.log(16))
    assert np.abs(expected - np.arange(drawn.size) / drawn.size).max() < 0.03


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_species_follow_the_temperature(gapped, make_config, temperature):
    config = make_config(temperature=temperature, batch_windows=48)
    plan = build_plan(gapped, config)
    seen = np.bincount(joined(plan, range(plan.schedule.steps)).species)
    expected = np.diff(plan.grid.bounds) ** (1 / temperature)
    assert seen / seen.sum() == pytest.approx(expected / expected.sum(), rel=0.06)


def test_too_few_species_name_the_setting(make_corpus, make_config, tmp_path):
    corpus = make_corpus(species=7, length_bp=20_000)
    with pytest.raises(ValueError, match=r"7 species have a training window.*lower sampler.min_species"):
        build_plan(corpus, make_config())
    assert build_plan(corpus, make_config(min_species=7)).species_per_step(0) == 7
    scrap = accepted(tmp_path, "Planta scrap", "chr1", random_bases(np.random.default_rng(0), 700))
    whole = [
        accepted(tmp_path, species_name(i), "chr1", random_bases(np.random.default_rng(i), 9_000)) for i in range(7)
    ]
    with pytest.raises(ValueError, match=r"none in Planta scrap"):
        build_plan(make_corpus([*whole, scrap]), make_config())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"batch_windows": 7}, "sampler.batch_windows=7"),
        ({"window_tokens": 1}, "sampler.window_tokens=1"),
        ({"distance_min_bp": 0}, "sampler.distance_min_bp=0"),
        ({"distance_max_bp": 10}, "sampler.distance_max_bp"),
        ({"temperature": 0.0}, "sampler.temperature=0.0"),
        ({"max_unknown_fraction": 1.0}, "sampler.max_unknown_fraction=1.0"),
        ({"prefetch_batches": 0}, "sampler.prefetch_batches=0"),
        ({"near_identity": 0.5}, "sampler.near_identity=0.5"),
        ({"near_identity": 1.01}, "sampler.near_identity=1.01"),
    ],
)
def test_settings_that_can_not_be_are_named(change, named):
    with pytest.raises(ValueError, match=named):
        SamplerConfig(**change)


def test_hosts_share_a_step(gapped, make_config):
    whole = build_plan(gapped, make_config()).step(3)
    for hosts in (1, 2, 4, 16):
        parts = [shard(whole, host, hosts) for host in range(hosts)]
        assert_equal(WindowPairs(*(np.concatenate(column) for column in zip(*map(fields, parts)))), whole)
    for host, hosts in ((0, 3), (2, 2), (-1, 2)):
        with pytest.raises(ValueError, match="sampler.batch_windows"):
            shard(whole, host, hosts)


def test_a_short_region_is_one_cell_at_either_end(make_corpus, make_config, tmp_path):
    config = make_config(distance_min_bp=64)
    length = 2 * config.window_bp + 64 + 40
    rng = np.random.default_rng(0)
    records = [accepted(tmp_path, species_name(i), "chr1", random_bases(rng, length)) for i in range(8)]
    corpus = make_corpus(records)
    plan = build_plan(corpus, config)
    assert np.all(plan.grid.kept == 1)
    pairs = joined(plan, range(100))
    assert 0.3 < pairs.reverse.mean() < 0.7
    assert np.unique(pairs.start - corpus.regions.offset[pairs.region]).size > 20


def test_clusters_thin_by_their_size(make_corpus, make_config, tmp_path):
    """Of 40 cluster windows, the first 20 are copies in a cluster of 20: with alpha 1 they count as one."""
    rng = np.random.default_rng(0)
    copies = np.arange(40) < 20
    ids, sizes = np.where(copies, 5, -1), np.where(copies, 20, 1).astype(np.int32)
    records = [
        accepted(tmp_path, species_name(i), "chr1", random_bases(rng, 40 * 6_144), cluster_id=ids, cluster_size=sizes)
        for i in range(8)
    ]
    corpus = make_corpus(records)
    shares, kept = {}, {}
    for alpha in (0.0, 0.5, 1.0):
        plan = build_plan(corpus, make_config(cluster_alpha=alpha))
        pairs = joined(plan, range(800))
        place = pairs.start - np.array([r.offset for r in corpus.records])[corpus.regions.record[pairs.region]]
        shares[alpha], kept[alpha] = float((place < 20 * 6_144).mean()), int(plan.grid.kept[0])
        order = plan.grid.epoch_order(0, 0, seed=0)
        assert np.unique(order).size == order.size == kept[alpha]
    assert shares[0.0] == pytest.approx(0.5, abs=0.07)
    assert shares[0.5] == pytest.approx(20**-0.5 / (1 + 20**-0.5), abs=0.05)
    assert shares[1.0] == pytest.approx(1 / 21, abs=0.03)
    assert kept[1.0] < 0.6 * kept[0.0]


@pytest.mark.parametrize("window_tokens", [16, 64, 200])
def test_cells_share_no_start_and_stay_in_their_region(gapped, make_config, window_tokens):
    config = make_config(window_tokens=window_tokens)
    grid = build_plan(gapped, config).grid
    last = grid.first + grid.jitter_bp[grid.region]
    assert np.all(grid.first >= grid.region_start[grid.region])
    assert np.all(last + config.window_bp <= grid.region_end[grid.region])
    same = np.diff(grid.region) == 0
    assert np.all(grid.first[1:][same] > last[:-1][same])
    assert np.all((grid.proven[:, 0] >= grid.first) & (grid.proven[:, 0] <= last))

"""Repeats: what a new copy looks like, where it goes, and how it decays."""

import numpy as np
import pytest

from plantgfm.sequence import decode, reverse_complement
from plantgfm.simulate import change
from plantgfm.simulate.background import make_background
from plantgfm.simulate.columns import Kind, concatenate, piece
from plantgfm.simulate.config import WorldConfig
from plantgfm.simulate.repeats import TERMS, Family, array, element, make_family, simple_repeat
from plantgfm.simulate.transpose import (
    ORDER_SHARE,
    Registry,
    add_satellites,
    add_simple_repeats,
    family_weights,
    transpose,
)

CONFIG = WorldConfig(genome_size_bp=100_000)


@pytest.fixture(scope="module")
def background():
    return make_background(np.random.default_rng(1))


@pytest.fixture
def rng():
    return np.random.default_rng(2)


def family(background, order: str) -> Family:
    return make_family(np.random.default_rng(5), f"test_{order}", order, background=background, gc=0.4)


def plain(background, length: int, *, chromosomes: int = 1):
    parts = [
        piece(background.draw(np.random.default_rng(i), length, 0.4), kind=Kind.INTERGENIC, chrom=i)
        for i in range(chromosomes)
    ]
    return concatenate(parts)


@pytest.mark.parametrize("order", ["Gypsy", "Copia"])
def test_terminal_repeats_are_identical_at_insertion(background, order):
    one = family(background, order)
    full = one.full()
    assert one.ltr_bp >= 200
    assert np.array_equal(full[: one.ltr_bp], full[-one.ltr_bp :])
    assert decode(full[:2]) == "TG"
    assert decode(full[-2:]) == "CA"
    assert 3_800 < full.size < 8_000


@pytest.mark.parametrize("order", ["hAT", "CACTA", "MITE"])
def test_transposons_have_inverted_ends(background, order):
    full = family(background, order).full()
    assert np.array_equal(full[:16], reverse_complement(full)[:16])
    if order == "CACTA":
        assert decode(full[:5]) == "CACTA"
    if order == "MITE":
        assert 150 < full.size < 320


def test_elements_are_full_solo_or_truncated(background, rng):
    one = family(background, "Gypsy")
    sizes = [element(rng, one, full_fraction=0.5, solo_fraction=0.3).size for _ in range(400)]
    full, solo = sizes.count(one.full().size) / 400, sizes.count(one.ltr_bp) / 400
    assert full == pytest.approx(0.5, abs=0.1)
    assert solo == pytest.approx(0.3, abs=0.1)


def test_a_tandem_array_repeats_its_monomer(background, rng):
    one = family(background, "Satellite")
    assert 155 <= one.master.size <= 180
    codes = array(rng, one.master, 20_000, divergence=0.05)
    rows = codes[: codes.size // one.master.size * one.master.size].reshape(-1, one.master.size)
    assert rows.shape[0] > 100
    from_master = float((rows != one.master).mean())
    neighbours = float((rows[1:] != rows[:-1]).mean())
    assert 0.02 < from_master < 0.2
    assert neighbours < 2 * from_master


def test_simple_repeats_are_periodic(rng):
    for _ in range(50):
        micro = decode(simple_repeat(rng, mini=False))
        assert 15 <= len(micro) <= 80
        assert any(micro == (micro[:n] * 80)[: len(micro)] for n in range(1, 5))
        mini = decode(simple_repeat(rng, mini=True))
        assert any(mini == (mini[:n] * 30)[: len(mini)] for n in range(10, 61))


def test_insertion_adds_about_the_amount_and_registers_each_copy(background, rng):
    genome, registry = plain(background, 50_000), Registry()
    families = [family(background, order) for order in ORDER_SHARE]
    grown = transpose(
        genome, rng, families=families, weights=family_weights(rng, families), amount_bp=40_000, born=0.2,
        registry=registry, config=CONFIG,
    )  # fmt: skip
    inserted = int((grown.copy >= 0).sum())
    assert 34_000 < inserted < 46_000
    assert sorted(set(grown.copy[grown.copy >= 0].tolist())) == list(range(len(registry.family)))
    assert set(registry.age) == {0.2}
    assert np.array_equal(grown.code[(grown.copy < 0) & (grown.kind == Kind.INTERGENIC)][:100], genome.code[:100])


def test_the_target_site_is_doubled(background, rng):
    genome, registry = plain(background, 20_000), Registry()
    one = family(background, "Copia")
    grown = transpose(
        genome, rng, families=[one], weights=np.ones(1), amount_bp=one.full().size, born=0.0, registry=registry,
        config=WorldConfig(genome_size_bp=100_000, full_fraction=1.0, solo_fraction=0.0),
    )  # fmt: skip
    inside = np.flatnonzero(grown.copy == 0)
    start, end, target = inside[0], inside[-1] + 1, TERMS["Copia"][1]
    assert np.array_equal(grown.code[start - target : start], grown.code[end : end + target])
    assert len(grown) == len(genome) + one.full().size + target


def test_later_insertions_nest_in_earlier_ones(background, rng):
    genome, registry = plain(background, 4_000), Registry()
    one = family(background, "Gypsy")
    for born in (0.1, 0.2, 0.3):
        genome = transpose(
            genome, rng, families=[one], weights=np.ones(1), amount_bp=15_000, born=born, registry=registry,
            config=CONFIG,
        )  # fmt: skip
    edges = np.flatnonzero(np.diff(genome.copy)) + 1
    starts = genome.copy[np.concatenate(([0], edges))]
    numbers, fragments = np.unique(starts[starts >= 0], return_counts=True)
    split = numbers[fragments > 1]
    assert split.size
    assert all(registry.age[int(number)] < 0.3 for number in split)


def test_old_copies_are_less_like_their_family_than_young_ones(background):
    rng = np.random.default_rng(6)
    one = family(background, "Copia")
    habit = change.Habit(gc=0.4, gc3=0.4, kappa=4.8, cpg_factor=3.0, background=background)
    young, old = (piece(one.full(), kind=Kind.REPEAT, copy=0) for _ in range(2))
    change.substitute(young, rng, distance=0.004, habit=habit, omega=0.17)
    for _ in range(4):
        change.substitute(old, rng, distance=0.03, habit=habit, omega=0.17)
    identity = [float((one.full() == copy.code).mean()) for copy in (young, old)]
    assert identity[0] > 0.985
    assert 0.8 < identity[1] < 0.93
    ends = [float((copy.code[: one.ltr_bp] == copy.code[-one.ltr_bp :]).mean()) for copy in (young, old)]
    assert ends[0] > ends[1] < 0.95


def test_methylated_cytosines_of_repeats_decay_faster(background):
    habit = change.Habit(gc=0.5, gc3=0.5, kappa=4.8, cpg_factor=3.0, background=background)
    codes = np.tile(np.array([1, 2], dtype=np.uint8), 20_000)
    rates = []
    for copy in (-1, 0):
        genome = piece(codes, kind=Kind.REPEAT, copy=copy)
        change.substitute(genome, np.random.default_rng(3), distance=0.02, habit=habit, omega=0.17)
        rates.append(float((genome.code != codes).mean()))
    assert rates[1] == pytest.approx(3 * rates[0], rel=0.25)


def test_satellites_lie_at_the_centre_of_each_chromosome(background, rng):
    genome, registry = plain(background, 30_000, chromosomes=3), Registry()
    one = family(background, "Satellite")
    grown = add_satellites(genome, rng, family=one, amount_bp=9_000, born=0.1, registry=registry, config=CONFIG)
    assert len(registry.family) == 3
    for number, start, end in grown.spans():
        inside = np.flatnonzero(grown.copy[start:end] >= 0)
        assert inside.size == pytest.approx(3_000, rel=0.1)
        assert inside.mean() / (end - start) == pytest.approx(0.5, abs=0.02), number


def test_simple_repeats_and_telomeres_are_added(background, rng):
    genome, registry = plain(background, 200_000, chromosomes=2), Registry()
    grown = add_simple_repeats(genome, rng, born=0.1, registry=registry, config=CONFIG)
    assert {"Microsatellite", "Telomere"} <= set(registry.order)
    for _, start, end in grown.spans():
        assert decode(grown.code[start : start + 14]) == "CCCTAAACCCTAAA"
        assert decode(grown.code[end - 14 : end]) == "TTTAGGGTTTAGGG"
    assert [number for number, _, _ in grown.spans()] == [0, 1]


def test_orders_have_their_share(background, rng):
    families = [family(background, order) for order in (*ORDER_SHARE, "Gypsy")]
    weights = family_weights(rng, families)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[0] + weights[-1] == pytest.approx(ORDER_SHARE["Gypsy"])

"""The null world: its entropy is what the table says, and there is nothing else in it."""

import itertools
import json

import numpy as np
import pytest

from plantgfm.formats.manifest import read_manifest
from plantgfm.simulate.config import NullConfig
from plantgfm.simulate.null import HELD_OUT, Chain, draw, random_chain, simulate_null
from tests.simulate.conftest import file_bytes

TINY = NullConfig(species=2, genome_size_bp=40_000, decoys=3, decoy_bp=500)


def conditional_bits(codes: np.ndarray, order: int) -> float:
    """Plug-in entropy of a base given the `order` bases before it, with the Miller-Madow correction."""
    number = np.zeros(codes.size - order, dtype=np.int64)
    for place in range(order + 1):
        number = number * 4 + codes[place : codes.size - order + place]
    joint = np.bincount(number, minlength=4 ** (order + 1)).reshape(-1, 4).astype(float)

    def bits(counts: np.ndarray) -> float:
        share = counts[counts > 0] / counts.sum()
        return float(-(share * np.log2(share)).sum()) + (share.size - 1) / (2 * np.log(2) * counts.sum())

    return bits(joint.ravel()) - bits(joint.sum(axis=1))


def test_empirical_entropy_is_the_stated_one(null):
    stated = json.loads((null.path / "truth" / "entropy.json").read_text())
    for species, records in null.records.items():
        found = np.mean([conditional_bits(record.codes.astype(int), 3) for record in records.values()])
        assert found == pytest.approx(stated[species], abs=0.004)
        assert 1.90 <= stated[species] <= 1.95


def test_longer_contexts_tell_no_more(null):
    for records in null.records.values():
        codes = np.concatenate([record.codes for record in records.values()]).astype(int)
        bits = {order: conditional_bits(codes, order) for order in (1, 3, 5)}
        assert bits[3] - bits[5] < 0.002
        assert bits[1] - bits[3] > 0.01


def test_nothing_is_masked_or_unknown(null):
    for records in null.records.values():
        for record in records.values():
            assert record.soft_mask.size == 0
            assert record.codes.max() <= 3


def test_species_have_chains_of_their_own(null):
    stated = json.loads((null.path / "truth" / "entropy.json").read_text())
    assert set(stated) == set(null.records)
    assert len(set(stated.values())) == len(stated)


def test_same_seed_gives_same_bytes_and_another_seed_others(tmp_path):
    one = file_bytes(simulate_null(TINY, tmp_path / "one"))
    assert one == file_bytes(simulate_null(TINY, tmp_path / "two"))
    other = NullConfig(seed=8, species=2, genome_size_bp=40_000, decoys=3, decoy_bp=500)
    three = file_bytes(simulate_null(other, tmp_path / "three"))
    assert all(one[name] != three[name] for name in one if name.startswith("genomes"))


def test_layout_and_held_out(null):
    training = {one.species for one in read_manifest(null.path / "manifest.csv")}
    (held_out,) = read_manifest(null.path / "held_out.csv")
    assert held_out.species == HELD_OUT
    assert HELD_OUT not in training
    assert len(training) == 3


def test_a_null_world_is_no_embedded_world(tmp_path):
    out = simulate_null(TINY, tmp_path / "null")
    assert json.loads((out / "world.json").read_text())["kind"] == "null"
    assert simulate_null(TINY, out) == out
    with pytest.raises(ValueError, match="holds world"):
        simulate_null(NullConfig(species=1, genome_size_bp=40_000, decoys=3, decoy_bp=500), out)


def test_decoys_are_alike_by_chance_only(null):
    rows = null.table("orthologs.tsv")
    assert len(rows) == 3 * NullConfig().decoys
    identity = np.array([float(row["identity"]) for row in rows])
    assert identity.mean() == pytest.approx(0.26, abs=0.03)
    genes = {f.attributes["ID"][0] for s in null.records for f in null.features(s)}
    assert {row["gene_id"] for row in rows} <= genes


def test_bisection_meets_the_entropy_asked_for():
    for bits in (1.7, 1.9, 1.95):
        chain = random_chain(np.random.default_rng(1), order=3, bits=bits)
        assert chain.bits_per_base() == pytest.approx(bits, abs=2e-6)
        assert chain.order == 3


def test_both_strands_are_of_one_chain():
    chain = random_chain(np.random.default_rng(1), order=3, bits=1.9)
    twisted = Chain(np.random.default_rng(4).dirichlet(np.ones(4), 64))
    for one, alike in ((chain, True), (twisted, False), (twisted.on_both_strands(), True)):
        codes = draw(np.random.default_rng(2), one, 400_000)
        shares = [
            np.bincount(np.lib.stride_tricks.sliding_window_view(strand, 4) @ [64, 16, 4, 1], minlength=256)
            / codes.size
            for strand in (codes.astype(int), 3 - codes[::-1].astype(int))
        ]
        assert (np.abs(shares[0] - shares[1]).max() < 0.001) == alike
    np.testing.assert_allclose(chain.on_both_strands().transition, chain.transition, atol=1e-9)


def test_stationary_share_is_that_of_a_long_draw():
    chain = random_chain(np.random.default_rng(1), order=2, bits=1.6)
    codes = draw(np.random.default_rng(2), chain, 400_000).astype(int)
    found = np.bincount(codes[:-1] * 4 + codes[1:], minlength=16) / (codes.size - 1)
    assert np.abs(found - chain.stationary()).max() < 0.003


def test_masked_entropy_by_enumeration():
    """H(block | both sides) of an order-1 chain, summed over every block and both neighbours."""
    chain = random_chain(np.random.default_rng(3), order=1, bits=1.5)
    start, step = chain.stationary(), chain.transition
    total, ends = 0.0, np.zeros((4, 4))
    for path in itertools.product(range(4), repeat=5):
        chance = start[path[0]] * np.prod([step[a, b] for a, b in itertools.pairwise(path)])
        total -= chance * np.log2(chance)
        ends[path[0], path[-1]] += chance
    expected = (total + (ends * np.log2(ends)).sum()) / 3
    assert chain.masked_bits_per_base(3) == pytest.approx(expected, abs=1e-9)


def test_both_sides_tell_more_than_the_past():
    chain = random_chain(np.random.default_rng(4), order=3, bits=1.92)
    six, eight = chain.masked_bits_per_base(6), chain.masked_bits_per_base(8)
    assert six < eight < chain.bits_per_base()


def test_uniform_chain_has_two_bits():
    chain = Chain(np.full((64, 4), 0.25))
    assert chain.bits_per_base() == pytest.approx(2.0)
    assert chain.masked_bits_per_base(6) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"species": 0}, "species = 0"),
        ({"order": 9}, "order = 9"),
        ({"min_bits": 1.97}, "min_bits = 1.97"),
        ({"genome_size_bp": 1_000}, "genome_size_bp = 1000"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        NullConfig(**settings)

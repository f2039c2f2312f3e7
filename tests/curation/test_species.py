"""The species of an assembly: another one's sequence is found, and near relatives under their own names are kept."""

from pathlib import Path

import numpy as np
import pytest

from plantgfm.curation.config import CurationConfig, LabelConfig, LabelPolicy
from plantgfm.curation.curate import curate
from plantgfm.curation.label import containment
from plantgfm.curation.species import Genome, judge_species
from plantgfm.schema import Assembly, Compartment, Outcome
from plantgfm.sketch import fraction
from tests.curation.planted import finals, flags, mutated, random_codes, write_assembly

SIZE = 120_000
ONE, TWO = random_codes(SIZE, 500), random_codes(SIZE, 501)
RELATED = (0.95, 0.97, 0.98, 0.99, 0.999)
ACCEPTED = ("accepted", "accepted")


def genome(name, codes, species="Unus primus", *, expected=SIZE):
    row = Assembly(species, "", name, Compartment.NUCLEAR, Path("a.fa"), expected_size_bp=expected)
    return Genome(row, species, int((codes < 4).sum()), np.unique(fraction(codes, k=21, scaled=20)[0]))


def judge(one, *others, **settings):
    return [(v.outcome, v.reason) for v in judge_species(one, list(others), k=21, config=LabelConfig(**settings))]


REJECTED = [(Outcome.REJECTED, "species_mismatch")]
NEARER = [(Outcome.FLAGGED, "nearer_to_other_species")]
CLOSE = [(Outcome.FLAGGED, "close_to_other_species")]
WRONG = genome("wrong", mutated(ONE, 0.98, 1), "Duo secundus")
FIRST = genome("first", ONE)
OWN = genome("own", TWO, "Duo secundus")


def test_another_species_sequence_is_told_by_whole_genomes_alone():
    assert judge(WRONG, FIRST, OWN) == REJECTED
    assert judge(WRONG, FIRST) == CLOSE
    for piece in ("wrong", "first", "own"):
        of = {one.assembly.assembly: one for one in (WRONG, FIRST, OWN)}
        of[piece] = Genome(**{**vars(of[piece]), "known_bp": SIZE // 2})
        assert judge(*of.values()) == NEARER, f"{piece} is half a genome"
    unsized = genome("own", TWO, "Duo secundus", expected=None)
    assert judge(WRONG, FIRST, unsized) == NEARER
    assert judge(FIRST, WRONG, OWN) == CLOSE and judge(OWN, WRONG, FIRST) == []


def test_what_is_told_names_all_distances():
    (told,) = judge_species(WRONG, [FIRST, OWN], k=21, config=LabelConfig())
    assert told.evidence.startswith(f"distance to {FIRST.assembly.key} is 0.0")
    assert f"others named Duo secundus: {OWN.assembly.key} none: it is Unus primus rather" in told.evidence


def test_policies_and_thresholds_are_settings():
    flag = {"on_species_mismatch": LabelPolicy.FLAG}
    assert judge(WRONG, FIRST, OWN, **flag) == [(Outcome.FLAGGED, "species_mismatch")]
    assert judge(WRONG, FIRST, OWN, on_species_mismatch=LabelPolicy.KEEP) == []
    assert judge(WRONG, FIRST, on_close_species=LabelPolicy.REJECT) == [(Outcome.REJECTED, "close_to_other_species")]
    assert judge(WRONG, FIRST, on_close_species=LabelPolicy.KEEP) == []
    assert judge(WRONG, FIRST, OWN, max_species_distance=0.015) == []
    near = genome("own", mutated(ONE, 0.955, 3), "Duo secundus")  # from a copy at 98 %, 0.064
    assert judge(WRONG, FIRST, near) == REJECTED and judge(WRONG, FIRST, near, species_margin=0.1) == NEARER
    for wrong in ({"max_species_distance": 0.0}, {"max_species_distance": 0.2}, {"species_margin": -0.1}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} = .* must lie above 0"):
            LabelConfig(**wrong)


def test_two_of_one_wrong_name_do_not_shield_each_other_from_a_flag():
    second = genome("second", mutated(ONE, 0.985, 2), "Duo secundus")
    assert judge(WRONG, FIRST, OWN, second) == NEARER


def test_one_wrong_name_does_not_drag_the_right_ones_along():
    """A true assembly whose only other cultivar is far away, beside a copy of it that bears another name."""
    far = genome("far", mutated(ONE, 0.95, 4))
    assert judge(FIRST, far, WRONG, OWN) == NEARER
    assert judge(FIRST, far, WRONG) == REJECTED, "nothing speaks for the right name: it is the outvoted one"


@pytest.mark.parametrize("identity", RELATED)
@pytest.mark.parametrize("within", [0.96, 0.985, 0.995])
def test_near_relatives_under_their_own_names_are_never_rejected(identity, within):
    """Two sister species of two cultivars each, whose genomes also have a tenth that the other cultivar lacks."""
    for seed in range(3):
        sister, own = mutated(ONE, identity, 10 + seed), SIZE // 10
        cultivars = []
        for number, (name, base) in enumerate(
            zip(("prima", "prima", "secunda", "secunda"), (ONE, ONE, sister, sister))
        ):
            codes = mutated(base, 1 - (1 - within) / 2, 40 * seed + number)
            codes[own * number : own * (number + 1)] = random_codes(own, 900 + 10 * seed + number)
            cultivars.append(genome(f"a{number}", codes, f"Soror {name}"))
        for one in cultivars:
            others = [other for other in cultivars if other is not one]
            for some in (others, others[:2], others[1:]):
                assert all(outcome is Outcome.FLAGGED for outcome, _ in judge(one, *some)), (identity, within, seed)


def test_a_cultivar_nearer_to_a_wild_relative_than_to_another_cultivar_is_flagged_alone():
    """As indica rice, whose wild relative shares more with it than japonica does."""
    indica, japonica, wild = (mutated(ONE, kept, seed) for kept, seed in ((0.997, 20), (0.973, 21), (0.988, 22)))
    wild = genome("wild", wild, "Oryza rufipogon")
    cultivars = genome("indica", indica, "Oryza sativa"), genome("japonica", japonica, "Oryza sativa")
    assert judge(cultivars[0], cultivars[1], wild) == NEARER
    assert judge(wild, *cultivars) == CLOSE


def records(codes, stem):
    return [(f"{stem}{i}", part) for i, part in enumerate(np.array_split(codes, 3))]


@pytest.mark.parametrize(
    ("identity", "end"),
    [
        (0.95, ACCEPTED),
        (0.98, ("label", "species_mismatch")),
        (0.99, ("label", "species_mismatch")),
        (0.999, ("duplicates", "species_mismatch")),
    ],
)
def test_a_cultivar_under_the_name_of_another_species_is_rejected_and_nothing_else(tmp_path, identity, end):
    rows = [
        write_assembly(tmp_path, "one", records(ONE, "a"), species="Unus primus", expected_size_bp=SIZE),
        write_assembly(tmp_path, "two", records(TWO, "b"), species="Duo secundus", expected_size_bp=SIZE),
        write_assembly(
            tmp_path, "young", records(mutated(TWO, 0.985, 7), "c"), species="Duo secundus", expected_size_bp=SIZE
        ),
        write_assembly(
            tmp_path, "wrong", records(mutated(ONE, identity, 8), "d"), species="Duo secundus", expected_size_bp=SIZE
        ),
    ]
    found = curate(rows, CurationConfig(), store=tmp_path / "store")
    ends = finals(found)
    assert {ends["wrong", f"d{i}"] for i in range(3)} == {end}
    assert {end for (name, _), end in ends.items() if name != "wrong"} == {ACCEPTED}
    config = CurationConfig()
    config.label.on_species_mismatch = LabelPolicy.FLAG
    if end[0] == "label":
        flagged = curate(rows, config, store=tmp_path / "store")
        assert set(finals(flagged).values()) == {ACCEPTED} and "species_mismatch" in flags(flagged)["wrong", "d0"]


def test_containment_of_large_sets_is_told_from_a_sample():
    rng = np.random.default_rng(5)
    large = np.unique(rng.integers(0, 1 << 62, 50_000).astype(np.uint64))
    small = np.unique(
        np.concatenate([rng.choice(large, 6_000, replace=False), rng.integers(0, 1 << 62, 2_000).astype(np.uint64)])
    )
    exact, shared = containment(small, large)
    assert shared == 6_000 and exact == 6_000 / small.size
    share, counted = containment(large, small, most=2_000)
    assert abs(share - exact) < 0.04 and counted == round(share * 2_000)
    assert containment(small, small[:0]) == (0.0, 0)

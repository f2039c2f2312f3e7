"""Labels: the nearest reference wins by a margin; a piece is never rejected for lying elsewhere."""

from pathlib import Path

import numpy as np
import pytest

from plantgfm.curation import label
from plantgfm.curation.config import LabelConfig
from plantgfm.formats.passport import PassportRecord
from plantgfm.schema import Assembly, Compartment, Outcome
from plantgfm.sketch import fraction
from tests.curation.planted import mutated, random_codes

CONFIG = LabelConfig()
CULTIVAR = {"A1": random_codes(120_000, 41)}
CULTIVAR["A2"] = mutated(CULTIVAR["A1"], 0.98, 2)
PASSPORT = [
    PassportRecord("A1", "XYZ001", "Testus", "unus", accename="Aurora; Golden Dawn"),
    PassportRecord("A2", "XYZ001", "Testus", "unus", accename="Borea"),
    PassportRecord("A3", "XYZ001", "Testus", "unus", accename="Cirra"),
]


def hashes(codes):
    return np.unique(fraction(codes, k=21, scaled=50)[0])


REFERENCES = {("XYZ001", name): hashes(mutated(codes[:50_000], 0.999, 9)) for name, codes in CULTIVAR.items()}


def assembly(species="Testus unus", accession="A1", cultivar="", expected=120_000, name="v1"):
    return Assembly(
        species, cultivar, name, Compartment.NUCLEAR, Path(f"{name}.fa"), expected_size_bp=expected, accession=accession
    )


def judge(row, codes):
    found = label.judge_label(row, hashes(codes), passport=PASSPORT, references=REFERENCES, k=21, config=CONFIG)
    return [(v.outcome, v.reason) for v in found]


def test_right_label_is_verified_and_swapped_label_is_rejected():
    assert judge(assembly(), CULTIVAR["A1"]) == [(Outcome.KEPT, "verified")]
    assert judge(assembly(accession="A2"), CULTIVAR["A2"]) == [(Outcome.KEPT, "verified")]
    assert judge(assembly(accession="A1"), CULTIVAR["A2"]) == [(Outcome.REJECTED, "label_mismatch")]
    assert judge(assembly(accession="A1"), mutated(CULTIVAR["A1"], 0.995, 4)) == [(Outcome.KEPT, "verified")]


def test_unrelated_genome_is_rejected_and_unrelated_piece_is_flagged():
    stranger = random_codes(120_000, 55)
    assert judge(assembly(), stranger) == [(Outcome.REJECTED, "label_mismatch")]
    assert judge(assembly(expected=None), stranger) == [(Outcome.FLAGGED, "unverified_label")]
    assert judge(assembly(expected=None), CULTIVAR["A2"]) == [(Outcome.REJECTED, "label_mismatch")]


def test_claims_that_cannot_be_checked_are_flagged_or_silent():
    assert judge(assembly(accession="Z9"), CULTIVAR["A1"]) == [(Outcome.FLAGGED, "no_passport_record")]
    assert judge(assembly(accession="A3"), CULTIVAR["A1"]) == [(Outcome.FLAGGED, "unverified_label")]
    assert judge(assembly(accession=""), CULTIVAR["A1"]) == []
    assert judge(assembly(species="Testus duo"), CULTIVAR["A1"])[0] == (Outcome.FLAGGED, "species_disagrees")


def test_passport_is_found_by_number_or_by_name():
    for row, number in (
        (assembly(accession="XYZ001:A2"), "A2"),
        (assembly(accession="", cultivar="golden-dawn"), "A1"),
        (assembly(accession="", cultivar="BOREA"), "A2"),
    ):
        assert label.find_passport(row, PASSPORT).accenumb == number
    assert label.find_passport(assembly(accession="", cultivar="Borea", species="Alter duo"), PASSPORT) is None
    assert label.find_passport(assembly(accession="", cultivar="Unheard"), PASSPORT) is None


@pytest.mark.parametrize(
    ("own", "expected", "outcome"),
    [
        (random_codes(120_000, 60), 120_000, [(Outcome.REJECTED, "species_mismatch")]),
        (random_codes(120_000, 60), None, []),
        (mutated(CULTIVAR["A1"], 0.99, 5), 120_000, []),
        (None, 120_000, [(Outcome.FLAGGED, "close_to_other_species")]),
    ],
)
def test_sequence_of_one_species_under_the_name_of_another(own, expected, outcome):
    others = [(assembly("Alter duo", "", name="other"), hashes(mutated(CULTIVAR["A1"], 0.99, 6)))]
    if own is not None:
        others.append((assembly("Testus unus", "", name="own", expected=expected), hashes(own)))
    row = assembly(accession="", expected=expected)
    found = label.judge_species(row, hashes(CULTIVAR["A1"]), others, k=21)
    if own is not None and expected is None:
        assert all(v.outcome is Outcome.FLAGGED for v in found), "pieces may lie elsewhere"
    else:
        assert [(v.outcome, v.reason) for v in found] == outcome


def test_distance_recovers_identity():
    a = hashes(CULTIVAR["A1"])
    gap, shared = label.distance(a, hashes(CULTIVAR["A2"]), 21)
    assert abs(gap - 0.02) < 0.003 and shared > 100
    assert label.distance(a, a, 21) == (0.0, a.size)
    assert label.distance(a, np.empty(0, np.uint64), 21) == (1.0, 0)

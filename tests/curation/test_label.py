"""Labels: the nearest reference wins by a margin; a piece is never rejected for lying elsewhere."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from plantgfm.curation import label
from plantgfm.curation.config import LabelConfig, LabelPolicy
from plantgfm.formats.genotypes import Genotypes
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
    return [(v.outcome, v.reason) for v in verdicts(row, codes)]


def verdicts(row, codes, *, passport=PASSPORT, synonyms=None, genotypes=None, config=CONFIG):
    evidence = label.Evidence(passport, REFERENCES, synonyms or {}, 21)
    return label.judge_label(row, hashes(codes), evidence=evidence, genotypes=genotypes, config=config)


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


def test_distance_recovers_identity():
    a = hashes(CULTIVAR["A1"])
    gap, shared = label.distance(a, hashes(CULTIVAR["A2"]), 21)
    assert abs(gap - 0.02) < 0.003 and shared > 100
    assert label.distance(a, a, 21) == (0.0, a.size)
    assert label.distance(a, np.empty(0, np.uint64), 21) == (1.0, 0)


def policy(**asked):
    return LabelConfig(**{f"on_{name}": LabelPolicy(value) for name, value in asked.items()})


@pytest.mark.parametrize(
    ("row", "codes", "name", "reason"),
    [
        (assembly(accession="Z9"), "A1", "no_record", "no_passport_record"),
        (assembly(accession="", cultivar="Unheard"), "A1", "no_record", "no_passport_record"),
        (assembly(accession="A3"), "A1", "unverified", "unverified_label"),
        (assembly(accession="A1"), "A2", "mismatch", "label_mismatch"),
        (assembly(accession="", cultivar="Twin"), "A1", "ambiguous", "ambiguous_label"),
    ],
)
def test_what_an_outcome_means_is_a_setting(row, codes, name, reason):
    twins = [*PASSPORT, *(PassportRecord(f"T{i}", "XYZ001", "Testus", "unus", accename="Twin") for i in range(2))]
    for said, outcome in (("keep", None), ("flag", Outcome.FLAGGED), ("reject", Outcome.REJECTED)):
        found = verdicts(row, CULTIVAR[codes], passport=twins, config=policy(**{name: said}))
        assert [(v.outcome, v.reason) for v in found] == ([(outcome, reason)] if outcome else [])


def test_a_similar_name_is_told_with_its_score():
    (one,) = verdicts(assembly(accession="", cultivar="Golden Dawm"), CULTIVAR["A1"])
    assert one.outcome is Outcome.KEPT
    assert one.evidence.endswith("; passport found by similar name (score 90) XYZ001:A1")


def test_names_that_a_table_joins_are_one_species():
    row = assembly(species="Testus prior", accession="A1")
    assert verdicts(row, CULTIVAR["A1"])[0].reason == "species_disagrees"
    known = {"Testus prior": "Testus unus"}
    assert [v.reason for v in verdicts(row, CULTIVAR["A1"], synonyms=known)] == ["verified"]


def genotyped(same=0.98, other=0.80, sites=400):
    """Samples: the plant itself, one of its accession A3, one of A2, at those identities, and one of no accession."""
    own = np.random.default_rng(7).integers(0, 2, sites).astype(np.int8) * 2

    def at(identity):
        apart = own.copy()
        apart[: round((1 - identity) * sites)] = 2 - apart[: round((1 - identity) * sites)]
        return apart

    columns = [own, at(same), at(other), own]
    return Genotypes(["me", "seed lot 7", "A2", "stranger"], np.stack(columns, 1), {"seed lot 7": ["XYZ001:A3"]})


@pytest.mark.parametrize(
    ("same", "other", "expected"),
    [
        (0.98, 0.80, [(Outcome.KEPT, "verified")]),
        (0.95, 0.99, [(Outcome.KEPT, "verified")]),
        (0.94, 0.80, [(Outcome.REJECTED, "label_mismatch")]),
        (0.98, 0.995, [(Outcome.KEPT, "verified"), (Outcome.FLAGGED, "label_synonym")]),
        (0.50, 1.0, [(Outcome.REJECTED, "label_mismatch"), (Outcome.FLAGGED, "label_synonym")]),
    ],
)
def test_snp_identity_verifies_refutes_and_finds_synonyms(same, other, expected):
    row = replace(assembly(accession="A3"), sample="me", genotypes=Path("a.vcf"))
    found = verdicts(row, CULTIVAR["A1"], genotypes=genotyped(same, other))
    assert [(v.outcome, v.reason) for v in found] == expected
    assert f"SNP identity with seed lot 7, of the same accession, is {same:.4f} over 400 sites" in found[0].evidence
    if len(found) > 1:
        assert f"with A2, of another accession, is {other:.4f} over 400 sites; above 0.99" in found[1].evidence


def test_too_few_common_sites_say_nothing():
    row = replace(assembly(accession="A3"), sample="me", genotypes=Path("a.vcf"))
    few = genotyped(0.5, 1.0, sites=99)
    assert [v.reason for v in verdicts(row, CULTIVAR["A1"], genotypes=few)] == ["unverified_label"]


@pytest.mark.parametrize(
    "asked", [{"min_name_score": 101}, {"same_label_identity": 1.2}, {"min_common_sites": 0}, {"name_margin": -1}]
)
def test_label_settings_that_can_not_be_are_refused(asked):
    with pytest.raises(ValueError, match=next(iter(asked))):
        LabelConfig(**asked)


def test_a_sample_that_is_linked_to_another_accession_is_ambiguous():
    row, known = replace(assembly(accession="A3"), sample="me", genotypes=Path("a.vcf")), genotyped()
    linked = replace(known, links={**known.links, "me": ["https://doi.org/10.18730/XYZ", "XYZ001:A2"]})
    found = verdicts(row, CULTIVAR["A1"], genotypes=linked)
    assert [(v.outcome, v.reason) for v in found] == [
        (Outcome.FLAGGED, "ambiguous_label"),
        (Outcome.KEPT, "verified"),
    ]
    assert "its sample me is, by its name or the links of the VCF header, of XYZ001:A2" in found[0].evidence
    own = replace(known, links={**known.links, "me": ["XYZ001:A3"]})
    assert [v.reason for v in verdicts(row, CULTIVAR["A1"], genotypes=own)] == ["verified"]


def test_samples_are_found_in_the_passport_by_doi_number_or_a_name_of_one_record():
    records = [
        *PASSPORT,
        PassportRecord("A2", "ABC002", "Testus", "unus", accename="Borea", doi="10.18730/ABC2"),
        PassportRecord("9", "ABC002", "Testus", "unus", accename="Aurora B"),
    ]
    evidence = label.Evidence(records, {}, {}, 21)
    for sample, links, accession in (
        ("x", ["doi:10.18730/abc2"], ("ABC002", "A2")),
        ("x", ["ABC002:A2"], ("ABC002", "A2")),
        ("a-2", [], ("XYZ001", "A2")),  # the first of that number
        ("AURORA", [], ("XYZ001", "A1")),
        ("Borea", [], None),  # two have that name
        ("aurora b", ["nothing"], ("ABC002", "9")),
        ("-", [], None),
    ):
        assert evidence.accession_of(sample, links) == accession

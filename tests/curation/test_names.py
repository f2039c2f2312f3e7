"""Which of two species names a sequence bears rightly: what else bears the name, outside of those that hold it."""

import numpy as np
import pytest

from plantgfm.curation.names import Fit, NamedRecord, NameIndex, fits_text

RNG = np.random.default_rng(5)
POOL = np.unique(RNG.integers(0, 2**63, 4_000).astype(np.uint64))
SHARED, OTHER = POOL[:1_000], POOL[1_000:]


def record(assembly, name, hashes, species="Testus unus", whole=False):
    return NamedRecord(assembly, name, species, whole, np.sort(hashes))


def index():
    return NameIndex(
        [
            record("a", "1", SHARED),
            record("a", "2", np.concatenate([SHARED[:300], OTHER[:500]])),
            record("a2", "1", np.concatenate([SHARED[200:600], OTHER[500:600]]), whole=True),
            record("b", "1", SHARED, species="Alter duo"),
            record("b", "2", OTHER[600:900], species="Alter duo", whole=True),
        ]
    )


def test_hashes_are_sought_in_other_records_of_the_name():
    fit = index().fit(SHARED, "Testus unus", [("a", "1"), ("b", "1")])
    assert (fit.found, fit.of, fit.bearers, fit.whole) == (600, 1_000, 1, True)
    assert fit.at_hand == 800 + 500
    assert index().fit(SHARED, "Alter duo", [("a", "1"), ("b", "1")]).found == 0
    assert index().fit(SHARED, "Tertius tres", []) == Fit(0, 1_000, 0, whole=False, bearers=0)


def test_a_whole_assembly_stands_for_all_its_records():
    fit = index().fit(SHARED, "Testus unus", [("a", "")])
    assert (fit.found, fit.at_hand) == (400, 500)
    fit = index().fit(SHARED, "Testus unus", [("a", ""), ("a2", "")])
    assert (fit.found, fit.at_hand, fit.bearers, fit.whole) == (0, 0, 2, False)


def test_a_genome_is_no_witness_against_its_own_record():
    assert not index().fit(SHARED, "Alter duo", [("b", "1")]).whole


@pytest.mark.parametrize(
    ("found", "rival", "beats"),
    [(66, 0, False), (400, 0, True), (400, 390, False), (400, 340, True), (40, 25, False), (40, 15, True)],
)
def test_what_is_enough_to_tell(found, rival, beats):
    best, other = (Fit(n, 1_000, 50_000, whole=False, bearers=1) for n in (found, rival))
    if found == 66:
        best, other = (Fit(n, 20_000, 50_000, whole=False, bearers=1) for n in (found, rival))
    assert best.beats(other) == beats and not other.beats(best)


def test_a_genome_that_shares_nothing_refutes():
    refuted = Fit(2, 1_000, 50_000, whole=True, bearers=1)
    unknown = Fit(0, 1_000, 0, whole=False, bearers=1)
    assert refuted.refuted and unknown.beats(refuted) and not refuted.beats(unknown)
    assert not refuted.beats(refuted)
    assert unknown.rank < refuted.rank
    assert "no other Alter duo, 0.2% of it" in fits_text({"Testus unus": refuted, "Alter duo": unknown})


def test_order_of_names():
    none, misfit, two = (Fit(0, 100, at_hand, whole=False, bearers=n) for at_hand, n in ((0, 1), (9, 1), (9, 2)))
    assert sorted([misfit, two, none], key=lambda fit: fit.rank) == [none, two, misfit]

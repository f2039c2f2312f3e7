"""Records with the repeats of another species are flagged; relatives, insertions and what all species hold are not."""

import numpy as np
import pytest

from plantgfm.curation.config import CurationConfig
from plantgfm.curation.curate import curate
from plantgfm.schema import Outcome
from tests.curation.planted import mutated, random_codes, write_assembly

RECORD_BP, REPEAT_BP = 60_000, 1_000
NAMES = ("Aa prima", "Bb prima", "Cc prima", "Dd prima", "Ee prima")


def family(seed, copies=6):
    """Repeats of one genome."""
    return [random_codes(REPEAT_BP, 9_000 + 10 * seed + i) for i in range(copies)]


def record(seed, repeats, step=9_000):
    """Sequence of its own, with a young copy of each repeat at every step."""
    codes = random_codes(RECORD_BP, 7_000 + seed)
    for i, repeat in enumerate(repeats):
        codes[i * step : i * step + REPEAT_BP] = mutated(repeat, 0.995, seed + i)
    return codes


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strays")
    families, ribosomal = [family(number) for number in range(len(NAMES))], family(77)
    families[3] = families[1]  # the fourth is the second one's sister
    assemblies = []
    for number, (name, repeats) in enumerate(zip(NAMES, families)):
        records = [(f"r{i}", record(100 * number + i, repeats)) for i in range(5)]
        records += [(f"ribosomal{i}", record(100 * number + 10 + i, ribosomal)) for i in range(2 if number else 1)]
        if number == 0:
            records += [("stray", record(50, families[1])), ("insertion", record(51, families[2], step=REPEAT_BP))]
            records += [(f"common{i}", record(60 + i, families[4])) for i in range(2)]  # its own as much as another's
        assemblies.append(write_assembly(folder, f"x{number}", records, species=name))
    return curate(assemblies, CurationConfig(), store=folder / "store")


def test_the_repeats_of_another_species_make_a_doubt_and_nothing_else_does(found):
    doubts = [one for one in found.ledger.decisions if one.reason == "species_in_doubt"]
    assert [(one.record, one.outcome) for one in doubts] == [("stray", Outcome.FLAGGED)]
    assert "it has the repeats of Bb prima" in doubts[0].evidence, "one species is named, of sisters the first"
    assert {one.name for one in found.accepted} >= {"stray", "insertion", "common0"}, "it is a flag, never more"


def test_hashes_are_counted_as_they_stand_in_the_evidence(found):
    (doubt,) = (one for one in found.ledger.decisions if one.reason == "species_in_doubt")
    telling, of, own = (int(number.replace(",", "")) for number in np.array(doubt.evidence.split())[[0, 3, 16]])
    assert 0.05 * of < telling < 0.15 * of and own == 0

"""What shares no locus with any other plant is a stranger, whole or half; deserts, repeats and relatives are none."""

import numpy as np
import pytest

from plantgfm.config import settings
from plantgfm.curation import intruders, strangers
from plantgfm.curation.config import CurationConfig
from plantgfm.curation.curate import curate
from plantgfm.schema import Compartment
from plantgfm.sequence import reverse_complement
from tests.curation.planted import finals, flags, mutated, random_codes, write_assembly

LOCI = [random_codes(40, 3_000 + i) for i in range(120)]
NONE = ("contamination", "fits_no_other_nuclear")


def plant(seed, length_bp=300_000, *, loci=range(120)):
    """A sequence of its own with loci that all plants have, on both strands, evenly spread."""
    codes, starts = random_codes(length_bp, seed), np.linspace(300, length_bp - 900, len(loci)).astype(int)
    for number, start in zip(loci, starts):
        locus = mutated(LOCI[number], 0.98, 1_000 * seed + number)
        codes[start : start + 40] = reverse_complement(locus) if number % 3 else locus
    return codes


def half(seed=76, *, turned=False):
    """Half a plant, half a microbe."""
    parts = [plant(seed, 100_000, loci=range(0, 120, 3)), random_codes(100_000, seed + 1)]
    return np.concatenate(parts[::-1] if turned else parts)


@pytest.fixture(scope="module")
def plants(tmp_path_factory):
    """Six species that share their loci, and where they lie."""
    folder = tmp_path_factory.mktemp("plants")
    return folder, [
        write_assembly(folder, f"p{i}", [("chr1", plant(50 + i))], species=f"Planta species{i}") for i in range(6)
    ]


def run(plants, tmp_path, records, *asked, more=(), **also):
    folder, rows = plants
    one = write_assembly(tmp_path, "x", records, species="Planta mixta")
    config = settings(CurationConfig, list(asked))
    return curate([*rows, *more, one], config, store=folder / "store", **also)


def of_x(found):
    ends = finals(found)
    assert all(end == ("accepted", "accepted") for (name, _), end in ends.items() if name != "x")
    assert not [name for name, _ in flags(found) if name != "x"]
    return {record: end for (name, record), end in ends.items() if name == "x"}


def test_a_short_contig_without_any_locus_is_a_stranger_and_no_plant_is(plants, tmp_path):
    records = [("chr1", plant(81)), ("microbe", random_codes(60_000, 82)), ("crumb", random_codes(30_000, 83))]
    records.append(("contig", plant(84, 60_000, loci=range(24))))
    found = run(plants, tmp_path, records)
    accepted = ("accepted", "accepted")
    assert of_x(found) == {"chr1": accepted, "microbe": NONE, "crumb": accepted, "contig": accepted}
    (one,) = [d for d in found.ledger.decisions if d.outcome.value == "rejected"]
    assert one.evidence.startswith(
        "0 loci of its 60,000 bp lie in any nuclear assembly of 6 unrelated groups of species"
    )
    assert one.evidence.endswith("are expected from the rest of its assembly")


def test_a_lone_contig_is_held_against_what_other_assemblies_share(plants, tmp_path):
    found = run(plants, tmp_path, [("microbe", random_codes(60_000, 85))])
    assert of_x(found) == {"microbe": NONE}
    assert (
        "are expected from other nuclear assemblies"
        in found.ledger.of_record("Planta mixta||x|x.fa.gz", "microbe")[0].evidence
    )


@pytest.mark.parametrize("turned", [False, True])
def test_half_a_microbe_is_flagged_with_its_interval_cut_or_dropped(plants, tmp_path, turned):
    records = [("chr1", plant(86)), ("half", half(turned=turned))]
    found = run(plants, tmp_path, records)
    assert set(of_x(found).values()) == {("accepted", "accepted")} and flags(found) == {("x", "half"): {"chimera"}}
    (one,) = found.ledger.findings
    wanted = (0, 100_000) if turned else (100_000, 200_000)
    assert abs(one.start - wanted[0]) < 3_500 and abs(one.end - wanted[1]) < 3_500 and one.kind == "chimera"
    if not turned:
        cut = run(plants, tmp_path, records, "contamination.chimeras=CUT")
        (piece,) = (record for record in cut.accepted if record.name == "half")
        assert piece.start == 0 and abs(piece.length_bp - 100_000) < 3_500
        dropped = run(plants, tmp_path, records, "contamination.chimeras=DROP")
        assert of_x(dropped)["half"] == ("contamination", "chimera")


def test_a_desert_of_genes_is_known_by_the_repeats_of_its_genome(plants, tmp_path):
    family, desert, rest = random_codes(1_000, 78), half(90), plant(79)
    for codes, starts in ((desert, range(100_500, 199_000, 5_000)), (rest, range(1_500, 290_000, 20_000))):
        for start in starts:
            codes[start : start + 1_000] = mutated(family, 0.97, start)
    found = run(plants, tmp_path, [("chr1", rest), ("d", desert), ("e", mutated(desert[105_000:165_000], 0.9, 5))])
    assert set(of_x(found).values()) == {("accepted", "accepted")} and not flags(found)
    alone = run(plants, tmp_path, [("chr1", plant(79)), ("d", desert)])
    assert flags(alone) == {("x", "d"): {"chimera"}}, "repeats of that stretch alone are no sign of its genome"


def test_relatives_say_nothing_and_few_others_neither(plants, tmp_path):
    microbe, (folder, rows) = random_codes(60_000, 82), plants
    one = write_assembly(tmp_path, "x", [("chr1", plant(81)), ("microbe", microbe)], species="Planta mixta")
    few = curate([*rows[:4], one], CurationConfig(), store=folder / "store")
    assert of_x(few)["microbe"] == ("accepted", "accepted")
    kin = plant(95)
    sisters = [
        write_assembly(tmp_path, f"k{i}", [("chr1", mutated(kin, 0.96, i))], species=f"Herba soror{i}")
        for i in range(6)
    ]
    related = curate([*sisters, one], CurationConfig(), store=folder / "store")
    assert of_x(related)["microbe"] == ("accepted", "accepted")


def test_thresholds_that_are_tried_do_not_compare_again(plants, tmp_path, monkeypatch):
    calls, find = [], strangers.find_strangers
    monkeypatch.setattr(intruders.strangers, "find_strangers", lambda *args: calls.append(1) or find(*args))
    records = [("chr1", plant(81)), ("microbe", random_codes(60_000, 82))]
    found = run(plants, tmp_path, records, "contamination.min_insertion_bp=201", what_if=True)
    assert of_x(found)["microbe"] == NONE
    assert len(calls) == 3, "for the join, its steps, and the one step that rejects other records before"


def test_blocks_of_long_records_are_spread_over_them(plants, tmp_path, monkeypatch):
    monkeypatch.setattr(strangers, "_LOOKED_AT_BP", 131_072)
    monkeypatch.setattr(strangers, "_HELD_BP", 262_144)
    found = run(plants, tmp_path, [("chr1", plant(87)), ("half", half(88))], "contamination.min_insertion_bp=202")
    assert flags(found) == {("x", "half"): {"chimera"}}
    (one,) = found.ledger.findings
    assert abs(one.start - 100_000) < 20_000 and one.end == 200_000


def test_what_chance_allows_grows_with_what_is_expected_and_begins_late():
    assert [strangers._allowed(expected) for expected in (0.0, 10.0, 16.0, 17.0, 30.0, 200.0)] == [-1, -1, -1, 0, 3, 20]


def test_a_plastid_that_is_half_a_microbe_is_found_among_plastids(tmp_path):
    ring = random_codes(100_000, 90)
    rings = [mutated(ring, 0.9, i) for i in range(7)]
    rings[6] = np.concatenate([rings[6], random_codes(80_000, 91)])
    rows = [
        write_assembly(tmp_path, f"r{i}", [("pt", codes)], species=f"Planta s{i}", compartment=Compartment.PLASTID)
        for i, codes in enumerate(rings)
    ]
    found = curate(rows, CurationConfig(), store=tmp_path / "store")
    assert flags(found) == {("r6", "pt"): {"chimera"}}
    assert set(finals(found).values()) == {("accepted", "accepted")}

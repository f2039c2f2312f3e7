"""Assemblies compared with each other: strangers are named, what is merely different or small is kept."""

import sys
from collections import Counter
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from plantgfm.config import settings
from plantgfm.curation import peers, strangers
from plantgfm.curation.config import ContaminationConfig, CurationConfig
from plantgfm.curation.curate import curate
from plantgfm.schema import Compartment, Outcome
from plantgfm.sequence import BASE_MASK
from plantgfm.sketch import fraction
from tests.curation.planted import finals, flags, mutated, random_codes, write_assembly

CONFIG = ContaminationConfig()
NUCLEAR, PLASTID, MITO = Compartment.NUCLEAR, Compartment.PLASTID, Compartment.MITOCHONDRION
GENES, PLASTOME, CHONDROME = random_codes(6_000, 301), random_codes(30_000, 302), random_codes(40_000, 303)


def hashed(codes):
    return np.unique(fraction(codes, k=CONFIG.k, scaled=CONFIG.scaled)[0])


def plant(seed, length_bp=60_000):
    """A nuclear sequence of its own, but for a tenth that plants share."""
    own = random_codes(length_bp, 400 + seed)
    own[20_000:26_000] = mutated(GENES, 0.97, seed)
    return own


PLANTS = [{"chr1": hashed(plant(i))} for i in range(6)]
PLASTIDS = [{"pt": hashed(mutated(PLASTOME, 0.95, i))} for i in range(6)]
CHONDROMES = [{"mt": hashed(mutated(CHONDROME, 0.95, i))} for i in range(6)]
MICROBE = np.random.default_rng(1).permutation(plant(0))  # of the same composition
NONE = "fits_no_other_nuclear"


def compare(assemblies, labels, config=CONFIG, species=None):
    species = species or [f"Planta species{i}" for i in range(len(assemblies))]
    return peers.compare_compartments(assemblies, labels, species, config)


def reasons(*args, **more):
    return [{verdict.record: verdict.reason for verdict in one} for one in compare(*args, **more)]


def test_a_microbe_among_plants_shares_none_where_plants_share_some():
    stray = {"m": hashed(MICROBE)}
    found = compare([*PLANTS, stray, {}], [NUCLEAR] * 8)  # of the last one other stages left nothing
    assert found[:6] == [[]] * 6 and found[7] == [] and [v.reason for v in found[6]] == [NONE]
    text = found[6][0].evidence
    assert text.startswith(f"none of its {stray['m'].size:,} hashes lies in any of 7 others labelled nuclear; ")
    assert "are expected from what 7 unrelated species share" in text and "0.0 by chance" in text


def test_a_microbe_inside_a_plant_assembly_is_found_and_the_plant_stays():
    mixed = {**PLANTS[5], "m": hashed(MICROBE)}
    found = compare([*PLANTS[:5], mixed], [NUCLEAR] * 6)
    assert [{v.record: v.reason for v in one} for one in found] == [{}, {}, {}, {}, {}, {"m": NONE}]
    assert "from what the rest of its assembly shares with 5 unrelated species" in found[5][0].evidence


def test_a_microbe_in_contigs_too_small_to_judge_is_judged_as_a_whole():
    contigs = {f"c{i}": hashed(part) for i, part in enumerate(np.array_split(MICROBE, 12))}
    assert reasons([*PLANTS, contigs], [NUCLEAR] * 7)[6] == dict.fromkeys(contigs, NONE)
    assert reasons([*PLANTS, {"c0": contigs["c0"]}], [NUCLEAR] * 7)[6] == {}, "a piece may hold no gene"


def test_with_fewer_than_five_others_or_peers_that_share_nothing_no_one_is_judged():
    assert reasons([*PLANTS[:4], {"m": hashed(MICROBE)}], [NUCLEAR] * 5) == [{}] * 5
    strangers = [{"r": hashed(random_codes(60_000, 500 + i))} for i in range(7)]
    assert reasons(strangers, [NUCLEAR] * 7) == [{}] * 7


def test_cultivars_of_one_species_say_nothing_of_another():
    own = random_codes(60_000, 520)
    cultivars = [{"chr1": hashed(mutated(own, 0.99, i))} for i in range(6)]
    unique = {"r": hashed(random_codes(60_000, 521))}
    names = [*["Planta communis"] * 6, "Planta rara"]
    assert reasons([*cultivars, unique], [NUCLEAR] * 7, species=names) == [{}] * 7
    others = [{"r": hashed(random_codes(60_000, 530 + i))} for i in range(5)]
    names += [f"Planta sola{i}" for i in range(5)]
    many = [*cultivars, *cultivars, *cultivars]
    names = [*["Planta communis"] * 18, *names[6:]]
    assert reasons([*many, unique, *others], [NUCLEAR] * 24, species=names) == [{}] * 24


def test_sister_species_say_nothing_of_a_plant_without_any():
    """Seven nightshades beside a maize, which shares no more with them than plants do: next to nothing of a piece."""
    nightshade, maize = random_codes(60_000, 540), random_codes(60_000, 541)
    sisters = [{"chr1": hashed(mutated(nightshade, 0.95, i))} for i in range(7)]
    assert reasons([*sisters, {"chr1": hashed(maize)}], [NUCLEAR] * 8) == [{}] * 8
    assert reasons([*sisters, *PLANTS, {"chr1": hashed(maize)}], [NUCLEAR] * 14)[13] == {"chr1": NONE}
    mixed = {**sisters[0], "own": hashed(random_codes(9_000, 542))}
    assert reasons([mixed, *sisters[1:]], [NUCLEAR] * 7) == [{}] * 7, "what a sister lacks is no stranger"


def test_repeats_of_a_genome_alone_are_no_strangers_in_it():
    """Scaffolds of a family that no other species has, beside a chromosome that shares as much as plants do."""
    family = random_codes(60_000, 550)
    mine = {**PLANTS[0], **{f"u{i}": hashed(mutated(family, 0.97, 60 + i)) for i in range(3)}}
    assert reasons([mine, *PLANTS[1:]], [NUCLEAR] * 6) == [{}] * 6
    lone = {**PLANTS[0], "u0": hashed(family)}
    assert reasons([lone, *PLANTS[1:]], [NUCLEAR] * 6) == [{"u0": NONE}, *[{}] * 5]


def test_a_few_strangers_do_not_hide_each_other():
    microbes = [{"m": hashed(np.random.default_rng(i).permutation(MICROBE))} for i in range(2)]
    found = reasons([*PLANTS, *microbes], [NUCLEAR] * 8)
    assert found == [*[{}] * 6, {"m": NONE}, {"m": NONE}]


@pytest.mark.parametrize(("shared", "expected"), [(1, {"m": NONE}), (8, {})])
def test_what_is_next_to_nothing_counts_as_none_and_a_few_genes_as_some(shared, expected):
    genes = np.intersect1d(PLANTS[0]["chr1"], PLANTS[1]["chr1"])[:shared]
    stray = {"m": np.unique(np.concatenate([hashed(MICROBE), genes]))}
    tolerant = ContaminationConfig(max_peer_fraction=0.02)
    assert reasons([*PLANTS, stray], [NUCLEAR] * 7, tolerant)[6] == expected
    assert reasons([*PLANTS, stray], [NUCLEAR] * 7)[6] == {}


def test_an_organelle_is_known_by_assemblies_labelled_so():
    stray = {"s": hashed(mutated(PLASTOME, 0.97, 9)), "n": hashed(random_codes(30_000, 23))}
    labels = [PLASTID] * 6 + [NUCLEAR]
    assert reasons([*PLASTIDS, stray], labels) == [*[{}] * 6, {"s": "plastid_under_nuclear_label"}]


def test_a_microbe_labelled_plastid_and_a_mitochondrion_labelled_plastid():
    microbe, swapped = {"m": hashed(random_codes(30_000, 22))}, {"x": hashed(mutated(CHONDROME, 0.99, 9))}
    assemblies = [*PLASTIDS, microbe, *CHONDROMES, swapped]
    found = reasons(assemblies, [PLASTID] * 7 + [MITO] * 6 + [PLASTID])
    assert found == [*[{}] * 6, {"m": "fits_no_other_plastid"}, *[{}] * 6, {"x": "mitochondrion_under_plastid_label"}]
    chimera = {"y": np.unique(np.concatenate([PLASTIDS[0]["pt"], CHONDROMES[0]["mt"]]))}
    assert reasons([*PLASTIDS, *CHONDROMES, chimera], [PLASTID] * 6 + [MITO] * 6 + [PLASTID])[-1] == {}


def test_thinning_large_sets_changes_no_verdict(monkeypatch):
    stray = {"m": hashed(MICROBE)}
    assemblies = [*PLANTS, stray]
    before = reasons(assemblies, [NUCLEAR] * 7)
    monkeypatch.setattr(peers, "MAX_HASHES", sum(one.size for a in assemblies for one in a.values()) // 3)
    found = compare(assemblies, [NUCLEAR] * 7)
    assert [{v.record: v.reason for v in one} for one in found] == before
    assert f" {stray['m'].size:,} hashes" not in found[6][0].evidence, "fewer hashes were compared"


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peers")
    numt = [random_codes(40_000, 311), mutated(PLASTOME[5_000:9_000], 0.98, 3), random_codes(30_000, 312)]
    numt = np.concatenate(numt)
    return numt, folder, [
        write_assembly(folder, "x", [("numt", numt), ("clean", random_codes(20_000, 313))]),
        write_assembly(folder, "pt", [("pt", PLASTOME)], compartment=PLASTID),
    ]  # fmt: skip


def test_insertions_are_seen_against_assemblies_labelled_organelle(rows):
    _, folder, assemblies = rows
    found = curate(assemblies, CurationConfig(), store=folder / "store")
    assert {end for end in finals(found).values()} == {("accepted", "accepted")}
    assert flags(found) == {("x", "numt"): {"organelle_insertion"}}
    (one,) = found.ledger.findings
    assert (one.record, one.kind, one.tool, one.name) == ("numt", "organelle", "other assemblies", assemblies[1].key)
    assert 0 <= one.start - 40_000 < 400 and 0 <= 44_000 - one.end < 400
    asked = settings(CurationConfig, ["contamination.organelle_insertions=DROP"])
    dropped = curate(assemblies, asked, store=folder / "store")
    assert finals(dropped)["x", "numt"] == ("contamination", "organelle_insertion")


def test_a_distant_organelle_is_known_by_how_much_of_it_matches_and_a_few_bases_by_nothing(rows, tmp_path):
    _, folder, (_, plastid) = rows
    places = fraction(PLASTOME, k=CONFIG.k, scaled=CONFIG.scaled)[1]
    at = int(places[np.argmin(places[2:] - places[:-2])])
    crumb = np.concatenate([random_codes(20_000, 321), PLASTOME[at : at + 150], random_codes(20_000, 322)])
    records = [("far", mutated(PLASTOME, 0.95, 31)), ("crumb", crumb)]
    found = curate([write_assembly(tmp_path, "y", records), plastid], CurationConfig(), store=folder / "store")
    assert finals(found)["y", "far"] == ("contamination", "organelle_under_nuclear_label")
    assert finals(found)["y", "crumb"] == ("accepted", "accepted") and flags(found) == {}
    told = curate(
        [write_assembly(tmp_path, "y", records), plastid],
        settings(CurationConfig, ["contamination.min_insertion_bp=20"]),
        store=folder / "store",
    )
    assert flags(told) == {("y", "crumb"): {"organelle_insertion"}}


def test_insertions_found_late_are_cut_as_well_and_windows_follow(rows):
    numt, folder, assemblies = rows
    asked = settings(CurationConfig, ["contamination.organelle_insertions=CUT"])
    asked.duplicates.window_bp = 5_000
    found = curate(assemblies, asked, store=folder / "store")
    first, second = (record for record in found.accepted if record.name == "numt")
    for piece in (first, second):
        assert np.array_equal(piece.load() & BASE_MASK, numt[piece.start : piece.start + piece.length_bp])
        assert piece.cluster_id.size == -(-piece.length_bp // 5_000)
    assert first.start == 0 and second.start + second.length_bp == numt.size and second.start > 43_600
    (final,) = [d for d in found.ledger.decisions if d.record == "numt" and d.outcome is Outcome.CUT]
    assert final.cut_bp == numt.size - first.length_bp - second.length_bp
    asked.contamination.min_piece_bp = 42_000
    assert finals(curate(assemblies, asked, store=folder / "store"))["x", "numt"] == ("contamination", "nothing_left")


@pytest.mark.parametrize("asked", [{"min_expected_shared": 1.0}, {"max_peer_fraction": -0.1}, {"min_insertion_bp": -1}])
def test_settings_of_peers_that_can_not_be_are_refused(asked):
    with pytest.raises(ValueError, match=next(iter(asked))):
        ContaminationConfig(**asked)


@pytest.mark.parametrize("sizes", [(0, 0), (0, 5), (3, 400), (400, 3), (300, 300)])
def test_shared_hashes_are_counted_from_either_side(sizes):
    rng = np.random.default_rng(sum(sizes))
    a, b = (np.unique(rng.integers(0, 500, size, dtype=np.uint64)) for size in sizes)
    assert peers._overlap(a, b) == peers._overlap(b, a) == np.intersect1d(a, b).size


def steps_of(work) -> int:
    """Calls, returns and steps of generators that some work takes: a cost that no clock measures."""
    steps = Counter()
    sys.setprofile(lambda *_: steps.update(("all",)))
    try:
        work()
    finally:
        sys.setprofile(None)
    return steps["all"]


def test_the_cost_of_many_contigs_grows_with_their_number():
    rng, costs = np.random.default_rng(1), []
    pool = rng.integers(0, 1 << 58, 60_000, dtype=np.uint64)
    held = strangers.Peers(np.unique(pool), np.uint64(1 << 62), [0], "nuclear")
    for number in (20, 200):
        contigs = one_of({f"c{i}": np.unique(rng.choice(pool, 20)) for i in range(number)})
        costs.append(steps_of(partial(strangers._suspects, [contigs], held, CONFIG)))
    assert costs[1] < 14 * costs[0]


def one_of(hashes):
    """As much of a prepared assembly as suspects are found by."""
    rows = [{"name": name, "length_bp": 1_000} for name in hashes]
    return SimpleNamespace(hashes=hashes, left=lambda: rows)

"""Sketches of references without their sequence: what is shipped says what it is, and screens as the sequence would."""

import numpy as np
import pytest

from plantgfm.config import settings
from plantgfm.curation import references as references_module
from plantgfm.curation import shipped
from plantgfm.curation.config import ContaminationConfig, CurationConfig
from plantgfm.curation.curate import curate
from plantgfm.curation.references import Reference, load_references
from plantgfm.formats.errors import FormatError
from plantgfm.schema import Compartment
from plantgfm.sketch import fraction
from tests.curation.planted import finals, flags, mutated, random_codes, write_assembly

CONFIG = ContaminationConfig()
RINGS = {"Planta prima": random_codes(50_000, 901), "Herba secunda": random_codes(40_000, 902)}
RINGS["Herba secunda"][:10_000] = RINGS["Planta prima"][:10_000]


@pytest.fixture(scope="module")
def sketches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sketches")
    rows = [
        write_assembly(folder, f"ring{i}", [("pt", ring)], species=name, compartment=Compartment.PLASTID)
        for i, (name, ring) in enumerate(RINGS.items())
    ]
    shipped.write_sketches(folder / "pt.npz", rows, k=CONFIG.k, scaled=CONFIG.scaled)
    again = folder / "again.npz"
    shipped.write_sketches(again, rows[::-1], k=CONFIG.k, scaled=CONFIG.scaled)
    assert again.read_bytes() == (folder / "pt.npz").read_bytes(), "order and time are no part of it"
    return folder / "pt.npz"


def test_sketches_hold_each_hash_once_and_nothing_else(sketches):
    found = dict(shipped.read_sketches(sketches, k=CONFIG.k, scaled=CONFIG.scaled))
    assert list(found) == ["Herba secunda ring1", "Planta prima ring0"]
    all_hashes = [np.unique(fraction(ring, k=CONFIG.k, scaled=CONFIG.scaled)[0]) for ring in RINGS.values()]
    assert np.array_equal(np.unique(np.concatenate(all_hashes)), np.sort(np.concatenate(list(found.values()))))
    assert np.array_equal(found["Herba secunda ring1"], all_hashes[1]) and sum(map(len, all_hashes)) > sum(
        map(len, found.values())
    )
    fewer = dict(shipped.read_sketches(sketches, k=CONFIG.k, scaled=4 * CONFIG.scaled))
    wanted = np.unique(fraction(RINGS["Herba secunda"], k=CONFIG.k, scaled=4 * CONFIG.scaled)[0])
    assert np.array_equal(fewer["Herba secunda ring1"], wanted)


@pytest.mark.parametrize(("k", "scaled"), [(31, CONFIG.scaled), (CONFIG.k, CONFIG.scaled - 1)])
def test_other_hashes_than_are_there_are_refused_with_the_way_out(sketches, k, scaled):
    with pytest.raises(FormatError, match=r"k = 21, scaled = 50; .*contamination\.shipped_sketches=false"):
        shipped.read_sketches(sketches, k=k, scaled=scaled)


@pytest.mark.parametrize("damage", [lambda d: d[:-30], lambda d: b"no file of that kind", lambda d: d[: len(d) // 2]])
def test_a_damaged_file_of_sketches_is_named(sketches, tmp_path, damage):
    path = tmp_path / "damaged.npz"
    path.write_bytes(damage(sketches.read_bytes()))
    with pytest.raises(FormatError, match="damaged.npz: is no file of sketches"):
        shipped.read_sketches(path, k=CONFIG.k, scaled=CONFIG.scaled)


def test_an_index_of_sketches_is_that_of_their_sequence(sketches):
    rows = [Reference(name, "organelle", sketches.parent / f"ring{i}.fa.gz") for i, name in enumerate(RINGS)]
    sizes = CONFIG.k, CONFIG.scaled, CONFIG.vector_seed_k
    one = load_references((Reference("pt", "organelle", sketches),), *sizes).organelle
    two = load_references(tuple(rows[::-1]), *sizes).organelle
    assert np.array_equal(one.hashes, two.hashes) and np.array_equal(one.owner, two.owner)
    asked = fraction(RINGS["Planta prima"], k=CONFIG.k, scaled=CONFIG.scaled)[0]
    strange = fraction(random_codes(50_000, 9), k=CONFIG.k, scaled=CONFIG.scaled)[0]
    hits, at = one.find(np.concatenate([strange, asked]))
    assert np.array_equal(hits, strange.size + np.arange(asked.size)) and np.array_equal(one.hashes[at], asked)


def test_a_plastid_among_chromosomes_needs_no_reference_of_the_user(sketches, tmp_path, monkeypatch):
    monkeypatch.setattr(references_module, "SHIPPED", sketches)
    ring = mutated(RINGS["Planta prima"], 0.98, 3)
    numt = np.concatenate([random_codes(60_000, 911), ring[:6_000], random_codes(60_000, 912)])
    half = np.concatenate([random_codes(60_000, 913), ring[8_000:40_000]])
    records = [("scaffold_9", np.roll(ring, 777)), ("chr1", numt), ("scaffold_8", half)]
    one = write_assembly(tmp_path, "x", records)
    found = curate([one], CurationConfig(), store=tmp_path / "store")
    assert finals(found)["x", "scaffold_9"] == ("contamination", "organelle_under_nuclear_label")
    assert finals(found)["x", "chr1"] == finals(found)["x", "scaffold_8"] == ("accepted", "accepted")
    assert flags(found) == {("x", "chr1"): {"organelle_insertion"}, ("x", "scaffold_8"): {"organelle_chimera"}}
    assert found.ledger.references == ["shipped plastids (organelle)"]
    cut = curate([one], settings(CurationConfig, ["contamination.chimeras=CUT"]), store=tmp_path / "store")
    assert finals(cut)["x", "scaffold_8"] == ("accepted", "cut") and finals(cut)["x", "chr1"][1] == "accepted"
    off = curate([one], settings(CurationConfig, ["contamination.shipped_sketches=false"]), store=tmp_path / "store")
    assert {end for end in finals(off).values()} == {("accepted", "accepted")} and off.ledger.references == []


def test_what_is_shipped_is_small_and_the_datasheet_names_each_source():
    assert shipped.SHIPPED.stat().st_size <= 1_000_000
    found = shipped.read_sketches(shipped.SHIPPED, k=CONFIG.k, scaled=CONFIG.scaled)
    text = (shipped.SHIPPED.parent / "README.md").read_text()
    assert len(found) == 38 and sum(hashes.size for _, hashes in found) > 60_000
    assert not [name for name, _ in found if name.split()[-1] not in text]


def test_sketches_are_written_by_a_command(tmp_path):
    with pytest.raises(SystemExit, match="usage: python -m plantgfm.curation.shipped"):
        shipped.main([])
    one = write_assembly(tmp_path, "ring", [("pt", RINGS["Planta prima"])], compartment=Compartment.PLASTID)
    table = tmp_path / "m.csv"
    table.write_text(f"species,cultivar,assembly,compartment,fasta\nPlanta prima,,v1,plastid,{one.fasta.name}\n")
    shipped.main([str(table), str(tmp_path / "out.npz")])
    ((name, hashes),) = shipped.read_sketches(tmp_path / "out.npz", k=CONFIG.k, scaled=CONFIG.scaled)
    assert name == "Planta prima v1" and hashes.size > 900

"""The world as a folder: the same seed gives the same bytes, what is there is reused, what differs is refused."""

import json
import shutil

import numpy as np
import pytest

from plantgfm.formats.fasta import read_fasta
from plantgfm.formats.manifest import read_manifest
from plantgfm.formats.passport import read_passport
from plantgfm.formats.tables import read_tsv
from plantgfm.simulate import world as world_module
from plantgfm.simulate.config import WorldConfig
from plantgfm.simulate.world import simulate_world, world_settings
from tests.simulate.conftest import SMALL, file_bytes

TINY = {"genome_size_bp": 60_000, "species": 3}


def test_same_seed_gives_same_bytes(tmp_path):
    one = simulate_world(WorldConfig(**TINY), tmp_path / "one")
    two = simulate_world(WorldConfig(**TINY), tmp_path / "elsewhere" / "two")
    assert file_bytes(one) == file_bytes(two)


def test_another_seed_gives_another_world(tmp_path):
    one = file_bytes(simulate_world(WorldConfig(**TINY), tmp_path / "one"))
    two = file_bytes(simulate_world(WorldConfig(seed=8, **TINY), tmp_path / "two"))
    assert one.keys() == two.keys()
    same = [name for name in one if one[name] == two[name]]
    assert not [name for name in same if name.endswith(".gz") and "annotation" not in name]


def test_another_version_of_the_simulation_is_another_world(tmp_path, monkeypatch):
    out = simulate_world(WorldConfig(**TINY), tmp_path / "world")
    assert world_settings(out)["version"] == world_module.VERSION
    monkeypatch.setattr(world_module, "VERSION", world_module.VERSION + 1)
    with pytest.raises(ValueError, match="holds world"):
        simulate_world(WorldConfig(**TINY), out)


def test_the_same_world_is_reused_at_once(tmp_path, monkeypatch):
    out = simulate_world(WorldConfig(**TINY), tmp_path / "world")
    monkeypatch.setattr(world_module, "_grow", lambda *_: pytest.fail("simulated again"))
    assert simulate_world(WorldConfig(**TINY), out) == out


def test_another_world_in_the_folder_is_refused_with_the_way_out(tmp_path):
    out = simulate_world(WorldConfig(**TINY), tmp_path / "world")
    before = file_bytes(out)
    with pytest.raises(ValueError, match=f"holds world {world_settings(out)['fingerprint']}.*delete"):
        simulate_world(WorldConfig(seed=9, **TINY), out)
    assert file_bytes(out) == before


def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("aunt")
    with pytest.raises(ValueError, match="no simulated world"):
        simulate_world(WorldConfig(**TINY), tmp_path / "letters")
    assert [p.name for p in tmp_path.rglob("*")] == ["letters", "dear.txt"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    assert (simulate_world(WorldConfig(**TINY), tmp_path / "empty") / "world.json").is_file()


def test_nothing_half_written_stays_after_an_error(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("disk full")

    monkeypatch.setattr(world_module, "_write_tables", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        simulate_world(WorldConfig(**TINY), tmp_path / "world")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_attempt_does_not_disturb_the_next(tmp_path):
    out = simulate_world(WorldConfig(**TINY), tmp_path / "world")
    clean = file_bytes(out)
    left = out.with_name(f".world.{world_settings(out)['fingerprint']}.part")
    shutil.copytree(out, left)
    (left / "genomes" / "stray.fa.gz").write_bytes(b"?")
    shutil.rmtree(out)
    assert file_bytes(simulate_world(WorldConfig(**TINY), out)) == clean
    assert not left.exists()


def test_progress_is_told_every_species(tmp_path):
    told = []
    simulate_world(WorldConfig(**TINY), tmp_path / "world", progress=lambda *event: told.append(event))
    assert [event[1:] for event in told] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(event[0].startswith("simulate: ") for event in told)


def test_layout(world):
    expected = {"manifest.csv", "held_out.csv", "passport.tsv", "world.json"}
    expected |= {"genomes", "annotation", "references", "truth"}
    assert {p.name for p in world.path.iterdir()} == expected
    assert (world.path / "references" / "references.tsv").is_file()
    settings = json.loads((world.path / "world.json").read_text())
    assert settings["config"]["genome_size_bp"] == SMALL["genome_size_bp"]
    assert settings["kind"] == "world"


def test_the_held_out_species_is_nowhere_in_the_manifest(world):
    training = {one.species for one in read_manifest(world.path / "manifest.csv")}
    (held_out,) = read_manifest(world.path / "held_out.csv")
    assert held_out.species == WorldConfig().held_out
    assert held_out.species not in training
    assert len(training) == SMALL["species"] - 1 >= 8


def test_expected_sizes_are_near_the_truth_or_empty(world):
    stated = {s: one.expected_size_bp for s, one in world.assemblies.items()}
    assert None in stated.values()
    for species, size in stated.items():
        if size is not None:
            found = sum(r.length_bp for name, r in world.records[species].items() if not name.startswith("unplaced"))
            assert abs(found - size) < 0.1 * size


def test_every_sound_assembly_has_its_accession_and_reference(world):
    passport = {record.accenumb: record for record in read_passport(world.path / "passport.tsv")}
    for species, assembly in world.assemblies.items():
        record = passport[assembly.accession]
        assert record.binomial == species
        assert record.names == (assembly.cultivar,)
        total = sum(one.length_bp for one in read_fasta(record.refsketch))
        assert 30_000 < total < 200_000


def test_references_are_listed_by_kind(world):
    rows = read_tsv(world.path / "references" / "references.tsv", required=("name", "kind", "path"))
    assert {row["kind"] for row in rows} == {"foreign", "vector", "organelle"}
    assert all((world.path / "references" / row["path"]).is_file() for row in rows)


def test_headers_of_sound_records_state_their_length(world):
    liars = {row["record"] for row in world.table("defects.tsv") if row["kind"].startswith("header")}
    for records in world.records.values():
        for record in records.values():
            if record.name.startswith(("chr", "scaffold")) and record.name not in liars:
                assert record.description == f"length={record.length_bp}"


def test_chromosomes_come_by_falling_length(world):
    for records in world.records.values():
        lengths = [r.length_bp for name, r in records.items() if name.startswith(("chr", "scaffold"))]
        assert lengths == sorted(lengths, reverse=True)
        assert len(lengths) >= 3


def test_gaps_are_rare_and_short(world):
    unknown = [r.codes == 4 for records in world.records.values() for n, r in records.items() if n.startswith("chr")]
    share = np.concatenate(unknown).mean()
    assert 0 < share < 0.01

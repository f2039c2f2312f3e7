"""The store: what is damaged is noticed and made again, whatever the damage; what is unchanged is not read."""

import os

import numpy as np
import pytest

from plantgfm.curation import store as store_module
from plantgfm.curation.config import CurationConfig
from plantgfm.curation.curate import curate
from plantgfm.curation.store import Artefact, FileHashes, remove_leftovers
from plantgfm.identity import file_sha256
from tests.curation.planted import mutated, random_codes, write_assembly

PARTS = ("bases", "arrays", "description", "seal", "windows", "hashes")


def artefact(folder, key="abc"):
    one = Artefact(folder, key)
    with one.writing() as out:
        out.bases.write(np.arange(40, dtype=np.uint8))
        out.bases.write(np.zeros(9, np.uint8))
        for name in ("windows", "hashes"):
            out.add(name, np.arange(8, dtype=np.uint64))
    one.finish({"a": 1}, {"x": np.arange(50)})
    return one


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


DAMAGE = {
    "flipped": flip,
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "gone": lambda path: path.unlink(),
}


def test_what_was_written_is_whole_and_reads_back(tmp_path):
    one = artefact(tmp_path)
    assert one.complete() and one.intact(FileHashes(tmp_path / "files.json"))
    description, arrays = one.read()
    assert description == {"a": 1} and np.array_equal(arrays["x"], np.arange(50))
    assert one.bases.read_bytes() == bytes([*range(40), *[0] * 9])
    assert not Artefact(tmp_path, "other").complete()
    bare = Artefact(tmp_path, "bare")
    bare.write({"b": 2}, {})
    assert bare.complete() and bare.read()[0] == {"b": 2}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("part", PARTS)
def test_damage_of_any_file_is_noticed(tmp_path, part, damage):
    hashes = FileHashes(tmp_path / "files.json")
    one = artefact(tmp_path)
    assert one.intact(hashes)
    DAMAGE[damage](one.rows(part) if part in ("windows", "hashes") else getattr(one, part))
    assert not one.intact(hashes)
    one = artefact(tmp_path)
    assert one.intact(hashes)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"bases": 3}', '{"bases": [1]}', '{"bases": [1, 2, 3]}', "{}", '{"arrays": [1, "x"]}']
)
def test_a_seal_that_states_nothing_seals_nothing(tmp_path, text):
    one = artefact(tmp_path)
    one.seal.write_text(text)
    assert not one.complete() and not one.intact(FileHashes(tmp_path / "files.json"))


def test_files_are_read_once_and_again_when_they_change(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(store_module, "file_sha256", lambda path: read.append(path.name) or str(len(read)))
    path = tmp_path / "x"
    path.write_bytes(b"1234")
    hashes = FileHashes(tmp_path / "files.json")
    assert [hashes.sha256(path), hashes.sha256(path)] == ["1", "1"]
    hashes.save()
    assert FileHashes(tmp_path / "files.json").sha256(path) == "1"
    times = path.stat()
    path.write_bytes(b"4321")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as `cp -p` and some unpackers do
    assert FileHashes(tmp_path / "files.json").sha256(path) == "2"


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"%s": 3}', '{"%s": [1]}', '{"%s": [5, 5]}', "\x00"])
def test_a_damaged_memory_of_hashes_counts_as_none(tmp_path, text):
    path, memory = tmp_path / "a.fa", tmp_path / "hashes.json"
    path.write_text(">a\nAC")
    memory.write_text(text.replace("%s", str(path)))
    hashes = FileHashes(memory)
    assert hashes.sha256(path) == file_sha256(path)
    hashes.save()
    assert FileHashes(memory).sha256(path) == file_sha256(path)


@pytest.mark.parametrize(
    ("part", "damage"),
    [
        ("arrays", lambda data: data[: len(data) // 2]),
        ("arrays", lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:]),
        ("arrays", lambda _: b""),
        ("arrays", lambda _: b"not a zip"),
        ("windows", lambda data: data[:-3]),
        ("description", lambda data: data[: len(data) // 2]),
        ("description", lambda _: b"[]"),
        ("description", lambda _: b"\xff"),
    ],
)
def test_what_is_damaged_between_check_and_reading_is_named_with_the_way_out(tmp_path, part, damage):
    one = artefact(tmp_path / "store")
    path = one.rows("windows") if part == "windows" else getattr(one, part)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="delete this file: it is made again") as caught:
        one.read()
    assert str(one.folder / one.key) in str(caught.value)


def test_leftovers_of_the_killed_go_a_day_later_and_nothing_else(tmp_path):
    one = artefact(tmp_path / "assemblies")
    old, new = (tmp_path / "assemblies" / f".{name}.bases.0.part" for name in ("old", "new"))
    for path, hours in ((old, 25), (new, 23)):
        path.write_bytes(b"half")
        os.utime(path, (1e9 - hours * 3_600,) * 2)
    remove_leftovers(tmp_path, now=lambda: 1e9)
    assert not old.exists() and new.exists() and one.complete()
    remove_leftovers(tmp_path / "nowhere")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A curated store, and what curating it gave."""
    folder = tmp_path_factory.mktemp("kept")
    base = random_codes(30_000, 51)
    rows = [
        write_assembly(folder, "a", [("r", base), ("s", random_codes(12_000, 52))]),
        write_assembly(folder, "b", [("r", mutated(base, 0.98))], species="Alter duo"),
    ]
    return folder, rows, curate(rows, CurationConfig(), store=folder / "store")


def again(kept):
    folder, rows, _ = kept
    return curate(rows, CurationConfig(), store=folder / "store")


@pytest.mark.parametrize("damage", ["flipped", "gone"])
@pytest.mark.parametrize("suffix", ["bases", "npz", "json", "seal", "windows", "hashes"])
def test_a_damaged_store_gives_the_same_and_says_so(kept, suffix, damage):
    folder, rows, expected = kept
    assert again(kept).repaired == []
    path = sorted((folder / "store" / "assemblies").glob(f"*.{suffix}"))[0]
    DAMAGE[damage](path)
    found = again(kept)
    assert found.fingerprint == expected.fingerprint and found.ledger.decisions == expected.ledger.decisions
    assert found.reused == 1 and len(found.repaired) == (0 if (suffix, damage) == ("seal", "gone") else 1)
    assert again(kept).reused == 2


@pytest.mark.parametrize("suffix", ["npz", "json", "seal"])
def test_a_damaged_join_is_made_again(kept, suffix):
    folder, rows, expected = kept
    (path,) = (folder / "store" / "joins").glob(f"*.{suffix}")
    flip(path)
    found = again(kept)
    assert found.fingerprint == expected.fingerprint and found.reused == 2
    assert [a.cluster_id.tolist() for a in found.accepted] == [a.cluster_id.tolist() for a in expected.accepted]

"""The store: an artefact damaged after it had its name is one clear error, a damaged memory of hashes is none."""

import numpy as np
import pytest

from plantgfm.curation.store import Artefact, FileHashes
from plantgfm.identity import file_sha256

ARRAYS = {"lengths": np.arange(2000, dtype=np.int64), "names": np.array(["a", "b"])}


@pytest.fixture
def artefact(tmp_path):
    found = Artefact(tmp_path / "store", "key")
    with found.writing() as writing:
        writing.add("windows", np.arange(4, dtype=np.uint64))
    found.finish({"records": 2}, ARRAYS)
    return found


def test_what_is_written_is_read(artefact):
    description, arrays = artefact.read()
    assert description == {"records": 2} and artefact.complete()
    assert arrays["lengths"].tolist() == ARRAYS["lengths"].tolist()
    assert arrays["windows"].tolist() == [0, 1, 2, 3] and arrays["hashes"].size == 0


def cut(data):
    return data[: len(data) // 2]


def flip(data):
    return data[:3000] + bytes([data[3000] ^ 1]) + data[3001:]


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("arrays", cut),
        ("arrays", flip),
        ("arrays", lambda _: b""),
        ("arrays", lambda _: b"not a zip"),
        ("windows", lambda data: data[:-3]),
        ("description", cut),
        ("description", lambda _: b"[]"),
        ("description", lambda _: b"\xff"),
    ],
)
def test_a_damaged_file_is_named_with_the_way_out(artefact, file, damage):
    path = artefact.rows("windows") if file == "windows" else getattr(artefact, file)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="delete this file: it is made again") as caught:
        artefact.read()
    assert str(artefact.folder / "key") in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000, '{"%s": 3}', '{"%s": [1]}', '{"%s": [5, 5]}'])
def test_a_damaged_memory_of_hashes_is_made_again(tmp_path, content):
    path, memory = tmp_path / "a.fa", tmp_path / "hashes.json"
    path.write_text(">a\nAC")
    memory.write_text(content.replace("%s", str(path)))
    hashes = FileHashes(memory)
    assert hashes.sha256(path) == file_sha256(path)
    hashes.save()
    assert FileHashes(memory).sha256(path) == file_sha256(path)

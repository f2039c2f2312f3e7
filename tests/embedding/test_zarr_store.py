"""Vectors in Zarr groups: chunks, what others read of them, and what is damaged."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from plantgfm.embedding import zarr_store
from plantgfm.embedding.config import Storage
from plantgfm.embedding.embed import Embedded
from plantgfm.embedding.rows import STORED
from plantgfm.embedding.store import open_vectors, read_origin, read_vectors, write_vectors
from plantgfm.embedding.tiles import tile_record
from plantgfm.sequence import Interval
from tests.fixtures import random_codes, record

zarr = pytest.importorskip("zarr", reason="Zarr is an extra")
ORIGIN = {"bundle": "abc", "settings": {"layer": -1, "pooling": "mean"}}
VECTORS = np.random.default_rng(0).normal(size=(23, 4)).astype(np.float32)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(zarr_store, "_CHUNK_ROWS", {"vector": 4})
    monkeypatch.setattr(zarr_store, "_OTHER_ROWS", 8)


def write(path, *, storage=Storage.FLOAT32):
    tiles = [
        replace(tile, name=f"gene \u00e9{i}", interval=replace(tile.interval, strand="-"))
        for i, tile in enumerate(tile_record(record("chr1", random_codes(230)), window_bp=10, stride_bp=10))
    ]
    edges = (0, 3, 3, 11, 12, 23)
    blocks = (Embedded(tiles[a:b], VECTORS[a:b], 1) for a, b in zip(edges, edges[1:]))
    assert write_vectors(path, blocks, width=4, origin=ORIGIN, storage=storage) == {"windows": 23, "skipped": 5}
    return path


def test_zarr_alone_reads_what_is_written(sound):
    group = zarr.open_group(sound, mode="r")
    assert group.attrs["plantgfm"] == ORIGIN and group.attrs[STORED] == {"storage": "int8", "dimensions": 4}
    assert group["vector"].chunks == (4, 4) and group["vector"].dtype == np.int8 and group["start"].chunks == (8,)
    assert group["sequence"][:].tolist() == ["chr1"] * 23 and group["name"][5] == "gene \u00e95"
    assert group["start"][:].tolist() == list(range(0, 230, 10)) and not group["partial"][:].any()
    np.testing.assert_allclose(group["vector"][:] * group["scale"][:][:, None], VECTORS, rtol=0, atol=0.02)


@pytest.mark.parametrize("storage", Storage)
def test_rows_come_piece_by_piece_as_from_parquet(small_chunks, tmp_path, storage):
    one, other = (write(tmp_path / name, storage=storage) for name in ("v.zarr", "v.parquet"))
    file = open_vectors(one)
    assert [len(piece) for piece in file.vectors()] == [4] * 5 + [3]
    assert [len(piece) for piece in file.tables(["start"])] == [8, 8, 7]
    found, expected = read_vectors(one), read_vectors(other)
    assert found.intervals == expected.intervals and found.intervals[1] == Interval("chr1", 10, 20, "-")
    assert found.origin == expected.origin and found.repeat_fraction.dtype == expected.repeat_fraction.dtype
    for name in ("vectors", "partial", "repeat_fraction"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A group in many chunks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zarr_store, "_CHUNK_ROWS", {"vector": 4})
        patch.setattr(zarr_store, "_OTHER_ROWS", 8)
        return write(tmp_path_factory.mktemp("zarr") / "v.zarr", storage=Storage.INT8)


def lose(name):
    return lambda path: (path / name).unlink()


def spoil(name, content):
    return lambda path: (path / name).write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lose("vector/c/2/0"), "column 'vector' has lost 1 chunks"),
        (lose("start/c/0"), "column 'start' has lost 1 chunks"),
        (lose("zarr.json"), "No such file"),
        (lose("vector/zarr.json"), "no column 'vector'"),
        (lambda path: shutil.rmtree(path / "end"), "no column 'end'"),
        (lambda path: shutil.rmtree(path / "scale"), "no column 'scale'"),
        (spoil("zarr.json", b"{"), "is no JSON"),
        (spoil("zarr.json", b"[]"), "is no object"),
        (spoil("zarr.json", b"{}"), "lacks the origin"),
        (spoil("vector/zarr.json", b"{"), "damaged"),
        (spoil("vector/zarr.json", b"{}"), "damaged"),
        (spoil("vector/c/1/0", b""), "column 'vector' can't be read"),
        (spoil("scale/c/1", b"chunk"), "column 'scale' can't be read"),
        (spoil("sequence/c/1", b"chunk"), "column 'sequence' can't be read"),
    ],
)
def test_a_damaged_group_is_refused_in_one_line(sound, tmp_path, damage, said):
    path = shutil.copytree(sound, tmp_path / "v.zarr")
    damage(path)
    with pytest.raises(ValueError, match=rf"v\.zarr .*{said}") as error:
        read_vectors(path)
    assert "\n" not in str(error.value)


def test_a_flipped_bit_is_seen(tmp_path):
    path = write(tmp_path / "v.zarr")
    chunk = path / "vector/c/0/0"
    content = bytearray(chunk.read_bytes())
    content[-6] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(ValueError, match="column 'vector' can't be read"):
        read_vectors(path)


def test_columns_of_unlike_length_are_refused(small_chunks, tmp_path):
    path = write(tmp_path / "v.zarr")
    zarr.open_group(path, mode="a")["end"].append(np.arange(3))
    with pytest.raises(ValueError, match="column 'end' has 26 rows, 'vector' 23"):
        read_vectors(path)


def test_what_stands_under_the_name_is_replaced_only_if_it_holds_vectors(tmp_path):
    path = write(tmp_path / "v.zarr")
    before = read_origin(path)
    write(path, storage=Storage.INT8)
    assert open_vectors(path).storage is Storage.INT8 and before == ORIGIN
    zarr.open_group(tmp_path / "theirs.zarr", mode="w")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.zarr").write_text("mine")
    for name in ("theirs.zarr", "folder", "file.zarr"):
        with pytest.raises(ValueError, match="is no group of vectors"):
            write(tmp_path / name)
        assert read_origin(tmp_path / name) is None
        with pytest.raises(ValueError, match="was not written by `plantgfm embed`"):
            read_vectors(tmp_path / name)
    assert (tmp_path / "file.zarr").read_text() == "mine"
    assert {one.name for one in tmp_path.iterdir()} == {"v.zarr", "theirs.zarr", "folder", "file.zarr"}


def test_without_the_package_one_line_says_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path / "v.zarr")
    monkeypatch.setattr(zarr_store.importlib.util, "find_spec", lambda name: None)
    for work in (lambda: read_vectors(path), lambda: write(tmp_path / "w.zarr")):
        with pytest.raises(ValueError, match=r"pip install 'plantgfm\[zarr\]'"):
            work()
    assert read_origin(path) == ORIGIN and not (tmp_path / "w.zarr").exists()

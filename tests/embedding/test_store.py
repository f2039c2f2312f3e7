"""Vectors on disk."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from plantgfm.embedding.config import Storage
from plantgfm.embedding.embed import Embedded, EmbeddedPlaces
from plantgfm.embedding.store import Parts, open_vectors, read_origin, read_vectors, write_vectors
from plantgfm.embedding.tiles import tile_record
from plantgfm.sequence import Interval
from tests.fixtures import random_codes, record

ORIGIN = {"bundle": "abc", "settings": {"layer": -1}}


def blocks(n=3):
    tiles = list(tile_record(record("chr1", random_codes(10 * n)), window_bp=10, stride_bp=10))
    yield Embedded(tiles[:1], np.full((1, 4), 0.5, np.float32), 2)
    yield Embedded([], np.zeros((0, 4), np.float32), 1)
    yield Embedded(tiles[1:], np.arange(4 * (n - 1), dtype=np.float32).reshape(-1, 4), 0)


KINDS = pytest.mark.parametrize("kind", ["parquet", "zarr"])


def files(path):
    """The content of a file, or of all files of a folder."""
    if path.is_file():
        return path.read_bytes()
    return {str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*") if one.is_file()}


@KINDS
def test_what_is_written_is_read(tmp_path, kind):
    path = tmp_path / "deep" / f"v.{kind}"
    assert write_vectors(path, blocks(), width=4, origin=ORIGIN) == {"windows": 3, "skipped": 3}
    table = read_vectors(path)
    assert [(i.sequence, i.start, i.end) for i in table.intervals] == [
        ("chr1", 0, 10),
        ("chr1", 10, 20),
        ("chr1", 20, 30),
    ]
    assert np.array_equal(table.vectors[0], np.full(4, 0.5)) and np.array_equal(table.vectors[2], np.arange(4, 8))
    assert table.origin == ORIGIN == read_origin(path)


@KINDS
def test_a_file_appears_whole_or_not_at_all(tmp_path, kind):
    def broken():
        yield from blocks()
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_vectors(tmp_path / f"v.{kind}", broken(), width=4, origin=ORIGIN)
    with pytest.raises(ValueError, match="no window was left"):
        write_vectors(tmp_path / f"v.{kind}", iter(()), width=4, origin=ORIGIN)
    assert not list(tmp_path.iterdir())


def stopped_after(n):
    for index, block in enumerate(blocks()):
        if index == n:
            raise KeyboardInterrupt
        yield block


@KINDS
@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_job_goes_on_behind_the_block_where_it_was_stopped(tmp_path, n, kind):
    path = tmp_path / f"v.{kind}"
    whole = tmp_path / f"whole.{kind}"
    write_vectors(whole, blocks(), width=4, origin=ORIGIN)
    with pytest.raises(KeyboardInterrupt):
        Parts(path, width=4, origin=ORIGIN).write(stopped_after(n))
    assert not path.exists()
    parts = Parts(path, width=4, origin=ORIGIN)
    assert parts.n_done == n
    assert parts.write(list(blocks())[n:]) == {"windows": 3, "skipped": 3}
    assert files(path) == files(whole)
    assert {one.name for one in tmp_path.iterdir()} == {path.name, whole.name}


def test_what_a_killed_job_left_beside_its_parts_is_removed(tmp_path):
    path = tmp_path / "v [1].parquet"  # a name that a pattern would read as another
    mine, others = tmp_path / f".{path.name}.0a1b2c3d.part", tmp_path / ".v 1.parquet.0a1b2c3d.part"
    for one in (mine, others):
        one.write_bytes(b"half")
    with pytest.raises(KeyboardInterrupt):
        Parts(path, width=4, origin=ORIGIN).write(stopped_after(2))
    (tmp_path / f".{path.name}.parts" / ".00000002.parquet.0a1b2c3d.part").write_bytes(b"half")
    parts = Parts(path, width=4, origin=ORIGIN)
    assert parts.n_done == 2 and parts.write(list(blocks())[2:]) == {"windows": 3, "skipped": 3}
    assert {one.name for one in tmp_path.iterdir()} == {path.name, others.name}


def test_parts_of_another_job_or_damaged_ones_are_not_gone_on_with(tmp_path):
    path = tmp_path / "v.parquet"
    for spoil in (
        lambda folder: None,
        lambda folder: (folder / "00000001.parquet").write_bytes(b"PAR1"),
    ):
        with pytest.raises(KeyboardInterrupt):
            Parts(path, width=4, origin=ORIGIN).write(stopped_after(2))
        (folder,) = tmp_path.iterdir()
        spoil(folder)
        other = ORIGIN if (folder / "00000001.parquet").stat().st_size == 4 else {**ORIGIN, "bundle": "another"}
        assert Parts(path, width=4, origin=other).n_done == 0
        assert not list(folder.iterdir())


def test_two_jobs_do_not_write_one_file_at_a_time(tmp_path):
    first = Parts(tmp_path / "v.parquet", width=4, origin=ORIGIN)
    with pytest.raises(ValueError, match=r"another process writes .*/v.parquet: wait until it is done"):
        Parts(tmp_path / "v.parquet", width=4, origin=ORIGIN)
    first.write(blocks())
    assert read_vectors(tmp_path / "v.parquet").origin == ORIGIN and len(list(tmp_path.iterdir())) == 1
    assert Parts(tmp_path / "v.parquet", width=4, origin=ORIGIN).n_done == 0


@KINDS
def test_after_an_error_in_the_input_nothing_stays(tmp_path, kind):
    def damaged():
        yield from blocks()
        raise ValueError("line 9: no base")

    for made in (".", "new/folder"):
        for wrong in (damaged(), iter(())):
            with pytest.raises(ValueError, match="no base|no window was left"):
                Parts(tmp_path / made / f"v.{kind}", width=4, origin=ORIGIN).write(wrong)
            assert not list(tmp_path.iterdir())
    parts = Parts(tmp_path / "new" / "folder" / f"v.{kind}", width=4, origin=ORIGIN)
    (tmp_path / "new" / "mine.txt").write_text("put there meanwhile")
    with pytest.raises(ValueError, match="no base"):
        parts.write(damaged())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mine.txt"]


def test_strands_and_names_of_regions_are_kept_and_older_files_still_open(tmp_path):
    path = tmp_path / "v.parquet"
    tile = replace(
        next(tile_record(record("chr1", random_codes(10)), window_bp=10, stride_bp=10)),
        interval=Interval("chr1", 0, 10, "-"),
        name="gene1",
    )
    write_vectors(path, [Embedded([tile], np.ones((1, 4), np.float32), 0)], width=4, origin=ORIGIN)
    table = pq.read_table(path)
    assert table["name"].to_pylist() == ["gene1"] and read_vectors(path).intervals[0].strand == "-"
    pq.write_table(table.drop_columns(["strand", "name"]), path)
    assert read_vectors(path).intervals == [Interval("chr1", 0, 10)]


@KINDS
def test_smaller_numbers_are_read_as_float32_within_their_rounding(tmp_path, kind):
    vectors = np.random.default_rng(0).normal(size=(500, 64)).astype(np.float32)
    vectors[7] = 0
    codes = random_codes(500)
    tiles = list(tile_record(record("chr1", codes), window_bp=1, stride_bp=1))
    sizes, errors = {}, {}
    for storage in Storage:
        path = tmp_path / f"{storage.value}.{kind}"
        job = Parts(path, width=64, origin=ORIGIN, storage=storage)
        assert job.write([Embedded(tiles, vectors, 0)]) == {"windows": 500, "skipped": 0}
        sizes[storage] = sum(map(len, one.values())) if isinstance(one := files(path), dict) else len(one)
        file = open_vectors(path)
        assert (file.storage, file.width, file.n_rows) == (storage, 64, 500)
        found = read_vectors(path).vectors
        assert found.dtype == np.float32 and not found[7].any()
        errors[storage] = np.abs(found - vectors)
    assert not errors[Storage.FLOAT32].any() and sizes[Storage.BFLOAT16] < 0.6 * sizes[Storage.FLOAT32]
    assert (errors[Storage.BFLOAT16] <= np.abs(vectors) * 2**-8).all() and errors[Storage.BFLOAT16].any()
    steps = np.abs(vectors).max(axis=1, keepdims=True) / 127
    assert (errors[Storage.INT8] <= steps * 0.5001).all() and errors[Storage.INT8].any()
    assert sizes[Storage.INT8] < 0.4 * sizes[Storage.FLOAT32]


def test_places_of_windows_are_written_with_their_own_coordinates(tmp_path):
    path = tmp_path / "v.parquet"
    record_ = record("chr1", "ACGTNNacgtAC")
    first, second = tile_record(record_, window_bp=6, stride_bp=6)
    minus = replace(second, interval=Interval("chr1", 6, 12, "-"), name="gene1")
    places = [np.array([[0, 4], [4, 5]]), np.array([[0, 2], [2, 6]])]
    block = EmbeddedPlaces([first, minus], places, np.arange(8, dtype=np.float32).reshape(4, 2), 1)
    assert write_vectors(path, [block], width=2, origin=ORIGIN) == {"windows": 4, "skipped": 1}
    table = read_vectors(path)
    assert [(i.start, i.end, i.strand) for i in table.intervals] == [
        (0, 4, "."),
        (4, 5, "."),
        (10, 12, "-"),
        (6, 10, "-"),
    ]
    rows = pq.read_table(path)
    assert rows["unknown_fraction"].to_pylist() == [0, 1, 0, 0] and rows["name"].to_pylist() == ["", "", *["gene1"] * 2]
    # The window on the minus strand was made of "acgtAC" as it stands: its first two bases are in the soft mask.
    assert rows["repeat_fraction"].to_pylist() == [0, 0, 1, 0.5]
    assert table.vectors.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "x.parquet"
    path.write_text("no parquet")
    with pytest.raises(ValueError, match="no readable Parquet"):
        read_vectors(path)
    assert read_origin(path) is None and read_origin(tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.replace_schema_metadata({}), "its metadata lacks the origin"),
        (lambda table: table.replace_schema_metadata({"plantgfm": "{"}), "is no JSON"),
        (lambda table: table.replace_schema_metadata({"plantgfm": "[" * 100_000}), "nested too deeply"),
        (lambda table: table.replace_schema_metadata({"plantgfm": "[]"}), "is no object"),
        (lambda table: table.drop_columns(["start"]), "it has no column 'start'"),
        (lambda table: table.drop_columns(["scale"]), "it has no column 'scale'"),
        (lambda table: table.drop_columns(["vector"]), "its vectors are missing"),
        (
            lambda table: table.set_column(table.column_names.index("vector"), "vector", table["start"]),
            "its vectors are int64, no lists of one size",
        ),
    ],
)
def test_a_table_of_another_make_is_refused_by_name(tmp_path, change, words):
    path = tmp_path / "v.parquet"
    write_vectors(path, blocks(), width=4, origin=ORIGIN, storage=Storage.INT8)
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(ValueError, match=rf"v.parquet was not written by `plantgfm embed`: .*{words}"):
        read_vectors(path)
    assert read_origin(path) in (None, ORIGIN)

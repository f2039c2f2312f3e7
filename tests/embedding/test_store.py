"""Vectors on disk."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from plantgfm.embedding.embed import Embedded
from plantgfm.embedding.store import read_origin, read_vectors, write_vectors
from plantgfm.embedding.tiles import tile_record
from tests.fixtures import random_codes, record

ORIGIN = {"bundle": "abc", "settings": {"layer": -1}}


def blocks(n=3):
    tiles = list(tile_record(record("chr1", random_codes(10 * n)), window_bp=10, stride_bp=10))
    yield Embedded(tiles[:1], np.full((1, 4), 0.5, np.float32), 2)
    yield Embedded([], np.zeros((0, 4), np.float32), 1)
    yield Embedded(tiles[1:], np.arange(4 * (n - 1), dtype=np.float32).reshape(-1, 4), 0)


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "deep" / "v.parquet"
    assert write_vectors(path, blocks(), width=4, origin=ORIGIN) == {"windows": 3, "skipped": 3}
    table = read_vectors(path)
    assert [(i.sequence, i.start, i.end) for i in table.intervals] == [
        ("chr1", 0, 10),
        ("chr1", 10, 20),
        ("chr1", 20, 30),
    ]
    assert np.array_equal(table.vectors[0], np.full(4, 0.5)) and np.array_equal(table.vectors[2], np.arange(4, 8))
    assert table.origin == ORIGIN == read_origin(path)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    def broken():
        yield from blocks()
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_vectors(tmp_path / "v.parquet", broken(), width=4, origin=ORIGIN)
    with pytest.raises(ValueError, match="no window was left"):
        write_vectors(tmp_path / "v.parquet", iter(()), width=4, origin=ORIGIN)
    assert not list(tmp_path.iterdir())


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
        (
            lambda table: table.set_column(table.column_names.index("vector"), "vector", table["start"]),
            "its vectors are int64, no lists of one size",
        ),
    ],
)
def test_a_table_of_another_make_is_refused_by_name(tmp_path, change, words):
    path = tmp_path / "v.parquet"
    write_vectors(path, blocks(), width=4, origin=ORIGIN)
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(ValueError, match=rf"v.parquet was not written by `plantgfm embed`: .*{words}"):
        read_vectors(path)
    assert read_origin(path) in (None, ORIGIN)

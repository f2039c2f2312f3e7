"""Target windows: the same in memory and from a file, block by block, with their bases."""

import numpy as np
import pytest

from plantgfm.embedding import zarr_store
from plantgfm.embedding.embed import Embedded
from plantgfm.embedding.store import write_vectors
from plantgfm.embedding.tiles import Tile
from plantgfm.formats.fasta import write_fasta
from plantgfm.retrieval import targets as module
from plantgfm.retrieval.targets import Targets, joined
from plantgfm.sequence import Interval
from tests.fixtures import random_codes, record
from tests.retrieval.worlds import tiled, windows


def written(path, targets, blocks):
    """The file of vectors of targets, in some blocks."""

    def parts():
        for rows in np.array_split(np.arange(len(targets)), blocks):
            tiles = [Tile(targets.interval(row), random_codes(10), partial=False) for row in rows]
            yield Embedded(tiles, targets.source[rows], 0)

    write_vectors(path, parts(), width=targets.source.shape[1], origin={"bundle": "x"})
    return path


@pytest.mark.parametrize("name", ["v.parquet", "v.zarr"])
def test_a_file_is_read_in_blocks_of_one_size_whatever_its_parts_and_equals_memory(tmp_path, monkeypatch, name):
    if name == "v.zarr":
        pytest.importorskip("zarr", reason="Zarr is an extra")
        monkeypatch.setattr(zarr_store, "_CHUNK_ROWS", {"vector": 5})
        monkeypatch.setattr(zarr_store, "_OTHER_ROWS", 16)
    monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    targets = tiled(tmp_path, {"a": random_codes(100), "b": random_codes(90, seed=1)}, width=10, stride=5)
    opened = Targets.open(written(tmp_path / name, targets, blocks=4), fasta=targets.fasta)
    assert opened.names == ["a", "b"] and len(opened) == len(targets) == 19 + 17
    assert [opened.interval(i) for i in range(36)] == [targets.interval(i) for i in range(36)]
    sizes = []
    for one, two in zip(opened.blocks(bases=True), targets.blocks(bases=True), strict=True):
        sizes.append(one.rows.size)
        assert (one.rows == two.rows).all() and (one.vectors == two.vectors).all() and (one.bases == two.bases).all()
    assert sizes == [7] * 5 + [1]
    assert opened.lengths_bp() == {"a": 100, "b": 90} and opened.origin == {"bundle": "x"}


def test_wide_rows_pass_by_a_few_at_a_time(tmp_path, monkeypatch):
    targets = tiled(tmp_path, {"a": random_codes(100)}, width=10, stride=5)
    numbers = targets.source.shape[1] * 6
    monkeypatch.setattr(module, "_BLOCK_NUMBERS", numbers)
    monkeypatch.setattr(module, "_LEAST_ROWS", 2)
    assert [block.rows.size for block in targets.blocks()] == [6, 6, 6, 1]
    monkeypatch.setattr(module, "_BLOCK_NUMBERS", 1)
    assert {block.rows.size for block in targets.blocks()} == {1, 2}


def test_targets_one_behind_the_other_keep_their_windows_vectors_and_bases(tmp_path):
    sequences = {"a": random_codes(60), "b": random_codes(40, seed=1)}
    wide = tiled(tmp_path, sequences, width=20, stride=10)
    narrow = tiled(tmp_path, dict(reversed(sequences.items())), width=6, stride=3, seed=1)  # other numbers for names
    both = Targets.joined([wide, narrow])
    assert [both.rows_of(part) for part in (0, 1)] == [range(8), range(8, 39)] and len(both) == 39
    places = [both.interval(row) for row in range(39)]
    assert places == [part.interval(row) for part in (wide, narrow) for row in range(len(part))]
    rows = np.concatenate([block.rows for block in both.blocks()])
    vectors = np.concatenate([block.vectors for block in both.blocks()])
    assert rows.tolist() == list(range(39)) and (vectors == np.concatenate([wide.source, narrow.source])).all()
    bases = np.concatenate([block.bases for block in both.blocks(bases=True)])
    assert (bases == np.concatenate([sequences[one.sequence][one.start : one.end] for one in places])).all()
    assert wide.rows_of(0) == range(8) and both.lengths_bp() == {"a": 60, "b": 40}
    apart = windows([Interval("a", 0, 9), Interval("b", 9, 12), Interval("a", 20, 25), Interval("a", 5, 20)])
    assert apart.covered() == [Interval("a", 0, 25), Interval("b", 9, 12)]


def test_bases_are_those_of_each_window_in_whatever_order_they_stand(tmp_path):
    sequences = {"a": random_codes(40), "b": random_codes(40, seed=1)}
    write_fasta(tmp_path / "t.fa", [record(name, codes) for name, codes in sequences.items()])
    order = [Interval("b", 3, 9), Interval("a", 0, 5), Interval("b", 30, 40), Interval("a", 35, 40)]
    (block,) = windows(order, fasta=(tmp_path / "t.fa",)).blocks(bases=True)
    pieces = [sequences[one.sequence][one.start : one.end] for one in order]
    assert (block.bases == np.concatenate(pieces)).all() and block.offsets.tolist() == [0, 6, 11, 21, 26]
    some = block.take(np.array([3, 1]))
    assert (some.bases == np.concatenate([pieces[3], pieces[1]])).all() and some.rows.tolist() == [3, 1]
    (bare,) = windows(order).blocks()
    assert bare.bases.size == 0 and bare.take(np.array([2])).bases.size == 0
    with pytest.raises(ValueError, match="lacks sequence 'c'"):
        list(windows([Interval("c", 0, 5)], fasta=(tmp_path / "t.fa",)).blocks(bases=True))


def test_the_repeat_bit_is_dropped_and_no_sequence_gives_no_base():
    bases, offsets = joined([np.array([9, 2], np.uint8), np.array([12], np.uint8)])
    assert bases.tolist() == [1, 2, 4] and offsets.tolist() == [0, 2, 3]
    assert joined([])[1].tolist() == [0]


def test_crowding_is_how_many_others_a_window_overlaps():
    assert windows([Interval("a", 0, 10), Interval("a", 10, 20), Interval("b", 5, 15)]).crowding() == 0
    assert windows([Interval("a", s, s + 10) for s in (0, 5, 10, 15)]).crowding() == 2
    assert windows([Interval("a", 0, 100), *(Interval("a", s, s + 5) for s in (1, 20, 40))]).crowding() == 3


def test_vectors_that_another_command_writes_anew_end_a_search(tmp_path):
    targets = tiled(tmp_path, {"a": random_codes(100)}, width=10, stride=5)
    opened = Targets.open(written(tmp_path / "v.parquet", targets, blocks=2))
    assert next(opened.blocks()).rows.size
    write_vectors(
        tmp_path / "v.parquet",
        [Embedded([Tile(Interval("b", 0, 10), random_codes(10), partial=False)], targets.source[:1], 0)],
        width=targets.source.shape[1],
        origin={"bundle": "y"},
    )
    with pytest.raises(ValueError, match="v.parquet was written anew while it was searched"):
        next(opened.blocks())

"""Vectors on disk, with coordinates: a Parquet file or, where the name ends in `.zarr`, a Zarr group (`zarr_store`).

One row a window, with the columns that `rows` tells; with pooling "token" or "base" a row is one of these, its
coordinates are its own, and `partial` is that of its window. Vectors are read back as float32 whatever they are stored
as, and what made them (bundle fingerprint, settings) stands in the metadata under `plantgfm`.

While a job runs, its blocks lie as one small file each in a folder beside the file to come (`Parts`), from which the
same job goes on after it was stopped.
"""

from __future__ import annotations

import glob
import os
import shutil
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32

from plantgfm.embedding.config import Storage
from plantgfm.embedding.embed import Embedded
from plantgfm.embedding.rows import ORIGIN, Block, as_float32, check_columns, origin_of, rows_of, schema_of
from plantgfm.embedding.zarr_store import ZarrVectors, is_zarr, read_zarr_origin, zarr_writer
from plantgfm.formats.staging import hold
from plantgfm.formats.streams import atomic_binary
from plantgfm.sequence import Interval

_KEY, _SKIPPED = ORIGIN.encode(), b"plantgfm skipped"


@dataclass(frozen=True)
class VectorTable:
    """A file of vectors, read whole."""

    intervals: list[Interval]
    vectors: Float32[np.ndarray, "B D"]
    partial: np.ndarray  # bool [B]
    repeat_fraction: np.ndarray  # float64 [B]
    origin: dict[str, Any]  # what made them


def write_vectors(
    path: Path,
    blocks: Iterable[Block],
    *,
    width: int,
    origin: dict[str, Any],
    storage: Storage = Storage.FLOAT32,
) -> dict[str, int]:
    """Stream blocks into a Parquet file or Zarr group that appears whole or not at all.

    Returns:
        Counts of rows written, and of windows skipped.

    Raises:
        ValueError: when no window was left to write, or (Zarr) without its package.
    """
    schema = schema_of(width, origin, storage)
    return _write(path, ((rows_of(block, schema), block.skipped) for block in blocks), schema)


def _write(path: Path, batches: Iterable[tuple[pa.RecordBatch, int]], schema: pa.Schema) -> dict[str, int]:
    """Batches of rows, each with the number of windows skipped, into one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    counts = {"windows": 0, "skipped": 0}
    with _writer(path, schema) as write:
        for batch, skipped in batches:
            counts["windows"] += batch.num_rows
            counts["skipped"] += skipped
            if batch.num_rows:
                write(batch)
        if not counts["windows"]:
            raise ValueError(
                f"no window was left to embed ({counts['skipped']} held too many unknown bases): "
                "check the input, or let more pass with `plantgfm embed --set max_unknown_fraction=1`"
            )
    return counts


def _writer(path: Path, schema: pa.Schema) -> AbstractContextManager[Callable[[pa.RecordBatch], None]]:
    return zarr_writer(path, schema) if is_zarr(path) else _parquet_writer(path, schema)


@contextmanager
def _parquet_writer(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.RecordBatch], None]]:
    with atomic_binary(path) as stream, pq.ParquetWriter(stream, schema) as writer:
        yield writer.write_batch


class Parts:
    """The blocks of a job that runs, or was stopped, in a folder beside the file that it will write."""

    def __init__(
        self,
        path: Path,
        *,
        width: int,
        origin: dict[str, Any],
        storage: Storage = Storage.FLOAT32,
        wait: bool = False,
    ):
        """Open the folder of `path`, until `write` is done; what another job (another origin) left there is removed.

        Args:
            path: of the file to come.
            width: dimensions of a vector.
            origin: what makes them.
            storage: how they lie on disk.
            wait: until no other process is at work on that file, which may be there then.

        Raises:
            ValueError: where another process is, without `wait`.
        """
        self.path, self.folder = path, path.with_name(f".{path.name}.parts")
        self._made = [one for one in path.absolute().parents if not one.exists()]  # the innermost first
        if (held := hold(self.folder, wait=wait)) is None:
            raise ValueError(f"another process writes {path}: wait until it is done, or name another file")
        self._let_go = weakref.finalize(self, os.close, held)
        self._schema, self._width = schema_of(width, origin, storage), width
        if not self._is_of(origin):
            for part in self.folder.iterdir():
                part.unlink()
        self.n_done = next(index for index in count() if not self._name(index).is_file())

    def discard(self) -> None:
        """Remove the folder: the file is there already."""
        shutil.rmtree(self.folder)
        self._let_go()

    def _is_of(self, origin: dict[str, Any]) -> bool:
        """Whether all parts are of this origin; one that can't be read is of none."""
        return all(read_origin(part) == origin for part in self.folder.glob("*.parquet"))

    def _name(self, index: int) -> Path:
        return self.folder / f"{index:08d}.parquet"

    def write(self, blocks: Iterable[Block]) -> dict[str, int]:
        """Write blocks behind those that are there, then all of them as one file; counts of windows.

        Stopped, it leaves its parts for the same job; after an error in the input it leaves nothing.

        Raises:
            ValueError: when no window was left to write.
        """
        try:
            for index, block in enumerate(blocks, self.n_done):
                rows = rows_of(block, self._schema)
                told = {**self._schema.metadata, _SKIPPED: str(block.skipped).encode()}
                with atomic_binary(self._name(index)) as stream:
                    pq.write_table(pa.Table.from_batches([rows]).replace_schema_metadata(told), stream)
            for left in self.path.parent.glob(f".{glob.escape(self.path.name)}.*.part"):  # of a job that was killed
                left.unlink()
            counts = _write(self.path, self._batches(), self._schema)
            shutil.rmtree(self.folder)
        except ValueError:
            shutil.rmtree(self.folder)
            for one in self._made:
                with suppress(OSError):  # another command has put something there
                    one.rmdir()
            raise
        finally:
            self._let_go()
        return counts

    def _batches(self) -> Iterator[tuple[pa.RecordBatch, int]]:
        for index in count():
            if not self._name(index).is_file():
                return
            table = pq.read_table(self._name(index))
            skipped = int(table.schema.metadata[_SKIPPED])
            rows = table.replace_schema_metadata(self._schema.metadata).combine_chunks().to_batches()
            empty = Embedded([], np.zeros((0, self._width), np.float32), 0)
            yield rows[0] if rows else rows_of(empty, self._schema), skipped


def read_origin(path: Path) -> dict[str, Any] | None:
    """What made a file of vectors; None where the file is not one."""
    if is_zarr(path):
        return read_zarr_origin(path)
    try:
        return origin_of((pq.read_schema(path).metadata or {}).get(_KEY))
    except (OSError, ValueError):  # pa.ArrowInvalid is a ValueError
        return None


class ParquetVectors:
    """A Parquet file of vectors, open to be read piece by piece."""

    def __init__(self, path: Path):
        """Open it.

        Raises:
            ValueError: when it is not a file that `plantgfm embed` wrote.
        """
        self.path = path
        try:
            self._file = pq.ParquetFile(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise ValueError(f"{path} is no readable Parquet file: {error}") from error
        schema = self._file.schema_arrow
        try:
            self.origin = origin_of((schema.metadata or {}).get(_KEY))
            if "vector" not in schema.names or not pa.types.is_fixed_size_list(schema.field("vector").type):
                kind = schema.field("vector").type if "vector" in schema.names else "missing"
                raise ValueError(f"its vectors are {kind}, no lists of one size")
            kind = schema.field("vector").type
            self.storage = check_columns(schema.names, kind.value_type)
        except ValueError as error:
            raise ValueError(f"{path} was not written by `plantgfm embed`: {error}") from None
        self.names, self.n_rows, self.width = schema.names, self._file.metadata.num_rows, kind.list_size

    def tables(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """Some columns, piece by piece: row groups one by one, as `iter_batches` keeps all that it has read."""
        for number in range(self._file.num_row_groups):
            try:
                yield self._file.read_row_group(number, columns=list(names), use_threads=False)
            except (OSError, pa.ArrowInvalid) as error:
                raise ValueError(f"{self.path} is no readable Parquet file: {error}") from error

    def vectors(self) -> Iterator[Float32[np.ndarray, "n D"]]:
        """The vectors, piece by piece, as float32 whatever they are stored as."""
        names = ["vector", "scale"] if self.storage is Storage.INT8 else ["vector"]
        for table in self.tables(names):
            stored = np.asarray(table["vector"].combine_chunks().flatten()).reshape(-1, self.width)
            yield as_float32(stored, np.asarray(table["scale"]) if len(names) == 2 else None)


VectorFile = ParquetVectors | ZarrVectors


def open_vectors(path: Path) -> VectorFile:
    """A file or Zarr group of vectors, open to be read piece by piece.

    Raises:
        ValueError: when it is not one that `plantgfm embed` wrote.
    """
    return ZarrVectors(path) if is_zarr(path) else ParquetVectors(path)


def read_vectors(path: Path) -> VectorTable:
    """Read a file or Zarr group of vectors.

    Raises:
        ValueError: when it is not one that `plantgfm embed` wrote.
    """
    file = open_vectors(path)
    if not file.n_rows:
        raise ValueError(f"{path} holds no window: embed again")
    columns = [name for name in ("sequence", "start", "end", "strand") if name in file.names]
    table = pa.concat_tables(file.tables([*columns, "partial", "repeat_fraction"]))
    strands = table["strand"].to_pylist() if "strand" in columns else ["."] * len(table)
    return VectorTable(
        intervals=[Interval(*row) for row in zip(*(table[name].to_pylist() for name in columns[:3]), strands)],
        vectors=np.concatenate(list(file.vectors())),
        partial=np.asarray(table["partial"]),
        repeat_fraction=np.asarray(table["repeat_fraction"], np.float64),
        origin=file.origin,
    )

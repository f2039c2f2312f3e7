"""Vectors on disk: Parquet with coordinates, one row a window.

Columns: sequence, start, end (0-based, half-open, bp), strand, name (of the region, empty where whole records were
embedded), accession (of a panel, else empty), partial, unknown_fraction, repeat_fraction, vector (list of D float32; or
of D uint16, the bits of bfloat16, which are the upper half of a float32). With pooling "token" or "base" a row is one
of these, its coordinates are its own, and `partial` is that of its window. What made them (bundle fingerprint,
settings) stands in the file's metadata under `plantgfm`.

While a job runs, its blocks lie as one small file each in a folder beside the file to come (`Parts`), from which the
same job goes on after it was stopped.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32

from plantgfm.embedding.config import Storage
from plantgfm.embedding.embed import Embedded, EmbeddedPlaces
from plantgfm.formats.streams import atomic_binary
from plantgfm.identity import canonical_json, parse_json
from plantgfm.sequence import Interval

_KEY = b"plantgfm"
_SKIPPED = b"plantgfm skipped"
_LATER = ("strand", "name", "accession")  # columns that files of older code lack


@dataclass(frozen=True)
class VectorTable:
    """A file of vectors, read whole."""

    intervals: list[Interval]
    vectors: Float32[np.ndarray, "B D"]
    partial: np.ndarray  # bool [B]
    repeat_fraction: np.ndarray  # float64 [B]
    origin: dict[str, Any]  # what made them


Block = Embedded | EmbeddedPlaces


def _schema(width: int, origin: dict[str, Any], storage: Storage = Storage.FLOAT32) -> pa.Schema:
    fields = [
        ("sequence", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("strand", pa.string()),
        ("name", pa.string()),
        ("accession", pa.string()),
        ("partial", pa.bool_()),
        ("unknown_fraction", pa.float32()),
        ("repeat_fraction", pa.float32()),
        ("vector", pa.list_(pa.float32() if storage is Storage.FLOAT32 else pa.uint16(), width)),
    ]
    return pa.schema(fields, metadata={_KEY: canonical_json(origin).encode()})


def _rows(block: Block, schema: pa.Schema) -> pa.RecordBatch:
    columns, kind = block.columns(), schema.field("vector").type
    arrays = [pa.array(columns[field.name], field.type) for field in schema if field.name in columns]
    values = np.ascontiguousarray(block.vectors).reshape(-1)
    if kind.value_type == pa.uint16():
        values = values.astype(jnp.bfloat16).view(np.uint16)
    return pa.record_batch(
        [*arrays, pa.FixedSizeListArray.from_arrays(pa.array(values), kind.list_size)], schema=schema
    )


def vectors_of(column: pa.Array) -> Float32[np.ndarray, "B D"]:
    """The vectors of a column of a file, as float32 whatever they are stored as."""
    values = np.asarray(column.flatten())
    if values.dtype == np.uint16:
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32, copy=False).reshape(-1, column.type.list_size)


def write_vectors(
    path: Path,
    blocks: Iterable[Block],
    *,
    width: int,
    origin: dict[str, Any],
    storage: Storage = Storage.FLOAT32,
) -> dict[str, int]:
    """Stream blocks into a Parquet file that appears whole or not at all; counts of rows written, windows skipped.

    Raises:
        ValueError: when no window was left to write.
    """
    schema = _schema(width, origin, storage)
    return _write(path, ((_rows(block, schema), block.skipped) for block in blocks), schema)


def _write(path: Path, batches: Iterable[tuple[pa.RecordBatch, int]], schema: pa.Schema) -> dict[str, int]:
    """Batches of rows, each with the number of windows skipped, into one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    counts = {"windows": 0, "skipped": 0}
    with atomic_binary(path) as stream, pq.ParquetWriter(stream, schema) as writer:
        for batch, skipped in batches:
            counts["windows"] += batch.num_rows
            counts["skipped"] += skipped
            if batch.num_rows:
                writer.write_batch(batch)
        if not counts["windows"]:
            raise ValueError(
                f"no window was left to embed ({counts['skipped']} held too many unknown bases): "
                "raise embedding.max_unknown_fraction or check the input"
            )
    return counts


class Parts:
    """The blocks of a job that runs, or was stopped, in a folder beside the file that it will write."""

    def __init__(self, path: Path, *, width: int, origin: dict[str, Any], storage: Storage = Storage.FLOAT32):
        """Open the folder of `path`; what another job (another origin) left there is removed."""
        self.path, self.folder = path, path.with_name(f".{path.name}.parts")
        self._schema, self._width = _schema(width, origin, storage), width
        if self.folder.exists() and not self._is_of(origin):
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.n_done = next(index for index in count() if not self._name(index).is_file())

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
                rows = _rows(block, self._schema)
                told = {**self._schema.metadata, _SKIPPED: str(block.skipped).encode()}
                with atomic_binary(self._name(index)) as stream:
                    pq.write_table(pa.Table.from_batches([rows]).replace_schema_metadata(told), stream)
            counts = _write(self.path, self._batches(), self._schema)
        except ValueError:
            shutil.rmtree(self.folder)
            raise
        shutil.rmtree(self.folder)
        return counts

    def _batches(self) -> Iterator[tuple[pa.RecordBatch, int]]:
        for index in count():
            if not self._name(index).is_file():
                return
            table = pq.read_table(self._name(index))
            skipped = int(table.schema.metadata[_SKIPPED])
            rows = table.replace_schema_metadata(self._schema.metadata).combine_chunks().to_batches()
            empty = Embedded([], np.zeros((0, self._width), np.float32), 0)
            yield rows[0] if rows else _rows(empty, self._schema), skipped


def read_origin(path: Path) -> dict[str, Any] | None:
    """What made a file of vectors; None where the file is not one."""
    try:
        metadata = pq.read_schema(path).metadata or {}
        return _origin(metadata)
    except (OSError, ValueError):  # pa.ArrowInvalid is a ValueError
        return None


def _origin(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    if _KEY not in metadata:
        raise ValueError("its metadata lacks the origin")
    origin = parse_json(metadata[_KEY].decode())
    if not isinstance(origin, dict):
        raise ValueError("the origin in its metadata is no object")
    return origin


def open_vectors(path: Path) -> tuple[pq.ParquetFile, dict[str, Any]]:
    """A file of vectors, open to be read piece by piece, and what made it.

    Raises:
        ValueError: when it is not a file that `plantgfm embed` wrote.
    """
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ValueError(f"{path} is no readable Parquet file: {error}") from error
    schema = file.schema_arrow
    try:
        origin = _origin(schema.metadata or {})
        needed = [name for name in _schema(1, {}).names if name not in _LATER]
        if missing := [name for name in needed if name not in schema.names]:
            raise ValueError(f"it has no column {missing[0]!r}")
        if not pa.types.is_fixed_size_list(schema.field("vector").type):
            raise ValueError(f"its vectors are {schema.field('vector').type}, no lists of one size")
    except ValueError as error:
        raise ValueError(f"{path} was not written by `plantgfm embed`: {error}") from None
    return file, origin


def read_vectors(path: Path) -> VectorTable:
    """Read a file of vectors.

    Raises:
        ValueError: when it is not a file that `plantgfm embed` wrote.
    """
    file, origin = open_vectors(path)
    try:
        table = file.read()
    except (OSError, pa.ArrowInvalid) as error:
        raise ValueError(f"{path} is no readable Parquet file: {error}") from error
    columns = [table[name].to_pylist() for name in ("sequence", "start", "end")]
    strands = table["strand"].to_pylist() if "strand" in table.column_names else ["."] * len(table)
    rows = zip(*columns, strands)
    return VectorTable(
        intervals=[Interval(*row) for row in rows],
        vectors=vectors_of(table["vector"].combine_chunks()),
        partial=np.asarray(table["partial"]),
        repeat_fraction=np.asarray(table["repeat_fraction"], np.float64),
        origin=origin,
    )

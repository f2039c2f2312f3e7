"""Vectors on disk: Parquet with coordinates, one row a window.

Columns: sequence, start, end (0-based, half-open, bp), partial, unknown_fraction, repeat_fraction, vector (list of D
float32). What made them (bundle fingerprint, settings) stands in the file's metadata under `plantgfm`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32

from plantgfm.embedding.embed import Embedded
from plantgfm.formats.streams import atomic_binary
from plantgfm.identity import canonical_json, parse_json
from plantgfm.sequence import Interval

_KEY = b"plantgfm"


@dataclass(frozen=True)
class VectorTable:
    """A file of vectors, read whole."""

    intervals: list[Interval]
    vectors: Float32[np.ndarray, "B D"]
    partial: np.ndarray  # bool [B]
    repeat_fraction: np.ndarray  # float64 [B]
    origin: dict[str, Any]  # what made them


def _schema(width: int, origin: dict[str, Any]) -> pa.Schema:
    fields = [
        ("sequence", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("partial", pa.bool_()),
        ("unknown_fraction", pa.float32()),
        ("repeat_fraction", pa.float32()),
        ("vector", pa.list_(pa.float32(), width)),
    ]
    return pa.schema(fields, metadata={_KEY: canonical_json(origin).encode()})


def _rows(block: Embedded, schema: pa.Schema, width: int) -> pa.RecordBatch:
    tiles = block.tiles
    columns = [
        [tile.interval.sequence for tile in tiles],
        [tile.interval.start for tile in tiles],
        [tile.interval.end for tile in tiles],
        [tile.partial for tile in tiles],
        [tile.unknown_fraction for tile in tiles],
        [tile.repeat_fraction for tile in tiles],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema)]
    flat = pa.array(np.ascontiguousarray(block.vectors).reshape(-1))
    return pa.record_batch([*arrays, pa.FixedSizeListArray.from_arrays(flat, width)], schema=schema)


def write_vectors(path: Path, blocks: Iterable[Embedded], *, width: int, origin: dict[str, Any]) -> dict[str, int]:
    """Stream blocks into a Parquet file that appears whole or not at all; counts of windows written and skipped.

    Raises:
        ValueError: when no window was left to write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    counts, schema = {"windows": 0, "skipped": 0}, _schema(width, origin)
    with atomic_binary(path) as stream, pq.ParquetWriter(stream, schema) as writer:
        for block in blocks:
            counts["windows"] += len(block.tiles)
            counts["skipped"] += block.skipped
            if block.tiles:
                writer.write_batch(_rows(block, schema, width))
        if not counts["windows"]:
            raise ValueError(
                f"no window was left to embed ({counts['skipped']} held too many unknown bases): "
                "raise embedding.max_unknown_fraction or check the input"
            )
    return counts


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


def read_vectors(path: Path) -> VectorTable:
    """Read a file of vectors.

    Raises:
        ValueError: when it is not a file that `plantgfm embed` wrote.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ValueError(f"{path} is no readable Parquet file: {error}") from error
    try:
        origin = _origin(table.schema.metadata or {})
        if missing := [name for name in _schema(1, {}).names if name not in table.column_names]:
            raise ValueError(f"it has no column {missing[0]!r}")
        if not pa.types.is_fixed_size_list(table.schema.field("vector").type):
            raise ValueError(f"its vectors are {table.schema.field('vector').type}, no lists of one size")
    except ValueError as error:
        raise ValueError(f"{path} was not written by `plantgfm embed`: {error}") from None
    vectors = table["vector"].combine_chunks()
    width = table.schema.field("vector").type.list_size
    rows = zip(table["sequence"].to_pylist(), table["start"].to_pylist(), table["end"].to_pylist())
    return VectorTable(
        intervals=[Interval(*row) for row in rows],
        vectors=np.asarray(vectors.flatten(), np.float32).reshape(-1, width),
        partial=np.asarray(table["partial"]),
        repeat_fraction=np.asarray(table["repeat_fraction"], np.float64),
        origin=origin,
    )

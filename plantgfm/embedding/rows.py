"""Rows of a file of vectors: their columns, and vectors as float32, bfloat16 or int8.

Columns: sequence, start, end (0-based, half-open, bp), strand, name (of the region, empty where whole records were
embedded), accession (of a panel, else empty), partial, unknown_fraction, repeat_fraction, vector, and scale with int8.
What made the vectors (bundle fingerprint, settings, digests of the inputs) is the origin. How they are stored is told
by the type of `vector` and declared beside the origin:

float32  as they are
bf16     uint16, the bits of bfloat16, which are the upper half of a float32
int8     -127 to 127, times `scale` (float32): a 127th of the vector's greatest number, without its sign
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int8

from plantgfm.embedding.config import Storage
from plantgfm.embedding.embed import Embedded, EmbeddedPlaces
from plantgfm.identity import canonical_json, parse_json

Block = Embedded | EmbeddedPlaces
ORIGIN, STORED = "plantgfm", "plantgfm vectors"
LATER = ("strand", "name", "accession")  # columns that files of older code lack
_TOP = 127
_KINDS = {Storage.FLOAT32: pa.float32(), Storage.BFLOAT16: pa.uint16(), Storage.INT8: pa.int8()}
_NEEDED = {
    "sequence": pa.string(),
    "start": pa.int64(),
    "end": pa.int64(),
    "strand": pa.string(),
    "name": pa.string(),
    "accession": pa.string(),
    "partial": pa.bool_(),
    "unknown_fraction": pa.float32(),
    "repeat_fraction": pa.float32(),
}


def schema_of(width: int, origin: dict[str, Any], storage: Storage = Storage.FLOAT32) -> pa.Schema:
    """The columns of rows with vectors of `width` dimensions; the origin and the storage stand in its metadata."""
    fields = [*_NEEDED.items(), ("vector", pa.list_(_KINDS[storage], width))]
    fields += [("scale", pa.float32())] if storage is Storage.INT8 else []
    stored = {"storage": storage.value, "dimensions": width}
    return pa.schema(fields, metadata={ORIGIN: canonical_json(origin), STORED: canonical_json(stored)})


def rows_of(block: Block, schema: pa.Schema) -> pa.RecordBatch:
    """The rows of a block.

    Raises:
        ValueError: for a vector with a number that int8 can't scale: infinite, or none.
    """
    columns = block.columns()
    arrays = [pa.array(columns[name], kind) for name, kind in _NEEDED.items()]
    kind = schema.field("vector").type
    stored, scale = as_stored(np.ascontiguousarray(block.vectors), storage_of(kind.value_type))
    arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(stored.reshape(-1)), kind.list_size))
    return pa.record_batch(arrays if scale is None else [*arrays, pa.array(scale)], schema=schema)


def storage_of(kind: pa.DataType | np.dtype) -> Storage:
    """The storage that a type of numbers means; ValueError for one that means none."""
    kind = kind if isinstance(kind, pa.DataType) else pa.from_numpy_dtype(kind)
    found = next((storage for storage, one in _KINDS.items() if one == kind), None)
    if found is None:
        raise ValueError(f"its vectors are of type {kind}, none of {', '.join(map(str, _KINDS.values()))}")
    return found


def as_stored(vectors: Float32[np.ndarray, "N D"], storage: Storage) -> tuple[np.ndarray, np.ndarray | None]:
    """Vectors as they lie on disk, and the scale of each with int8.

    Raises:
        ValueError: for a vector with a number that int8 can't scale.
    """
    if storage is Storage.FLOAT32:
        return vectors, None
    if storage is Storage.BFLOAT16:
        return vectors.astype(jnp.bfloat16).view(np.uint16), None
    if not np.isfinite(vectors).all():
        raise ValueError("a vector holds an infinite number or none (NaN): int8 can't store it, look at the model")
    scale = (np.abs(vectors).max(axis=1, initial=0.0) / _TOP).astype(np.float32)
    steps = vectors / np.where(scale > 0, scale, 1.0)[:, None]
    return np.clip(np.rint(steps), -_TOP, _TOP).astype(np.int8), scale


def as_float32(
    stored: np.ndarray, scale: Float32[np.ndarray, "N"] | Int8[np.ndarray, "0"] | None = None
) -> Float32[np.ndarray, "N D"]:
    """The inverse of `as_stored`, but for rounding."""
    if stored.dtype == np.uint16:
        return (stored.astype(np.uint32) << 16).view(np.float32)
    if stored.dtype == np.int8:
        return stored.astype(np.float32) * scale[:, None]
    return stored.astype(np.float32, copy=False)


def origin_of(text: str | bytes | None) -> dict[str, Any]:
    """The origin out of a file's metadata.

    Raises:
        ValueError: when it is none.
    """
    if text is None:
        raise ValueError("its metadata lacks the origin")
    origin = parse_json(text.decode() if isinstance(text, bytes) else text)
    if not isinstance(origin, dict):
        raise ValueError("the origin in its metadata is no object")
    return origin


def check_columns(names: list[str], kind: pa.DataType | np.dtype) -> Storage:
    """The storage of a file with these columns.

    Raises:
        ValueError: when a column is missing that every file of vectors has.
    """
    storage = storage_of(kind)
    needed = [name for name in _NEEDED if name not in LATER] + (["scale"] if storage is Storage.INT8 else [])
    if missing := [name for name in needed if name not in names]:
        raise ValueError(f"it has no column {missing[0]!r}")
    return storage

"""Vectors in a Zarr group (format 3): one array a column, chunked by rows. Needs the extra `zarr`.

`vector` is [rows, dimensions] in chunks of 4,096 rows, each other column [rows] in chunks of 65,536: a reader takes the
part that it wants. Chunks are compressed by Zstandard with a checksum. The origin and the storage stand in the group's
attributes, as `rows` says.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from plantgfm.embedding.rows import ORIGIN, STORED, Storage, as_float32, check_columns, origin_of
from plantgfm.export.folder import whole_folder

_MARK = "zarr.json"
_CHUNK_ROWS = {"vector": 4_096}
_OTHER_ROWS = 65_536


def is_zarr(path: Path) -> bool:
    """Whether a name is one of a Zarr group: by its ending, or a folder that is there."""
    return path.suffix == ".zarr" or path.is_dir()


def need_zarr(path: Path) -> None:
    """Raise ValueError where a Zarr group can't be read or written."""
    if importlib.util.find_spec("zarr") is None:
        raise ValueError(
            f"{path}: Zarr needs another package: pip install 'plantgfm[zarr]', or name a file that ends in .parquet"
        )


class _Column:
    """One array that grows by whole chunks, so that none is written twice."""

    def __init__(self, group: Any, name: str, kind: pa.DataType):
        from zarr.codecs import ZstdCodec

        self.name, self._chunk = name, _CHUNK_ROWS.get(name, _OTHER_ROWS)
        inner = (kind.list_size,) if pa.types.is_fixed_size_list(kind) else ()
        value = kind.value_type if inner else kind
        self._kind = np.dtypes.StringDType() if value == pa.string() else value.to_pandas_dtype()
        self._array = group.create_array(
            name,
            shape=(0, *inner),
            chunks=(self._chunk, *inner),
            dtype="string" if value == pa.string() else self._kind,
            compressors=[ZstdCodec(level=1, checksum=True)],
            dimension_names=["row", *(["dimension"] if inner else [])],
            config={"write_empty_chunks": True},  # so that a chunk that is missing is one that was lost
        )
        self._held, self._rows = [], 0

    def add(self, column: pa.Array) -> None:
        """Take in rows; full chunks are written."""
        if pa.types.is_fixed_size_list(column.type):
            values = np.asarray(column.flatten()).reshape(-1, column.type.list_size)
        else:
            values = np.array(column.to_pylist(), self._kind)
        self._held.append(values)
        self._rows += len(values)
        if self._rows >= self._chunk:
            self._write(self._rows - self._rows % self._chunk)

    def close(self) -> None:
        """Write what is left."""
        if self._rows:
            self._write(self._rows)

    def _write(self, n_rows: int) -> None:
        held = np.concatenate(self._held)
        self._array.append(held[:n_rows])
        self._held, self._rows = [held[n_rows:]], self._rows - n_rows


@contextmanager
def zarr_writer(path: Path, schema: pa.Schema) -> Iterator[Any]:
    """A function that takes batches of rows; the group takes its name only when the block ends without an error.

    Raises:
        ValueError: without the package, or when `path` is something else.
    """
    need_zarr(path)
    import zarr

    if path.exists() and read_zarr_origin(path) is None:
        raise ValueError(f"{path} exists and is no group of vectors: name another one or remove it")
    with whole_folder(path, mark=_MARK, what="Zarr group") as work:
        told = {key.decode(): json.loads(value) for key, value in schema.metadata.items()}
        group = zarr.open_group(work, mode="w", zarr_format=3, attributes=told)
        columns = [_Column(group, field.name, field.type) for field in schema]

        def write(batch: pa.RecordBatch) -> None:
            for column in columns:
                column.add(batch[column.name])

        yield write
        for column in columns:
            column.close()


def read_zarr_origin(path: Path) -> dict[str, Any] | None:
    """What made a group of vectors, from its one small file; None where it is none."""
    try:
        return _told(path)[0]
    except (OSError, ValueError):
        return None


def _told(path: Path) -> tuple[dict[str, Any], Any]:
    """The origin, and what is declared of the storage.

    Raises:
        ValueError: when the attributes are not those of `plantgfm embed`.
    """
    content = origin_of((path / _MARK).read_text(encoding="utf-8"))
    attributes = content.get("attributes")
    found = attributes.get(ORIGIN) if isinstance(attributes, dict) else None
    if not isinstance(found, dict):
        raise ValueError("its metadata lacks the origin")
    return found, attributes.get(STORED)


class ZarrVectors:
    """A group of vectors, open to be read piece by piece."""

    def __init__(self, path: Path):
        """Open it.

        Raises:
            ValueError: without the package, or when it is not a group that `plantgfm embed` wrote, or lacks a chunk.
        """
        need_zarr(path)
        import zarr

        self.path = path
        try:
            self.origin, _ = _told(path)
            group = zarr.open_group(path, mode="r")
            self._arrays = {one.parent.name: group[one.parent.name] for one in sorted(path.glob(f"*/{_MARK}"))}
            vector = self._arrays.get("vector")
            if vector is None or vector.ndim != 2:
                raise ValueError("it has no column 'vector' of two dimensions")
            self.storage = check_columns(list(self._arrays), vector.dtype)
            self.names, (self.n_rows, self.width) = list(self._arrays), vector.shape
            for name, array in self._arrays.items():
                if array.shape[0] != self.n_rows:
                    raise ValueError(f"column {name!r} has {array.shape[0]:,} rows, 'vector' {self.n_rows:,}")
                if array.nchunks_initialized != array.nchunks:
                    raise ValueError(f"column {name!r} has lost {array.nchunks - array.nchunks_initialized} chunks")
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:  # what a damaged zarr.json gives
            raise ValueError(f"{path} was not written by `plantgfm embed`, or is damaged: {_line(error)}") from None

    def tables(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """Some columns but the vectors, piece by piece."""
        for first in range(0, self.n_rows, _OTHER_ROWS):
            rows = slice(first, first + _OTHER_ROWS)
            found = {name: self._read(name, rows) for name in names}
            kinds = {name: pa.array(v.tolist() if v.dtype.kind == "T" else v) for name, v in found.items()}
            yield pa.table(kinds)

    def vectors(self) -> Iterator[Float32[np.ndarray, "n D"]]:
        """The vectors, piece by piece, as float32 whatever they are stored as."""
        for first in range(0, self.n_rows, _CHUNK_ROWS["vector"]):
            rows = slice(first, first + _CHUNK_ROWS["vector"])
            scale = self._read("scale", rows) if self.storage is Storage.INT8 else None
            yield as_float32(self._read("vector", rows), scale)

    def _read(self, name: str, rows: slice) -> np.ndarray:
        try:
            return self._arrays[name][rows]
        except (OSError, RuntimeError, ValueError) as error:  # Zstandard's checksum gives a RuntimeError
            raise ValueError(f"{self.path} is damaged: column {name!r} can't be read ({_line(error)})") from None


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]

"""The content-addressed store of curation: artefacts of assemblies, and what is known of unchanged files.

An artefact is a few files under one key: the bases, arrays that are as long as the genome (`ROWS`), small arrays, a
JSON description, and the seal, which states size and digest of the others. Every file is written under another name and
renamed, the seal last, so that an artefact with a seal is whole; one whose files are not what the seal states is
damaged, and made again. What is as long as the genome is written record by record, and mapped when it is read.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import BadZipFile

import numpy as np
from jaxtyping import UInt64

from plantgfm.formats.streams import atomic_binary, atomic_text
from plantgfm.identity import canonical_json, file_sha256, read_json

_LEFTOVER_SECONDS = 24 * 3_600  # no file takes that long to write

ROWS = ("windows", "hashes")
"""Arrays of uint64 that grow with the genome: window sketches and FracMinHash hashes."""
_REMEDY = "delete this file: it is made again"


class Writing:
    """An artefact that is being written: bases and rows of arrays grow record by record, nothing has its name yet."""

    def __init__(self, bases: BinaryIO, rows: dict[str, BinaryIO]):
        self.bases = bases  # can be read and written over, too
        self._rows = rows

    def add(self, name: str, rows: UInt64[np.ndarray, "..."]) -> None:
        """Append rows to one of `ROWS`."""
        self._rows[name].write(np.ascontiguousarray(rows))

    def clear(self) -> None:
        """Forget what was written: no record is kept."""
        for stream in (self.bases, *self._rows.values()):
            stream.seek(0)
            stream.truncate()


@dataclass(frozen=True)
class Artefact:
    """Where the files of one key lie."""

    folder: Path
    key: str

    @property
    def bases(self) -> Path:
        """File of uint8: code | repeat bit, the surviving records one after another."""
        return self.folder / f"{self.key}.bases"

    @property
    def arrays(self) -> Path:
        """The `.npz` file."""
        return self.folder / f"{self.key}.npz"

    @property
    def description(self) -> Path:
        """The JSON file."""
        return self.folder / f"{self.key}.json"

    def rows(self, name: str) -> Path:
        """File of uint64, the rows of one of `ROWS` one after another."""
        return self.folder / f"{self.key}.{name}"

    @property
    def seal(self) -> Path:
        """The JSON file that states what the others are; written last."""
        return self.folder / f"{self.key}.seal"

    @property
    def _sealed(self) -> dict[str, Path]:
        rows = {name: self.rows(name) for name in ROWS}
        return {"bases": self.bases, "arrays": self.arrays, "description": self.description, **rows}

    def complete(self) -> bool:
        """True where all files are there, of the size that the seal states."""
        stated, paths = self._stated(), self._sealed
        return stated.keys() >= {"bases", "arrays", "description"} and all(
            name in paths and paths[name].is_file() and paths[name].stat().st_size == size
            for name, (size, _) in stated.items()
        )

    def intact(self, hashes: FileHashes) -> bool:
        """True where all files are what the seal states; files that did not change since the last look are not read."""
        return self.complete() and all(
            hashes.sha256(self._sealed[name]) == digest for name, (_, digest) in self._stated().items()
        )

    def _stated(self) -> dict[str, tuple[int, str]]:
        """Size and digest by file; {} where no readable seal is there."""
        try:
            stated = read_json(self.seal, remedy=_REMEDY) if self.seal.is_file() else {}
            return {name: (int(size), str(digest)) for name, (size, digest) in stated.items()}
        except (ValueError, TypeError):
            return {}

    def read(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The description and all arrays; what was written row by row is mapped, one-dimensional, not read.

        Raises:
            ValueError: when a file was damaged after it had its name.
        """
        paths = {name: self.rows(name) for name in ROWS}
        try:
            with self.arrays.open("rb") as raw, np.load(raw) as stored:  # given a path, it leaves a broken file open
                arrays = {name: stored[name] for name in stored.files}
            mapped = {name: _mapped(path) for name, path in paths.items() if path.is_file()}
        except (BadZipFile, zlib.error, EOFError, ValueError) as error:
            raise ValueError(f"{self.arrays} or its rows are damaged ({error}); {_REMEDY}") from None
        return self.describe(), {**arrays, **mapped}

    def describe(self) -> dict[str, Any]:
        """The description alone."""
        return read_json(self.description, remedy=_REMEDY)

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        """Bases and rows take their names when the block ends without an error; `finish` the artefact after it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            rows = {name: stack.enter_context(atomic_binary(self.rows(name))) for name in ROWS}
            yield Writing(stack.enter_context(atomic_binary(self.bases)), rows)

    def finish(self, description: Any, arrays: dict[str, np.ndarray]) -> None:
        """Write the arrays, the description and, last, the seal; nothing half-written stays."""
        with atomic_binary(self.arrays) as stream:
            np.savez(stream, **arrays)
        with atomic_text(self.description) as stream:
            stream.write(canonical_json(description))
        written = {name: path for name, path in self._sealed.items() if path.is_file()}
        with atomic_text(self.seal) as stream:
            stream.write(canonical_json({n: [p.stat().st_size, file_sha256(p)] for n, p in written.items()}))

    def write(self, description: Any, arrays: dict[str, np.ndarray]) -> None:
        """Write an artefact without bases or rows."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_binary(self.bases):
            pass
        self.finish(description, arrays)


def _mapped(path: Path) -> UInt64[np.ndarray, "values"]:
    if path.stat().st_size == 0:  # what is empty can't be mapped
        return np.empty(0, dtype=np.uint64)
    return np.asarray(np.memmap(path, dtype=np.uint64, mode="r"))


def remove_leftovers(folder: Path, *, now: Callable[[], float] = time.time) -> None:
    """Remove what processes that were killed left half-written below a folder, a day later."""
    for part in folder.rglob(".*.part"):
        try:
            if now() - part.stat().st_mtime > _LEFTOVER_SECONDS:
                part.unlink()
        except FileNotFoundError:
            continue  # another process was quicker


class FileHashes:
    """SHA-256 of files, remembered by path, size and times of change, so that unchanged files are not read again.

    What is remembered is a convenience: a damaged file of it counts as none.
    """

    def __init__(self, path: Path):
        self._path = path
        self._known = _remembered(path)
        self._changed = False

    def sha256(self, path: Path) -> str:
        """SHA-256 of the file's bytes, in hexadecimal."""
        stat = path.stat()
        # The time of change of the inode can't be set back, as that of the content can.
        name, mark = str(path.resolve()), [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        known = self._known.get(name)
        if known is None or known[:-1] != mark:
            known = self._known[name] = [*mark, file_sha256(path)]
            self._changed = True
        return known[-1]

    def save(self) -> None:
        """Write what was learned."""
        if self._changed:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_text(self._path) as stream:
                stream.write(canonical_json(self._known))
            self._changed = False


def _remembered(path: Path) -> dict[str, list]:
    try:
        known = read_json(path, remedy=_REMEDY) if path.is_file() else {}
    except ValueError:
        return {}
    return {name: row for name, row in known.items() if isinstance(row, list) and len(row) == 4}

"""The content-addressed store of curation: artefacts of assemblies, and what is known of unchanged files.

An artefact is three files under one key: the bases, the arrays, and a JSON description that is written last, so that an
artefact with a description is whole. Every file is written under another name and renamed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plantgfm.formats.streams import atomic_binary, atomic_text
from plantgfm.identity import canonical_json, file_sha256


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
        """The JSON file; written last."""
        return self.folder / f"{self.key}.json"

    def complete(self) -> bool:
        """True where all files are there."""
        return self.description.is_file() and self.arrays.is_file() and self.bases.is_file()

    def read(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The description and all arrays."""
        with np.load(self.arrays) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return self.describe(), arrays

    def describe(self) -> dict[str, Any]:
        """The description alone."""
        return json.loads(self.description.read_text())

    def write(self, description: Any, arrays: dict[str, np.ndarray], bases: list[np.ndarray]) -> None:
        """Write all files, the description last; nothing half-written stays."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_binary(self.bases) as stream:
            for part in bases:
                stream.write(part)
        with atomic_binary(self.arrays) as stream:
            np.savez(stream, **arrays)
        with atomic_text(self.description) as stream:
            stream.write(canonical_json(description))


class FileHashes:
    """SHA-256 of files, remembered by path, size and modification time so that unchanged files are not read again."""

    def __init__(self, path: Path):
        self._path = path
        self._known: dict[str, list] = json.loads(path.read_text()) if path.is_file() else {}
        self._changed = False

    def sha256(self, path: Path) -> str:
        """SHA-256 of the file's bytes, in hexadecimal."""
        stat = path.stat()
        name, mark = str(path.resolve()), [stat.st_size, stat.st_mtime_ns]
        known = self._known.get(name)
        if known is None or known[:2] != mark:
            known = self._known[name] = [*mark, file_sha256(path)]
            self._changed = True
        return known[2]

    def save(self) -> None:
        """Write what was learned."""
        if self._changed:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_text(self._path) as stream:
                stream.write(canonical_json(self._known))
            self._changed = False

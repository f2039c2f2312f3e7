"""What records are screened against: vectors as an index of seeds, organisms and organelles as sorted hashes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int32, Int64, UInt64

from plantgfm.curation.config import ContaminationConfig
from plantgfm.curation.shipped import SHIPPED, SKETCH_SUFFIX, read_sketches
from plantgfm.curation.vectors import VectorIndex, index_vectors
from plantgfm.formats.errors import FormatError
from plantgfm.formats.fasta import read_fasta
from plantgfm.formats.paths import check_file, file_beside
from plantgfm.formats.tables import read_rows, require_columns
from plantgfm.identity import file_sha256, fingerprint
from plantgfm.sketch import fraction

_LOW_BITS = np.uint64((1 << 20) - 1)

KINDS = ("foreign", "vector", "organelle", "rdna")
_COLUMNS = ("name", "kind", "path")


@dataclass(frozen=True)
class Reference:
    """One row of a reference table."""

    name: str
    kind: str  # one of KINDS
    path: Path


@dataclass(frozen=True)
class HashIndex:
    """FracMinHash hashes of several references, sorted, with the reference that each belongs to."""

    names: list[str]
    hashes: UInt64[np.ndarray, "hashes"]
    owner: Int32[np.ndarray, "hashes"]  # index into names; the first reference in order of name that holds the hash

    def find(self, hashes: UInt64[np.ndarray, "n"]) -> tuple[Int64[np.ndarray, "hits"], Int64[np.ndarray, "hits"]]:
        """Which of some hashes are held, as numbers of them in order, and their places in the index."""
        if not self.hashes.size:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        near = np.flatnonzero(self._low_bits[hashes & _LOW_BITS])  # most hashes are told from all here at little cost
        at = np.minimum(np.searchsorted(self.hashes, hashes[near]), self.hashes.size - 1)
        held = self.hashes[at] == hashes[near]
        return near[held], at[held]

    @cached_property
    def _low_bits(self) -> Bool[np.ndarray, "values"]:
        """Whether a hash of these low bits is held."""
        found = np.zeros(int(_LOW_BITS) + 1, dtype=bool)
        found[self.hashes & _LOW_BITS] = True
        return found


@dataclass(frozen=True)
class ReferenceIndex:
    """Everything that contamination is screened against."""

    vectors: VectorIndex
    foreign: HashIndex
    organelle: HashIndex
    rdna: HashIndex


def list_references(table: Path | None, config: ContaminationConfig) -> list[Reference]:
    """References of a table (`references.tsv`, or a folder that holds one), of the settings, and those shipped.

    What is shipped lies in `data/`, beside the package: where only the package is installed there is none.

    Raises:
        FormatError: for a column that is missing, a kind that is unknown, or a file that does not exist.
    """
    rows = [Reference(Path(path).name, "organelle", Path(path)) for path in config.organelle_references]
    if config.shipped_sketches and SHIPPED.is_file():
        rows.append(Reference("shipped plastids", "organelle", SHIPPED))
    if table is not None:
        path = table / "references.tsv" if table.is_dir() else table
        columns, cells = read_rows(path)
        require_columns(path, columns, _COLUMNS, columns)
        rows += [_reference(path, line, row) for line, row in cells]
    for row in rows:
        check_file(row.path)
    return sorted(rows, key=lambda row: (row.kind, row.name, str(row.path)))


def _reference(table: Path, line: int, row: dict[str, str]) -> Reference:
    if row["kind"] not in KINDS:
        raise FormatError(table, f"kind {row['kind']!r} is none of {', '.join(KINDS)}", line=line)
    try:
        return Reference(row["name"], row["kind"], file_beside(table, row["path"], "path"))
    except ValueError as error:
        raise FormatError(table, str(error), row["name"] or None, line) from None


def references_key(references: list[Reference], config: ContaminationConfig) -> str:
    """Fingerprint of the references' content and of the settings that index them."""
    content = [(row.name, row.kind, file_sha256(row.path)) for row in references]
    return fingerprint([content, config])


@lru_cache(maxsize=2)
def load_references(references: tuple[Reference, ...], k: int, scaled: int, vector_seed_k: int) -> ReferenceIndex:
    """The index of references; a process that screens many assemblies builds it once."""
    vectors = [
        (row.name, record.codes) for row in references if row.kind == "vector" for record in read_fasta(row.path)
    ]
    return ReferenceIndex(
        vectors=index_vectors(vectors, vector_seed_k),
        foreign=_hash_index([row for row in references if row.kind == "foreign"], k, scaled),
        organelle=_hash_index([row for row in references if row.kind == "organelle"], k, scaled),
        rdna=_hash_index([row for row in references if row.kind == "rdna"], k, scaled),
    )


def _hash_index(references: list[Reference], k: int, scaled: int) -> HashIndex:
    hashes, owner = [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=np.int32)]
    names: list[str] = []
    for row in references:
        if row.path.suffix == SKETCH_SUFFIX:
            for name, found in read_sketches(row.path, k=k, scaled=scaled):
                hashes.append(found)
                owner.append(np.full(found.size, len(names), dtype=np.int32))
                names.append(name)
            continue
        for record in read_fasta(row.path):
            found = fraction(record.codes, k=k, scaled=scaled)[0]
            hashes.append(found)
            owner.append(np.full(found.size, len(names), dtype=np.int32))
        names.append(row.name)
    unique, first = np.unique(np.concatenate(hashes), return_index=True)
    return HashIndex(names, unique, np.concatenate(owner)[first])

"""The cache of a corpus: decoded bases to map into memory, and tables; made from the dataset, again when damaged."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Int64, UInt8

from plantgfm import identity
from plantgfm.corpus.config import CorpusConfig
from plantgfm.corpus.segments import CorpusRecord, fields_to_bases
from plantgfm.corpus.tables import Tables, content_fingerprint, tables_of_examples
from plantgfm.schema import Regions
from plantgfm.sequence import REPEAT_BIT, UNKNOWN

FOLDER = "cache"
_FILES = ("bases.u8", "tables.npz", "tables.json")


@dataclasses.dataclass(frozen=True)
class Contents:
    """What the cache holds: bases, tables, and counts of the bases."""

    bases: UInt8[np.ndarray, "P"]  # code | REPEAT_BIT, read-only, backed by the file
    tables: Tables
    unknown_bp: Int32[np.ndarray, "R"]  # unknown bases of each region
    repeat_bp: Int32[np.ndarray, "R"]  # bases of each region that lie in repeats
    unknown_runs: Int64[np.ndarray, "runs 2"]  # in the corpus bases, sorted


def load_or_build(corpus: Path, config: CorpusConfig, *, fingerprint: str) -> Contents:
    """The cache of a corpus; where it is missing or damaged, it is made again from the dataset."""
    folder = corpus / FOLDER
    if not is_intact(folder, fingerprint):
        build(corpus, config, fingerprint=fingerprint)
    return _load(folder)


def is_intact(folder: Path, fingerprint: str) -> bool:
    """Whether the cache is this corpus' and every byte of it is as it was written (reads all of it, about 1 GB/s)."""
    try:
        stated = json.loads((folder / "cache.json").read_text())
    except (FileNotFoundError, ValueError):
        return False
    if not isinstance(stated, dict) or stated.get("fingerprint") != fingerprint:
        return False
    files = [folder / name for name in _FILES]
    return all(path.is_file() for path in files) and stated.get("sha256") == _digests(files)


def build(corpus: Path, config: CorpusConfig, *, fingerprint: str) -> None:
    """Decode the dataset into a new cache, which replaces the old one in one move.

    Raises:
        ValueError: when the dataset is not what the corpus' fingerprint says.
    """
    from plantgfm.corpus import dataset  # TFDS is needed only here

    partial = corpus / f".{FOLDER}.partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        heads = ({k: v for k, v in e.items() if k != "packed"} for e in dataset.read_dataset(corpus))
        tables = tables_of_examples(heads)
        runs = _write_bases(partial / "bases.u8", tables, dataset.read_dataset(corpus))
        bases = np.memmap(partial / "bases.u8", dtype=np.uint8, mode="r")
        found = content_fingerprint(tables, _bases_of(bases, tables), config)
        if found != fingerprint:
            raise ValueError(
                f"{corpus}: the dataset has fingerprint {found}, the corpus states {fingerprint}: it is "
                "damaged, write the corpus again"
            )
        _write_tables(partial, tables, bases, runs)
        stated = {"fingerprint": fingerprint, "sha256": _digests([partial / name for name in _FILES])}
        (partial / "cache.json").write_text(identity.canonical_json(stated))
        shutil.rmtree(corpus / FOLDER, ignore_errors=True)
        partial.rename(corpus / FOLDER)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _digests(files: list[Path]) -> dict[str, str]:
    return {path.name: identity.file_sha256(path) for path in files}


def _bases_of(bases: np.ndarray, tables: Tables):
    return lambda index: bases[tables.records[index].offset :][: tables.records[index].length_bp]


def _write_bases(path: Path, tables: Tables, examples) -> np.ndarray:
    """Decode every segment to its place; returns the runs of unknown bases in corpus coordinates, sorted."""
    total = sum(record.length_bp for record in tables.records)
    bases = np.memmap(path, dtype=np.uint8, mode="w+", shape=(total,))
    runs = [np.zeros((0, 2), dtype=np.int64)]
    for example in examples:
        length = int(example["length_bp"])
        start = tables.records[int(example["record_index"])].offset + int(example["start"])
        bases[start : start + length] = fields_to_bases(example, length)
        runs.append(example["unknown_runs"].astype(np.int64) + start)
    bases.flush()
    found = np.concatenate(runs)
    return found[np.argsort(found[:, 0])]


def _write_tables(folder: Path, tables: Tables, bases: np.ndarray, unknown_runs: np.ndarray) -> None:
    regions = tables.regions
    spans = [bases[start : start + length] for start, length in zip(regions.offset, regions.length_bp)]
    arrays = {field.name: getattr(regions, field.name) for field in dataclasses.fields(Regions)}
    np.savez(
        folder / "tables.npz",
        **{f"region_{name}": array for name, array in arrays.items()},
        cluster_id=tables.cluster_id,
        cluster_size=tables.cluster_size,
        unknown_bp=np.array([np.count_nonzero(span & UNKNOWN) for span in spans], dtype=np.int32),
        repeat_bp=np.array([np.count_nonzero(span & REPEAT_BIT) for span in spans], dtype=np.int32),
        unknown_runs=unknown_runs,
    )
    named = {"species": tables.species, "records": tables.records}
    (folder / "tables.json").write_text(identity.canonical_json(named))


def _load(folder: Path) -> Contents:
    named = json.loads((folder / "tables.json").read_text())
    with np.load(folder / "tables.npz") as stored:
        arrays = dict(stored)
    tables = Tables(
        species=tuple(named["species"]),
        records=tuple(CorpusRecord(**record) for record in named["records"]),
        regions=Regions(**{field.name: arrays[f"region_{field.name}"] for field in dataclasses.fields(Regions)}),
        cluster_id=arrays["cluster_id"],
        cluster_size=arrays["cluster_size"],
    )
    return Contents(
        bases=np.asarray(np.memmap(folder / "bases.u8", dtype=np.uint8, mode="r")),
        tables=tables,
        unknown_bp=arrays["unknown_bp"],
        repeat_bp=arrays["repeat_bp"],
        unknown_runs=arrays["unknown_runs"],
    )

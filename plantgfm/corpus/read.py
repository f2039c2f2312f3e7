"""A corpus, opened: its bases and tables, and what they add up to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Int64, UInt8

from plantgfm.corpus import cache
from plantgfm.corpus.config import CorpusConfig
from plantgfm.corpus.segments import CorpusRecord
from plantgfm.corpus.tables import FORMAT_VERSION
from plantgfm.identity import read_json
from plantgfm.schema import Regions, Split

KIND = "plantgfm corpus"
IDENTITY_FILE = "corpus.json"


class CorpusVersionError(ValueError):
    """A corpus of another format version: it must be written again."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Curated sequence on disk, split by region; bases are read where they lie, mapped into memory."""

    path: Path
    fingerprint: str  # of the content: bases, masks, clusters, names, splits, settings
    config: CorpusConfig
    lineage: dict  # what it was made from
    species: tuple[str, ...]  # sorted
    records: tuple[CorpusRecord, ...]  # sorted by species, assembly, name, start
    regions: Regions  # sorted by record and start
    bases: UInt8[np.ndarray, "P"]  # all records, one after the other: code | REPEAT_BIT
    unknown_bp: Int32[np.ndarray, "R"]  # unknown bases of each region
    repeat_bp: Int32[np.ndarray, "R"]  # bases of each region that lie in repeats
    unknown_runs: Int64[np.ndarray, "runs 2"]  # runs of unknown bases, in the corpus bases
    cluster_id: Int64[np.ndarray, "windows"]  # near-duplicate cluster of each cluster window, -1 alone
    cluster_size: Int32[np.ndarray, "windows"]  # windows in that cluster, 1 alone

    def cluster_rows(self, region: int, start: int, end: int) -> slice:
        """Rows of `cluster_id` whose windows overlap corpus bases start to end, which lie in one region."""
        record = self.records[int(self.regions.record[region])]
        first, width = record.cluster_offset, record.cluster_window_bp
        return slice(first + (start - record.offset) // width, first - (-(end - record.offset) // width))

    def summary(self) -> list[dict]:
        """One row a species: base pairs and regions of each split, repeat and unknown shares, what is too short."""
        return [self._summarise(index) for index in range(len(self.species))]

    def _summarise(self, index: int) -> dict:
        mine = self.regions.species == index
        lengths = self.regions.length_bp.astype(np.int64)
        total = int(lengths[mine].sum())
        short = mine & (lengths < self.config.min_region_bp)
        row = {
            "species": self.species[index],
            "records": sum(record.species == self.species[index] for record in self.records),
            "bp": total,
        }
        for split in Split:
            held = mine & (self.regions.split == int(split))
            row[f"{split.name.lower()}_bp"] = int(lengths[held].sum())
            row[f"{split.name.lower()}_regions"] = int(held.sum())
        row["repeat_fraction"] = float(self.repeat_bp[mine].sum() / total)
        row["unknown_fraction"] = float(self.unknown_bp[mine].sum() / total)
        row["short_region_bp"] = int(lengths[short].sum())
        return row


def open_corpus(path: str | Path) -> Corpus:
    """Open a corpus; a missing or damaged cache is made again from the dataset.

    Raises:
        ValueError: when the folder is no corpus, is of another format version, or its dataset is damaged.
    """
    path = Path(path)
    stated = read_identity(path)
    config = CorpusConfig(**stated["config"])
    contents = cache.load_or_build(path, config, fingerprint=stated["fingerprint"])
    tables = contents.tables
    return Corpus(
        path=path,
        fingerprint=stated["fingerprint"],
        config=config,
        lineage=stated["lineage"],
        species=tables.species,
        records=tables.records,
        regions=tables.regions,
        bases=contents.bases,
        unknown_bp=contents.unknown_bp,
        repeat_bp=contents.repeat_bp,
        unknown_runs=contents.unknown_runs,
        cluster_id=tables.cluster_id,
        cluster_size=tables.cluster_size,
    )


def read_identity(path: Path) -> dict:
    """What a corpus states of itself: kind, version, fingerprint, config, lineage.

    Raises:
        ValueError: when the folder is no corpus, or of another format version.
    """
    try:
        stated = read_json(path / IDENTITY_FILE, remedy="write it again")
    except FileNotFoundError:
        raise ValueError(f"{path} is no corpus: it holds no {IDENTITY_FILE}; name a corpus folder") from None
    except (NotADirectoryError, ValueError) as error:
        raise ValueError(f"{path} is no corpus: {IDENTITY_FILE} can't be read ({error})") from None
    if stated.get("kind") != KIND:
        raise ValueError(f"{path} is no corpus: its {IDENTITY_FILE} does not say so")
    if not isinstance(stated.get("config"), dict) or not {"fingerprint", "lineage", "version"} <= stated.keys():
        raise ValueError(f"{path} is no corpus: its {IDENTITY_FILE} is damaged, write it again")
    if stated["version"] != FORMAT_VERSION:
        raise CorpusVersionError(
            f"{path} has format version {stated.get('version')}, this code reads {FORMAT_VERSION}: write it again"
        )
    return stated

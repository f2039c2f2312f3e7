"""A small embedded world and a small null world, simulated once for all tests of this folder."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from plantgfm.formats.fasta import read_fasta
from plantgfm.formats.gff3 import read_gff3
from plantgfm.formats.manifest import read_manifest
from plantgfm.formats.tables import read_tsv
from plantgfm.schema import Assembly, Feature, Record
from plantgfm.sequence import reverse_complement
from plantgfm.simulate.config import NullConfig, WorldConfig
from plantgfm.simulate.null import simulate_null
from plantgfm.simulate.world import simulate_world

SMALL = {"genome_size_bp": 100_000, "species": 10}


@dataclass
class Files:
    """A world as a reader of its files sees it."""

    path: Path
    assemblies: dict[str, Assembly]  # sound ones by species, the held-out one among them
    records: dict[str, dict[str, Record]]  # by species and name

    def features(self, species: str, *, place: str = "annotation") -> list[Feature]:
        stem = species.lower().replace(" ", "_")
        lengths = {name: record.length_bp for name, record in self.records[species].items()}
        return read_gff3(self.path / place / f"{stem}.gff3.gz", lengths=lengths)

    def cut(self, species: str, name: str, start: int, end: int, strand: str) -> np.ndarray:
        codes = self.records[species][name].codes[start:end]
        return reverse_complement(codes) if strand == "-" else codes

    def table(self, name: str) -> list[dict[str, str]]:
        return read_tsv(self.path / "truth" / name)


def open_files(path: Path) -> Files:
    assemblies = {}
    for table in ("manifest.csv", "held_out.csv"):
        for one in read_manifest(path / table):
            if one.annotation is not None:
                assemblies[one.species] = one
    records = {species: {r.name: r for r in read_fasta(one.fasta)} for species, one in assemblies.items()}
    return Files(path, assemblies, records)


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Files:
    return open_files(simulate_world(WorldConfig(**SMALL), tmp_path_factory.mktemp("worlds") / "world"))


@pytest.fixture(scope="session")
def null(tmp_path_factory) -> Files:
    config = NullConfig(species=3, genome_size_bp=400_000)
    return open_files(simulate_null(config, tmp_path_factory.mktemp("nulls") / "null"))


def file_bytes(path: Path) -> dict[str, bytes]:
    return {str(one.relative_to(path)): one.read_bytes() for one in sorted(path.rglob("*")) if one.is_file()}


def words(codes: np.ndarray, k: int) -> set[int]:
    """Canonical k-mers of the known stretches, as numbers: a check that shares no code with the package."""
    out = set()
    for strand in (codes, reverse_complement(codes)):
        strand = strand.astype(np.int64) & 7
        number = np.zeros(strand.size - k + 1, dtype=np.int64)
        for place in range(k):
            number = number * 4 + np.minimum(strand[place : strand.size - k + 1 + place], 3)
        known = np.convolve(strand > 3, np.ones(k), "valid") == 0
        out |= set(number[known].tolist())
    return out


def containment(part: set[int], whole: set[int]) -> float:
    return len(part & whole) / len(part)

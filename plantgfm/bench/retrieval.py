"""Peak memory of a search over targets of 15 and 60 Mb, and its speed: `python -m plantgfm.bench retrieval`.

Sequence and vectors are random, as neither memory nor time depends on what they say. Every search runs in a process of
its own, which has not written what it reads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from plantgfm.bench.alone import alone
from plantgfm.bench.timing import row
from plantgfm.embedding.embed import Embedded
from plantgfm.embedding.store import write_vectors
from plantgfm.embedding.tiles import Tile
from plantgfm.formats.fasta import write_fasta
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.queries import Query
from plantgfm.retrieval.retrieve import sequence_sources, weights_of
from plantgfm.retrieval.search import search
from plantgfm.retrieval.sources import EMBEDDING, EmbeddingSource, QueryVectors
from plantgfm.retrieval.targets import Targets
from plantgfm.schema import Record
from plantgfm.sequence import Interval

TARGETS_MB = (15, 60)
_WINDOW_BP, _STRIDE_BP, _WIDTH = 1_536, 768, 256
_CONTIG_MB = 5
_QUERIES, _QUERY_BP = 20, 2_000
_BLOCK = 256


def run() -> list[dict[str, object]]:
    """Peak memory of the search alone, over that of a process that has only loaded the code, and seconds."""
    rows, used = [], {}
    with tempfile.TemporaryDirectory() as name:
        base, _ = alone(_nothing, Path(name))
        for megabases in TARGETS_MB:
            folder = Path(name) / str(megabases)
            folder.mkdir()
            alone(_written, folder)
            peak, seconds = alone(_searched, folder)
            used[megabases] = peak - base
            what = f"search of {megabases} Mb, {_QUERIES} queries"
            rows.append(row(f"{what}: memory above the code's", peak - base, "MiB"))
            rows.append(row(f"{what}: time", seconds, "s"))
    rows.append(row("memory, 60 Mb against 15 Mb", used[60] / used[15], "x"))
    return rows


def _nothing(folder: Path) -> None:
    """Loads the code, and compiles it on a small target."""
    small = folder / "small"
    small.mkdir()
    _write(small, contigs=1, contig_bp=50_000)
    _searched(small)


def _written(folder: Path) -> None:
    _write(folder, contigs=int(folder.name) // _CONTIG_MB, contig_bp=_CONTIG_MB * 1_000_000)


def _write(folder: Path, *, contigs: int, contig_bp: int) -> None:
    rng = np.random.default_rng(0)
    records = [
        Record(f"c{i}", "", rng.integers(0, 4, contig_bp).astype(np.uint8), np.zeros((0, 2), np.int64))
        for i in range(contigs)
    ]
    write_fasta(folder / "target.fa", records)
    intervals = [
        Interval(record.name, start, start + _WINDOW_BP)
        for record in records
        for start in range(0, contig_bp - _WINDOW_BP + 1, _STRIDE_BP)
    ]

    def blocks() -> Iterator[Embedded]:
        for first in range(0, len(intervals), _BLOCK):
            tiles = [Tile(one, np.zeros(1, np.uint8), partial=False) for one in intervals[first : first + _BLOCK]]
            yield Embedded(tiles, rng.normal(size=(len(tiles), _WIDTH)).astype(np.float32), 0)

    write_vectors(folder / "v.parquet", blocks(), width=_WIDTH, origin={})


def _searched(folder: Path) -> None:
    rng, config = np.random.default_rng(1), RetrievalConfig()
    queries = [Query(f"q{i}", _QUERY_BP, [rng.integers(0, 4, _QUERY_BP).astype(np.uint8)]) for i in range(_QUERIES)]
    sides = (rng.normal(size=(_QUERIES, _WIDTH)).astype(np.float32) for _ in range(2))
    weights = weights_of(config, bases=True)
    sources = {EMBEDDING: EmbeddingSource(QueryVectors(np.arange(_QUERIES), *sides), config)}
    sources |= sequence_sources(queries, weights, votes=config.share_votes)
    targets = Targets.open(folder / "v.parquet", fasta=(folder / "target.fa",))
    search(targets, sources, weights=weights, n_queries=_QUERIES, n_counted=_QUERIES, top_k=50)

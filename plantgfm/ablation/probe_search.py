"""Retrieval as a probe: orthologs of a small set of queries, searched by vectors alone, beside k-mers and chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plantgfm.ablation.config import ProbeConfig
from plantgfm.ablation.probe_data import Pool
from plantgfm.embedding.tiles import Tile, tile_records
from plantgfm.formats.fasta import read_fasta
from plantgfm.formats.manifest import read_manifest
from plantgfm.formats.numbers import whole
from plantgfm.formats.tables import read_rows
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.evaluate import CHANCE, Truth, evaluate_retrieval, read_truth
from plantgfm.retrieval.queries import Query, query_of
from plantgfm.retrieval.search import search
from plantgfm.retrieval.sources import CompositionSource, EmbeddingSource, GcSource, QueryVectors, Source
from plantgfm.retrieval.targets import Targets
from plantgfm.schema import Record
from plantgfm.sequence import BASE_MASK, reverse_complement

RECALL_AT = 10
_WORLD = {"truth": "truth/orthologs.tsv", "target": "held_out.csv", "queries": "manifest.csv"}


@dataclass(frozen=True)
class SearchInputs:
    """Queries, where they lie in the target, and the target; a world's own where `world` is given instead."""

    queries: Path | None = None  # FASTA
    truth: Path | None = None
    target: Path | None = None  # FASTA
    world: Path | None = None  # folder of a simulated world

    def __post_init__(self):
        given = [self.queries, self.truth, self.target]
        if any(given) and not all(given):
            raise ValueError(
                "--queries, --truth and --target go together: what is sought, where it lies, where to look"
            )


@dataclass(frozen=True, eq=False)
class Hunt:
    """A search that is ready but for vectors."""

    queries: list[Query]  # of one window each
    truth: Truth
    windows: Pool  # of the target
    asked: tuple[Pool, Pool]  # queries forward, and their reverse complements
    tiles: list[Tile]
    target: Path
    note: str

    def targets(self, vectors: np.ndarray) -> Targets:
        """The target's windows with some vectors."""
        intervals = [tile.interval for tile in self.tiles]
        numbers = {name: at for at, name in enumerate(dict.fromkeys(one.sequence for one in intervals))}
        return Targets(
            list(numbers),
            np.array([numbers[one.sequence] for one in intervals], np.int32),
            np.array([one.start for one in intervals], np.int64),
            np.array([one.end for one in intervals], np.int64),
            np.array([tile.repeat_fraction for tile in self.tiles], np.float32),
            {},
            vectors.astype(np.float32),
            (self.target,),
        )


def open_hunt(inputs: SearchInputs, *, window_bp: int, config: ProbeConfig) -> Hunt:
    """Read queries, truth and the first part of the target.

    Raises:
        ValueError: when files are absent or malformed, or fewer than 5 queries have their place in that part.
    """
    if inputs.queries is None:
        target, records, labels = _of_world(inputs.world)
    else:
        target, records, labels = inputs.target, list(read_fasta(inputs.queries)), inputs.truth
    tiles = list(_first(tile_records(read_fasta(target), window_bp=window_bp, stride_bp=window_bp), config.target_bp))
    ends: dict[str, int] = {}
    for tile in tiles:
        ends[tile.interval.sequence] = tile.interval.end
    truth = read_truth(labels, target_sequences=set(ends))
    placed = {
        name: inside
        for name, places in truth.by_query.items()
        if (inside := [one for one in places if one.where.end <= ends[one.where.sequence]])
    }
    sought = [record for record in records if record.name in placed][: config.queries]
    if len(sought) < 5:
        raise ValueError(
            f"{len(sought)} queries have a place in the first {config.target_bp:,} bp of {target}: 5 are the least"
        )
    queries = [query_of(_cut(record, window_bp), window_bp=window_bp) for record in sought]
    forward = [query.windows[0] for query in queries]
    asked = (Pool("queries", forward), Pool("queries, reversed", [reverse_complement(codes) for codes in forward]))
    bp = sum(tile.bases.size for tile in tiles)
    note = f"{len(queries)} queries, {len(tiles):,} windows of {window_bp:,} bp in {bp:,} bp of {target.name}"
    windows = Pool("target", [tile.bases & np.uint8(BASE_MASK) for tile in tiles])
    truth = Truth({query.name: placed[query.name] for query in queries})
    return Hunt(queries, truth, windows, asked, tiles, target, note)


def _first(tiles: Iterator[Tile], most_bp: int) -> Iterator[Tile]:
    done = 0
    for tile in tiles:
        if done >= most_bp:
            return
        done += tile.bases.size
        yield tile


def _cut(record: Record, window_bp: int) -> Record:
    return Record(record.name, record.description, record.codes[:window_bp], np.zeros((0, 2), np.int64))


def _of_world(world: Path | None) -> tuple[Path, list[Record], Path]:
    """The held-out species of a simulated world, genes of the species that shares most with it, and their places."""
    if world is None:
        raise ValueError("no queries were given, and the corpus is no simulated world that has its own")
    paths = {name: world / file for name, file in _WORLD.items()}
    if missing := [path for path in paths.values() if not path.is_file()]:
        raise ValueError(f"{missing[0]} is not there: this world has no orthologs to look for")
    _, rows = read_rows(paths["truth"])
    species = Counter(row["query_species"] for _, row in rows).most_common(1)[0][0]
    fasta = next(one.fasta for one in read_manifest(paths["queries"]) if one.species == species)
    genome = {record.name: record.codes for record in read_fasta(fasta)}
    records: dict[str, Record] = {}
    for _, row in rows:
        if row["query_species"] == species and row["query_chr"] in genome:
            start, end = whole(row["query_start"], "query_start"), whole(row["query_end"], "query_end")
            codes = genome[row["query_chr"]][start:end]
            codes = reverse_complement(codes) if row["query_strand"] == "-" else codes
            records.setdefault(row["gene_id"], Record(row["gene_id"], "", codes, np.zeros((0, 2), np.int64)))
    return read_manifest(paths["target"])[0].fasta, list(records.values()), paths["truth"]


def reciprocal_ranks(
    hunt: Hunt, vectors: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Ranks of the first true window of each query, 0 beyond 50, [rankings, Q]: by vectors, k-mers, GC and chance.

    Args:
        hunt: what to look for.
        vectors: by method, of the target's windows, of the queries, of their reverse complements.
    """
    config = RetrievalConfig(null_queries=0)
    owner, size = np.arange(len(hunt.queries)), {"n_queries": len(hunt.queries), "n_counted": len(hunt.queries)}
    rankings = {}
    for name, (windows, forward, backward) in vectors.items():
        sources: dict[str, Source] = {name: EmbeddingSource(QueryVectors(owner, forward, backward), config)}
        found = search(hunt.targets(windows), sources, weights={}, top_k=config.deepest_rank, **size)
        rankings |= found.rankings
    plain = hunt.targets(np.zeros((len(hunt.tiles), 1), np.float32))
    own = {f"{k}-mer cosine": CompositionSource(hunt.queries, k=k) for k in (6, 4)} | {"GC": GcSource(hunt.queries)}
    rankings |= search(plain, own, weights={}, top_k=config.deepest_rank, **size).rankings
    names, first = [query.name for query in hunt.queries], next(iter(vectors))
    found = evaluate_retrieval(rankings, names, targets=plain, truth=hunt.truth, config=config, model=first)
    chance = found.ranks.pop(CHANCE)
    return {**found.ranks, CHANCE: chance}

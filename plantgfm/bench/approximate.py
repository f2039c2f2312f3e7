"""Search by an approximate index beside exact search: `python -m plantgfm.bench approximate`.

Vectors in clusters, queries near to some of them, the embedding alone, from a file on disk to rankings, debiasing
included; `PLANTGFM_BENCH_WINDOWS` says how many vectors. The first search builds the index, the others find it. Seconds
are of CPU, faiss's process included, as what else runs on a machine changes them least. Needs the extra `index`.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from plantgfm.bench.alone import peak_mib
from plantgfm.bench.timing import row
from plantgfm.embedding.embed import Embedded
from plantgfm.embedding.store import write_vectors
from plantgfm.embedding.tiles import Tile
from plantgfm.retrieval.approximate import search_by_index
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.index import has_library
from plantgfm.retrieval.search import FUSED, search
from plantgfm.retrieval.sources import EMBEDDING, EmbeddingSource, QueryVectors
from plantgfm.retrieval.targets import BLOCK_ROWS, Targets
from plantgfm.sequence import Interval

WINDOWS, WIDTH, BEST, QUERIES = 200_000, 512, 50, (4, 1_000)
_A_CLUSTER, _NOISE, _QUERY_NOISE = 50, 0.7, 0.5  # windows in a cluster; noise beside centres of variance 1


def run(*, queries: tuple[int, ...] = QUERIES) -> list[dict[str, object]]:
    """CPU seconds of both searches, their ratio, peak memory, and the share of the exact hits that the index finds."""
    if not has_library():
        raise ValueError("the bench approximate needs another package: pip install 'plantgfm[index]'")
    windows, rows = int(os.environ.get("PLANTGFM_BENCH_WINDOWS", WINDOWS)), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, windows=windows, queries=max(queries))
        seconds, peak, _ = _alone(partial(_by_index, folder, min(queries)))
        rows.append(row(f"index of {windows:,} x {WIDTH}: built and searched", seconds, "s"))
        rows.append(row(f"index of {windows:,} x {WIDTH}: peak memory beside faiss's process", peak, "MiB"))
        for n in queries:
            what = f"top {BEST} of {n:,} queries against {windows:,} x {WIDTH}"
            exact, _, wanted = _alone(partial(_exactly, folder, n))
            quick, _, found = _alone(partial(_by_index, folder, n))
            rows += [row(f"{what}: exact", exact, "s"), row(f"{what}: index", quick, "s")]
            rows.append(row(f"{what}: index against exact", quick / exact, "x"))
            recall = np.mean([np.isin(one, other).mean() for one, other in zip(wanted, found)])
            rows.append(row(f"{what}: recall of the index", float(recall), ""))
    return rows


def _write(folder: Path, *, windows: int, queries: int) -> None:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((max(windows // _A_CLUSTER, 1), WIDTH), np.float32)

    def blocks() -> Iterator[Embedded]:
        for first in range(0, windows, BLOCK_ROWS):
            rows = range(first, min(first + BLOCK_ROWS, windows))
            vectors = centres[rng.integers(0, len(centres), len(rows))]
            vectors += _NOISE * rng.standard_normal(vectors.shape, np.float32)
            tiles = [Tile(Interval("1", 9 * i, 9 * i + 9), np.zeros(0, np.uint8), partial=False) for i in rows]
            yield Embedded(tiles, vectors, 0)

    write_vectors(folder / "v.parquet", blocks(), width=WIDTH, origin={})
    near = centres[rng.integers(0, len(centres), queries)]
    near += _QUERY_NOISE * rng.standard_normal(near.shape, np.float32)
    np.save(folder / "q.npy", np.stack([near, rng.standard_normal(near.shape, np.float32)]))


def _alone(work: partial) -> tuple[float, float, list[np.ndarray]]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (work,))


def _measured(work: partial) -> tuple[float, float, list[np.ndarray]]:
    began = _cpu_seconds()
    found = work()
    return _cpu_seconds() - began, peak_mib(), found


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _asked(folder: Path, n: int) -> EmbeddingSource:
    sides = np.load(folder / "q.npy")[:, :n]
    return EmbeddingSource(QueryVectors(np.arange(n), *sides), RetrievalConfig())


def _exactly(folder: Path, n: int) -> list[np.ndarray]:
    sources, sizes = {EMBEDDING: _asked(folder, n)}, {"n_queries": n, "n_counted": n, "top_k": BEST}
    found = search(Targets.open(folder / "v.parquet"), sources, weights={EMBEDDING: 1.0}, **sizes)
    return found.rankings[FUSED].rows


def _by_index(folder: Path, n: int) -> list[np.ndarray]:
    sizes = {"n_queries": n, "n_counted": n, "top_k": BEST}
    recall = RetrievalConfig().index_recall
    found = search_by_index(Targets.open(folder / "v.parquet"), _asked(folder, n), recall=recall, **sizes)
    return found.rankings[FUSED].rows

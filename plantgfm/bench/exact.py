"""Exact search, the best 50 of all vectors a query, against faiss's flat index: `python -m plantgfm.bench exact`.

Ours is what retrieval ranks windows with: products of blocks, and a heap a query. Each search runs in a process of its
own, as faiss is several times slower in one that holds JAX; they take turns, and the quickest of five counts. Without
faiss (extra `index`) ours stands alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np

from plantgfm.bench.timing import row
from plantgfm.retrieval.search import Top
from plantgfm.retrieval.targets import BLOCK_ROWS

VECTORS, QUERIES, WIDTH, BEST = 1_000_000, 1_000, 512, 50
ROUNDS, BAR = 5, 1.25
_PART = 50_000


def run(*, vectors: int = VECTORS, queries: int = QUERIES) -> list[dict[str, object]]:
    """Seconds of the quickest search of each, their ratio, and the share of rows that both name."""
    contenders = {"plantgfm": _ours} | ({"faiss": _faiss} if importlib.util.find_spec("faiss") else {})
    best, found = dict.fromkeys(contenders, float("inf")), {}
    with tempfile.TemporaryDirectory() as name:
        _write(Path(name), vectors=vectors, queries=queries)
        for _ in range(ROUNDS):
            for contender, work in contenders.items():
                seconds, found[contender] = _alone(work, Path(name))
                best[contender] = min(best[contender], seconds)
    what = f"exact top {BEST} of {queries:,} queries against {vectors:,} x {WIDTH}"
    rows = [row(f"{what}: {contender}", seconds, "s") for contender, seconds in best.items()]
    if "faiss" in best:
        rows.append(row(f"{what}: plantgfm against faiss", best["plantgfm"] / best["faiss"], "x", BAR))
        same = np.mean([np.isin(one, other).mean() for one, other in zip(found["plantgfm"], found["faiss"])])
        rows.append(row(f"{what}: rows that both name", float(same), ""))
    return rows


def _write(folder: Path, *, vectors: int, queries: int) -> None:
    rng = np.random.default_rng(0)
    stored = np.lib.format.open_memmap(folder / "v.npy", "w+", np.float32, (vectors, WIDTH))
    for first in range(0, vectors, _PART):
        part = stored[first : first + _PART]
        part[:] = _unit(rng.standard_normal(part.shape, np.float32))
    np.save(folder / "q.npy", _unit(rng.standard_normal((queries, WIDTH), np.float32)))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _alone(work, folder: Path) -> tuple[float, np.ndarray]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (folder,))


def _ours(folder: Path) -> tuple[float, np.ndarray]:
    vectors, queries = np.load(folder / "v.npy"), np.load(folder / "q.npy")
    _ranked(vectors[:BLOCK_ROWS], queries[:2])  # compiles
    began = time.perf_counter()
    found = _ranked(vectors, queries)
    return time.perf_counter() - began, found


def _ranked(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    top = Top(len(queries), BEST)
    for first in range(0, len(vectors), BLOCK_ROWS):
        block = vectors[first : first + BLOCK_ROWS]
        top.add(queries @ block.T, np.arange(first, first + len(block)))
    return np.stack([top.best(query)[0] for query in range(len(queries))])


def _faiss(folder: Path) -> tuple[float, np.ndarray]:
    faiss = importlib.import_module("faiss")
    queries, index = np.load(folder / "q.npy"), faiss.IndexFlatIP(WIDTH)
    index.add(np.load(folder / "v.npy", mmap_mode="r"))  # it copies what it is given, which memory need not hold twice
    index.search(queries[:2], BEST)
    began = time.perf_counter()
    _, found = index.search(queries, BEST)
    return time.perf_counter() - began, found

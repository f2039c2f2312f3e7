"""An inverted file of unit vectors by faiss (MIT licence), in a process of its own.

faiss brings an OpenMP of its own: it runs several times slower in a process that holds JAX, and crashes beside that of
PyTorch on macOS. So this file is run as a program, imports neither, nor any other part of plantgfm, and takes requests
as lines of JSON on its standard input; arrays pass as .npy files. Vectors are stored in lists, one around each of some
centroids, with 8 bits a dimension; a query reads the lists of the centroids nearest to it (Jegou et al. 2011, TPAMI;
Douze et al. 2024, arXiv:2401.08281). One thread builds, and every query is searched by one thread, so that results do
not depend on how many there are.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faiss
import numpy as np
from faiss.contrib.ondisk import merge_ondisk

_ITERATIONS, _SEED = 10, 1234
_CHUNK = 64  # queries that a thread takes at a time


class Work:
    """What can be asked for, by name."""

    def __init__(self) -> None:
        self._shard: Any = None
        self._opened: tuple[str, Any] = "", None

    def hello(self) -> dict[str, str]:
        """Which faiss this is."""
        return {"library": f"faiss {faiss.__version__}"}

    def train(self, *, sample: str, lists: int, out: str) -> None:
        """Choose centroids, and the ranges of the 8 bits, by a sample of the vectors."""
        vectors = np.load(sample)
        index = faiss.index_factory(vectors.shape[1], f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        index.cp.niter, index.cp.seed = _ITERATIONS, _SEED
        index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, len(vectors)  # all of the sample
        index.train(vectors)
        faiss.write_index(index, out)

    def add(self, *, trained: str, vectors: str, first: int) -> None:
        """Take vectors into the open shard, which is begun where none is; the first of them has this number."""
        self._shard = self._shard or faiss.read_index(trained)
        rows = np.load(vectors)
        self._shard.add_with_ids(rows, np.arange(first, first + len(rows)))

    def close(self, *, out: str) -> None:
        """Write the open shard."""
        faiss.write_index(self._shard, out)
        self._shard = None

    def merge(self, *, trained: str, shards: list[str], lists: str, out: str) -> None:
        """Join shards: the lists into a file that is read where it lies, the rest into another."""
        index = faiss.read_index(trained)
        merge_ondisk(index, shards, lists)
        faiss.write_index(index, out)

    def search(self, *, index: str, queries: str, best: int, probes: int, rows: str, scores: str) -> None:
        """Rows of the best vectors of every query, -1 for none, and their scores by the stored 8 bits."""
        if self._opened[0] != index:
            self._opened = index, faiss.read_index(index, faiss.IO_FLAG_ONDISK_SAME_DIR)
        asked, opened = np.load(queries), self._opened[1]

        def found(first: int) -> tuple[np.ndarray, np.ndarray]:
            return opened.search(asked[first : first + _CHUNK], best, params=faiss.SearchParametersIVF(nprobe=probes))

        with ThreadPoolExecutor(_cores()) as threads:
            parts = list(threads.map(found, range(0, len(asked), _CHUNK)))
        np.save(scores, np.concatenate([part[0] for part in parts]))
        np.save(rows, np.concatenate([part[1] for part in parts]))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main() -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks is interrupted, and closes the input
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # faiss prints
    work = Work()
    for line in sys.stdin:
        request = json.loads(line)
        method: Callable[..., dict[str, str] | None] = getattr(work, request.pop("do"))
        try:
            reply = method(**request) or {}
        except (RuntimeError, OSError, ValueError, MemoryError) as error:  # faiss raises the first
            reply = {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()

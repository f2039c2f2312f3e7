"""The approximate index of a target's vectors: built block by block, kept beside them, gone on with after a stop.

`vectors.parquet.index/<key>/` holds it, the key being a fingerprint of the vectors, of what is taken off them (debiased
vectors are stored) and of the index's own settings. What is built lies in a folder whose name begins with a dot.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from plantgfm.formats.streams import atomic_binary, atomic_text
from plantgfm.identity import fingerprint, plain, read_json
from plantgfm.retrieval.config import IndexUse
from plantgfm.retrieval.debias import Moments
from plantgfm.retrieval.sources import EmbeddingSource
from plantgfm.retrieval.targets import BLOCK_ROWS, Targets

INDEX_VERSION = 1
_ABOUT, _MOMENTS, _NORMS = "about.json", "moments.npz", "norms.npy"
_TRAINED, _INDEX, _LISTS = "trained.faiss", "index.faiss", "lists.ivfdata"
_MOST_LISTS, _WINDOWS_A_LIST = 4_096, 40  # of the sample that centroids are fitted on; 39 is what faiss asks for
_SHARD_BLOCKS = 32  # windows at a time that a stopped build does not do again, in blocks


def has_library() -> bool:
    """Whether faiss is installed."""
    return importlib.util.find_spec("faiss") is not None


class IndexProcess:
    """`index_process.py`, running; ends with its context."""

    def __enter__(self) -> IndexProcess:
        self._said = tempfile.TemporaryFile("w+")
        self._child = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("index_process.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[0] is not None:
            self._child.kill()
        with suppress(BrokenPipeError):  # it is gone already
            self._child.stdin.close()
        self._child.wait()
        self._child.stdout.close()
        self._said.close()

    def ask(self, do: str, **values: object) -> dict[str, str]:
        """One request and its reply.

        Raises:
            ValueError: when faiss refuses, or the process is gone.
        """
        try:
            self._child.stdin.write(json.dumps({"do": do, **plain(values)}) + "\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            status = self._child.wait()
            self._said.seek(0)
            last = (self._said.read().strip().splitlines() or ["it said nothing"])[-1]
            raise ValueError(f"faiss ended ({status}) when asked to {do} ({last}): retrieval.index=EXACT needs none")
        reply = json.loads(line)
        if "error" in reply:
            raise ValueError(f"faiss could not {do} ({reply['error']}): retrieval.index=EXACT needs none")
        return reply


@dataclass(frozen=True)
class Index:
    """An index that can be searched."""

    folder: Path
    norms: Float32[np.ndarray, "N"]  # of the corrected vectors, before they are made of length 1; 0: a null vector
    lists: int
    library: str

    def search(
        self, process: IndexProcess, views: Float32[np.ndarray, "V D"], *, best: int, probes: int
    ) -> tuple[Int64[np.ndarray, "V best"], Float32[np.ndarray, "V best"]]:
        """Rows of the best windows for every vector of a query, -1 for none, and scores near to cosines.

        Args:
            process: that faiss runs in.
            views: of length 1.
            best: how many.
            probes: how many lists are read.
        """
        with tempfile.TemporaryDirectory() as name:
            files = {kind: Path(name) / f"{kind}.npy" for kind in ("queries", "rows", "scores")}
            np.save(files["queries"], views)
            try:
                process.ask("search", index=self.folder / _INDEX, best=best, probes=probes, **files)
            except ValueError as error:
                raise ValueError(f"{error}; where it is damaged, remove {self.folder}") from None
            return np.load(files["rows"]), np.load(files["scores"])


@dataclass(frozen=True)
class Approximation:
    """How windows were found where not all were compared."""

    library: str
    lists: int
    probes: int  # lists that were read for each vector
    recall: float  # of the exact hits
    recall_at: int  # hits a query
    measured_on: int  # queries; others than those that `probes` was chosen by, where there are two
    sample: Targets  # windows that mean, spread and the distribution of cosines come from

    def told(self) -> dict[str, object]:
        """For the manifest."""
        return {
            "index": IndexUse.APPROXIMATE.value,
            "library": self.library,
            "lists": self.lists,
            "lists_read": self.probes,
            "recall": round(self.recall, 4),
            "recall_at": self.recall_at,
            "recall_measured_on_queries": self.measured_on,
            "background_windows": len(self.sample),
        }

    def note(self) -> str:
        """For a reader of the hits."""
        return (
            f"windows found by an approximate index ({self.library}), {self.probes:,} of {self.lists:,} lists read: "
            f"{self.recall:.1%} of the exact first {self.recall_at} ({self.measured_on} of the queries); mean and "
            f"spread of scores from {len(self.sample):,} windows"
        )


@contextmanager
def home_of(targets: Targets) -> Iterator[Path]:
    """The folder for indices of a target: beside its vectors; of vectors that are in memory, a temporary one."""
    if isinstance(targets.source, Path):
        home = targets.source.with_name(targets.source.name + ".index")
        try:
            home.mkdir(exist_ok=True)
        except OSError as error:
            raise ValueError(f"{home} can't be written ({error.strerror}): give retrieval.index=EXACT") from None
        yield home
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def spread_rows(n: int, most: int) -> Int64[np.ndarray, "m"]:
    """Rows that lie evenly over n of them, all where there are no more than asked for."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))


def _stamp(targets: Targets) -> str:
    """What tells the vectors of a target from others."""
    if not isinstance(targets.source, Path):
        return "in memory"
    path = targets.source
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    stats = [one.stat() for one in files]
    return fingerprint([targets.origin, len(targets), sum(s.st_size for s in stats), max(s.st_mtime_ns for s in stats)])


def lists_of(n: int) -> int:
    """How many lists an index of n windows has: the square root, as far as the sample for centroids stays small."""
    return max(1, min(int(n**0.5), _MOST_LISTS))


def open_index(
    targets: Targets,
    source: EmbeddingSource,
    home: Path,
    process: IndexProcess,
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> Index:
    """The index of a target, from disk or built; the source then knows the target's moments.

    Two processes that want the same one build it once: the other waits.
    """
    library, config = process.ask("hello")["library"], source.config
    asked = [hashlib.sha256(side).hexdigest() for side in source.fitted_on]
    about = {
        "version": INDEX_VERSION,
        "library": library,
        "vectors": _stamp(targets),
        "debias": [config.components, config.whiten, config.ridge, config.fit_on.value, *asked],
        "lists": lists_of(len(targets)),
    }
    folder, work = (home / f"{dot}{fingerprint(about)}" for dot in ("", "."))
    with (home / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / _ABOUT).is_file():
            _drop_old(home, about["vectors"])
            _begin(work, about)
            _Build(targets, source, work, process, progress).run(about["lists"])
            work.rename(folder)
    source.moments = Moments.read(folder / _MOMENTS)
    return Index(folder, np.load(folder / _NORMS), about["lists"], library)


def _drop_old(home: Path, vectors: str) -> None:
    """Remove indices of vectors that this file does not hold any more."""
    for other in home.iterdir():
        about = other / _ABOUT
        if about.is_file() and read_json(about, remedy=f"remove {other}").get("vectors") != vectors:
            shutil.rmtree(other)


def _begin(work: Path, about: dict[str, Any]) -> None:
    work.mkdir(exist_ok=True)
    with atomic_text(work / _ABOUT) as stream:
        stream.write(json.dumps(about, indent=2, sort_keys=True) + "\n")


class _Build:
    """The steps of an index; each leaves a file that takes its name when it is whole, and is not done again."""

    def __init__(
        self,
        targets: Targets,
        source: EmbeddingSource,
        work: Path,
        process: IndexProcess,
        progress: Callable[[str, int, int], None] | None,
    ):
        self._targets, self._source, self._work, self._process = targets, source, work, process
        self._progress, self._done = progress, 0

    def run(self, lists: int) -> None:
        """All that is not there yet."""
        work = self._work
        if not (work / _TRAINED).is_file() or not (work / _MOMENTS).is_file():
            self._train(lists)
        self._source.moments = Moments.read(work / _MOMENTS)
        shards = self._shards()
        self._process.ask("merge", trained=work / _TRAINED, shards=shards, lists=work / _LISTS, out=work / _INDEX)
        with atomic_binary(work / _NORMS) as stream:
            np.save(stream, np.concatenate([np.load(shard.with_suffix(".npy")) for shard in shards]))
        for shard in shards:
            shard.unlink()
            shard.with_suffix(".npy").unlink()

    def _train(self, lists: int) -> None:
        """Moments of the target, and centroids by a sample of its corrected vectors."""
        rows, kept = spread_rows(len(self._targets), lists * _WINDOWS_A_LIST), []
        for block in self._targets.blocks():
            self._source.fit(block)
            kept.append(block.vectors[rows[(rows >= block.rows[0]) & (rows <= block.rows[-1])] - block.rows[0]])
            self._tell(block.rows.size)
        try:
            debias = self._source.debias
        except ValueError:  # too few windows for what is taken off them
            shutil.rmtree(self._work)
            raise
        self._source.moments.write(self._work / _MOMENTS)
        sample, part = self._work / "sample.npy", self._work / "trained.part"
        vectors = np.concatenate(kept)
        for first in range(0, len(vectors), BLOCK_ROWS):
            piece = vectors[first : first + BLOCK_ROWS]
            piece[:] = debias.apply(piece)
        np.save(sample, vectors)
        self._process.ask("train", sample=sample, lists=lists, out=part)
        part.rename(self._work / _TRAINED)
        sample.unlink()

    def _shards(self) -> list[Path]:
        """Indices of the windows, some blocks each, and beside each of them the norms of its vectors."""
        piece, norms, shards = self._work / "piece.npy", [], []
        for number, block in enumerate(self._targets.blocks()):
            shard = self._work / f"{number // _SHARD_BLOCKS:06d}.shard"
            if not shard.is_file():
                unit, lengths = self._source.debias.apply_with_norms(block.vectors)
                norms.append(lengths)
                np.save(piece, unit)
                self._process.ask("add", trained=self._work / _TRAINED, vectors=piece, first=int(block.rows[0]))
                if (number + 1) % _SHARD_BLOCKS == 0 or block.rows[-1] + 1 == len(self._targets):
                    self._close(shard, np.concatenate(norms))
                    norms = []
            if shard not in shards:
                shards.append(shard)
            self._tell(block.rows.size)
        piece.unlink(missing_ok=True)
        return shards

    def _close(self, shard: Path, norms: Float32[np.ndarray, "n"]) -> None:
        with atomic_binary(shard.with_suffix(".npy")) as stream:
            np.save(stream, norms)
        part = shard.with_suffix(".part")
        self._process.ask("close", out=part)
        part.rename(shard)  # the norms are there

    def _tell(self, rows: int) -> None:
        self._done += rows
        if self._progress is not None:
            self._progress("index", self._done, 2 * len(self._targets))

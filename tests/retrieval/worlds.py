"""Small targets for the tests of retrieval."""

import numpy as np

from plantgfm.embedding.store import VectorTable
from plantgfm.formats.fasta import write_fasta
from plantgfm.retrieval.search import Ranking, Top, merged_rows
from plantgfm.retrieval.targets import Targets
from plantgfm.sequence import Interval
from tests.fixtures import record


def windows(intervals, vectors=None, repeats=None, fasta=()):
    """Targets over intervals, with vectors where a test needs them."""
    n = len(intervals)
    vectors = np.zeros((n, 2), np.float32) if vectors is None else vectors
    repeats = np.zeros(n) if repeats is None else repeats
    return Targets.of(VectorTable(intervals, vectors, np.zeros(n, bool), repeats, {}), fasta=fasta)


def tiled(folder, sequences, *, width, stride, seed=0, d=8):
    """Targets over named sequences, a FASTA of them, and random vectors."""
    write_fasta(folder / "target.fa", [record(name, codes) for name, codes in sequences.items()])
    intervals = [
        Interval(name, start, start + width)
        for name, codes in sequences.items()
        for start in range(0, codes.size - width + 1, stride)
    ]
    vectors = np.random.default_rng(seed).normal(size=(len(intervals), d)).astype(np.float32)
    return windows(intervals, vectors, fasta=(folder / "target.fa",))


def ranking_of(scores, targets, *, top_k=50):
    """The ranking that a matrix of scores gives."""
    top = Top(len(scores), len(targets))
    top.add(np.asarray(scores, np.float64), np.arange(len(targets)))
    found = [top.best(query) for query in range(len(scores))]
    kept = [merged_rows(rows, targets, top_k=top_k) for rows, _ in found]
    return Ranking([rows[k] for (rows, _), k in zip(found, kept)], [values[k] for (_, values), k in zip(found, kept)])

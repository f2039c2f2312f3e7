"""The evaluation stream: where the truth lies, and how far down the ranks it was found, beside chance and baselines.

Labels enter here and nowhere else.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from plantgfm.formats.errors import FormatError
from plantgfm.formats.numbers import whole
from plantgfm.formats.streams import atomic_text
from plantgfm.formats.tables import read_rows
from plantgfm.identity import read_json
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.search import ranked_windows
from plantgfm.sequence import Interval

_NAMES = {"query": ("gene_id", "query"), "sequence": ("chr", "target_contig"), "start": ("start",), "end": ("end",)}
RECALL_AT = (1, 10, 50)


@dataclass(frozen=True)
class MethodScore:
    """How one method did over all queries that have a truth in the target; intervals by bootstrap over queries."""

    method: str
    queries: int
    recall: dict[int, float]  # K -> share of queries with a true window among the first K
    recall_low: dict[int, float]
    recall_high: dict[int, float]
    mean_reciprocal_rank: float
    mrr_low: float
    mrr_high: float


@dataclass(frozen=True)
class RetrievalEvaluation:
    """All methods on the same queries, and the paired difference of the model to each of them."""

    methods: list[MethodScore]
    ranks: dict[str, Int64[np.ndarray, "rankings Q"]]  # first true rank per query, 0 = not among the first top_k
    differences: dict[str, tuple[float, float, float]]  # method -> model minus method in MRR: mean, low, high
    queries_without_truth: int
    top_k: int  # how far down the ranks were read

    def recall_at(self, method: str, k: int) -> float:
        """Share of queries with a true window among the first k."""
        ranks = self.ranks[method]
        return float(np.mean((ranks > 0) & (ranks <= k)))

    def write(self, path: Path) -> None:
        """Write the figures as JSON, whole or not at all."""
        data = {
            "methods": [asdict(method) for method in self.methods],
            "ranks": {name: ranks.tolist() for name, ranks in self.ranks.items()},
            "mrr_difference_to": self.differences,
            "queries_without_truth": self.queries_without_truth,
            "top_k": self.top_k,
        }
        with atomic_text(path) as stream:
            stream.write(json.dumps(data, indent=2, sort_keys=True) + "\n")

    @staticmethod
    def read(path: Path) -> RetrievalEvaluation:
        """Read what `write` wrote; ValueError where the file is damaged."""
        remedy = "`plantgfm retrieve --truth` writes one"
        data = read_json(path, remedy=remedy)
        by_k = ("recall", "recall_low", "recall_high")
        try:
            methods = [
                MethodScore(**{**row, **{name: {int(k): v for k, v in row[name].items()} for name in by_k}})
                for row in data["methods"]
            ]
            ranks = {name: np.asarray(values, dtype=np.int64) for name, values in data["ranks"].items()}
            differences = {name: tuple(values) for name, values in data["mrr_difference_to"].items()}
            return RetrievalEvaluation(methods, ranks, differences, data["queries_without_truth"], data["top_k"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error!r}); {remedy}") from None


def read_truth(path: Path, *, target_sequences: set[str]) -> dict[str, list[Interval]]:
    """Truth intervals per query, for the sequences that were searched.

    Columns `gene_id` or `query`, `chr` or `target_contig`, `start`, `end`; coordinates 0-based and half-open.

    Raises:
        FormatError: for a table without these columns, or coordinates that are no numbers.
    """
    truth: dict[str, list[Interval]] = defaultdict(list)
    columns, rows = read_rows(path)
    named = [next((name for name in names if name in columns), None) for names in _NAMES.values()]
    if None in named:
        missing = " or ".join(list(_NAMES.values())[named.index(None)])
        raise FormatError(path, f"the truth table lacks a column: {missing}; found {', '.join(columns)}", line=1)
    for line, row in rows:
        query, sequence, start, end = (row[name] for name in named)
        try:
            where = Interval(sequence, whole(start, "start"), whole(end, "end"))
            if not query or not sequence or where.start >= where.end:
                raise ValueError(f"no base lies from {start} to {end}, or query or sequence has no name")
        except ValueError as error:
            message = f"bad coordinates: {error}; they are 0-based and half-open"
            raise FormatError(path, message, query or None, line) from None
        if sequence in target_sequences:
            truth[query].append(where)
    return dict(truth)


def rows_with_truth(names: list[str], truth: dict[str, list[Interval]]) -> list[int]:
    """The rows of the queries that have a true place.

    Raises:
        ValueError: when these are fewer than 5: no interval is worth printing.
    """
    rows = [row for row, name in enumerate(names) if truth.get(name)]
    if len(rows) < 5:
        raise ValueError(
            f"only {len(rows)} of {len(names)} queries have a true place in the target: at least 5 are needed"
        )
    return rows


def first_true_rank(
    scores: Float32[np.ndarray, "N"], intervals: list[Interval], truth: list[Interval], *, top_k: int
) -> int:
    """Rank, from 1, of the first kept window that overlaps a true interval; 0 when none of `top_k` does."""
    for rank, index in enumerate(ranked_windows(scores, intervals, top_k=top_k), start=1):
        window = intervals[index]
        if any(t.sequence == window.sequence and t.start < window.end and window.start < t.end for t in truth):
            return rank
    return 0


def evaluate_retrieval(
    methods: dict[str, Float32[np.ndarray, "Q N"]],
    names: list[str],
    *,
    intervals: list[Interval],
    truth: dict[str, list[Interval]],
    config: RetrievalConfig,
) -> RetrievalEvaluation:
    """Score methods on the same queries; "chance" is added, by random rankings through the same merging.

    Args:
        methods: scores per method, queries by windows; the first one is the model that others are compared with.
        names: query names, in the order of the rows.
        intervals: target windows, in the order of the columns.
        truth: true intervals per query; queries without one are left out and counted.
        config: top_k, bootstrap resamples, permutations, seed.

    Raises:
        ValueError: when fewer than 5 queries have a truth: no interval is worth printing.
    """
    rows = rows_with_truth(names, truth)
    rng = np.random.default_rng(config.seed)
    top_k = max(config.top_k, *RECALL_AT)

    def ranks_of(scores: np.ndarray) -> np.ndarray:
        found = [first_true_rank(scores[r], intervals, truth[names[r]], top_k=top_k) for r in rows]
        return np.array([found], dtype=np.int64)

    ranks = {name: ranks_of(scores) for name, scores in methods.items()}
    shuffled = [ranks_of(rng.random((len(names), len(intervals)), np.float32)) for _ in range(config.permutations)]
    ranks["chance"] = np.concatenate(shuffled)
    resample = rng.integers(0, len(rows), (config.resamples, len(rows)))
    scored = [_method_score(name, values, resample) for name, values in ranks.items()]
    model = next(iter(methods))
    differences = {
        name: _interval(_reciprocal(ranks[model]) - _reciprocal(values), resample)
        for name, values in ranks.items()
        if name != model
    }
    return RetrievalEvaluation(scored, ranks, differences, len(names) - len(rows), top_k)


def _reciprocal(ranks: np.ndarray) -> np.ndarray:
    return np.where(ranks > 0, 1.0 / np.maximum(ranks, 1), 0.0).mean(axis=0)


def _interval(values: np.ndarray, resample: np.ndarray) -> tuple[float, float, float]:
    means = values[resample].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(values.mean()), float(low), float(high)


def _method_score(name: str, ranks: np.ndarray, resample: np.ndarray) -> MethodScore:
    recall, low, high = {}, {}, {}
    for k in RECALL_AT:
        recall[k], low[k], high[k] = _interval(((ranks > 0) & (ranks <= k)).mean(axis=0), resample)
    mrr = _interval(_reciprocal(ranks), resample)
    return MethodScore(name, resample.shape[1], recall, low, high, *mrr)

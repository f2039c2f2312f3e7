"""The evaluation stream: where the truth lies, and how far down the ranks it was found, beside chance and baselines.

Labels enter here, in `places` and in `chance`, and nowhere else.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64
from scipy.special import gammaln

from plantgfm.formats.orthologs import Ortholog, read_orthologs
from plantgfm.formats.streams import atomic_text
from plantgfm.identity import read_json
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.genes import promoter_of
from plantgfm.retrieval.search import FUSED, Ranking, merged_rows
from plantgfm.retrieval.targets import Targets

RECALL_AT = (1, 10, 50)
LEAST_QUERIES, FEW_QUERIES = 5, 20
CHANCE, CLOSED_FORM = "chance", "chance, closed form"
_DRAWS_A_HIT = 6  # windows drawn for each that is wanted, so that merging leaves enough


@dataclass(frozen=True)
class Truth:
    """The labels of the queries, and those that could not be used."""

    by_query: dict[str, list[Ortholog]]  # on sequences that were searched
    elsewhere: int = 0  # labels on sequences that were not processed
    unplaced: int = 0  # labels without a place in the target's annotation


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
    """All methods on the same queries, and the paired difference of the first of them to each other one."""

    methods: list[MethodScore]
    ranks: dict[str, Int64[np.ndarray, "rankings Q"]]  # first true rank per query, 0 = not among the first top_k
    differences: dict[str, tuple[float, float, float]]  # method -> first minus method in MRR: mean, low, high
    model_differences: dict[str, tuple[float, float, float]]  # the same for the embedding alone
    queries_without_truth: int
    top_k: int  # how far down the ranks were read
    labels_elsewhere: int = 0
    labels_unplaced: int = 0
    warnings: list[str] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)  # aligners that could not be asked, and why
    queries: list[str] = field(default_factory=list)  # those with a truth, in the order of the ranks

    def recall_at(self, method: str, k: int) -> float:
        """Share of queries with a true window among the first k."""
        ranks = self.ranks[method]
        return float(np.mean((ranks > 0) & (ranks <= k)))

    def best_single(self) -> MethodScore:
        """The method that is no mixture, nor chance, whose MRR is best; of equals the first."""
        singles = [one for one in self.methods if one.method not in ("reranked", FUSED, CHANCE, CLOSED_FORM)]
        return max(singles, key=lambda one: one.mean_reciprocal_rank)

    def write(self, path: Path) -> None:
        """Write the figures as JSON, whole or not at all."""
        data = {
            "methods": [asdict(method) for method in self.methods],
            "ranks": {name: ranks.tolist() for name, ranks in self.ranks.items()},
            "mrr_difference_to": self.differences,
            "model_mrr_difference_to": self.model_differences,
            "queries_without_truth": self.queries_without_truth,
            "top_k": self.top_k,
            "labels_elsewhere": self.labels_elsewhere,
            "labels_unplaced": self.labels_unplaced,
            "warnings": self.warnings,
            "absent": self.absent,
            "queries": self.queries,
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
            differences, of_model = (
                {name: tuple(values) for name, values in data[key].items()}
                for key in ("mrr_difference_to", "model_mrr_difference_to")
            )
            counts = [data[key] for key in ("queries_without_truth", "top_k", "labels_elsewhere", "labels_unplaced")]
            said = list(data["warnings"]), dict(data.get("absent", {})), list(data.get("queries", []))  # new ones last
            return RetrievalEvaluation(methods, ranks, differences, of_model, *counts, *said)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error!r}); {remedy}") from None


def read_truth(path: Path, *, target_sequences: set[str], annotation: Path | None = None) -> Truth:
    """Labels per query, on the sequences that were searched; others are counted.

    Args:
        path: table of orthologs, as `plantgfm.formats.orthologs` reads them.
        target_sequences: names of the sequences that were searched.
        annotation: GFF3 of the target, for a table that tells no places.

    Raises:
        FormatError: for a table without the columns that it needs, or coordinates that are no numbers.
    """
    table = read_orthologs(path, annotation=annotation)
    truth: dict[str, list[Ortholog]] = defaultdict(list)
    elsewhere = 0
    for one in table.orthologs:
        if one.where.sequence in target_sequences:
            truth[one.gene_id].append(one)
        else:
            elsewhere += 1
    return Truth(dict(truth), elsewhere, table.unplaced)


def promoter_truth(truth: Truth, *, upstream_bp: int, downstream_bp: int, lengths_bp: dict[str, int]) -> Truth:
    """The labels of promoters: what lies around the start of each ortholog; those without a strand count as unplaced.

    Args:
        truth: labels of whole genes.
        upstream_bp: before the start of transcription.
        downstream_bp: from there on.
        lengths_bp: of the sequences, where promoters end at the latest.
    """
    moved: dict[str, list[Ortholog]] = {}
    unplaced = truth.unplaced
    for name, labels in truth.by_query.items():
        for one in labels:
            gene = one.where
            if gene.strand not in ("+", "-"):
                unplaced += 1
                continue
            sizes = {"upstream_bp": upstream_bp, "downstream_bp": downstream_bp}
            place = promoter_of(gene, name=name, **sizes)
            place = replace(place, end=min(place.end, max(lengths_bp[gene.sequence], place.start + 1)))
            tss = gene.start if gene.strand == "+" else gene.end - 1
            moved.setdefault(name, []).append(replace(one, where=place, tss=tss))
    return replace(truth, by_query=moved, unplaced=unplaced)


def rows_with_truth(names: list[str], truth: Truth) -> list[int]:
    """The rows of the queries that have a true place.

    Raises:
        ValueError: when these are fewer than 5: no interval is worth printing.
    """
    rows = [row for row, name in enumerate(names) if truth.by_query.get(name)]
    if len(rows) < LEAST_QUERIES:
        others = f"; {truth.elsewhere:,} labels lie on sequences that were not processed" if truth.elsewhere else ""
        raise ValueError(
            f"only {len(rows)} of {len(names)} queries have a true place in the target: at least {LEAST_QUERIES} are "
            f"needed{others}"
        )
    return rows


def true_windows(targets: Targets, labels: list[Ortholog], pool: range | None = None) -> Int64[np.ndarray, "true"]:
    """The windows, of some rows alone where a pool is given, that overlap a label."""
    found = [
        np.flatnonzero(
            (targets.sequence == targets.number_of[one.where.sequence])
            & (targets.start < one.where.end)
            & (targets.end > one.where.start)
        )
        for one in labels
    ]
    rows = np.unique(np.concatenate(found))
    return rows if pool is None else rows[(rows >= pool.start) & (rows < pool.stop)]


def first_true_rank(rows: Int64[np.ndarray, "K"], true: Int64[np.ndarray, "true"], *, top_k: int) -> int:
    """Rank, from 1, of the first window that is true; 0 when none of `top_k` is."""
    found = np.flatnonzero(np.isin(rows[:top_k], true))
    return int(found[0]) + 1 if found.size else 0


def evaluate_retrieval(
    rankings: dict[str, Ranking],
    names: list[str],
    *,
    targets: Targets,
    truth: Truth,
    config: RetrievalConfig,
    model: str = "model",
    pools: Sequence[range] | None = None,
) -> RetrievalEvaluation:
    """Score methods on the same queries; chance is added, by random rankings, merged alike, and in closed form.

    Args:
        rankings: per method; the first one is compared with all others.
        names: query names, in the order of the rankings' rows.
        targets: the windows that were ranked.
        truth: labels; queries without one are left out and counted.
        config: top_k, bootstrap resamples, permutations, seed.
        model: which method is the embedding alone: it is compared with all others, too.
        pools: the rows that each query was ranked among; None: all of them, for all queries.

    Raises:
        ValueError: when fewer than 5 queries have a truth: no interval is worth printing.
    """
    rows = rows_with_truth(names, truth)
    rng = np.random.default_rng(config.seed)
    top_k = config.deepest_rank
    pool = [range(len(targets)) if pools is None else pools[row] for row in rows]
    true = [true_windows(targets, truth.by_query[names[row]], own) for row, own in zip(rows, pool)]
    ranks = {
        name: np.array([[first_true_rank(r.rows[row], t, top_k=top_k) for row, t in zip(rows, true)]], np.int64)
        for name, r in rankings.items()
    }
    shuffled = [
        [
            first_true_rank(_random_ranking(targets, rng, own, top_k=top_k), one, top_k=top_k)
            for one, own in zip(true, pool)
        ]
        for _ in range(config.permutations)
    ]
    ranks[CHANCE] = np.array(shuffled, np.int64)
    resample = rng.integers(0, len(rows), (config.resamples, len(rows)))
    scored = [_method_score(name, values, resample) for name, values in ranks.items()]
    scored.append(_closed_form([one.size for one in true], [len(own) for own in pool], resample, top_k=top_k))
    first = next(iter(rankings))
    return RetrievalEvaluation(
        scored,
        ranks,
        _differences(ranks, first, resample),
        _differences(ranks, model, resample) if model in ranks else {},
        len(names) - len(rows),
        top_k,
        truth.elsewhere,
        truth.unplaced,
        few_queries(len(rows)),
        queries=[names[row] for row in rows],
    )


def few_queries(count: int) -> list[str]:
    """What is to be said of intervals over so few queries, if anything."""
    said = f"{count} queries: fewer than {FEW_QUERIES}, so that intervals are wide and rest on few"
    return [said] if count < FEW_QUERIES else []


def _random_ranking(targets: Targets, rng: np.random.Generator, pool: range, *, top_k: int) -> Int64[np.ndarray, "K"]:
    drawn = top_k * _DRAWS_A_HIT  # one that is drawn twice is merged into itself
    rows = rng.permutation(len(pool)) if len(pool) <= drawn else rng.integers(0, len(pool), drawn)
    rows += pool.start
    return rows[merged_rows(rows, targets, top_k=top_k)]


def reciprocal(ranks: np.ndarray) -> np.ndarray:
    """Of the first true rank of each query, over all rankings; 0 where there is none."""
    return np.where(ranks > 0, 1.0 / np.maximum(ranks, 1), 0.0).mean(axis=0)


def interval(values: Float64[np.ndarray, "Q"], resample: Int64[np.ndarray, "R Q"]) -> tuple[float, float, float]:
    """The mean over queries and its 95 % interval over resamples of queries."""
    means = values[resample].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(values.mean()), float(low), float(high)


def _differences(ranks: dict[str, np.ndarray], one: str, resample: np.ndarray) -> dict[str, tuple[float, float, float]]:
    return {
        name: interval(reciprocal(ranks[one]) - reciprocal(values), resample)
        for name, values in ranks.items()
        if name != one
    }


def _method_score(name: str, ranks: np.ndarray, resample: np.ndarray) -> MethodScore:
    recall, low, high = {}, {}, {}
    for k in RECALL_AT:
        recall[k], low[k], high[k] = interval(((ranks > 0) & (ranks <= k)).mean(axis=0), resample)
    mrr = interval(reciprocal(ranks), resample)
    return MethodScore(name, resample.shape[1], recall, low, high, *mrr)


def chance_of_none(true: int, windows: int, drawn: int) -> float:
    """The chance that none of some windows, drawn without putting back, is one of the true ones."""
    if drawn > windows - true:
        return 0.0
    logs = gammaln([windows - true + 1, windows - drawn + 1, windows - true - drawn + 1, windows + 1])
    return float(np.exp(logs[0] + logs[1] - logs[2] - logs[3]))


def _closed_form(true: list[int], windows: list[int], resample: np.ndarray, *, top_k: int) -> MethodScore:
    """Recall and reciprocal rank of random windows, without merging: hypergeometric."""
    none = np.array([[chance_of_none(m, n, k) for k in range(top_k + 1)] for m, n in zip(true, windows)])
    reciprocal = ((none[:, :-1] - none[:, 1:]) / np.arange(1, top_k + 1)).sum(axis=1)
    found = {k: interval(1 - none[:, min(k, top_k)], resample) for k in RECALL_AT}
    recalls = [{k: values[part] for k, values in found.items()} for part in range(3)]
    return MethodScore(CLOSED_FORM, len(true), *recalls, *interval(reciprocal, resample))

"""Results of the stages as tables for terminals and reports."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from plantgfm.corpus.read import Corpus
from plantgfm.evaluation.result import EvaluationResult
from plantgfm.report.table import Table, table_of
from plantgfm.retrieval.evaluate import RECALL_AT, RetrievalEvaluation
from plantgfm.retrieval.places import TOLERANCES_BP, PlaceEvaluation

CORPUS_FORMATS = {"repeat_fraction": ".1%", "unknown_fraction": ".2%"}
"""Of the columns of `Corpus.summary`."""


def corpus_table(corpus: Corpus) -> Table:
    """What the corpus holds, a line a species."""
    return table_of("Corpus", corpus.summary(), formats=CORPUS_FORMATS)


def near_duplicates_table(corpus: Corpus, *, alpha: float) -> Table:
    """Near-duplicate windows, a line a species, and the share of its windows that an epoch keeps at an exponent."""
    counts = [record.cluster_windows for record in corpus.records]
    names = np.repeat(np.array([record.species for record in corpus.records]), counts)
    rows = []
    for species in corpus.species:
        ids, sizes = corpus.cluster_id[names == species], corpus.cluster_size[names == species]
        clustered, weight = sizes[sizes > 1], np.maximum(sizes, 1).astype(np.float64) ** -alpha
        largest = int(clustered.max()) if clustered.size else 0
        rows.append((species, ids.size, clustered.size, np.unique(ids[ids >= 0]).size, largest, weight.mean()))
    columns = ("species", "windows", "with a near-duplicate", "clusters", "largest", "kept an epoch")
    note = f"a window weighs (windows of its cluster, all species)^-{alpha:g}: sampler.cluster_alpha"
    return Table("Near-duplicate windows", columns, rows, note=note, formats={"kept an epoch": ".1%"})


def evaluation_tables(result: EvaluationResult) -> list[Table]:
    """Held-out figures: the headline, then by species and inside and outside repeats."""
    return [headline_table(result), orders_table(result), by_group_table(result)]


def orders_table(result: EvaluationResult) -> Table:
    """Bits per base of every Markov model, a line an order."""
    cells: dict[int, dict[str, float]] = defaultdict(dict)
    for row in result.select(kind="all", metric="masked_bits_per_base"):
        if row["predictor"].startswith("markov"):
            kind, order = row["predictor"].removeprefix("markov ").rsplit(" ", 1)
            cells[int(order)][kind] = row["value"]
    kinds = list(dict.fromkeys(kind for found in cells.values() for kind in found))
    rows = [(order, *(found.get(kind) for kind in kinds)) for order, found in sorted(cells.items())]
    title = "Markov models over bases, bits per base on the same positions"
    return Table(title, ("order", *kinds), rows, formats=dict.fromkeys(kinds, ".4f"))


def headline_table(result: EvaluationResult) -> Table:
    """The model, the unigrams and the best Markov models on all held-out windows; 95 % intervals over regions."""
    best = set(result.best.values())
    rows = [
        (row["metric"].replace("_", " "), row["predictor"], row["value"], row["low"], row["high"])
        for row in result.select(kind="all")
        if not row["predictor"].startswith("markov") or row["predictor"] in best
    ]
    if "floor_bits_per_base" in result.summary:
        floor = [result.summary[f"floor_bits_per_base{part}"] for part in ("", "_low", "_high")]
        rows.insert(1, ("masked bits per base", "floor of the generator", *floor))
        gain = [result.summary[f"next_region_gain_over_generator{part}"] for part in ("", "_low", "_high")]
        rows.append(("next region gain nats per token", "frequencies of the generator", *gain))
    formats = dict.fromkeys(("value", "low", "high"), ".4f")
    note = (
        f"{result.summary['test_windows']:.0f} windows in {result.summary['test_regions']:.0f} regions, "
        f"{result.summary['scored_tokens']:,.0f} masked tokens; intervals: bootstrap over regions; "
        "differences are the model's minus the baseline's (below zero is better), gains the other way round"
    )
    if "candidate_windows" in result.summary:
        dropped, candidates = (result.summary[f"{name}_windows"] for name in ("near_duplicate", "candidate"))
        note = f"{note}; {dropped:,.0f} of {candidates:,.0f} window pairs dropped for a near-duplicate in training"
    return Table("Held-out regions", ("metric", "predictor", "value", "low", "high"), rows, note=note, formats=formats)


def by_group_table(result: EvaluationResult) -> Table:
    """Masked bits per base by species, compartment and repeats: the model beside the best Markov models."""
    predictors = ["model", *dict.fromkeys(result.best.values())]
    cells: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for row in result.select(metric="masked_bits_per_base"):
        if row["kind"] in ("species", "compartment", "repeats") and row["predictor"] in predictors:
            cells[row["kind"], row["group"]][row["predictor"]] = row["value"]
    rows = [(kind, group, *(found.get(name) for name in predictors)) for (kind, group), found in cells.items()]
    columns = ("by", "group", *predictors)
    return Table("Masked bits per base", columns, rows, formats=dict.fromkeys(predictors, ".4f"))


def retrieval_table(evaluation: RetrievalEvaluation) -> Table:
    """Recall and reciprocal rank of every method on the same queries, best first; the title says which one wins."""
    rows = []
    for method in sorted(evaluation.methods, key=lambda m: -m.mean_reciprocal_rank):
        recalls = [method.recall[k] for k in RECALL_AT]
        rows.append((method.method, *recalls, method.mean_reciprocal_rank, method.mrr_low, method.mrr_high))
    rows += [(f"{tool}: {why}", *[None] * (len(RECALL_AT) + 3)) for tool, why in evaluation.absent.items()]
    columns = ("method", *(f"recall@{k}" for k in RECALL_AT), "MRR", "low", "high")
    left_out = evaluation.queries_without_truth
    said = [f"{evaluation.methods[0].queries} queries ({left_out} without a true place left out)"]
    if evaluation.labels_elsewhere:
        said.append(f"{evaluation.labels_elsewhere:,} labels on sequences that were not processed left out")
    if evaluation.labels_unplaced:
        said.append(f"{evaluation.labels_unplaced:,} labels that the annotation does not place left out")
    if "untrained model" in evaluation.model_differences:
        mean, low, high = evaluation.model_differences["untrained model"]
        said.append(f"trained minus untrained MRR {mean:+.4f} [{low:+.4f}, {high:+.4f}]")
    note, formats = "; ".join([*said, *evaluation.warnings]), dict.fromkeys(columns[1:], ".3f")
    return Table(f"Retrieval: {retrieval_verdict(evaluation)}", columns, rows, note=note, formats=formats)


def retrieval_verdict(evaluation: RetrievalEvaluation) -> str:
    """Which single source of evidence finds most, and how what the windows were ranked by compares."""
    best, first = evaluation.best_single(), evaluation.methods[0]
    said = f"of single sources {best.method} is best, MRR {best.mean_reciprocal_rank:.3f}"
    if first.method == best.method:
        return said
    mean, low, high = evaluation.differences[best.method]
    return f"{said}; {first.method} minus {best.method} {mean:+.4f} [{low:+.4f}, {high:+.4f}]"


def place_tables(places: PlaceEvaluation) -> list[Table]:
    """Figures in base pairs: accuracy against tolerance, distances, correlation, and what chance gives."""
    cells: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for one in places.accuracies:
        cells[one.level, one.of, one.measure].append(one.share)
    names = [f"{tolerance:,} bp" for tolerance in TOLERANCES_BP]
    shares = [(*key, *values) for key, values in cells.items()]
    note = "share of rows, and of queries by their nearest row; intervals over queries stand in places.json"
    columns = ("level", "of", "measure", *names)
    tables = [Table("Accuracy against tolerance", columns, shares, note=note, formats=dict.fromkeys(names, ".3f"))]
    columns = ("level", "measure", "queries", "median, bp", "quartile 1", "quartile 3", "low", "high")
    spreads = [
        (
            o.level,
            o.measure,
            o.queries,
            o.median_bp,
            o.quartile_1_bp,
            o.quartile_3_bp,
            o.median_low_bp,
            o.median_high_bp,
        )
        for o in places.spreads
    ]
    numbers = dict.fromkeys(columns[3:], ",.0f")
    note = "of the nearest row of each query; low and high: 95 % interval of the median over queries"
    tables.append(Table("Distance to the label", columns, spreads, note=note, formats=numbers))
    if places.correlations:
        rows = [(one.level, one.rows, one.rho, one.low, one.high) for one in places.correlations]
        formats = dict.fromkeys(("rho", "low", "high"), "+.3f")
        title = "Spearman's rho of cosine and negative gap"
        tables.append(Table(title, ("level", "rows", "rho", "low", "high"), rows, formats=formats))
    return [*tables, _null_table(places)]


def _null_table(places: PlaceEvaluation) -> Table:
    columns = ("null", "draws", "median gap, bp", "within 0", "within 10 kb", "median p", "queries at p 0.05")
    rows = [
        (
            one["null"],
            one["draws"],
            one["median_gap_bp"],
            one["within"]["0"],
            one["within"]["10000"],
            one["median_p"],
            one["queries_at_p_5_percent"],
        )
        for one in places.nulls
    ]
    note = "the nearest of as many windows as a query has hits; p of a query: how often a draw lies as near as its hits"
    for one in places.nulls:
        if "mean_distance_bp" in one:
            note += (
                f"; from a point to the nearest of {one['windows']} random points on {one['target_bp']:,} bp it is "
                f"{one['mean_distance_bp']:,.0f} bp on average, {one['median_distance_bp']:,.0f} in the median"
            )
    formats = {"median gap, bp": ",.0f", **dict.fromkeys(columns[3:], ".3f")}
    return Table("What chance gives", columns, rows, note=note, formats=formats)

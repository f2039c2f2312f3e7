"""What `retrieve` wrote as a page: every figure is drawn from its tables alone, and can be drawn again."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from plantgfm.formats.tables import read_tsv
from plantgfm.identity import read_json
from plantgfm.report import figures
from plantgfm.report.page import Page, Picture, Section
from plantgfm.report.table import Table
from plantgfm.retrieval.divergence import DIVERGENCE_COLUMNS, overtaking
from plantgfm.retrieval.evaluate import RetrievalEvaluation
from plantgfm.retrieval.places import GAP, QUERIES, SPANS, TOLERANCES_BP, PlaceEvaluation
from plantgfm.retrieval.rerank_training import reliability_of
from plantgfm.retrieval.retrieve import HIT_COLUMNS
from plantgfm.retrieval.sources import EMBEDDING
from plantgfm.wiring.retrieval_evaluation import DIVERGENCE_FILE, EVALUATION_FILE, PLACES_FILE, ROWS_FILE
from plantgfm.wiring.tables import place_tables, retrieval_table, retrieval_verdict

_MANIFEST = "retrieval.json"
_EXAMPLES = 6
_AT_ZERO = 100  # where a logarithmic axis shows a distance of 0


def holds_retrieval(folder: Path) -> bool:
    """Whether a folder is what `plantgfm retrieve --out` wrote."""
    return (folder / _MANIFEST).is_file() and (folder / "hits.tsv").is_file()


def write_retrieval_report(folder: Path, out: Path | None = None) -> Path:
    """Draw the report of a folder that `retrieve` wrote; parts that it was not asked for are left out.

    Raises:
        ValueError: for damaged tables.
    """
    sections = retrieval_sections(folder)
    manifest = read_json(folder / _MANIFEST, remedy="`plantgfm retrieve` writes one")
    hubs, weights = manifest["hubs"], manifest["ranked_by"]
    rows = [
        ("queries", len(manifest["queries"])),
        ("target", f"{sum(manifest['target_sequences_bp'].values()):,} bp"),
        ("ranked by", ", ".join(f"{name} x {weight:g}" for name, weight in weights.items())),
        ("model", manifest["bundle"]),
        (f"largest hub: queries with one window among their first {hubs['among_first']}", hubs["queries_of_largest"]),
    ]
    rows += [
        (
            f"hubs of {name}: queries of the largest; windows among first hits; skewness",
            f"{one['queries_of_largest']}; {one['windows']}; {one['skewness']:.2f}",
        )
        for name, one in hubs.get("by_source", {}).items()  # older folders lack it
    ]
    path = out or folder / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    summary = Section("Search", tables=[Table("", ("what", "figure"), rows)])
    Page(f"plantgfm retrieval {folder.resolve().name}", "", [summary, *sections]).write_html(path)
    return path


def retrieval_sections(folder: Path) -> list[Section]:
    """The evaluation first, its verdict on top; then the figures."""
    sections = []
    if (folder / EVALUATION_FILE).is_file():
        evaluation = RetrievalEvaluation.read(folder / EVALUATION_FILE)
        tables, pictures = [retrieval_table(evaluation)], [rank_picture(evaluation)]
        if (folder / PLACES_FILE).is_file():
            places = PlaceEvaluation.read(folder / PLACES_FILE)
            tables += place_tables(places)
            pictures += [tolerance_picture(places), *distance_pictures(folder)]
        if (folder / DIVERGENCE_FILE).is_file():
            table, picture = divergence_parts(folder)
            tables.append(table)
            pictures.append(picture)
        pictures += reliability_pictures(folder)
        sections.append(Section("Retrieval", f"{retrieval_verdict(evaluation)}.", tables, pictures))
    pictures = [cosine_picture(folder), top_picture(folder), *peak_pictures(folder), *track_pictures(folder)]
    return [*sections, Section("Scores along ranks and target", figures=pictures)]


def rank_picture(retrieval: RetrievalEvaluation) -> Picture:
    """Queries found against windows looked at, for every method."""
    steps = list(range(1, retrieval.top_k + 1))
    curves = {name: (steps, [retrieval.recall_at(name, k) for k in steps]) for name in retrieval.ranks}
    picture = figures.lines(curves, xlabel="windows looked at, k", ylabel="queries found", log_x=True)
    return Picture("Retrieval ranks: share of queries whose true place is among the first k windows", picture)


def tolerance_picture(places: PlaceEvaluation) -> Picture:
    """Queries within a tolerance, of windows and spans, with their intervals, and what the nulls give."""
    x = [max(tolerance, _AT_ZERO) for tolerance in TOLERANCES_BP]
    curves = {}
    for level in dict.fromkeys(one.level for one in places.accuracies):
        own = [a for a in places.accuracies if (a.level, a.of, a.measure) == (level, QUERIES, GAP)]
        curves[level] = (x, [a.share for a in own])
        curves[f"{level}, low"], curves[f"{level}, high"] = (x, [a.low for a in own]), (x, [a.high for a in own])
    for one in places.nulls:
        curves[one["null"]] = (x, [one["within"][str(tolerance)] for tolerance in TOLERANCES_BP])
    picture = figures.lines(curves, xlabel="gap to the ortholog, bp (0 drawn at 100)", ylabel="queries", log_x=True)
    return Picture("Accuracy against tolerance: queries whose nearest row lies within a gap, beside chance", picture)


def divergence_parts(folder: Path) -> tuple[Table, Picture]:
    """Reciprocal rank by identity, every method; and the words whether the embedding overtakes containment."""
    rows = read_tsv(folder / DIVERGENCE_FILE, required=DIVERGENCE_COLUMNS)
    shown = ("method", "identity_median", "queries", "recall_at_1", "recall_low", "recall_high", "mrr", "mrr_low")
    shown = (*shown, "mrr_high")
    note = f"{overtaking(rows, EMBEDDING, '11-mer containment')}; groups of equal size by identity"
    cells = [tuple(row["method"] if name == "method" else float(row[name]) for name in shown) for row in rows]
    formats = {**dict.fromkeys(shown[1:], ".3f"), "queries": ".0f"}
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        x, y = curves.setdefault(row["method"], ([], []))
        x.append(1 - float(row["identity_median"]))
        y.append(float(row["mrr"]))
    picture = figures.lines(curves, xlabel="divergence, 1 - identity to the ortholog", ylabel="mean reciprocal rank")
    table = Table("Recall against divergence", shown, cells, note=note, formats=formats)
    return table, Picture("Recall against divergence: mean reciprocal rank of queries by their divergence", picture)


def distance_pictures(folder: Path) -> list[Picture]:
    """How far the nearest row of each query lies from its label, by decade."""
    if not (folder / ROWS_FILE).is_file():
        return []
    pictures = []
    nearest: dict[str, dict[str, float]] = defaultdict(dict)
    for row in read_tsv(folder / ROWS_FILE, required=("level", "query_id", "gap_bp")):
        gap = float(row["gap_bp"]) if row["gap_bp"] else np.inf
        own = nearest[row["level"]]
        own[row["query_id"]] = min(own.get(row["query_id"], np.inf), gap)
    names = ["0", "1-999", "1-10 k", "10-100 k", "100 k-1 M", "1 M and more", "other sequence"]
    edges = [0, 1, 1e3, 1e4, 1e5, 1e6, np.inf]
    for level, own in nearest.items():
        places = np.searchsorted(edges, list(own.values()), side="right") - 1
        counts = np.bincount(np.minimum(places, len(names) - 1), minlength=len(names))
        picture = figures.bars(names, counts.tolist(), xlabel="queries")
        pictures.append(
            Picture(f"Distance distribution: gap in bp from the nearest of the {level} to the label", picture)
        )
    return pictures


def reliability_pictures(folder: Path) -> list[Picture]:
    """What a reranker said of the hits and what was true of them on this target."""
    hits = read_tsv(folder / "hits.tsv", required=HIT_COLUMNS)
    if not (folder / ROWS_FILE).is_file() or not any(hit["probability"] for hit in hits):
        return []
    gaps = {
        (row["query_id"], row["rank"]): row["gap_bp"] == "0"
        for row in read_tsv(folder / ROWS_FILE)
        if row["level"] == "windows"
    }
    known = [hit for hit in hits if (hit["query_id"], hit["rank"]) in gaps]
    said = np.array([float(hit["probability"]) for hit in known])
    near = np.array([gaps[hit["query_id"], hit["rank"]] for hit in known])
    curve, _ = reliability_of(said, near)
    series = {
        "hits": ([one.predicted for one in curve], [one.observed for one in curve]),
        "calibrated": ([0.0, 1.0], [0.0, 1.0]),
    }
    picture = figures.lines(series, xlabel="probability said", ylabel="share that overlaps the label")
    return [Picture("Reliability of the reranker on this target", picture)]


def cosine_picture(folder: Path) -> Picture:
    """The distribution of cosines before and after the correction."""
    rows = read_tsv(folder / "cosines.tsv", required=("from", "to", "before", "after"))
    middles = [(float(row["from"]) + float(row["to"])) / 2 for row in rows]
    curves = {}
    for name in ("before", "after"):
        counts = np.array([float(row[name]) for row in rows])
        curves[f"{name} debiasing"] = (middles, (counts / max(counts.sum(), 1)).tolist())
    picture = figures.lines(curves, xlabel="cosine of query and window", ylabel="share of pairs")
    return Picture("Cosine distribution over all queries and windows, before and after debiasing", picture)


def top_picture(folder: Path) -> Picture:
    """Score by rank: quartiles over queries, and some single ones."""
    by_query: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for row in read_tsv(folder / "hits.tsv", required=HIT_COLUMNS):
        by_query[row["query_id"]].append((int(row["searched_rank"] or row["rank"]), float(row["score"])))
    by_rank: dict[int, list[float]] = defaultdict(list)
    for pairs in by_query.values():
        for rank, score in pairs:
            by_rank[rank].append(score)
    ranks = sorted(by_rank)
    curves = {
        f"{name} of {len(by_query)} queries": (ranks, [float(np.quantile(by_rank[rank], q)) for rank in ranks])
        for name, q in (("median", 0.5), ("quartile 1", 0.25), ("quartile 3", 0.75))
    }
    for name in sorted(by_query)[:_EXAMPLES]:
        pairs = sorted(by_query[name])
        curves[name] = ([rank for rank, _ in pairs], [score for _, score in pairs])
    picture = figures.lines(curves, xlabel="rank", ylabel="score, standard deviations above the mean", log_x=True)
    return Picture("Top-K curves: the score of the hits of a query by their rank", picture)


def peak_pictures(folder: Path) -> list[Picture]:
    """The scores along the best candidate of some queries."""
    if not (folder / "scan.tsv").is_file():
        return []
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for row in read_tsv(folder / "scan.tsv", required=("query_id", "middle", "score")):
        if row["query_id"] in curves or len(curves) < _EXAMPLES:
            x, y = curves.setdefault(row["query_id"], ([], []))
            x.append(float(row["middle"]))
            y.append(float(row["score"]))
    centred = {name: ([value - x[int(np.argmax(y))] for value in x], y) for name, (x, y) in curves.items()}
    picture = figures.lines(centred, xlabel="middle of the narrow window, bp from the peak", ylabel="score")
    return [Picture("Fine scan: scores along the best candidate of each query", picture)]


def track_pictures(folder: Path) -> list[Picture]:
    """Where the first prediction and the nearest label of some queries lie, each on a stretch around both."""
    if not (folder / ROWS_FILE).is_file():
        return []
    rows = [row for row in read_tsv(folder / ROWS_FILE) if row["rank"] == "1" and row["label_start"]]
    best = [row for row in rows if row["level"] == SPANS] or rows
    labels, lengths, drawn = [], [], []
    for number, row in enumerate(best[: 2 * _EXAMPLES]):
        spans = {"predicted": (row["start"], row["end"]), "gene": (row["label_start"], row["label_end"])}
        places = {name: (int(start), int(end)) for name, (start, end) in spans.items()}
        first, last = min(start for start, _ in places.values()), max(end for _, end in places.values())
        margin = max((last - first) // 10, 1)
        labels.append(f"{row['query_id']}, {row['target_id']}:{max(first - margin, 0):,}-{last + margin:,}")
        lengths.append(last - first + 2 * margin)
        drawn += [(number, s - first + margin, e - first + margin, name) for name, (s, e) in places.items()]
    if not drawn:
        return []
    picture = figures.tracks(labels, lengths, drawn, xlabel="along the stretch, % of its length")
    return [Picture("Genome track: the first prediction of some queries and the labelled gene", picture)]

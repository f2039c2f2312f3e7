"""The evaluation stream in base pairs: how far predictions lie from the labelled genes. Labels enter here.

Distances are those of the study that this answers: the gap between intervals, and from the start of transcription to
the middle of the prediction, signed along the genome (positive downstream of it on the plus strand) and along the gene.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from scipy.stats import rankdata

from plantgfm.formats.orthologs import Ortholog
from plantgfm.formats.streams import atomic_text
from plantgfm.formats.tables import write_tsv
from plantgfm.identity import read_json
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.sequence import Interval

TOLERANCES_BP = (0, 1_000, 5_000, 10_000, 50_000, 100_000, 1_000_000)
WINDOWS, SPANS = "windows", "spans"
ROWS, QUERIES = "rows", "queries"
GAP, TSS = "gap", "TSS"
ROW_COLUMNS = (
    "level",
    "query_id",
    "rank",
    "target_id",
    "start",
    "end",
    "strand",
    "cosine",
    "score",
    "label_start",
    "label_end",
    "label_strand",
    "label_name",
    "gap_bp",
    "tss_along_genome_bp",
    "tss_along_gene_bp",
    "tss_distance_bp",
)


@dataclass(frozen=True)
class Prediction:
    """Where a query is said to lie."""

    query: str
    rank: int
    where: Interval
    cosine: float
    score: float


@dataclass(frozen=True)
class Placed:
    """A prediction and the label that is nearest to it; None where no label lies on its sequence."""

    prediction: Prediction
    label: Ortholog | None
    gap_bp: int | None  # between the intervals, 0 where they overlap
    along_genome_bp: int | None  # from the TSS to the middle of the prediction; None for a label without a strand
    along_gene_bp: int | None

    @property
    def tss_distance_bp(self) -> int | None:
        """Without its sign."""
        return None if self.along_genome_bp is None else abs(self.along_genome_bp)

    def measure(self, name: str) -> float:
        """Gap or absolute TSS distance in bp; infinite where there is none."""
        value = self.gap_bp if name == GAP else self.tss_distance_bp
        return float("inf") if value is None else float(value)


@dataclass(frozen=True)
class Accuracy:
    """The share of rows, or of queries by their nearest row, within a tolerance; intervals over queries."""

    level: str  # windows or spans
    of: str  # rows or queries
    measure: str  # gap or TSS
    tolerance_bp: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Spread:
    """Median and quartiles over queries of the nearest distance; infinite ones are None."""

    level: str
    measure: str
    queries: int
    median_bp: float | None
    quartile_1_bp: float | None
    quartile_3_bp: float | None
    median_low_bp: float | None
    median_high_bp: float | None


@dataclass(frozen=True)
class Correlation:
    """Spearman's rho of cosine and negative gap over rows, ranks taken over all of them; interval over queries."""

    level: str
    rows: int
    rho: float
    low: float
    high: float


@dataclass(frozen=True)
class PlaceEvaluation:
    """All figures in base pairs."""

    accuracies: list[Accuracy]
    spreads: list[Spread]
    correlations: list[Correlation]
    nulls: list[dict[str, object]]  # as `chance.null_rows` gives them

    def write(self, path: Path) -> None:
        """Write the figures as JSON, whole or not at all."""
        parts = {
            name: [asdict(one) for one in getattr(self, name)] for name in ("accuracies", "spreads", "correlations")
        }
        with atomic_text(path) as stream:
            stream.write(json.dumps({**parts, "nulls": self.nulls}, indent=2, sort_keys=True) + "\n")

    @staticmethod
    def read(path: Path) -> PlaceEvaluation:
        """Read what `write` wrote; ValueError where the file is damaged."""
        remedy = "`plantgfm retrieve --truth` writes one"
        data = read_json(path, remedy=remedy)
        kinds = {"accuracies": Accuracy, "spreads": Spread, "correlations": Correlation}
        try:
            parts = {name: [kind(**row) for row in data[name]] for name, kind in kinds.items()}
            return PlaceEvaluation(**parts, nulls=data["nulls"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is damaged ({error!r}); {remedy}") from None


def gap_between(a: Interval, b: Interval) -> int | None:
    """Bases between two intervals, 0 where they overlap or touch; None on different sequences."""
    return max(a.start - b.end, b.start - a.end, 0) if a.sequence == b.sequence else None


def place(prediction: Prediction, labels: Iterable[Ortholog]) -> Placed:
    """The nearest label, by gap and then by distance to its TSS, and the distances to it."""
    here = [one for one in labels if one.where.sequence == prediction.where.sequence]
    if not here:
        return Placed(prediction, None, None, None, None)
    middle = (prediction.where.start + prediction.where.end) // 2

    def near(one: Ortholog) -> tuple[int, int]:
        signed = _from_tss(one, middle)
        return gap_between(prediction.where, one.where), 0 if signed is None else abs(signed)

    nearest = min(here, key=near)
    signed = _from_tss(nearest, middle)
    along_gene = None if signed is None else signed if nearest.where.strand == "+" else -signed
    return Placed(prediction, nearest, gap_between(prediction.where, nearest.where), signed, along_gene)


def _from_tss(label: Ortholog, position: int) -> int | None:
    gene = label.where
    if gene.strand not in ("+", "-"):
        return None
    first = gene.start if gene.strand == "+" else gene.end - 1
    return position - (first if label.tss is None else label.tss)


def evaluate_places(
    levels: dict[str, list[Placed]], *, config: RetrievalConfig, nulls: list[dict[str, object]]
) -> PlaceEvaluation:
    """Accuracy against tolerance, medians and correlations of placed predictions.

    Args:
        levels: by level, windows or spans, those of the queries with a label; each query has one at least.
        config: resamples and seed.
        nulls: what chance gives.
    """
    rng = np.random.default_rng(config.seed)
    accuracies: list[Accuracy] = []
    spreads: list[Spread] = []
    correlations: list[Correlation] = []
    for level, placed in levels.items():
        names = list(dict.fromkeys(one.prediction.query for one in placed))
        owner = np.array([names.index(one.prediction.query) for one in placed])
        resample = rng.integers(0, len(names), (config.resamples, len(names)))
        for measure in (GAP, TSS):
            values = np.array([one.measure(measure) for one in placed])
            nearest = np.full(len(names), np.inf)
            np.minimum.at(nearest, owner, values)
            if not np.isfinite(nearest).any():
                continue  # labels without a strand have no TSS
            accuracies += _accuracies(level, measure, values, owner, nearest, resample)
            spreads.append(_spread(level, measure, nearest, resample))
        correlations += _correlation(level, placed, owner, resample)
    return PlaceEvaluation(accuracies, spreads, correlations, nulls)


def _accuracies(
    level: str, measure: str, values: np.ndarray, owner: np.ndarray, nearest: np.ndarray, resample: np.ndarray
) -> list[Accuracy]:
    out = []
    rows = np.bincount(owner, minlength=nearest.size)
    for tolerance in TOLERANCES_BP:
        within = np.bincount(owner, values <= tolerance, minlength=nearest.size)
        of_rows = within[resample].sum(axis=1) / rows[resample].sum(axis=1)
        of_queries = (nearest <= tolerance)[resample].mean(axis=1)
        shares = float(within.sum() / rows.sum()), float(np.mean(nearest <= tolerance))
        for of, share, means in zip((ROWS, QUERIES), shares, (of_rows, of_queries)):
            low, high = np.quantile(means, (0.025, 0.975))
            out.append(Accuracy(level, of, measure, tolerance, share, float(low), float(high)))
    return out


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _spread(level: str, measure: str, nearest: np.ndarray, resample: np.ndarray) -> Spread:
    """Quantiles are values of the sample, so that infinite ones do no harm."""
    quartiles = np.quantile(nearest, (0.5, 0.25, 0.75), method="inverted_cdf")
    medians = np.quantile(nearest[resample], 0.5, axis=1, method="inverted_cdf")
    bounds = np.quantile(medians, (0.025, 0.975), method="inverted_cdf")
    return Spread(level, measure, nearest.size, *(_finite(value) for value in (*quartiles, *bounds)))


def _correlation(level: str, placed: list[Placed], owner: np.ndarray, resample: np.ndarray) -> list[Correlation]:
    gaps = np.array([one.measure(GAP) for one in placed])
    x = rankdata([one.prediction.cosine for one in placed])
    y = rankdata(-gaps)
    queries = resample.shape[1]
    sums = np.stack(
        [np.bincount(owner, weights, minlength=queries) for weights in (np.ones(x.size), x, y, x * y, x * x, y * y)]
    )
    drawn = _rho(sums[:, resample].sum(axis=2))
    whole = _rho(sums.sum(axis=1, keepdims=True))[0]
    if not np.isfinite(whole):
        return []  # all at the same distance, or of the same cosine
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    return [Correlation(level, x.size, float(whole), float(low), float(high))]


def _rho(sums: Float64[np.ndarray, "6 R"]) -> Float64[np.ndarray, "R"]:
    n, x, y, xy, xx, yy = sums
    spread = (n * xx - x * x) * (n * yy - y * y)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0, (n * xy - x * y) / np.sqrt(np.maximum(spread, 0)), np.nan)


def nearest_of(placed: list[Placed], names: list[str], measure: str = GAP) -> Float64[np.ndarray, "Q"]:
    """The nearest distance of each query over its rows, infinite where there is none."""
    numbers = {name: number for number, name in enumerate(names)}
    out = np.full(len(names), np.inf)
    for one in placed:
        number = numbers[one.prediction.query]
        out[number] = min(out[number], one.measure(measure))
    return out


def write_rows(path: Path, levels: dict[str, list[Placed]]) -> None:
    """Write every placed prediction, a line each; whole or not at all."""
    rows = []
    for level, placed in levels.items():
        for one in placed:
            said, label = one.prediction, one.label
            where = label.where if label else None
            values = (
                level,
                said.query,
                said.rank,
                said.where.sequence,
                said.where.start,
                said.where.end,
                said.where.strand,
                round(said.cosine, 6),
                round(said.score, 4),
                where and where.start,
                where and where.end,
                where and where.strand,
                label and label.display_name,
                one.gap_bp,
                one.along_genome_bp,
                one.along_gene_bp,
                one.tss_distance_bp,
            )
            rows.append(dict(zip(ROW_COLUMNS, values)))
    write_tsv(path, rows, columns=ROW_COLUMNS)

"""What chance gives in base pairs: nulls that take the same minimum over as many windows as a query has hits.

Uniform windows; windows like the hits in GC and repeats; the hits, moved round their sequence by one random shift, so
that they stay together as they were; and the hits of another query. Labels enter here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float64, Int64

from plantgfm.formats.orthologs import Ortholog
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.null import empirical_p
from plantgfm.retrieval.places import TOLERANCES_BP
from plantgfm.retrieval.search import Ranking
from plantgfm.retrieval.targets import Targets

CLOSED_FORM = "uniform windows, closed form"
UNIFORM, MATCHED, SHIFTED, OTHERS = "uniform windows", "matched windows", "shifted hits", "hits of other queries"
_STRATA = 5  # of GC, and of repeats within each of these


def strata_of(gc: Float64[np.ndarray, "N"], repeats: Float64[np.ndarray, "N"]) -> Int64[np.ndarray, "N"]:
    """Windows in 25 groups of like size: fifths by GC, each in fifths by its share of repeats."""
    n = gc.size
    by_gc = np.empty(n, np.int64)
    by_gc[np.lexsort((np.arange(n), gc))] = np.arange(n) * _STRATA // n
    out = np.empty(n, np.int64)
    for group in range(_STRATA):
        own = np.flatnonzero(by_gc == group)
        order = own[np.lexsort((own, repeats[own]))]
        out[order] = group * _STRATA + np.arange(own.size) * _STRATA // max(own.size, 1)
    return out


def nearest_gap(targets: Targets, rows: Int64[np.ndarray, "K"], labels: list[Ortholog], *, shift_bp: int = 0) -> float:
    """The smallest gap from any window to any label; infinite where no window lies on a label's sequence.

    Args:
        targets: the windows.
        rows: which of them.
        labels: on sequences of the target.
        shift_bp: added to every window, round the end of its sequence; one that the end cuts starts anew there.
    """
    sequence, start, end = targets.sequence[rows], targets.start[rows], targets.end[rows]
    if shift_bp:
        lengths = targets.ends[sequence]
        size, start = end - start, (start + shift_bp) % lengths
        end = np.minimum(start + size, lengths)
    best = np.inf
    for one in labels:
        here = sequence == targets.number_of[one.where.sequence]
        if here.any():
            gaps = np.maximum(np.maximum(start[here] - one.where.end, one.where.start - end[here]), 0)
            best = min(best, float(gaps.min()))
    return best


def null_gaps(
    targets: Targets,
    ranking: Ranking,
    asked: list[int],
    labels: list[list[Ortholog]],
    *,
    strata: Int64[np.ndarray, "N"],
    config: RetrievalConfig,
    pools: Sequence[range] | None = None,
) -> Iterator[tuple[str, Float64[np.ndarray, "Q R"]]]:
    """For each null the nearest gap of every query in every draw.

    Args:
        targets: the windows.
        ranking: the hits; queries that are not asked about take no part.
        asked: rows of the queries that have labels.
        labels: of these.
        strata: from `strata_of`, of each pool by itself: no group holds windows of two.
        config: top_k, permutations and seed.
        pools: the rows that each of the queries that have labels was ranked among; None: all of them.
    """
    draws = config.permutations
    pools = [range(len(targets))] * len(asked) if pools is None else list(pools)
    peers = {pool: [number for number, own in enumerate(pools) if own == pool] for pool in pools}
    by_group, first = np.argsort(strata, kind="stable"), np.searchsorted(np.sort(strata), np.arange(strata.max() + 2))
    longest = int(targets.ends.max())
    hits = [ranking.rows[row][: config.top_k] for row in asked]

    def drawn(kind: str, number: int, rng: np.random.Generator) -> float:
        own, here = hits[number], labels[number]
        if kind == UNIFORM:
            return nearest_gap(targets, rng.integers(pools[number].start, pools[number].stop, own.size), here)
        if kind == MATCHED:
            group = strata[own]
            like = first[group] + (rng.random(own.size) * (first[group + 1] - first[group])).astype(np.int64)
            return nearest_gap(targets, by_group[like], here)
        if kind == SHIFTED:
            return nearest_gap(targets, own, here, shift_bp=int(rng.integers(1, max(longest, 2))))
        others = peers[pools[number]] if len(peers[pools[number]]) > 1 else list(range(len(hits)))
        other = (others.index(number) + int(rng.integers(1, len(others)))) % len(others)
        return nearest_gap(targets, hits[others[other]], here)

    for stream, kind in enumerate((UNIFORM, MATCHED, SHIFTED, OTHERS)):
        rng = np.random.default_rng((config.seed, stream))
        yield kind, np.array([[drawn(kind, number, rng) for _ in range(draws)] for number in range(len(hits))])


def null_rows(
    observed: Float64[np.ndarray, "Q"], nulls: dict[str, Float64[np.ndarray, "Q R"]]
) -> list[dict[str, object]]:
    """A line a null: its median, the queries within each tolerance, and how many queries it does not explain.

    A query's p is the chance that a draw lies as near as its own hits; the smallest that can be is 1 / (draws + 1).
    """
    rows = []
    for kind, gaps in nulls.items():
        p = np.array([empirical_p(-own, -draws) for own, draws in zip(observed, gaps)])
        median = float(np.quantile(gaps, 0.5, method="inverted_cdf"))
        within = {str(tolerance): float(np.mean(gaps <= tolerance)) for tolerance in TOLERANCES_BP}
        rows.append(
            {
                "null": kind,
                "draws": int(gaps.shape[1]),
                "median_gap_bp": median if np.isfinite(median) else None,
                "within": within,
                "median_p": float(np.median(p)),
                "queries_at_p_5_percent": float(np.mean(p <= 0.05)),
            }
        )
    return rows


def closed_row(
    observed: Float64[np.ndarray, "Q"],
    hits: list[int],
    labels: list[list[Ortholog]],
    targets: Targets,
    pools: Sequence[range] | None = None,
) -> dict[str, object]:
    """The line of `null_rows` that needs no draw: uniform windows, by `within_by_chance`, sequences put end to end.

    Args:
        observed: nearest gap of each query.
        hits: of each query.
        labels: likewise.
        targets: the windows.
        pools: the rows that each query was ranked among; None: all of them.
    """
    widths, target_bp = targets.end - targets.start, int(targets.ends.sum())
    pools = [range(len(targets))] * len(labels) if pools is None else list(pools)
    window_bp = {pool: float(np.mean(widths[pool.start : pool.stop])) for pool in pools}
    sizes = [
        {
            "windows": k,
            "window_bp": window_bp[pool],
            "label_bp": sum(one.where.length_bp for one in own),
            "target_bp": target_bp,
            "labels": len(own),
        }
        for k, own, pool in zip(hits, labels, pools)
    ]
    p = np.array([within_by_chance(gap, **own) for gap, own in zip(observed, sizes)])
    half = [target_bp * (1 - 0.5 ** (1 / own["windows"])) for own in sizes]  # bases in reach that half of draws hit
    medians = [
        max((reach - own["label_bp"]) / own["labels"] - own["window_bp"], 0.0) / 2 for reach, own in zip(half, sizes)
    ]
    mean, median = nearest_by_chance(windows=max(hits), target_bp=target_bp)
    return {
        "null": CLOSED_FORM,
        "draws": None,
        "median_gap_bp": float(np.median(medians)),
        "within": {str(d): float(np.mean([within_by_chance(d, **own) for own in sizes])) for d in TOLERANCES_BP},
        "median_p": float(np.median(p)),
        "queries_at_p_5_percent": float(np.mean(p <= 0.05)),
        "windows": max(hits),
        "target_bp": target_bp,
        "mean_distance_bp": mean,
        "median_distance_bp": median,
    }


def within_by_chance(
    tolerance_bp: float | int,
    *,
    windows: int,
    window_bp: float | int,
    label_bp: int,
    target_bp: int,
    labels: int = 1,
) -> float:
    """P(the nearest of K random windows lies within a gap of a label) = 1 - (1 - (w + g + 2 d) / L)^K, in closed form.

    A window of w bp lies within d of a gene of g bp where its start falls into w + g + 2 d of the L bases; several
    labels are taken to lie apart.

    Args:
        tolerance_bp: d.
        windows: K.
        window_bp: w.
        label_bp: g, of all labels of a query.
        target_bp: L.
        labels: how many they are.
    """
    share = min((labels * (window_bp + 2 * tolerance_bp) + label_bp) / target_bp, 1.0)
    return 1.0 - (1.0 - share) ** windows


def nearest_by_chance(*, windows: int, target_bp: int) -> tuple[float, float]:
    """Mean and median of the distance from a point to the nearest of K random points on L bases.

    L / (2 (K + 1)) and L / 2 (1 - 2^(-1 / K)), the ends of the sequence aside.
    """
    return target_bp / (2 * (windows + 1)), target_bp / 2 * (1 - 0.5 ** (1 / windows))

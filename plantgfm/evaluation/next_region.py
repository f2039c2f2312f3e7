"""Next-region prediction beside its baselines: the species unigram, and the upstream window's own histogram."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int32

from plantgfm.evaluation.bootstrap import Estimate, bootstrap_ratio
from plantgfm.evaluation.config import EvaluationConfig
from plantgfm.evaluation.held_out import HeldOut, compartments_of
from plantgfm.evaluation.unigram import Unigram
from plantgfm.tokenization.vocabulary import FIRST_BASE

MODEL, UNIGRAM, HISTOGRAM = "model", "unigram species", "upstream histogram"


@dataclass(frozen=True, eq=False)
class NextScores:
    """Nats a token of each downstream window; windows without a token that counts have 0 in `tokens`."""

    unigram: Float64[np.ndarray, "B"]
    histogram: Float64[np.ndarray, "B"]
    tokens: Float64[np.ndarray, "B"]
    histogram_mass: float  # tokens that the unigram is worth in the shrunk histogram


def histogram_nats(
    upstream: Int32[np.ndarray, "B L"],
    downstream: Int32[np.ndarray, "B L"],
    prior: Float64[np.ndarray, "B V"],
    *,
    mass: float,
) -> Float64[np.ndarray, "B"]:
    """Cross-entropy of downstream tokens against the upstream histogram shrunk to a prior, nats a token.

    p(t) = (n_upstream(t) + mass · prior(t)) / (n_upstream + mass); 0 where no downstream token counts.
    """
    out = np.zeros(len(upstream))
    for row, (seen, wanted) in enumerate(zip(upstream, downstream)):
        seen, wanted = seen[seen >= FIRST_BASE], wanted[wanted >= FIRST_BASE]
        if not wanted.size:
            continue
        counts = np.bincount(seen, minlength=prior.shape[1])[wanted]
        out[row] = -np.log((counts + mass * prior[row, wanted]) / (seen.size + mass)).mean()
    return out


def unigram_nats(held_out: HeldOut, frequencies: Float64[np.ndarray, "S V"]) -> Float64[np.ndarray, "B"]:
    """Cross-entropy of downstream tokens against the token frequencies of their species, nats a token."""
    batch = held_out.batch
    # An empty histogram shrunk to the unigram is the unigram.
    nothing = np.zeros_like(batch.tokens)
    return histogram_nats(nothing, batch.next_tokens, frequencies[held_out.pairs.species], mass=1.0)


def fit_histogram_mass(held_out: HeldOut, unigram: Unigram, *, grid: list[float]) -> float:
    """The weight of the unigram, in tokens, under which the downstream windows of a split are most likely."""
    prior = unigram.species[held_out.pairs.species]
    batch = held_out.batch
    nats = [histogram_nats(batch.tokens, batch.next_tokens, prior, mass=mass).sum() for mass in grid]
    return float(grid[int(np.argmin(nats))])


def next_baselines(held_out: HeldOut, unigram: Unigram, *, histogram_mass: float) -> NextScores:
    """Both baselines on the downstream windows."""
    prior, batch = unigram.species[held_out.pairs.species], held_out.batch
    return NextScores(
        unigram=unigram_nats(held_out, unigram.species),
        histogram=histogram_nats(batch.tokens, batch.next_tokens, prior, mass=histogram_mass),
        tokens=(batch.next_tokens >= FIRST_BASE).sum(axis=1).astype(np.float64),
        histogram_mass=histogram_mass,
    )


def next_groups(corpus, held_out: HeldOut, config: EvaluationConfig) -> Iterator[tuple[str, str, np.ndarray]]:
    """Groups of window pairs, of which each kind tiles: all, species, compartments, quantile bins of distance in bp."""
    pairs = held_out.pairs
    yield "all", "all", np.ones(len(pairs), dtype=bool)
    for index, name in enumerate(corpus.species):
        yield "species", name, pairs.species == index
    yield from compartments_of(corpus, pairs.region)
    edges = np.unique(np.quantile(pairs.distance_bp, np.linspace(0, 1, config.distance_bins + 1)).astype(np.int64))
    bins = np.clip(np.searchsorted(edges, pairs.distance_bp, side="right") - 1, 0, max(0, edges.size - 2))
    for index in range(max(1, edges.size - 1)):
        yield "distance", f"{edges[index]}-{edges[min(index + 1, edges.size - 1)]} bp", bins == index


def next_rows(
    corpus, held_out: HeldOut, model: Float64[np.ndarray, "B"], baselines: NextScores, config: EvaluationConfig
) -> list[dict[str, Any]]:
    """Rows of the next-region part: nats a token, and the model's gain over each baseline (positive is better).

    Every window pair weighs the same; intervals are over regions.
    """
    counts = (baselines.tokens > 0).astype(np.float64)
    nats = {MODEL: model, UNIGRAM: baselines.unigram, HISTOGRAM: baselines.histogram}
    rows = []
    for kind, group, member in next_groups(corpus, held_out, config):
        if not (member & (counts > 0)).any():
            continue
        at = {"kind": kind, "group": group, "windows": int(counts[member].sum())}
        for name, values in nats.items():
            interval = _interval(values * counts, counts, held_out, member, config)
            rows.append({**at, "metric": "next_region_nats_per_token", "predictor": name, **vars(interval)})
        for name in (UNIGRAM, HISTOGRAM):
            interval = _interval((nats[name] - model) * counts, counts, held_out, member, config)
            rows.append({**at, "metric": "next_region_gain_nats_per_token", "predictor": name, **vars(interval)})
    return rows


def _interval(
    values: np.ndarray, counts: np.ndarray, held_out: HeldOut, member: np.ndarray, config: EvaluationConfig
) -> Estimate:
    return bootstrap_ratio(
        values[member],
        counts[member],
        region=held_out.pairs.region[member],
        stratum=held_out.pairs.species[member],
        resamples=config.resamples,
        seed=config.seed,
        confidence=config.confidence,
    )

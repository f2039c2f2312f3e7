"""Training of the re-ranker: hits with labels in, a calibrated model out. Labels enter here, and no search does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.optimize import minimize

from plantgfm.formats.orthologs import Ortholog
from plantgfm.retrieval.places import Prediction, place
from plantgfm.retrieval.reranker import Reliability, Reranker, Seen, features_of, sigmoid
from plantgfm.sequence import Interval

FOLDS = 5
LEAST_QUERIES = 20
_BINS = 10
_RIDGE = 1.0  # on standardised weights, as one observation


@dataclass(frozen=True)
class Labelled:
    """Hits of one target with their labels."""

    features: Float64[np.ndarray, "n F"]
    near: Bool[np.ndarray, "n"]
    query: list[str]  # of each hit; queries of another target are others
    seen: Seen


def labelled(
    rows: Sequence[Mapping[str, str]], truth: Mapping[str, list[Ortholog]], *, within_bp: int, seen: Seen
) -> Labelled:
    """The hits of queries that have a label, from rows of `hits.tsv`.

    Raises:
        ValueError: when no query of the hits has a label.
    """
    known = [row for row in rows if truth.get(row["query_id"])]
    if not known:
        raise ValueError(f"no query of the hits in {seen.species} has a label: do the tables belong together?")
    near = []
    for row in known:
        where = Interval(row["target_id"], int(row["target_start"]), int(row["target_end"]), row["strand"])
        said = Prediction(row["query_id"], int(row["rank"]), where, 0.0, 0.0)
        gap = place(said, truth[row["query_id"]]).gap_bp
        near.append(gap is not None and gap <= within_bp)
    queries = [f"{seen.species} {row['query_id']}" for row in known]
    return Labelled(features_of(known), np.array(near), queries, seen)


def train(
    parts: list[Labelled], *, within_bp: int, ranked_by: dict[str, float], share_votes: bool, seed: int
) -> Reranker:
    """Fit, calibrate, and say how reliable it is on queries that did not fit it.

    Args:
        parts: labelled hits, one a target.
        within_bp: what the labels mean.
        ranked_by: the weights of the sources behind all hits.
        share_votes: how their searches weighed what repeats.
        seed: of the folds.

    Raises:
        ValueError: with fewer than 20 queries, or where all hits have the same label.
    """
    features = np.concatenate([part.features for part in parts])
    near = np.concatenate([part.near for part in parts])
    names, owner = np.unique([name for part in parts for name in part.query], return_inverse=True)
    if names.size < LEAST_QUERIES:
        raise ValueError(f"{names.size} queries with labels: a reranker needs at least {LEAST_QUERIES}")
    if near.all() or not near.any():
        raise ValueError(
            f"{int(near.sum())} of {near.size} hits lie within {within_bp:,} bp of a label: change within-bp"
        )
    fold = (np.random.default_rng(seed).permutation(names.size) % FOLDS)[owner]
    logits = np.empty(near.size)
    for number in range(FOLDS):
        rest, own = fold != number, fold == number
        if near[rest].all() or not near[rest].any():
            raise ValueError("near hits belong to too few queries to be parted into folds: give more queries")
        logits[own] = _fitted(features[rest], near[rest]).logits(features[own])
    platt = _logistic(logits[:, None], near, ridge=0.0)
    model = replace(_fitted(features, near), platt=[float(platt[0]), float(platt[1])])
    said = _crossed(logits, near, fold)
    reliability, scores = reliability_of(said, near)
    return replace(
        model,
        within_bp=within_bp,
        ranked_by=ranked_by,
        share_votes=share_votes,
        seen=[part.seen for part in parts],
        queries=int(names.size),
        hits=int(near.size),
        reliability=reliability,
        scores=scores,
        best_near=_best_near(said, near, owner, names.size),
    )


def _best_near(said: np.ndarray, near: np.ndarray, owner: np.ndarray, queries: int) -> list[float]:
    """The greatest probability of a near hit of each query; 0 where it has none."""
    best = np.zeros(queries)
    np.maximum.at(best, owner[near], said[near])
    return best.tolist()


def _crossed(logits: Float64[np.ndarray, "n"], near: np.ndarray, fold: Int64[np.ndarray, "n"]) -> np.ndarray:
    """Probabilities whose calibration, too, was fitted on other folds."""
    out = np.empty(near.size)
    for number in range(FOLDS):
        factor, term = _logistic(logits[fold != number][:, None], near[fold != number], ridge=0.0)
        out[fold == number] = sigmoid(factor * logits[fold == number] + term)
    return out


def _fitted(features: Float64[np.ndarray, "n F"], near: np.ndarray) -> Reranker:
    mean, spread = features.mean(axis=0), features.std(axis=0)
    scale = np.where(spread > 1e-9, spread, 1.0)
    *weights, bias = _logistic((features - mean) / scale, near, ridge=_RIDGE)
    shape = {"within_bp": 0, "ranked_by": {}, "seen": [], "queries": 0, "hits": 0}
    return Reranker(mean.tolist(), scale.tolist(), [float(w) for w in weights], float(bias), [1.0, 0.0], **shape)


def _logistic(features: Float64[np.ndarray, "n F"], near: np.ndarray, *, ridge: float) -> np.ndarray:
    """Weights and bias of the greatest penalised likelihood; targets are smoothed as Platt does, so that it exists."""
    n_near = int(near.sum())
    high, low = (n_near + 1) / (n_near + 2), 1 / (near.size - n_near + 2)
    target = np.where(near, high, low)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logits = features @ parameters[:-1] + parameters[-1]
        value = np.logaddexp(0, logits) - target * logits
        error = 0.5 * (1.0 + np.tanh(0.5 * logits)) - target
        gradient = np.append(features.T @ error + ridge * parameters[:-1], error.sum())
        return float(value.sum() + 0.5 * ridge * np.square(parameters[:-1]).sum()), gradient

    start = np.zeros(features.shape[1] + 1)
    return minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000}).x


def reliability_of(said: np.ndarray, near: np.ndarray) -> tuple[list[Reliability], dict[str, float]]:
    """Hits in tenths of the probability scale, and Brier score, log loss and expected calibration error."""
    bins = np.minimum((said * _BINS).astype(int), _BINS - 1)
    curve = [
        Reliability(float(said[bins == b].mean()), float(near[bins == b].mean()), int(np.sum(bins == b)))
        for b in np.unique(bins)
    ]
    clipped = np.clip(said, 1e-12, 1 - 1e-12)
    share = float(near.mean())
    scores = {
        "brier": float(np.mean(np.square(said - near))),
        "brier_of_the_share": share * (1 - share),
        "log_loss": float(-np.mean(np.where(near, np.log(clipped), np.log1p(-clipped)))),
        "calibration_error": sum(abs(one.predicted - one.observed) * one.hits for one in curve) / near.size,
    }
    return curve, scores

"""Scores of probes, over all rows or over many resamples of their groups at once.

A resample is a weight of every row, how often its group was drawn; so the scores of two predictors on the same resample
are paired, as are those of two models on the same rows.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import numpy as np
from jaxtyping import Float, Float64, Integer

from plantgfm.evaluation.bootstrap import draw_regions

Weights = Float64[np.ndarray, "K N"]


class Score(Enum):
    """What a probe is scored by; chance is told beside each."""

    BALANCED_ACCURACY = "balanced accuracy"  # mean over classes of the share that is found
    MACRO_F1 = "macro F1"
    AUROC = "AUROC"
    SPEARMAN = "Spearman"
    RATIO = "ratio"  # of the sums of two columns

    def __call__(self, truth: np.ndarray, said: np.ndarray, weights: Weights) -> Float64[np.ndarray, "K"]:
        """The score in each resample; NaN where it holds nothing to score.

        Args:
            truth: class numbers, ones and zeros (AUROC), values (Spearman), denominators (ratio); one a row.
            said: class numbers, scores, values, numerators.
            weights: of the rows in each resample.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            return _SCORES[self](truth, said, weights)


def _balanced_accuracy(truth: np.ndarray, said: np.ndarray, weights: np.ndarray) -> np.ndarray:
    classes = np.eye(int(truth.max()) + 1)[truth]
    return np.nanmean((weights * (truth == said)) @ classes / (weights @ classes), axis=1)


def _macro_f1(truth: np.ndarray, said: np.ndarray, weights: np.ndarray) -> np.ndarray:
    size = int(max(truth.max(), said.max())) + 1
    there, claimed = weights @ np.eye(size)[truth], weights @ np.eye(size)[said]
    right = (weights * (truth == said)) @ np.eye(size)[truth]
    return np.nanmean(np.where(there > 0, 2 * right / (there + claimed), np.nan), axis=1)


def _below(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of the rows with a smaller value, and with an equal one, at every row."""
    names, index = np.unique(values, return_inverse=True)
    order = np.argsort(index, kind="stable")
    running = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights[:, order], axis=1)], axis=1)
    edges = np.searchsorted(index[order], np.arange(names.size + 1))
    at = running[:, edges]
    return at[:, :-1][:, index], np.diff(at, axis=1)[:, index]


def _auroc(truth: np.ndarray, said: np.ndarray, weights: np.ndarray) -> np.ndarray:
    ones, zeros = weights * (truth == 1), weights * (truth != 1)
    below, equal = _below(said, zeros)
    return (ones * (below + equal / 2)).sum(axis=1) / (ones.sum(axis=1) * zeros.sum(axis=1))


def _spearman(truth: np.ndarray, said: np.ndarray, weights: np.ndarray) -> np.ndarray:
    ranks = []
    for values in (truth, said):
        below, equal = _below(values, weights)
        middle = below + equal / 2
        ranks.append(middle - (weights * middle).sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True))
    a, b = ranks
    spread = np.sqrt((weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1))
    # Who says the same of all rows puts none before another.
    return np.where(spread > 0, (weights * a * b).sum(axis=1) / np.where(spread > 0, spread, 1.0), 0.0)


def _ratio(truth: np.ndarray, said: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return weights @ said / (weights @ truth)


_SCORES: dict[Score, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    Score.BALANCED_ACCURACY: _balanced_accuracy,
    Score.MACRO_F1: _macro_f1,
    Score.AUROC: _auroc,
    Score.SPEARMAN: _spearman,
    Score.RATIO: _ratio,
}


def resampled_rows(
    group: Integer[np.ndarray, "N"], stratum: Integer[np.ndarray, "N"], *, resamples: int
) -> tuple[Weights, int, int]:
    """Weights of the rows where groups are drawn with replacement within their stratum.

    Where most groups are alone in theirs, they are drawn from all strata: a lone one would always be drawn again, and
    an interval without width is no certainty.

    Returns:
        The weights, the number of groups, and the degrees of freedom that they leave.
    """
    names, index = np.unique(group, return_inverse=True)
    strata = np.zeros(names.size, np.int64)
    strata[index] = stratum
    if 2 * (names.size - np.unique(strata).size) < names.size:
        strata[:] = 0
    return draw_regions(strata, resamples=resamples)[:, index], names.size, names.size - np.unique(strata).size


def spread(values: Float[np.ndarray, "K"], *, confidence: float = 0.95) -> tuple[float, float]:
    """Percentile interval of a resampled score; what could not be scored is left out."""
    known = values[np.isfinite(values)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)

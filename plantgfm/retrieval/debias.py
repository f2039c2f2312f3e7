"""Debiasing: remove what all embeddings share, and give what is left an equal say.

All-but-the-top removes the mean and the leading components (Mu and Viswanath 2018, ICLR, arXiv:1702.01417). Whitening
then scales every remaining component to the same variance (Su et al. 2021, arXiv:2103.15316): training concentrates the
variance of pooled states in a few directions, GC content first, and a plain cosine hears nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from plantgfm.formats.streams import atomic_binary

_BLOCK_ROWS = 4_096
_ROUNDING = 1e-6  # of float32, in which vectors are stored


@dataclass(frozen=True)
class Debias:
    """A fitted correction; applied at scoring time, vectors on disk stay as they are."""

    mean: Float64[np.ndarray, "D"]
    matrix: Float64[np.ndarray, "D D"]  # symmetric; the removed components lie in its null space

    def apply(self, vectors: Float32[np.ndarray, "B D"]) -> Float32[np.ndarray, "B D"]:
        """Corrected vectors of length 1, so that a dot product is a cosine; a null vector stays null."""
        return self.apply_with_norms(vectors)[0]

    def apply_with_norms(
        self, vectors: Float32[np.ndarray, "B D"]
    ) -> tuple[Float32[np.ndarray, "B D"], Float32[np.ndarray, "B"]]:
        """What `apply` gives, and how long the corrected vectors were; 0 for a null vector."""
        centred = vectors.astype(np.float64) - self.mean
        corrected = centred @ self.matrix
        norms = np.linalg.norm(corrected, axis=1, keepdims=True)
        null = norms <= _ROUNDING * (1.0 + np.linalg.norm(self.mean))
        unit = np.where(null, 0.0, corrected / np.where(null, 1.0, norms)).astype(np.float32)
        return unit, np.where(null, 0.0, norms)[:, 0].astype(np.float32)


def no_debias(width: int) -> Debias:
    """Leaves vectors as they are, but for their length."""
    return Debias(np.zeros(width), np.eye(width))


class Moments:
    """Mean and covariance of vectors that come block by block; sums are taken about the first block's mean."""

    def __init__(self) -> None:
        self.rows: float = 0
        self._shift = np.zeros(0)
        self._sum = np.zeros(0)
        self._products = np.zeros((0, 0))

    def add(self, vectors: Float32[np.ndarray, "B D"], *, weight: float = 1) -> None:
        """Take in a block of rows, each of which counts as so many."""
        if not self.rows:
            self._shift = vectors.mean(axis=0, dtype=np.float64)
            self._sum, self._products = np.zeros(vectors.shape[1]), np.zeros((vectors.shape[1],) * 2)
        moved = vectors.astype(np.float64) - self._shift
        self._sum += weight * moved.sum(axis=0)
        self._products += weight * (moved.T @ moved)
        self.rows += weight * vectors.shape[0]

    def write(self, path: Path) -> None:
        """Write the sums; the file appears whole or not at all."""
        with atomic_binary(path) as stream:
            np.savez(stream, rows=self.rows, shift=self._shift, sums=self._sum, products=self._products)

    @staticmethod
    def read(path: Path) -> Moments:
        """What `write` wrote."""
        moments = Moments()
        with np.load(path) as stored:
            moments.rows, moments._shift = float(stored["rows"]), stored["shift"]
            moments._sum, moments._products = stored["sums"], stored["products"]
        return moments

    def fit(self, *, components: int, whiten: bool, ridge: float) -> Debias:
        """The correction for all that was taken in.

        Args:
            components: how many leading components to remove.
            whiten: scale every other component to the same variance.
            ridge: variance added to each component before whitening, as a share of the mean variance of a component, so
                that the weakest ones are not blown up.

        Raises:
            ValueError: when there are not more targets than components.
        """
        width = self._sum.size
        if components >= min(self.rows - 1, width):
            raise ValueError(
                f"retrieval.components={components} needs at least {components + 2} target windows and "
                f"{components + 1} dimensions, there are {round(self.rows)} and {width}: lower it, or embed with a "
                "smaller stride"
            )
        offset = self._sum / self.rows
        covariance = self._products / self.rows - np.outer(offset, offset)
        variances, vectors = np.linalg.eigh(covariance)
        scales = np.ones(width)
        floor = ridge * max(float(variances.mean()), 0.0)
        if whiten and floor > 0.0:
            scales = np.sqrt(floor / (np.maximum(variances, 0.0) + floor))  # at most 1: the weakest stay as they are
        scales[width - components :] = 0.0
        return Debias(self._shift + offset, (vectors * scales) @ vectors.T)


def fit_debias(targets: Float32[np.ndarray, "B D"], *, components: int, whiten: bool, ridge: float) -> Debias:
    """The correction for target vectors alone, as `Moments.fit` gives it; queries never enter."""
    moments = Moments()
    for first in range(0, targets.shape[0], _BLOCK_ROWS):
        moments.add(targets[first : first + _BLOCK_ROWS])
    return moments.fit(components=components, whiten=whiten, ridge=ridge)

"""All-but-the-top: remove the mean and the leading components that all embeddings share.

Mu and Viswanath 2018, "All-but-the-Top: Simple and Effective Postprocessing for Word Representations", ICLR
(arXiv:1702.01417).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

_BLOCK_ROWS = 65_536
_ROUNDING = 1e-6  # of float32, in which vectors are stored


@dataclass(frozen=True)
class Debias:
    """A fitted correction; applied at scoring time, vectors on disk stay as they are."""

    mean: Float64[np.ndarray, "D"]
    components: Float64[np.ndarray, "r D"]  # orthonormal rows, strongest first

    def apply(self, vectors: Float32[np.ndarray, "B D"]) -> Float32[np.ndarray, "B D"]:
        """Corrected vectors of length 1, so that a dot product is a cosine; a null vector stays null."""
        centred = vectors.astype(np.float64) - self.mean
        centred -= (centred @ self.components.T) @ self.components
        norms = np.linalg.norm(centred, axis=1, keepdims=True)
        null = norms <= _ROUNDING * (1.0 + np.linalg.norm(self.mean))
        return np.where(null, 0.0, centred / np.where(null, 1.0, norms)).astype(np.float32)


def fit_debias(targets: Float32[np.ndarray, "B D"], *, components: int) -> Debias:
    """Fit on the target vectors alone, streaming over blocks of rows.

    Args:
        targets: vectors of the target windows; queries never enter.
        components: how many leading components to remove.

    Raises:
        ValueError: when there are not more targets than components.
    """
    n, width = targets.shape
    if components >= min(n - 1, width):
        raise ValueError(
            f"retrieval.components={components} needs at least {components + 2} target windows and {components + 1} "
            f"dimensions, there are {n} and {width}: lower it, or embed with a smaller stride"
        )
    mean = targets.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((width, width))
    for first in range(0, n, _BLOCK_ROWS):
        block = targets[first : first + _BLOCK_ROWS].astype(np.float64) - mean
        covariance += block.T @ block
    _, vectors = np.linalg.eigh(covariance)
    return Debias(mean, vectors.T[::-1][:components].copy())

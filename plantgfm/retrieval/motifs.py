"""A prior for windows that hold binding sites: the average affinity of motifs. No label passes here.

The affinity of a window is the mean over its positions and strands of 2 to the log-odds (average motif affinity: Buske
et al. 2010, doi:10.1093/bioinformatics/btq049), its log2 is the score, and the best motif speaks for the window. It is
the same for every query.
"""

from __future__ import annotations

from pathlib import Path
from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8
from numba import njit

from plantgfm.formats.meme import Motif, consensus_motif, read_meme
from plantgfm.retrieval.targets import Block

MOTIFS = "motifs"
AUXRE = consensus_motif("AuxRE", "TGTCTC")
"""The auxin response element (Ulmasov et al. 1995, doi:10.1105/tpc.7.10.1611)."""


def motifs_of(named: str) -> list[Motif]:
    """`AuxRE`, or the motifs of a file in MEME's format; FormatError for one that is not."""
    return [AUXRE] if named == AUXRE.name else read_meme(Path(named).expanduser())


class MotifSource:
    """log2 of the average affinity of the motif that fits a window best."""

    needs_bases = True

    def __init__(self, motifs: list[Motif], *, n_queries: int):
        self._odds = [np.exp2(motif.log_odds) for motif in motifs]
        self.floor = np.zeros(n_queries)

    def fit(self, block: Block) -> None:
        """Nothing of the target is needed."""

    def scores(self, block: Block) -> Float32[np.ndarray, "Q n"]:
        """The same row for every query."""
        means = [_affinities(block.bases, block.offsets, odds) for odds in self._odds]
        best = np.log2(np.maximum.reduce(means)).astype(np.float32)
        return np.broadcast_to(best, (self.floor.size, best.size))


def _affinities(
    bases: UInt8[np.ndarray, "P"], offsets: Int64[np.ndarray, "n_plus_1"], odds: Float64[np.ndarray, "w 4"]
) -> Float64[np.ndarray, "n"]:
    """Mean of the odds over all places and both strands; that of the background, 1, where there is no such place."""
    out = np.empty(offsets.size - 1)
    _average(bases, offsets, np.ascontiguousarray(odds), np.ascontiguousarray(odds[::-1, ::-1]), out)
    return out


@njit(cache=True, nogil=True)
@no_type_check
def _average(bases, offsets, forward, backward, out):
    width = forward.shape[0]
    for window in range(offsets.size - 1):
        total, places = 0.0, 0
        for first in range(offsets[window], offsets[window + 1] - width + 1):
            ahead, behind = 1.0, 1.0
            for i in range(width):
                base = bases[first + i]
                if base > 3:
                    ahead, behind = -1.0, 0.0
                    break
                ahead *= forward[i, base]
                behind *= backward[i, base]
            if ahead >= 0:
                total, places = total + ahead + behind, places + 2
        out[window] = total / places if places else 1.0

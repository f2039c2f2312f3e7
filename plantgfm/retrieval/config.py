"""Settings of retrieval."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class RetrievalConfig:
    """How queries are searched in a target."""

    top_k: int = 50  # hits reported per query
    components: int = 1  # leading components removed from all vectors (all-but-the-top); 0: only the mean
    whiten: bool = True  # scale the other components to the same variance; false: all-but-the-top alone
    ridge: float = 1e-3  # of whitening: variance added to each component, as a share of the components' mean variance
    flank_bp: int = 0  # added on both sides of a gene that is cut out as a query
    permutations: int = 20  # random rankings behind the chance figures
    resamples: int = 1000  # bootstrap over queries
    seed: int = 0

    def __post_init__(self):
        if not 0 < self.ridge < math.inf:
            raise ValueError(
                f"retrieval.ridge={self.ridge} needs to be above 0 and finite; --no-whiten leaves whitening out"
            )
        for name in ("top_k", "permutations", "resamples"):
            if getattr(self, name) < 1:
                raise ValueError(f"retrieval.{name}={getattr(self, name)} needs to be at least 1")
        if self.components < 0:
            raise ValueError(f"retrieval.components={self.components} is negative: 0 removes only the mean")
        if self.flank_bp < 0:
            raise ValueError(f"retrieval.flank_bp={self.flank_bp} is negative: 0 cuts the gene alone")
        if self.seed < 0:
            raise ValueError(f"retrieval.seed={self.seed} is negative: give 0 or more")

"""Settings of retrieval."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class RetrievalConfig:
    """How queries are searched in a target."""

    top_k: int = 50  # hits reported per query
    components: int = 1  # leading components removed from all vectors (all-but-the-top); 0: only the mean
    flank_bp: int = 0  # added on both sides of a gene that is cut out as a query
    permutations: int = 20  # random rankings behind the chance figures
    resamples: int = 1000  # bootstrap over queries
    seed: int = 0

    def __post_init__(self):
        if self.top_k < 1:
            raise ValueError(f"retrieval.top_k={self.top_k} needs to be at least 1")
        if self.components < 0:
            raise ValueError(f"retrieval.components={self.components} is negative: 0 removes only the mean")

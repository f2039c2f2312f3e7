"""Settings of what is seen at which step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class SamplerConfig:
    """Which windows make a step; expect several million input tokens a second on one core at 512 tokens."""

    window_tokens: int = 512  # L: [CLS] and at most L - 1 tokens of a window of 6 x (L - 1) bp
    batch_windows: int = 16  # B: window pairs in an optimizer step, over all hosts and accumulation steps
    min_species: int = 8  # distinct species in every step
    windows_per_species: int = 1  # windows of one species drawn together; B / this are the draws of a step
    temperature: float = 2.0  # species weigh size^(1 / temperature): 1 by size, large evenly
    distance_min_bp: int = 64  # gap between the two windows of a pair, log-uniform from here
    distance_max_bp: int = 8_192  # to here, or to what fits in the region
    cluster_alpha: float = 0.5  # a window weighs (windows in its duplicate cluster)^-alpha: 0 all, 1 one a cluster
    both_strands: bool = True  # a pair is read on a drawn strand; False: all on the strand of their FASTA records
    max_unknown_fraction: float = 0.1  # of either window; a window with more is never planned
    near_identity: float = 0.97  # a held-out window is dropped where training holds a copy at this identity, or above
    prefetch_batches: int = 4  # made ahead by a thread
    seed: int = 0
    width_bp: int = (
        0  # of a window; 0: 6 x (L - 1), as 6-mers need. Shorter tokens need more slots: what has none is cut
    )

    def __post_init__(self):
        if self.windows_per_species < 1 or self.batch_windows % self.windows_per_species:
            raise ValueError(
                f"sampler.windows_per_species={self.windows_per_species} must be at least 1 and divide "
                f"sampler.batch_windows={self.batch_windows}"
            )
        if self.width_bp < 0:
            raise ValueError(f"sampler.width_bp={self.width_bp} must be base pairs, or 0 for 6 x (window_tokens - 1)")
        if self.window_tokens < 2:
            raise ValueError(f"sampler.window_tokens={self.window_tokens} must hold [CLS] and a token: 2 or more")
        if not 1 <= self.min_species <= self.batch_windows // self.windows_per_species:
            raise ValueError(
                f"sampler.batch_windows={self.batch_windows} can't hold sampler.min_species={self.min_species} with "
                f"sampler.windows_per_species={self.windows_per_species}: raise the first or lower one of the others "
                "(at least 1)"
            )
        if not 1 <= self.distance_min_bp <= self.distance_max_bp:
            raise ValueError(
                f"sampler.distance_min_bp={self.distance_min_bp} must lie between 1 and sampler.distance_max_bp="
                f"{self.distance_max_bp}: a log-uniform distance has no zero"
            )
        if self.temperature <= 0 or self.cluster_alpha < 0 or not 0 <= self.max_unknown_fraction < 1:
            raise ValueError(
                f"sampler.temperature={self.temperature} must be positive, sampler.cluster_alpha={self.cluster_alpha} "
                f"not negative, sampler.max_unknown_fraction={self.max_unknown_fraction} in [0, 1)"
            )
        if not 0.9 <= self.near_identity <= 1:
            raise ValueError(
                f"sampler.near_identity={self.near_identity} must lie between 0.9 and 1 (k-mers see no further); "
                "curation.duplicates.window_identity says the same of the duplicate clusters"
            )
        if self.prefetch_batches < 1:
            raise ValueError(f"sampler.prefetch_batches={self.prefetch_batches} must be at least 1")

    @property
    def window_bp(self) -> int:
        """Width of a window: `width_bp`, or 6 base pairs for every token but [CLS]."""
        return self.width_bp or 6 * (self.window_tokens - 1)

"""Settings of the corpus on disk."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class CorpusConfig:
    """How records are cut into regions, split and stored.

    Expect about a second for 40 Mb; a corpus takes 1/4 byte a base stored and 1 byte decoded.
    """

    region_bp: int = 32_768  # the unit of splitting; both windows of a pair lie in one region
    segment_bp: int = 131_072  # longest stored segment; neighbouring regions of one split share a segment
    validation_fraction: float = 0.06  # of a species' regions that can be held out
    test_fraction: float = 0.06
    min_region_bp: int = 6_144  # a shorter region is never held out, and counted: few window pairs fit
    seed: int = 0

    def __post_init__(self):
        if self.region_bp < 1 or not 0 <= self.min_region_bp <= self.region_bp:
            raise ValueError(
                f"corpus.layout.region_bp={self.region_bp} must be positive and corpus.layout.min_region_bp="
                f"{self.min_region_bp} lie between 0 and it"
            )
        if 2 * self.segment_bp < 3 * self.region_bp:
            raise ValueError(
                f"corpus.layout.segment_bp={self.segment_bp} must hold the longest region, 1.5 x "
                f"corpus.layout.region_bp={self.region_bp}: set it to {-(-3 * self.region_bp // 2)} or more"
            )
        held_out = self.validation_fraction + self.test_fraction
        if min(self.validation_fraction, self.test_fraction) < 0 or held_out > 0.5:
            raise ValueError(
                f"corpus.layout.validation_fraction={self.validation_fraction} and corpus.layout.test_fraction="
                f"{self.test_fraction} must not be negative, nor hold out more than half"
            )

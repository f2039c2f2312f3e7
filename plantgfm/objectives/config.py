"""Settings of the training objectives."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ObjectiveConfig:
    """Masked modelling, next-region prediction, and how they are joined.

    Raises:
        ValueError: for a share outside 0 to 1 or a weight below 0, naming the value.
    """

    masked_fraction: float = 0.15  # of the valid tokens of a window
    span_share: float = 0.5  # share of the masked tokens that is drawn in spans, the rest one by one
    mean_span_tokens: float = 3.0  # mean of the geometric span lengths
    mask_share: float = 0.8  # of the chosen tokens: replaced by [MASK] in training
    random_share: float = 0.1  # replaced by a random token; the rest stays
    repeat_weight: float = 1.0  # loss weight of a token that lies in repeats with all its bases
    z_loss_weight: float = 0.0  # of the squared log normaliser at masked slots: keeps logits near 0; 1e-4 is usual
    nucleotide_weight: float = 0.0  # of the loss of the bases of masked tokens, a base's probability summed over k-mers
    next_region_weight: float = 0.1  # of the next-region loss in the sum; 0 leaves it out of the gradient

    def __post_init__(self):
        for name in ("masked_fraction", "span_share", "mask_share", "random_share", "repeat_weight"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"objective.{name} is {getattr(self, name)}, needs a value from 0 to 1")
        if self.mask_share + self.random_share > 1.0:
            raise ValueError(f"objective.mask_share {self.mask_share} and random_share {self.random_share} exceed 1")
        if self.masked_fraction == 0.0:
            raise ValueError("objective.masked_fraction is 0, so that nothing would be learned; 0.15 is usual")
        if self.mean_span_tokens < 1.0:
            raise ValueError(f"objective.mean_span_tokens is {self.mean_span_tokens}, needs at least 1")
        if not self.z_loss_weight >= 0.0:
            raise ValueError(f"objective.z_loss_weight is {self.z_loss_weight}, needs at least 0")
        if not 0.0 <= self.nucleotide_weight < float("inf"):
            raise ValueError(f"objective.nucleotide_weight is {self.nucleotide_weight}, needs at least 0 (0: without)")
        if self.next_region_weight < 0.0:
            raise ValueError(f"objective.next_region_weight is {self.next_region_weight}, needs at least 0")

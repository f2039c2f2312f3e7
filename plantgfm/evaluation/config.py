"""Settings of the evaluation on held-out regions."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class EvaluationConfig:
    """What is scored on held-out regions, and how the baselines beside it are fitted.

    Expect about 20 s of baselines for 14 Mb of training sequence and 10,000 scored tokens, then seconds for a second
    evaluation that finds them cached.
    """

    max_windows: int = 512  # test windows that are reported on, spread over the species
    tune_windows: int = 256  # validation windows that tune the baselines
    watch_windows: int = 64  # validation windows scored during training, for keep-best
    batch_windows: int = 16
    masked_fraction: float = 0.15  # of the tokens of a window, whatever share the training hid: figures stay comparable
    seed: int = 1234  # of the masked positions and of the bootstrap
    resamples: int = 1000  # bootstrap over regions
    confidence: float = 0.95
    repeat_threshold: float = 0.5  # a token with at least this share of repeat bases counts as inside a repeat
    markov_order: int = 11  # the highest one; every order from 1 to here is scored
    two_sided: bool = True  # also score the best pooled order with its context on both sides, for information
    two_sided_orders: list[int] = field(default_factory=lambda: [3])  # and these: 3 is the null world's own
    tune_bp: int = 400_000  # validation bases that choose the back-off strengths
    strengths: list[float] = field(default_factory=lambda: [0.5 * 2.0**i for i in range(14)])  # grid of Dirichlet mass
    shrinkages: list[float] = field(default_factory=lambda: [2.0**i for i in range(4, 20)])  # grid, tokens
    distance_bins: int = 4  # quantile bins of the distance to the next region

    def __post_init__(self):
        for name in ("max_windows", "tune_windows", "watch_windows", "batch_windows", "resamples", "distance_bins"):
            if getattr(self, name) < 1:
                raise ValueError(f"evaluation.{name}={getattr(self, name)} must be at least 1")
        if not 0 < self.masked_fraction < 1:
            raise ValueError(f"evaluation.masked_fraction={self.masked_fraction} must lie between 0 and 1, as in 0.15")
        if self.seed < 0:
            raise ValueError(f"evaluation.seed={self.seed} must be 0 or more")
        if not 1 <= self.markov_order <= 12:
            raise ValueError(f"evaluation.markov_order={self.markov_order}: counts for orders 1 to 12 fit in memory")
        if not 0 < self.confidence < 1:
            raise ValueError(f"evaluation.confidence={self.confidence} must lie between 0 and 1, as in 0.95")
        for name in ("strengths", "shrinkages"):
            values = getattr(self, name)
            if not values or min(values) <= 0:
                raise ValueError(f"evaluation.{name}={values} must be a list of positive numbers")
        if self.tune_bp < 1:
            raise ValueError(f"evaluation.tune_bp={self.tune_bp} must be at least 1")

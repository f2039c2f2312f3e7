"""What an experiment folder states before anything runs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum


class Metric(Enum):
    """What may decide a question; each is a ratio of two sums over held-out windows."""

    MASKED = "masked_bits_per_base"  # all hidden intervals
    MASKED_INSIDE = "masked_bits_per_base_in_repeats"
    MASKED_OUTSIDE = "masked_bits_per_base_outside_repeats"
    MASKED_POINTS = "masked_bits_per_base_at_points"  # tokens that hold one hidden base drawn alone
    MASKED_SPANS = "masked_bits_per_base_in_spans"  # hidden runs of `span_bp`
    IN_TURN = "masked_bits_per_base_in_turn"  # each token of a hidden stretch given those before it: `in_turn`
    NEXT = "next_region_bits_per_base"
    NEXT_GAIN = "next_region_gain_bits_per_base"  # over the token frequencies of the species

    @property
    def lower_is_better(self) -> bool:
        """Whether a smaller value is the better one."""
        return self is not Metric.NEXT_GAIN


class View(Enum):
    """What is equal among arms: the base pairs that they have seen, or the tokens."""

    BASES = "bases"
    TOKENS = "tokens"


@dataclass
class Definition:
    """`experiment.yaml`: the arms, the budget, and the rule that decides, all stated before running.

    Raises:
        ValueError: for a definition that can't be run or can't decide anything.
    """

    question: str = ""
    base: str = ""  # the arm that each other one is compared with
    arms: list[str] = field(default_factory=list)  # files beside this one, the base among them
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])  # of parameters, masks and data order
    overrides: list[str] = field(default_factory=list)  # Hydra's, the same for every arm
    metric: Metric = Metric.MASKED
    margin: float = 0.002  # smallest difference that would change a default, in the metric's unit
    alpha: float = 0.05  # chance of any false "better" or "worse" in the question, over all arms
    power: float = 0.8  # of the smallest difference that the report says could have been shown
    views: list[View] = field(default_factory=lambda: [View.BASES])  # the first one decides
    windows: int = 512  # held-out windows that every arm is scored on
    hidden_share: float = 0.15  # of their bases, half at single points and half in runs of span_bp
    span_bp: int = 24
    drawn_phase: bool = False  # runs begin at a base drawn for a window, not at multiples of span_bp, where 6-mers do
    in_turn: bool = False  # also score hidden tokens one after the other, which vocabularies of short tokens need
    resamples: int = 2000
    longer: str = ""  # the question that asks a winner again over more steps; until then it is a candidate
    left_out: list[str] = field(default_factory=list)  # arms that this call leaves out; error rates stay those of all
    not_yet: dict[str, str] = field(default_factory=dict)  # arms that the code can't express: name -> why

    def __post_init__(self):
        if not self.question.strip():
            raise ValueError("question is empty: state it in a sentence")
        if wrong := [arm for arm in self.arms if not re.fullmatch(r"[a-z][a-z0-9_]*", arm)]:
            raise ValueError(f"arm {wrong[0]!r} must be a name of a-z, 0-9 and _ that starts with a letter")
        if len(set(self.arms)) != len(self.arms) or len(self.arms) < 2:
            raise ValueError(f"arms = {self.arms}: name two arms or more, each once")
        if self.base not in self.arms:
            raise ValueError(f"base = {self.base!r} is none of the arms {self.arms}")
        if len(set(self.seeds)) != len(self.seeds) or len(self.seeds) < 2 or min(self.seeds) < 0:
            raise ValueError(f"seeds = {self.seeds}: two different ones at least, else seeds can't be told from arms")
        if not self.margin > 0:
            raise ValueError(f"margin = {self.margin} must be positive: which difference would change a default?")
        if not (0 < self.alpha < 0.5 and 0.5 <= self.power < 1):
            raise ValueError(f"alpha = {self.alpha} must lie in (0, 0.5) and power = {self.power} in [0.5, 1)")
        if not self.views or len(set(self.views)) != len(self.views):
            raise ValueError(f"views = {[view.value for view in self.views]}: name bases, tokens or both, once")
        if not 0 < self.hidden_share <= 0.5 or self.span_bp < 8:
            raise ValueError(f"hidden_share = {self.hidden_share} must lie in (0, 0.5], span_bp = {self.span_bp} be 8+")
        if self.metric is Metric.IN_TURN and not self.in_turn:
            raise ValueError(f"metric = {self.metric.name} needs in_turn: true, which scores it")
        if self.windows < 1 or self.resamples < 100:
            raise ValueError(f"windows = {self.windows} must be 1 or more, resamples = {self.resamples} 100 or more")

    @property
    def n_comparisons(self) -> int:
        """Arms stated beside the base, those that were left out among them: what error rates are over."""
        return len(self.arms) - 1 + len(self.left_out)


@dataclass
class Grid:
    """`grid.yaml`: sizes times steps times seeds, and what a law fitted to them shall predict.

    Raises:
        ValueError: for a grid that can't be run, or can't tell the law or its check.
    """

    question: str = ""
    sizes: list[str] = field(default_factory=list)  # files beside this one
    held_out: list[str] = field(default_factory=list)  # of the sizes: those that the checked fit does not see
    steps: list[int] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0, 1])
    overrides: list[str] = field(default_factory=list)  # Hydra's, the same for every size
    metric: Metric = Metric.MASKED
    alpha: float = 0.05  # chance that a sound law fails the check; intervals hold with 1 - alpha
    windows: int = 512
    hidden_share: float = 0.15
    span_bp: int = 24
    resamples: int = 300  # of regions and seeds, each with a fit
    targets: list[str] = field(default_factory=lambda: ["base", "1b"])  # of configs/model
    corpus_bp: float = 0.0  # that the targets train on; 0: what the grid's corpus trains on
    epochs: float = 1.0  # passes of the targets over it

    def __post_init__(self):
        if unknown := sorted(set(self.held_out) - set(self.sizes)):
            raise ValueError(f"held_out names {unknown[0]!r}, which is none of the sizes {self.sizes}")
        if not self.held_out or len(self.sizes) - len(set(self.held_out)) < 3:
            raise ValueError(
                f"sizes = {self.sizes}, held_out = {self.held_out}: one size at least is held out for the check, and "
                "three or more are left to fit"
            )
        if len(set(self.steps)) != len(self.steps) or len(self.steps) < 3 or min(self.steps) < 1:
            raise ValueError(f"steps = {self.steps}: name three different numbers or more, else powers can't be told")
        if self.metric is Metric.NEXT_GAIN:
            raise ValueError("metric = NEXT_GAIN is a gain; a law of losses needs a metric that falls")
        if self.resamples < 20:
            raise ValueError(f"resamples = {self.resamples} must be 20 or more for an interval")
        if not (self.corpus_bp >= 0 and self.epochs > 0):
            raise ValueError(f"corpus_bp = {self.corpus_bp} must be 0 or more, epochs = {self.epochs} positive")

    @property
    def definition(self) -> Definition:
        """What the sweep is told: sizes are its arms, and the first one is the base whose windows all are scored on."""
        same = ("question", "seeds", "overrides", "metric", "alpha", "windows", "hidden_share", "span_bp")
        return Definition(base=self.sizes[0], arms=self.sizes, **{name: getattr(self, name) for name in same})


@dataclass
class ProbeConfig:
    """How much of a frozen model is probed; the defaults are meant for seconds on two cores.

    Raises:
        ValueError: for sizes that leave nothing to fit, choose or score.
    """

    windows: int = 256  # held-out windows that are embedded, in pairs of one region
    class_tiles: int = 100  # tiles of each class (coding, intron, intergenic; classes of repeats), at most
    tile_bp: int = 306  # a window is cut into tiles of this width
    class_share: float = 0.67  # of a tile's bases that make its class
    task_rows: int = 600  # of each task file: fitted, choosing and scored rows together
    target_bp: int = 300_000  # of the sequence that queries are searched in
    queries: int = 50  # that are searched for, at most
    layer: int = -1  # -1: after the final norm; 0: token embedding; i: after layer i
    resamples: int = 500  # of regions, behind the intervals
    seed: int = 0  # of the draws of windows, tiles and rows, and of the parts

    def __post_init__(self):
        for name, least in (("windows", 40), ("class_tiles", 10), ("tile_bp", 24), ("task_rows", 40)):
            if getattr(self, name) < least:
                raise ValueError(f"probes.{name}={getattr(self, name)} is too few: give {least} or more")
        for name, least in (("target_bp", 10_000), ("queries", 5), ("resamples", 100)):
            if getattr(self, name) < least:
                raise ValueError(f"probes.{name}={getattr(self, name)} is too few: give {least} or more")
        if not 0.5 < self.class_share <= 1:
            raise ValueError(f"probes.class_share={self.class_share} must lie in (0.5, 1]: else a tile has two classes")

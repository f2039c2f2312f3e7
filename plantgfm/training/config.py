"""Settings of the optimizer and of the training loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Schedule(Enum):
    """How the learning rate goes on after the warm-up."""

    WSD = "wsd"  # stays at the peak, then falls along a line over the last `decay_fraction` of all steps
    COSINE = "cosine"  # half a cosine from the peak to the floor
    INVERSE_SQRT = "inverse_sqrt"  # peak x sqrt(warmup / step); never reaches the floor
    CONSTANT = "constant"


class OptimizerKind(Enum):
    """The rule behind an update."""

    ADAMW = "adamw"  # Loshchilov and Hutter 2019, arXiv:1711.05101
    MUON = "muon"  # orthogonalised momentum for matrices of layers and heads, AdamW (with Nesterov) for the rest


class OnBadStep(Enum):
    """What a run does about a step whose loss or gradient is not finite, or whose loss spikes."""

    STOP = "stop"  # with an error; the last checkpoint stays good
    SKIP = "skip"  # parameters and optimizer state stay what they were, the data goes on
    ROLL_BACK = "roll_back"  # to the last checkpoint, and on from there with the data behind the bad step


@dataclass
class OptimizerConfig:
    """AdamW, or Muon beside it, with warm-up, decay and clipping by the global norm.

    Muon: https://kellerjordan.github.io/posts/muon/; its matrices follow the same schedule from a peak of their own.
    """

    kind: OptimizerKind = OptimizerKind.ADAMW
    peak_learning_rate: float = 1e-3
    muon_learning_rate: float = 0.02  # `muon` only: peak for the matrices, the spectral norm of an update
    muon_momentum: float = 0.95
    warmup_steps: int = 50
    schedule: Schedule = Schedule.WSD
    decay_fraction: float = 0.2  # of all steps; `wsd` only
    floor_fraction: float = 0.05  # learning rate at the last step, as a share of the peak; `wsd` and `cosine`
    weight_decay: float = 0.1  # never on norms and biases; under `muon` on the matrices, times their own rate
    decay_embeddings: bool = False
    never_decay: list[str] = field(default_factory=list)  # parts of parameter names that are spared beside these
    average_decay: float = 0.0  # of the exponential average of the parameters that is evaluated and exported; 0: none
    b1: float = 0.9
    b2: float = 0.98
    epsilon: float = 1e-8
    clip_norm: float = 1.0  # of the whole gradient; 0 switches clipping off

    def __post_init__(self):
        if not self.peak_learning_rate > 0:
            raise ValueError(f"peak_learning_rate is {self.peak_learning_rate}, it must be above 0")
        if not (self.muon_learning_rate > 0 and 0 <= self.muon_momentum < 1):
            raise ValueError(
                f"muon_learning_rate {self.muon_learning_rate} must be above 0 and muon_momentum {self.muon_momentum} "
                "lie in [0, 1)"
            )
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps is {self.warmup_steps}, it must be 0 or more")
        if not 0 < self.decay_fraction <= 1:
            raise ValueError(f"decay_fraction is {self.decay_fraction}, it must lie in (0, 1]")
        if not 0 <= self.floor_fraction <= 1:
            raise ValueError(f"floor_fraction is {self.floor_fraction}, it must lie in [0, 1]")
        if not (self.clip_norm >= 0 and self.weight_decay >= 0):
            raise ValueError(f"clip_norm {self.clip_norm} and weight_decay {self.weight_decay} must be 0 or more")
        if not 0 <= self.average_decay < 1:
            raise ValueError(f"average_decay is {self.average_decay}, it must lie in [0, 1): 0.999 is usual, 0 is none")
        if not all(self.never_decay):
            raise ValueError("never_decay names a parameter by no letters, which would spare all: name some part of it")
        if not self.epsilon > 0:
            raise ValueError(
                f"epsilon is {self.epsilon}, it must be above 0: gradients that are 0 would be divided by it"
            )
        if not (0 <= self.b1 < 1 and 0 <= self.b2 < 1):
            raise ValueError(f"b1 {self.b1} and b2 {self.b2} must lie in [0, 1)")


@dataclass
class TrainingConfig:
    """How long to train, and what to leave on disk on the way.

    `best_metric` names one value of one evaluator as "evaluator/value"; the checkpoint that was best by it is kept
    beside the last ones.
    """

    steps: int = 600  # optimizer steps; they shape the learning rate, so they belong to the run's identity
    seed: int = 0
    micro_batches: int = 1  # a batch is cut into so many parts whose gradients are added; still one optimizer step
    log_every_steps: int = 10
    evaluate_every_steps: int = 200  # 0: at the end only
    checkpoint_every_steps: int = 200
    keep_last: int = 2
    best_metric: str = ""  # "": no checkpoint is kept for being best
    best_is_lowest: bool = True
    tensorboard: bool = True
    wandb_project: str = ""  # of Weights & Biases, through its client (extra `tracking`); "": none
    wandb_offline: bool = False  # keep what goes there in the run folder, for `wandb sync`
    live_report: bool = True  # draw the run's report behind every evaluation
    on_bad_step: OnBadStep = OnBadStep.STOP
    spike_deviations: float = (
        0.0  # a loss so many standard deviations above its mean is bad, too; 0: none is; 6 is wary
    )
    spike_window_steps: int = 100  # good steps behind that mean and deviation; before there are so many, nothing spikes
    max_bad_steps: int = 10  # that a run may skip or roll back from; one more stops it
    power_watts: float = 0.0  # of all devices, for the energy of the throughput report; 0: read where a device tells

    def __post_init__(self):
        counts = {
            "steps": self.steps,
            "micro_batches": self.micro_batches,
            "log_every_steps": self.log_every_steps,
            "checkpoint_every_steps": self.checkpoint_every_steps,
            "keep_last": self.keep_last,
            "spike_window_steps": self.spike_window_steps,
            "max_bad_steps": self.max_bad_steps,
        }
        for name, count in counts.items():
            if count < 1:
                raise ValueError(f"{name} is {count}, it must be 1 or more")
        if self.evaluate_every_steps < 0:
            raise ValueError(f"evaluate_every_steps is {self.evaluate_every_steps}, it must be 0 or more")
        if not self.spike_deviations >= 0:
            raise ValueError(f"spike_deviations is {self.spike_deviations}, it must be 0 (no spike is bad) or more")
        if not self.power_watts >= 0:
            raise ValueError(f"power_watts is {self.power_watts}, it must be 0 (not known) or more")
        if self.wandb_offline and not self.wandb_project:
            raise ValueError("wandb_offline=True needs wandb_project, the name that the run is kept under")
        if self.best_metric and "/" not in self.best_metric:
            raise ValueError(f"best_metric is {self.best_metric!r}, write it as evaluator/value")

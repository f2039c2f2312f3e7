"""Settings of embedding."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Pooling(Enum):
    """How token states become vectors.

    One a window: masked mean ([CLS] not counted), the [CLS] state, or the maximum. One a token. Or one a base, which is
    that of its token.
    """

    MEAN = "mean"
    CLS = "cls"
    MAX = "max"
    TOKEN = "token"
    BASE = "base"

    @property
    def whole(self) -> bool:
        """Whether a window gives one vector."""
        return self not in (Pooling.TOKEN, Pooling.BASE)


class StrandUse(Enum):
    """Which strand is embedded; `BOTH` is the mean of the two vectors."""

    FORWARD = "forward"
    REVERSE = "reverse"
    BOTH = "both"


class Storage(Enum):
    """How vectors lie on disk: float32, rounded to bfloat16 in half the space, or to int8 in a quarter.

    With int8 each vector has a scale of its own.
    """

    FLOAT32 = "float32"
    BFLOAT16 = "bf16"
    INT8 = "int8"


LEAST_PART_BP = 16  # two tokens of the longest kind


@dataclass
class EmbeddingConfig:
    """How sequences become vectors."""

    window_bp: int = 0  # width of a window; 0: as long as the model was trained on
    stride_bp: int = 0  # from one window to the next; 0: half a window
    pooling: Pooling = Pooling.MEAN
    part_bp: int = 0  # a vector for each stretch of so many bp, by half of that, side by side in a row; 0: one a window
    layer: int = -1  # -1: after the final norm; 0: token embedding; i: after layer i
    strand: StrandUse = StrandUse.FORWARD
    storage: Storage = Storage.FLOAT32
    batch_windows: int = 32
    max_unknown_fraction: float = 0.1  # windows with more N are left out, and counted

    def __post_init__(self):
        for name in ("window_bp", "stride_bp", "part_bp"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"embedding.{name}={getattr(self, name)} is negative: give base pairs, or 0 for the default"
                )
        if self.pooling is Pooling.TOKEN and self.strand is StrandUse.BOTH:
            raise ValueError(
                "embedding.pooling=token has no mean of both strands, whose tokens lie elsewhere: choose one strand, "
                "or embedding.pooling=base"
            )
        if self.part_bp % 2 or 0 < self.part_bp < LEAST_PART_BP:
            raise ValueError(
                f"embedding.part_bp={self.part_bp} needs to be even and at least {LEAST_PART_BP}, so that each half of "
                "a part holds a token, or 0"
            )
        if self.part_bp and (self.pooling is not Pooling.MEAN or self.strand is StrandUse.BOTH):
            raise ValueError(
                f"embedding.part_bp={self.part_bp} gives the mean of each part of a window on one strand: it does not "
                f"go with pooling={self.pooling.value} and strand={self.strand.value}"
            )
        if self.batch_windows < 1:
            raise ValueError(f"embedding.batch_windows={self.batch_windows} needs to be at least 1")
        if not 0 <= self.max_unknown_fraction <= 1:
            raise ValueError(f"embedding.max_unknown_fraction={self.max_unknown_fraction} is no fraction from 0 to 1")

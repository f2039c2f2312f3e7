"""Settings of the vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class VocabularyKind(Enum):
    """What the tokens of a vocabulary are."""

    HYBRID = "hybrid"  # all 6-mers and chosen 8-mers
    BASES = "bases"  # single bases
    BPE = "bpe"  # byte-pair encoding with as many tokens as the hybrid has


@dataclass
class VocabularyConfig:
    """How the tokens of a vocabulary are chosen.

    Expect 0.153 to 0.166 tokens per base (plain 6-mers: 0.167) and a second or two for the default sample.
    """

    eight_mers: int = 4096  # chosen 8-mers, with their reverse complements; BPE gets 4105 + eight_mers tokens
    sample_bp: int = 8_000_000  # bases read in all, shared evenly among species
    window_bp: int = 1530  # width of the windows that the sample is made of: 255 tokens of 6 bp, as training reads
    repeat_strata: int = 3  # quantile bins of the repeat fraction of windows, per species
    seed: int = 0
    kind: VocabularyKind = VocabularyKind.HYBRID

    def __post_init__(self):
        if not 0 <= self.eight_mers <= 65_536:
            raise ValueError(f"tokenizer.eight_mers={self.eight_mers}: there are 65,536 8-mers, ask for 0 to 65536")
        for name in ("sample_bp", "window_bp", "repeat_strata"):
            if getattr(self, name) < 1:
                raise ValueError(f"tokenizer.{name}={getattr(self, name)} must be at least 1")
        if self.window_bp < 8:
            raise ValueError(f"tokenizer.window_bp={self.window_bp} holds no 8-mer, set it to 8 or more")

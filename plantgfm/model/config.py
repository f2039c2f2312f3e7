"""Settings of the model: shape, attention pattern, precision; and the named sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

PAD = 0
CLS = 1
SEP = 2
FIRST_KNOWN = 5
"""Ids that pooling, attention and copying have to know: three special tokens, and the first one of known sequence
(below are special tokens and N); `tokenization` gives the same."""

FULL_EVERY = 3
"""With sliding windows on, every third layer attends fully (ModernBERT, arXiv:2412.13663, section 2.1.2)."""


HEAD_MULTIPLE = 64
"""Fused attention asks for heads of a multiple of this: other widths leave parts of matrix units idle."""


class Size(Enum):
    """Named sizes; `base` has the 512 dimensions of the default model. `configs/model/tiny.yaml` is leaner."""

    TINY = "tiny"
    SMALL = "small"
    BASE = "base"
    LARGE = "large"
    ONE_B = "1b"


class ComputeType(Enum):
    """Precision of the matrix products; parameters, norms, softmax and losses stay in float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class AttentionKind(Enum):
    """How attention is computed; the result is the same. `attention.py` and its neighbours hold the ways.

    `XLA` was called `WHOLE`, which settings may still say.
    """

    AUTO = "auto"  # by the rule of `ways.choose`: of layer, length, precision and device
    XLA = "xla"  # all scores of a batch at once, of full and sliding layers
    BY_WINDOW = "by_window"  # one window after the other, weights computed again in the backward pass
    BLOCKED = "blocked"  # sliding layers in blocks however short the window; full ones as AUTO
    CUDNN = "cudnn"  # full layers by cuDNN's fused kernel, or refused; sliding ones as AUTO
    WHOLE = "xla"

    @classmethod
    def _missing_(cls, value: object) -> AttentionKind | None:
        return cls.XLA if value == "whole" else None


class Layers(Enum):
    """How the compiled program holds the layers; the result is the same to float rounding."""

    AUTO = "auto"  # one after the other on processors, scanned elsewhere
    UNROLLED = "unrolled"  # one after the other
    SCANNED = "scanned"  # a loop over equal layers, or over groups of a full and two sliding ones: compiled once


class Remat(Enum):
    """What the backward pass computes again, to keep less; the result is the same to float rounding."""

    NONE = "none"  # nothing
    DOTS = "dots"  # all but the products with parameters: norms, gates and attention
    FULL = "full"  # whole layers, of which only the input is kept


@dataclass
class ModelConfig:
    """Shape of the ModernBERT encoder and of its two heads; the defaults are `Size.TINY`.

    Raises:
        ValueError: for a shape that cannot be built, naming the value.
    """

    d_model: int = 192
    n_layers: int = 4
    n_heads: int = 3
    d_ff: int = 288  # width of one half of the gated feed-forward layer
    max_tokens: int = 512
    local_attention: int = 0  # 0: every layer attends fully; else the width in tokens of the sliding window
    rope_theta_full: float = 160_000.0
    rope_theta_local: float = 10_000.0
    norm_eps: float = 1e-5
    causal: bool = False
    kmer_features: bool = True  # factorise the embedding over k-mer features when the builder is given them
    kmer_share: float = 0.5  # share of the embedding's initial variance that comes from the features
    profiles: int = 0  # compositions that the next region is told from; 0: one for each species of the corpus
    init_std: float = 0.02
    compute_type: ComputeType = ComputeType.FLOAT32
    attention: AttentionKind = AttentionKind.AUTO
    layers: Layers = Layers.AUTO
    remat: Remat = Remat.NONE  # in training; `large` and `1b` have DOTS

    def __post_init__(self):
        for name in ("d_model", "n_layers", "n_heads", "d_ff", "max_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name} is {getattr(self, name)}, needs at least 1")
        if self.d_model % (2 * self.n_heads):
            raise ValueError(
                f"model.d_model {self.d_model} over model.n_heads {self.n_heads} needs to be an even whole number"
            )
        for name in ("rope_theta_full", "rope_theta_local", "norm_eps", "init_std"):
            if not getattr(self, name) > 0:
                raise ValueError(f"model.{name} is {getattr(self, name)}, needs a value above 0")
        if self.local_attention < 0 or self.local_attention % 2:
            raise ValueError(f"model.local_attention is {self.local_attention}, needs 0 or a positive even number")
        if self.profiles < 0:
            raise ValueError(f"model.profiles is {self.profiles}, needs 0 (one for each species) or more")
        if not 0.0 <= self.kmer_share <= 1.0:
            raise ValueError(f"model.kmer_share is {self.kmer_share}, needs a value from 0 to 1")
        self._check_attention()

    def _check_attention(self) -> None:
        if self.attention is AttentionKind.BLOCKED and not self.local_attention:
            raise ValueError(
                "model.attention=BLOCKED is for sliding layers and model.local_attention is 0: set its width, or take "
                "AUTO"
            )
        if self.attention is not AttentionKind.CUDNN:
            return
        if self.head_width % HEAD_MULTIPLE:
            raise ValueError(
                f"model.attention=CUDNN needs heads of a multiple of {HEAD_MULTIPLE} and model.d_model {self.d_model} "
                f"over model.n_heads {self.n_heads} is {self.head_width}: change either, or take AUTO"
            )
        if self.compute_type is not ComputeType.BFLOAT16:
            raise ValueError(
                f"model.attention=CUDNN needs model.compute_type=BFLOAT16, it is {self.compute_type.name}: set it, or "
                "take AUTO"
            )

    @property
    def n_profiles(self) -> int:
        """Compositions that the next-region head mixes, 1 where no corpus has given their number."""
        return max(1, self.profiles)

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.d_model // self.n_heads

    def as_read(self) -> ModelConfig:
        """The same model, computed as suits the machine that reads it and not as the one that trained it."""
        return replace(self, attention=AttentionKind.AUTO, layers=Layers.AUTO, remat=Remat.NONE)

    def is_full(self, layer: int) -> bool:
        """Whether this layer attends to all positions."""
        return self.local_attention == 0 or layer % FULL_EVERY == 0


_SHAPES = {
    Size.TINY: (192, 4, 3, 288),
    Size.SMALL: (384, 12, 6, 576),
    Size.BASE: (512, 16, 8, 768),
    Size.LARGE: (1024, 28, 16, 2624),
    Size.ONE_B: (1792, 28, 28, 3840),
}


_REMAT = {Size.LARGE: Remat.DOTS, Size.ONE_B: Remat.DOTS}


def model_size(size: Size, **overrides) -> ModelConfig:
    """Settings of a named size, with any field overridden."""
    shape = dict(zip(("d_model", "n_layers", "n_heads", "d_ff"), _SHAPES[size]))
    shape["remat"] = _REMAT.get(size, Remat.NONE)
    return ModelConfig(**{**shape, **overrides})

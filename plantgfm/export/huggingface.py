"""Our parameters under the names of Hugging Face's ModernBERT, and the `config.json` that goes with them.

The encoder opens as `ModernBertForMaskedLM`, the causal model as `ModernBertDecoderForCausalLM`, with no remote code.
The next-region head and the rows that pad the vocabulary have no place there: `beside` gives them. The names are those
of transformers 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from plantgfm.export.bundle import flatten
from plantgfm.model.config import FULL_EVERY, ModelConfig
from plantgfm.tokenization.vocabulary import CLS, MASK, PAD, SEP, Vocabulary

_PADDING = "padding."
_FULL, _SLIDING = "full_attention", "sliding_attention"


PADDED = ("embeddings.table", "masked_head.bias")
"""Parameters of ours with a row a token; the rows that pad the vocabulary have no place there."""


@dataclass(frozen=True)
class _Pair:
    """One parameter of ours and what it is called there: under several names where it is cut in rows."""

    ours: str
    theirs: tuple[str, ...]

    @property
    def turned(self) -> bool:
        """Matrices are [outputs, inputs] there."""
        return self.ours.endswith(".kernel")


def _pairs(config: ModelConfig) -> Iterator[_Pair]:
    head = "lm_head" if config.causal else "head"
    attention = tuple(f"attn.{part}_proj" for part in "qkv") if config.causal else ("attn.Wqkv",)
    yield _Pair("embeddings.table", ("model.embeddings.tok_embeddings.weight",))
    yield _Pair("embeddings.norm.scale", ("model.embeddings.norm.weight",))
    yield _Pair("final_norm.scale", ("model.final_norm.weight",))
    yield _Pair("masked_head.dense.kernel", (f"{head}.dense.weight",))
    yield _Pair("masked_head.norm.scale", (f"{head}.norm.weight",))
    yield _Pair("masked_head.bias", ("decoder.bias",))
    layer = {
        "attn_norm.scale": ("attn_norm",),
        "attn.Wqkv.kernel": attention,
        "attn.Wo.kernel": ("attn.Wo",),
        "mlp_norm.scale": ("mlp_norm",),
        "mlp.Wi.kernel": ("mlp.Wi",),
        "mlp.Wo.kernel": ("mlp.Wo",),
    }
    for index in range(config.n_layers):
        for ours, names in layer.items():
            if index or ours != "attn_norm.scale":
                theirs = tuple(f"model.layers.{index}.{name}.weight" for name in names)
                yield _Pair(f"layers.{index}.{ours}", theirs)


def state_dict(params: dict[str, Any], config: ModelConfig, *, vocabulary_size: int) -> dict[str, np.ndarray]:
    """Arrays, float32, by the names of transformers; matrices are [outputs, inputs] there.

    The tied `decoder.weight` is left out, as `save_pretrained` does: a loader ties it to the embedding.

    Args:
        params: folded parameters.
        config: of the model.
        vocabulary_size: rows beyond it, which pad the vocabulary, are left out.

    Raises:
        ValueError: when the parameters are not folded.
    """
    if "kmer" in params:
        raise ValueError("the parameters still have k-mer features beside the table: give `network.fold(params)`")
    flat, arrays = flatten(params), {}
    for pair in _pairs(config):
        value = flat[pair.ours][:vocabulary_size] if pair.ours in PADDED else flat[pair.ours]
        value = value.T if pair.turned else value
        arrays |= dict(zip(pair.theirs, np.split(value, len(pair.theirs))))
    return {name: np.ascontiguousarray(value, np.float32) for name, value in arrays.items()}


def beside(params: dict[str, Any], config: ModelConfig, *, vocabulary_size: int) -> dict[str, np.ndarray]:
    """What `state_dict` leaves behind, by our names: the next-region head, and what `padding` gives."""
    placed = {pair.ours for pair in _pairs(config)}
    rest = {name: value for name, value in flatten(params).items() if name not in placed}
    rest = {name: np.ascontiguousarray(value, np.float32) for name, value in rest.items()}
    return rest | padding(params, vocabulary_size=vocabulary_size)


def padding(params: dict[str, Any], *, vocabulary_size: int) -> dict[str, np.ndarray]:
    """The rows of parameters that pad the vocabulary, as `padding.NAME`."""
    flat = flatten(params)
    return {f"{_PADDING}{name}": np.ascontiguousarray(flat[name][vocabulary_size:], np.float32) for name in PADDED}


@dataclass(frozen=True)
class Gathered:
    """Parameters by our names, and which names were not in the files or had no place here."""

    flat: dict[str, np.ndarray]
    absent: list[str]  # ours
    unplaced: list[str]  # theirs


def gather(
    arrays: dict[str, np.ndarray], config: ModelConfig, *, rest: dict[str, np.ndarray], needed: Mapping[str, int]
) -> Gathered:
    """The inverse of `state_dict` and `beside`.

    Args:
        arrays: by the names of transformers.
        config: of the model.
        rest: as `beside` gives it; one that lacks a parameter is of another version, and gives rows of padding only.
        needed: our names, and the length of each parameter's first axis; rows of padding that nothing gives are zero.
    """
    flat, absent, used = {}, [], set()
    pairs = {pair.ours: pair for pair in _pairs(config)}
    if not needed.keys() - pairs.keys() <= rest.keys():
        rest = {name: value for name, value in rest.items() if name.startswith(_PADDING)}
    for name, rows in needed.items():
        pair = pairs.get(name)
        if pair is not None and set(pair.theirs) <= arrays.keys():
            used |= set(pair.theirs)
            value = np.concatenate([arrays[theirs] for theirs in pair.theirs])
            value = value.T if pair.turned else value
            if name in PADDED:
                zeros = np.zeros((max(rows - len(value), 0), *value.shape[1:]), np.float32)
                value = np.concatenate([value, rest.get(f"{_PADDING}{name}", zeros)])
            flat[name] = np.ascontiguousarray(value, np.float32)
        elif name in rest:
            flat[name] = rest[name]
        else:
            absent.append(name)
    return Gathered(flat, absent, sorted(arrays.keys() - used))


def hf_config(config: ModelConfig, vocabulary: Vocabulary) -> dict[str, Any]:
    """The content of `config.json`.

    A window of `local_attention` tokens reaches half of it to each side in the encoder; in the decoder, a token sees
    itself and local_attention / 2 - 1 tokens back.
    """
    kind = (
        ("modernbert-decoder", "ModernBertDecoderForCausalLM")
        if config.causal
        else ("modernbert", "ModernBertForMaskedLM")
    )
    return {
        "model_type": kind[0],
        "architectures": [kind[1]],
        "vocab_size": vocabulary.size,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "hidden_activation": "gelu",
        "max_position_embeddings": config.max_tokens,
        "initializer_range": config.init_std,
        "norm_eps": config.norm_eps,
        **dict.fromkeys(("norm_bias", "attention_bias", "mlp_bias"), False),
        **dict.fromkeys(("attention_dropout", "embedding_dropout", "mlp_dropout"), 0.0),
        "decoder_bias": True,
        "tie_word_embeddings": True,
        "classifier_pooling": "mean",
        # Without sliding layers the width is not read, but has to be a positive number.
        "local_attention": config.local_attention or 128,
        "layer_types": [_FULL if config.is_full(index) else _SLIDING for index in range(config.n_layers)],
        "rope_parameters": {
            _FULL: {"rope_type": "default", "rope_theta": config.rope_theta_full},
            _SLIDING: {"rope_type": "default", "rope_theta": config.rope_theta_local},
        },
        # The same in the words of transformers 4, which would else take every third layer for the only full ones.
        "global_attn_every_n_layers": FULL_EVERY if config.local_attention else 1,
        "global_rope_theta": config.rope_theta_full,
        "local_rope_theta": config.rope_theta_local,
        "pad_token_id": PAD,
        "cls_token_id": CLS,
        "bos_token_id": CLS,
        "sep_token_id": SEP,
        "eos_token_id": SEP,
        "mask_token_id": MASK,
        "torch_dtype": "float32",
    }


_DEFAULTS = {
    "vocab_size": 50_368,
    "hidden_size": 768,
    "intermediate_size": 1_152,
    "num_hidden_layers": 22,
    "num_attention_heads": 12,
    "max_position_embeddings": 8_192,
    "norm_eps": 1e-5,
    "initializer_range": 0.02,
    "local_attention": 128,
    "global_attn_every_n_layers": 3,
    "global_rope_theta": 160_000.0,
    "local_rope_theta": 10_000.0,
}
"""What transformers means by a field that `config.json` leaves out (ModernBertConfig 5.23)."""

_FIXED = {
    "hidden_activation": "gelu",
    "norm_bias": False,
    "attention_bias": False,
    "mlp_bias": False,
    "decoder_bias": True,
    "tie_word_embeddings": True,
}
"""Fields with the one value that our networks have; it is also the default of transformers."""


def model_config(content: dict[str, Any]) -> ModelConfig:
    """The inverse of `hf_config`, for files of `save_pretrained` too, which leave out what is the default.

    Raises:
        ValueError: for a model of another type, or a setting that our networks do not have.
    """
    kind = content.get("model_type")
    if kind not in ("modernbert", "modernbert-decoder"):
        raise ValueError(f"model_type is {kind!r}: only modernbert and modernbert-decoder can be imported")
    for name, value in _FIXED.items():
        if content.get(name, value) != value:
            raise ValueError(f"{name} is {content[name]!r}: our networks have {value!r}")
    fields = {name: _number(content, name) for name in _DEFAULTS}
    n_layers = fields["num_hidden_layers"]
    every = fields["global_attn_every_n_layers"]
    types = content.get("layer_types") or [_SLIDING if index % every else _FULL for index in range(n_layers)]
    by_pattern = {
        0: [_FULL] * n_layers,
        fields["local_attention"]: [_SLIDING if index % FULL_EVERY else _FULL for index in range(n_layers)],
    }
    local = next((width for width, pattern in by_pattern.items() if pattern == types), None)
    if local is None:
        raise ValueError("layer_types are neither all full_attention nor full at every third layer from the first on")
    return ModelConfig(
        d_model=fields["hidden_size"],
        n_layers=n_layers,
        n_heads=fields["num_attention_heads"],
        d_ff=fields["intermediate_size"],
        max_tokens=fields["max_position_embeddings"],
        local_attention=local,
        rope_theta_full=_theta(content, _FULL, fields["global_rope_theta"]),
        rope_theta_local=_theta(content, _SLIDING, fields["local_rope_theta"]),
        norm_eps=fields["norm_eps"],
        init_std=fields["initializer_range"],
        causal=kind == "modernbert-decoder",
    )


def _number(content: dict[str, Any], name: str) -> Any:
    value, default = content.get(name, _DEFAULTS[name]), _DEFAULTS[name]
    kind = int if isinstance(default, int) else int | float
    if not isinstance(value, kind) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{name} is {value!r}: a positive number is needed")
    return value if isinstance(default, int) else float(value)


def _theta(content: dict[str, Any], kind: str, default: float) -> float:
    by_kind = content.get("rope_parameters")
    rope = by_kind.get(kind) if isinstance(by_kind, dict) else None
    if not isinstance(rope, dict):
        return default
    if rope.get("rope_type", "default") != "default":
        raise ValueError(f"rope_type is {rope['rope_type']!r}: our networks know plain rotary positions")
    theta = rope.get("rope_theta", default)
    if not isinstance(theta, int | float) or theta <= 0:
        raise ValueError(f"rope_theta is {theta!r}: a positive number is needed")
    return float(theta)

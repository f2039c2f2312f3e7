"""The forward pass of ESM-format models (AgroNT, Nucleotide Transformer v1): pure functions of a flat parameter tree.

A pre-norm transformer with learned absolute positions and biases everywhere, exact GELU, and an untied head (Lin et al.
2023, doi:10.1126/science.ade2574; Dalla-Torre et al. 2024, doi:10.1038/s41592-024-02523-z; the layout is that of
`EsmForMaskedLM` in transformers). Parameters carry their names there, matrices are [outputs, inputs].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from plantgfm.model.attention import HIDDEN_SCORE

TRAINING_MASKED = 0.15 * 0.8
"""Share of tokens that were [MASK] in training; `token_dropout` scales by it (hard-coded in transformers, too)."""

Params = dict[str, Any]


@dataclass(frozen=True)
class EsmConfig:
    """Shape of an ESM-format model: the fields of its `config.json` that matter.

    Raises:
        ValueError: for a shape or a kind of positions that this code does not have.
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    pad_token_id: int = 1
    mask_token_id: int = 2
    layer_norm_eps: float = 1e-12
    emb_layer_norm_before: bool = False
    token_dropout: bool = False
    position_embedding_type: str = "absolute"

    def __post_init__(self):
        if self.position_embedding_type != "absolute":
            raise ValueError(
                f"position_embedding_type is {self.position_embedding_type!r}: only absolute ones are known here"
            )
        if min(self.hidden_size, self.num_attention_heads) < 1 or self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is no multiple of num_attention_heads {self.num_attention_heads}"
            )

    @property
    def max_tokens(self) -> int:
        """Longest window, [CLS] counted: positions start behind the id of the padding token."""
        return self.max_position_embeddings - self.pad_token_id - 1


def shapes(config: EsmConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter of `EsmForMaskedLM`, by its name; `esm.contact_head` is there and is not used."""
    width, inner = config.hidden_size, config.intermediate_size
    found: dict[str, tuple[int, ...]] = {
        "esm.embeddings.word_embeddings.weight": (config.vocab_size, width),
        "esm.embeddings.position_embeddings.weight": (config.max_position_embeddings, width),
    }
    norms = ["esm.encoder.emb_layer_norm_after", "lm_head.layer_norm"]
    norms += ["esm.embeddings.layer_norm"] if config.emb_layer_norm_before else []
    products = {
        "lm_head.dense": (width, width),
        "esm.contact_head.regression": (1, config.num_hidden_layers * config.num_attention_heads),
    }
    for index in range(config.num_hidden_layers):
        layer = f"esm.encoder.layer.{index}"
        products |= {f"{layer}.attention.self.{part}": (width, width) for part in ("query", "key", "value")}
        products[f"{layer}.attention.output.dense"] = (width, width)
        products[f"{layer}.intermediate.dense"] = (inner, width)
        products[f"{layer}.output.dense"] = (width, inner)
        norms += [f"{layer}.attention.LayerNorm", f"{layer}.LayerNorm"]
    for name, shape in products.items():
        found |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in norms:
        found |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    return found | {"lm_head.decoder.weight": (config.vocab_size, width), "lm_head.bias": (config.vocab_size,)}


def states(
    params: Params, tokens: Int32[Array, "B L"], *, config: EsmConfig, layers: int | None = None
) -> list[Float[Array, "B L D"]]:
    """The residual stream after the embedding and after each layer, the very last one after the final norm.

    Args:
        params: by the names of `shapes`.
        tokens: ids, padded behind.
        config: of the model.
        layers: how many layers to compute; all, and the final norm, where None.
    """
    visible = tokens != config.pad_token_id
    found = [_embedded(params, tokens, visible, config)]
    for index in range(config.num_hidden_layers if layers is None else layers):
        found.append(_layer(params, f"esm.encoder.layer.{index}", found[-1], visible=visible, config=config))
    if layers in (None, config.num_hidden_layers):
        found[-1] = _norm(params, "esm.encoder.emb_layer_norm_after", found[-1], config)
    return found


def logits(params: Params, hidden: Float[Array, "B L D"], *, config: EsmConfig) -> Float[Array, "B L V"]:
    """Logits of the masked head from the final states."""
    x = _norm(params, "lm_head.layer_norm", _gelu(_linear(params, "lm_head.dense", hidden)), config)
    return x @ params["lm_head.decoder.weight"].T + params["lm_head.bias"][None, None]


def _embedded(params: Params, tokens: Array, visible: Bool[Array, "B L"], config: EsmConfig) -> Float[Array, "B L D"]:
    seen = visible.astype(jnp.int32)
    x = jnp.take(params["esm.embeddings.word_embeddings.weight"], tokens, axis=0, mode="clip")
    if config.token_dropout:
        masked = tokens == config.mask_token_id
        observed = jnp.sum(masked, axis=1) / jnp.maximum(jnp.sum(seen, axis=1), 1)
        x = jnp.where(masked[..., None], 0.0, x) * ((1 - TRAINING_MASKED) / (1 - observed))[:, None, None]
    positions = jnp.cumsum(seen, axis=1) * seen + config.pad_token_id
    x = x + jnp.take(params["esm.embeddings.position_embeddings.weight"], positions, axis=0, mode="clip")
    if config.emb_layer_norm_before:
        x = _norm(params, "esm.embeddings.layer_norm", x, config)
    return x * visible[..., None]


def _layer(params: Params, name: str, x: Array, *, visible: Bool[Array, "B L"], config: EsmConfig) -> Array:
    mixed = _attend(
        params, f"{name}.attention.self", _norm(params, f"{name}.attention.LayerNorm", x, config), visible, config
    )
    x = x + _linear(params, f"{name}.attention.output.dense", mixed)
    inner = _gelu(_linear(params, f"{name}.intermediate.dense", _norm(params, f"{name}.LayerNorm", x, config)))
    return x + _linear(params, f"{name}.output.dense", inner)


def _attend(params: Params, name: str, x: Array, visible: Bool[Array, "B L"], config: EsmConfig) -> Array:
    batch, length, width = x.shape
    heads = config.num_attention_heads
    query, key, value = (
        _linear(params, f"{name}.{part}", x).reshape(batch, length, heads, width // heads)
        for part in ("query", "key", "value")
    )
    scores = jnp.einsum("blhw,bmhw->bhlm", query * (width // heads) ** -0.5, key)
    weights = jax.nn.softmax(scores + jnp.where(visible, 0.0, HIDDEN_SCORE)[:, None, None, :], axis=-1)
    return jnp.einsum("bhlm,bmhw->blhw", weights, value).reshape(batch, length, width)


def _linear(params: Params, name: str, x: Array) -> Array:
    return x @ params[f"{name}.weight"].T + params[f"{name}.bias"][None, None]


def _norm(params: Params, name: str, x: Array, config: EsmConfig) -> Array:
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    scale = jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=-1, keepdims=True) + config.layer_norm_eps)
    return centred * scale * params[f"{name}.weight"][None, None] + params[f"{name}.bias"][None, None]


def _gelu(x: Array) -> Array:
    return jax.nn.gelu(x, approximate=False)

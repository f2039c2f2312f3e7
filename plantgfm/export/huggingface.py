"""Our parameters under the names of Hugging Face's ModernBERT, and the `config.json` that goes with them.

The encoder opens as `ModernBertForMaskedLM`, the causal model as `ModernBertDecoderForCausalLM`, with no remote code.
The next-region head has no place there and stays behind. The names are those of transformers 5.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from plantgfm.model.config import ModelConfig
from plantgfm.tokenization.vocabulary import CLS, MASK, PAD, SEP, Vocabulary


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
    head, head_name = params["masked_head"], "lm_head" if config.causal else "head"
    arrays = {
        "model.embeddings.tok_embeddings.weight": params["embeddings"]["table"][:vocabulary_size],
        "model.embeddings.norm.weight": params["embeddings"]["norm"]["scale"],
        "model.final_norm.weight": params["final_norm"]["scale"],
        f"{head_name}.dense.weight": _turned(head["dense"]),
        f"{head_name}.norm.weight": head["norm"]["scale"],
        "decoder.bias": head["bias"][:vocabulary_size],
    }
    for index in range(config.n_layers):
        layer = _layer(params["layers"][str(index)], causal=config.causal)
        arrays |= {f"model.layers.{index}.{name}.weight": value for name, value in layer.items()}
    return {name: np.ascontiguousarray(np.asarray(value, np.float32)) for name, value in arrays.items()}


def _layer(layer: dict[str, Any], *, causal: bool) -> dict[str, Any]:
    names = {
        "mlp_norm": layer["mlp_norm"]["scale"],
        "mlp.Wi": _turned(layer["mlp"]["Wi"]),
        "mlp.Wo": _turned(layer["mlp"]["Wo"]),
        "attn.Wo": _turned(layer["attn"]["Wo"]),
    }
    if "attn_norm" in layer:
        names["attn_norm"] = layer["attn_norm"]["scale"]
    fused = _turned(layer["attn"]["Wqkv"])
    if not causal:
        return {**names, "attn.Wqkv": fused}
    return {**names, **{f"attn.{part}_proj": rows for part, rows in zip("qkv", np.split(fused, 3))}}


def _turned(linear: dict[str, Any]) -> np.ndarray:
    return np.asarray(linear["kernel"]).T


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
    full, local = "full_attention", "sliding_attention"
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
        "layer_types": [full if config.is_full(index) else local for index in range(config.n_layers)],
        "rope_parameters": {
            full: {"rope_type": "default", "rope_theta": config.rope_theta_full},
            local: {"rope_type": "default", "rope_theta": config.rope_theta_local},
        },
        "pad_token_id": PAD,
        "cls_token_id": CLS,
        "bos_token_id": CLS,
        "sep_token_id": SEP,
        "eos_token_id": SEP,
        "mask_token_id": MASK,
        "torch_dtype": "float32",
    }

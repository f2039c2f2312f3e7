import numpy as np
import pytest

from plantgfm.export.huggingface import hf_config, state_dict
from plantgfm.model.build import build
from plantgfm.model.config import ModelConfig
from plantgfm.tokenization.vocabulary import Vocabulary
from tests.fixtures import fresh

V = 70
SHAPE = {"d_model": 16, "n_layers": 4, "n_heads": 2, "d_ff": 12}


def exported(**settings):
    network = build(ModelConfig(**SHAPE, **settings), V)
    params = fresh(network)
    return params, state_dict(params, network.config, vocabulary_size=V)


def test_the_encoder_has_the_names_and_shapes_of_transformers():
    _, arrays = exported()
    layer = {
        "attn.Wqkv": (48, 16),
        "attn.Wo": (16, 16),
        "mlp.Wi": (24, 16),
        "mlp.Wo": (16, 12),
        "attn_norm": (16,),
        "mlp_norm": (16,),
    }
    expected = {f"model.layers.{i}.{name}.weight": shape for i in range(4) for name, shape in layer.items()}
    del expected["model.layers.0.attn_norm.weight"]
    expected |= {
        "model.embeddings.tok_embeddings.weight": (V, 16),
        "model.embeddings.norm.weight": (16,),
        "model.final_norm.weight": (16,),
        "head.dense.weight": (16, 16),
        "head.norm.weight": (16,),
        "decoder.bias": (V,),
    }
    assert {name: array.shape for name, array in arrays.items()} == expected
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in arrays.values())


def test_matrices_are_turned_and_the_causal_model_has_its_projections_apart():
    params, encoder = exported()
    fused = np.asarray(params["layers"]["1"]["attn"]["Wqkv"]["kernel"])
    np.testing.assert_array_equal(encoder["model.layers.1.attn.Wqkv.weight"], fused.T)
    params, decoder = exported(causal=True)
    fused = np.asarray(params["layers"]["1"]["attn"]["Wqkv"]["kernel"])
    for index, part in enumerate("qkv"):
        rows = decoder[f"model.layers.1.attn.{part}_proj.weight"]
        np.testing.assert_array_equal(rows, fused[:, 16 * index : 16 * (index + 1)].T)
    assert "lm_head.dense.weight" in decoder
    assert not any("Wqkv" in name for name in decoder)


def test_parameters_that_are_not_folded_are_refused():
    features = np.random.default_rng(0).normal(size=(V, 5)).astype(np.float32)
    network = build(ModelConfig(**SHAPE), V, features=features)
    params = fresh(network)
    with pytest.raises(ValueError, match="fold"):
        state_dict(params, network.config, vocabulary_size=V)
    table = state_dict(network.fold(params), network.config, vocabulary_size=V)[
        "model.embeddings.tok_embeddings.weight"
    ]
    expected = params["embeddings"]["table"][:V] + features @ params["kmer"]["projection"]
    np.testing.assert_allclose(table, expected, rtol=0, atol=1e-6)


def test_the_configuration_says_layers_windows_and_special_tokens():
    vocabulary = Vocabulary(np.zeros(0, np.uint16))
    plain = hf_config(ModelConfig(**SHAPE), vocabulary)
    assert plain["model_type"] == "modernbert"
    assert plain["vocab_size"] == 4105
    assert plain["layer_types"] == ["full_attention"] * 4
    assert (plain["pad_token_id"], plain["cls_token_id"], plain["mask_token_id"]) == (0, 1, 3)
    sliding = hf_config(ModelConfig(**SHAPE, local_attention=32, causal=True), vocabulary)
    assert sliding["architectures"] == ["ModernBertDecoderForCausalLM"]
    assert sliding["local_attention"] == 32
    assert [kind.split("_")[0] for kind in sliding["layer_types"]] == ["full", "sliding", "sliding", "full"]
    assert sliding["rope_parameters"]["sliding_attention"]["rope_theta"] == 10_000.0

"""Live parity with transformers: the same parameters give the same logits."""

import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.export.huggingface import hf_config, state_dict
from plantgfm.tokenization.vocabulary import Vocabulary
from tests.model.by_rule import SIZE, ruled_network, ruled_params, ruled_tokens

pytestmark = pytest.mark.interop
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PATTERNS = [
    {"local_attention": 0},
    {"local_attention": 8},
    {"local_attention": 0, "causal": True},
    {"local_attention": 8, "causal": True},
]


def theirs(network, params, *, attention):
    fields = hf_config(network.config, Vocabulary(np.zeros(0, np.uint16)))
    name = fields.pop("architectures")[0]
    model_class = getattr(transformers, name)
    config = model_class.config_class(**fields)
    config._attn_implementation = attention
    model = model_class(config).eval()
    arrays = state_dict(params, network.config, vocabulary_size=SIZE)
    report = model.load_state_dict({key: torch.tensor(value) for key, value in arrays.items()}, strict=False)
    assert not report.unexpected_keys
    assert set(report.missing_keys) <= {"decoder.weight"}
    model.tie_weights()
    return model


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("settings", PATTERNS)
def test_logits_equal_those_of_transformers(settings, attention):
    network = ruled_network(**settings)
    params, tokens = ruled_params(network), ruled_tokens()
    hidden = network.hidden(params, jnp.asarray(tokens))
    ours = np.asarray(network.masked_logits(params, hidden))[..., :SIZE]
    with torch.no_grad():
        model = theirs(network, params, attention=attention)
        batch = torch.tensor(tokens, dtype=torch.long)
        logits = model(input_ids=batch, attention_mask=(batch != 0).long()).logits.numpy()
    assert logits.shape == ours.shape
    assert np.abs(logits).max() > 1.0
    np.testing.assert_allclose(ours[tokens != 0], logits[tokens != 0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("causal", [False, True])
def test_a_written_model_opens_without_remote_code(tmp_path, causal):
    network = ruled_network(causal=causal)
    params = ruled_params(network)
    theirs(network, params, attention="sdpa").save_pretrained(tmp_path)
    kind = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForMaskedLM
    model = kind.from_pretrained(tmp_path)
    table = model.get_input_embeddings().weight.detach().numpy()
    np.testing.assert_array_equal(table, np.asarray(params["embeddings"]["table"])[:SIZE])

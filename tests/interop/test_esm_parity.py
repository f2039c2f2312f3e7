"""ESM-format models in JAX give the states and logits of transformers, on random weights of the exact layout."""

import pickle

import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.export.bundle import BundleError
from plantgfm.export.esm import load_esm
from plantgfm.model import esm
from plantgfm.sequence import encode
from tests.model.test_esm import SMALL, random_tokens
from tests.tokenization.test_esm import AGRO_NT, GOLDEN

pytestmark = pytest.mark.interop
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

LAYOUTS = {"AgroNT": {}, "NT v1": {"token_dropout": True}, "norm before": {"emb_layer_norm_before": True}}


def saved(folder, *, pickled=False, **layout):
    torch.manual_seed(0)
    config = transformers.EsmConfig(
        **SMALL, **{"position_embedding_type": "absolute", **layout}, pad_token_id=1, mask_token_id=2,
        layer_norm_eps=1e-12, tie_word_embeddings=False, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = transformers.EsmForMaskedLM(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(AGRO_NT))
    if pickled:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return model


@pytest.mark.parametrize("name", LAYOUTS)
def test_states_and_logits_are_equal(tmp_path, name):
    theirs = saved(tmp_path, pickled=name == "AgroNT", **LAYOUTS[name])
    ours = load_esm(tmp_path)
    tokens = random_tokens((20, 9))
    tokens[0, 5] = tokens[1, 3] = 2
    batch = torch.tensor(tokens, dtype=torch.long)
    with torch.no_grad():
        found = theirs(input_ids=batch, attention_mask=(batch != 1).long(), output_hidden_states=True)
    states = esm.states(ours.params, jnp.asarray(tokens), config=ours.config)
    there = tokens != 1
    assert len(found.hidden_states) == len(states) == 3
    for one, other in zip(states, found.hidden_states):
        np.testing.assert_allclose(np.asarray(one)[there], other.numpy()[there], rtol=0, atol=1e-4)
    logits = np.asarray(esm.logits(ours.params, states[-1], config=ours.config))
    assert np.ptp(logits[there]) > 1
    np.testing.assert_allclose(logits[there], found.logits.numpy()[there], rtol=0, atol=1e-4)


class Harmful:
    """A pickle that would run code."""

    def __reduce__(self):
        return print, ("ran",)


@pytest.mark.parametrize(
    "content", [b"", b"junk", b"PK" + b"x" * 90, pickle.dumps({"a": Harmful()}), pickle.dumps([1])]
)
def test_a_pickle_that_is_damaged_or_holds_code_is_refused_in_a_line(tmp_path, capsys, content):
    saved(tmp_path, pickled=True)
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(BundleError, match="pytorch_model.bin is damaged, or holds more than tensors") as caught:
        load_esm(tmp_path)
    assert "\n" not in str(caught.value) and "ran" not in capsys.readouterr().out


def test_ids_are_those_of_their_tokenizer(tmp_path):
    saved(tmp_path)
    theirs = transformers.EsmTokenizer(str(tmp_path / "vocab.txt"), eos_token=None)
    ours = load_esm(tmp_path).tokens
    rng = np.random.default_rng(3)
    texts = [*GOLDEN, *("".join(rng.choice(list("ACGTACGTACGTN"), n)) for n in rng.integers(1, 90, 40))]
    for text in texts:
        assert ours.encode(encode(text)).tolist() == theirs(text)["input_ids"], text

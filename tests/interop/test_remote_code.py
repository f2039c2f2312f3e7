"""Models with code of their own: those of the layouts of Caduceus, DNABERT-2 and the Nucleotide Transformer v2."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from plantgfm.embedding.encoders import open_encoder
from plantgfm.embedding.opened import load
from plantgfm.export.bundle import BundleError
from tests.tokenization.test_esm import AGRO_NT

pytestmark = pytest.mark.interop
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

TEXTS = ["ACGTACGGCATTNACGATTACG", "TTGACCA"]


def written(folder, model, config, auto_map, *, tokenizer=None):
    """A folder with code, settings, weights and tokenizer."""
    from tests.interop import remote_models

    folder.mkdir()
    shutil.copy(remote_models.__file__, folder / "modeling.py")
    auto_map = {kind: f"modeling.{name}" for kind, name in auto_map.items()}
    content = {**config.to_dict(), "auto_map": auto_map, "architectures": [type(model).__name__]}
    (folder / "config.json").write_text(json.dumps(content))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return folder


def words(vocabulary, **more):
    """A tokenizer of single characters."""
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.normalizer = tokenizers.normalizers.Lowercase()
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex("."), "isolated")
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "mask_token": "[MASK]", **more}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **special)


@pytest.fixture(scope="module")
def stranded(tmp_path_factory):
    from tests.interop.remote_models import Stranded, StrandedConfig

    torch.manual_seed(1)
    names = {"AutoConfig": "StrandedConfig", "AutoModel": "Stranded", "AutoModelForMaskedLM": "StrandedForMaskedLM"}
    vocabulary = {name: at for at, name in enumerate(("[MASK]", "[PAD]", "[UNK]", "a", "c", "g", "t"))}
    model, folder = Stranded(StrandedConfig()), tmp_path_factory.mktemp("remote") / "stranded"
    written(folder, model, StrandedConfig(), names, tokenizer=words(vocabulary))
    with_head = {f"stranded.{name}": value for name, value in model.state_dict().items()}  # the head's is tied
    torch.save(with_head, folder / "pytorch_model.bin")
    return folder, model


def test_a_model_without_mask_gives_what_it_gives_without_padding(stranded):
    folder, theirs = stranded
    model = load(folder, remote_code=True)
    assert (model.width, model.encoder.n_layers) == (12, 2)
    ids = [torch.tensor([["ACGT".find(letter) + 3 for letter in text]]) for text in TEXTS]
    for settings, layer in (({}, 2), ({"layer": 1}, 1)):
        found = model.embed(TEXTS, **settings)
        for row, one in zip(found, ids):
            with torch.no_grad():
                states = theirs(one, output_hidden_states=True).hidden_states[layer][0]
            np.testing.assert_allclose(row, states[one[0] != 2].mean(0).numpy(), rtol=0, atol=1e-5)  # N counts not
    forward, reverse, both = (model.embed(TEXTS, strand=name) for name in ("forward", "reverse", "both"))
    np.testing.assert_allclose(reverse, forward[:, ::-1], rtol=0, atol=1e-5)  # as its channels are made
    np.testing.assert_allclose(both, both[:, ::-1], rtol=0, atol=1e-5)
    assert model.embed(TEXTS, pooling="base")[0].shape == (22, 12)
    with pytest.raises(BundleError, match="puts no special token before a sequence"):
        model.embed(TEXTS, pooling="cls")


def test_a_head_that_ties_in_its_own_way_is_asked_for_bases(stranded):
    folder, theirs = stranded
    model = load(folder, remote_code=True)
    ids = torch.tensor([["ACGT".find(letter) + 3 for letter in TEXTS[1]]])
    hidden = ids.clone()
    hidden[0, 4] = 0
    with torch.no_grad():
        states, masked = (theirs(one).last_hidden_state[0, :, :6] @ theirs.table.weight.T for one in (ids, hidden))
    np.testing.assert_allclose(model.logits(TEXTS[1:])[0], states.numpy(), rtol=0, atol=1e-5)
    (found,) = model.per_base_probabilities(TEXTS[1:], strand="forward")
    np.testing.assert_allclose(found[4], torch.softmax(masked[4, 3:7], 0).numpy(), rtol=0, atol=1e-5)


def test_its_code_runs_only_where_asked_for_and_the_message_says_how(stranded):
    with pytest.raises(BundleError, match="--remote-code runs it"):
        open_encoder(stranded[0])


def test_a_model_that_gives_a_tuple_gives_vectors(tmp_path):
    from tests.interop.remote_models import Paired, PairedConfig

    torch.manual_seed(2)
    config = PairedConfig(vocab_size=12, hidden_size=8, num_hidden_layers=3, pad_token_id=0)
    alphabet = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "A", "C", "G", "T", "N", "AC", "ACG"]
    inner = tokenizers.Tokenizer(
        tokenizers.models.BPE({name: at for at, name in enumerate(alphabet)}, [("A", "C"), ("AC", "G")])
    )
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {f"{name.lower()}_token": f"[{name}]" for name in ("UNK", "PAD", "MASK", "CLS", "SEP")}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **special)
    names, theirs = {"AutoConfig": "PairedConfig", "AutoModel": "Paired"}, Paired(config)
    model = load(written(tmp_path / "paired", theirs, config, names, tokenizer=tokenizer), remote_code=True)
    assert model.width == 8
    for row, text in zip(model.embed(TEXTS), TEXTS):
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            states = theirs(ids, attention_mask=torch.ones_like(ids))[0][0]
        np.testing.assert_allclose(row, states[1:-1].mean(0).numpy(), rtol=0, atol=1e-5)
    assert model.embed(TEXTS, pooling="cls").shape == (2, 8)
    with pytest.raises(BundleError, match="does not give the states of its layers"):
        model.embed(TEXTS, layer=1)


def test_a_model_that_names_only_its_masked_class_opens(tmp_path):
    from tests.interop.remote_models import RotaryConfig, RotaryForMaskedLM

    torch.manual_seed(3)
    names = {"AutoConfig": "RotaryConfig", "AutoModelForMaskedLM": "RotaryForMaskedLM"}
    theirs = RotaryForMaskedLM(RotaryConfig(pad_token_id=1))
    folder = written(tmp_path / "rotary", theirs, theirs.config, names)
    ordered = [*AGRO_NT[:4], "<eos>", "<bos>", *(word for word in AGRO_NT[4:] if word[0] != "<")]
    (Path(folder) / "vocab.txt").write_text("\n".join(ordered))
    settings = {"tokenizer_class": "EsmTokenizer", "eos_token": None, "model_max_length": 48}
    (Path(folder) / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(BundleError, match="--remote-code runs it"):
        load(folder)
    model = load(folder, remote_code=True)
    assert model.encoder.max_tokens == 48 and model.width == 6
    ids = torch.from_numpy(model.encoder.encode(np.zeros(7, np.uint8), reverse=False)[None].astype(np.int64))
    assert ids.tolist() == [[3, 6, 4102]]  # six A, and one
    with torch.no_grad():
        found = theirs(ids, torch.ones_like(ids), output_hidden_states=True)
    np.testing.assert_allclose(model.embed(["A" * 7])[0], found.hidden_states[1][0, 1:].mean(0), rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.logits(["A" * 7])[0], found.logits[0], rtol=0, atol=1e-5)
    assert model.per_base_probabilities(TEXTS)[0].shape == (22, 4)

"""What `plantgfm export --format huggingface` writes opens in other libraries, offline, without remote code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.embedding.config import EmbeddingConfig
from plantgfm.embedding.embed import Embedder
from plantgfm.export.bundle import flatten
from plantgfm.export.exchange import read_exchange, write_exchange
from plantgfm.sequence import decode, encode
from tests.fixtures import lively_bundle, random_codes

pytestmark = pytest.mark.interop
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

LENGTHS_BP = (6, 31, 60, 200, 340)


@pytest.fixture(scope="module", params=[{}, {"local_attention": 8, "n_layers": 4}], ids=["full", "sliding"])
def both(request, tmp_path_factory):
    """A bundle and the folder written from it."""
    folder = tmp_path_factory.mktemp("opens")
    bundle = lively_bundle(folder / "bundle", **request.param)
    return bundle, write_exchange(folder / "there", bundle)


def texts():
    return [decode(random_codes(n, seed=n)) for n in LENGTHS_BP]


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


def test_logits_and_states_of_the_auto_classes_are_ours(both):
    bundle, there = both
    tokenizer = transformers.AutoTokenizer.from_pretrained(there)
    masked = transformers.AutoModelForMaskedLM.from_pretrained(there).eval()
    encoder = transformers.AutoModel.from_pretrained(there).eval()
    batch = tokenizer(texts(), padding=True, return_tensors="pt")
    tokens = batch["input_ids"].numpy().astype(np.int32)
    assert tokens.shape[0] == 5 and (tokens[0] == 0).sum() > 10  # padded by much
    hidden = bundle.network.hidden(bundle.params, jnp.asarray(tokens))
    logits = bundle.network.masked_logits(bundle.params, hidden)[..., : bundle.vocabulary.size]
    with torch.no_grad():
        theirs, states = masked(**batch).logits.numpy(), encoder(**batch).last_hidden_state.numpy()
    there_is = tokens != 0
    assert np.ptp(theirs[there_is]) > 1
    close(np.asarray(logits)[there_is], theirs[there_is])
    close(np.asarray(hidden)[there_is], states[there_is])
    for row, text in zip(tokens, texts()):
        alone = tokenizer(text)["input_ids"]
        assert alone == row[: len(alone)].tolist()


def test_the_fill_mask_pipeline_gives_our_probabilities(both):
    bundle, there = both
    fill = transformers.pipeline("fill-mask", model=str(there))
    found = fill("ACGTACGGCATT[MASK]acgattGGCC", top_k=3)
    tokens = np.array([fill.tokenizer("ACGTACGGCATT[MASK]acgattGGCC")["input_ids"]], np.int32)
    at = int(np.flatnonzero(tokens[0] == 3)[0])
    hidden = bundle.network.hidden(bundle.params, jnp.asarray(tokens))[:, at : at + 1]
    ours = np.asarray(jax.nn.softmax(bundle.network.masked_logits(bundle.params, hidden)[0, 0]))
    best = np.argsort(-ours)[:3]
    assert [one["token"] for one in found] == best.tolist()
    close(ours[best], [one["score"] for one in found])


def test_a_classifier_trains_there_and_its_encoder_comes_home(both, tmp_path):
    bundle, there = both
    model = transformers.AutoModelForSequenceClassification.from_pretrained(there, num_labels=3)
    tokenizer = transformers.AutoTokenizer.from_pretrained(there)
    batch = tokenizer(texts(), padding=True, return_tensors="pt")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(**batch, labels=torch.tensor([0, 1, 2, 0, 1])).loss.backward()
    optimizer.step()
    model.save_pretrained(tmp_path / "tuned")
    tokenizer.save_pretrained(tmp_path / "tuned")
    found = read_exchange(tmp_path / "tuned", base=bundle)
    assert "task.classifier.weight" in found.unplaced
    table = model.get_input_embeddings().weight.detach().numpy()
    np.testing.assert_array_equal(found.params["embeddings"]["table"][: len(table)], table)
    assert not np.array_equal(table, bundle.params["embeddings"]["table"][: len(table)])
    assert found.model_config == bundle.model_config


@pytest.mark.parametrize("causal", [False, True])
def test_what_save_pretrained_writes_is_read_without_a_loss(tmp_path, causal):
    layout = {"causal": causal, "local_attention": 8, "n_layers": 4, "rope_theta_full": 5_000.0}
    bundle = lively_bundle(tmp_path / "bundle", **layout)
    there = write_exchange(tmp_path / "there", bundle)
    kind = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForMaskedLM
    kind.from_pretrained(there).save_pretrained(tmp_path / "again")
    transformers.AutoTokenizer.from_pretrained(there).save_pretrained(tmp_path / "again")
    found = read_exchange(tmp_path / "again", base=bundle)
    assert all(name.startswith("next_region.") for name in found.absent)
    ours, theirs = flatten(bundle.params), flatten(found.params)
    rows = bundle.vocabulary.size
    padded = {"embeddings.table", "masked_head.bias"}
    assert all(
        np.array_equal(ours[name][:rows], theirs[name][:rows])
        if name in padded
        else np.array_equal(ours[name], theirs[name])
        for name in ours
    )
    alone = read_exchange(tmp_path / "again")
    assert alone.model_config == bundle.model_config and alone.vocabulary == bundle.vocabulary


def test_sentence_transformers_pool_as_we_do(both):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    bundle, there = both
    theirs = sentence_transformers.SentenceTransformer(str(there), device="cpu").encode(texts())
    ours = Embedder(bundle, EmbeddingConfig()).embed([encode(text) for text in texts()])
    close(ours, theirs)
    states = bundle.network.hidden(bundle.params, jnp.asarray([[1, *range(9, 15)]], jnp.int32))[0]
    assert np.abs(np.mean(states, axis=0) - np.mean(states[1:], axis=0)).max() > 1e-3  # [CLS] would be seen

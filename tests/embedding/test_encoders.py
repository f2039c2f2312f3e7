"""Other people's models behind the one interface."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.embedding.config import EmbeddingConfig, Pooling, StrandUse
from plantgfm.embedding.embed import Embedder
from plantgfm.embedding.encoders import BundleEncoder, EsmEncoder, open_encoder
from plantgfm.export.bundle import BundleError
from plantgfm.model import esm
from plantgfm.sequence import encode, reverse_complement
from tests.export.test_esm import write_esm
from tests.fixtures import random_codes, small_bundle, write_small_bundle

CODES = encode("ACGTGTACNTGCACGGANCGACTAGTCTGA")


@pytest.fixture(scope="module")
def agro(tmp_path_factory):
    return open_encoder(write_esm(tmp_path_factory.mktemp("encoders") / "agro"))


def test_a_folder_opens_as_what_it_is(agro, tmp_path):
    assert isinstance(agro, EsmEncoder) and (agro.width, agro.n_layers, agro.max_tokens) == (24, 2, 32)
    assert isinstance(open_encoder(write_small_bundle(tmp_path / "b")), BundleEncoder)
    with pytest.raises(BundleError, match="is no bundle"):
        open_encoder(tmp_path / "absent")


def test_an_esm_vector_is_the_mean_of_its_states_without_cls_and_padding(agro):
    tokens = agro.encode(CODES, reverse=False)
    states = esm.states(agro.model.params, jnp.asarray(tokens[None]), config=agro.model.config)
    for layer, state in ((-1, states[-1]), (1, states[1])):
        found = Embedder(agro, EmbeddingConfig(layer=layer)).embed([CODES, random_codes(60)])
        np.testing.assert_allclose(found[0], np.mean(state[0, 1:], axis=0), rtol=0, atol=1e-4)
    first = Embedder(agro, EmbeddingConfig(pooling=Pooling.CLS)).embed([CODES])[0]
    np.testing.assert_allclose(first, states[-1][0, 0], rtol=0, atol=1e-4)


def test_strands_of_an_esm_model_are_those_of_the_sequence(agro):
    forward, reverse = (Embedder(agro, EmbeddingConfig(strand=use)) for use in (StrandUse.FORWARD, StrandUse.REVERSE))
    np.testing.assert_allclose(reverse.embed([CODES]), forward.embed([reverse_complement(CODES)]), rtol=0, atol=1e-5)


def test_what_a_model_has_no_position_for_is_cut_and_counted(agro):
    embedder = Embedder(agro, EmbeddingConfig())
    assert embedder.config.window_bp == 6 * 31
    codes = random_codes(186)
    whole = embedder.embed([codes])
    assert embedder.cut_tokens == 0
    np.testing.assert_allclose(embedder.embed([np.concatenate([codes, codes[:60]])]), whole, rtol=0, atol=1e-4)
    assert embedder.cut_tokens == 10


def test_a_name_of_the_hub_is_looked_up_in_the_cache_alone(tmp_path, monkeypatch):
    cache = tmp_path / "models--InstaDeepAI--agro"
    for name in ("refs", "snapshots"):
        (cache / name).mkdir(parents=True)
    write_esm(cache / "snapshots" / "abc")
    (cache / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", lambda *any: pytest.fail("the network was asked"))
    assert isinstance(open_encoder(Path("InstaDeepAI/agro")), EsmEncoder)
    with pytest.raises(BundleError, match="InstaDeepAI/other is no bundle, and no model of the hub .*`hf download"):
        open_encoder(Path("InstaDeepAI/other"))
    for name in ("runs/a/bundle", "/absent/bundle", "../bundle"):
        with pytest.raises(BundleError, match=r"is no bundle \(bundle.json is missing"):
            open_encoder(Path(name))


def test_a_model_of_another_kind_needs_transformers(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BundleError, match=r"is no bundle, and other models need pip install 'plantgfm\[interop\]'"):
        open_encoder(tmp_path)


def test_other_parameters_of_the_same_network_give_what_their_own_bundle_gives(tmp_path):
    one, other = (BundleEncoder(small_bundle(tmp_path / str(seed), seed=seed)) for seed in (0, 1))
    tokens = np.array([[1, 9, 10, 11, 0, 0]], np.int32)
    asked = {"layer": -1, "pooling": Pooling.MEAN}
    before, wanted = (encoder.vectors(tokens, **asked) for encoder in (one, other))
    np.testing.assert_allclose(one.with_params(other.bundle.params).vectors(tokens, **asked), wanted, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(one.vectors(tokens, **asked), before)
    assert np.abs(before - wanted).max() > 1e-3

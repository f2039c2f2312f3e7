"""ONNX models of a bundle, in onnxruntime: what the network gives, for any batch and length."""

import json
import logging
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.export import onnx_model
from plantgfm.export.bundle import BundleError
from plantgfm.export.onnx_model import write_onnx
from plantgfm.identity import file_sha256
from tests.fixtures import lively_bundle

pytestmark = pytest.mark.interop
for _package in ("torch", "transformers", "onnx", "onnxscript"):
    pytest.importorskip(_package)
onnxruntime = pytest.importorskip("onnxruntime")


LAYOUTS = {"sliding": {"local_attention": 8, "n_layers": 4}, "causal": {"causal": True}}


@pytest.fixture(scope="module", params=LAYOUTS.values(), ids=LAYOUTS)
def both(request, tmp_path_factory):
    """A bundle and the folder written from it."""
    folder, said = tmp_path_factory.mktemp("onnx"), []
    bundle = lively_bundle(folder / "bundle", **request.param)
    ear = logging.Handler(logging.WARNING)
    ear.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("torch.onnx._internal.exporter._registration").addHandler(ear)
    there = write_onnx(folder / "there", bundle)
    assert said == []  # of torchvision, which no model of ours needs
    return bundle, there


def test_any_batch_and_length_give_what_the_network_gives(both):
    bundle, there = both
    logits, embed = (onnxruntime.InferenceSession(there / f"{name}.onnx") for name in ("logits", "embed"))
    for rows, length in ((1, 1), (1, 17), (4, 33), (2, 150)):
        tokens = np.random.default_rng(length).integers(4, bundle.vocabulary.size, (rows, length)).astype(np.int32)
        tokens[:, 0] = 1
        tokens[0, length // 2 + 1 :] = 0
        feed = {"input_ids": tokens.astype(np.int64), "attention_mask": (tokens != 0).astype(np.int64)}
        hidden = bundle.network.hidden(bundle.params, jnp.asarray(tokens))
        expected = bundle.network.masked_logits(bundle.params, hidden)[..., : bundle.vocabulary.size]
        (found,) = logits.run(None, feed)
        there_is = tokens != 0
        assert np.ptp(found) > 1
        np.testing.assert_allclose(found[there_is], np.asarray(expected)[there_is], rtol=0, atol=1e-4)
        (vectors,) = embed.run(None, feed)
        np.testing.assert_allclose(vectors, bundle.network.pool(hidden, jnp.asarray(tokens)), rtol=0, atol=1e-4)


def test_the_folder_tells_what_it_is(both):
    bundle, there = both
    mark = json.loads((there / "onnx.json").read_text())
    assert mark["opset"] == 20 and mark["bundle"] == bundle.fingerprint and 0 < mark["greatest_difference"] < 1e-4
    files = {path.name for path in there.iterdir()}
    assert files == {"logits.onnx", "embed.onnx", "tokenizer.json", "onnx.json", "README.md"}
    assert mark["sha256"] == {name: file_sha256(there / name) for name in files - {"onnx.json", "README.md"}}


def test_its_readme_runs(both, monkeypatch):
    bundle, there = both
    code = (there / "README.md").read_text().split("```python")[1].split("```")[0]
    monkeypatch.chdir(there)
    found = {}
    exec(code, found)
    assert found["vectors"].shape == (2, bundle.model_config.d_model)
    assert found["scores"].shape == (2, 5, bundle.vocabulary.size)


def test_models_that_differ_are_not_written(both, tmp_path, monkeypatch):
    bundle, there = both

    class Copy:
        def __init__(self, output):
            self.name = {"logits": "logits", "vectors": "embed"}[output]

        def save(self, path):
            (tmp_path / path).write_bytes((there / f"{self.name}.onnx").read_bytes())

    monkeypatch.setattr(onnx_model, "_exported", lambda module, *, output: Copy(output))
    assert write_onnx(tmp_path / "same", bundle) == tmp_path / "same"
    params = {**bundle.params, "final_norm": {"scale": bundle.params["final_norm"]["scale"] * 1.01}}
    object.__setattr__(bundle, "params", params)
    with pytest.raises(BundleError, match="ONNX models differ from the bundle by .*: not written"):
        write_onnx(tmp_path / "other", bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["same"]
    (tmp_path / "mine").mkdir()
    with pytest.raises(BundleError, match="exists and is no folder of ONNX models"):
        write_onnx(tmp_path / "mine", bundle)
    assert "onnxruntime" in sys.modules

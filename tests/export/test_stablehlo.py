"""Exported functions run with jax alone, for any batch and length, and give what the model gives."""

import json
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from plantgfm.export.bundle import BundleError
from plantgfm.export.stablehlo import PLATFORMS, functions, write_stablehlo
from tests.fixtures import lively_bundle

pytest.importorskip("flatbuffers")

CALLER = """
import sys, numpy as np
from pathlib import Path
from jax import export
folder = Path(sys.argv[1])
parameters, tokens = dict(np.load(folder / "parameters.npz")), np.load(sys.argv[2])
for name in ("embed", "logits"):
    function = export.deserialize((folder / f"{name}.jax_export").read_bytes())
    np.save(folder / f"{name}.npy", function.call(parameters, tokens))
sys.exit(any(name.split(".")[0] in ("plantgfm", "flax", "safetensors", "optax") for name in sys.modules))
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return lively_bundle(tmp_path_factory.mktemp("stablehlo") / "bundle", local_attention=8)


@pytest.fixture(scope="module")
def written(bundle, tmp_path_factory):
    return write_stablehlo(tmp_path_factory.mktemp("stablehlo") / "there", bundle)


def batch(rows, length):
    tokens = np.random.default_rng(length).integers(4, 4112, (rows, length)).astype(np.int32)
    tokens[:, 0] = 1
    tokens[-1, length // 2 :] = 0
    return tokens


def test_they_run_with_jax_alone_and_give_what_the_model_gives(bundle, written, tmp_path):
    tokens = batch(3, 61)
    np.save(tmp_path / "tokens.npy", tokens)
    command = [sys.executable, "-W", "error", "-c", CALLER, str(written), str(tmp_path / "tokens.npy")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    hidden = bundle.network.hidden(bundle.params, jnp.asarray(tokens))
    logits = bundle.network.masked_logits(bundle.params, hidden)[..., : bundle.vocabulary.size]
    np.testing.assert_allclose(
        np.load(written / "embed.npy"), bundle.network.pool(hidden, jnp.asarray(tokens)), rtol=0, atol=1e-4
    )
    theirs = np.load(written / "logits.npy")
    assert np.ptp(theirs) > 1
    np.testing.assert_allclose(theirs[tokens != 0], np.asarray(logits)[tokens != 0], rtol=0, atol=1e-4)


def test_one_file_serves_every_batch_and_length_on_every_platform(bundle, written):
    function = export.deserialize((written / "embed.jax_export").read_bytes())
    assert function.platforms == PLATFORMS == ("cpu", "cuda", "tpu")
    assert [str(dim) for dim in function.in_avals[-1].shape] == ["B", "L"]
    parameters = dict(np.load(written / "parameters.npz"))
    embed = jax.jit(functions(bundle)["embed"])
    for rows, length in ((1, 2), (4, 17)):
        tokens = batch(rows, length)
        found = function.call(parameters, tokens)
        np.testing.assert_allclose(found, embed(parameters, tokens), rtol=0, atol=1e-4)


def test_the_folder_says_how_to_call_it_and_where_it_comes_from(bundle, written, monkeypatch):
    mark = json.loads((written / "stablehlo.json").read_text())
    assert mark["bundle"] == bundle.fingerprint and set(mark["sha256"]) == {
        "parameters.npz",
        "embed.jax_export",
        "logits.jax_export",
    }
    assert not any(name.startswith("next_region") for name in np.load(written / "parameters.npz").files)
    (snippet,) = re.findall(r"```python\n(.*?)```", (written / "README.md").read_text(), re.DOTALL)
    found: dict = {}
    monkeypatch.chdir(written)
    exec(snippet, found)
    assert found["vectors"].shape == (2, 32) and found["scores"].shape == (2, 5, bundle.vocabulary.size)


def test_another_folder_is_left_alone(bundle, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(BundleError, match="mine exists and is no folder of StableHLO functions"):
        write_stablehlo(tmp_path / "mine", bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]

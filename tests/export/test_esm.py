"""ESM-format checkpoints from a folder: what is read, what is refused."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from plantgfm.export.bundle import BundleError
from plantgfm.export.esm import load_esm
from plantgfm.model.esm import EsmConfig
from tests.model.test_esm import SMALL, random_params
from tests.tokenization.test_esm import AGRO_NT


def write_esm(folder, **changes):
    """A small random checkpoint of AgroNT's layout."""
    folder.mkdir(exist_ok=True)
    content = {"model_type": "esm", "pad_token_id": 1, "mask_token_id": 2, "tie_word_embeddings": False, **SMALL}
    (folder / "config.json").write_text(json.dumps(content | changes))
    (folder / "vocab.txt").write_text("\n".join(AGRO_NT))
    save_file(random_params(EsmConfig(**SMALL)), folder / "model.safetensors")
    return folder


def test_a_folder_gives_its_parameters_tokens_and_fingerprint(tmp_path):
    model = load_esm(write_esm(tmp_path / "a"))
    assert model.config == EsmConfig(**SMALL) and model.tokens.cls == 3
    params = random_params(model.config)
    assert model.params.keys() == {name for name in params if "contact_head" not in name}
    assert all(np.array_equal(value, params[name]) for name, value in model.params.items())
    other = load_esm(write_esm(tmp_path / "b", layer_norm_eps=1e-5))
    assert load_esm(tmp_path / "a").fingerprint == model.fingerprint != other.fingerprint


def test_norms_under_their_old_names_are_read(tmp_path):
    before = load_esm(write_esm(tmp_path / "a"))
    arrays = load_file(tmp_path / "a" / "model.safetensors")
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in arrays.items()
    }
    assert renamed.keys() != arrays.keys()
    save_file(renamed, tmp_path / "a" / "model.safetensors")
    after = load_esm(tmp_path / "a")
    assert after.params.keys() == before.params.keys()
    assert all(np.array_equal(value, before.params[name]) for name, value in after.params.items())


def damage():
    def drop(folder):
        arrays = load_file(folder / "model.safetensors")
        del arrays["lm_head.bias"]
        save_file(arrays, folder / "model.safetensors")

    def config(**changes):
        return lambda folder: write_esm(folder, **changes)

    return {
        "lacks config.json": lambda folder: (folder / "config.json").unlink(),
        "lacks vocab.txt": lambda folder: (folder / "vocab.txt").unlink(),
        "lacks model.safetensors": lambda folder: (folder / "model.safetensors").unlink(),
        "model_type is 'bert'": config(model_type="bert"),
        "an ESM model with code of its own": config(auto_map={"AutoModel": "x.Y"}),
        "position_embedding_type is 'rotary'": config(position_embedding_type="rotary"),
        "should have shape .30, 24., the file holds .34, 24.": config(max_position_embeddings=30),
        "'vocab_size' are damaged: '4105' is no int": config(vocab_size="4105"),
        "config.json lacks hidden_size": config(hidden_size=None),
        "name other ids for <pad>": config(pad_token_id=0),
        "lm_head.bias should have shape .4105,., the file holds nothing": drop,
        "token 'AAAAAA' is missing": lambda folder: (folder / "vocab.txt").write_text(
            "<cls>\n<pad>\n<mask>\nN\nA\nC\nG\nT"
        ),
    }


@pytest.mark.parametrize("said", damage())
def test_what_is_no_such_checkpoint_is_refused_by_name(tmp_path, said):
    folder = write_esm(tmp_path / "a")
    damage()[said](folder)
    with pytest.raises(BundleError, match=said):
        load_esm(folder)

"""The bundle: what goes in comes out, and nothing else opens."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.export.arrays import save_safetensors
from plantgfm.export.bundle import BundleError, flatten, load_bundle, unflatten, write_bundle
from plantgfm.identity import canonical_json, file_sha256, fingerprint
from plantgfm.model.build import build
from plantgfm.model.config import AttentionKind, Layers, Remat
from plantgfm.tokenization.features import kmer_features
from plantgfm.tokenization.vocabulary import Vocabulary, kmer_code, reverse_complement_codes
from tests.fixtures import fresh, small_bundle, small_model, small_vocabulary, write_small_bundle


def test_flatten_and_unflatten_are_inverse():
    tree = {"b": {"c": np.arange(3.0)}, "a": np.ones((2, 2))}
    flat = flatten(tree)
    assert list(flat) == ["a", "b.c"]
    again = unflatten(flat, tree)
    assert jax.tree.structure(again) == jax.tree.structure(tree)
    assert np.array_equal(again["b"]["c"], tree["b"]["c"])


def test_a_missing_or_misshapen_parameter_is_named():
    with pytest.raises(BundleError, match="b.c should have shape .3,., the file holds nothing"):
        unflatten({}, {"b": {"c": np.ones(3)}})
    with pytest.raises(BundleError, match=r"\(2,\)"):
        unflatten({"a": np.ones(2)}, {"a": np.ones(3)})


def test_a_bundle_gives_the_states_of_the_network_that_was_exported(tmp_path):
    vocabulary, config = small_vocabulary(), small_model()
    network = build(config, vocabulary.size, features=kmer_features(vocabulary))
    params = fresh(network, 3)
    trained = replace(config, attention=AttentionKind.BY_WINDOW, layers=Layers.SCANNED, remat=Remat.FULL)
    out = write_bundle(
        tmp_path / "b", network=network, params=params, model_config=trained, vocabulary=vocabulary, lineage={}
    )
    bundle = load_bundle(out)
    assert bundle.model_config == bundle.network.config == config  # computed as suits who reads it
    tokens = jnp.array([[1, 5, 100, 4105, 4, 0], [1, 9, 10, 11, 12, 13]], jnp.int32)
    assert "kmer" in params and "kmer" not in bundle.params
    there = bundle.network.hidden(bundle.params, tokens)
    np.testing.assert_allclose(there, network.hidden(params, tokens), atol=1e-5)
    assert bundle.vocabulary == vocabulary


def test_the_same_export_has_the_same_fingerprint_and_another_model_another(tmp_path):
    first, again, other = (small_bundle(tmp_path / n, seed=s) for n, s in (("a", 0), ("b", 0), ("c", 1)))
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_the_card_states_species_and_figures(tmp_path):
    card = (write_small_bundle(tmp_path / "b") / "README.md").read_text()
    assert "*Fictus primus*" in card and "watch/bits: 1.9000" in card and "license: apache-2.0" in card


@pytest.mark.parametrize("part", ["model.safetensors", "vocabulary.json", "lineage.json"])
def test_a_changed_or_missing_part_is_refused_by_name(tmp_path, part):
    path = write_small_bundle(tmp_path / "b")
    with (path / part).open("r+b") as stream:
        stream.seek(40)
        stream.write(b"?")
    with pytest.raises(BundleError, match=f"{part} is not the file that was exported"):
        load_bundle(path)
    (path / part).unlink()
    with pytest.raises(BundleError, match=f"lacks {part}"):
        load_bundle(path)


def test_no_bundle_a_damaged_seal_and_another_format_are_refused(tmp_path):
    with pytest.raises(BundleError, match="is no bundle"):
        load_bundle(tmp_path)
    path = write_small_bundle(tmp_path / "b")
    seal = json.loads((path / "bundle.json").read_text())
    (path / "bundle.json").write_text(json.dumps({**seal, "format_version": 99}))
    with pytest.raises(BundleError, match="bundle format 99"):
        load_bundle(path)
    (path / "bundle.json").write_text("{")
    with pytest.raises(BundleError, match="is damaged"):
        load_bundle(path)


def sealed_again(path):
    """The folder with digests of what lies in it now."""
    seal = json.loads((path / "bundle.json").read_text())
    digests = {name: file_sha256(path / name) for name in seal["sha256"]}
    (path / "bundle.json").write_text(canonical_json({**seal, "sha256": digests, "fingerprint": fingerprint(digests)}))
    return path


DAMAGED = {
    "no safetensors": ("model.safetensors", "xx", "model.safetensors is no readable safetensors file"),
    "no size": ("model.json", "{}", f"the model has None tokens, the vocabulary {small_vocabulary().size}"),
    "no settings": (
        "model.json",
        json.dumps({"vocabulary_size": small_vocabulary().size}),
        "model.json has no settings of a model",
    ),
    "no object": ("lineage.json", "[]", "lineage.json holds list where an object should be"),
    "no JSON": ("lineage.json", "?", "lineage.json is no JSON"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_parts_that_were_sealed_damaged_are_refused_by_name(tmp_path, name):
    part, content, said = DAMAGED[name]
    path = write_small_bundle(tmp_path / "b")
    (path / part).write_text(content)
    with pytest.raises(ValueError, match=said):
        load_bundle(sealed_again(path))


def test_a_vocabulary_of_the_same_size_that_the_model_was_not_trained_with_is_refused(tmp_path):
    own = small_vocabulary()
    path = write_small_bundle(tmp_path / "b", lineage={"vocabulary_fingerprint": own.fingerprint})
    assert load_bundle(path).vocabulary == own
    one, other = np.array([kmer_code("TGTCTCGG")]), np.array([kmer_code("TGTCTCGA")])
    kept = np.setdiff1d(own.eight_mers, [*one, *reverse_complement_codes(one, 8)])
    swapped = np.union1d(kept, [*other, *reverse_complement_codes(other, 8)]).astype(np.uint16)
    assert Vocabulary(swapped).size == own.size
    Vocabulary(swapped).save(path / "vocabulary.json")
    with pytest.raises(BundleError, match=f"was trained with vocabulary {own.fingerprint}, vocabulary.json is"):
        load_bundle(sealed_again(path))


def test_what_cannot_be_written_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError, match="weights.safetensors can't be written"):
        save_safetensors({"a": np.zeros(3, np.float32)}, tmp_path / "absent" / "weights.safetensors")


def test_an_export_through_a_link_writes_what_it_leads_to(tmp_path):
    (tmp_path / "link").symlink_to("b")
    for seed in (0, 1):  # made, then replaced
        write_small_bundle(tmp_path / "link", seed=seed)
        assert (tmp_path / "link").is_symlink() and (tmp_path / "b" / "bundle.json").is_file()
        assert {path.name for path in tmp_path.iterdir()} == {"b", "link"}


def test_another_folder_is_never_overwritten_and_nothing_half_written_stays(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("x")
    with pytest.raises(BundleError, match="exists and is no bundle"):
        write_small_bundle(tmp_path / "mine")
    with pytest.raises(TypeError):
        write_small_bundle(tmp_path / "b", lineage={"metrics": object()})
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_export_over_an_older_bundle_replaces_it(tmp_path):
    old = small_bundle(tmp_path / "b", seed=0).fingerprint
    assert small_bundle(tmp_path / "b", seed=1).fingerprint != old
    assert [path.name for path in tmp_path.iterdir()] == ["b"]

"""The bundle: one folder with everything that downstream needs, and no pickle.

bundle.json        format version, SHA-256 of every other file
model.safetensors  parameters, float32, k-mer features folded into one embedding table
model.json         ModelConfig and the number of vocabulary rows
vocabulary.json    the tokenizer
lineage.json       corpus fingerprint, species, steps, metrics
README.md          model card
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plantgfm.export.arrays import load_safetensors, save_safetensors
from plantgfm.export.card import model_card
from plantgfm.export.errors import BundleError
from plantgfm.export.folder import whole_folder
from plantgfm.export.older import oldest, upgraded
from plantgfm.identity import canonical_json, file_sha256, fingerprint, plain, read_json, restore
from plantgfm.model.build import Network, build
from plantgfm.model.config import ModelConfig
from plantgfm.tokenization.vocabulary import Vocabulary

FORMAT_VERSION = 3
_PARTS = ("model.safetensors", "model.json", "vocabulary.json", "lineage.json", "README.md")


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: the network, its parameters, its tokenizer, where it comes from."""

    network: Network
    params: dict[str, Any]  # nested dict of float32 arrays, k-mer features folded
    model_config: ModelConfig
    vocabulary: Vocabulary
    lineage: dict[str, Any]
    fingerprint: str  # of every file of the bundle


def flatten(params: dict[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Nested parameters as {"a.b.c": array}, in sorted order."""
    flat: dict[str, np.ndarray] = {}
    for key in sorted(params, key=str):
        value, name = params[key], f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, dict) else {name: np.asarray(value)}
    return flat


def unflatten(flat: dict[str, Any], like: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The inverse of `flatten`, with the keys and shapes of `like`.

    Raises:
        BundleError: for a parameter that is absent or has another shape.
    """
    nested = {}
    for key, value in like.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            nested[key] = unflatten(flat, value, f"{name}.")
            continue
        if name not in flat or flat[name].shape != value.shape:
            found = flat[name].shape if name in flat else "nothing"
            raise BundleError(f"parameter {name} should have shape {value.shape}, the file holds {found}")
        nested[key] = flat[name]
    return nested


def write_bundle(
    out: Path,
    *,
    network: Network,
    params: dict[str, Any],
    model_config: ModelConfig,
    vocabulary: Vocabulary,
    lineage: dict[str, Any],
) -> Path:
    """Write a bundle; the folder appears whole or not at all.

    Args:
        out: folder to make; an existing one is replaced only if it is a bundle itself.
        network: the network as trained.
        params: its parameters, as trained (k-mer features are folded here).
        model_config: its configuration.
        vocabulary: its tokenizer.
        lineage: corpus fingerprint, species, steps, metrics; plain values.

    Raises:
        BundleError: when `out` holds something else.
    """
    with whole_folder(out, mark="bundle.json", what="bundle", error=BundleError) as work:
        _write_parts(work, network, params, model_config=model_config, vocabulary=vocabulary, lineage=lineage)
    return out


def _write_parts(work: Path, network: Network, params, *, model_config, vocabulary, lineage) -> None:
    flat = {name: np.ascontiguousarray(value, np.float32) for name, value in flatten(network.fold(params)).items()}
    save_safetensors(flat, work / "model.safetensors")
    model = {"config": plain(model_config), "vocabulary_size": vocabulary.size}
    (work / "model.json").write_text(json.dumps(model, indent=2, sort_keys=True) + "\n")
    vocabulary.save(work / "vocabulary.json")
    (work / "lineage.json").write_text(json.dumps(plain(lineage), indent=2, sort_keys=True) + "\n")
    n_parameters = sum(value.size for value in flat.values())
    (work / "README.md").write_text(model_card(model_config, vocabulary, lineage, n_parameters=n_parameters))
    digests = {name: file_sha256(work / name) for name in _PARTS}
    seal = {"format_version": FORMAT_VERSION, "sha256": digests, "fingerprint": fingerprint(digests)}
    (work / "bundle.json").write_text(canonical_json(seal) + "\n")


def load_bundle(path: Path) -> Bundle:
    """Open a bundle after checking the digest of every part; one of an older format computes what it did.

    Raises:
        BundleError: when the folder is no bundle, a newer format, or a part is absent or changed.
    """
    seal = _checked_seal(path)
    model, lineage = (read_json(path / name, remedy="export it again") for name in ("model.json", "lineage.json"))
    vocabulary = Vocabulary.load(path / "vocabulary.json")
    if model.get("vocabulary_size") != vocabulary.size:
        size = model.get("vocabulary_size")
        raise BundleError(f"{path}: the model has {size} tokens, the vocabulary {vocabulary.size}")
    told = lineage.get("vocabulary_fingerprint", vocabulary.fingerprint)
    if told != vocabulary.fingerprint:
        raise BundleError(
            f"{path}: the model was trained with vocabulary {told}, vocabulary.json is {vocabulary.fingerprint}: "
            "one of them is of another model"
        )
    if not isinstance(model.get("config"), dict):
        raise BundleError(f"{path / 'model.json'} has no settings of a model: export it again")
    config = restore(ModelConfig, model["config"]).as_read()
    network = build(config, vocabulary.size)
    stored = load_safetensors(path / "model.safetensors")
    flat = upgraded(stored, version=seal["format_version"], to=FORMAT_VERSION)
    params = unflatten(flat, network.shapes)
    return Bundle(network, params, config, vocabulary, lineage, seal["fingerprint"])


def _checked_seal(path: Path) -> dict[str, Any]:
    seal_path = path / "bundle.json"
    if not seal_path.is_file():
        raise BundleError(
            f"{path} is no bundle (bundle.json is missing): make one with `plantgfm export RUN --out DIR`"
        )
    try:
        seal = read_json(seal_path, remedy="export it again")
        version, digests = seal["format_version"], {name: seal["sha256"][name] for name in _PARTS}
        known = fingerprint(seal["sha256"]) == seal["fingerprint"]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{seal_path} is damaged: {error!r}") from error
    if not known:
        raise BundleError(f"{seal_path} is damaged: its fingerprint is not that of its digests")
    if version not in range(oldest(FORMAT_VERSION), FORMAT_VERSION + 1):
        raise BundleError(
            f"{path} has bundle format {version}, this version reads {oldest(FORMAT_VERSION)} to {FORMAT_VERSION}"
        )
    for name in _PARTS:
        if not (path / name).is_file():
            raise BundleError(f"{path} lacks {name}: export it again")
        if file_sha256(path / name) != digests[name]:
            raise BundleError(f"{path / name} is not the file that was exported (its SHA-256 differs): export it again")
    return seal

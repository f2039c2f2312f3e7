"""ESM-format checkpoints of DNA models (AgroNT, Nucleotide Transformer v1), read from a folder into JAX.

Nothing is fetched and no code of the folder runs: config.json, vocab.txt and the weights are read.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from pathlib import Path

import numpy as np

from plantgfm.export.arrays import load_arrays
from plantgfm.export.bundle import BundleError
from plantgfm.identity import canonical_json, file_sha256, fingerprint, read_json, restore
from plantgfm.model.esm import EsmConfig, shapes
from plantgfm.tokenization.esm import EsmTokens, esm_tokens

_UNUSED = "esm.contact_head."


@dataclass(frozen=True, eq=False)
class EsmModel:
    """An opened checkpoint: `model.esm` computes with its parameters."""

    config: EsmConfig
    params: dict[str, np.ndarray]  # float32, by the names of `model.esm.shapes`
    tokens: EsmTokens
    fingerprint: str  # of the files that it was read from


def load_esm(path: Path) -> EsmModel:
    """Open a folder with config.json, vocab.txt and safetensors (or pytorch_model.bin, where PyTorch is installed).

    Raises:
        BundleError: for another kind of model, or files that do not belong together.
    """
    for name in ("config.json", "vocab.txt"):
        if not (path / name).is_file():
            raise BundleError(f"{path} lacks {name}: it is no ESM-format checkpoint")
    content = read_json(path / "config.json", remedy="fetch it again")
    if content.get("model_type") != "esm" or "auto_map" in content:
        what = "an ESM model with code of its own" if "auto_map" in content else f"{content.get('model_type')!r}"
        raise BundleError(f"{path / 'config.json'}: model_type is {what}, only plain 'esm' can be imported")
    known = {field.name: content[field.name] for field in fields(EsmConfig) if content.get(field.name) is not None}
    if lacking := [one.name for one in fields(EsmConfig) if one.default is MISSING and one.name not in known]:
        raise BundleError(f"{path / 'config.json'} lacks {lacking[0]}: it is not what `save_pretrained` writes")
    try:
        config = restore(EsmConfig, known)
        tokens = esm_tokens((path / "vocab.txt").read_text(encoding="utf-8").split("\n"), rows=config.vocab_size)
    except ValueError as error:
        raise BundleError(f"{path}: {error}") from None
    if (tokens.pad, tokens.mask) != (config.pad_token_id, config.mask_token_id):
        raise BundleError(f"{path}: vocab.txt and config.json name other ids for <pad> or <mask>")
    params = _checked(path, load_arrays(path, pickled=True), config)
    digests = [file_sha256(file) for file in sorted(path.iterdir()) if file.suffix in (".safetensors", ".bin")]
    digests += [file_sha256(path / name) for name in ("config.json", "vocab.txt")]
    return EsmModel(config, params, tokens, fingerprint(canonical_json(digests)))


def _checked(path: Path, arrays: dict[str, np.ndarray], config: EsmConfig) -> dict[str, np.ndarray]:
    # transformers 5 writes the norms of a layer under the names that TensorFlow had for them.
    old = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
    for theirs, ours in old.items():
        arrays = {name.replace(theirs, ours): value for name, value in arrays.items()}
    found = {}
    for name, shape in shapes(config).items():
        if name.startswith(_UNUSED):
            continue
        if name not in arrays or arrays[name].shape != shape:
            has = arrays[name].shape if name in arrays else "nothing"
            raise BundleError(f"{path}: parameter {name} should have shape {shape}, the file holds {has}")
        found[name] = arrays[name]
    return found

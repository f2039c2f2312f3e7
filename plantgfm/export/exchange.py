"""A folder for Hugging Face's libraries, written from a bundle and read back.

config.json, model.safetensors      ModernBERT, or its decoder twin
tokenizer.json and its two configs  the ids of our kernel
generation_config.json              of a causal model
modules.json, 1_*, 2_*              sentence-transformers: the masked mean, [CLS] not counted, as `plantgfm embed` pools
next_region.safetensors             what ModernBERT has no place for: the next-region head, rows that pad the vocabulary
plantgfm.json                       our model settings, lineage, digests
README.md                           model card
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import jax
import numpy as np

from plantgfm.export.arrays import WEIGHTS, load_arrays, load_safetensors, save_safetensors
from plantgfm.export.bundle import Bundle, BundleError, flatten, unflatten, write_bundle
from plantgfm.export.card import exchange_card
from plantgfm.export.folder import whole_folder
from plantgfm.export.huggingface import beside, gather, hf_config, model_config, padding, state_dict
from plantgfm.identity import file_sha256, fingerprint, plain, read_json, restore
from plantgfm.model.build import build
from plantgfm.model.config import ModelConfig
from plantgfm.tokenization.huggingface import special_tokens_map, tokenizer_config, tokenizer_json, vocabulary_of
from plantgfm.tokenization.vocabulary import CLS, PAD, SPECIAL_TOKENS, Vocabulary

EXCHANGE_VERSION = 1
_MARK, _REST = "plantgfm.json", "next_region.safetensors"
_REMEDY = "`plantgfm import` takes it from the bundle that the model comes from, given with --base"
_MASKED = ("ModernBertForMaskedLM", "ModernBertDecoderForCausalLM")


def write_exchange(out: Path, bundle: Bundle) -> Path:
    """Write a bundle as a folder for Hugging Face's libraries; it appears whole or not at all.

    Raises:
        BundleError: when `out` exists and is no such folder.
    """
    with whole_folder(out, mark=_MARK, what="exported model", error=BundleError) as work:
        config, vocabulary = bundle.model_config, bundle.vocabulary
        arrays = state_dict(bundle.params, config, vocabulary_size=vocabulary.size)
        save_safetensors(arrays, work / WEIGHTS, metadata={"format": "pt"})
        save_safetensors(beside(bundle.params, config, vocabulary_size=vocabulary.size), work / _REST)
        for name, content in _json_files(config, vocabulary).items():
            (work / name).parent.mkdir(exist_ok=True)
            (work / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        n_parameters = sum(value.size for value in flatten(bundle.params).values())
        card = exchange_card(config, vocabulary, bundle.lineage, n_parameters=n_parameters)
        (work / "README.md").write_text(card)
        mark = {
            "version": EXCHANGE_VERSION,
            "model": plain(config),
            "vocabulary_fingerprint": vocabulary.fingerprint,
            "lineage": bundle.lineage,
            "bundle": bundle.fingerprint,
            "sha256": {name: file_sha256(work / name) for name in (WEIGHTS, _REST)},
        }
        (work / _MARK).write_text(json.dumps(mark, indent=2, sort_keys=True) + "\n")
    return out


def _json_files(config: ModelConfig, vocabulary: Vocabulary) -> dict[str, Any]:
    content = {
        "config.json": hf_config(config, vocabulary),
        "tokenizer.json": tokenizer_json(vocabulary),
        "tokenizer_config.json": tokenizer_config(max_tokens=config.max_tokens),
        "special_tokens_map.json": special_tokens_map(),
        **_sentence_modules(config, vocabulary),
    }
    if config.causal:
        content["generation_config.json"] = {"bos_token_id": CLS, "pad_token_id": PAD}
    return content


def _sentence_modules(config: ModelConfig, vocabulary: Vocabulary) -> dict[str, Any]:
    """Of sentence-transformers: weight 0 for special tokens, and the mean over what is left, by the sum of weights."""
    paths = {"Transformer": "", "WordWeights": "1_WordWeights", "Pooling": "2_Pooling"}
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (kind, path) in enumerate(paths.items())
    ]
    weights = dict.fromkeys((SPECIAL_TOKENS[PAD], SPECIAL_TOKENS[CLS]), 0)
    return {
        "modules.json": modules,
        "config_sentence_transformers.json": {"similarity_fn_name": "cosine"},
        "sentence_bert_config.json": {"max_seq_length": config.max_tokens, "do_lower_case": False},
        "1_WordWeights/config.json": {"vocab": vocabulary.tokens, "word_weights": weights, "unknown_word_weight": 1},
        "2_Pooling/config.json": {"word_embedding_dimension": config.d_model, "pooling_mode_mean_tokens": True},
    }


@dataclass(frozen=True)
class Imported:
    """What a folder gave: a bundle's parts, and what the folder lacked or held beyond them."""

    model_config: ModelConfig
    vocabulary: Vocabulary
    params: dict[str, Any]
    lineage: dict[str, Any]
    absent: list[str]  # parameters of ours taken from the base, or untrained without one
    unplaced: list[str]  # arrays of the folder that a bundle has no place for, such as a classifier

    def write(self, out: Path) -> Path:
        """As a bundle."""
        network = build(self.model_config, self.vocabulary.size)
        return write_bundle(
            out,
            network=network,
            params=self.params,
            model_config=self.model_config,
            vocabulary=self.vocabulary,
            lineage=self.lineage,
        )


def read_exchange(path: Path, *, base: Bundle | None = None) -> Imported:
    """Read what `write_exchange` wrote, or what `save_pretrained` made of it after training elsewhere.

    Args:
        path: folder with config.json, safetensors and tokenizer.json; nothing in it is run or unpickled.
        base: gives what the folder lacks: heads, tokenizer, model settings, lineage.

    Raises:
        BundleError: when the folder is none, is damaged, or holds another kind of model.
    """
    if not (path / "config.json").is_file():
        raise BundleError(f"{path} is no model of Hugging Face: config.json is missing")
    content = read_json(path / "config.json", remedy="export or save it again")
    mark = _mark(path)
    config = _config(path, content, mark=mark, base=base)
    vocabulary = _vocabulary(path, content, mark=mark, base=base)
    arrays = _weights(path, content)
    rest = _rest(path, mark)
    if base is not None and base.vocabulary != vocabulary:
        raise BundleError(f"the base has vocabulary {base.vocabulary.fingerprint}, the folder {vocabulary.fingerprint}")
    if base is not None:
        rest = {**padding(base.params, vocabulary_size=vocabulary.size), **rest}
    network = build(config, vocabulary.size)
    like = network.shapes
    found = gather(arrays, config, rest=rest, needed={name: shape[0] for name, shape in _shapes(like).items()})
    lacking = [name for name in found.absent if not name.startswith("next_region.")]
    if lacking and base is None:
        raise BundleError(f"{path} lacks parameter {lacking[0]}: {_REMEDY}")
    flat = found.flat
    if found.absent:
        source = flatten(base.params if base else jax.jit(network.init)(jax.random.key(0)))
        flat |= {name: source[name] for name in found.absent}
    params = unflatten(flat, like)
    lineage = _lineage(path, content, mark=mark, base=base, absent=found.absent)
    return Imported(config, vocabulary, params, lineage, found.absent, found.unplaced)


def is_exchange(path: Path) -> bool:
    """Whether a folder says that `write_exchange` made it, whatever was trained further in it."""
    return (path / _MARK).is_file() and (path / "config.json").is_file()


def open_exchange(path: Path) -> Bundle:
    """Open a folder that `write_exchange` wrote as it is, without a bundle in between.

    The fingerprint is that of the files, another one than that of the bundle it came from.

    Raises:
        BundleError: as `read_exchange`.
    """
    found = read_exchange(path)
    files = [file for file in (_MARK, "config.json", "tokenizer.json", WEIGHTS, _REST) if (path / file).is_file()]
    seal = fingerprint({name: file_sha256(path / name) for name in files})
    network = build(found.model_config, found.vocabulary.size)
    return Bundle(network, found.params, found.model_config, found.vocabulary, found.lineage, seal)


def _mark(path: Path) -> dict[str, Any] | None:
    """What `plantgfm.json` says, None where there is none."""
    if not (path / _MARK).is_file():
        return None
    mark = read_json(path / _MARK, remedy="export it again, or remove it and give --base")
    if mark.get("version") != EXCHANGE_VERSION:
        raise BundleError(f"{path / _MARK} has version {mark.get('version')}, this code reads {EXCHANGE_VERSION}")
    kinds = {"model": dict, "lineage": dict, "sha256": dict, "bundle": str, "vocabulary_fingerprint": str}
    if odd := [name for name, kind in kinds.items() if not isinstance(mark.get(name), kind)]:
        raise BundleError(f"{path / _MARK} is damaged: {odd[0]!r} is missing or of another kind")
    return mark


def _config(path: Path, content: dict[str, Any], *, mark: dict[str, Any] | None, base: Bundle | None) -> ModelConfig:
    try:
        found = model_config(content)
        stored = restore(ModelConfig, mark["model"]) if mark else base.model_config if base else found
        size = content.get("vocab_size", 0)
        stated = model_config({**hf_config(stored, Vocabulary(np.zeros(0, np.uint16))), "vocab_size": size})
    except ValueError as error:
        raise BundleError(f"{path / 'config.json'}: {error}") from None
    for field in fields(ModelConfig):
        ours, theirs = getattr(stated, field.name), getattr(found, field.name)
        if ours != theirs:
            where = _MARK if mark else "the base"
            raise BundleError(f"{path / 'config.json'} means {field.name} {theirs}, {where} {ours}: not the same model")
    return stored


def _vocabulary(path: Path, content: dict[str, Any], *, mark: dict[str, Any] | None, base: Bundle | None) -> Vocabulary:
    file = path / "tokenizer.json"
    if file.is_file():
        try:
            vocabulary = vocabulary_of(read_json(file, remedy="export it again"))
        except ValueError as error:
            raise BundleError(f"{file} is no tokenizer of ours: {error}") from None
    elif base is not None:
        vocabulary = base.vocabulary
    else:
        raise BundleError(f"{path} has no tokenizer.json: {_REMEDY}")
    if content.get("vocab_size") != vocabulary.size:
        raise BundleError(
            f"{path}: config.json has {content.get('vocab_size')} tokens, the tokenizer {vocabulary.size}"
        )
    if mark and mark["vocabulary_fingerprint"] != vocabulary.fingerprint:
        raise BundleError(
            f"{file} has fingerprint {vocabulary.fingerprint}, {_MARK} says {mark['vocabulary_fingerprint']}: "
            "one of them is of another model"
        )
    return vocabulary


def _weights(path: Path, content: dict[str, Any]) -> dict[str, np.ndarray]:
    """Arrays by their names in the masked or causal model; heads of other tasks keep theirs, with `task.` before."""
    arrays = load_arrays(path)
    if odd := [name for name, value in arrays.items() if not np.isfinite(value).all()]:
        raise BundleError(f"{path}: {odd[0]} holds infinite numbers or none (NaN): its training went wrong")
    if not any(name.startswith("model.") for name in arrays):  # saved from AutoModel
        arrays = {f"model.{name}": value for name, value in arrays.items()}
    if content.get("architectures") not in ([name] for name in _MASKED):
        # The `head` of a classifier has the names of the masked one, but is another.
        arrays = {name if name.startswith("model.") else f"task.{name}": value for name, value in arrays.items()}
    decoder = arrays.pop("decoder.weight", None)
    table = arrays.get("model.embeddings.tok_embeddings.weight")
    if decoder is not None and not np.array_equal(decoder, table):
        raise BundleError(f"{path}: decoder.weight is not the token embedding: our networks tie the two")
    return arrays


def _rest(path: Path, mark: dict[str, Any] | None) -> dict[str, np.ndarray]:
    file = path / _REST
    if not file.is_file():
        return {}
    if mark and mark["sha256"].get(_REST) != file_sha256(file):
        raise BundleError(f"{file} is not the file that was exported (its SHA-256 differs): export it again")
    return load_safetensors(file)


def _shapes(like: dict[str, Any], prefix: str = "") -> dict[str, tuple[int, ...]]:
    flat: dict[str, tuple[int, ...]] = {}
    for key, value in like.items():
        name = f"{prefix}{key}"
        flat |= _shapes(value, f"{name}.") if isinstance(value, dict) else {name: value.shape}
    return flat


def _lineage(
    path: Path, content: dict[str, Any], *, mark: dict[str, Any] | None, base: Bundle | None, absent: list[str]
) -> dict[str, Any]:
    """The exported lineage where the weights are the exported ones; else what it came from, and that it was changed."""
    same = mark is not None and not absent and mark["sha256"].get(WEIGHTS) == _digest(path)
    if same:
        return mark["lineage"]
    source = mark["lineage"] if mark else base.lineage if base else {}
    kept = {name: value for name, value in source.items() if name != "metrics"}  # figures of other parameters
    origin = mark["bundle"] if mark else base.fingerprint if base else "not stated"
    changed = {"from_bundle": origin, "architectures": content.get("architectures")}
    if absent:
        changed["taken_from_base" if base else "untrained"] = absent
    return {**kept, "imported": changed}


def _digest(path: Path) -> str | None:
    """Digest of a folder's weights in one file; None where they lie in several."""
    return file_sha256(path / WEIGHTS) if (path / WEIGHTS).is_file() else None

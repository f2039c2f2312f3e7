"""What turns tokens into vectors: a bundle of ours, an ESM-format checkpoint in JAX, or any model of transformers."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int32, UInt8

from plantgfm.embedding.config import Pooling
from plantgfm.embedding.cutting import esm_table
from plantgfm.embedding.pool import Vectors, pool_counted
from plantgfm.embedding.torch_encoder import TorchEncoder
from plantgfm.export.bundle import Bundle, BundleError, load_bundle
from plantgfm.export.esm import EsmModel, load_esm
from plantgfm.export.exchange import is_exchange, open_exchange
from plantgfm.identity import read_json
from plantgfm.model import esm
from plantgfm.model.build import Network
from plantgfm.sequence import reverse_complement
from plantgfm.tokenization.encode import windows
from plantgfm.tokenization.vocabulary import CLS, PAD

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@runtime_checkable
class Encoder(Protocol):
    """One interface for all models that embed."""

    fingerprint: str  # of the files that it was read from
    width: int  # dimensions of a vector
    n_layers: int
    window_bp: int  # default width of a window; 0 where the model does not tell
    max_tokens: int | None  # most tokens of a window; None where there is no limit
    pad: int
    first: int  # id at the start of a row that only fills a batch

    def encode(self, bases: UInt8[np.ndarray, "P"], *, reverse: bool) -> Int32[np.ndarray, "L"]:
        """Ids of one window, special tokens included."""

    def vectors(self, tokens: Int32[np.ndarray, "B L"], *, layer: int, pooling: Pooling) -> Vectors:
        """One vector a row, or of every token; layer -1 is the final one, 0 the token embedding."""

    def logits(self, tokens: Int32[np.ndarray, "B L"]) -> Float32[np.ndarray, "B L V"]:
        """Logits of every token, of the masked (or causal) head; V is the size of the model's own vocabulary.

        Raises:
            BundleError: where the model has no such head.
        """

    def token_bp(self, tokens: Int32[np.ndarray, "L"]) -> Int32[np.ndarray, "L"]:
        """Bases that each id covers, 0 for special tokens.

        Raises:
            BundleError: where the model's tokenizer does not tell.
        """


class BundleEncoder:
    """A bundle of ours."""

    pad, first, max_tokens = PAD, CLS, None

    def __init__(self, bundle: Bundle):
        self.bundle, self.fingerprint = bundle, bundle.fingerprint
        config = bundle.model_config
        self.width, self.n_layers = config.d_model, config.n_layers
        # Only vocabularies without k-mers tell: their windows are not 6 bp a slot.
        self.window_bp = int(bundle.lineage.get("window_bp", 6 * (config.max_tokens - 1)))
        self.params = jax.tree.map(jnp.asarray, bundle.params)
        self.compiled, self._logits = programs(bundle.network)

    def with_params(self, params: dict[str, Any]) -> BundleEncoder:
        """The same network with other parameters (folded); what was compiled serves both."""
        other = copy.copy(self)
        other.bundle = replace(self.bundle, params=params)
        other.params = jax.tree.map(jnp.asarray, params)
        return other

    def encode(self, bases: UInt8[np.ndarray, "P"], *, reverse: bool) -> Int32[np.ndarray, "L"]:
        """Ids, [CLS] first."""
        ids, _, _ = windows(
            self.bundle.vocabulary,
            np.ascontiguousarray(bases),
            starts=np.zeros(1, np.int64),
            reverse=np.array([reverse]),
            width_bp=int(bases.size),
            max_tokens=int(bases.size) + 1,
        )
        return ids[0][: int(np.sum(ids[0] != PAD))]

    def vectors(self, tokens: Int32[np.ndarray, "B L"], *, layer: int, pooling: Pooling) -> Vectors:
        """One vector a row; [PAD] never counts, [CLS] only for `Pooling.CLS`."""
        return np.asarray(self.compiled(self.params, tokens, layer=layer, pooling=pooling))

    def token_bp(self, tokens: Int32[np.ndarray, "L"]) -> Int32[np.ndarray, "L"]:
        """Bases that each id covers."""
        return self.bundle.vocabulary.token_bp[tokens]

    def logits(self, tokens: Int32[np.ndarray, "B L"]) -> Float32[np.ndarray, "B L V"]:
        """Logits of the masked (or causal) head."""
        return np.asarray(self._logits(self.params, tokens), np.float32)


@lru_cache(maxsize=8)
def programs(network: Network) -> tuple[Callable[..., Array], Callable[..., Array]]:
    """Vectors, and logits, of parameters and tokens: compiled once for all bundles of a network."""

    def vectors(params: dict[str, Any], tokens: Int32[Array, "B L"], *, layer: int, pooling: Pooling) -> Array:
        states = network.states(params, tokens)[layer]
        return pool_counted(states.astype(jnp.float32), (tokens != PAD) & (tokens != CLS), pooling=pooling)

    def logits(params: dict[str, Any], tokens: Int32[Array, "B L"]) -> Array:
        return network.masked_logits(params, network.hidden(params, tokens))[..., : network.vocabulary_size]

    return jax.jit(vectors, static_argnames=("layer", "pooling")), jax.jit(logits)


class EsmEncoder:
    """AgroNT or Nucleotide Transformer v1, in JAX."""

    def __init__(self, model: EsmModel):
        self.model, self.fingerprint = model, model.fingerprint
        config = model.config
        self.width, self.n_layers, self.max_tokens = config.hidden_size, config.num_hidden_layers, config.max_tokens
        self.window_bp = 6 * (config.max_tokens - 1)
        self.pad, self.first, self.table = model.tokens.pad, model.tokens.cls, esm_table(model.tokens)
        self.params = jax.tree.map(jnp.asarray, model.params)
        self.compiled = jax.jit(self._forward, static_argnames=("layer", "pooling"))
        self._logits = jax.jit(self._head)

    def encode(self, bases: UInt8[np.ndarray, "P"], *, reverse: bool) -> Int32[np.ndarray, "L"]:
        """Ids, `<cls>` first."""
        return self.model.tokens.encode(reverse_complement(bases) if reverse else np.ascontiguousarray(bases))

    def vectors(self, tokens: Int32[np.ndarray, "B L"], *, layer: int, pooling: Pooling) -> Vectors:
        """One vector a row; `<pad>` never counts, `<cls>` only for `Pooling.CLS`."""
        return np.asarray(self.compiled(self.params, tokens, layer=layer, pooling=pooling))

    def token_bp(self, tokens: Int32[np.ndarray, "L"]) -> Int32[np.ndarray, "L"]:
        """Bases that each id covers."""
        return self.model.tokens.token_bp(tokens)

    def logits(self, tokens: Int32[np.ndarray, "B L"]) -> Float32[np.ndarray, "B L V"]:
        """Logits of the masked head."""
        return np.asarray(self._logits(self.params, tokens), np.float32)

    def _head(self, params: dict[str, Any], tokens: Int32[Array, "B L"]) -> Array:
        states = esm.states(params, tokens, config=self.model.config)[-1]
        return esm.logits(params, states, config=self.model.config)

    def _forward(self, params: dict[str, Any], tokens: Int32[Array, "B L"], *, layer: int, pooling: Pooling) -> Array:
        layers = None if layer < 0 else layer
        states = esm.states(params, tokens, config=self.model.config, layers=layers)[-1]
        return pool_counted(states, (tokens != self.pad) & (tokens != self.first), pooling=pooling)


def open_encoder(path: Path, *, remote_code: bool = False) -> Encoder:
    """A bundle, our own export for Hugging Face, an ESM-format checkpoint (all in JAX), or another folder of
    transformers (in PyTorch); or the name of one on the hub, `owner/name`, that was downloaded before.

    Raises:
        BundleError: when it is none of them.
    """
    path = path if path.exists() or not _HUB_NAME.fullmatch(path.as_posix()) else _downloaded(path.as_posix())
    if is_exchange(path):
        return BundleEncoder(open_exchange(path))
    if (path / "config.json").is_file() and not (path / "bundle.json").is_file():
        content = read_json(path / "config.json", remedy="fetch it again")
        absolute = content.get("position_embedding_type", "absolute") == "absolute"
        if content.get("model_type") == "esm" and "auto_map" not in content and absolute:
            return EsmEncoder(load_esm(path))
        return TorchEncoder(path, remote_code=remote_code)
    return BundleEncoder(load_bundle(path))


def _downloaded(name: str) -> Path:
    """The folder of a model of the hub in the local cache; nothing is fetched."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (OSError, HFValidationError):
        raise BundleError(
            f"{name} is no bundle, and no model of the hub that is in the local cache: check the path, or download it "
            f"with `hf download {name}`"
        ) from None

"""What turns tokens into vectors: a bundle of ours, an ESM-format checkpoint in JAX, or any model of transformers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int32, UInt8

from plantgfm.embedding.config import Pooling
from plantgfm.export.bundle import Bundle, BundleError, load_bundle
from plantgfm.export.esm import EsmModel, load_esm
from plantgfm.export.exchange import is_exchange, open_exchange
from plantgfm.identity import file_sha256, fingerprint, read_json
from plantgfm.model import esm
from plantgfm.sequence import decode, reverse_complement
from plantgfm.tokenization.encode import windows
from plantgfm.tokenization.vocabulary import CLS, PAD

Vectors = Float32[np.ndarray, "B D"] | Float32[np.ndarray, "B L D"]
"""One vector a row of a batch, or one a token."""


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

    def token_bp(self, tokens: Int32[np.ndarray, "L"]) -> Int32[np.ndarray, "L"]:
        """Bases that each id covers, 0 for special tokens.

        Raises:
            BundleError: where the model's tokenizer does not tell.
        """


def pool_counted(
    states: Float[Array, "B L D"], counted: Bool[Array, "B L"], *, pooling: Pooling
) -> Float[Array, "B D"] | Float[Array, "B L D"]:
    """One vector a window from its token states: over the counted ones, or the first for `Pooling.CLS`.

    All of them where the pooling gives several a window.
    """
    if not pooling.whole:
        return states
    if pooling is Pooling.CLS:
        return states[:, 0]
    if pooling is Pooling.MAX:
        return jnp.max(jnp.where(counted[..., None], states, -jnp.inf), axis=1)
    total = jnp.sum(jnp.where(counted[..., None], states, 0.0), axis=1)
    return total / jnp.maximum(jnp.sum(counted, axis=1), 1)[:, None]


class BundleEncoder:
    """A bundle of ours."""

    pad, first, max_tokens = PAD, CLS, None

    def __init__(self, bundle: Bundle):
        self.bundle, self.fingerprint = bundle, bundle.fingerprint
        config = bundle.model_config
        self.width, self.n_layers, self.window_bp = config.d_model, config.n_layers, 6 * (config.max_tokens - 1)
        self._params = jax.tree.map(jnp.asarray, bundle.params)
        self.compiled = jax.jit(self._forward, static_argnames=("layer", "pooling"))

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
        return np.asarray(self.compiled(self._params, tokens, layer=layer, pooling=pooling))

    def token_bp(self, tokens: Int32[np.ndarray, "L"]) -> Int32[np.ndarray, "L"]:
        """Bases that each id covers."""
        return self.bundle.vocabulary.token_bp[tokens]

    def _forward(self, params: dict[str, Any], tokens: Int32[Array, "B L"], *, layer: int, pooling: Pooling) -> Array:
        states = self.bundle.network.states(params, tokens)[layer]
        return pool_counted(states.astype(jnp.float32), (tokens != PAD) & (tokens != CLS), pooling=pooling)


class EsmEncoder:
    """AgroNT or Nucleotide Transformer v1, in JAX."""

    def __init__(self, model: EsmModel):
        self.model, self.fingerprint = model, model.fingerprint
        config = model.config
        self.width, self.n_layers, self.max_tokens = config.hidden_size, config.num_hidden_layers, config.max_tokens
        self.window_bp = 6 * (config.max_tokens - 1)
        self.pad, self.first = model.tokens.pad, model.tokens.cls
        self._params = jax.tree.map(jnp.asarray, model.params)
        self.compiled = jax.jit(self._forward, static_argnames=("layer", "pooling"))

    def encode(self, bases: UInt8[np.ndarray, "P"], *, reverse: bool) -> Int32[np.ndarray, "L"]:
        """Ids, `<cls>` first."""
        return self.model.tokens.encode(reverse_complement(bases) if reverse else np.ascontiguousarray(bases))

    def vectors(self, tokens: Int32[np.ndarray, "B L"], *, layer: int, pooling: Pooling) -> Vectors:
        """One vector a row; `<pad>` never counts, `<cls>` only for `Pooling.CLS`."""
        return np.asarray(self.compiled(self._params, tokens, layer=layer, pooling=pooling))

    def token_bp(self, tokens: Int32[np.ndarray, "L"]) -> Int32[np.ndarray, "L"]:
        """Bases that each id covers."""
        return self.model.tokens.token_bp(tokens)

    def _forward(self, params: dict[str, Any], tokens: Int32[Array, "B L"], *, layer: int, pooling: Pooling) -> Array:
        layers = None if layer < 0 else layer
        states = esm.states(params, tokens, config=self.model.config, layers=layers)[-1]
        return pool_counted(states, (tokens != self.pad) & (tokens != self.first), pooling=pooling)


class TorchEncoder:
    """Any model that `AutoModel` and `AutoTokenizer` of transformers open, in PyTorch (the extra `interop`)."""

    def __init__(self, path: Path, *, remote_code: bool = False):
        """Open a local folder; its own Python code runs only with `remote_code`.

        Raises:
            BundleError: without transformers, or for a folder that it can't open.
        """
        if importlib.util.find_spec("transformers") is None or importlib.util.find_spec("torch") is None:
            raise BundleError(f"{path} is no bundle, and other models need pip install 'plantgfm[interop]'")
        import torch
        from transformers import AutoModel, AutoTokenizer

        try:
            options = {"trust_remote_code": remote_code, "local_files_only": True}
            self._tokenizer = AutoTokenizer.from_pretrained(path, **options)
            self._model = AutoModel.from_pretrained(path, **options).eval()
        except (OSError, ValueError, KeyError) as error:
            raise BundleError(f"{path} does not open in transformers: {str(error).strip().splitlines()[0]}") from None
        self._torch = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model.to(self._device)
        config = self._model.config
        self.width, self.n_layers = config.hidden_size, config.num_hidden_layers
        limit = min(self._tokenizer.model_max_length, 10**9)
        self.max_tokens, self.window_bp = (limit if limit < 10**9 else None), 0
        self.pad = self._tokenizer.pad_token_id or 0
        self.first = self._tokenizer.cls_token_id if self._tokenizer.cls_token_id is not None else self.pad
        self._special = np.array(sorted(self._tokenizer.all_special_ids), np.int64)
        files = sorted(file for file in path.iterdir() if file.is_file())
        self.fingerprint = fingerprint({file.name: file_sha256(file) for file in files})

    def encode(self, bases: UInt8[np.ndarray, "P"], *, reverse: bool) -> Int32[np.ndarray, "L"]:
        """Ids of the model's own tokenizer, with the special tokens that it adds."""
        text = decode(reverse_complement(bases) if reverse else bases)
        return np.array(self._tokenizer(text)["input_ids"], np.int32)

    def vectors(self, tokens: Int32[np.ndarray, "B L"], *, layer: int, pooling: Pooling) -> Vectors:
        """One vector a row; special tokens count only for `Pooling.CLS`, which is the first state."""
        ids = self._torch.as_tensor(tokens.astype(np.int64), device=self._device)
        with self._torch.no_grad():
            found = self._model(input_ids=ids, attention_mask=(ids != self.pad).long(), output_hidden_states=layer >= 0)
        states = found.hidden_states[layer] if layer >= 0 else found.last_hidden_state
        counted = ~np.isin(tokens, self._special)
        return np.asarray(
            pool_counted(jnp.asarray(states.float().cpu().numpy()), jnp.asarray(counted), pooling=pooling)
        )

    def token_bp(self, tokens: Int32[np.ndarray, "L"]) -> Int32[np.ndarray, "L"]:
        """Other tokenizers' ids are not told apart here.

        Raises:
            BundleError: always.
        """
        raise BundleError("this model's tokenizer does not tell which bases a token covers: choose mean, cls or max")


def open_encoder(path: Path, *, remote_code: bool = False) -> Encoder:
    """A bundle, our own export for Hugging Face, an ESM-format checkpoint (all in JAX), or another folder of
    transformers (in PyTorch).

    Raises:
        BundleError: when it is none of them.
    """
    if is_exchange(path):
        return BundleEncoder(open_exchange(path))
    if (path / "config.json").is_file() and not (path / "bundle.json").is_file():
        content = read_json(path / "config.json", remedy="fetch it again")
        absolute = content.get("position_embedding_type", "absolute") == "absolute"
        if content.get("model_type") == "esm" and "auto_map" not in content and absolute:
            return EsmEncoder(load_esm(path))
        return TorchEncoder(path, remote_code=remote_code)
    return BundleEncoder(load_bundle(path))

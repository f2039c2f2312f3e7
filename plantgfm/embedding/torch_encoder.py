"""Any model that `AutoModel` and `AutoTokenizer` of transformers open, in PyTorch (the extra `interop`)."""

from __future__ import annotations

import importlib.util
from functools import cached_property
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int32, UInt8
from safetensors import SafetensorError

from plantgfm.embedding.config import Pooling
from plantgfm.embedding.cutting import TokenTable, token_table
from plantgfm.embedding.pool import Vectors, pool_counted
from plantgfm.export.bundle import BundleError
from plantgfm.identity import file_sha256, fingerprint
from plantgfm.sequence import decode, reverse_complement

_UNUSED = ("pooler", "contact_head")  # on top of the states, which are what is read
_NO_LIMIT = 10**9
_PROBE = "ACGTTGCAAGCTTCGA"
_OFFSET_TYPES = ("esm", "roberta", "xlm-roberta", "camembert")  # whose positions start behind the id of the padding


class TorchEncoder:
    """A model of transformers behind the interface of our own encoder."""

    def __init__(self, path: Path, *, remote_code: bool = False):
        """Open a local folder; its own Python code runs only with `remote_code`.

        Raises:
            BundleError: without transformers, or for a folder that it can't open, or that lacks parameters.
        """
        if importlib.util.find_spec("transformers") is None or importlib.util.find_spec("torch") is None:
            raise BundleError(f"{path} is no bundle, and other models need pip install 'plantgfm[interop]'")
        import torch
        from transformers import AutoModel

        self.path, self._torch, self._remote_code = path, torch, remote_code
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = self._opened(AutoModel)
        self._tokenizer = self._tokenizer_of(path)
        config = self._model.config
        self.width, self.n_layers = config.hidden_size, config.num_hidden_layers
        self.max_tokens, self.window_bp = _limit(config, self._tokenizer), 0
        # Without a padding token none of its ids may stand for one: -1 is replaced before the model sees it.
        self.pad = -1 if self._tokenizer.pad_token_id is None else self._tokenizer.pad_token_id
        self.first = self._tokenizer.cls_token_id if self._tokenizer.cls_token_id is not None else self.pad
        self._special = np.array(sorted({*self._tokenizer.all_special_ids, self.pad}), np.int64)
        files = sorted(file for file in path.iterdir() if file.is_file())
        self.fingerprint = fingerprint({file.name: file_sha256(file) for file in files})

    def _options(self) -> dict[str, Any]:
        return {"trust_remote_code": self._remote_code, "local_files_only": True}

    def _tokenizer_of(self, path: Path) -> Any:
        from transformers import AutoTokenizer

        if not [*path.glob("tokenizer*"), *path.glob("vocab*")]:  # transformers would make an empty one up
            raise BundleError(f"{path} has no tokenizer: copy tokenizer.json, or vocab.txt, from where the model is")
        try:
            tokenizer = AutoTokenizer.from_pretrained(path, **self._options())
        except _FAULTS as error:
            raise BundleError(f"{path} has no tokenizer that transformers opens: {_line(error)}") from None
        told = {*tokenizer(_PROBE)["input_ids"]} - ({*tokenizer.all_special_ids} - {tokenizer.unk_token_id})
        if told <= {tokenizer.unk_token_id}:
            raise BundleError(
                f"{path}: its tokenizer makes nothing but unknown tokens of sequence: it is no model of sequence, or "
                "one that needs k-mers parted by spaces (DNABERT)"
            )
        return tokenizer

    def _opened(self, kind: Any) -> Any:
        """The folder as a kind of model, all of whose parameters come from it."""
        try:
            model, info = kind.from_pretrained(self.path, output_loading_info=True, **self._options())
        except _FAULTS as error:
            raise BundleError(f"{self.path} does not open in transformers: {_line(error)}") from None
        drawn = {name for name, _ in model.named_parameters() if not any(part in name for part in _UNUSED)}
        if missing := sorted(drawn & set(info["missing_keys"])):
            raise BundleError(
                f"{self.path} lacks parameter {missing[0]} ({len(missing)} in all), which transformers would draw at "
                f"random for {kind.__name__}: this checkpoint was not saved from such a model"
            )
        return model.eval().to(self._device)

    def need_head(self) -> None:
        """Open the masked head.

        Raises:
            BundleError: when the model has none, or its folder lacks it.
        """
        _ = self._masked

    @cached_property
    def _masked(self) -> Any:
        from transformers import AutoModelForMaskedLM

        model = self._opened(AutoModelForMaskedLM)
        if model.base_model is not model:
            self._model = model.base_model  # so that the parameters are in memory once
        return model

    @cached_property
    def table(self) -> TokenTable:
        """Which of its ids stand for which bases.

        Raises:
            BundleError: when single bases can't be told by its tokens.
        """
        return token_table(self._tokenizer)

    def encode(self, bases: UInt8[np.ndarray, "P"], *, reverse: bool) -> Int32[np.ndarray, "L"]:
        """Ids of the model's own tokenizer, with the special tokens that it adds."""
        text = decode(reverse_complement(bases) if reverse else bases)
        return np.array(self._tokenizer(text)["input_ids"], np.int32)

    def vectors(self, tokens: Int32[np.ndarray, "B L"], *, layer: int, pooling: Pooling) -> Vectors:
        """One vector a row; special tokens count only for `Pooling.CLS`, which is the first state."""
        with self._torch.no_grad():
            found = self._model(**self._inputs(tokens), output_hidden_states=layer >= 0)
        states = found.hidden_states[layer] if layer >= 0 else found.last_hidden_state
        counted = ~np.isin(tokens, self._special)
        return np.asarray(
            pool_counted(jnp.asarray(states.float().cpu().numpy()), jnp.asarray(counted), pooling=pooling)
        )

    def logits(self, tokens: Int32[np.ndarray, "B L"]) -> Float32[np.ndarray, "B L V"]:
        """Logits of the masked head.

        Raises:
            BundleError: when the model has none.
        """
        masked = self._masked
        with self._torch.no_grad():
            return masked(**self._inputs(tokens)).logits.float().cpu().numpy()

    def _inputs(self, tokens: Int32[np.ndarray, "B L"]) -> dict[str, Any]:
        ids = self._torch.as_tensor(tokens.astype(np.int64), device=self._device)
        return {"input_ids": ids.clamp(min=0), "attention_mask": (ids != self.pad).long()}

    def token_bp(self, tokens: Int32[np.ndarray, "L"]) -> Int32[np.ndarray, "L"]:
        """Bases that each id of a row covers, 0 for special tokens.

        Raises:
            BundleError: when single bases can't be told by its tokens.
        """
        try:
            return self.table.token_bp(tokens)
        except BundleError as error:
            text = "this model's tokenizer does not tell which bases a token covers: choose mean, cls or max"
            raise BundleError(f"{text} ({error})") from None


_FAULTS = (OSError, ValueError, KeyError, ImportError, RuntimeError, AttributeError, SafetensorError)
"""What transformers raises for folders that hold no such model, or need a package that is not there."""


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _limit(config: Any, tokenizer: Any) -> int | None:
    """Most tokens of a row: what the tokenizer tells, and no more than there are positions."""
    told = min(tokenizer.model_max_length, _NO_LIMIT)
    positions = getattr(config, "max_position_embeddings", None) or _NO_LIMIT
    if positions < _NO_LIMIT and config.model_type in _OFFSET_TYPES:
        positions -= (config.pad_token_id or 0) + 1
    limit = min(told, positions)
    return limit if limit < _NO_LIMIT else None

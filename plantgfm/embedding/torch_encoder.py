"""Any model that `AutoModel` and `AutoTokenizer` of transformers open, in PyTorch (the extra `interop`)."""

from __future__ import annotations

import importlib.util
import inspect
import pickle
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
from plantgfm.embedding.torch_call import TorchCall
from plantgfm.export.arrays import load_arrays
from plantgfm.export.errors import BundleError
from plantgfm.export.quiet import quiet_transformers
from plantgfm.identity import file_sha256, fingerprint, read_json
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

        self.path, self._remote_code = path, remote_code
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        own = read_json(path / "config.json", remedy="fetch it again").get("auto_map")
        self._own_code, self._with_head = own if isinstance(own, dict) else {}, None
        model = self._base()
        self._tokenizer = self._tokenizer_of(path)
        self.max_tokens, self.window_bp = _limit(model.config, self._tokenizer), 0
        # Without a padding token none of its ids may stand for one: -1 is replaced before the model sees it.
        self.pad = -1 if self._tokenizer.pad_token_id is None else self._tokenizer.pad_token_id
        self.first = self._tokenizer.cls_token_id if self._tokenizer.cls_token_id is not None else self.pad
        self._special = np.array(sorted({*self._tokenizer.all_special_ids, self.pad}), np.int64)
        self._call = TorchCall(model, pad=self.pad, device=self._device)
        ids = self._ids(_PROBE)
        self._leads = ids[0] in self._special
        self.width, n_layers = self._call.probe(ids)
        self.n_layers = _n_layers(model.config) if n_layers is None else n_layers
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

    def _base(self) -> Any:
        """The model without a head."""
        from transformers import AutoModel, AutoModelForMaskedLM

        if self._remote_code and "AutoModel" not in self._own_code and AutoModelForMaskedLM.__name__ in self._own_code:
            model = self._opened(AutoModelForMaskedLM)  # the Nucleotide Transformer v2 names no other
            if model.base_model is model:
                raise BundleError(f"{self.path}: its code names no AutoModel, and no model inside the masked one")
            self._with_head = model
            return model.base_model
        return self._opened(AutoModel)

    def _opened(self, kind: Any) -> Any:
        """The folder as a kind of model, all of whose parameters come from it."""
        try:
            with quiet_transformers():
                model, info = kind.from_pretrained(self.path, output_loading_info=True, **self._options())
            missing = set(info["missing_keys"])
        except _FAULTS as error:
            model, missing = self._built(kind, error)
        drawn = {name for name, _ in model.named_parameters() if not any(part in name for part in _UNUSED)}
        if missing := sorted(drawn & missing):
            raise BundleError(
                f"{self.path} lacks parameter {missing[0]} ({len(missing)} in all), which transformers would draw at "
                f"random for {kind.__name__}: this checkpoint was not saved from such a model{self._hint}"
            )
        return model.eval().to(self._device)

    @property
    def _hint(self) -> str:
        left_out = self._own_code and not self._remote_code
        said = " (the folder holds Python code of its own: in `embed` and `score-variants` --remote-code runs it)"
        return said if left_out else ""

    def _built(self, kind: Any, error: Exception) -> tuple[Any, set[str]]:
        """The folder's own class, built and filled here, and the names that the folder lacks.

        Code that was written for transformers 4 often lacks what `from_pretrained` of transformers 5 asks for.

        Raises:
            BundleError: with the error given, for other folders, and where this fails, too.
        """
        fault = BundleError(f"{self.path} does not open in transformers: {_line(error)}{self._hint}")
        name = self._own_code.get(kind.__name__)
        if not self._remote_code or not isinstance(name, str):
            raise fault from None
        import torch
        from transformers import AutoConfig
        from transformers.dynamic_module_utils import get_class_from_dynamic_module

        arrays = load_arrays(self.path, pickled=True)
        try:
            config = AutoConfig.from_pretrained(self.path, **self._options())
            model = _tying(get_class_from_dynamic_module(name, self.path, local_files_only=True))(config)
            own = model.state_dict(keep_vars=True)
            if not own.keys() & arrays.keys():  # saved with a head
                prefix = f"{model.base_model_prefix}."
                arrays = {name.removeprefix(prefix): value for name, value in arrays.items() if prefix in name[:40]}
            there = {name: torch.from_numpy(value) for name, value in arrays.items() if name in own}
            model.load_state_dict(there, strict=False)
        except _FAULTS:
            raise fault from None
        tied = {own[name].data_ptr() for name in there}  # shared parameters are stored once
        return model, {name for name, value in own.items() if name not in there and value.data_ptr() not in tied}

    def need_head(self) -> None:
        """Open the masked head.

        Raises:
            BundleError: when the model has none, or its folder lacks it.
        """
        _ = self._masked

    @cached_property
    def _masked(self) -> TorchCall:
        from transformers import AutoModelForMaskedLM

        model = self._with_head or self._opened(AutoModelForMaskedLM)
        if model.base_model is not model:
            self._call.model = model.base_model  # so that the parameters are in memory once
        head = TorchCall(model, pad=self.pad, device=self._device)
        head.masks_padding = self._call.masks_padding
        return head

    @cached_property
    def table(self) -> TokenTable:
        """Which of its ids stand for which bases.

        Raises:
            BundleError: when single bases can't be told by its tokens.
        """
        return token_table(self._tokenizer)

    def encode(self, bases: UInt8[np.ndarray, "P"], *, reverse: bool) -> Int32[np.ndarray, "L"]:
        """Ids of the model's own tokenizer, with the special tokens that it adds."""
        return self._ids(decode(reverse_complement(bases) if reverse else bases))

    def _ids(self, text: str) -> Int32[np.ndarray, "L"]:
        return np.array(self._tokenizer(text)["input_ids"], np.int32)

    def vectors(self, tokens: Int32[np.ndarray, "B L"], *, layer: int, pooling: Pooling) -> Vectors:
        """One vector a row; special tokens count only for `Pooling.CLS`, which is the first state.

        Raises:
            BundleError: for `Pooling.CLS` where the tokenizer puts no special token first, and for states of layers of
                a model that does not give them.
        """
        if pooling is Pooling.CLS and not self._leads:
            raise BundleError("this model's tokenizer puts no special token before a sequence: choose mean or max")
        states = self._call.states(tokens, layer=layer)
        counted = ~np.isin(tokens, self._special)
        return np.asarray(pool_counted(jnp.asarray(states), jnp.asarray(counted), pooling=pooling))

    def logits(self, tokens: Int32[np.ndarray, "B L"]) -> Float32[np.ndarray, "B L V"]:
        """Logits of the masked head.

        Raises:
            BundleError: when the model has none.
        """
        masked = self._masked
        return masked.by_length(tokens, lambda rows: masked(rows).logits)

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


_FAULTS = (OSError, ValueError, KeyError, ImportError, RuntimeError, AttributeError, TypeError, AssertionError)
_FAULTS = (*_FAULTS, EOFError, pickle.UnpicklingError, SafetensorError)
"""What transformers raises for folders that hold no such model, or need a package that is not there."""


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _tying(made: type) -> type:
    """The class, whose `tie_weights` takes what transformers 5 gives it; those of Caduceus take nothing."""
    tie, taken = made.tie_weights, inspect.signature(made.tie_weights).parameters
    if "recompute_mapping" not in taken and not any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        made.tie_weights = lambda self, **_: tie(self)
    return made


def _n_layers(config: Any) -> int:
    """Number of layers, by any of the names that configurations have for it."""
    found = (getattr(config, name, None) for name in ("num_hidden_layers", "n_layer", "n_layers", "num_layers"))
    return next((number for number in found if isinstance(number, int)), 0)


def _limit(config: Any, tokenizer: Any) -> int | None:
    """Most tokens of a row: what the tokenizer tells, and no more than there are positions."""
    told = min(tokenizer.model_max_length, _NO_LIMIT)
    positions = getattr(config, "max_position_embeddings", None) or _NO_LIMIT
    if positions < _NO_LIMIT and config.model_type in _OFFSET_TYPES:
        positions -= (getattr(config, "pad_token_id", None) or 0) + 1
    limit = min(told, positions)
    return limit if limit < _NO_LIMIT else None

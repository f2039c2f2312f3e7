"""How a model of transformers is called, whose `forward` may be its own: what it takes, and what it gives.

Most take an attention mask and give named outputs. Some of those with code of their own differ: Caduceus takes no mask,
so that padding changes its states; DNABERT-2 gives a tuple, and no states of its layers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32

from plantgfm.export.errors import BundleError

_PADDED_TOKENS = 5  # behind the probe
_SAME, _SAME_HALF = 1e-3, 3e-2  # of the greatest number: what rounding may change, in float32 and in 16 bits


class TorchCall:
    """A model of PyTorch as a function of token ids."""

    def __init__(self, model: Any, *, pad: int, device: str):
        """`pad` stands for no token; it is -1 where the model has no id for it."""
        import torch

        self.model, self._torch, self._pad, self._device = model, torch, pad, device
        self._takes = inspect.signature(model.forward).parameters
        self._takes_any = any(one.kind is one.VAR_KEYWORD for one in self._takes.values())
        self.masks_padding, self._width = True, 0

    def __call__(self, tokens: Int32[np.ndarray, "B L"], *, hidden: bool = False) -> Any:
        """What the model gives, as it gives it; `hidden` asks for the states of all layers, too."""
        ids = self._torch.as_tensor(tokens.astype(np.int64), device=self._device)
        given = {"input_ids": ids.clamp(min=0)}
        if self._takes_any or "attention_mask" in self._takes:
            given["attention_mask"] = (ids != self._pad).long()
        if hidden and (self._takes_any or "output_hidden_states" in self._takes):
            given["output_hidden_states"] = True
        if "return_dict" in self._takes:
            given["return_dict"] = True
        with self._torch.no_grad():
            return self.model(**given)

    def states(self, tokens: Int32[np.ndarray, "B L"], *, layer: int) -> Float32[np.ndarray, "B L D"]:
        """The states after a layer; -1: the final ones.

        Raises:
            BundleError: when the model does not give those of its layers.
        """

        def asked(rows: Int32[np.ndarray, "R M"]) -> Any:
            found = self(rows, hidden=layer >= 0)
            return _final(found) if layer < 0 else _hidden(found)[layer]

        return self.by_length(tokens, asked)

    def by_length(
        self, tokens: Int32[np.ndarray, "B L"], call: Callable[[Int32[np.ndarray, "R M"]], Any]
    ) -> Float32[np.ndarray, "B L D"]:
        """What a call gives for rows; without padding, those of one length together, where it would change them."""
        if self.masks_padding:
            return _array(call(tokens))
        sizes, parts = np.sum(tokens != self._pad, axis=1), {}
        for size in np.unique(sizes[sizes > 0]):  # rows that only fill a batch may have no token at all
            rows = np.flatnonzero(sizes == size)
            parts[size] = rows, _array(call(tokens[rows, :size]))
        width = next((found.shape[2] for _, found in parts.values()), self._width)
        out = np.zeros((*tokens.shape, width), np.float32)
        for size, (rows, found) in parts.items():
            out[rows, :size] = found
        return out

    def probe(self, tokens: Int32[np.ndarray, "L"]) -> tuple[int, int | None]:
        """Look at one row, alone and padded: whether the mask keeps padding out of its states.

        Returns:
            Dimensions of the states, and the number of layers where it gives their states.

        Raises:
            BundleError: for what is no states.
        """
        found = self(tokens[None], hidden=True)
        alone, more = _array(_final(found)), getattr(found, "hidden_states", None)
        if alone.ndim != 3 or alone.shape[:2] != (1, tokens.size):
            raise BundleError(f"this model gives numbers {list(alone.shape)} for {tokens.size} tokens: no states")
        padded = np.concatenate([tokens, np.full(_PADDED_TOKENS, self._pad, tokens.dtype)])
        beside = _array(_final(self(padded[None])))[:, : tokens.size]
        half = any(one.dtype.itemsize < 4 for one in self.model.parameters())
        same = (_SAME_HALF if half else _SAME) * np.abs(alone).max()
        self._width = alone.shape[2]
        self.masks_padding = bool(np.abs(alone - beside).max() <= same)
        return alone.shape[2], len(more) - 1 if more else None


def _final(found: Any) -> Any:
    states = getattr(found, "last_hidden_state", None)
    return states if states is not None else found[0] if isinstance(found, tuple) else found


def _hidden(found: Any) -> Any:
    states = getattr(found, "hidden_states", None)
    if not states:
        raise BundleError("this model does not give the states of its layers: leave embedding.layer at -1")
    return states


def _array(found: Any) -> Float32[np.ndarray, "B L D"]:
    try:
        return found.float().cpu().numpy()
    except AttributeError:
        raise BundleError(f"this model gives a {type(found).__name__} where its states should be") from None

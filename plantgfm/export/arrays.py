"""Arrays of a checkpoint folder: safetensors, in one file or several."""

from __future__ import annotations

import importlib.util
import pickle
import struct
import warnings
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from plantgfm.export.errors import BundleError
from plantgfm.identity import read_json

WEIGHTS = "model.safetensors"
_TORCH_FAULTS = (RuntimeError, EOFError, OSError, ValueError, TypeError, AttributeError, LookupError, struct.error)
_TORCH_FAULTS = (*_TORCH_FAULTS, pickle.UnpicklingError)  # what its reader raises for files that are none


def load_arrays(path: Path, *, pickled: bool = False) -> dict[str, np.ndarray]:
    """All arrays of a folder by name, as float32.

    Args:
        path: with `model.safetensors`, or its index and the files that this names.
        pickled: whether `pytorch_model.bin` will do too, where PyTorch is installed; it is read with PyTorch's
            `weights_only`, which runs no code.

    Raises:
        BundleError: when there is no such file, or it can't be read.
    """
    return {name: np.asarray(value, np.float32) for name, value in _load(path, pickled=pickled).items()}


def _load(path: Path, *, pickled: bool) -> dict[str, np.ndarray]:
    files = [path / WEIGHTS]
    if (path / f"{WEIGHTS}.index.json").is_file():
        index = read_json(path / f"{WEIGHTS}.index.json", remedy="save the model again")
        places = index.get("weight_map")
        if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
            raise BundleError(f"{path / WEIGHTS}.index.json has no weight_map: save the model again")
        files = [path / Path(name).name for name in sorted(set(places.values()))]
    binary = path / "pytorch_model.bin"
    if pickled and not files[0].is_file() and binary.is_file():
        return _load_torch(binary)
    arrays: dict[str, np.ndarray] = {}
    for file in files:
        if not file.is_file():
            found = " (pytorch_model.bin is a pickle and is not read)" if any(path.glob("*.bin")) else ""
            raise BundleError(f"{path} lacks {file.name}{found}: save the model as safetensors")
        arrays |= load_safetensors(file)
    return arrays


def load_safetensors(file: Path) -> dict[str, np.ndarray]:
    """The arrays of one file.

    Raises:
        BundleError: when it is damaged.
    """
    try:
        return load_file(file)
    except (SafetensorError, OSError, KeyError) as error:
        raise BundleError(f"{file} is no readable safetensors file: {str(error).splitlines()[0]}") from None


def save_safetensors(arrays: dict[str, np.ndarray], file: Path, *, metadata: dict[str, str] | None = None) -> None:
    """Write arrays to one file.

    Raises:
        OSError: where it can't be written, such as on a full disk; the library has an error of its own for that.
    """
    try:
        save_file(arrays, file, metadata=metadata)
    except SafetensorError as error:
        raise OSError(f"{file} can't be written: {str(error).splitlines()[0]}") from None


def _load_torch(file: Path) -> dict[str, np.ndarray]:
    if importlib.util.find_spec("torch") is None:
        raise BundleError(f"{file} needs PyTorch (pip install 'plantgfm[interop]'), or save the model as safetensors")
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of protocols that are not PyTorch's own
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except _TORCH_FAULTS:
        loaded = None
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise BundleError(f"{file} is damaged, or holds more than tensors: save the model as safetensors")
    return {name: value.float().numpy() for name, value in loaded.items()}

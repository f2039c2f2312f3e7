"""Speed of embedding on a processor, beside the same parameters through `transformers` in PyTorch.

Both give the masked mean of the final states of the same windows: once from base codes (theirs through the exported
tokenizer, from text), once from ready-made tokens, the network alone. Calls are interleaved and the quickest of each
counts. Without PyTorch, the rows of ratios are missing and a row says so.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from plantgfm.bench.contenders import eight_mers
from plantgfm.bench.timing import quickest, row
from plantgfm.embedding.config import EmbeddingConfig, Pooling
from plantgfm.embedding.embed import Embedder
from plantgfm.export.bundle import Bundle, load_bundle, write_bundle
from plantgfm.export.exchange import write_exchange
from plantgfm.model.build import build
from plantgfm.model.config import Size, model_size
from plantgfm.sequence import decode

BAR_RATIO = 1.0
_ROUNDS = 5
_WINDOWS, _WINDOW_BP = 16, 3_066


def run() -> list[dict[str, object]]:
    """Rows (name, value, unit, bar): base pairs a second of each way, and ours as a multiple of theirs."""
    rng = np.random.default_rng(0)
    codes = [rng.integers(0, 4, _WINDOW_BP).astype(np.uint8) for _ in range(_WINDOWS)]
    with tempfile.TemporaryDirectory() as folder:
        bundle = _bundle(Path(folder) / "bundle")
        calls = _our_calls(bundle, codes)
        if importlib.util.find_spec("torch") and importlib.util.find_spec("transformers"):
            calls |= _their_calls(write_exchange(Path(folder) / "there", bundle), codes)
        vectors = {name: call() for name, call in calls.items()}  # compiles
        for name, found in vectors.items():
            if not np.allclose(found, vectors["ours, from bases"], rtol=0, atol=1e-4):
                raise ValueError(f"the vectors of {name!r} are not those of ours: nothing to compare")
        seconds = quickest(calls, rounds=_ROUNDS)
    rate = {name: _WINDOWS * _WINDOW_BP / value for name, value in seconds.items()}
    rows = [row(f"embedding: {name}", value, "bp/s", None) for name, value in rate.items()]
    if len(calls) == 2:
        return [*rows, row("embedding: PyTorch is not installed (extra interop), no ratios", 0.0, "-", None)]
    ways = ("from bases", "network alone")
    return rows + [
        row(f"embedding: ours over PyTorch, {way}", rate[f"ours, {way}"] / rate[f"PyTorch, {way}"], "x", BAR_RATIO)
        for way in ways
    ]


def _bundle(path: Path) -> Bundle:
    vocabulary, config = eight_mers(), model_size(Size.TINY, max_tokens=512)
    network = build(config, vocabulary.size)
    params = jax.jit(network.init)(jax.random.key(0))
    parts = {"network": network, "params": params, "model_config": config, "vocabulary": vocabulary}
    return load_bundle(write_bundle(path, lineage={}, **parts))


def _our_calls(bundle: Bundle, codes: list[np.ndarray]) -> dict[str, Callable[[], np.ndarray]]:
    embedder = Embedder(bundle, EmbeddingConfig(batch_windows=_WINDOWS))
    encoder = embedder.encoder
    tokens = _padded([encoder.encode(one, reverse=False) for one in codes])
    return {
        "ours, from bases": lambda: embedder.embed(codes),
        "ours, network alone": lambda: encoder.vectors(tokens, layer=-1, pooling=Pooling.MEAN),
    }


def _padded(rows: list[np.ndarray]) -> np.ndarray:
    tokens = np.zeros((len(rows), 512), np.int32)
    for line, ids in zip(tokens, rows):
        line[: ids.size] = ids
    return tokens


def _their_calls(folder: Path, codes: list[np.ndarray]) -> dict[str, Callable[[], np.ndarray]]:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    texts = [decode(one) for one in codes]

    def pooled(ids: torch.Tensor, seen: torch.Tensor) -> np.ndarray:
        with torch.no_grad():
            states = model(input_ids=ids, attention_mask=seen).last_hidden_state
            counted = (seen * (ids != tokenizer.cls_token_id))[..., None]
            return ((states * counted).sum(1) / counted.sum(1)).numpy()

    def from_text() -> np.ndarray:
        batch = tokenizer(texts, padding="max_length", max_length=512, truncation=True, return_tensors="pt")
        return pooled(batch["input_ids"], batch["attention_mask"])

    ready = tokenizer(texts, padding="max_length", max_length=512, truncation=True, return_tensors="pt")
    return {
        "PyTorch, from bases": from_text,
        "PyTorch, network alone": lambda: pooled(ready["input_ids"], ready["attention_mask"]),
    }

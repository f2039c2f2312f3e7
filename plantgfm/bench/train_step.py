"""Speed of a whole train step on a processor, beside ModernBERT of `transformers` in PyTorch at the same sizes.

Ours is a whole step of training: masks drawn inside, k-mer features folded in, masked and next-region losses, clipping,
AdamW. Theirs gets its masks ready-made: forward, backward and `torch.optim.AdamW`, once at its defaults (logits at
every position) and once with `sparse_prediction=True` (logits at masked positions only). Steps are interleaved and
the quickest of each counts. Without PyTorch, the rows of ratios are missing and a row says so.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import jax
import numpy as np

from plantgfm.bench.timing import quickest, row
from plantgfm.export.huggingface import hf_config
from plantgfm.model.build import build
from plantgfm.model.config import ModelConfig, Size, model_size
from plantgfm.objectives.config import ObjectiveConfig
from plantgfm.objectives.joint import loss
from plantgfm.schema import Batch
from plantgfm.tokenization.features import kmer_features
from plantgfm.tokenization.vocabulary import CLS, FIRST_SIX, MASK, Vocabulary, reverse_complement_codes
from plantgfm.training.config import OptimizerConfig
from plantgfm.training.optimizer import build_optimizer
from plantgfm.training.state import state_init
from plantgfm.training.step import make_step

BAR_RATIO = 1.0
_ROUNDS = 7
_WINDOWS = 16
_TOKENS = 512
_SIZE = model_size(Size.TINY)
_IGNORED = -100


def run() -> list[dict[str, object]]:
    """Rows (name, value, unit, bar): tokens a second of each step, and ours as a multiple of theirs."""
    vocabulary = eight_mers()
    steps = {"ours": _our_step(_SIZE, vocabulary)}
    if importlib.util.find_spec("torch") and importlib.util.find_spec("transformers"):
        steps["PyTorch, defaults"] = _torch_step(_SIZE, vocabulary, sparse=False)
        steps["PyTorch, sparse_prediction"] = _torch_step(_SIZE, vocabulary, sparse=True)
    seconds = quickest(steps, rounds=_ROUNDS)
    tokens = _WINDOWS * _TOKENS
    rows = [row(f"train step: {name}", tokens / value, "input tokens/s", None) for name, value in seconds.items()]
    if len(steps) == 1:
        return [*rows, row("train step: PyTorch is not installed (extra interop), no ratios", 0.0, "-", None)]
    ratios = {name: seconds[name] / seconds["ours"] for name in seconds if name != "ours"}
    bars = (BAR_RATIO, None)
    return rows + [row(f"train step: ours over {name}", ratios[name], "x", bar) for name, bar in zip(ratios, bars)]


def our_step() -> Callable[[], None]:
    """Our step at the size and batch of the comparison, ready to be called."""
    return _our_step(_SIZE, eight_mers())


def eight_mers() -> Vocabulary:
    """4,096 8-mers, as by default; which ones does not matter here."""
    codes = np.random.default_rng(0).permutation(4**8)
    pairs = np.stack([codes, reverse_complement_codes(codes, 8)], axis=1)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]][:2048]
    return Vocabulary(np.sort(pairs.ravel()).astype(np.uint16))


def _tokens(vocabulary: Vocabulary, seed: int) -> np.ndarray:
    shape = (_WINDOWS, _TOKENS)
    tokens = np.random.default_rng(seed).integers(FIRST_SIX, vocabulary.size, shape).astype(np.int32)
    tokens[:, 0] = CLS
    return tokens


def _our_step(config: ModelConfig, vocabulary: Vocabulary) -> Callable[[], None]:
    network = build(config, vocabulary.size, features=kmer_features(vocabulary))
    objective, optimizer = ObjectiveConfig(), build_optimizer(OptimizerConfig(), 1000)
    step = make_step(lambda params, batch, key: loss(network, params, batch, key, objective), optimizer, seed=0)
    state = state_init(network.init, optimizer, seed=0)()
    numbers = np.arange(_WINDOWS, dtype=np.int32)
    tokens, following = _tokens(vocabulary, 1), _tokens(vocabulary, 2)
    batch = Batch(tokens, np.zeros(tokens.shape, np.float32), following, 100 * numbers, numbers % 8)

    def once() -> None:
        nonlocal state
        state, metrics = step(state, batch)
        jax.block_until_ready((state, metrics))

    return once


def _torch_step(config: ModelConfig, vocabulary: Vocabulary, *, sparse: bool) -> Callable[[], None]:
    import torch
    import transformers

    fields = {name: value for name, value in hf_config(config, vocabulary).items() if name != "architectures"}
    model = transformers.ModernBertForMaskedLM(transformers.ModernBertConfig(**fields, sparse_prediction=sparse))
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-3)
    tokens = torch.tensor(_tokens(vocabulary, 1), dtype=torch.long)
    hidden = torch.tensor(np.random.default_rng(0).random(tuple(tokens.shape)) < ObjectiveConfig().masked_fraction)
    labels = torch.where(hidden, tokens, _IGNORED)
    inputs, seen = torch.where(hidden, MASK, tokens), torch.ones_like(tokens)

    def once() -> None:
        model(input_ids=inputs, attention_mask=seen, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return once

"""Layers unrolled against scanned, and what each policy of rematerialisation keeps, on a processor.

Steps are gradients of the joint loss, without an optimizer. Seconds are those of the quickest of interleaved steps;
compile times are of one compilation; temporary memory is what the compiler plans (`memory_analysis`), nothing is run
for it. The figures are those of this machine's XLA backend: on another one the policies keep the same arrays, and the
compiler plans around them as it likes.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from plantgfm.bench.timing import quickest, row
from plantgfm.model.build import build
from plantgfm.model.config import ComputeType, Layers, ModelConfig, Remat, Size, model_size
from plantgfm.objectives.config import ObjectiveConfig
from plantgfm.objectives.joint import loss
from plantgfm.schema import Batch
from plantgfm.tokenization.vocabulary import CLS, FIRST_BASE

_VOCABULARY = 8201
_ROUNDS = 5
_TIMED = {Size.TINY: (16, 512), Size.SMALL: (4, 512)}  # windows, tokens
_PLANNED = {Size.BASE: (8, 1024), Size.ONE_B: (8, 1024)}
_MIB = 2**20


def run() -> list[dict[str, object]]:
    """Rows (name, value, unit, bar): steps and compile times of both orders, memory and arithmetic of each policy."""
    return [
        *(each for size, shape in _TIMED.items() for each in _timed(size, *shape)),
        *(each for size, shape in _PLANNED.items() for each in _planned(size, *shape)),
    ]


def _timed(size: Size, windows: int, tokens: int) -> list[dict[str, object]]:
    """Seconds of a step and of its compilation, unrolled and scanned."""
    name = f"depth: {size.value}, {windows} x {tokens} tokens"
    config = model_size(size, max_tokens=tokens)
    params = jax.jit(build(config, _VOCABULARY).init)(jax.random.key(0))
    columns, calls, rows = _columns(windows, tokens), {}, []
    for order in (Layers.UNROLLED, Layers.SCANNED):
        compiled, seconds = _compiled(replace(config, layers=order), params, columns)
        calls[order] = lambda compiled=compiled: jax.block_until_ready(compiled(params, columns))
        rows.append(row(f"{name}: compiling {order.value}", seconds, "s"))
    seconds = quickest(calls, rounds=_ROUNDS)
    ratio = seconds[Layers.UNROLLED] / seconds[Layers.SCANNED]
    return [*rows, row(f"{name}: speed of scanned over unrolled", ratio, "x")]


def _planned(size: Size, windows: int, tokens: int) -> list[dict[str, object]]:
    """Temporary memory of a step under each policy, scanned and in bfloat16, and its arithmetic beside none's."""
    name = f"depth: {size.value}, {windows} x {tokens} tokens, bfloat16"
    config = model_size(size, max_tokens=tokens, compute_type=ComputeType.BFLOAT16, layers=Layers.SCANNED)
    rows = []
    for remat in Remat:
        chosen = replace(config, remat=remat)
        shapes = build(chosen, _VOCABULARY).shapes
        compiled, seconds = _compiled(chosen, shapes, jax.eval_shape(lambda: _columns(windows, tokens)))
        memory = compiled.memory_analysis().temp_size_in_bytes / _MIB
        rows.append(row(f"{name}: remat {remat.value}, temporary memory", memory, "MiB"))
        rows.append(row(f"{name}: remat {remat.value}, compiling", seconds, "s"))
    return rows


def _compiled(config: ModelConfig, params: Any, columns: tuple[Any, ...]) -> tuple[Any, float]:
    network, objective = build(config, _VOCABULARY), ObjectiveConfig()

    def gradient(params: Any, columns: tuple[Any, ...]) -> Any:
        batch = Batch(*columns)
        return jax.grad(lambda p: loss(network, p, batch, jax.random.key(0), objective)[0])(params)

    began = time.perf_counter()
    compiled = jax.jit(gradient).lower(params, columns).compile()
    return compiled, time.perf_counter() - began


def _columns(windows: int, tokens: int) -> tuple[Any, ...]:
    """The fields of a batch: the schema's own type becomes a tree only where a step is made of it."""
    several = np.random.default_rng(1).integers(FIRST_BASE, _VOCABULARY, (2, windows, tokens)).astype(np.int32)
    several[..., 0] = CLS
    numbers = np.arange(windows, dtype=np.int32)
    columns = (several[0], np.zeros((windows, tokens), np.float32), several[1], 100 * numbers, numbers % 8)
    return tuple(jnp.asarray(column) for column in columns)

"""Speed of a whole train step on a processor, beside ModernBERT of `transformers` in PyTorch at the same sizes.

What is timed is told in `contenders`. Steps are interleaved and the quickest of each counts. Without PyTorch, the rows
of ratios are missing and a row says so. `plantgfm bench train` measures the same over sizes, lengths and precisions.
"""

from __future__ import annotations

from functools import partial

from plantgfm.bench import contenders
from plantgfm.bench.contenders import Case
from plantgfm.bench.timing import quickest, row

BAR_RATIO = 1.0
_ROUNDS = 7
_CASE = Case()
_PEERS = {"PyTorch, defaults": "dense", "PyTorch, sparse_prediction": "sparse"}


def run() -> list[dict[str, object]]:
    """Rows (name, value, unit, bar): tokens a second of each step, and ours as a multiple of theirs."""
    steps = {contenders.OURS: contenders.ours(_CASE)}
    if contenders.have_peers():
        attention = contenders.fastest_attentions()[0]
        steps |= {name: contenders.peer(_CASE, kind, attention=attention) for name, kind in _PEERS.items()}
    seconds = quickest({name: partial(each.run, 1) for name, each in steps.items()}, rounds=_ROUNDS)
    rates = {name: _CASE.step_tokens / value for name, value in seconds.items()}
    rows = [row(f"train step: {name}", rate, "input tokens/s", None) for name, rate in rates.items()]
    if len(steps) == 1:
        return [*rows, row("train step: PyTorch is not installed (extra interop), no ratios", 0.0, "-", None)]
    ratios = {name: seconds[name] / seconds[contenders.OURS] for name in _PEERS}
    bars = (BAR_RATIO, None)
    return rows + [row(f"train step: ours over {name}", ratios[name], "x", bar) for name, bar in zip(ratios, bars)]

"""What every bench needs: interleaved timing, and the rows of the table."""

from __future__ import annotations

import time
from collections.abc import Callable


def quickest(contenders: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Seconds of the quickest of several interleaved runs of each; one run before them compiles and warms."""
    best = dict.fromkeys(contenders, float("inf"))
    for turn in range(rounds + 1):
        for name, work in contenders.items():
            began = time.perf_counter()
            work()
            if turn:
                best[name] = min(best[name], time.perf_counter() - began)
    return best


def row(name: str, value: float, unit: str, bar: float | None = None) -> dict[str, object]:
    """A line of the table of speeds; `bar` is what the value should reach, None where nothing is asked."""
    return {"name": name, "value": float(value), "unit": unit, "bar": bar}

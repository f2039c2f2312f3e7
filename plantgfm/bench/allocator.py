"""What keeping freed memory brings: the same train step in two fresh processes, with and without it."""

from __future__ import annotations

import subprocess
import sys

from plantgfm.bench.timing import row

_STEP = """
import sys, time
if sys.argv[1] == "keep":
    from plantgfm.training.allocator import keep_freed_memory
    keep_freed_memory()
from plantgfm.bench.contenders import Case, ours
step = ours(Case())
step.run(1)
times = []
for _ in range(5):
    began = time.perf_counter()
    step.run(1)
    times.append(time.perf_counter() - began)
print(min(times))
"""


def run() -> list[dict[str, object]]:
    """Rows (name, value, unit, bar): seconds of a step both ways, the smaller of two interleaved processes each."""
    seconds = {mode: min(_seconds(mode) for _ in range(2)) for mode in ("give back", "keep")}
    rows = [row(f"train step, memory: {mode}", value, "s") for mode, value in seconds.items()]
    return [*rows, row("gain of keeping freed memory", seconds["give back"] / seconds["keep"], "x")]


def _seconds(mode: str) -> float:
    done = subprocess.run([sys.executable, "-c", _STEP, mode], capture_output=True, text=True, check=True)
    return float(done.stdout)

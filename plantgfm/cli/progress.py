"""Progress on the terminal, from callbacks that libraries take."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

Progress = Callable[[str, int, int], None]


@contextmanager
def progress_bars(*, unit: str = "it") -> Iterator[Progress]:
    """A callback (label, done, total) that draws one bar a label; on a pipe it prints a line when a label ends.

    The unit "B" counts bytes, shown as k, M and G.
    """
    bars: dict[str, tqdm] = {}
    ended: set[str] = set()
    quiet = not sys.stderr.isatty()

    def report(label: str, done: int, total: int) -> None:
        if quiet:
            if done >= total and label not in ended:
                ended.add(label)
                sys.stderr.write(f"{label}: {done}/{total}\n")
            return
        if label not in bars:
            bars[label] = tqdm(total=total, desc=label, dynamic_ncols=True, unit=unit, unit_scale=unit == "B")
        bars[label].total = total
        bars[label].update(done - bars[label].n)

    try:
        yield report
    finally:
        for bar in bars.values():
            bar.close()

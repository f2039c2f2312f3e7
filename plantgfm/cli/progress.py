"""Progress on the terminal, from callbacks that libraries take."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

Progress = Callable[[str, int, int], None]

EVERY_S = 60.0  # seconds between the lines of one job on a pipe


def note(text: str) -> None:
    """A line to the terminal's side of the output, above the bars."""
    tqdm.write(text, file=sys.stderr)


@contextmanager
def progress_bars(*, unit: str = "it") -> Iterator[Progress]:
    """A callback (label, done, total) that draws one bar a job; on a pipe it prints lines.

    A label "job: thing" belongs to the bar of its job and names what the job is at; a label without a colon is a job of
    its own. On a pipe, a job is told every minute and when it ends, and each of its things when it is done. The units
    "B" (bytes) and "bp" (base pairs) are shown as k, M and G.
    """
    bars: dict[str, tqdm] = {}
    told: dict[str, int] = {}
    told_at: dict[str, float] = {}
    quiet = not sys.stderr.isatty()

    def report(label: str, done: int, total: int) -> None:
        job, _, thing = label.partition(": ")
        if quiet:
            now = time.monotonic()
            if not thing and done < told.get(job, 0):  # another job of that name
                told[job], told_at[job] = 0, now
            due = now - told_at.setdefault(job, now) >= EVERY_S or done >= total
            if done > told.get(job, min(total - 1, 0)) and (thing or due):
                told[job], told_at[job] = done, now
                sys.stderr.write(f"{label}: {done}/{total}\n")
            return
        if job not in bars:
            bars[job] = tqdm(total=total, desc=label, dynamic_ncols=True, unit=unit, unit_scale=unit in ("B", "bp"))
        bars[job].total = total
        bars[job].set_description(label, refresh=False)
        bars[job].update(done - bars[job].n)
        bars[job].refresh()

    try:
        yield report
    finally:
        for bar in bars.values():
            bar.close()

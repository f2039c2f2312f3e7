"""How far a run is: a bar on a terminal, now and then a line elsewhere, nothing on any process but the first."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping


def say(text: str) -> None:
    """Write a line for a person to standard error."""
    print(text, file=sys.stderr, flush=True)


def clock_text(seconds: float) -> str:
    """Seconds as 1:02:03, or 2:03 below an hour."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Progress:
    """Loss, tokens per second and time left of a run."""

    def __init__(self, *, start: int, steps: int, clock: Callable[[], float], write: Callable[[str], None]):
        self._start, self._steps, self._clock, self._write = start, steps, clock, write
        self._began: float | None = None
        self._bar = _bar(start=start, steps=steps) if sys.stderr.isatty() else None

    def show(
        self, step: int, *, loss: float, tokens_per_second: float, line: bool, parts: Mapping[str, float] | None = None
    ) -> None:
        """Tell that `step` steps are done; without a terminal only where `line` is set.

        Args:
            step: how many are done.
            loss: of the last step, as it is minimised.
            tokens_per_second: of the run so far.
            line: write a line where there is no terminal.
            parts: nats per token of each objective, which the loss weighs and adds up.
        """
        # The first step compiles, so the time left is judged from the second one on.
        if self._began is None:
            self._began, self._start = self._clock(), step
        elapsed = self._clock() - self._began
        left = elapsed * (self._steps - step) / max(1, step - self._start)
        told = ", ".join(f"{name} {nats:.4f}" for name, nats in (parts or {}).items())
        lost = f"loss {loss:.4f}" + (f" ({told})" if told else "")
        if self._bar is not None:
            self._bar.set_postfix_str(f"{lost}, {tokens_per_second:,.0f} tokens/s", refresh=False)
            self._bar.update(step - self._bar.n)
        elif line:
            known = f"  {clock_text(left)} left" if step > self._start else ""
            self._write(f"step {step}/{self._steps}  {lost}  {tokens_per_second:,.0f} tokens/s{known}")

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()


def _bar(*, start: int, steps: int):
    try:
        from tqdm import tqdm
    except ImportError:  # what runs a training step does not need it
        return None
    return tqdm(total=steps, initial=start, unit="step", dynamic_ncols=True, smoothing=0.1)

"""What a run reports: averages over logged steps, as JSON lines and for TensorBoard."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from plantgfm.objectives.joint import summarise
from plantgfm.objectives.losses import REPEAT_CLASSES

METRICS_FILE = "metrics.jsonl"
TENSORBOARD = "tensorboard"
_LATEST = ("learning_rate",)
_LEAST = ("species_seen",)
_MEANS = ("loss", "gradient_norm")


def nats_per_token(metrics: dict[str, Any]) -> dict[str, float]:
    """Of one step, by objective, without the weights of their sum; {} where the step does not say."""
    totals = {"masked": ("masked_nats", "masked_tokens"), "next region": ("next_nats", "next_windows")}
    return {
        name: float(metrics[nats]) / max(float(metrics[count]), 1.0)
        for name, (nats, count) in totals.items()
        if nats in metrics
    }


class Averages:
    """Sums of the metrics of several steps; goes into a checkpoint and comes back as it was."""

    def __init__(self, saved: dict[str, Any] | None = None):
        self._sums: dict[str, Any] = {name: np.asarray(value, np.float64) for name, value in (saved or {}).items()}

    def add(self, metrics: dict[str, Any]) -> None:
        """Add the metrics of one step: host arrays, as `make_step` names them."""
        values = {name: np.asarray(value, np.float64) for name, value in {**metrics, "steps": 1}.items()}
        if "species_tokens" in values:
            values["species_seen"] = np.asarray(np.sum(values["species_tokens"] > 0), np.float64)
        self._sums = {name: self._joined(name, value) for name, value in values.items()}

    def _joined(self, name: str, value: np.ndarray) -> np.ndarray:
        if name in _LATEST or name not in self._sums:
            return value
        return np.minimum(self._sums[name], value) if name in _LEAST else self._sums[name] + value

    def save(self) -> dict[str, Any]:
        """The sums as JSON values; floats come back from JSON to the last bit."""
        return {name: value.tolist() for name, value in self._sums.items()}

    def take(self, species: Sequence[str], blocks: Sequence[str] = ()) -> dict[str, float]:
        """Averages since the last call, which starts anew; {} without any step.

        Args:
            species: names, in the order of the species index.
            blocks: of the parameters, from `block_names`.

        Returns:
            Of each objective; masked nats per token as "species/NAME" and as "repeats/inside" and "repeats/outside";
            "species_seen", of the step that saw the fewest; and "gradient_norm/BLOCK".
        """
        sums, self._sums = self._sums, {}
        if not sums:
            return {}
        row = {name: float(sums[name] / sums["steps"]) for name in _MEANS if name in sums}
        row |= {name: float(sums[name]) for name in (*_LATEST, *_LEAST) if name in sums}
        norms = np.atleast_1d(sums.get("block_gradient_norms", np.empty(0))) / sums["steps"]
        row |= {f"gradient_norm/{name}": float(norm) for name, norm in zip(blocks, norms)}
        if "masked_tokens" in sums:
            means = summarise({name: jnp.asarray(value, jnp.float32) for name, value in sums.items()})
            per_species = np.asarray(means.pop("species_nats_per_token", np.empty(0)))
            row |= {name: float(value) for name, value in means.items()}
            seen = sums.get("species_tokens", np.empty(0)) > 0
            row |= {f"species/{name}": float(x) for name, x, here in zip(species, per_species, seen) if here}
            row |= _by_repeats(sums)
        return row


def _by_repeats(sums: dict[str, Any]) -> dict[str, float]:
    """Masked nats per token outside and inside repeats, where there were tokens."""
    pairs = zip(REPEAT_CLASSES, sums.get("repeat_nats", ()), sums.get("repeat_tokens", ()))
    return {f"repeats/{name}": float(nats / tokens) for name, nats, tokens in pairs if tokens}


class MetricsFile:
    """A file of JSON lines, one a logged step, in order of steps; each line is flushed.

    When a run goes on from an earlier step, lines beyond it are dropped (as is a line that a kill cut short), so that
    the file reads as if nothing had happened.
    """

    def __init__(self, path: Path, *, step: int):
        if path.is_file():
            kept = [line + "\n" for line, row in _whole_lines(path) if row["step"] <= step]
            part = path.with_name(path.name + ".part")
            part.write_text("".join(kept))
            part.replace(path)
        self._stream = path.open("a")

    def write(self, row: dict[str, Any]) -> None:
        """Append a line; values that are not finite are written as null, since JSON has no word for them."""
        plain = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        }
        self._stream.write(json.dumps(plain, allow_nan=False) + "\n")
        self._stream.flush()

    def sync(self) -> None:
        """Force the lines to disk: a checkpoint must not outlive the lines before it."""
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def _whole_lines(path: Path):
    for line in path.read_text(errors="replace").split("\n")[:-1]:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            return  # a crash of the machine may cut a line short; nothing whole follows it
        yield line, row


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file, also of a run that is still writing."""
    return [row for _, row in _whole_lines(path)]


class TensorBoard:
    """Event files for TensorBoard; writes nothing where tensorboardX is not installed, and `works` says so."""

    def __init__(self, folder: Path, *, step: int):
        try:
            from tensorboardX import SummaryWriter
        except ImportError:  # what runs a training step does not need it
            self._writer = None
            return
        # Events beyond the step that a run goes on from are hidden by the reader.
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    @property
    def works(self) -> bool:
        """Whether anything is written."""
        return self._writer is not None

    def write(self, row: dict[str, Any]) -> None:
        """Add every number of a row at its step."""
        if self._writer is not None:
            for name, value in row.items():
                if isinstance(value, float):
                    self._writer.add_scalar(name, value, row["step"])

    def sync(self) -> None:
        """Hand on what is buffered."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()

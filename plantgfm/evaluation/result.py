"""What an evaluation hands on: a table and a few headline figures, and their file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from plantgfm.identity import read_json

FILE_NAME = "evaluation.json"
_FORMAT = "plantgfm evaluation"


@dataclass(frozen=True)
class EvaluationResult:
    """Held-out scores beside their baselines.

    A row has `kind` (all, species, compartment, repeats, distance), `group`, `metric`, `predictor`, `value`, `low`,
    `high` and what it rests on: `tokens` and `bases`, or `windows`. Differences and gains compare the model with
    `predictor`.
    """

    rows: list[dict[str, Any]]
    summary: dict[str, float]  # headline figures by name
    best: dict[str, str]  # of "markov pooled", "markov species" and both two-sided: the predictor that did best
    identity: dict[str, str]  # fingerprints of corpus and vocabulary; the split

    def select(self, **wanted: Any) -> list[dict[str, Any]]:
        """Rows whose fields equal all the given ones, as `select(kind="species", metric="masked_bits_per_base")`."""
        return [row for row in self.rows if all(row.get(name) == value for name, value in wanted.items())]

    def one(self, **wanted: Any) -> dict[str, Any]:
        """The only row that `select` finds.

        Raises:
            ValueError: when there is none, or more than one.
        """
        found = self.select(**wanted)
        if len(found) != 1:
            raise ValueError(f"{len(found)} rows of the evaluation have {wanted}, expected one")
        return found[0]

    def write(self, folder: Path) -> Path:
        """Write `evaluation.json` into a folder, whole or not at all; returns its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path, part = folder / FILE_NAME, folder / f".{FILE_NAME}.{os.getpid()}.part"
        try:
            text = json.dumps({"format": _FORMAT, **asdict(self)}, indent=1, allow_nan=False)
            part.write_text(text + "\n", encoding="utf-8")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return path

    @staticmethod
    def read(folder: Path) -> EvaluationResult:
        """Read what `write` wrote.

        Raises:
            ValueError: when the file there is not one.
        """
        path = folder / FILE_NAME
        try:
            content = read_json(path, remedy="`plantgfm evaluate` writes one")
        except FileNotFoundError as error:
            raise ValueError(f"{path} can't be read ({error}); `plantgfm evaluate` writes one") from None
        if content.pop("format", None) != _FORMAT:
            raise ValueError(f"{path} is no {_FORMAT}; `plantgfm evaluate` writes one")
        try:
            return EvaluationResult(**content)
        except TypeError as error:
            raise ValueError(f"{path} is damaged ({error}); `plantgfm evaluate` writes one") from None

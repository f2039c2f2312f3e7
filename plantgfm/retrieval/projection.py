"""A projection of debiased vectors, learned from ortholog pairs of other species than those it is used on.

What is learned is added to a vector: x + B(A x), or x + B(gelu(A x)), and the sum is scaled to length 1. An untrained
head has B = 0 and changes nothing. It is applied at scoring time to both sides, vectors on disk stay as they are. No
label passes here: they enter where it is trained.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from plantgfm.formats.streams import atomic_text
from plantgfm.identity import fingerprint, plain, read_json
from plantgfm.retrieval.config import HeadKind, RetrievalConfig
from plantgfm.retrieval.debias import Debias
from plantgfm.retrieval.reranker import Seen, binomial, refuse_files, refuse_seen

_VERSION = 1
_REMEDY = "`plantgfm train-projection` writes one"
_GELU = np.float32(np.sqrt(2 / np.pi)), np.float32(0.044715)
UNLIKE = ("batch_windows", "storage", "stride_bp", "max_unknown_fraction")
"""Settings of an embedding that leave what a vector says of its window as it is."""
_WIDTH = "window_bp"  # differs where queries are much shorter than windows, and in a fine scan


def gelu(x: Any, tanh: Any) -> Any:
    """The tanh form of Hendrycks and Gimpel 2016 (arXiv:1606.08415), of arrays of any library."""
    return 0.5 * x * (1.0 + tanh(_GELU[0] * (x + _GELU[1] * x * x * x)))


def kept_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings of an embedding that have to be the same where a projection is used.

    Raises:
        ValueError: for rows that hold parts of windows.
    """
    if settings.get("part_bp"):
        raise ValueError(
            f"a projection is of one vector a window, these vectors have part_bp={settings['part_bp']}: embed "
            "the target without --part-bp"
        )
    return {name: value for name, value in sorted(settings.items()) if name not in UNLIKE}


def correction_of(config: RetrievalConfig) -> dict[str, Any]:
    """Those of debiasing, likewise."""
    return {name: plain(getattr(config, name)) for name in ("components", "whiten", "ridge", "fit_on")}


@dataclass(frozen=True)
class Look:
    """One look at the queries that were held out."""

    step: int
    loss: float | None  # mean of the training steps since the look before; None before the first
    mrr: float  # mean reciprocal rank of the first true window of the queries that were held out
    moved: float  # mean length of what the head adds to a vector of length 1


@dataclass(frozen=True)
class Validation:
    """The head that was kept against none, on the queries that were held out: they chose it, so it is flattered."""

    queries: int
    held_out: list[str]
    step: int
    mrr: float
    mrr_without: float
    difference: tuple[float, float, float]  # mean, and the ends of its 95 % interval over queries


@dataclass(frozen=True)
class Projection:
    """A trained head; `plantgfm train-projection` makes one."""

    head: str  # linear, or hidden
    down: list[list[float]]  # A, one row a dimension
    up: list[list[float]]  # B, one row a number between
    bundle: str  # fingerprint of the model whose vectors these are
    embedding: dict[str, Any]  # settings of these vectors
    correction: dict[str, Any]  # and of their debiasing
    seen: list[Seen]  # targets and queries, of training and of what was held out
    queries: int  # trained on
    pairs: int
    training: dict[str, Any]  # settings
    curve: list[Look] = field(default_factory=list)
    validation: Validation | None = None

    @cached_property
    def _weights(self) -> tuple[Float32[np.ndarray, "D R"], Float32[np.ndarray, "R D"]]:
        down, up = np.array(self.down, np.float32), np.array(self.up, np.float32)
        if down.ndim != 2 or up.shape != down.shape[::-1] or not (np.isfinite(down).all() and np.isfinite(up).all()):
            raise ValueError(f"weights of shapes {down.shape} and {up.shape}, or not finite")
        return down, up

    @property
    def width(self) -> int:
        """Dimensions of the vectors that it takes."""
        return self._weights[0].shape[0]

    def added(self, vectors: Float32[np.ndarray, "n D"]) -> Float32[np.ndarray, "n D"]:
        """What the head adds to vectors."""
        down, up = self._weights
        inner = vectors @ down
        return (gelu(inner, np.tanh) if self.head == HeadKind.HIDDEN.value else inner) @ up

    def apply(self, vectors: Float32[np.ndarray, "n D"]) -> Float32[np.ndarray, "n D"]:
        """Projected vectors of length 1; a null vector stays null."""
        moved = vectors + self.added(vectors)
        norms = np.linalg.norm(moved, axis=1, keepdims=True)
        null = (norms <= 1e-6) | ~vectors.any(axis=1, keepdims=True)
        return np.where(null, 0.0, moved / np.where(null, 1.0, norms)).astype(np.float32)

    def check_made_for(self, *, bundle: str, settings: Mapping[str, Any], config: RetrievalConfig) -> None:
        """Refuse vectors of another kind than those that it was trained on.

        Raises:
            ValueError: naming what differs.
        """
        if bundle != self.bundle:
            raise ValueError(
                f"the projection was trained on vectors of bundle {self.bundle}, this is bundle {bundle}: train one "
                "with this bundle"
            )
        here = kept_settings(settings), correction_of(config)
        for room, mine, theirs in zip(("embedding", "retrieval"), (self.embedding, self.correction), here):
            for name in sorted({*mine, *theirs} - {_WIDTH}):
                if mine.get(name) != theirs.get(name):
                    raise ValueError(
                        f"the projection was trained on vectors with {room}.{name}={mine.get(name)}, these have "
                        f"{theirs.get(name)}: make them equal"
                    )

    def check_unseen(
        self,
        *,
        species: str,
        sequences: Sequence[str],
        inputs: Sequence[str],
        query_species: str | None,
        query_inputs: Sequence[str],
    ) -> None:
        """Refuse a target, or queries of a species, that it was trained on.

        Args:
            species: of the target.
            sequences: of the target.
            inputs: SHA-256 of the files that were embedded.
            query_species: of the queries; None: they are known by their files alone.
            query_inputs: SHA-256 of the files that they come from.

        Raises:
            ValueError: naming what overlaps.
        """
        refuse_seen(self.seen, what="projection", species=species, sequences=sequences, inputs=inputs)
        for seen in self.seen:
            if query_species is not None and seen.species == binomial(query_species):
                raise ValueError(
                    f"the projection was trained on {seen.species}, whose sequences are looked for here: train one on "
                    "other species"
                )
            refuse_files(seen, query_inputs, what="projection", use="queries come from", others="species")

    def species(self) -> list[str]:
        """That it has seen."""
        return sorted({seen.species for seen in self.seen})

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        data = {"version": _VERSION, "fingerprint": fingerprint(self), **asdict(self)}
        with atomic_text(path) as stream:
            stream.write(json.dumps(data, indent=1, sort_keys=True) + "\n")

    @staticmethod
    def read(path: Path) -> Projection:
        """Read what `write` wrote; ValueError where the file is damaged or of another version."""
        data = read_json(path, remedy=_REMEDY)
        if data.pop("version", None) != _VERSION or not {one.name for one in fields(Projection)} <= set(data):
            raise ValueError(f"{path} is no projection of version {_VERSION}; {_REMEDY}")
        said = data.pop("fingerprint", None)
        try:
            data["seen"] = [Seen(**one) for one in data["seen"]]
            data["curve"] = [Look(**one) for one in data["curve"]]
            validation = dict(data["validation"])
            data["validation"] = Validation(**{**validation, "difference": tuple(validation["difference"])})
            head = Projection(**data)
            HeadKind(head.head)
            head.apply(np.zeros((1, head.width), np.float32))
            if fingerprint(head) != said:
                raise ValueError("its fingerprint is another")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error}); {_REMEDY}") from None
        return head


@dataclass(frozen=True)
class Projected:
    """A correction with a head behind it."""

    debias: Debias
    head: Projection

    def apply(self, vectors: Float32[np.ndarray, "B D"]) -> Float32[np.ndarray, "B D"]:
        """Corrected and projected vectors of length 1; a null vector stays null."""
        return self.head.apply(self.debias.apply(vectors))

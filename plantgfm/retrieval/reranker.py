"""A small calibrated model over what is known of a hit: the probability that it lies near the ortholog.

A logistic regression on standardised features, its scores calibrated by Platt's sigmoid (Platt 1999) on folds of
queries that did not fit it. It is used on species or chromosomes that it was not trained on, and refuses others. No
label passes here: they enter where it is trained.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from plantgfm.formats.streams import atomic_text
from plantgfm.identity import read_json

FEATURES = (
    "score",
    "z",
    "z_6mers",
    "z_11mers",
    "z_alignments",
    "margin",
    "lead",
    "rank",
    "strands_agree",
    "repeat_fraction",
    "gc",
    "query_length",
)
_VERSION = 1


@dataclass(frozen=True)
class Seen:
    """A target that the model was trained on."""

    species: str
    sequences: list[str]
    inputs: list[str]  # SHA-256 of the files that were embedded


@dataclass(frozen=True)
class Reliability:
    """Hits of like probability: what was said, and what was true."""

    predicted: float
    observed: float
    hits: int


@dataclass(frozen=True)
class Reranker:
    """A trained model; `plantgfm train-reranker` makes one."""

    mean: list[float]  # of each feature
    scale: list[float]
    weights: list[float]
    bias: float
    platt: list[float]  # factor and term of the logit
    within_bp: int  # what "near" means: the gap to the ortholog
    ranked_by: dict[str, float]  # the weights of the sources behind the hits
    seen: list[Seen]
    queries: int
    hits: int
    reliability: list[Reliability] = field(default_factory=list)  # of folds that did not fit the model
    scores: dict[str, float] = field(default_factory=dict)  # brier, log_loss, calibration_error; of the same folds
    best_near: list[float] = field(default_factory=list)  # probability of each query's best near hit, likewise; 0: none
    share_votes: bool = False  # of the search behind the hits; rerankers of older code knew no other way
    projected_by: str | None = None  # fingerprint of the projection behind the hits
    vectors: dict[str, object] | None = None  # settings of the vectors behind the hits; rerankers of older code: None

    def probabilities(self, features: Float64[np.ndarray, "n F"]) -> Float64[np.ndarray, "n"]:
        """That hits lie within `within_bp` of the ortholog."""
        return sigmoid(self.platt[0] * self.logits(features) + self.platt[1])

    def threshold(self, recall: float) -> float:
        """The least probability of a shortlist that holds a near hit of that share of queries, or of more.

        Split conformal (Vovk et al. 2005, doi:10.1007/b106715): of n queries of the training, none of which fitted the
        model that rated it, the threshold is the value at place (1 - recall) (n + 1) from below. It holds for queries
        that are exchangeable with those, which queries of another species are in part alone.

        Raises:
            ValueError: when there are too few queries, or too many of them had no near hit, for that recall.
        """
        values = np.sort(self.best_near)
        place = int(np.floor((1 - recall) * (values.size + 1) + 1e-9))
        if place < 1:
            raise ValueError(
                f"retrieval.shortlist_recall={recall} needs a reranker of more than {values.size} queries: lower it, "
                "or train again"
            )
        if values[place - 1] <= 0:
            share = float(np.mean(values > 0))
            raise ValueError(
                f"retrieval.shortlist_recall={recall} can't be reached: {share:.1%} of the training's queries had a "
                "near hit"
            )
        return float(values[place - 1])

    def logits(self, features: Float64[np.ndarray, "n F"]) -> Float64[np.ndarray, "n"]:
        """Before calibration."""
        return (features - np.array(self.mean)) / np.array(self.scale) @ np.array(self.weights) + self.bias

    def check(
        self,
        *,
        species: str,
        sequences: Sequence[str],
        inputs: Sequence[str],
        ranked_by: Mapping[str, float],
        share_votes: bool,
        projected_by: str | None = None,
        vectors: Mapping[str, object],
    ) -> None:
        """Refuse a target that the model was trained on, and hits of another kind.

        Args:
            species: of the target.
            sequences: of the target.
            inputs: SHA-256 of the files that were embedded.
            ranked_by: the weights of the sources behind the hits.
            share_votes: how the search weighs what repeats.
            projected_by: fingerprint of the projection of the search.
            vectors: what kind they are: pooling, layer, part_bp.

        Raises:
            ValueError: naming what overlaps.
        """
        refuse_seen(self.seen, what="reranker", species=species, sequences=sequences, inputs=inputs)
        if dict(ranked_by) != self.ranked_by:
            raise ValueError(
                f"the reranker was trained on hits ranked by {_weights(self.ranked_by)}, these are ranked by "
                f"{_weights(ranked_by)}: make them equal"
            )
        if share_votes != self.share_votes:
            raise ValueError(
                f"the reranker was trained on hits with retrieval.share_votes={self.share_votes}, here it is "
                f"{share_votes}: make them equal"
            )
        if projected_by != self.projected_by:
            raise ValueError(
                f"the reranker was trained on hits of projection {self.projected_by}, these are of {projected_by}: "
                "make them equal"
            )
        if self.vectors is not None and dict(vectors) != self.vectors:
            raise ValueError(
                f"the reranker was trained on hits of vectors with {_told(self.vectors)}, these have {_told(vectors)}: "
                "give --vectors of the same kind, or train one on hits of such vectors"
            )

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        with atomic_text(path) as stream:
            stream.write(json.dumps({"version": _VERSION, **asdict(self)}, indent=2, sort_keys=True) + "\n")

    @staticmethod
    def read(path: Path) -> Reranker:
        """Read what `write` wrote; ValueError where the file is damaged or of another version."""
        remedy = "`plantgfm train-reranker` writes one"
        data = read_json(path, remedy=remedy)
        if data.pop("version", None) != _VERSION:
            raise ValueError(f"{path} is no reranker of version {_VERSION}; {remedy}")
        try:
            data["seen"] = [Seen(**one) for one in data["seen"]]
            data["reliability"] = [Reliability(**one) for one in data["reliability"]]
            model = Reranker(**data)
            model.probabilities(np.zeros((1, len(FEATURES))))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error!r}); {remedy}") from None
        return model


def refuse_seen(
    known: Sequence[Seen], *, what: str, species: str, sequences: Sequence[str], inputs: Sequence[str]
) -> None:
    """Refuse a target that was trained on; ValueError names what overlaps.

    Args:
        known: what was trained on; of no named sequence: of any of its species.
        what: was trained.
        species: of the target.
        sequences: of the target.
        inputs: SHA-256 of the files that were embedded.
    """
    others = "species or chromosomes"
    for seen in known:
        shared = sorted(set(seen.sequences or sequences) & set(sequences))
        if seen.species == binomial(species) and shared:
            raise ValueError(
                f"the {what} was trained on {seen.species}, {shared[0]}, which is searched here: "
                f"train one on other {others}"
            )
        refuse_files(seen, inputs, what=what, use="is searched here", others=others)


def refuse_files(seen: Seen, inputs: Sequence[str], *, what: str, use: str, others: str) -> None:
    """Refuse files that were trained on; ValueError says what they were trained on as.

    Args:
        seen: one target that was trained on.
        inputs: SHA-256 of the files.
        what: was trained.
        use: what happens with the files here, after "the very file that".
        others: what to train on instead, after "other".
    """
    if set(seen.inputs) & set(inputs):
        raise ValueError(
            f"the {what} was trained on the very file that {use} (as {seen.species}): train one on other {others}"
        )


def _told(vectors: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(vectors.items()))


def _weights(ranked_by: Mapping[str, float]) -> str:
    return ", ".join(f"{name} x {weight:g}" for name, weight in sorted(ranked_by.items()))


def binomial(species: str) -> str:
    """Genus and species alone, as names of one species are compared."""
    return " ".join(species.split()[:2]).capitalize()


def sigmoid(logits: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    """1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * logits))


def features_of(rows: Sequence[Mapping[str, object]]) -> Float64[np.ndarray, "n F"]:
    """What the model is told of hits, from rows of their table, as numbers or as text; empty cells count as 0.

    z values, which may be of any size, enter as asinh; `lead` is by how much a hit falls behind the best of its query,
    agreement of strands is 1 or -1.
    """
    values = {
        name: np.array([_number(row[name]) for row in rows])
        for name in ("score", "z", "z_6mers", "z_11mers", "z_alignments", "margin", "rank", "repeat_fraction", "gc")
    }
    best: dict[object, float] = {}
    for row, score in zip(rows, values["score"]):
        best[row["query_id"]] = max(best.get(row["query_id"], -np.inf), float(score))
    said = [row["strands_agree"] for row in rows]
    lengths = np.array([_number(row["query_length_bp"]) for row in rows])
    columns = {
        **values,
        "lead": values["score"] - np.array([best[row["query_id"]] for row in rows]),
        "strands_agree": np.array([0.0 if one in (None, "") else 2 * _number(one) - 1 for one in said]),
        "query_length": np.log1p(lengths),
        "rank": np.log(values["rank"]),
    }
    for name in ("score", "z", "z_6mers", "z_11mers", "z_alignments", "margin", "lead"):
        columns[name] = np.arcsinh(columns[name])
    return np.stack([columns[name] for name in FEATURES], axis=1)


def _number(value: object) -> float:
    return 0.0 if value in (None, "") else float(value)

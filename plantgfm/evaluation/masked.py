"""Baselines of masked modelling on the scored positions, and the table that sets a model beside them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from plantgfm.evaluation.bootstrap import Estimate, bootstrap_ratio
from plantgfm.evaluation.config import EvaluationConfig
from plantgfm.evaluation.held_out import HeldOut, ModelScores, Progress, compartments_of
from plantgfm.evaluation.markov import Chain, Direction, count_both_strands, fit_chain, kmers, token_nats
from plantgfm.evaluation.positions import Positions, take
from plantgfm.evaluation.unigram import Unigram, pieces_of
from plantgfm.identity import fingerprint
from plantgfm.schema import Split
from plantgfm.tokenization.vocabulary import Vocabulary

LN2 = float(np.log(2.0))
POOLED, SPECIES = "markov pooled", "markov species"
MODEL, UNIGRAM_POOLED, UNIGRAM_SPECIES = "model", "unigram pooled", "unigram species"
_BASELINE_VERSION = 1

Nats = dict[str, Float64[np.ndarray, "N"]]


def markov_name(kind: str, direction: Direction, order: int) -> str:
    """Name of a Markov predictor, as "markov pooled forward 11"."""
    return f"{kind} {direction.value} {order}"


def best_markov(nats: Nats, kind: str, *, two_sided: bool = False) -> str:
    """The predictor of a kind with the fewest nats at the scored positions: chosen on them, which favours it."""
    names = [n for n in nats if n.startswith(kind + " ") and (Direction.TWO_SIDED.value in n) == two_sided]
    if not names:
        raise ValueError(f"no predictor {kind!r} among {sorted(nats)}")
    return min(names, key=lambda name: float(nats[name].sum()))


def unigram_nats(unigram: Unigram, held_out: HeldOut) -> Nats:
    """-ln of the unigram probabilities, pooled and of the window's species."""
    token = held_out.positions.token
    return {
        UNIGRAM_POOLED: -unigram.log_pooled[token],
        UNIGRAM_SPECIES: -unigram.log_species[held_out.species, token],
    }


def markov_nats(
    corpus, vocabulary: Vocabulary, held_out: HeldOut, config: EvaluationConfig, *, progress: Progress | None = None
) -> Nats:
    """-ln q of every order and direction, pooled and per species; one chain is in memory at a time."""
    report = progress or _ignore
    n_species = len(corpus.species)
    report("fit Markov baselines", 0, n_species + 1)
    pooled = _fit(corpus, None, config)
    out = _all_orders(pooled, held_out.positions, vocabulary, POOLED, config)
    out |= _two_sided(pooled, held_out.positions, vocabulary, best_markov(out, POOLED), config)
    strengths, order = pooled.strengths, _order_of(best_markov(out, POOLED))
    del pooled
    parts: dict[str, np.ndarray] = {}
    for species in range(n_species):
        report("fit Markov baselines", species + 1, n_species + 1)
        mine = np.flatnonzero(held_out.species == species)
        if not mine.size:
            continue
        chain = _fit(corpus, species, config, fallback=strengths)
        positions = take(held_out.positions, mine)
        scores = _all_orders(chain, positions, vocabulary, SPECIES, config)
        scores |= _two_sided(chain, positions, vocabulary, markov_name(SPECIES, Direction.FORWARD, order), config)
        for name, values in scores.items():
            parts.setdefault(name, np.full(len(held_out.positions), np.nan))[mine] = values
    report("fit Markov baselines", n_species + 1, n_species + 1)
    return out | parts


def _ignore(label: str, done: int, total: int) -> None:
    """No progress is shown."""


def _order_of(name: str) -> int:
    return int(name.rsplit(" ", 1)[1])


def _fit(corpus, species: int | None, config: EvaluationConfig, *, fallback: tuple[float, ...] = ()) -> Chain:
    counts = count_both_strands(pieces_of(corpus, Split.TRAIN, species), config.markov_order)
    tuning = kmers(pieces_of(corpus, Split.VALIDATION, species), config.markov_order, limit=config.tune_bp)
    return fit_chain(counts, strengths=config.strengths, tuning=tuning, fallback=fallback)


def _all_orders(
    chain: Chain, positions: Positions, vocabulary: Vocabulary, kind: str, config: EvaluationConfig
) -> Nats:
    return {
        markov_name(kind, direction, order): token_nats(chain, positions, vocabulary, order=order, direction=direction)
        for order in range(1, config.markov_order + 1)
        for direction in (Direction.FORWARD, Direction.BACKWARD)
    }


def _two_sided(chain: Chain, positions: Positions, vocabulary: Vocabulary, best: str, config: EvaluationConfig) -> Nats:
    orders = sorted({_order_of(best), *config.two_sided_orders}) if config.two_sided else []
    return {
        markov_name(best.rsplit(" ", 2)[0], Direction.TWO_SIDED, order): token_nats(
            chain, positions, vocabulary, order=order, direction=Direction.TWO_SIDED
        )
        for order in orders
        if order <= chain.order
    }


def cached_markov_nats(
    corpus,
    vocabulary: Vocabulary,
    held_out: HeldOut,
    config: EvaluationConfig,
    *,
    cache: Path | None,
    progress: Progress | None = None,
) -> Nats:
    """`markov_nats`, kept in a file of `cache` whose name stands for corpus, vocabulary, positions and settings."""
    if cache is None:
        return markov_nats(corpus, vocabulary, held_out, config, progress=progress)
    path = cache / f"markov-{_identity(corpus, vocabulary, held_out, config)}.npz"
    if path.is_file():
        with np.load(path) as stored:
            return dict(zip(stored["names"].tolist(), stored["nats"]))
    nats = markov_nats(corpus, vocabulary, held_out, config, progress=progress)
    cache.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    try:
        np.savez(part, names=np.array(list(nats)), nats=np.stack(list(nats.values())))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return nats


def _identity(corpus, vocabulary: Vocabulary, held_out: HeldOut, config: EvaluationConfig) -> str:
    digest = hashlib.sha256()
    for array in (held_out.inputs, held_out.targets, held_out.slots, held_out.species):
        digest.update(np.ascontiguousarray(array).tobytes())
    settings = [config.markov_order, config.strengths, config.tune_bp, config.two_sided, config.two_sided_orders]
    return fingerprint([_BASELINE_VERSION, corpus.fingerprint, vocabulary.fingerprint, digest.hexdigest(), settings])


def groups_of(corpus, held_out: HeldOut, config: EvaluationConfig) -> Iterator[tuple[str, str, Bool[np.ndarray, "N"]]]:
    """Groups of scored positions: all; each species; each compartment where there are several; in and out of repeats.

    Each kind tiles the first.
    """
    inside = held_out.positions.repeat_fraction >= config.repeat_threshold
    yield "all", "all", np.ones(len(held_out.positions), dtype=bool)
    for index, name in enumerate(corpus.species):
        yield "species", name, held_out.species == index
    yield from compartments_of(corpus, held_out.region)
    yield "repeats", "inside", inside
    yield "repeats", "outside", ~inside


def hits(scores: ModelScores, unigram: Unigram, held_out: HeldOut) -> Nats:
    """1 where a predictor's likeliest token is the true one, else 0: of the model and of the unigrams."""
    token, species = held_out.positions.token, held_out.species
    return {
        MODEL: scores.correct,
        UNIGRAM_POOLED: (token == unigram.pooled.argmax()).astype(np.float64),
        UNIGRAM_SPECIES: (token == unigram.species.argmax(axis=1)[species]).astype(np.float64),
    }


def masked_rows(corpus, held_out: HeldOut, nats: Nats, correct: Nats, config: EvaluationConfig) -> list[dict[str, Any]]:
    """Rows of the masked part: bits per base of every predictor, accuracies, and the model minus each baseline.

    Every predictor is in the group of all positions; the model, the unigrams and the best Markov ones in each group.
    """
    keep = {MODEL, UNIGRAM_POOLED, UNIGRAM_SPECIES, *(best_markov(nats, kind) for kind in (POOLED, SPECIES))}
    rows = []
    for kind, group, member in groups_of(corpus, held_out, config):
        if not member.any():
            continue
        interval = _interval_over(held_out, member, config)
        shown = list(nats) if kind == "all" else [name for name in nats if name in keep]
        counts = {"tokens": int(member.sum()), "bases": int(held_out.positions.bp[member].sum())}
        at = {"kind": kind, "group": group, **counts}
        rows += [_row(at, "masked_bits_per_base", name, interval(nats[name] / LN2)) for name in shown]
        rows += [_row(at, "masked_accuracy", name, interval(right, per_token=True)) for name, right in correct.items()]
        rows += [
            _row(at, "model_minus_baseline_bits_per_base", name, interval((nats[MODEL] - nats[name]) / LN2))
            for name in shown
            if name != MODEL
        ]
    return rows


def _interval_over(held_out: HeldOut, member: np.ndarray, config: EvaluationConfig) -> Callable[..., Estimate]:
    region, stratum = held_out.region[member], held_out.species[member]
    bases = held_out.positions.bp[member].astype(np.float64)

    def interval(values: np.ndarray, *, per_token: bool = False) -> Estimate:
        return bootstrap_ratio(
            values[member],
            np.ones_like(bases) if per_token else bases,
            region=region,
            stratum=stratum,
            resamples=config.resamples,
            seed=config.seed,
            confidence=config.confidence,
        )

    return interval


def _row(at: dict[str, Any], metric: str, predictor: str, estimate: Estimate) -> dict[str, Any]:
    return {**at, "metric": metric, "predictor": predictor, **vars(estimate)}


def model_nats(scores: ModelScores, unigram: Unigram, held_out: HeldOut, markov: Nats) -> Nats:
    """Nats of all predictors at the scored positions, the model's first."""
    return {MODEL: scores.nats, **unigram_nats(unigram, held_out), **markov}

"""The evaluation on held-out regions: masked modelling and next-region prediction beside honest baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plantgfm.evaluation import masked
from plantgfm.evaluation.config import EvaluationConfig
from plantgfm.evaluation.held_out import HeldOut, Progress, Scorer, prepare
from plantgfm.evaluation.next_region import HISTOGRAM, UNIGRAM, fit_histogram_mass, next_baselines, next_rows
from plantgfm.evaluation.result import EvaluationResult
from plantgfm.evaluation.unigram import Unigram, fit_unigram
from plantgfm.objectives.config import ObjectiveConfig
from plantgfm.sampling.config import SamplerConfig
from plantgfm.schema import Split
from plantgfm.tokenization.vocabulary import Vocabulary


def evaluate(
    network: Any,
    params: Any,
    *,
    corpus,
    vocabulary: Vocabulary,
    config: EvaluationConfig,
    sampler: SamplerConfig,
    objective: ObjectiveConfig,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Score a network on the test split beside its baselines.

    Baselines are fitted on the training split and tuned on the validation split. The windows, the positions and the
    bootstrap come from `config.seed`, so that a second call gives the same result.

    Args:
        network: of `model.build`.
        params: its parameters.
        corpus: whose test split to score.
        vocabulary: that the network was trained with.
        config: sizes, grids, seeds.
        sampler: window length and distances, those of training.
        objective: the spans of masked tokens, those of training; every chosen token becomes [MASK].
        cache: folder for the scores of the Markov baselines, which a second evaluation reads; None fits them again.
        progress: told what is done: (label, done, total).

    Raises:
        ValueError: when a split is empty, the network and the vocabulary differ in size, or it is no hybrid.
    """
    vocabulary.require_hybrid("an evaluation beside Markov models")
    if network.vocabulary_size != vocabulary.size:
        raise ValueError(
            f"the network has {network.vocabulary_size} tokens but vocabulary {vocabulary.fingerprint} has "
            f"{vocabulary.size}: evaluate with the vocabulary of the checkpoint"
        )
    common = {"sampler": sampler, "objective": objective, "config": config}
    test = prepare(corpus, vocabulary, Split.TEST, max_windows=config.max_windows, **common)
    tuning = prepare(corpus, vocabulary, Split.VALIDATION, max_windows=config.tune_windows, **common)
    scores = Scorer(network, batch_windows=config.batch_windows)(params, test, progress=progress)
    unigram = fit_unigram(corpus, vocabulary, shrinkages=config.shrinkages)
    # Downstream windows are scored whole, with the single bases at their ends; masked positions leave those out.
    of_windows = fit_unigram(corpus, vocabulary, shrinkages=config.shrinkages, window_bp=sampler.window_bp)
    markov = masked.cached_markov_nats(corpus, vocabulary, test, config, cache=cache, progress=progress)
    nats = masked.model_nats(scores, unigram, test, markov)
    mass = fit_histogram_mass(tuning, of_windows, grid=config.shrinkages)
    baselines = next_baselines(test, of_windows, histogram_mass=mass)
    rows = masked.masked_rows(corpus, test, nats, masked.hits(scores, unigram, test), config)
    rows += next_rows(corpus, test, scores.next_nats, baselines, config)
    kinds = (masked.POOLED, masked.SPECIES)
    best = {kind: masked.best_markov(nats, kind) for kind in kinds}
    if config.two_sided:
        best |= {f"{kind} two-sided": masked.best_markov(nats, kind, two_sided=True) for kind in kinds}
    identity = {"corpus": corpus.fingerprint, "vocabulary": vocabulary.fingerprint, "split": Split.TEST.name.lower()}
    result = EvaluationResult(rows=rows, summary={}, best=best, identity=identity)
    result.summary.update(_summary(result, test, unigram, histogram_mass=mass))
    return result


def _summary(result: EvaluationResult, test: HeldOut, unigram: Unigram, *, histogram_mass: float) -> dict[str, float]:
    pooled, species = result.best[masked.POOLED], result.best[masked.SPECIES]
    figures = {
        "masked_accuracy": ("masked_accuracy", masked.MODEL),
        "masked_bits_per_base": ("masked_bits_per_base", masked.MODEL),
        "unigram_pooled_bits_per_base": ("masked_bits_per_base", masked.UNIGRAM_POOLED),
        "unigram_species_bits_per_base": ("masked_bits_per_base", masked.UNIGRAM_SPECIES),
        **{
            f"{kind.replace(' ', '_').replace('-', '_')}_bits_per_base": ("masked_bits_per_base", name)
            for kind, name in result.best.items()
        },
        "model_minus_unigram_species": ("model_minus_baseline_bits_per_base", masked.UNIGRAM_SPECIES),
        "model_minus_markov_pooled": ("model_minus_baseline_bits_per_base", pooled),
        "model_minus_markov_species": ("model_minus_baseline_bits_per_base", species),
        "next_region_gain_over_unigram": ("next_region_gain_nats_per_token", UNIGRAM),
        "next_region_gain_over_histogram": ("next_region_gain_nats_per_token", HISTOGRAM),
    }
    summary = {}
    for name, (metric, predictor) in figures.items():
        row = result.one(kind="all", metric=metric, predictor=predictor)
        summary |= {name: row["value"], f"{name}_low": row["low"], f"{name}_high": row["high"]}
    return summary | {
        "markov_pooled_order": float(pooled.rsplit(" ", 1)[1]),
        "markov_species_order": float(species.rsplit(" ", 1)[1]),
        "near_duplicate_windows": float(test.pairs.near_duplicates),
        "candidate_windows": float(test.pairs.candidates),
        "test_windows": float(len(test.pairs)),
        "test_regions": float(len(set(test.pairs.region.tolist()))),
        "scored_tokens": float(len(test.positions)),
        "scored_bases": float(test.positions.bp.sum()),
        "left_out_tokens": float(test.positions.left_out),
        "unigram_shrinkage_tokens": unigram.shrinkage_tokens,
        "histogram_shrinkage_tokens": histogram_mass,
    }

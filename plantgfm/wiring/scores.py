"""A run to its held-out figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from plantgfm.config import CorpusKind, settings
from plantgfm.evaluation.bootstrap import bootstrap_ratio
from plantgfm.evaluation.config import EvaluationConfig
from plantgfm.evaluation.evaluate import evaluate
from plantgfm.evaluation.floor import floor_nats, source_chain
from plantgfm.evaluation.held_out import Scorer, prepare
from plantgfm.evaluation.next_region import unigram_nats
from plantgfm.evaluation.result import FILE_NAME, EvaluationResult
from plantgfm.evaluation.unigram import count_at
from plantgfm.identity import fingerprint, plain
from plantgfm.schema import Split
from plantgfm.simulate.null import Chain, draw
from plantgfm.tokenization.vocabulary import FIRST_BASE, Vocabulary
from plantgfm.wiring.runs import Run, open_run_folder, params_of
from plantgfm.wiring.stored import without_added

EVALUATION_FOLDER = "evaluation"
_DRAWN_BP = 24_000_000  # 8 million tokens on both strands: what 8,201 frequencies lack by chance costs 0.0005 nats
_PARTS = ("", "_low", "_high")


def evaluate_run(
    run_dir: Path,
    *,
    step: int | str | None = None,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    reuse: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> EvaluationResult:
    """Score a checkpoint on the test regions of its corpus, beside its baselines, and write the figures.

    Args:
        run_dir: a run.
        step: number of a kept step, "best", or None for the newest.
        out: folder of the figures; in the run by default, `evaluation`, or `evaluation-step-STEP` for a named step.
        overrides: `key=value` over the evaluation settings of the run.
        reuse: return the figures that lie in `out` where they are of this very checkpoint and these settings.
        progress: of the baselines and of the scoring.

    Returns:
        Rows by kind, group, metric and predictor, each with its 95 % interval over held-out regions, and the headline
        figures as `summary`: bits per base, gains of the next region in nats a token.

    Raises:
        ValueError: for a folder that is no run, a step that was not kept, a corpus that is missing or damaged, and
            settings that do not exist.
    """
    run = open_run_folder(run_dir)
    folder = out or run_dir / (EVALUATION_FOLDER if step is None else f"{EVALUATION_FOLDER}-step-{step}")
    params, known = params_of(run, step=step)
    config = _settings(run, overrides)
    origin = {"step": str(known["step"]), "run": known.get("identity", ""), "settings": fingerprint(_stated(config))}
    if reuse and (folder / FILE_NAME).is_file():
        stored = EvaluationResult.read(folder)
        if origin.items() <= stored.identity.items():
            return stored
    result = evaluate(
        run.network,
        params,
        corpus=run.corpus(),
        vocabulary=run.vocabulary,
        config=config,
        sampler=run.config.sampler,
        objective=run.config.objective,
        cache=run.store / "baselines",
        progress=progress,
    )
    result = replace(result, identity={**result.identity, **origin})
    if run.config.corpus.kind is CorpusKind.NULL:
        result.summary.update(null_floors(run, params, config))
    result.write(folder)
    return result


def _stated(config: EvaluationConfig) -> dict[str, Any]:
    return without_added({"evaluation": plain(config)})["evaluation"]


def _settings(run: Run, overrides: Sequence[str]) -> EvaluationConfig:
    return settings(run.config.evaluation, overrides)


def null_floors(run: Run, params: Any, config: EvaluationConfig) -> dict[str, float]:
    """On the null world: what its generator allows, each with its interval.

    Returns:
        `floor_bits_per_base` of the scored positions, both sides of a masked token and the segmentation known: no
        model's interval may lie below it. `next_region_gain_over_generator`, in nats a token over the token frequencies
        of the generator itself, which nothing upstream foretells: no interval may lie above 0. (The counted unigram can
        be beaten, by who shares between similar tokens what half a megabase a species leaves uncertain.)
    """
    corpus, sampler, objective = run.corpus(), run.config.sampler, run.config.objective
    stated = {"sampler": sampler, "objective": objective, "config": config}
    test = prepare(corpus, run.vocabulary, Split.TEST, max_windows=config.max_windows, **stated)
    order, drawing = run.config.corpus.null.order, {"resamples": config.resamples, "seed": config.seed}
    floor = bootstrap_ratio(
        floor_nats(corpus, run.vocabulary, test, order=order) / np.log(2),
        test.positions.bp.astype(np.float64),
        region=test.pairs.region[test.positions.window],
        stratum=test.species,
        **drawing,
    )
    frequencies = np.stack(
        [
            generator_frequencies(Chain(source_chain(corpus, species, order=order)), run.vocabulary, sampler.window_bp)
            for species in range(len(corpus.species))
        ]
    )
    nats = Scorer(run.network, batch_windows=config.batch_windows)(params, test).next_nats
    foretold = unigram_nats(test, frequencies)
    pairs = {"region": test.pairs.region, "stratum": test.pairs.species}
    gain = bootstrap_ratio(foretold - nats, np.ones_like(nats), **pairs, **drawing)
    named = (("floor_bits_per_base", floor), ("next_region_gain_over_generator", gain))
    return {
        f"{name}{part}": value for name, one in named for part, value in zip(_PARTS, (one.value, one.low, one.high))
    }


def generator_frequencies(chain: Chain, vocabulary: Vocabulary, window_bp: int) -> Float64[np.ndarray, "V"]:
    """Token frequencies of a long draw from a chain, read in windows on both strands; half a count is added."""
    bases = draw(np.random.default_rng(0), chain, _DRAWN_BP)
    counts = count_at(vocabulary, bases, np.arange(0, _DRAWN_BP - window_bp, window_bp), window_bp=window_bp) + 0.5
    counts[:FIRST_BASE] = 0.0
    return counts / counts.sum()

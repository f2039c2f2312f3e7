"""A run to its held-out figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from plantgfm.config import CorpusKind, settings
from plantgfm.evaluation.bootstrap import bootstrap_ratio
from plantgfm.evaluation.config import EvaluationConfig
from plantgfm.evaluation.evaluate import evaluate
from plantgfm.evaluation.floor import floor_nats
from plantgfm.evaluation.held_out import prepare
from plantgfm.evaluation.result import FILE_NAME, EvaluationResult
from plantgfm.identity import fingerprint, plain
from plantgfm.schema import Split
from plantgfm.wiring.runs import Run, open_run_folder, params_of

EVALUATION_FOLDER = "evaluation"


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
    """
    run = open_run_folder(run_dir)
    folder = out or run_dir / (EVALUATION_FOLDER if step is None else f"{EVALUATION_FOLDER}-step-{step}")
    params, known = params_of(run, step=step)
    config = _settings(run, overrides)
    origin = {"step": str(known["step"]), "run": known.get("identity", ""), "settings": fingerprint(plain(config))}
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
        result.summary.update(null_floor(run, config))
    result.write(folder)
    return result


def _settings(run: Run, overrides: Sequence[str]) -> EvaluationConfig:
    return settings(run.config.evaluation, overrides)


def null_floor(run: Run, config: EvaluationConfig) -> dict[str, float]:
    """On the null world: the bits per base that its generator allows on the scored positions, with their interval.

    Both sides of a masked token and the segmentation are known to this floor; no model's interval may lie below it.
    """
    corpus, sampler, objective = run.corpus(), run.config.sampler, run.config.objective
    sizes = {"max_windows": config.max_windows, "seed": config.seed}
    test = prepare(corpus, run.vocabulary, Split.TEST, sampler=sampler, objective=objective, **sizes)
    nats = floor_nats(corpus, run.vocabulary, test, order=run.config.corpus.null.order)
    estimate = bootstrap_ratio(
        nats / np.log(2),
        test.positions.bp.astype(np.float64),
        region=test.pairs.region[test.positions.window],
        stratum=test.species,
        resamples=config.resamples,
        seed=config.seed,
    )
    names = ("floor_bits_per_base", "floor_bits_per_base_low", "floor_bits_per_base_high")
    return dict(zip(names, (estimate.value, estimate.low, estimate.high)))

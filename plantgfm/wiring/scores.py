"""A run to its held-out figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from plantgfm.config import settings
from plantgfm.evaluation.config import EvaluationConfig
from plantgfm.evaluation.evaluate import evaluate
from plantgfm.evaluation.result import EvaluationResult
from plantgfm.wiring.data import STORE
from plantgfm.wiring.runs import Run, open_run_folder, params_of

EVALUATION_FOLDER = "evaluation"


def evaluate_run(
    run_dir: Path,
    *,
    step: int | str | None = None,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    progress: Callable[[str, int, int], None] | None = None,
) -> EvaluationResult:
    """Score a checkpoint on the test regions of its corpus, beside its baselines, and write the figures.

    Args:
        run_dir: a run.
        step: number of a kept step, "best", or None for the newest.
        out: folder of the figures; `evaluation` in the run by default.
        overrides: `key=value` over the evaluation settings of the run.
        progress: of the baselines and of the scoring.
    """
    run = open_run_folder(run_dir)
    params, known = params_of(run, step=step)
    result = evaluate(
        run.network,
        params,
        corpus=run.corpus(),
        vocabulary=run.vocabulary,
        config=_settings(run, overrides),
        sampler=run.config.sampler,
        objective=run.config.objective,
        cache=Path(run.config.run.folder) / STORE / "baselines",
        progress=progress,
    )
    result = replace(result, identity={**result.identity, "step": str(known["step"])})
    result.write(out or run_dir / EVALUATION_FOLDER)
    return result


def _settings(run: Run, overrides: Sequence[str]) -> EvaluationConfig:
    return settings(EvaluationConfig, overrides) if overrides else run.config.evaluation

"""A question's jobs: arms times seeds, with as many steps as each view of a fair comparison gives them."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plantgfm.ablation.config import View
from plantgfm.ablation.definition import Experiment, from_code
from plantgfm.config import Config
from plantgfm.identity import fingerprint, plain
from plantgfm.sampling.batches import Batches
from plantgfm.sampling.plan import build_plan
from plantgfm.tokenization.vocabulary import FIRST_BASE
from plantgfm.wiring.data import prepare_corpus, prepare_vocabulary
from plantgfm.wiring.stored import without_added
from plantgfm.wiring.training import SILENT

_SAMPLED_STEPS = 8


@dataclass(frozen=True)
class Job:
    """One run of one arm."""

    arm: str
    seed: int
    config: Config
    views: tuple[View, ...]  # which views it serves
    tokens_per_step: float  # of real sequence, without padding; NaN where it was not asked for

    @property
    def name(self) -> str:
        """Of its metrics file."""
        return f"{self.arm}-seed{self.seed}-{self.config.run.steps}steps"


def jobs_of(
    experiment: Experiment, folder: Path, *, tokens_per_step: Callable[[Config], float] | None = None
) -> list[Job]:
    """All jobs, the base's first.

    Args:
        experiment: composed.
        folder: where runs and metrics lie.
        tokens_per_step: counts an arm's tokens a step, for the view of equal tokens; without it, that view is left out.

    Raises:
        ValueError: when there is no job.
    """
    definition, steps = experiment.definition, experiment.base.run.steps
    first, arms = experiment.in_order, experiment.stored_in(folder).arms
    counts = dict.fromkeys(first, float("nan"))
    budgets: dict[str, dict[int, list[View]]] = {arm: {} for arm in first}
    for view in definition.views:
        if view is View.TOKENS and tokens_per_step is None:
            continue
        if view is View.TOKENS:
            counts = {arm: tokens_per_step(arms[arm]) for arm in first}
        for arm in first:
            budget = equal_bases(steps, arms[definition.base], arms[arm])
            if view is View.TOKENS:
                budget = max(1, round(steps * counts[definition.base] / counts[arm]))
            budgets[arm].setdefault(budget, []).append(view)
    jobs = [
        Job(arm, seed, job_config(experiment.arms[arm], folder, seed, budget), tuple(views), counts[arm])
        for seed in definition.seeds
        for arm in first
        for budget, views in budgets[arm].items()
    ]
    if not jobs:
        raise ValueError(f"{experiment.folder} makes no job: it needs arms, seeds and a view")
    return jobs


def job_config(config: Config, folder: Path, seed: int, steps: int) -> Config:
    """Settings of one run of an arm; its name is their fingerprint.

    A warm-up that leaves none of `steps`, as where equal tokens take few of them, is shortened as they are.
    """
    if config.run.short_tokens:
        raise ValueError(
            f"run.short_tokens={config.run.short_tokens} is not for arms of a sweep, whose steps count windows of one "
            "length: leave it out"
        )
    config = replace(config, sampler=replace(config.sampler, seed=seed))
    if config.run.steps > steps <= config.optimizer.warmup_steps:
        warmup = round(config.optimizer.warmup_steps * steps / config.run.steps)
        config = replace(config, optimizer=replace(config.optimizer, warmup_steps=warmup))
    config = replace(config, run=replace(config.run, folder=str(folder), seed=seed, steps=steps))
    return replace(config, run=replace(config.run, name=f"run-{job_fingerprint(config)}"))


def job_fingerprint(config: Config) -> str:
    """Of all that shapes a run: two arms with the same settings, in whatever question, share it and so their run."""
    return fingerprint(without_added(shaping(plain(config))))


def shaping(settings: dict[str, Any]) -> dict[str, Any]:
    """Of plain settings those that a run's result depends on."""
    return settings | {"run": {name: value for name, value in settings["run"].items() if name not in SILENT}}


def bp_per_step(config: Config) -> int:
    """Base pairs that a step shows: both windows of every pair."""
    return 2 * config.sampler.batch_windows * config.sampler.window_bp


def equal_bases(steps: float, base: Config, arm: Config) -> int:
    """Steps of an arm that show it as many base pairs as `steps` show the base."""
    return max(1, round(steps * bp_per_step(base) / bp_per_step(arm)))


def count_tokens(config: Config) -> float:
    """Tokens of known sequence that a step shows, both windows, without padding: the mean of a few steps."""
    corpus, _ = prepare_corpus(config)
    batches = Batches(build_plan(corpus, config.sampler), corpus, prepare_vocabulary(config, corpus), config.sampler)
    made = [batches.batch(step) for step in range(_SAMPLED_STEPS)]
    return sum(int((part >= FIRST_BASE).sum()) for one in made for part in (one.tokens, one.next_tokens)) / len(made)


def share(jobs: list[Job], part: str) -> list[Job]:
    """The jobs of part "I/N": every Nth pair of arm and seed, with all its budgets, from the Ith on.

    Raises:
        ValueError: for other text, and for a part without a job.
    """
    index, _, parts = part.partition("/")
    if not (index.isdigit() and parts.isdigit() and 1 <= int(index) <= int(parts)):
        raise ValueError(f"--part {part!r} is no share: give I/N with I from 1 to N, such as 3/9")
    pairs = list(dict.fromkeys((job.arm, job.seed) for job in jobs))
    mine = pairs[int(index) - 1 :: int(parts)]
    if not mine:
        raise ValueError(f"--part {part} has no job: there are {len(pairs)} pairs of arm and seed")
    return [job for job in jobs if (job.arm, job.seed) in mine]


def train_command(experiment: Experiment, job: Job) -> str:
    """The same run by `train.py`, in the code's folder; a batch system can start it, and the sweep finds it done."""
    run = job.config.run
    swept = {"run.folder": str(from_code(Path(run.folder))), "run.name": run.name, "run.seed": run.seed}
    swept |= {"run.steps": run.steps, "sampler.seed": job.config.sampler.seed}
    warmup = job.config.optimizer.warmup_steps
    if warmup != experiment.arms[job.arm].optimizer.warmup_steps:
        swept["optimizer.warmup_steps"] = warmup
    settings = [f"{name}={value}" for name, value in swept.items()]
    return shlex.join(["python", "train.py", *experiment.arguments(job.arm), *settings])

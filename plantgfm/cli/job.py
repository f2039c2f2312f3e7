"""The main job as `train.py` runs it: curation, vocabulary, training, evaluation."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from plantgfm.cli.progress import progress_bars
from plantgfm.config import Config
from plantgfm.formats.paths import user_path
from plantgfm.training.allocator import keep_freed_memory

if TYPE_CHECKING:
    from plantgfm.wiring.training import Outcome

_PROGRAMS = "programs"
_SIGNAL_STATUS = {"SIGINT": 130, "SIGTERM": 143}


def run_job(config: Config) -> int:
    """Run the main job and print what it found; the exit status: 0, or 130 and 143 after a signal."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    keep_freed_memory()  # before JAX is imported
    from plantgfm.training.compiling import keep_programs
    from plantgfm.training.hosts import LostHost, end_without_the_others, join_hosts
    from plantgfm.wiring.data import STORE
    from plantgfm.wiring.training import run_training

    began = time.monotonic()
    if config.run.compilation_cache:
        keep_programs(user_path(config.run.folder) / STORE / _PROGRAMS)
    hosts = join_hosts(config.run.hosts, os.environ, wait_s=config.run.hosts_wait_s)
    first = hosts.index == 0  # the one that speaks
    with progress_bars() if first else nullcontext() as progress:
        try:
            outcome = run_training(config, hosts=hosts, progress=progress, write=click.echo if first else _silent)
        except LostHost as error:
            end_without_the_others(error)
    if interrupted := outcome.result.interrupted:
        if first:
            _tell_data(config, outcome)
        return _SIGNAL_STATUS.get(interrupted, 1)
    hosts.lead("the evaluation", lambda: _tell(config, outcome, began=began))
    return 0


def _tell(config: Config, outcome: Outcome, *, began: float) -> None:
    """Evaluate the run, and print what it was made of and how it ended."""
    from plantgfm.wiring.scores import evaluate_run
    from plantgfm.wiring.tables import evaluation_tables

    _tell_data(config, outcome)
    result = outcome.result
    click.echo(
        f"trained {result.step} steps, {result.tokens_per_second:,.0f} tokens/s, "
        f"peak memory {result.peak_memory_bytes / 2**30:.2f} GiB, {_seconds(result.seconds)}; "
        f"{result.cut_bp:,} bp cut from windows of too many tokens\n"
    )
    with progress_bars() as progress:
        evaluation = evaluate_run(outcome.run_dir, reuse=True, progress=progress)
    for table in evaluation_tables(evaluation):
        click.echo(table.to_text() + "\n")
    click.echo(f"{outcome.run_dir}: done in {time.monotonic() - began:.0f} s")


def _tell_data(config: Config, outcome: Outcome) -> None:
    """Print what was kept and what of it is trained on."""
    from plantgfm.wiring.ledger_tables import ledger_table
    from plantgfm.wiring.lineage import changes_table
    from plantgfm.wiring.tables import corpus_table, near_duplicates_table

    click.echo(ledger_table(outcome.curation.ledger).to_text() + "\n")
    click.echo(corpus_table(outcome.corpus).to_text() + "\n")
    click.echo(near_duplicates_table(outcome.corpus, alpha=config.sampler.cluster_alpha).to_text() + "\n")
    if changes := changes_table(outcome.corpus):
        click.echo(changes.to_text() + "\n")


def _silent(line: str) -> None:
    """Processes beside the first print errors only."""


def _seconds(uses: dict[str, float]) -> str:
    return ", ".join(f"{use} {value:.1f} s" for use, value in uses.items())

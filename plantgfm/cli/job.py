"""The main job as `train.py` runs it: curation, vocabulary, training, evaluation."""

from __future__ import annotations

import os
import time

import click

from plantgfm.cli.progress import progress_bars
from plantgfm.config import Config
from plantgfm.training.allocator import keep_freed_memory

_SIGNAL_STATUS = {"SIGINT": 130, "SIGTERM": 143}


def run_job(config: Config) -> int:
    """Run the main job and print what it found; the exit status: 0, or 130 and 143 after a signal."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    keep_freed_memory()  # before JAX is imported
    from plantgfm.wiring.ledger_tables import ledger_table
    from plantgfm.wiring.lineage import changes_table
    from plantgfm.wiring.scores import evaluate_run
    from plantgfm.wiring.tables import corpus_table, evaluation_tables, near_duplicates_table
    from plantgfm.wiring.training import run_training

    began = time.monotonic()
    with progress_bars() as progress:
        outcome = run_training(config, progress=progress, write=click.echo)
    click.echo(ledger_table(outcome.curation.ledger).to_text() + "\n")
    click.echo(corpus_table(outcome.corpus).to_text() + "\n")
    click.echo(near_duplicates_table(outcome.corpus, alpha=config.sampler.cluster_alpha).to_text() + "\n")
    if changes := changes_table(outcome.corpus):
        click.echo(changes.to_text() + "\n")
    result = outcome.result
    if result.interrupted:
        return _SIGNAL_STATUS.get(result.interrupted, 1)
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
    return 0


def _seconds(uses: dict[str, float]) -> str:
    return ", ".join(f"{use} {value:.1f} s" for use, value in uses.items())

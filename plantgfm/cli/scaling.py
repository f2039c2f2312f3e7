"""The command that runs a grid of sizes and fits laws of the loss to it."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path

import click

from plantgfm.cli.ablate import finish_sweep, keep_memory
from plantgfm.cli.paths import PATH


@click.command()
@click.argument("overrides", nargs=-1)
@click.option(
    "--folder", type=PATH, default=Path("runs/ablations"), show_default=True, help="Folder of runs, metrics, reports."
)
@click.option(
    "--grid", "grid_folder", type=PATH, help="Folder of the grid.  [default: experiments/scaling of the code]"
)
@click.option("--steps", help="Other numbers of steps than the grid's, three or more with commas: for a trial.")
@click.option(
    "--corpus-bp", type=click.FloatRange(min=1), help="Training sequence of the targets.  [default: as the grid]"
)
@click.option(
    "--epochs", type=click.FloatRange(min=0, min_open=True), help="Passes of the targets.  [default: as the grid]"
)
@click.option(
    "--flops-per-second",
    type=click.FloatRange(min=0, min_open=True),
    help="Of the machine that targets are trained on, as reached in training.  [default: as measured on the grid]",
)
@click.option("--dry-run", is_flag=True, help="Compose and check the sizes, show the jobs, run nothing.")
@click.option("--report", "only_report", is_flag=True, help="Draw report and index from stored metrics, run nothing.")
@click.option("--keep", type=PATH, help="Folder to keep the metrics in for good, gzipped, without the runs.")
def scaling(
    overrides: tuple[str, ...],
    folder: Path,
    grid_folder: Path | None,
    steps: str | None,
    corpus_bp: float | None,
    epochs: float | None,
    flops_per_second: float | None,
    dry_run: bool,
    only_report: bool,
    keep: Path | None,
) -> None:
    """Run a grid of sizes x steps x seeds, fit the loss to parameters, tokens and compute, predict larger models.

    L = E + A / N^a + B / D^b with intervals over held-out regions, seeds and misfit; sizes that the grid holds out are
    predicted by a fit that did not see them, and passed or failed. Then cost and loss of `base` and `1b`, and how far
    they lie beyond what the grid supports. OVERRIDES are Hydra's and reach every size. Stopped, the same command goes
    on.

    \b
    FOLDER/run-*                        the runs; those with the settings of an ablation's are shared with it
    FOLDER/scaling/metrics/*.json       what each run scored
    FOLDER/scaling/report.html, .md     laws, check, predictions, figures; result.json holds the same

    \b
    Example: plantgfm scaling --dry-run
             plantgfm scaling
             plantgfm scaling --report --corpus-bp 5e10 --epochs 1 --flops-per-second 3e14
    """
    from plantgfm.ablation.definition import EXPERIMENTS
    from plantgfm.ablation.grid import open_grid
    from plantgfm.ablation.scaling_report import Stated, check_line, support_line, write_scaling_report

    if dry_run and only_report:
        raise click.UsageError("--dry-run and --report exclude each other")
    if dry_run and keep:
        raise click.UsageError("--dry-run runs nothing: there is nothing to keep")
    if only_report and overrides:
        raise click.UsageError("--report draws what was measured: leave the overrides out")
    if given := [
        text for text in overrides if text.lstrip("+").startswith(("run.steps=", "run.seed=", "sampler.seed="))
    ]:
        raise click.UsageError(f"{given[0]}: steps and seeds are the grid's; --steps gives other ones")
    numbers = _numbers(steps) if steps else []
    opened = open_grid(grid_folder or EXPERIMENTS / "scaling", overrides)
    if numbers:
        opened = replace(opened, grid=replace(opened.grid, steps=numbers))
    if not only_report:
        keep_memory()
        _run(opened, folder.resolve(), dry_run=dry_run)
    if keep is not None:
        from plantgfm.ablation.keep import keep_sweep

        keep_sweep(folder, opened.experiment.name, keep)
        folder = keep
    if not dry_run:
        found, paths = write_scaling_report(opened, folder, Stated(corpus_bp, epochs, flops_per_second))
        click.echo(f"\n{opened.grid.question}\n{check_line(found)}\n")
        for one in found.predictions:
            cost = f"{one.flops:.3g} FLOP, {one.hours:,.3g} h, {one.tokens:,.0f} tokens"
            click.echo(
                f"{one.target.name}: {one.loss:.3f} [{one.low:.3f}, {one.high:.3f}], {cost}; {support_line(one)}"
            )
        click.echo("\n".join(["", *found.notes, f"report: {paths[0]}, index: {paths[-1]}"]))


def _numbers(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdigit() for part in parts):
        raise click.UsageError(f"--steps {text!r}: whole numbers with commas, such as 80,160,320")
    return [int(part) for part in parts]


def _run(opened, folder: Path, *, dry_run: bool) -> None:
    from plantgfm.ablation.grid import grid_jobs
    from plantgfm.ablation.jobs import train_command
    from plantgfm.ablation.sweep import run_sweep

    jobs = grid_jobs(opened, folder)
    if dry_run:
        for size, changes in opened.experiment.changes.items():
            said = ", ".join(f"{name}: {was} -> {now}" for name, (was, now) in changes.items())
            click.echo(f"{size}{' (held out)' if size in opened.grid.held_out else ''}: {said or 'as it is'}")
        click.echo(f"\n{len(jobs)} jobs:")
        for job in jobs:
            click.echo(train_command(opened.experiment, job))
        return
    command = shlex.join(["plantgfm", *sys.argv[1:]])
    finish_sweep(run_sweep(opened.experiment, jobs, folder, command=command, write=click.echo))

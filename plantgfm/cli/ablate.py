"""The command that runs an experiment."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from plantgfm.cli.elsewhere import Elsewhere, elsewhere_options, make_data, submit_sweep
from plantgfm.cli.paths import PATH
from plantgfm.cli.probe import probe_inputs
from plantgfm.cli.progress import progress_bars

_SIGNAL_STATUS = {"SIGINT": 130, "SIGTERM": 143}


@click.command()
@click.argument("question")
@click.argument("overrides", nargs=-1)
@click.option(
    "--folder", type=PATH, default=Path("runs/ablations"), show_default=True, help="Folder of runs, metrics, reports."
)
@click.option("--experiments", type=PATH, help="Folder of questions.  [default: experiments/ of the code]")
@click.option(
    "--without",
    multiple=True,
    metavar="ARM",
    help="Leave an arm out, not the base; may be repeated. The report says so.",
)
@click.option("--dry-run", is_flag=True, help="Compose and check the arms, show the jobs, run nothing.")
@click.option("--report", "only_report", is_flag=True, help="Draw report and index from stored metrics, run nothing.")
@click.option("--keep", type=PATH, help="Folder to keep the metrics in for good, gzipped, without the runs.")
@click.option("--probes", is_flag=True, help="Then probe every finished run from its checkpoint (`probe --help`).")
@click.option("--probe-set", "settings", multiple=True, metavar="KEY=VALUE", help="How much is probed: windows=1024.")
@probe_inputs
@elsewhere_options
def ablate(
    question: str,
    overrides: tuple[str, ...],
    folder: Path,
    experiments: Path | None,
    without: tuple[str, ...],
    dry_run: bool,
    only_report: bool,
    keep: Path | None,
    probes: bool,
    settings: tuple[str, ...],
    tasks: Path | None,
    queries: Path | None,
    truth: Path | None,
    target: Path | None,
    manifest: Path | None,
    **elsewhere,
) -> None:
    """Run an experiment: every arm with every seed, then the comparison, by the rule stated before.

    QUESTION is a folder of experiments/, OVERRIDES are Hydra's (as of train.py) and reach every arm. An arm that
    differs from the base otherwise than its file says is refused. Stopped, the same command goes on.

    \b
    FOLDER/run-*                        the runs; arms with equal settings share one, also across questions
    FOLDER/QUESTION/metrics/*.json      what each job scored: sums of every held-out window, cost, commit, hardware
    FOLDER/QUESTION/probes/*.json       with --probes, what each run's frozen vectors tell; also with --report, later
    FOLDER/QUESTION/report.html, .md    answer, intervals, power, all measures; result.json holds the same
    FOLDER/index.html, .md              a line for each question

    \b
    Example: plantgfm ablate tokenizer --dry-run
             plantgfm ablate stratification --folder runs/real corpus=manifest corpus.path=genomes/manifest.csv
             plantgfm ablate tokenizer --without single_base
             plantgfm ablate masking --folder runs/real --report --keep experiments/results/real
             plantgfm ablate masking --launcher slurm --sbatch "--partition=gpu --gpus=1" --dry-run
             plantgfm ablate masking --pack masking.tar.xz   then, where little is installed:
             tar xf masking.tar.xz; python run.py --out out --tokens-times 20
    """
    from plantgfm.ablation.definition import EXPERIMENTS, open_experiment

    place = Elsewhere(**elsewhere)
    place.check(dry_run=dry_run, only_report=only_report, keep=keep is not None, probes=probes)
    if dry_run and keep:
        raise click.UsageError("--dry-run runs nothing: there is nothing to keep")
    if dry_run and probes:
        raise click.UsageError("--dry-run runs nothing that could be probed: leave --probes out")
    if not probes and any((settings, tasks, queries, truth, target, manifest)):
        raise click.UsageError(
            "--probe-set, --tasks, --queries, --truth, --target and --manifest are of --probes: give that, too"
        )
    if only_report and overrides:
        raise click.UsageError("--report draws what was measured: leave the overrides out")
    experiment = open_experiment((experiments or EXPERIMENTS) / question, overrides, without=without)
    if probes:
        _check_probes(experiment)
    if place.slurm:
        where = ["--folder", str(folder.resolve())]
        where += ["--experiments", str(experiments.resolve())] if experiments else []
        where += [word for arm in without for word in ("--without", arm)]
        words = [question, *overrides, *where]
        submit_sweep(experiment, folder.resolve(), words=words, options=place.sbatch, dry_run=dry_run)
    elif not only_report:
        keep_memory()
        if place.prepare or place.pack:
            make_data(experiment, folder.resolve(), pack=place.pack)
        else:
            _run(experiment, folder.resolve(), dry_run=dry_run, part=place.part)
    if probes:
        _probe(experiment, folder.resolve(), (tasks, queries, truth, target, manifest), settings)
    if not dry_run and not place.chosen:
        from plantgfm.ablation.report import write_reports

        if keep is not None:
            from plantgfm.ablation.keep import keep_sweep

            keep_sweep(folder, experiment.name, keep)
            folder = keep
        answer, paths = write_reports(experiment, folder)
        click.echo(f"\n{experiment.definition.question}\n{answer.line}\n\nreport: {paths[0]}, index: {paths[-1]}")


def keep_memory() -> None:
    """Keep freed memory in the process; before JAX is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from plantgfm.training.allocator import keep_freed_memory

    keep_freed_memory()


def _check_probes(experiment) -> None:
    """Refuse probes before hours of training, where they would be refused behind them."""
    if experiment.other_data:
        raise click.UsageError(
            f"--probes: arms of {experiment.name} learn from several corpora, which need not hold out the same "
            "windows; probe runs one by one, `plantgfm probe RUN`"
        )


def _probe(experiment, folder: Path, files: tuple[Path | None, ...], overrides: tuple[str, ...]) -> None:
    """Probe the finished runs."""
    from plantgfm.ablation.config import ProbeConfig
    from plantgfm.ablation.probe_run import ProbeInputs, probe_sweep
    from plantgfm.ablation.probe_search import SearchInputs
    from plantgfm.config import settings

    config = settings(ProbeConfig, overrides)
    inputs = ProbeInputs(files[0], SearchInputs(*files[1:4]), files[4])
    base = experiment.definition.base
    with progress_bars() as progress:
        shown = {"write": click.echo, "progress": progress}
        probe_sweep(folder, experiment.name, inputs, config, base=base, **shown)


def _run(experiment, folder: Path, *, dry_run: bool, part: str | None) -> None:
    """Run the jobs, or show them; leaves with 130 or 143 after a signal."""
    from plantgfm.ablation.config import View
    from plantgfm.ablation.jobs import count_tokens, jobs_of, share, train_command
    from plantgfm.ablation.sweep import refuse_other_budgets, run_sweep

    if dry_run:
        jobs = jobs_of(experiment, folder)
        for arm, changes in experiment.changes.items():
            said = ", ".join(f"{name}: {was} -> {now}" for name, (was, now) in changes.items())
            click.echo(f"{arm}: {said or 'the base'}")
        for name, why in experiment.definition.not_yet.items():
            click.echo(f"not yet: {name}: {why}")
        click.echo(f"\n{len(jobs)} jobs:")
        for job in jobs:
            click.echo(train_command(experiment, job))
        if View.TOKENS in experiment.definition.views:
            click.echo("\nfor equal tokens, jobs more: their steps are counted on the corpus, when the sweep starts")
        return
    command = shlex.join(["plantgfm", *sys.argv[1:]])
    jobs = jobs_of(experiment, folder, tokens_per_step=count_tokens)
    jobs = share(jobs, part) if part else jobs
    refuse_other_budgets(experiment, jobs, folder)
    finish_sweep(run_sweep(experiment, jobs, folder, command=command, write=click.echo))


def finish_sweep(ended) -> None:
    """Leave with 130 or 143 where a signal ended a sweep early."""
    if ended.interrupted:
        click.echo(f"{ended.interrupted}: stopped; the same command goes on", err=True)
        sys.exit(_SIGNAL_STATUS.get(ended.interrupted, 1))

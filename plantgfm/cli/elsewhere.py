"""Options of `plantgfm ablate` for running jobs elsewhere: as SLURM jobs, as parts, or from one packed file."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from plantgfm.cli.paths import PATH

_OPTIONS = (
    click.option(
        "--launcher",
        type=click.Choice(["local", "slurm"]),
        default="local",
        show_default=True,
        help="slurm: submit what is not done as a job array (configs/run/ablate.sbatch), the report behind it.",
    ),
    click.option("--sbatch", default="", help='Options for sbatch, such as "--partition=gpu --gpus=1".'),
    click.option("--part", metavar="I/N", help="Only share I of N of the arms with seeds, for a task of an array job."),
    click.option("--prepare", is_flag=True, help="Only make corpus and vocabulary of every arm, before an array job."),
    click.option(
        "--pack",
        type=PATH,
        metavar="FILE.tar.xz",
        help="Only write all that runs the jobs as one file, .tar, .tar.gz or .tar.xz.",
    ),
)


def elsewhere_options(command: Callable) -> Callable:
    """Add them; the command takes them as keywords, for `Elsewhere`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True)
class Elsewhere:
    """What was chosen of them."""

    launcher: str
    sbatch: str
    part: str | None
    prepare: bool
    pack: Path | None

    @property
    def slurm(self) -> bool:
        """Whether jobs are submitted."""
        return self.launcher == "slurm"

    @property
    def chosen(self) -> list[str]:
        """The options by which this call ends without all metrics."""
        given = {"--part": self.part, "--prepare": self.prepare, "--pack": self.pack, "--launcher slurm": self.slurm}
        return [name for name, value in given.items() if value]

    def check(self, *, dry_run: bool, only_report: bool, keep: bool, probes: bool) -> None:
        """Refuse what contradicts itself.

        Raises:
            UsageError: naming both options.
        """
        asked = [*(["--dry-run"] if dry_run else []), *(["--report"] if only_report else []), *self.chosen]
        if len(asked) > 1 and asked != ["--dry-run", "--launcher slurm"]:
            raise click.UsageError(f"{asked[0]} and {asked[1]} exclude each other")
        for name, given in (("--keep", keep), ("--probes", probes)):
            if given and self.chosen:
                raise click.UsageError(f"{self.chosen[0]} ends without all metrics: leave {name} out")
        if self.sbatch and not self.slurm:
            raise click.UsageError("--sbatch is for --launcher slurm: give both")


def submit_sweep(experiment, folder: Path, *, words: list[str], options: str, dry_run: bool) -> None:
    """Submit what is not done, or show the calls."""
    from plantgfm.ablation.launch import pairs_of, shell_lines, submissions, submit

    calls = submissions(experiment, folder, words=words, options=shlex.split(options))
    if not calls:
        click.echo("all jobs are done: --report draws the report")
    elif dry_run:
        for number, (arm, seed) in enumerate(pairs_of(experiment), 1):
            click.echo(f"task {number}: {arm}, seed {seed}")
        click.echo("\n".join(["", *shell_lines(calls)]))
    else:
        prepared, swept, drawn = submit(calls)
        click.echo(f"submitted: {prepared} prepares the data, the array {swept} runs, {drawn} draws the report")


def make_data(experiment, folder: Path, *, pack: Path | None) -> None:
    """Make the data of all arms, and with `pack` write everything as one file."""
    from plantgfm.ablation.jobs import count_tokens, jobs_of
    from plantgfm.ablation.launch import prepare_all
    from plantgfm.ablation.pack import MOST_BYTES, pack_experiment

    if pack is None:
        prepare_all(experiment, folder, write=click.echo)
        return
    jobs = jobs_of(experiment, folder, tokens_per_step=count_tokens)
    packed = pack_experiment(experiment, jobs, pack, write=click.echo)
    size = f"{packed.size_bytes / 2**20:.1f} MiB of at most {MOST_BYTES / 2**20:.0f}"
    click.echo(f"{packed.path}: {packed.jobs} jobs, {size}; where it is unpacked: python run.py --out FOLDER")

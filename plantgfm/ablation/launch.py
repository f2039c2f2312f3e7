"""A sweep as SLURM jobs: one that prepares the data, an array of one task an arm and seed, one that draws the report.

The tasks are `plantgfm ablate QUESTION --part I/N`, the same as by hand: what is done is skipped, what was cut off goes
on, so that submitting again repeats nothing. `configs/run/ablate.sbatch` is what SLURM is given.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from plantgfm.ablation.config import View
from plantgfm.ablation.definition import CONFIGS, Experiment
from plantgfm.ablation.jobs import job_config, jobs_of
from plantgfm.ablation.sweep import is_done
from plantgfm.wiring.data import prepare_corpus, prepare_vocabulary

SBATCH_FILE = CONFIGS / "run" / "ablate.sbatch"
_PREPARED, _SWEPT, _DRAWN = "prepared", "swept", "drawn"  # ids, which are not known before submitting


@dataclass(frozen=True)
class Submission:
    """A call of sbatch; `waits_for` is the option's condition and which of the calls before, or none."""

    options: tuple[str, ...]
    words: tuple[str, ...]  # for `plantgfm ablate`
    waits_for: tuple[str, str] | None = None

    def command(self, identity: str = "") -> list[str]:
        """The call, where `identity` is of the job that it waits for."""
        wait = [f"--dependency={self.waits_for[0]}:{identity}"] if self.waits_for else []
        return ["sbatch", "--parsable", *self.options, *wait, str(SBATCH_FILE), *self.words]


def pairs_of(experiment: Experiment) -> list[tuple[str, int]]:
    """Arm and seed of each task of an array, in order; a task runs all jobs of its pair."""
    return [(arm, seed) for seed in experiment.definition.seeds for arm in experiment.in_order]


def prepare_all(experiment: Experiment, folder: Path, *, write: Callable[[str], None]) -> None:
    """Make corpus and vocabulary of every arm, so that tasks that start together find them.

    Corpora of arms that are left out are made, too: their windows count.
    """
    for arm in experiment.in_order:
        config = experiment.arms[arm]
        config = job_config(config, folder, experiment.definition.seeds[0], config.run.steps)
        corpus, _ = prepare_corpus(config, write=write)
        vocabulary = prepare_vocabulary(config, corpus)
        write(f"{arm}: corpus {corpus.fingerprint}, vocabulary {vocabulary.fingerprint}")
    for config in experiment.other_data:
        prepare_corpus(replace(config, run=replace(config.run, folder=str(folder))), write=write)


def submissions(
    experiment: Experiment, folder: Path, *, words: Sequence[str], options: Sequence[str]
) -> list[Submission]:
    """The calls of sbatch for what is not done; none where all is.

    Args:
        experiment: composed.
        folder: where runs and metrics go.
        words: question and options of `plantgfm ablate`; what stands before an override reaches the report, too.
        options: of sbatch, for all jobs.
    """
    pairs, done = pairs_of(experiment), set()
    # How many steps equal tokens take is counted on the corpus, by the tasks themselves.
    if View.TOKENS not in experiment.definition.views:
        jobs = jobs_of(experiment, folder)
        done = {(job.arm, job.seed) for job in jobs if is_done(folder, experiment, job)}
    open_ = [number for number, pair in enumerate(pairs, 1) if pair not in done]
    if not open_:
        return []
    array = (f"--array={_ranges(open_)}", f"--export=ALL,PARTS={len(pairs)}")
    report = [word for word in words if word not in experiment.overrides]
    return [
        Submission(tuple(options), (*words, "--prepare")),
        # Where the data can't be made, the array ends, in place of waiting for ever.
        Submission((*options, "--kill-on-invalid-dep=yes", *array), tuple(words), ("afterok", _PREPARED)),
        Submission(tuple(options), (*report, "--report"), ("afterany", _SWEPT)),
    ]


def _ranges(numbers: Sequence[int]) -> str:
    """1,2,3,5 as 1-3,5."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


def shell_lines(calls: Sequence[Submission]) -> list[str]:
    """The calls as lines of a shell script."""
    lines = []
    for name, call in zip((_PREPARED, _SWEPT, _DRAWN), calls):
        # Of several clusters, sbatch says ID;CLUSTER.
        command = call.command(f"${{{call.waits_for[1]}%;*}}" if call.waits_for else "")
        words = [f'"{word}"' if word.startswith("--dependency=") else shlex.quote(word) for word in command]
        lines.append(f"{name}=$({' '.join(words)})")
    return lines


def submit(calls: Sequence[Submission]) -> list[str]:
    """Hand the calls to sbatch, one after the other; the ids of their jobs.

    Raises:
        ValueError: where there is no sbatch, or it refuses.
    """
    identities: list[str] = []
    for call in calls:
        command = call.command(identities[-1] if call.waits_for else "")
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        except FileNotFoundError:
            raise ValueError("sbatch is not on the PATH: submit from a login node; --dry-run shows the calls") from None
        except subprocess.CalledProcessError as error:
            said = " ".join((error.stderr or error.stdout or "").split())
            so_far = f"; submitted before: {', '.join(identities)}" if identities else ""
            raise ValueError(f"sbatch refused ({said}){so_far}") from None
        found = re.match(r"\d+", done.stdout.strip())
        if not found:
            raise ValueError(f"sbatch said {done.stdout.strip()!r}, which starts with no job id")
        identities.append(found[0])
    return identities

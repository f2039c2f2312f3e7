"""Arms times seeds, one job after the other: what is done is skipped, what was cut off goes on."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from plantgfm.ablation.config import Metric
from plantgfm.ablation.definition import CODE, COMMIT_FILE, Experiment, data_of
from plantgfm.ablation.jobs import Job, bp_per_step, job_fingerprint, shaping, train_command
from plantgfm.ablation.measure import Arm, measure, metrics_in, value_of
from plantgfm.config import Config
from plantgfm.corpus.read import Corpus
from plantgfm.identity import fingerprint, plain
from plantgfm.identity import read_json as read_object
from plantgfm.model.flops import count_parameters
from plantgfm.sampling.evaluation_windows import evaluation_pairs
from plantgfm.schema import Split
from plantgfm.training.bad_steps import BadStep
from plantgfm.training.run_folder import RunBusy, differences, locked, write_json
from plantgfm.wiring.data import prepare_corpus, prepare_vocabulary
from plantgfm.wiring.runs import open_run_folder, params_of
from plantgfm.wiring.stored import completed, without_added
from plantgfm.wiring.training import Outcome, run_training, work_of

METRICS_FOLDER = "metrics"
PROBES_FOLDER = "probes"
SUFFIXES = (".json", ".json.gz")  # as a sweep writes them, and as they are kept for good
MEASURE_VERSION = 1
_FORMAT = "plantgfm ablation metrics"
_LOCKS = ".locks"
_LOOK_AGAIN_S = 20.0  # at a run that another process holds
_MEASURING = ("sampler", "evaluation")  # rooms of the base's settings that say how every arm is measured


@dataclass(frozen=True)
class Corpora:
    """Where arms learn from several: the base's, whose windows are scored, and the others, which hold them out, too."""

    base: Corpus
    others: tuple[Corpus, ...]
    dropped: str  # which windows of the base's are not held out in all

    def told(self, run: str, trained_on: str) -> dict[str, Any]:
        """What a run's metrics say of them.

        Raises:
            ValueError: when the run was trained on none of them.
        """
        there = [one.fingerprint for one in (self.base, *self.others)]
        if trained_on not in there:
            raise ValueError(
                f"{run} was trained on corpus {trained_on}, and the arms' settings give {', '.join(there)}: its input "
                "has changed since; choose another --folder"
            )
        return {"trained_on": trained_on, "held_out_in": there[1:], "dropped": self.dropped}


@dataclass(frozen=True)
class Progress:
    """How a sweep went."""

    jobs: int
    done_before: int
    interrupted: str = ""  # the signal that ended it early


def metrics_path(folder: Path, question: str, job: Job) -> Path:
    """Where a job's metrics lie: those that were kept gzipped, or, also where there are none yet, the sweep's own."""
    own, kept = (folder / question / METRICS_FOLDER / (job.name + suffix) for suffix in SUFFIXES)
    return kept if kept.is_file() and not own.is_file() else own


def job_files(folder: Path) -> dict[str, Path]:
    """Files of a folder of metrics or probes by the job's name, the sweep's own before those that were kept."""
    kept_first = [folder.glob(f"*{suffix}") for suffix in reversed(SUFFIXES)]
    return {path.name.split(".")[0]: path for found in kept_first for path in sorted(found)}


def read_metrics(path: Path) -> dict[str, Any]:
    """What a job left.

    Raises:
        ValueError: when the file is damaged, or of another version.
    """
    stored = read_object(path, remedy="delete it, and the sweep measures again")
    if stored.get("format") != _FORMAT or stored.get("version") != MEASURE_VERSION:
        raise ValueError(
            f"{path} is no {_FORMAT} of version {MEASURE_VERSION}: delete it, and the sweep measures again"
        )
    return stored


def is_done(folder: Path, experiment: Experiment, job: Job) -> bool:
    """Whether a job's metrics are there.

    Raises:
        ValueError: when they are of other settings.
    """
    path = metrics_path(folder, experiment.name, job)
    if not path.is_file():
        return False
    stored = read_metrics(path)
    if stored["settings"] == _settings_of(experiment, job):
        return True
    changed = {"settings": (stored["settings"], _settings_of(experiment, job))}  # older files tell no more
    if "stated" in stored:
        changed = differences(_completed(stored["stated"]), _stated(experiment, job))
    if changed:
        first, (there, here) = next(iter(changed.items()))
        raise ValueError(
            f"{path} was measured with other settings: choose another --folder, or delete it ({len(changed)} differ, "
            f"{first}: {there} there, {here} here)"
        )
    return True


def _settings_of(experiment: Experiment, job: Job) -> str:
    base = without_added(plain(experiment.base))
    measured = [*_measuring(experiment).values(), base["sampler"]]
    return fingerprint([job_fingerprint(job.config), measured, base["evaluation"]])


def _measuring(experiment: Experiment) -> dict[str, Any]:
    """What of an experiment, beside its base's settings, says how every arm is measured."""
    definition = experiment.definition
    said = {name: getattr(definition, name) for name in ("windows", "hidden_share", "span_bp")}
    said |= {"in_turn": True} if definition.in_turn else {}
    said |= {"phase": "drawn"} if definition.drawn_phase else {}
    others = [data_of(config) for config in experiment.other_data]
    return said | ({"held_out_in": others} if others else {})


def _stated(experiment: Experiment, job: Job) -> dict[str, Any]:
    """What `_settings_of` stands for, in full."""
    base = plain(experiment.base)
    return {
        "run": shaping(plain(job.config)),
        "measured": _measuring(experiment),
        "base": {room: base[room] for room in _MEASURING},
    }


def _completed(stated: dict[str, Any]) -> dict[str, Any]:
    run, base = completed(stated["run"]), completed(stated["base"], rooms=_MEASURING)
    return {"run": shaping(run), "measured": stated["measured"], "base": base}


def _train(config: Config) -> Outcome:
    return run_training(config, write=lambda line: None)


def _corpus(config: Config) -> Corpus:
    return prepare_corpus(config)[0]


def run_sweep(
    experiment: Experiment,
    jobs: list[Job],
    folder: Path,
    *,
    command: str,
    write: Callable[[str], None],
    train: Callable[[Config], Outcome] = _train,
    corpus_of: Callable[[Config], Corpus] = _corpus,
    store: Path | None = None,
) -> Progress:
    """Run all jobs that are not done; one that another process trains is waited for.

    Args:
        experiment: composed.
        jobs: of `jobs_of`.
        folder: where runs and metrics go.
        command: what a person typed, for the report.
        write: where lines for a person go.
        train: trains a job from its settings; by default all of it, curation included.
        corpus_of: finds or makes the corpus of some settings; asked where something is to run.
        store: the folder below which vocabularies are kept, by default that of the runs.

    Raises:
        ValueError: for no job, for metrics of other settings, and where the corpus is no longer theirs.
    """
    if not jobs:
        raise ValueError("the sweep has no job")
    experiment = experiment.stored_in(store or folder)
    left: deque[tuple[str, Job]] = deque()
    for number, job in enumerate(jobs, 1):
        head = f"[{number}/{len(jobs)}] {job.arm}, seed {job.seed}, {job.config.run.steps:,} steps"
        if is_done(folder, experiment, job):
            _serve_more_views(metrics_path(folder, experiment.name, job), job)
            write(f"{head}: done before")
        else:
            left.append((head, job))
    corpora = _corpora_of(experiment, left[0][1], folder, corpus_of, write) if left else None
    done_before, busy = len(jobs) - len(left), 0
    while left:
        head, job = left.popleft()
        try:
            with _held(folder, job):
                if is_done(folder, experiment, job):
                    write(f"{head}: done by another process")
                    busy = 0
                    continue
                write(f"{head} ...")
                stored = _run_job(experiment, job, folder, command=command, train=train, corpora=corpora)
        except RunBusy:
            left.append((head, job))
            busy += 1
            if busy == len(left):
                write(f"another process trains {job.config.run.name}: waiting for it")
            if busy % len(left) == 0:
                time.sleep(_LOOK_AGAIN_S)
            continue
        busy = 0
        if stored.get("interrupted"):
            return Progress(len(jobs), done_before, stored["interrupted"])
        value = None if stored.get("diverged") else stored["values"][experiment.definition.metric.value]
        figure = stored.get("diverged") or ("no base was scored" if value is None else f"{value:.4f}")
        write(f"{head}: {figure}, {stored['seconds']:.0f} s")
    return Progress(len(jobs), done_before)


@contextlib.contextmanager
def _held(folder: Path, job: Job) -> Iterator[None]:
    """Hold a job's run against other sweeps of the folder, from before it is opened until it is measured.

    Raises:
        RunBusy: where one holds it.
    """
    place = folder / _LOCKS / job.config.run.name
    place.mkdir(parents=True, exist_ok=True)
    with locked(place):
        yield


def _serve_more_views(path: Path, job: Job) -> None:
    """Metrics also serve views that were stated after them and take as many steps."""
    stored = read_metrics(path)
    if more := [view.value for view in job.views if view.value not in stored["views"]]:
        counted = stored.get("seen_tokens") or _seen(job)["seen_tokens"]
        told = {"views": [*stored["views"], *more], "seen_tokens": counted}
        write_json(path.with_name(job.name + SUFFIXES[0]), stored | told)


def refuse_other_budgets(experiment: Experiment, jobs: list[Job], folder: Path) -> None:
    """Refuse, before anything is trained, a folder with metrics that no report could set beside those to come.

    Raises:
        ValueError: naming a file whose run had another number of steps in the same view.
    """
    steps = {(job.arm, view.value): job.config.run.steps for job in jobs for view in job.views}
    for path in job_files(folder / experiment.name / METRICS_FOLDER).values():
        run = read_metrics(path)
        for view in run["views"]:
            now = steps.get((run["arm"], view), run["steps"])
            if now != run["steps"]:
                raise ValueError(
                    f"{path} has {run['steps']:,} steps, this call {now:,} for equal {view}: choose another "
                    "--folder, or delete it"
                )


def _corpora_of(
    experiment: Experiment,
    job: Job,
    folder: Path,
    corpus_of: Callable[[Config], Corpus],
    write: Callable[[str], None],
) -> Corpora | None:
    """The corpora of arms that learn from several; where stored metrics are of another corpus, nothing is trained."""
    found = None
    if experiment.other_data:
        found = _open_corpora(experiment, job, corpus_of)
        write(found.dropped)
    stored = job_files(folder / experiment.name / METRICS_FOLDER).values()
    known = {run["corpus"]: path for path in stored if "corpus" in (run := read_metrics(path))}
    if known:
        base = found.base if found else corpus_of(replace(experiment.base, run=job.config.run))
        if others := known.keys() - {base.fingerprint}:
            there = min(others)
            raise ValueError(
                f"{known[there]} is of corpus {there}, and the input now gives {base.fingerprint}: choose another "
                "--folder"
            )
    return found


def _run_job(
    experiment: Experiment,
    job: Job,
    folder: Path,
    *,
    command: str,
    train: Callable[[Config], Outcome],
    corpora: Corpora | None,
) -> dict[str, Any]:
    """Train and measure; the metrics file appears whole, or a note of the seconds spent so far."""
    path = metrics_path(folder, experiment.name, job)
    path.parent.mkdir(parents=True, exist_ok=True)
    spent_path = path.with_suffix(".spent")
    spent = read_object(spent_path, remedy="delete it")["seconds"] if spent_path.is_file() else 0.0
    began = time.monotonic()
    outcome: dict[str, Any] = {}
    try:
        trained = train(job.config)
    except BadStep as error:
        outcome["diverged"] = str(error)
    else:
        if trained.result.interrupted:
            write_json(spent_path, {"seconds": spent + time.monotonic() - began})
            return {"interrupted": trained.result.interrupted}
        outcome = _measured(experiment, job, trained.run_dir, corpora)
        outcome |= {
            "tokens_per_second": trained.result.tokens_per_second,
            "peak_memory_bytes": trained.result.peak_memory_bytes,
            "cut_bp": trained.result.cut_bp,
        }
    stored = {
        "format": _FORMAT,
        "version": MEASURE_VERSION,
        "question": experiment.name,
        "arm": job.arm,
        "seed": job.seed,
        "steps": job.config.run.steps,
        "views": [view.value for view in job.views],
        "settings": _settings_of(experiment, job),
        "stated": _stated(experiment, job),
        "run": job.config.run.name,
        "command": command,
        "train_command": train_command(experiment, job),
        "seconds": spent + time.monotonic() - began,
        **surroundings(),
        **_seen(job),
        **outcome,
    }
    write_json(path, stored)
    spent_path.unlink(missing_ok=True)
    return stored


def _open_corpora(experiment: Experiment, job: Job, corpus_of: Callable[[Config], Corpus]) -> Corpora:
    """The corpora of all arms, made where they are not there, before hours are spent.

    Raises:
        ValueError: when no window is held out in all.
    """
    configs = (replace(one, run=job.config.run) for one in (experiment.base, *experiment.other_data))
    base, *others = map(corpus_of, configs)
    sampler = experiment.base.sampler
    every, kept = (evaluation_pairs(base, Split.TEST, sampler, elsewhere=some) for some in ((), others))
    before, after = (np.bincount(pairs.species, minlength=len(base.species)).tolist() for pairs in (every, kept))
    fewer = [f"{species} {n - m} of {n}" for species, n, m in zip(base.species, before, after, strict=True) if m < n]
    text = f"{len(kept)} of {len(every)} window pairs of the base's corpus are held out in those of all arms"
    return Corpora(base, tuple(others), f"{text}; dropped: {', '.join(fewer)}" if fewer else text)


def _measured(experiment: Experiment, job: Job, run_dir: Path, corpora: Corpora | None) -> dict[str, Any]:
    run = open_run_folder(run_dir)
    params, _ = params_of(run)
    corpus, base = run.corpus(), experiment.base
    told = corpora.told(run_dir.name, corpus.fingerprint) if corpora else {}
    corpus = corpora.base if corpora else corpus
    is_base = job.arm == experiment.definition.base
    columns = measure(
        run.network,
        params,
        corpus=corpus,
        arm=Arm(run.vocabulary, _slots(job.config, base)),
        base=None if is_base else Arm(prepare_vocabulary(base, corpus), base.sampler.window_tokens),
        sampler=base.sampler,
        evaluation=base.evaluation,
        definition=experiment.definition,
        elsewhere=corpora.others if corpora else (),
    )
    summary = corpus.summary()
    unigram = sum(columns["unigram_pooled_bits"]) / sum(columns["bases"])
    values = {metric.value: value_of(columns, metric) for metric in metrics_in(columns)}
    return {
        "parameters": count_parameters(params),
        "flops_per_step": work_of(run.config, run.network).flops,
        "vocabulary_size": run.vocabulary.size,
        "corpus": corpus.fingerprint,
        **told,
        "vocabulary": run.vocabulary.fingerprint,
        "species": list(corpus.species),
        "train_bp": [row["train_bp"] for row in summary],
        "values": {name: None if math.isnan(value) else value for name, value in values.items()},
        "collapsed": not values[Metric.MASKED.value] < unigram,
        "windows": columns,
    }


def _slots(arm: Config, base: Config) -> int:
    """Slots of the base arm's windows as an arm reads them: its own, unless its windows have another width."""
    return (arm if arm.sampler.window_bp == base.sampler.window_bp else base).sampler.window_tokens


def _seen(job: Job) -> dict[str, Any]:
    sampler, steps = job.config.sampler, job.config.run.steps
    counted = not math.isnan(job.tokens_per_step)
    return {
        "seen_bp": steps * bp_per_step(job.config),
        "seen_tokens": round(steps * job.tokens_per_step) if counted else None,
        "slots": steps * sampler.batch_windows * sampler.window_tokens,
    }


def surroundings() -> dict[str, Any]:
    """Commit of the code, machine and libraries."""
    device = jax.devices()[0]
    return {
        "commit": commit(),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, {device.platform} ({device.device_kind})",
        "versions": f"Python {platform.python_version()}, jax {jax.__version__}",
    }


def commit(folder: Path = CODE) -> str:
    """The commit of the code, with `+changes` where files differ from it; "unknown" outside a checkout.

    Beside packed code a file names it.
    """
    if (folder / COMMIT_FILE).is_file():
        return (folder / COMMIT_FILE).read_text(encoding="utf-8").strip()
    try:
        said = [
            subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return said[0] + ("+changes" if said[1] else "")

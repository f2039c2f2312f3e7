"""A trained run, a bundle or a finished sweep, probed; what is found is stored, and shown from there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from plantgfm.ablation.config import ProbeConfig
from plantgfm.ablation.probe_search import SearchInputs
from plantgfm.ablation.probes import Prober, Progress, Sources, Subject, sources_of
from plantgfm.ablation.sweep import METRICS_FOLDER, PROBES_FOLDER, job_files, read_metrics, surroundings
from plantgfm.embedding.encoders import BundleEncoder, open_encoder
from plantgfm.export.bundle import Bundle
from plantgfm.identity import fingerprint, plain
from plantgfm.identity import read_json as read_object
from plantgfm.training.run_folder import write_json
from plantgfm.wiring.runs import Run, open_run_folder, params_of
from plantgfm.wiring.training import SETTINGS_FILE

PROBES_FILE = "probes.json"
PROBE_VERSION = 1
_FORMAT = "plantgfm probes"


@dataclass(frozen=True)
class ProbeInputs:
    """Files that a person gives beside the model."""

    tasks: Path | None = None
    search: SearchInputs = field(default_factory=SearchInputs)
    manifest: Path | None = None

    def names(self) -> list[str]:
        """Of the files, without the folders that they lie in on this machine."""
        given = (self.tasks, self.search.queries, self.search.truth, self.search.target)
        return [path.name if path else "" for path in given]


def encoders_of(run: Run, *, step: int | str | None, shared: dict[str, BundleEncoder]) -> tuple[BundleEncoder, ...]:
    """A run's network with the parameters of a checkpoint, and with those before training.

    Args:
        run: opened.
        step: as `params_of` takes it.
        shared: encoders by architecture and vocabulary, so that what is compiled for one run serves the next.
    """
    config = replace(run.config.model, max_tokens=run.config.sampler.window_tokens)
    key = fingerprint([plain(config), run.vocabulary.fingerprint])
    params = [run.network.fold(params_of(run, step=at)[0]) for at in (step, 0)]
    if key not in shared:
        shared[key] = BundleEncoder(Bundle(run.network, params[0], config, run.vocabulary, {}, key))
    return tuple(shared[key].with_params(one) for one in params)


def probe_model(
    path: Path,
    inputs: ProbeInputs,
    config: ProbeConfig,
    *,
    run: Path | None = None,
    step: int | str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Probe a run's checkpoint, a bundle, or a model of others.

    Args:
        path: run folder or model.
        inputs: tasks, queries, manifest.
        config: how much is probed.
        run: whose held-out windows a bundle is probed on; a run folder uses its own.
        step: checkpoint of a run folder: number, "best", None for the newest, 0 for before training.
        progress: called with (label, done, total).

    Raises:
        ValueError: for a path that is no model, or where nothing can be probed.
    """
    began = time.monotonic()
    is_run = (path / SETTINGS_FILE).is_file()
    if is_run and run is not None:
        raise ValueError(f"{path} is a run and is probed on its own held-out windows: leave --run out")
    if not is_run and step is not None:
        raise ValueError("--step chooses a checkpoint of a run: a bundle has one model")
    home = open_run_folder(path if is_run else run) if is_run or run is not None else None
    if is_run:
        trained, untrained = encoders_of(home, step=step, shared={})
    else:
        trained, untrained = open_encoder(path), None
        if home is not None and isinstance(trained, BundleEncoder) and _is_of(trained, home):
            untrained = encoders_of(home, step=0, shared={})[1]
    corpus = home.corpus() if home is not None else None
    sources = Sources(search=inputs.search, tasks=inputs.tasks)
    if home is not None:
        kept = {"manifest": inputs.manifest, "search": inputs.search, "tasks": inputs.tasks}
        sources = sources_of(home.config, corpus, **kept)
    window_bp = home.config.sampler.window_bp if home is not None else trained.window_bp
    if not window_bp:
        raise ValueError(f"{path} does not tell how long its windows are: give --run, whose windows are taken")
    prober = Prober(sources, config, window_bp=window_bp, progress=progress)
    found = prober.probe(Subject(path.name, trained, untrained))
    skipped = dict(prober.skipped)
    if untrained is None:
        skipped["untrained model"] = "a bundle alone does not tell how it began: give --run, the run that it is of"
    about = {"model": str(path), "step": step, "corpus": corpus.fingerprint if corpus else ""}
    return _stored(found, skipped, config, about=about, seconds=time.monotonic() - began)


def _is_of(encoder: BundleEncoder, run: Run) -> bool:
    same = replace(run.config.model, max_tokens=run.config.sampler.window_tokens)
    bundle = encoder.bundle
    return bundle.vocabulary.fingerprint == run.vocabulary.fingerprint and plain(bundle.model_config) == plain(same)


def _stored(
    found: list[dict[str, Any]], skipped: dict[str, str], config: ProbeConfig, *, about: dict[str, Any], seconds: float
) -> dict[str, Any]:
    head = {"format": _FORMAT, "version": PROBE_VERSION, "config": plain(config), "seconds": seconds}
    return {**head, **about, **surroundings(), "probes": found, "left_out": skipped}


def read_probes(path: Path) -> dict[str, Any]:
    """What a probe left.

    Raises:
        ValueError: when the file is damaged, or of another version.
    """
    stored = read_object(path, remedy="delete it and probe again")
    if stored.get("format") != _FORMAT or stored.get("version") != PROBE_VERSION:
        raise ValueError(f"{path} is no {_FORMAT} of version {PROBE_VERSION}: delete it and probe again")
    return stored


def probe_sweep(
    folder: Path,
    question: str,
    inputs: ProbeInputs,
    config: ProbeConfig,
    *,
    base: str,
    write: Callable[[str], None],
    progress: Progress | None = None,
) -> int:
    """Probe every finished run of a sweep from its checkpoint; those that were probed alike before are passed over.

    Windows, tiles and draws are those of the base's settings, the same for all arms.

    Args:
        folder: of runs and metrics.
        question: name of the experiment.
        inputs: tasks, queries, manifest.
        config: how much is probed.
        base: the arm whose settings choose the windows.
        write: where lines for a person go.
        progress: called with (label, done, total).

    Returns:
        How many runs have probes now.

    Raises:
        ValueError: when no run came to an end, or runs are of several corpora.
    """
    paths = job_files(folder / question / METRICS_FOLDER)
    runs = [(job, stored) for job, path in sorted(paths.items()) if "windows" in (stored := read_metrics(path))]
    if not runs:
        raise ValueError(f"{folder / question} holds no finished run: run `plantgfm ablate {question}` first")
    there = [(job, stored) for job, stored in runs if (folder / stored["run"] / SETTINGS_FILE).is_file()]
    if not there:
        raise ValueError(f"{folder} no longer holds {runs[0][1]['run']} and the others: probes need their checkpoints")
    if odd := [stored for _, stored in runs if stored.get("trained_on", stored["corpus"]) != stored["corpus"]]:
        raise ValueError(
            f"--probes {question}: {odd[0]['arm']} learnt from corpus {odd[0]['trained_on']}, which need not hold "
            f"out the windows of the base's, {odd[0]['corpus']}: probe runs one by one, `plantgfm probe RUN`"
        )
    home = next((stored for _, stored in there if stored["arm"] == base), there[0][1])
    opened = open_run_folder(folder / home["run"])
    corpus, shared, prober, done = opened.corpus(), {}, None, 0
    settings = fingerprint(
        [PROBE_VERSION, plain(config), inputs.names(), home["corpus"], opened.config.sampler.window_bp]
    )
    for number, (job, stored) in enumerate(runs, 1):
        out = folder / question / PROBES_FOLDER / f"{job}.json"
        head = f"[{number}/{len(runs)}] probes of {stored['arm']}, seed {stored['seed']}, {stored['steps']:,} steps"
        if out.is_file() and read_probes(out).get("settings") == settings:
            write(f"{head}: done before")
            done += 1
            continue
        if (job, stored) not in there:
            write(f"{head}: left out, {stored['run']} is gone")
            continue
        if stored["corpus"] != home["corpus"]:
            raise ValueError(
                f"{paths[job]} is of corpus {stored['corpus']}, the base of {home['corpus']}: no window is the same"
            )
        began = time.monotonic()
        if prober is None:
            kept = {"manifest": inputs.manifest, "search": inputs.search, "tasks": inputs.tasks}
            sources = sources_of(opened.config, corpus, **kept)
            prober = Prober(sources, config, window_bp=opened.config.sampler.window_bp, progress=progress)
        encoders = encoders_of(open_run_folder(folder / stored["run"]), step=None, shared=shared)
        found = prober.probe(Subject(stored["run"], *encoders))
        about = {name: stored[name] for name in ("question", "arm", "seed", "steps", "views", "run", "corpus")}
        about |= {"settings": settings}
        out.parent.mkdir(parents=True, exist_ok=True)
        seconds = time.monotonic() - began
        write_json(out, _stored(found, prober.skipped, config, about=about, seconds=seconds))
        write(f"{head}: {len(found)} probes, {seconds:.0f} s")
        done += 1
    return done

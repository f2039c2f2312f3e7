"""A run folder, opened again: its settings, corpus, vocabulary, network and parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax

from plantgfm.config import Config
from plantgfm.corpus.read import Corpus, open_corpus
from plantgfm.identity import fingerprint, restore
from plantgfm.model.build import Network
from plantgfm.tokenization.vocabulary import Vocabulary
from plantgfm.training.checkpoint import restore_params
from plantgfm.training.run_folder import read_json
from plantgfm.wiring.data import STORE
from plantgfm.wiring.training import SETTINGS_FILE, VOCABULARY_FILE, build_network, starting_point


@dataclass(frozen=True)
class Run:
    """An opened run folder."""

    path: Path
    config: Config
    corpus_path: Path
    vocabulary: Vocabulary
    network: Network

    @property
    def store(self) -> Path:
        """What the runs beside this one share."""
        return self.path.resolve().parent / STORE

    def corpus(self) -> Corpus:
        """The corpus that the run was trained on."""
        return open_corpus(self.corpus_path)


def settings_of(run_dir: Path) -> dict[str, Any]:
    """What `settings.json` of a run says.

    Raises:
        ValueError: when the folder is no run, or its settings are damaged.
    """
    path = run_dir / SETTINGS_FILE
    if not path.is_file():
        raise ValueError(f"{run_dir} is no run folder ({SETTINGS_FILE} is missing): train one with `python train.py`")
    stored = read_json(path)
    if missing := [key for key, kind in (("config", dict), ("corpus", str)) if not isinstance(stored.get(key), kind)]:
        raise ValueError(f"{path} lacks {missing[0]!r}: it is not what a run leaves, restore it or train again")
    run = stored["config"].get("run")
    if isinstance(run, dict) and "processes" in run:
        run["workers"] = run.pop("processes")  # its name in runs of older code
    return stored


def open_run_folder(run_dir: Path) -> Run:
    """Open a run folder for evaluation or export; checkpoints are not read yet.

    Raises:
        ValueError: when the folder is no run, or its settings or its vocabulary are damaged.
    """
    stored = settings_of(run_dir)
    try:
        config = restore(Config, stored["config"])
    except ValueError as error:
        raise ValueError(f"{run_dir / SETTINGS_FILE}: {error}") from None
    vocabulary = Vocabulary.load(run_dir / VOCABULARY_FILE)
    network = build_network(replace(config, model=config.model.as_read()), vocabulary)
    return Run(run_dir, config, Path(stored["corpus"]), vocabulary, network)


def corpus_path(path: Path) -> Path:
    """The corpus folder that a path means: itself, or the one of a run folder."""
    return Path(settings_of(path)["corpus"]) if (path / SETTINGS_FILE).is_file() else path


def params_of(run: Run, *, step: int | str | None = None) -> tuple[Any, dict[str, Any]]:
    """Parameters of a checkpoint and what is known of it: step, identity, metrics.

    Args:
        run: an opened run.
        step: number of a kept step, "best", None for the newest, or 0 for the parameters before training.

    Raises:
        ValueError: when there is no such checkpoint.
    """
    if step == 0:
        start = starting_point(run.config, run.corpus(), run.vocabulary)
        return run.network.init(jax.random.key(run.config.run.seed), **start), {"step": 0, "metrics": {}}
    restored = restore_params(run.path, step=step)
    identity = fingerprint(restored.identity)
    return restored.params, {"step": restored.step, "metrics": restored.metrics, "identity": identity}


def export_run(run_dir: Path, out: Path, *, step: int | str | None = None) -> Path:
    """Write a checkpoint of a run as a bundle.

    Args:
        run_dir: the run.
        out: folder of the bundle.
        step: number of a kept step, "best", None for the newest, or 0 for the parameters before training.

    Returns:
        `out`.

    Raises:
        ValueError: for a folder that is no run, a step that was not kept, or a corpus that is missing or damaged.
        BundleError: (a ValueError) when `out` holds something that is no bundle.
    """
    from plantgfm.export.bundle import write_bundle  # its libraries are not needed to train and measure

    run = open_run_folder(run_dir)
    params, known = params_of(run, step=step)
    corpus = run.corpus()
    lineage = {
        "run": run_dir.resolve().name,
        "corpus_fingerprint": corpus.fingerprint,
        "species": list(corpus.species),
        "vocabulary_fingerprint": run.vocabulary.fingerprint,
        **known,
    }
    if not run.vocabulary.is_hybrid:
        lineage["window_bp"] = run.config.sampler.window_bp
    return write_bundle(
        out,
        network=run.network,
        params=params,
        model_config=replace(run.config.model, max_tokens=run.config.sampler.window_tokens),
        vocabulary=run.vocabulary,
        lineage=lineage,
    )

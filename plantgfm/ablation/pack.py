"""An experiment in one file: code, corpus, vocabularies, composed settings of every job, and what runs them.

The file goes to a machine that has the libraries of a training step and nothing else (`plantgfm.ablation.packed` runs
it there), and the metrics that come back lie as a sweep's own.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plantgfm.ablation.definition import CODE, COMMIT_FILE, Experiment
from plantgfm.ablation.jobs import Job
from plantgfm.ablation.packed import (
    CORPORA,
    ENTRY_FILE,
    FORMAT,
    PACK_FILE,
    PACK_VERSION,
    data_key,
)
from plantgfm.ablation.sweep import commit
from plantgfm.config import Config
from plantgfm.corpus.cache import FOLDER as CACHE
from plantgfm.corpus.read import IDENTITY_FILE
from plantgfm.formats.paths import user_path
from plantgfm.identity import canonical_json, plain
from plantgfm.wiring.data import prepare_corpus, prepare_vocabulary, vocabulary_path

MOST_BYTES = 64 * 2**20
_MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.xz": "w:xz"}
_ENTRY = '''"""Runs what was packed: python run.py --out FOLDER [--tokens-times 20]; see --help."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from plantgfm.ablation.packed import main

sys.exit(main())
'''


@dataclass(frozen=True)
class Packed:
    """What was written."""

    path: Path
    size_bytes: int
    jobs: int


def pack_experiment(experiment: Experiment, jobs: Sequence[Job], out: Path, *, write: Callable[[str], None]) -> Packed:
    """Write an experiment as one file; corpus and vocabularies are made where they are not there.

    Args:
        experiment: composed.
        jobs: of `jobs_of`; those of equal tokens counted.
        out: ends with .tar, .tar.gz or .tar.xz; it appears whole or not at all.
        write: where lines for a person go.

    Raises:
        ValueError: for another ending, for no job, and for a file that would be larger than 64 MiB.
    """
    mode = next((mode for suffix, mode in _MODES.items() if out.name.endswith(suffix)), None)
    if mode is None:
        raise ValueError(f"--pack {out}: end it with one of {', '.join(_MODES)}; .tar.xz is the smallest")
    if not jobs:
        raise ValueError("the sweep has no job to pack")
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        # The base is always asked for: all arms are measured by its windows, held out in every corpus.
        more = (replace(one, run=jobs[0].config.run) for one in (experiment.base, *experiment.other_data))
        configs = [*(job.config for job in jobs), *more]
        data, files = _data(configs, write=write)
        with tarfile.open(part, mode) as tar:
            _add_text(tar, ENTRY_FILE, _ENTRY)
            _add_text(tar, COMMIT_FILE, f"{commit()}\n")
            _add_text(tar, PACK_FILE, canonical_json(_stated(experiment, jobs, data)))
            for path in _code():
                _add(tar, path, str(path.relative_to(CODE)))
            for name, path in sorted(files.items()):
                _add(tar, path, name)
        size = part.stat().st_size
        if size > MOST_BYTES:
            way_out = "take a smaller corpus" if mode == "w:xz" else "let it end with .tar.xz, or take a smaller corpus"
            raise ValueError(f"{out} would have {size / 2**20:.1f} MiB, more than {MOST_BYTES / 2**20:.0f}: {way_out}")
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return Packed(out, size, len(jobs))


def _data(
    configs: Sequence[Config], *, write: Callable[[str], None]
) -> tuple[dict[str, dict[str, str]], dict[str, Path]]:
    """Corpus and vocabulary of each kind of data that is asked for, and the files that hold them."""
    data: dict[str, dict[str, str]] = {}
    files: dict[str, Path] = {}
    for key, config in {data_key(config): config for config in configs}.items():
        corpus, _ = prepare_corpus(config, write=write)
        vocabulary = prepare_vocabulary(config, corpus)
        data[key] = {"corpus": corpus.fingerprint, "vocabulary": vocabulary.fingerprint}
        cached = (path for path in (corpus.path / CACHE).iterdir() if path.is_file())
        for path in (corpus.path / IDENTITY_FILE, *cached):
            files[f"{CORPORA}/{corpus.fingerprint}/{path.relative_to(corpus.path)}"] = path
        stored = vocabulary_path(config, corpus)
        files[str(stored.relative_to(user_path(config.run.folder)))] = stored
    return data, files


def _stated(experiment: Experiment, jobs: Sequence[Job], data: dict[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": PACK_VERSION,
        "question": experiment.name,
        "definition": plain(experiment.definition),
        "overrides": list(experiment.overrides),
        "arms": {arm: plain(config) for arm, config in experiment.arms.items()},
        "other_data": [plain(config) for config in experiment.other_data],
        "data": data,
        "jobs": [
            {
                "arm": job.arm,
                "seed": job.seed,
                "steps": job.config.run.steps,
                "views": [view.value for view in job.views],
                "tokens_per_step": job.tokens_per_step if job.tokens_per_step == job.tokens_per_step else None,
            }
            for job in jobs
        ],
    }


def _code() -> Iterator[Path]:
    for path in sorted((CODE / "plantgfm").rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            yield path


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    """A file with neither its owner nor its time: the same content gives the same bytes."""
    entry = tarfile.TarInfo(name)
    entry.size = path.stat().st_size
    with path.open("rb") as stream:
        tar.addfile(entry, stream)


def _add_text(tar: tarfile.TarFile, name: str, content: str) -> None:
    encoded = content.encode()
    entry = tarfile.TarInfo(name)
    entry.size = len(encoded)
    tar.addfile(entry, io.BytesIO(encoded))

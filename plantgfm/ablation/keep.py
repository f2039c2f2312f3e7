"""Stored metrics as small files for good: what a report is drawn from, without the runs.

A kept folder is read like a sweep's own: `--report` draws from it, and a sweep into it skips what is there.
"""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

from plantgfm.ablation.sweep import METRICS_FOLDER, PROBES_FOLDER, SUFFIXES
from plantgfm.training.run_folder import read_json

KEPT_FOLDERS = (METRICS_FOLDER, PROBES_FOLDER)
"""Folders of a question that hold what reports are drawn from."""
COMMANDS = ("command", "train_command")
_ABSOLUTE = re.compile(r"(?<![\w.])/(?:[^/\s'\",\]]+/)*(\w[^/\s'\",\]]*)/?")


def keep_sweep(folder: Path, question: str, out: Path) -> list[Path]:
    """Write a question's metrics, gzipped, where a project keeps them.

    The same metrics give the same bytes. Absolute paths in commands are cut to their names: what is kept says nothing
    of the machine. Files of `out` that the sweep does not have are left as they are.

    Args:
        folder: of the sweep.
        question: name of the experiment.
        out: folder to keep them in; made if it is not there.

    Returns:
        The files.

    Raises:
        ValueError: when there are no metrics, or `out` is the sweep's own folder.
    """
    if folder.resolve() == out.resolve():
        raise ValueError(f"{out} is the sweep's own folder: choose another one to keep its metrics in")
    found = [path for name in KEPT_FOLDERS for path in sorted((folder / question / name).glob(f"*{SUFFIXES[0]}"))]
    if not found:
        raise ValueError(f"{folder / question} holds no metrics: run `plantgfm ablate {question}` first")
    return [_keep(path, out / path.relative_to(folder)) for path in found]


def _keep(path: Path, target: Path) -> Path:
    target = target.with_name(target.name.removesuffix(SUFFIXES[0]) + SUFFIXES[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    part.write_bytes(gzip.compress(_portable(path).encode(), mtime=0))
    part.replace(target)
    return target


def _portable(path: Path) -> str:
    """A file of metrics or probes without the folders of this machine; nothing else of it changes."""
    stated, text = read_json(path), path.read_text(encoding="utf-8")
    for name in COMMANDS:
        if name in stated:
            was, now = stated[name], _ABSOLUTE.sub(r"\1", stated[name])
            text = text.replace(json.dumps(was), json.dumps(now))
    return text

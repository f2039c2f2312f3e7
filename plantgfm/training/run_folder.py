"""A run is a folder with an identity: the settings that shape its result.

    runs/<name>/run.json        identity, its fingerprint, and the identities it had before
    runs/<name>/checkpoints/    one folder a kept step
    runs/<name>/metrics.jsonl   one line a logged step
    runs/<name>/throughput.json how fast each call was, and what that makes for the whole
    runs/<name>/ended.json      why the last call ended early: a signal, or an error; gone once a call goes on
    runs/<name>/result.json     written once, at the end

The same identity continues or is done; another one is refused, naming what differs.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from plantgfm.identity import fingerprint, plain
from plantgfm.identity import read_json as read_object

RUN_FILE = "run.json"
RESULT_FILE = "result.json"
ENDED_FILE = "ended.json"
LOCK_FILE = ".lock"
CLAIM_FILE = ".claim"
_ABSENT = "absent"


class RunStatus(Enum):
    """What a run folder says of the run that wants to use it."""

    NEW = "new"
    CONTINUE = "continue"
    DONE = "done"


class RunMismatch(ValueError):
    """A run folder, or a checkpoint, belongs to a run with other settings."""


class RunBusy(ValueError):
    """Another process trains in the same run folder."""


def open_run(run_dir: Path, identity: dict[str, Any], *, accept: Sequence[str] = ()) -> RunStatus:
    """Claim a run folder for the run that `identity` describes.

    A new folder gets its `run.json`. With `accept`, keys that differ below the given dotted names are taken over, and
    the earlier identity goes to the `lineage` of `run.json`.

    Args:
        run_dir: the folder, made where it is missing.
        identity: every setting that shapes the result, nested as you like; dataclasses and enums are fine.
        accept: dotted names of keys that may differ, as "corpus" or "corpus.fingerprint".

    Raises:
        RunMismatch: when the folder belongs to a run with other settings, with every key that differs.
        ValueError: when the folder holds other things than a run.
    """
    identity = plain(identity)
    path = run_dir / RUN_FILE
    if not path.is_file():
        # Hidden files (a lock, notes of a launcher) claim nothing; a `.part` is a claim that a crash cut short.
        if run_dir.is_dir() and any(item.name[0] != "." and item.suffix != ".part" for item in run_dir.iterdir()):
            raise ValueError(f"{run_dir} holds files but no {RUN_FILE}: it is no run folder; choose another run name")
        run_dir.mkdir(parents=True, exist_ok=True)
        if _claim(path, identity):
            return RunStatus.NEW
    known = _read_run(path)
    changed = require_same(known["identity"], identity, accept=accept, where=run_dir)
    if changed:
        _write_run(path, identity, lineage=[*known["lineage"], known["identity"]])
        (run_dir / RESULT_FILE).unlink(missing_ok=True)
    return RunStatus.DONE if (run_dir / RESULT_FILE).is_file() else RunStatus.CONTINUE


def _claim(path: Path, identity: dict) -> bool:
    """Write the `run.json` of a new run, unless another process was quicker."""
    with (path.parent / CLAIM_FILE).open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # held for the time of this write; `locked` is for the whole training
        if path.is_file():
            return False
        _write_run(path, identity, lineage=[])
        return True


def _write_run(path: Path, identity: dict, *, lineage: list) -> None:
    write_json(path, {"fingerprint": fingerprint(identity), "identity": identity, "lineage": lineage})


def require_same(there: dict, here: dict, *, accept: Sequence[str] = (), where: Path) -> dict[str, tuple]:
    """The keys that differ, all of them below `accept`, as {dotted name: (there, here)}.

    Raises:
        RunMismatch: when a key differs that is not accepted.
    """
    changed = differences(there, here)
    refused = {key: pair for key, pair in changed.items() if not _below(key, accept)}
    if refused:
        said = "; ".join(f"{key}: {old} there, {new} here" for key, (old, new) in sorted(refused.items()))
        raise RunMismatch(
            f"{where} belongs to a run with other settings: {said}; choose another run name, set these back, or accept "
            f"the change: 'run.accept=[{','.join(sorted(refused))}]'"
        )
    return changed


def known_identities(run_dir: Path) -> list[dict]:
    """The identity of a run folder and those it had before, [] where it is no run folder."""
    path = run_dir / RUN_FILE
    if not path.is_file():
        return []
    known = _read_run(path)
    return [known["identity"], *known["lineage"]]


def _below(key: str, names: Sequence[str]) -> bool:
    return any(key == name or key.startswith(name + ".") for name in names)


def differences(there: dict, here: dict) -> dict[str, tuple]:
    """Keys whose values differ between two nested dicts, as {dotted name: (there, here)}."""
    there, here = dict(_flat(plain(there))), dict(_flat(plain(here)))
    names = sorted(there.keys() | here.keys())
    pairs = {name: (there.get(name, _ABSENT), here.get(name, _ABSENT)) for name in names}
    return {name: (old, new) for name, (old, new) in pairs.items() if old != new}


def _flat(tree: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, json.dumps(tree)


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold a run folder for this process; the system lets go of it when the process dies, however it dies.

    Raises:
        RunBusy: when another process holds it.
    """
    with (run_dir / LOCK_FILE).open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunBusy(f"another process trains in {run_dir}: wait for it, or choose another run name") from error
        yield


def is_held(run_dir: Path) -> bool:
    """Whether some process trains in a run folder now; nothing is changed by asking."""
    path = run_dir / LOCK_FILE
    if not path.is_file():
        return False
    with path.open("r") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextlib.contextmanager
def keeping_the_end(run_dir: Path) -> Iterator[None]:
    """Leave a note of the error that ends the block, if one does; an older note goes when the block begins."""
    path = run_dir / ENDED_FILE
    path.unlink(missing_ok=True)
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(OSError):  # a full disk may be the error
            note_end(run_dir, f"{type(error).__name__}: {error}", failed=not isinstance(error, KeyboardInterrupt))
        raise


def note_end(run_dir: Path, why: str, *, failed: bool) -> None:
    """Leave a note of why a call ended before its last step."""
    write_json(run_dir / ENDED_FILE, {"why": why, "failed": failed})


def _read_run(path: Path) -> dict[str, Any]:
    known = read_json(path)
    if not isinstance(known.get("identity"), dict) or not isinstance(known.get("lineage"), list):
        raise ValueError(f"{path} lacks identity or lineage: restore it, or choose another run name")
    return known


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file.

    Raises:
        ValueError: when it is no JSON, with the path.
    """
    return read_object(path, remedy="restore it, or choose another run name")


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that the file is whole or absent, even when the machine goes down."""
    part = path.with_name(path.name + ".part")
    with part.open("w") as stream:
        stream.write(json.dumps(plain(value), indent=2, sort_keys=True) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)

"""The folder of a world: written whole or not at all, and reused when it already holds the same settings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plantgfm.formats.staging import hold
from plantgfm.identity import canonical_json, fingerprint, plain, read_json

WORLD_FILE = "world.json"

Progress = Callable[[str, int, int], None]


def slug(species: str) -> str:
    """A species name as a file name."""
    return species.lower().replace(" ", "_")


def build_once(out: Path, config: Any, *, kind: str, version: int, build: Callable[[Path], None]) -> Path:
    """Let `build` fill a folder beside `out` that takes its name when whole; return at once where it is there already.

    A process that wants a world which another one is making waits for it.

    Raises:
        ValueError: when `out` holds another world, or something that is no world.
    """
    out = Path(out)
    identity = {"kind": kind, "version": version, "config": plain(config)}
    mark = fingerprint(identity)
    if _holds(out, mark):
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.{mark}.part")
    descriptor = hold(part, wait=True)
    try:
        if _holds(out, mark):
            return out
        for left in part.iterdir():  # of a process that was killed
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        build(part)
        (part / WORLD_FILE).write_text(canonical_json({**identity, "fingerprint": mark}) + "\n")
        if out.is_dir():
            out.rmdir()  # empty, or `_holds` had refused it
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        os.close(descriptor)
    return out


def _holds(out: Path, mark: str) -> bool:
    """Whether `out` is this world; False where it is absent or an empty folder."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    path = out / WORLD_FILE
    if not path.is_file():
        raise ValueError(f"{out} holds something that is no simulated world: name another folder or empty this one")
    found = read_json(path, remedy="name another folder or empty this one").get("fingerprint")
    if found != mark:
        raise ValueError(
            f"{out} holds world {found}, the settings describe {mark}: name another folder, or delete this one"
        )
    return True

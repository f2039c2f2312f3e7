"""Compiled programs: how long they took, and where they are kept for the next process."""

from __future__ import annotations

import functools
import platform
from pathlib import Path

import jax

from plantgfm.identity import fingerprint

_EVENT = "/jax/core/compile/backend_compile_duration"  # XLA alone; with a persistent cache, reading from it
_PROCESSOR = Path("/proc/cpuinfo")


@functools.cache
def _durations() -> list[float]:
    """Seconds of every compilation since the first call, which begins to listen: JAX has no way to stop it again."""
    found: list[float] = []

    def listen(event: str, duration: float, **more: object) -> None:
        if event == _EVENT:
            found.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return found


def compile_seconds() -> float:
    """Seconds that XLA has compiled in this process since this was first asked for."""
    return sum(_durations())


def keep_programs(folder: Path) -> Path:
    """Keep what takes more than a second to compile below a folder, and look there first.

    Hosts with other processors may share the folder: a program for one may hold instructions that another lacks, and
    JAX's own key of a program does not tell them apart, so each kind has a folder of its own.

    Returns:
        That folder.
    """
    path = folder / fingerprint([jax.__version__, platform.machine(), _abilities()])
    jax.config.update("jax_compilation_cache_dir", str(path.absolute()))
    return path


def _abilities() -> str:
    """What this processor can do, in the words of Linux; elsewhere its name."""
    if not _PROCESSOR.is_file():
        return platform.processor()
    names = ("flags", "Features", "model name")
    lines = _PROCESSOR.read_text(errors="replace").splitlines()
    return "\n".join(sorted({line for line in lines if line.startswith(names)}))

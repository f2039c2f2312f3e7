"""A folder of files that belong together: they are written beside it, and take their places in one go."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Staging:
    """Files that wait for their places in a folder."""

    def __init__(self, folder: Path, work: Path):
        self.folder, self.work = folder, work  # where they belong, and where to write them

    def publish(self, stale: Iterable[str] = ()) -> None:
        """Give all files written so far their places, after those named `stale` have gone from there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in stale:
            (self.folder / name).unlink(missing_ok=True)
        for path in sorted(self.work.iterdir()):
            path.replace(self.folder / path.name)


@contextmanager
def staging(folder: Path) -> Iterator[Staging]:
    """A place beside a folder to write into, for one process at a time; others wait until the block ends.

    What an error or a kill leaves there never reaches the folder; the next one clears it away.
    """
    work = folder.with_name(f".{folder.name}.part")
    descriptor = hold(work, wait=True)
    try:
        for left in work.iterdir():  # of a process that was killed
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield Staging(folder, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        os.close(descriptor)


def hold(folder: Path, *, wait: bool) -> int | None:
    """A folder, made where there is none, for this process alone, until it closes the descriptor or dies.

    Args:
        folder: of work in progress; whoever holds it may take it away.
        wait: until whoever holds it lets go; otherwise None is given at once.
    """
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # the process before us has just taken it away
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass
        os.close(descriptor)  # what we hold is no longer in its place


def check_folder(folder: Path) -> None:
    """Raise ValueError unless a folder is there, or can be made."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f"{folder} can't be a folder: {there} is a file; name another one")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{folder} can't be written: {there} is closed to us; name another folder")

"""Folders that appear whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_folder(out: Path, *, mark: str, what: str, error: type[ValueError] = ValueError) -> Iterator[Path]:
    """A folder to write into, which takes the name `out` only when the block ends without an error.

    Args:
        out: its name in the end; an existing folder is replaced only if it holds `mark`. A link stays one, what it
            leads to is written.
        mark: name of the file that tells such a folder.
        what: such a folder in words, for the message.
        error: what to raise.

    Raises:
        ValueError: when `out` holds something else.
    """
    if out.exists() and not (out / mark).is_file():
        raise error(f"{out} exists and is no {what}: name another folder or remove it")
    out = out.resolve()
    work, old = out.with_name(f".{out.name}.partial"), out.with_name(f".{out.name}.old")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        yield work
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)
            out.rename(old)
        work.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)

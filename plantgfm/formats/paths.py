"""Paths as people and tables write them: `~` for home, relative to the table, and one error where there is no file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from plantgfm.formats.errors import FormatError, one_line

_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def user_path(text: str | Path) -> Path:
    """The path, `~` and `~name` replaced by a home; as it stands where nobody has that name."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # "~name" of nobody is a name like any other
        return Path(text)


def file_beside(table: Path, name: str, column: str) -> Path:
    """The file that a cell of a table names, relative to the table.

    Raises:
        ValueError: no file of that name, with the column.
    """
    found = table.parent / user_path(name)
    try:
        there = found.is_file()
    except OSError as error:  # the name is too long, or the folder is closed to us
        raise ValueError(f"{column} {str(found)!r} cannot be opened ({error.strerror})") from None
    if not there:
        raise ValueError(f"{column} {str(found)!r} does not exist or is no file")
    return found


def check_file(path: Path) -> None:
    """Raise FormatError unless the path is a regular, readable, non-empty file."""
    try:
        found = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise FormatError(path, _absence(path, error)) from None
    if stat.S_ISDIR(found.st_mode):
        raise FormatError(path, "is a directory; give a file")
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise FormatError(path, f"is no regular file but {kind}; copy its content to one")
    if not os.access(path, os.R_OK):
        raise FormatError(path, "cannot be read; check its permissions")
    if found.st_size == 0:
        raise FormatError(path, "is empty")


def _absence(path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        try:
            return f"does not exist: it is a link to {one_line(str(path.readlink()))!r}, and nothing is there"
        except OSError:
            return "does not exist"
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return f"cannot be opened ({reason}); check the path and the permissions of its folders"

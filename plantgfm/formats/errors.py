"""The one error that every reader and writer of this room raises."""

from __future__ import annotations

from pathlib import Path


class FormatError(ValueError):
    """A file that is not what it should be: says which file, which record, which line, and what to do.

    Attributes:
        path: the file.
        record: name of the record, where one is known.
        line: 1-based line of the (decompressed) text, where one is known.
        message: what is wrong, with the value and the remedy.
    """

    def __init__(self, path: str | Path, message: str, record: str | None = None, line: int | None = None):
        self.path, self.message, self.record, self.line = Path(path), message, record, line
        where = str(path)
        if record is not None:
            where += f", record {record}"
        if line is not None:
            where += f", line {line}"
        super().__init__(f"{where}: {message}")

    def __reduce__(self):
        return type(self), (self.path, self.message, self.record, self.line)

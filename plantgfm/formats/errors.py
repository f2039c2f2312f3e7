"""The one error that every reader and writer of this room raises."""

from __future__ import annotations

from pathlib import Path

_SHOWN_CHARACTERS = 480  # of a message: a file of one long line must not fill the terminal


class FormatError(ValueError):
    """A file that is not what it should be: says which file, which record, which line, and what to do.

    The text is one line, whatever the file holds: what cannot be printed is escaped, the middle of a long message left
    out.

    Attributes:
        path: the file.
        record: name of the record, where one is known.
        line: 1-based line of the (decompressed) text, where one is known.
        message: what is wrong, with the value and the remedy.
    """

    def __init__(self, path: str | Path, message: str, record: str | None = None, line: int | None = None):
        self.path, self.message, self.record, self.line = Path(path), message, record, line
        where = one_line(str(path))
        if record is not None:
            where += f", record {shortened(one_line(record), 120)}"
        if line is not None:
            where += f", line {line}"
        super().__init__(f"{where}: {shortened(one_line(message))}")

    def __reduce__(self):
        return type(self), (self.path, self.message, self.record, self.line)


def one_line(text: str) -> str:
    """The text with line breaks, controls and lone surrogates as their escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shortened(text: str, characters: int = _SHOWN_CHARACTERS) -> str:
    """A long text without its middle: in a message the value stands at the start and the remedy at the end."""
    if len(text) <= characters:
        return text
    part = characters // 2
    return f"{text[:part]} […] {text[-part:]}"

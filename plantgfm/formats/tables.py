"""Small tables: CSV or TSV read with line numbers and checks; TSV written atomically."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from plantgfm.formats.errors import FormatError
from plantgfm.formats.streams import atomic_text, text_lines


def read_rows(path: str | Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Columns, and (1-based line, row) of a CSV or TSV table with a header.

    A tab in the header makes it TSV; a semicolon and no comma, CSV as it is written where the comma is decimal. Columns
    at the end without a name and without a cell are a spreadsheet's, and are left out.

    Raises:
        FormatError: no header, a repeated or empty column name, a row with another number of cells, an open quote.
    """
    path = Path(path)
    lines = [line for _, line in text_lines(path)]
    cells = _cells(path, lines, _delimiter(next((line for line in lines if line.strip()), "")))
    header = next(cells, None)
    if header is None:
        raise FormatError(path, "table without a header")
    line, names, rows = *header, list(cells)
    while len(names) > 1 and not names[-1].strip() and not any(len(v) == len(names) and v[-1].strip() for _, v in rows):
        rows = [(at, values[: len(names) - 1]) for at, values in rows]  # a spreadsheet's empty columns
        names = names[:-1]
    columns = _check_columns(path, line, names)
    return columns, [(at, _row(path, at, columns, values)) for at, values in rows]


def _delimiter(header: str) -> str:
    return "\t" if "\t" in header else ";" if ";" in header and "," not in header else ","


def _cells(path: Path, lines: list[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter, strict=True)
    line = 1
    while True:
        try:
            values = next(reader, None)
        except csv.Error as error:
            raise FormatError(path, f"broken table ({error}); check the quotes", line=line) from None
        if values is None:
            return
        if len(values) > 1 or "".join(values).strip():
            yield line, values
        line = reader.line_num + 1


def _check_columns(path: Path, line: int, columns: list[str]) -> list[str]:
    columns = [name.strip() for name in columns]
    for name in columns:
        if not name:
            raise FormatError(path, f"column {columns.index(name) + 1} has no name", line=line)
        if columns.count(name) > 1:
            raise FormatError(path, f"column {name!r} stands twice in the header", line=line)
    return columns


def _row(path: Path, line: int, columns: list[str], values: list[str]) -> dict[str, str]:
    if len(values) != len(columns):
        raise FormatError(path, f"{len(values)} cells where the header has {len(columns)}", line=line)
    return dict(zip(columns, (value.strip() for value in values)))


def require_columns(path: Path, columns: Sequence[str], required: Iterable[str], known: Iterable[str]) -> None:
    """Raise FormatError, at line 1, for a missing or an unknown column."""
    if missing := [name for name in required if name not in columns]:
        raise FormatError(path, f"column {missing[0]!r} is missing; found {', '.join(columns)}", line=1)
    known = list(known)
    if unknown := [name for name in columns if name not in known]:
        raise FormatError(path, f"unknown column {unknown[0]!r}; known are {', '.join(known)}", line=1)


def read_tsv(path: str | Path, *, required: Sequence[str] = ()) -> list[dict[str, str]]:
    """The rows of a table with a header, as text; FormatError where a required column is missing."""
    columns, rows = read_rows(path)
    require_columns(Path(path), columns, required, columns)
    return [row for _, row in rows]


def write_tsv(path: str | Path, rows: Iterable[Mapping[str, Any]], *, columns: Sequence[str]) -> None:
    """Write rows as TSV with a header, `None` as an empty cell. Atomic.

    Raises:
        FormatError: a row whose keys are not the columns, or a value with a tab, a quote at its start or a line break.
    """
    path = Path(path)
    with atomic_text(path) as stream:
        stream.write("\t".join(columns) + "\n")
        for number, row in enumerate(rows, 2):
            if set(row) != set(columns):
                raise FormatError(path, f"row has {sorted(row)}, the columns are {sorted(columns)}", line=number)
            stream.write("\t".join(_cell(path, row[name], number) for name in columns) + "\n")


def fits_a_cell(text: str) -> bool:
    """Whether a table can hold it: no tab, no line break, no quote at its start."""
    return not ("\t" in text or "\n" in text or "\r" in text or text.startswith('"'))


def _cell(path: Path, value: Any, line: int) -> str:
    text = "" if value is None else str(value)
    if not fits_a_cell(text):
        raise FormatError(path, f"value {text!r} cannot stand in a TSV cell", line=line)
    return text

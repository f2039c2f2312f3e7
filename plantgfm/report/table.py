"""One table, three dresses: aligned text for a terminal, Markdown, HTML."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MISSING = "–"


@dataclass(frozen=True)
class Table:
    """Plain data under a title.

    Raises:
        ValueError: a row with another number of cells, or a format for a column that is not there.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""
    formats: Mapping[str, str] = field(default_factory=dict)  # column -> format specification, like ".3f" or ".1%"

    def __post_init__(self):
        if unknown := set(self.formats) - set(self.columns):
            raise ValueError(f"table {self.title!r}: formats for columns that are not there: {sorted(unknown)}")
        for number, row in enumerate(self.rows, 1):
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.title!r}: row {number} has {len(row)} cells, not {len(self.columns)}")

    def cells(self) -> list[list[str]]:
        """The cells as text: numbers by the column's format, whole numbers with thousands parted, None as a dash."""
        return [
            [format_cell(cell, self.formats.get(name, "")) for name, cell in zip(self.columns, row)]
            for row in self.rows
        ]

    def is_numeric(self) -> list[bool]:
        """Which columns hold numbers only, and so stand on the right."""
        columns = [[row[index] for row in self.rows] for index in range(len(self.columns))]
        return [_all_numbers(column) for column in columns]

    def to_text(self) -> str:
        """Aligned text that ends without a line break."""
        cells, right = self.cells(), self.is_numeric()
        widths = [max(map(text_width, column)) for column in zip(self.columns, *cells)]
        lines = [self.title] if self.title else []
        lines += [_align(self.columns, widths, right), "  ".join("─" * width for width in widths)]
        lines += [_align(row, widths, right) for row in cells]
        return "\n".join(line.rstrip() for line in [*lines, *filter(None, [self.note])])

    def to_markdown(self) -> str:
        """A pipe table, title above in bold, note below in italics."""
        head = "| " + " | ".join(map(escape_markdown, self.columns)) + " |"
        rule = "|" + "|".join(" ---: " if right else " --- " for right in self.is_numeric()) + "|"
        body = ["| " + " | ".join(map(escape_markdown, row)) + " |" for row in self.cells()]
        title = [f"**{escape_markdown(self.title)}**", ""] if self.title else []
        note = ["", f"*{escape_markdown(self.note)}*"] if self.note else []
        return "\n".join([*title, head, rule, *body, *note])

    def to_html(self) -> str:
        """A `<table>` with caption; numbers carry the class `number`."""
        classes = [' class="number"' if right else "" for right in self.is_numeric()]
        head = "".join(f'<th scope="col"{css}>{html.escape(name)}</th>' for css, name in zip(classes, self.columns))
        body = "\n".join(
            "<tr>" + "".join(f"<td{css}>{html.escape(cell)}</td>" for css, cell in zip(classes, row)) + "</tr>"
            for row in self.cells()
        )
        caption = f"<caption>{html.escape(self.title)}</caption>\n" if self.title else ""
        note = f'\n<p class="note">{html.escape(self.note)}</p>' if self.note else ""
        return f"<table>\n{caption}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>{note}"


def table_of(
    title: str, rows: Sequence[Mapping[str, Any]], *, note: str = "", formats: Mapping[str, str] | None = None
) -> Table:
    """A table from rows of equal keys, whose order gives the columns.

    Raises:
        ValueError: no row, or rows with other keys than the first.
    """
    if not rows:
        raise ValueError(f"table {title!r} needs at least one row to know its columns")
    columns = list(rows[0])
    for number, row in enumerate(rows, 1):
        if set(row) != set(columns):
            raise ValueError(f"table {title!r}: row {number} has the keys {list(row)}, not {columns}")
    return Table(title, columns, [[row[name] for name in columns] for row in rows], note, formats or {})


def format_cell(value: Any, specification: str = "") -> str:
    """One cell as text; a format that is meant for numbers leaves text alone."""
    if value is None or (isinstance(value, float) and value != value):
        return MISSING
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if not _is_number(value):
        return " ".join(str(value).split())
    if specification:
        return format(value, specification)
    return (
        f"{value:,}"
        if float(value).is_integer() and abs(value) < 1e15 and not isinstance(value, float)
        else f"{value:.4g}"
    )


def _is_number(value: Any) -> bool:
    return not isinstance(value, str | bool | np.bool_) and hasattr(value, "__float__") and hasattr(value, "__format__")


def _all_numbers(column: Sequence[Any]) -> bool:
    said = [value for value in column if value is not None]
    return bool(said) and all(_is_number(value) for value in said)


def text_width(text: str) -> int:
    """Columns that a text takes in a terminal: wide letters take two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _align(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    spaces = (" " * (width - text_width(cell)) for cell, width in zip(cells, widths))
    return "  ".join(pad + cell if flush else cell + pad for cell, pad, flush in zip(cells, spaces, right))


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it stands, on one line."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join("\\" + c if c in "\\`*_[]|#~$" else c for c in plain)

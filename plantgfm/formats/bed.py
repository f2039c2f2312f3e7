"""BED: 0-based and half-open in the file as here; the first six columns are read, further ones are left aside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from plantgfm.formats.errors import FormatError
from plantgfm.formats.numbers import decimal, is_whole
from plantgfm.formats.streams import atomic_text, text_lines
from plantgfm.sequence import Interval

_MIN_COLUMNS = 3
_MAX_COLUMNS = 12


@dataclass(frozen=True)
class BedRow:
    """One line of a BED file."""

    interval: Interval  # strand "." where the file has none
    name: str = ""
    score: float | None = None


def read_bed(path: str | Path, *, lengths: Mapping[str, int] | None = None) -> list[BedRow]:
    """The rows of a BED file of 3 to 12 columns, in file order; `track`, `browser` and comment lines are skipped.

    Columns are parted by tabs, or by white space where a line has no tab.

    Args:
        path: plain, gzip or bgzip.
        lengths: bp of each sequence; where given, every row must lie inside.

    Raises:
        FormatError: too few columns, bad coordinates, score or strand, an unknown sequence, coordinates past the end.
    """
    path = Path(path)
    rows = []
    for number, line in text_lines(path):
        if not line.strip() or re.match(r"#|track(\s|$)|browser(\s|$)", line):
            continue
        columns = line.split("\t") if "\t" in line else line.split()
        try:
            rows.append(_row(columns))
            _check_inside(rows[-1].interval, lengths)
        except ValueError as error:
            raise FormatError(path, str(error), columns[0] or None, number) from None
    return rows


def _row(columns: list[str]) -> BedRow:
    if not _MIN_COLUMNS <= len(columns) <= _MAX_COLUMNS:
        raise ValueError(f"{len(columns)} columns where BED has {_MIN_COLUMNS} to {_MAX_COLUMNS}")
    sequence, start, end, name, score, strand = (*columns, *("", ".", ".")[len(columns) - 3 :])[:6]
    if not sequence:
        raise ValueError("row without a sequence name")
    if not (is_whole(start) and is_whole(end)):
        raise ValueError(f"start {start!r} and end {end!r} must be whole numbers, 0 or more, of at most 18 digits")
    if int(start) > int(end):
        raise ValueError(f"start {start} lies after end {end}")
    if strand not in ("+", "-", "."):
        raise ValueError(f"strand {strand!r} is none of + - .")
    interval = Interval(sequence, int(start), int(end), strand)
    return BedRow(interval, "" if name == "." else name, None if score in (".", "") else decimal(score, "score"))


def _check_inside(where: Interval, lengths: Mapping[str, int] | None) -> None:
    if lengths is None:
        return
    if where.sequence not in lengths:
        raise ValueError("sequence is not in the FASTA file")
    if where.end > lengths[where.sequence]:
        raise ValueError(f"end {where.end} lies past the sequence's end, {lengths[where.sequence]}")


def write_bed(path: str | Path, rows: Iterable[BedRow], *, lengths: Mapping[str, int] | None = None) -> None:
    """Write six columns a row, `.` where a name or score is missing. Atomic.

    Raises:
        FormatError: a name with a tab or line break, a strand BED has not, or past the end of its sequence.
    """
    path = Path(path)
    with atomic_text(path) as stream:
        stream.write("#sequence\tstart\tend\tname\tscore\tstrand\n")  # so that no rows are not an empty file
        for number, row in enumerate(rows, 2):
            columns = _columns(row)
            try:
                if not row.interval.sequence or row.interval.sequence.startswith("#"):
                    raise ValueError(f"sequence name {row.interval.sequence!r} cannot open a BED line")
                if any(c in text for text in columns for c in "\t\r\n"):
                    raise ValueError(f"name {row.name!r} or sequence name holds a tab or a line break")
                if re.match(r"(track|browser)$", row.interval.sequence):
                    raise ValueError(f"sequence name {row.interval.sequence!r} is a keyword of BED")
                _row(columns)
                _check_inside(row.interval, lengths)
            except ValueError as error:
                raise FormatError(path, str(error), row.interval.sequence or None, number) from None
            stream.write("\t".join(columns) + "\n")


def write_bedgraph(path: str | Path, rows: Iterable[tuple[Interval, float]]) -> None:
    """Write sequence, start, end, value a row, as given: sorted, and no two rows of one base. Atomic.

    Raises:
        FormatError: a sequence name that a line cannot open with, a row that overlaps the one before or goes back.
    """
    path = Path(path)
    seen: set[str] = set()
    last = Interval("", 0, 0)
    with atomic_text(path) as stream:
        stream.write("#sequence\tstart\tend\tvalue\n")
        for number, (where, value) in enumerate(rows, 2):
            name = where.sequence
            if not name or re.search(r"\s", name) or re.match(r"#|(track|browser)$", name):
                raise FormatError(path, f"sequence name {name!r} cannot open a bedGraph line", name or None, number)
            if name == last.sequence and where.start < last.end or name != last.sequence and name in seen:
                raise FormatError(path, "rows overlap or are not sorted", name, number)
            stream.write(f"{name}\t{where.start}\t{where.end}\t{value:.6g}\n")
            seen.add(name)
            last = where


def _columns(row: BedRow) -> list[str]:
    where = row.interval
    score = "." if row.score is None else repr(float(row.score)).removesuffix(".0")
    return [where.sequence, str(where.start), str(where.end), row.name or ".", score, where.strand]

"""Reports of NCBI's Foreign Contamination Screen: FCS-GX action reports and FCS-adaptor reports.

Formats: https://github.com/ncbi/fcs/wiki (pages "FCS-GX output" and "FCS-adaptor output"), the files in `examples/` of
ncbi/fcs, and `scripts/action_report.py` of ncbi/fcs-gx, which writes the former. Both count from 1, both ends included;
rows here are 0-based and half-open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from plantgfm.formats.errors import FormatError
from plantgfm.formats.numbers import whole
from plantgfm.formats.streams import text_lines
from plantgfm.identity import parse_json
from plantgfm.sequence import Interval

GX_COLUMNS = ("seq_id", "start_pos", "end_pos", "seq_len", "action", "div", "agg_cont_cov", "top_tax_name")
GX_ACTIONS = ("EXCLUDE", "TRIM", "FIX", "REVIEW", "REVIEW_RARE", "INFO", "MITOCHONDRION", "PLASTID", "PLASMID")
ADAPTOR_COLUMNS = ("accession", "length", "action", "range", "name")
ADAPTOR_ACTIONS = ("ACTION_EXCLUDE", "ACTION_TRIM")

_NO_ACTIONS = ("ACCEPT", "KEEP", "MEH")  # written by a debug run only: nothing is to be done
_HEADERS = {("FCS genome report", 2), ("GX taxonomy analysis report", 1)}  # the latter: up to FCS-GX 0.2, same columns


@dataclass(frozen=True)
class ScreenRow:
    """One action that a screen recommends on an interval of a sequence."""

    interval: Interval
    sequence_bp: int  # length of the whole sequence
    action: str  # one of `GX_ACTIONS`, or EXCLUDE and TRIM of FCS-adaptor
    source: str  # taxonomic division and organism, or the adaptor
    coverage_percent: int | None  # of the interval by alignments to that division; None for an adaptor
    line: int


def read_fcs_gx(path: str | Path) -> list[ScreenRow]:
    """The rows of an FCS-GX action report (`*.fcs_gx_report.txt`), in file order; a clean genome has none.

    The first line is `##` and JSON, the second `#` and the eight columns of `GX_COLUMNS`; `--rules` adds a ninth.

    Raises:
        FormatError: another kind of file (FCS-GX writes a taxonomy report, too), a bad header, cell or coordinate.
    """
    path = Path(path)
    lines = text_lines(path)
    number, line = next(lines, (1, ""))
    _check_gx_header(path, number, line)
    columns = _columns(path, lines, GX_COLUMNS, optional="rules", what="an FCS-GX action report")
    rows = []
    for number, cells in _rows(path, lines, columns):
        name, start, end, length, action, division, coverage, organism = cells[: len(GX_COLUMNS)]
        if action in _NO_ACTIONS:
            continue
        try:
            if action not in GX_ACTIONS:
                raise ValueError(f"action {action!r} is none of {', '.join(GX_ACTIONS)}")
            total, share = whole(length, "seq_len"), whole(coverage, "agg_cont_cov")
            interval = _interval(name, whole(start, "start_pos"), whole(end, "end_pos"), total)
        except ValueError as error:
            raise FormatError(path, str(error), name or None, number) from None
        rows.append(ScreenRow(interval, total, action, f"{division}, {organism}".strip(", "), share, number))
    return rows


def read_fcs_adaptor(path: str | Path) -> list[ScreenRow]:
    """The rows of an FCS-adaptor report (`fcs_adaptor_report.txt`), one for each range; a clean genome has none.

    Actions lose their prefix: EXCLUDE (the whole sequence; its range may be empty) and TRIM (also inside a sequence).

    Raises:
        FormatError: another kind of file, a bad header, cell or coordinate.
    """
    path = Path(path)
    lines = text_lines(path)
    columns = _columns(path, lines, ADAPTOR_COLUMNS, optional="", what="an FCS-adaptor report")
    rows = []
    for number, (name, length, action, ranges, source) in _rows(path, lines, columns):
        try:
            if action not in ADAPTOR_ACTIONS:
                raise ValueError(f"action {action!r} is none of {', '.join(ADAPTOR_ACTIONS)}")
            total, action = whole(length, "length"), action.removeprefix("ACTION_")
            all_of_it = action == "EXCLUDE" and not ranges
            intervals = [_interval(name, 1, total, total)] if all_of_it else _ranges(name, ranges, total)
        except ValueError as error:
            raise FormatError(path, str(error), name or None, number) from None
        text = source.removeprefix("CONTAMINATION_SOURCE_TYPE_")
        rows += [ScreenRow(interval, total, action, text, None, number) for interval in intervals]
    return rows


def _check_gx_header(path: Path, number: int, line: str) -> None:
    try:
        header = parse_json(line.removeprefix("##")) if line.startswith("##") else None
    except ValueError as error:
        raise FormatError(path, f"the header {error}", line=number) from None
    kind = header[0] if isinstance(header, list) and header else None
    if not (isinstance(kind, list) and len(kind) == 3 and isinstance(kind[0], str) and isinstance(kind[1], int)):
        text = 'the first line of an FCS-GX action report is ##[["FCS genome report", 2, 1], {...}]'
        raise FormatError(path, f"{text}; found {line[:40]!r}", line=number)
    if (kind[0], kind[1]) not in _HEADERS:
        raise FormatError(path, f"is {kind[0]!r} version {kind[1]}; 'FCS genome report' version 2 is read", line=number)


def _columns(
    path: Path, lines: Iterator[tuple[int, str]], expected: tuple[str, ...], *, optional: str, what: str
) -> list[str]:
    number, line = next(lines, (None, ""))
    found = line.removeprefix("#").split("\t")
    if not line.startswith("#") or tuple(found) not in (expected, (*expected, optional)):
        text = f"{what} names its columns #{', '.join(expected)}, tab-separated"
        raise FormatError(path, f"{text}; found {line[:60]!r}", line=number)
    return found


def _rows(path: Path, lines: Iterator[tuple[int, str]], columns: list[str]) -> Iterator[tuple[int, list[str]]]:
    for number, line in lines:
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != len(columns):
            raise FormatError(path, f"{len(cells)} columns where the header has {len(columns)}", line=number)
        if not cells[0]:
            raise FormatError(path, "row without a sequence name", line=number)
        yield number, cells


def _ranges(name: str, text: str, total: int) -> list[Interval]:
    found = [re.fullmatch(r"([0-9]{1,18})\.\.([0-9]{1,18})", part.strip()) for part in text.split(",")]
    if not all(found):
        raise ValueError(f"range {text!r} is no start..end, or several of them with commas between")
    return [_interval(name, int(part.group(1)), int(part.group(2)), total) for part in found]


def _interval(name: str, start: int, end: int, total: int) -> Interval:
    if not 1 <= start <= end <= total:
        raise ValueError(f"{start}..{end} does not lie in 1..{total}, the sequence")
    return Interval(name, start - 1, end)

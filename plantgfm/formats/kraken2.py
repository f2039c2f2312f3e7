"""Kraken 2: the taxon of each sequence (`--output`) and the tree of taxa that were found (`--report`).

Format: "Output Formats" in `docs/MANUAL.markdown` of DerrickWood/kraken2. The former names taxa by number, the latter
holds their kinship (by indentation); only both together say which sequence lies outside a clade.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from plantgfm.formats.errors import FormatError
from plantgfm.formats.numbers import is_whole, whole
from plantgfm.formats.streams import text_lines

ROOT = 1  # NCBI's taxon of everything
UNCLASSIFIED = 0

_OUTPUT_COLUMNS = 5
_REPORT_COLUMNS = (6, 8)  # 8 with --report-minimizer-data: two counts stand before the rank
_BETWEEN = "-:-"  # reading frames of a translated search


@dataclass(frozen=True)
class Classification:
    """What Kraken 2 says of one sequence."""

    name: str
    taxon: int  # 0 where unclassified
    length_bp: int
    kmers: dict[
        int, int
    ]  # taxon -> k-mers whose lowest common ancestor it is, 0: not in the database; no ambiguous ones
    line: int


@dataclass(frozen=True)
class Taxon:
    """One line of a report."""

    taxon: int
    name: str
    rank: str  # rank code: D, K, P, C, O, F, G, S, with a number for ranks between
    parent: int | None


def read_kraken2_output(path: str | Path) -> list[Classification]:
    """The sequences of a Kraken 2 output, in file order; taxa as numbers or, with `--use-names`, as "name (taxid n)".

    Raises:
        FormatError: another number of columns, paired reads, `--quick` (no k-mers counted), a bad cell, a name twice.
    """
    path = Path(path)
    found: dict[str, Classification] = {}
    for number, line in text_lines(path):
        if not line.strip():
            continue
        cells = line.split("\t")
        try:
            if len(cells) != _OUTPUT_COLUMNS:
                raise ValueError(f"{len(cells)} columns where Kraken 2 writes {_OUTPUT_COLUMNS}")
            one = _classification(number, *(cell.strip() for cell in cells))
            if one.name in found:
                raise ValueError(f"stands already in line {found[one.name].line}")
        except ValueError as error:
            name = cells[1].strip() if len(cells) > 1 else ""
            raise FormatError(path, str(error), name or None, number) from None
        found[one.name] = one
    return list(found.values())


def read_kraken2_report(path: str | Path) -> dict[int, Taxon]:
    """The taxa of a Kraken 2 sample report by their number, each with its parent (None for root and unclassified).

    Raises:
        FormatError: MetaPhlAn style, another number of columns, a bad cell, an indentation that skips a level, a taxon
            twice.
    """
    path = Path(path)
    taxa: dict[int, Taxon] = {}
    above: list[int] = []  # the taxon of each level, down to the last line's
    for number, line in text_lines(path):
        if not line.strip():
            continue
        try:
            rank, taxon, name, level = _report_cells(line)
            if taxon in taxa:
                raise ValueError(f"taxon {taxon} stands twice")
            if level > len(above):
                raise ValueError(f"taxon {taxon} is indented by {level} levels below a line of {len(above) - 1}")
        except ValueError as error:
            raise FormatError(path, str(error), line=number) from None
        above = [*above[:level], taxon]
        taxa[taxon] = Taxon(taxon, name, rank, above[level - 1] if level else None)
    return taxa


def lineage(taxa: dict[int, Taxon], taxon: int) -> list[int]:
    """A taxon and everything above it, up to the root.

    Raises:
        ValueError: for a taxon that the report does not hold.
    """
    if taxon not in taxa:
        raise ValueError(f"taxon {taxon} is not in the report; give output and report of one run")
    found = [taxon]
    while (parent := taxa[found[-1]].parent) is not None:
        found.append(parent)
    return found


def _classification(line: int, state: str, name: str, taxon: str, length: str, hits: str) -> Classification:
    if state not in ("C", "U"):
        raise ValueError(f"the first column is C or U, not {state!r}")
    if not name:
        raise ValueError("line without a sequence name")
    if "|" in length or "|:|" in hits:
        raise ValueError("is of paired reads; classify the FASTA file of the assembly")
    length_bp = whole(length, "length")
    number = re.fullmatch(r"([0-9]{1,18})|.*\(taxid ([0-9]{1,18})\)", taxon)
    if not number:
        raise ValueError(f"taxon {taxon!r} is neither a number nor 'name (taxid number)'")
    value = int(number.group(1) or number.group(2))
    if (value == UNCLASSIFIED) != (state == "U"):
        raise ValueError(f"{state} does not go with taxon {value}")
    return Classification(name, value, length_bp, _kmers(hits), line)


def _kmers(hits: str) -> dict[int, int]:
    counts: Counter[int] = Counter()
    for token in hits.split():
        if token == _BETWEEN:
            continue
        taxon, _, count = token.partition(":")
        if count == "Q":
            raise ValueError("was made with --quick, which counts no k-mers; run Kraken 2 without it")
        if not (taxon == "A" or is_whole(taxon)) or not is_whole(count):
            raise ValueError(f"{token!r} is no taxon:count of k-mers")
        if taxon != "A":  # holds an ambiguous base
            counts[int(taxon)] += int(count)
    return dict(counts)


def _report_cells(line: str) -> tuple[str, int, str, int]:
    cells = line.split("\t")
    if len(cells) == 2 and re.match(r"[a-z]__", cells[0]):
        raise ValueError("is in MetaPhlAn style, which has no taxon numbers; run Kraken 2 without --use-mpa-style")
    if len(cells) not in _REPORT_COLUMNS:
        raise ValueError(f"{len(cells)} columns where a Kraken 2 report has 6, or 8 with minimizers")
    *counts, rank, taxon, name = cells
    if not re.fullmatch(r"\s*[0-9]+(\.[0-9]+)?%?", counts[0]):
        raise ValueError(f"percentage {counts[0]!r} is no number")
    if bad := [count for count in counts[1:] if not is_whole(count.strip())]:
        raise ValueError(f"count {bad[0]!r} is no whole number")
    if not re.fullmatch(r"[A-Z-][0-9]*", rank.strip()):
        raise ValueError(f"rank code {rank!r} is no letter, or letter and number")
    if not is_whole(taxon.strip()):
        raise ValueError(f"taxon {taxon!r} is no number")
    plain = name.strip()
    indent = len(name.rstrip()) - len(plain)
    if not plain or indent % 2:
        raise ValueError(f"name {name!r} is not indented by two spaces a level")
    return rank.strip(), int(taxon), plain, indent // 2

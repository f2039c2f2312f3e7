"""Summaries of gene completeness: BUSCO's short summary (text or JSON) and compleasm's `summary.txt`.

Formats: text as BUSCO 2 to 6 writes it, JSON as from BUSCO 5.4 (https://busco.ezlab.org/busco_userguide.html, section
"Interpreting the results") and as versions before that (flat: "C", "S", "D", "F", "M" count, "dataset_total_buscos"
is their sum, "dataset" the path of the lineage); compleasm as `compleasm.py` of huangnengCSU/compleasm writes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plantgfm.formats.errors import FormatError
from plantgfm.formats.streams import text_lines
from plantgfm.identity import parse_json

_TEXT_LINES = {
    "Complete BUSCOs (C)": "complete",
    "Complete and single-copy BUSCOs (S)": "single",
    "Complete and duplicated BUSCOs (D)": "duplicated",
    "Fragmented BUSCOs (F)": "fragmented",
    "Missing BUSCOs (M)": "missing",
    "Total BUSCO groups searched": "markers",
}
_JSON_KEYS = {
    "single": "Single copy",
    "duplicated": "Multi copy",
    "fragmented": "Fragmented",
    "missing": "Missing",
}
_FLAT_TOTAL = "dataset_total_buscos"  # of JSON before BUSCO 5.4
_FLAT_KEYS = {"single": "S", "duplicated": "D", "fragmented": "F", "missing": "M"}
_PERCENT_ROUNDING = 0.25  # of four percentages with one decimal each


@dataclass(frozen=True)
class GeneCompleteness:
    """How many of a lineage's single-copy marker genes an assembly holds, as shares of all markers."""

    tool: str  # "BUSCO" or "compleasm"
    lineage: str  # data set: "embryophyta_odb10"
    mode: str  # BUSCO's: "genome", "euk_genome_met", "proteins"; "" where the file has none
    markers: int
    single: float
    duplicated: float
    fragmented: float  # compleasm's interspaced ones among them
    missing: float

    @property
    def complete(self) -> float:
        """Share of markers that are complete, once or several times."""
        return self.single + self.duplicated

    def describe(self) -> str:
        """The summary as a clause, in BUSCO's notation; a proxy that tells no copies apart says so by its tool."""
        shares = [f"{100 * share:.1f}%" for share in (self.complete, self.single, self.duplicated)]
        rest = [f"{100 * share:.1f}%" for share in (self.fragmented, self.missing)]
        notation = f"C:{shares[0]}[S:{shares[1]},D:{shares[2]}],F:{rest[0]},M:{rest[1]},n:{self.markers}"
        return f"{self.tool} against {self.lineage or 'an unnamed lineage'} finds {notation}"


def read_completeness(path: str | Path) -> GeneCompleteness:
    """The summary that a file holds; its kind is told from its content.

    Raises:
        FormatError: none of the three kinds, a count that is missing or given twice, counts that do not sum.
    """
    path = Path(path)
    lines = list(text_lines(path))
    first = next(((number, line.strip()) for number, line in lines if line.strip()), (1, ""))
    if first[1].startswith("{"):
        return _from_json(path, "\n".join(line for _, line in lines))
    if first[1].startswith("## lineage:"):
        return _from_compleasm(path, lines)
    if any("BUSCO" in line for _, line in lines):
        return _from_text(path, lines)
    text = "is no short summary of BUSCO (text or JSON) and no summary.txt of compleasm"
    raise FormatError(path, f"{text}; its first line is {first[1][:40]!r}", line=first[0])


def _from_text(path: Path, lines: list[tuple[int, str]]) -> GeneCompleteness:
    counts: dict[str, int] = {}
    lineage, mode, total = "", "", 0
    for number, line in lines:
        if found := re.match(r"#\s*The lineage dataset is:\s*(\S+)", line):
            lineage = found.group(1)
        elif found := re.match(r"#\s*BUSCO was run in mode:\s*(\S+)", line):
            mode = found.group(1)
        elif found := re.match(r"\s*([0-9]{1,18})\s+(\S.*)", line):
            name = next((name for text, name in _TEXT_LINES.items() if found.group(2).startswith(text)), None)
            if name in counts:
                raise FormatError(path, f"{found.group(2).strip()!r} stands twice; keep one summary", line=number)
            if name:
                counts[name] = int(found.group(1))
                total = number if name == "markers" else total
    last = lines[-1][0]
    if absent := [text for text, name in _TEXT_LINES.items() if name not in counts]:
        raise FormatError(path, f"no line holds {absent[0]!r}; the summary is cut off or of another tool", line=last)
    complete, markers = counts.pop("complete"), counts.pop("markers")
    if complete != counts["single"] + counts["duplicated"]:
        raise FormatError(path, f"{complete} complete are not single-copy and duplicated together", line=total)
    return _summary(path, "BUSCO", lineage, mode, counts, markers, line=total)


def _from_compleasm(path: Path, lines: list[tuple[int, str]]) -> GeneCompleteness:
    letters = {"S": "single", "D": "duplicated", "F": "fragmented", "I": "interspaced", "M": "missing", "N": "markers"}
    counts: dict[str, int] = {}
    lineage = ""
    for number, line in lines:
        if not line.strip():
            continue
        if line.startswith("## lineage:"):
            if lineage:
                text = "a second summary: compleasm appends to a file that is there; keep the one that counts"
                raise FormatError(path, text, line=number)
            lineage = line.partition(":")[2].strip()
            continue
        found = re.fullmatch(r"(?:([SDFIM]):[0-9.]+%, ?([0-9]{1,18})|(N):([0-9]{1,18}))\s*", line)
        if not found:
            raise FormatError(path, f"{line[:40]!r} is no 'S:99.22%, 253' and no 'N:255'", line=number)
        letter, count = found.group(1) or found.group(3), found.group(2) or found.group(4)
        if letters[letter] in counts:
            raise FormatError(path, f"{letter} stands twice", line=number)
        counts[letters[letter]] = int(count)
    last = lines[-1][0]
    if absent := [letter for letter, name in letters.items() if name not in counts and letter != "I"]:
        raise FormatError(path, f"no line holds {absent[0]}; the summary is cut off", line=last)
    counts["fragmented"] += counts.pop("interspaced", 0)
    return _summary(path, "compleasm", lineage, "", counts, counts.pop("markers"), line=last)


def _summary(
    path: Path, tool: str, lineage: str, mode: str, counts: dict[str, int], markers: int, *, line: int
) -> GeneCompleteness:
    if not markers or sum(counts.values()) != markers:
        parts = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise FormatError(path, f"{parts} do not sum to the {markers} markers searched", line=line)
    return GeneCompleteness(tool, lineage, mode, markers, **{name: count / markers for name, count in counts.items()})


def _from_json(path: Path, text: str) -> GeneCompleteness:
    try:
        content = parse_json(text)
    except ValueError as error:
        raise FormatError(path, str(error), line=getattr(error.__cause__, "lineno", None)) from None
    results = content.get("results")
    if not isinstance(results, dict):
        if _FLAT_TOTAL in content:
            return _from_flat_json(path, text, content)
        message = f"has neither an object 'results' (BUSCO 5.4 and later) nor {_FLAT_TOTAL!r} (earlier)"
        raise FormatError(path, f"{message}; give the .txt of that run", line=1)
    markers = _count(path, text, results, "n_markers")
    lineage = _text(content, "lineage_dataset", "name")
    mode = _text(content, "parameters", "mode")
    if all(f"{word} BUSCOs" in results for word in _JSON_KEYS.values()):
        counts = {name: _count(path, text, results, f"{word} BUSCOs") for name, word in _JSON_KEYS.items()}
        return _summary(path, "BUSCO", lineage, mode, counts, markers, line=_line_of(text, "n_markers"))
    key = "{} percentage" if "Single copy percentage" in results else "{}"  # BUSCO 5.4 wrote percentages under {}
    shares = {name: _number(path, text, results, key.format(word)) / 100 for name, word in _JSON_KEYS.items()}
    if not markers or abs(sum(shares.values()) - 1) > _PERCENT_ROUNDING / 100:
        message = f"percentages of {markers} markers sum to {100 * sum(shares.values()):.1f}, not to 100"
        raise FormatError(path, message, line=_line_of(text, "results"))
    return GeneCompleteness("BUSCO", lineage, mode, markers, **shares)


def _from_flat_json(path: Path, text: str, content: dict[str, Any]) -> GeneCompleteness:
    markers = _count(path, text, content, _FLAT_TOTAL)
    counts = {name: _count(path, text, content, letter) for name, letter in _FLAT_KEYS.items()}
    complete, line = _count(path, text, content, "C"), _line_of(text, _FLAT_TOTAL)
    if complete != counts["single"] + counts["duplicated"]:
        raise FormatError(path, f"{complete} complete are not single-copy and duplicated together", line=line)
    lineage, mode = (str(content[key]) if isinstance(content.get(key), str) else "" for key in ("dataset", "mode"))
    return _summary(path, "BUSCO", lineage.rstrip("/").rpartition("/")[2], mode, counts, markers, line=line)


def _text(content: dict[str, Any], section: str, key: str) -> str:
    found = content.get(section)
    value = found.get(key) if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""


def _number(path: Path, text: str, results: dict[str, Any], key: str) -> float:
    section = "results" if _FLAT_TOTAL not in results else "the summary"
    if key not in results:
        raise FormatError(path, f"{section!r} has no {key!r}", line=_line_of(text, section))
    try:
        value = float(results[key])
    except (TypeError, ValueError, OverflowError):
        raise FormatError(path, f"{key!r} is {results[key]!r}, no number", line=_line_of(text, key)) from None
    if not 0 <= value < float("inf"):
        raise FormatError(path, f"{key!r} is {value}, no share and no count", line=_line_of(text, key))
    return value


def _count(path: Path, text: str, results: dict[str, Any], key: str) -> int:
    value = _number(path, text, results, key)
    if not value.is_integer():
        raise FormatError(path, f"{key!r} is {value}, no count", line=_line_of(text, key))
    return int(value)


def _line_of(text: str, key: str) -> int:
    return text[: max(0, text.find(f'"{key}"'))].count("\n") + 1

"""GFF3 (Sequence Ontology specification 1.26): read with checks, written with its escapes.

Coordinates are 1-based and closed in the file, 0-based and half-open here. Columns with GFF2 attributes
(`Gene "x"; Note "y"`) are read too; what they say is kept under their own keys, and as ID and Parent where it says so.
Escapes that are no UTF-8 stay as they are written. A Parent that is not in the file is no error (pieces of annotations
are input), one that leads back to itself is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

from plantgfm.formats.errors import FormatError
from plantgfm.formats.numbers import decimal, is_whole
from plantgfm.formats.streams import atomic_text, text_lines
from plantgfm.schema import Feature
from plantgfm.sequence import Interval

_COLUMNS = 9
_RESERVED = ";=&,"  # in attributes
_GFF2_MARKS = ' "'  # a key that held one would read as GFF2
_GFF3_PAIR = re.compile(r'\s*[^\s=;"]+=')
_BARE_WORD = re.compile(r'\s*[^\s;"=]+\s*;')


def read_gff3(path: str | Path, *, lengths: Mapping[str, int] | None = None) -> list[Feature]:
    """The features of a GFF3 file, in file order; reading ends at `##FASTA`.

    Args:
        path: plain, gzip or bgzip.
        lengths: bp of each sequence; where given, every feature must lie inside.

    Raises:
        FormatError: a line that breaks the specification, an unknown sequence, coordinates past the end.
    """
    path = Path(path)
    features = []
    parents = _Parents()
    for number, line in text_lines(path):
        if line.startswith(">") and number == 1:
            raise FormatError(path, "is FASTA, not GFF3", line=number)
        if line.startswith(("##FASTA", ">")):
            break
        if line.strip() and not line.startswith("#"):
            features.append(_feature(path, number, line))
            parents.add(features[-1], number)
            if lengths is not None:
                _check_inside(path, number, features[-1], lengths)
    if cycle := parents.cycle():
        name, number = cycle
        raise FormatError(path, "its Parent leads back to itself; correct ID or Parent", name, number)
    return features


class _Parents:
    """Who names whom as Parent, by ID."""

    def __init__(self):
        self._above: dict[str, set[str]] = {}
        self._line: dict[str, int] = {}
        self._rooted: set[str] = set()  # has a line that does not name itself: a gene and its transcript share an ID

    def add(self, feature: Feature, line: int) -> None:
        for name in feature.attributes.get("ID", ())[:1]:
            parents = feature.attributes.get("Parent", ())
            self._above.setdefault(name, set()).update(set(parents) - {name})
            self._line.setdefault(name, line)
            if name not in parents:
                self._rooted.add(name)

    def cycle(self) -> tuple[str, int] | None:
        """An ID above itself, and the line that has it first."""
        if own := self._above.keys() - self._rooted:
            return min((name, self._line[name]) for name in own)
        done: set[str] = set()
        for start in self._above:
            trail, below = [start] * (start not in done), {start: iter(self._above[start])}
            while trail:
                name = next(below[trail[-1]], None)
                if name is None:
                    done.add(trail.pop())
                elif name in below and name not in done:
                    return name, self._line[name]
                elif name in self._above and name not in done:
                    trail.append(name)
                    below[name] = iter(self._above[name])
        return None


def _feature(path: Path, number: int, line: str) -> Feature:
    columns = line.split("\t")
    if len(columns) != _COLUMNS:
        raise FormatError(path, f"{len(columns)} columns where GFF3 has 9, tab-separated", line=number)
    sequence, source, kind, start, end, score, strand, phase, attributes = columns
    try:
        return Feature(
            interval=_interval(_decoded(sequence), start, end, strand),
            type=_decoded(kind),
            source=_decoded(source),
            score=None if score == "." else decimal(score, "score"),
            phase=None if phase == "." else _phase(phase),
            attributes=_attributes(attributes, _decoded(kind)),
        )
    except ValueError as error:
        raise FormatError(path, str(error), _decoded(sequence) or None, number) from None


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text


def _interval(sequence: str, start: str, end: str, strand: str) -> Interval:
    if not sequence or sequence == ".":
        raise ValueError("feature without a sequence name")
    if not (is_whole(start) and is_whole(end)):
        raise ValueError(f"start {start!r} and end {end!r} must be whole numbers of at most 18 digits")
    first, last = int(start), int(end)
    if first < 1:
        raise ValueError("start 0: GFF3 counts from 1")
    if first > last:
        raise ValueError(f"start {first} lies after end {last}")
    if strand not in ("+", "-", ".", "?"):
        raise ValueError(f"strand {strand!r} is none of + - . ?")
    return Interval(sequence, first - 1, last, strand)


def _phase(text: str) -> int:
    if text not in ("0", "1", "2"):
        raise ValueError(f"phase {text!r} is none of 0 1 2 .")
    return int(text)


def _attributes(column: str, kind: str) -> dict[str, tuple[str, ...]]:
    if column.strip() in ("", "."):
        return {}
    of_gff3 = _GFF3_PAIR.match(column) or (_BARE_WORD.match(column) and any(map(_GFF3_PAIR.match, column.split(";"))))
    return _gff3_attributes(column) if of_gff3 else _gff2_attributes(column, kind)


def _gff3_attributes(column: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for field in column.split(";"):
        if not field.strip():
            continue
        key, _, value = field.lstrip().partition("=")
        if not key:
            raise ValueError(f"attribute {field!r} has no name")
        values = tuple(_decoded(part) for part in value.split(","))
        found[_decoded(key)] = found.get(_decoded(key), ()) + values
    return found


def _gff2_attributes(column: str, kind: str) -> dict[str, tuple[str, ...]]:
    """The file's own keys, and ID and Parent where its keys name the gene and the transcript."""
    found: dict[str, tuple[str, ...]] = {}
    for key, *values in _gff2_fields(column):
        found[key] = found.get(key, ()) + (tuple(values) or ("",))
    return _lineage(found, kind) | found


def _gff2_fields(column: str) -> Iterator[list[str]]:
    """Key and values of each field: words, and texts in quotes, which may hold semicolons."""
    parts = column.split('"')
    if len(parts) % 2 == 0:
        raise ValueError(f"attributes {column!r} have a quote that is not closed")
    field: list[str] = []
    for index, part in enumerate(parts):
        if index % 2:
            if not field:
                raise ValueError(f"attributes {column!r} have a value without a name")
            field.append(part)
            continue
        words, *others = part.split(";")
        field += words.split()
        for other in others:
            if field:
                yield field
            field = other.split()
    if field:
        yield field


def _lineage(found: dict[str, tuple[str, ...]], kind: str) -> dict[str, tuple[str, ...]]:
    """ID and Parent from GTF keys (`gene_id`, `transcript_id`) or from keys that are feature types (`Gene`, `mRNA`)."""
    named = {key.lower(): values for key, values in found.items()}
    gene = named.get("gene_id") or named.get("gene")
    transcript = named.get("transcript_id") or named.get("mrna") or named.get("transcript")
    if kind.lower() == "gene":
        lineage = {"ID": gene}
    elif kind.lower() in ("mrna", "transcript"):
        lineage = {"ID": transcript, "Parent": None if gene == transcript else gene}
    else:
        lineage = {"Parent": transcript or gene}
    return {key: values for key, values in lineage.items() if values}


def _check_inside(path: Path, number: int, feature: Feature, lengths: Mapping[str, int]) -> None:
    where = feature.interval
    if where.sequence not in lengths:
        raise FormatError(path, "sequence is not in the FASTA file", where.sequence, number)
    if where.end > lengths[where.sequence]:
        message = f"end {where.end} lies past the sequence's end, {lengths[where.sequence]}"
        raise FormatError(path, message, where.sequence, number)


def write_gff3(path: str | Path, features: Iterable[Feature], *, lengths: Mapping[str, int] | None = None) -> None:
    """Write features in the given order, with `##sequence-region` lines where lengths (bp) are given. Atomic.

    Raises:
        FormatError: an interval without a base (GFF3 cannot say it), or past the end of its sequence.
    """
    path = Path(path)
    with atomic_text(path) as stream:
        stream.write("##gff-version 3\n")
        for name, length_bp in (lengths or {}).items():
            stream.write(f"##sequence-region {_escape_name(name)} 1 {length_bp}\n")
        for number, feature in enumerate(features, 2 + len(lengths or {})):
            if feature.interval.length_bp == 0:
                raise FormatError(path, "feature without a base", feature.interval.sequence, number)
            if lengths is not None:
                _check_inside(path, number, feature, lengths)
            stream.write(_line(feature) + "\n")


def _line(feature: Feature) -> str:
    where = feature.interval
    attributes = ";".join(
        f"{_escape(key, also=_RESERVED + _GFF2_MARKS)}={','.join(_escape(value, also=_RESERVED) for value in values)}"
        for key, values in feature.attributes.items()
    )
    columns = (
        _escape_name(where.sequence),
        _escape(feature.source) or ".",
        _escape(feature.type) or ".",
        str(where.start + 1),
        str(where.end),
        "." if feature.score is None else repr(float(feature.score)),
        where.strand,
        "." if feature.phase is None else str(feature.phase),
        attributes or ".",
    )
    return "\t".join(columns)


def _escape(text: str, *, also: str = "") -> str:
    """Percent-encode what the specification reserves: controls, %, and in attributes ; = & and comma."""
    return "".join(f"%{ord(c):02X}" if c in also or c == "%" or ord(c) < 32 or ord(c) == 127 else c for c in text)


def _escape_name(name: str) -> str:
    """Percent-encode what a sequence name may not hold: all but [a-zA-Z0-9.:^*$@!+_?-|]."""
    allowed = re.compile(r"[a-zA-Z0-9.:^*$@!+_?|-]")
    return "".join(c if allowed.match(c) else "".join(f"%{b:02X}" for b in c.encode("utf-8")) for c in name)

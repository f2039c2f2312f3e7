"""Passport tables of genebank accessions: CSV or TSV with the field names of FAO/Bioversity MCPD v2.1 (2015).

MCPD's `PUID` is the DOI, which may have a column `DOI` of its own; beside them stands `REFSKETCH`, the accession's
reference sequence or sketch. Tables of ICARDA's style (`IG`, `Country`, `Latitude`) are read by their aliases. A cell
that is empty or `NA` says nothing. Cells are parted by commas, tabs or semicolons.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from plantgfm.formats.errors import FormatError
from plantgfm.formats.manifest import normalise_species
from plantgfm.formats.numbers import decimal
from plantgfm.formats.paths import file_beside
from plantgfm.formats.streams import atomic_text
from plantgfm.formats.tables import read_rows

ALIASES = {
    "PUID": "DOI",
    "IG": "ACCENUMB",
    "Country": "ORIGCTY",
    "Latitude": "DECLATITUDE",
    "Longitude": "DECLONGITUDE",
    "Altitude": "ELEVATION",
}
"""Real columns that mean an MCPD field, where that field has no column of its own. Matched to the letter: MCPD's own
`LATITUDE` is text in degrees, minutes and seconds, and stays in `other`."""

_SITE_ALIAS = "SiteCode"  # names the accession only in tables that have no number for it
_TEXT_FIELDS = ("INSTCODE", "ACCENUMB", "GENUS", "SPECIES", "SUBTAXA", "ACCENAME", "ORIGCTY", "DOI")
_NUMBER_FIELDS = {"DECLATITUDE": 90.0, "DECLONGITUDE": 180.0, "ELEVATION": 12_000.0}
_REFERENCE = "REFSKETCH"
FIELDS = (*_TEXT_FIELDS, *_NUMBER_FIELDS, _REFERENCE)
_MISSING = ("", "NA")


@dataclass(frozen=True)
class PassportRecord:
    """What a genebank says of one accession; each field is the MCPD field of that name, "" or None where unsaid."""

    accenumb: str  # unique with instcode and genus (as in Genesys)
    instcode: str = ""  # FAO WIEWS code of the holding institute
    genus: str = ""
    species: str = ""  # the epithet
    subtaxa: str = ""
    accename: str = ""  # cultivar; several names are parted by ";"
    origcty: str = ""  # ISO 3166-1 alpha-3
    doi: str = ""
    declatitude: float | None = None  # degrees, north positive
    declongitude: float | None = None  # degrees, east positive
    elevation: float | None = None  # metres above sea level
    refsketch: Path | None = None  # the accession's reference sequence or sketch
    other: dict[str, str] = field(default_factory=dict)  # further columns with something in them

    @property
    def binomial(self) -> str:
        """Genus and epithet as the manifest writes them ("Fragaria × ananassa"), "" where either is missing."""
        if not self.genus or not self.species:
            return ""
        name = f"{self.genus} {self.species}"
        try:
            return normalise_species(name)
        except ValueError:  # what genebanks write of what has no name yet
            return name

    @property
    def names(self) -> tuple[str, ...]:
        """The accession's names, one by one."""
        return tuple(name.strip() for name in self.accename.split(";") if name.strip())


def read_passport(path: str | Path) -> list[PassportRecord]:
    """The records of a passport table, in file order; `REFSKETCH` files must exist, relative to the table.

    Raises:
        FormatError: no column that names the accession, an accession without number, given twice in one institute and
            genus or with two references, a number outside its range, a country that is no ISO code, a missing
            reference file.
    """
    path = Path(path)
    columns, rows = read_rows(path)
    meaning = _meaning(path, columns)
    records: list[PassportRecord] = []
    lines: dict[tuple[str, ...], int] = {}
    for line, row in rows:
        record = _record(path, line, {meaning[name]: value for name, value in row.items() if value not in _MISSING})
        for identity in _identities(record):
            if identity in lines:
                raise FormatError(path, f"accession stands already in line {lines[identity]}", record.accenumb, line)
            lines[identity] = line
        records.append(record)
    return records


def _identities(record: PassportRecord) -> list[tuple[str, ...]]:
    """What no other record may have: institute, number and genus, and a reference of this institute and number."""
    number = record.instcode, record.accenumb
    return [(*number, record.genus.casefold()), *([(*number, "", _REFERENCE)] if record.refsketch else [])]


def _meaning(path: Path, columns: list[str]) -> dict[str, str]:
    """The field that each column means; its own name where it is none of ours."""
    known = (*FIELDS, "PUID")
    meaning = {name: name.upper() if name.upper() in known else name for name in columns}
    aliases = {**ALIASES, _SITE_ALIAS: "ACCENUMB"}
    for name, standard in aliases.items():
        column = next((column for column, means in meaning.items() if means == name), None)
        if column and standard not in meaning.values():
            meaning[column] = standard
    if "ACCENUMB" not in meaning.values():
        raise FormatError(path, f"no column names the accession (ACCENUMB); found {', '.join(columns)}", line=1)
    if len(set(meaning.values())) != len(columns):
        raise FormatError(path, f"two columns mean the same field; found {', '.join(columns)}", line=1)
    return meaning


def _record(path: Path, line: int, row: dict[str, str]) -> PassportRecord:
    accession = row.get("ACCENUMB")
    if accession is None:
        raise FormatError(path, "accession without a number (ACCENUMB)", line=line)
    try:
        values = {name.lower(): row[name] for name in _TEXT_FIELDS if name in row}
        values |= {name.lower(): _number(name, row[name]) for name in _NUMBER_FIELDS if name in row}
        values["origcty"] = values.get("origcty", "").upper()
        if not re.fullmatch(r"[A-Z]{3}|", values["origcty"]):
            raise ValueError(f"ORIGCTY {row['ORIGCTY']!r} is no three-letter country code (ISO 3166-1)")
        reference = file_beside(path, row[_REFERENCE], _REFERENCE) if _REFERENCE in row else None
    except ValueError as error:
        raise FormatError(path, str(error), accession, line) from None
    other = {name: value for name, value in row.items() if name not in FIELDS}
    return PassportRecord(**values, refsketch=reference, other=other)


_DEGREES = re.compile(r"-?[0-9]{1,3},[0-9]+")  # of a table from where the comma is decimal


def _number(name: str, text: str) -> float:
    degrees = name != "ELEVATION" and _DEGREES.fullmatch(text)  # of metres, a comma may part thousands
    value = decimal(text.replace(",", ".") if degrees else text, name)
    if abs(value) > _NUMBER_FIELDS[name]:
        raise ValueError(f"{name} {text} lies outside ±{_NUMBER_FIELDS[name]:g}")
    return value


def write_passport(path: str | Path, records: Iterable[PassportRecord]) -> None:
    """Write records with all fields; CSV, or TSV where the name ends in `.tsv` or `.tsv.gz`. Atomic.

    Raises:
        FormatError: an accession without a number, or given twice in one institute and genus.
    """
    path, records = Path(path), list(records)
    extra = sorted({name for record in records for name in record.other})
    seen: set[tuple[str, ...]] = set()
    with atomic_text(path) as stream:
        delimiter = "\t" if path.name.removesuffix(".gz").endswith(".tsv") else ","
        writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        writer.writerow([*FIELDS, *extra])
        for record in records:
            identities = _identities(record)
            if not record.accenumb or not seen.isdisjoint(identities):
                raise FormatError(path, "accession without a number, or given twice", record.accenumb or None)
            seen.update(identities)
            values = [_text(path, getattr(record, name.lower())) for name in FIELDS]
            writer.writerow(values + [record.other.get(name, "") for name in extra])


def _text(path: Path, value: str | float | Path | None) -> str:
    if isinstance(value, Path):
        return Path(os.path.relpath(value.absolute(), path.parent.absolute())).as_posix()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return value or ""

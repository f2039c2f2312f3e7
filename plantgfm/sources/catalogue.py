"""The catalogue of genomes, `data/catalogue.tsv`: one line an entry, read with one clear error per malformed line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath
from string import Formatter
from urllib.parse import unquote, urlsplit

from plantgfm.formats.errors import FormatError
from plantgfm.formats.manifest import normalise_species
from plantgfm.formats.numbers import is_whole
from plantgfm.formats.tables import read_rows, require_columns
from plantgfm.sources.checksums import Checksum, parse_checksum
from plantgfm.sources.errors import FetchError

CATALOGUE = Path(__file__).resolve().parents[2] / "data" / "catalogue.tsv"
"""The catalogue of the checkout that this module lies in."""

COLUMNS = (
    "name",
    "species",
    "cultivar",
    "assembly",
    "accession",
    "source",
    "page",
    "url",
    "checksum_url",
    "checksum",
    "licence",
    "taxon_id",
    "ploidy",
    "expected_size_bp",
    "verified",
)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
_ACCESSIONS = {
    "ncbi": re.compile(r"GC[AF]_[0-9]{9}\.[0-9]+"),
    "sra": re.compile(r"[SED]R[RXPS][0-9]{6,}|PRJ[A-Z]{2}[0-9]+"),
    "ensembl-plants": re.compile(r"GC[AF]_[0-9]{9}\.[0-9]+"),
}


class Source(Enum):
    """Where an entry lives."""

    ENSEMBL_PLANTS = "ensembl-plants"
    NCBI = "ncbi"
    SRA = "sra"
    GRIN = "grin"
    SGN = "sgn"
    LEGUMEINFO = "legumeinfo"

    @property
    def is_pointer(self) -> bool:
        """True where entries name reads or seeds, not an assembly: nothing to download."""
        return self in (Source.SRA, Source.GRIN)


@dataclass(frozen=True)
class Entry:
    """One line of the catalogue, with its URL templates filled in."""

    name: str  # what the command line calls it, unique
    species: str  # normalised binomial
    cultivar: str
    assembly: str
    accession: str  # of the assembly (GCF_..., GCA_...), the run (SRR...), the seed (PI ...) or the collection
    source: Source
    pages: tuple[str, ...]  # public pages that show species, assembly and accession
    url: str  # "" for pointers
    checksum_url: str  # published list that names the file, "" where `checksum` says it
    checksum: Checksum | None
    licence: str
    taxon_id: int | None  # NCBI taxonomy
    ploidy: int | None  # of the plant
    expected_size_bp: int | None  # of the assembly, where a page says it
    verified: bool  # someone has seen the pages say this

    @property
    def file_name(self) -> str:
        """The last part of the URL, "" for pointers."""
        return PurePosixPath(unquote(urlsplit(self.url).path)).name


def read_catalogue(path: str | Path) -> list[Entry]:
    """The entries of a catalogue, in file order.

    Raises:
        FormatError: with the line; an unknown or missing column, a bad cell, a name or a file name given twice, an
            entry to download without a checksum.
    """
    path = Path(path)
    columns, rows = read_rows(path)
    require_columns(path, columns, COLUMNS, COLUMNS)
    if not rows:
        raise FormatError(path, "catalogue without entries")
    entries: list[Entry] = []
    lines: dict[tuple[str, str], int] = {}
    for line, row in rows:
        try:
            entry = _entry(row)
        except ValueError as error:
            raise FormatError(path, str(error), row["name"] or None, line) from None
        for key in (("name", entry.name), ("file", entry.file_name)):
            if key[1] and key in lines:
                raise FormatError(path, f"{key[0]} {key[1]!r} stands already in line {lines[key]}", entry.name, line)
            lines[key] = line
        entries.append(entry)
    return entries


def _entry(row: dict[str, str]) -> Entry:
    if not _NAME.fullmatch(row["name"]):
        raise ValueError(f"name {row['name']!r} is not of lower-case letters, digits, '.', '_' and '-'")
    try:
        source = Source(row["source"])
    except ValueError:
        raise ValueError(f"source {row['source']!r} is none of {', '.join(s.value for s in Source)}") from None
    pattern = _ACCESSIONS.get(source.value, re.compile(r"\S.*"))
    if not pattern.fullmatch(row["accession"]):
        raise ValueError(f"accession {row['accession']!r} is none of {source.value} (form: {pattern.pattern})")
    if row["verified"] not in ("yes", "no"):
        raise ValueError(f"verified {row['verified']!r} is neither 'yes' nor 'no'")
    pages = tuple(_http("page", page) for page in row["page"].split())
    if row["verified"] == "yes" and not pages:
        raise ValueError("verified without a page; give the public page that shows the accession, or say 'no'")
    entry = Entry(
        name=row["name"],
        species=normalise_species(row["species"]),
        cultivar=row["cultivar"],
        assembly=row["assembly"],
        accession=row["accession"],
        source=source,
        pages=pages,
        url=_filled("url", row),
        checksum_url=_filled("checksum_url", row),
        checksum=parse_checksum(row["checksum"]) if row["checksum"] else None,
        licence=row["licence"],
        taxon_id=_positive(row, "taxon_id"),
        ploidy=_positive(row, "ploidy"),
        expected_size_bp=_positive(row, "expected_size_bp"),
        verified=row["verified"] == "yes",
    )
    _check_file(entry)
    return entry


def _check_file(entry: Entry) -> None:
    """Raise ValueError unless a pointer has no file, and a verified assembly has one with a checksum."""
    if entry.source.is_pointer:
        if entry.url or entry.checksum_url or entry.checksum:
            raise ValueError(f"{entry.source.value} entries are pointers; leave url, checksum_url and checksum empty")
        return
    if not entry.assembly:
        raise ValueError("assembly is empty")
    if entry.url and not _FILE_NAME.fullmatch(entry.file_name):
        raise ValueError(f"url {entry.url!r} ends in no plain file name")
    if entry.file_name.lower() == "manifest.csv":  # the table of the folder that files are fetched into
        raise ValueError(f"url {entry.url!r} is no FASTA file")
    if entry.verified and not entry.url:
        raise ValueError("verified without a url; give it, or say 'no'")
    if entry.verified and not (entry.checksum or entry.checksum_url):
        raise ValueError("verified without a checksum; give checksum or checksum_url, or say 'no'")


def _filled(column: str, row: dict[str, str]) -> str:
    """A URL template with {accession}, {assembly}, {accession_path} and {species_path} put in."""
    accession = row["accession"]
    values = {
        "accession": accession,
        "assembly": row["assembly"].replace(" ", "_"),
        # NCBI nests the nine digits by three: GCF/000/001/735 (README of ftp.ncbi.nlm.nih.gov/genomes/all).
        "accession_path": "/".join([accession[:3], *re.findall("[0-9]{3}", accession[4:13])]),
        "species_path": normalise_species(row["species"]).lower().replace(" ", "_"),
    }
    values["Species_path"] = values["species_path"].capitalize()
    if not row[column]:
        return ""
    try:
        fields = [found[1:] for found in Formatter().parse(row[column]) if found[1] is not None]
    except ValueError as error:
        raise ValueError(f"{column} {row[column]!r} is no template: {error}") from None
    if any(spec or conversion for _, spec, conversion in fields):  # {name:>9} would be carried out
        raise ValueError(f"{column} {row[column]!r} has ':' or '!' in a field; write {{accession}} alone")
    if unknown := {field for field, _, _ in fields} - set(values):
        raise ValueError(f"{column} has the field {{{min(unknown)}}}; known are {', '.join(sorted(values))}")
    return _http(column, row[column].format(**values))


def _http(column: str, url: str) -> str:
    parts = urlsplit(url)
    parts.port  # noqa: B018  raises ValueError where it is no port
    if parts.scheme not in ("http", "https") or not parts.hostname or not re.fullmatch(r"[!-~]+", url):
        raise ValueError(f"{column} {url!r} is no http or https address")
    return url


def _positive(row: dict[str, str], column: str) -> int | None:
    if not row[column]:
        return None
    if not is_whole(row[column]) or int(row[column]) == 0:
        raise ValueError(f"{column} {row[column]!r} is no positive whole number of at most 18 digits")
    return int(row[column])


def choose(entries: Iterable[Entry], names: Iterable[str]) -> list[Entry]:
    """The entries of these names, in the order given; each may be fetched.

    Raises:
        FetchError: a name that the catalogue lacks, a pointer, or an entry that nobody has verified.
    """
    known = {entry.name: entry for entry in entries}
    chosen = []
    for name in dict.fromkeys(names):
        if name not in known:
            raise FetchError(f"the catalogue has no {name!r}; it has {', '.join(known)}")
        entry = known[name]
        where = " ".join(entry.pages) or "no page is given"
        if entry.source.is_pointer:
            raise FetchError(f"{name} is a pointer to {entry.source.value} {entry.accession}, not a file: {where}")
        if not entry.verified:
            raise FetchError(
                f"{name} is not verified and is refused: check species, assembly and accession {entry.accession} on a "
                f"public page ({where}), write the page and verified=yes into the catalogue (see data/README.md)"
            )
        chosen.append(entry)
    return chosen


def fetchable(entries: Iterable[Entry]) -> list[Entry]:
    """The entries that may be fetched: verified, and no pointers."""
    return [entry for entry in entries if entry.verified and not entry.source.is_pointer]

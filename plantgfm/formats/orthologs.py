"""Tables of orthologs: plain ones, BioMart's and Compara's downloads of Ensembl.

Plain tables have a header, tabs or commas, and the columns `gene_id` (or `query`), `chr` (or `target_contig`), `start`,
`end` (0-based, half-open) and, where known, `strand`, `display_name`, `homology_type`, `perc_id` (or `identity`),
`perc_cov`, `score`, `source_seed`; others are passed over. BioMart's have coordinates, 1-based and closed; Compara's
dumps (`Compara.*.homologies.tsv`) name genes alone, whose places the GFF3 of the target tells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from plantgfm.formats.errors import FormatError
from plantgfm.formats.gff3 import read_gff3
from plantgfm.formats.numbers import decimal, whole
from plantgfm.formats.tables import read_rows
from plantgfm.sequence import Interval

_REQUIRED = {"query": ("gene_id", "query"), "sequence": ("chr", "target_contig"), "start": ("start",), "end": ("end",)}
_NUMBERS = {"perc_id": ("perc_id", "identity"), "perc_cov": ("perc_cov",), "score": ("score",)}
_TEXTS = ("display_name", "homology_type", "source_seed")
_COMPARA = ("gene_stable_id", "homology_gene_stable_id", "homology_type")
_BIOMART_QUERY = "Gene stable ID"
_BIOMART = {
    "gene": " gene stable ID",
    "sequence": " chromosome/scaffold name",
    "start": " chromosome/scaffold start (bp)",
    "end": " chromosome/scaffold end (bp)",
}
_STRANDS = {"+": "+", "-": "-", ".": ".", "": ".", "1": "+", "-1": "-"}
_PREFIX = "gene:"  # Ensembl's GFF3 writes ID=gene:AT5G20730, its tables AT5G20730


@dataclass(frozen=True)
class Ortholog:
    """Where a gene of one species has its counterpart in another."""

    gene_id: str  # of the gene that is looked for
    where: Interval  # on the target, with its strand where that is known
    display_name: str = ""
    homology_type: str = ""
    perc_id: float | None = None  # as the table gives it: percent, or a share
    perc_cov: float | None = None
    score: float | None = None
    source_seed: str = ""
    tss: int | None = None  # start of transcription, where `where` is not all of the gene


@dataclass(frozen=True)
class OrthologTable:
    """The rows of a table, and how many could not be placed on the target."""

    orthologs: list[Ortholog]
    unplaced: int = 0  # genes of a Compara dump that the annotation does not have


def read_orthologs(path: Path, *, annotation: Path | None = None) -> OrthologTable:
    """Read a table of orthologs of any of the three kinds; the header tells which.

    Args:
        path: the table, plain or gzip.
        annotation: GFF3 of the target, for a dump of Compara.

    Raises:
        FormatError: for a table without the columns of any kind, or values that are none.
    """
    columns, rows = read_rows(path)
    if set(_COMPARA) <= set(columns):
        if annotation is None:
            raise FormatError(path, "names genes without places: give the target's GFF3 (--truth-annotation)", line=1)
        return _compara(rows, _places(annotation))
    if annotation is not None:
        raise FormatError(path, "tells places itself: --truth-annotation is for dumps of Compara", line=1)
    make = _biomart(path, columns) if _BIOMART_QUERY in columns else _plain(path, columns)
    found = []
    for line, row in rows:
        try:
            if (one := make(row)) is not None:
                found.append(one)
        except ValueError as error:
            raise FormatError(path, str(error), None, line) from None
    return OrthologTable(found)


def _where(sequence: str, start: int, end: int, strand: str, convention: str) -> Interval:
    try:
        where = Interval(sequence, start, end, strand)
        if not sequence or where.start >= where.end:
            raise ValueError(f"no base lies from {start} to {end}, or the sequence has no name")
    except ValueError as error:
        raise ValueError(f"bad coordinates: {error}; they are {convention}") from None
    return where


def _plain(path: Path, columns: list[str]) -> Callable[[dict[str, str]], Ortholog]:
    named = {key: next((n for n in names if n in columns), None) for key, names in _REQUIRED.items()}
    if missing := next((key for key, name in named.items() if name is None), None):
        wanted = " or ".join(_REQUIRED[missing])
        raise FormatError(path, f"the truth table lacks a column: {wanted}; found {', '.join(columns)}", line=1)
    numbers = {key: next((n for n in names if n in columns), None) for key, names in _NUMBERS.items()}

    def make(row: dict[str, str]) -> Ortholog:
        query, sequence, start, end = (row[name] for name in named.values())
        convention = "0-based and half-open"
        if not query:
            raise ValueError("bad row: the query has no name")
        try:
            span = whole(start, "start"), whole(end, "end")
        except ValueError as error:
            raise ValueError(f"bad coordinates: {error}; they are {convention}") from None
        given = row.get("strand", ".")
        if given not in _STRANDS:
            raise ValueError(f"strand {given!r} is none of + - . 1 -1")
        values = {key: decimal(row[name], name) for key, name in numbers.items() if name and row[name]}
        texts = {name: row[name] for name in _TEXTS if name in row}
        return Ortholog(query, _where(sequence, *span, _STRANDS[given], convention), **values, **texts)

    return make


def _biomart(path: Path, columns: list[str]) -> Callable[[dict[str, str]], Ortholog | None]:
    named = {key: next((name for name in columns if name.endswith(ending)), None) for key, ending in _BIOMART.items()}
    if missing := next((key for key, name in named.items() if name is None), None):
        wanted = f"'SPECIES{_BIOMART[missing]}'"
        raise FormatError(path, f"BioMart's table lacks a column: {wanted}; found {', '.join(columns)}", line=1)
    identity = next((name for name in columns if name.startswith("%id. target ")), None)
    kind = next((name for name in columns if name.endswith(" homology type")), None)

    def make(row: dict[str, str]) -> Ortholog | None:
        if not row[named["gene"]]:  # BioMart lists genes without a counterpart, too
            return None
        convention = "1-based and closed"
        try:
            start, end = whole(row[named["start"]], "start"), whole(row[named["end"]], "end")
        except ValueError as error:
            raise ValueError(f"bad coordinates: {error}; they are {convention}") from None
        where = _where(row[named["sequence"]], start - 1, end, ".", convention)
        return Ortholog(
            row[_BIOMART_QUERY],
            where,
            display_name=row[named["gene"]],
            homology_type=row[kind] if kind else "",
            perc_id=decimal(row[identity], identity) if identity and row[identity] else None,
        )

    return make


def _places(annotation: Path) -> dict[str, Interval]:
    genes = (f for f in read_gff3(annotation) if f.type == "gene" and "ID" in f.attributes)
    return {feature.attributes["ID"][0].removeprefix(_PREFIX): feature.interval for feature in genes}


def _compara(rows: list[tuple[int, dict[str, str]]], places: dict[str, Interval]) -> OrthologTable:
    """Orthologs alone: the dump holds paralogs, too."""
    found, unplaced = [], 0
    for _, row in rows:
        if not row["homology_type"].startswith("ortholog"):
            continue
        where = places.get(row["homology_gene_stable_id"])
        if where is None:
            unplaced += 1
            continue
        identity = row.get("identity", "")
        found.append(
            Ortholog(
                row["gene_stable_id"],
                where,
                display_name=row["homology_gene_stable_id"],
                homology_type=row["homology_type"],
                perc_id=decimal(identity, "identity") if identity not in ("", "NULL") else None,
            )
        )
    return OrthologTable(found, unplaced)

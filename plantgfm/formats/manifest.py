"""The manifest: a CSV or TSV table of FASTA files and what is said of them; paths are relative to it."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from plantgfm.formats.errors import FormatError
from plantgfm.formats.numbers import is_whole
from plantgfm.formats.paths import file_beside
from plantgfm.formats.streams import atomic_text
from plantgfm.formats.tables import read_rows, require_columns
from plantgfm.schema import Assembly, Compartment

REQUIRED = ("species", "cultivar", "assembly", "compartment", "fasta")
COLUMNS = (
    "species",
    "cultivar",
    "assembly",
    "compartment",
    "ploidy",
    "fasta",
    "annotation",
    "expected_size_bp",
    "source",
    "licence",
    "accession",
)
REPORTS = ("fcs_gx", "fcs_adaptor", "kraken2", "kraken2_report", "busco", "genotypes", "marker_genes")
SAMPLE = "sample"


def normalise_species(name: str) -> str:
    """The binomial of a species name: "zea_mays" and "Zea mays subsp. mays L." give "Zea mays".

    A hybrid sign stays: "Fragaria x ananassa" gives "Fragaria × ananassa".

    Raises:
        ValueError: fewer than two words, or words that are no names.
    """
    words = re.sub(r"[\s_]+", " ", name.replace("×", " × ")).strip().split(" ")
    hybrid = len(words) > 2 and words[1] in ("x", "X", "×")
    parts = [words[0], words[2]] if hybrid else words[:2]
    if len(parts) < 2 or not all(re.fullmatch(r"[^\W\d_][\w.'-]*", part) for part in parts):
        raise ValueError(f"species {name!r} is no binomial; write genus and epithet, like 'Zea mays'")
    genus, epithet = parts[0].capitalize(), parts[1].lower()
    return f"{genus} × {epithet}" if hybrid else f"{genus} {epithet}"


def read_manifest(path: str | Path) -> list[Assembly]:
    """The assemblies of a manifest, in file order; cells are checked and files must exist.

    Columns are those of `COLUMNS`, of which `REQUIRED` must be there, and of `REPORTS`: files that other tools wrote on
    the FASTA file, which curation takes as further evidence. Like every path they are relative to the manifest; without
    the column, or in an empty cell, there is none.

    - `fcs_gx`: action report of FCS-GX (`*.fcs_gx_report.txt`)
    - `fcs_adaptor`: report of FCS-adaptor (`fcs_adaptor_report.txt`)
    - `kraken2`, `kraken2_report`: what `kraken2 --output` and `--report` wrote in one run, both or none
    - `genotypes`: VCF that holds, as the sample that column `sample` names, the very plant that was assembled
    - `marker_genes`: FASTA of single-copy genes (CDS) of its kind, looked for by their k-mers; nuclear rows only
    - `busco`: short summary of BUSCO in mode genome (text or JSON), or `summary.txt` of compleasm; nuclear rows only

    Raises:
        FormatError: an unknown or missing column, a bad cell, a missing file, a row or a FASTA file given twice.
    """
    path = Path(path)
    columns, rows = read_rows(path)
    require_columns(path, columns, REQUIRED, (*COLUMNS, *REPORTS, SAMPLE))
    if not rows:
        raise FormatError(path, "manifest without rows")
    assemblies: list[Assembly] = []
    lines: dict[str | Path, int] = {}
    for line, row in rows:
        assembly = _assembly(path, line, row)
        for identity in (assembly.key, assembly.fasta.resolve()):
            if identity in lines:
                raise FormatError(path, f"{identity} stands already in line {lines[identity]}", line=line)
            lines[identity] = line
        assemblies.append(assembly)
    return assemblies


def read_manifests(paths: Sequence[str | Path]) -> list[Assembly]:
    """The assemblies of several manifests, one after the other, as if they were one.

    Raises:
        FormatError: as `read_manifest`, and for a row or a FASTA file that an earlier manifest has.
    """
    assemblies: list[Assembly] = []
    known: dict[str | Path, str | Path] = {}
    for path in paths:
        for assembly in read_manifest(path):
            for identity in (assembly.key, assembly.fasta.resolve()):
                if identity in known:
                    raise FormatError(path, f"{identity} stands already in {known[identity]}: leave one of them out")
                known[identity] = path
            assemblies.append(assembly)
    return assemblies


def _assembly(path: Path, line: int, row: dict[str, str]) -> Assembly:
    try:
        species = normalise_species(row["species"])
        compartment = Compartment(row["compartment"].lower())
    except ValueError as error:
        raise FormatError(path, f"{error}; compartments are {[c.value for c in Compartment]}", line=line) from None
    reports = {column: _file(path, line, row[column], column) for column in REPORTS if row.get(column)}
    if ("kraken2" in reports) != ("kraken2_report" in reports):
        text = "kraken2 and kraken2_report belong together: the report holds the tree of the taxa; give both or none"
        raise FormatError(path, text, line=line)
    if ("genotypes" in reports) != bool(row.get(SAMPLE)):
        text = "genotypes and sample belong together: the sample is the plant that was assembled; give both or none"
        raise FormatError(path, text, line=line)
    for column in ("busco", "marker_genes"):
        if column in reports and compartment is not Compartment.NUCLEAR:
            text = f"{column} counts nuclear genes, the row is {compartment.value}; empty it"
            raise FormatError(path, text, line=line)
    return Assembly(
        species=species,
        cultivar=row["cultivar"],
        assembly=row["assembly"],
        compartment=compartment,
        fasta=_file(path, line, row["fasta"], "fasta"),
        annotation=_file(path, line, row["annotation"], "annotation") if row.get("annotation") else None,
        ploidy=_positive(path, line, row, "ploidy"),
        expected_size_bp=_positive(path, line, row, "expected_size_bp"),
        accession=row.get("accession", ""),
        source=row.get("source", ""),
        licence=row.get("licence", ""),
        sample=row.get(SAMPLE, ""),
        **reports,
    )


def _file(path: Path, line: int, name: str, column: str) -> Path:
    if not name:
        raise FormatError(path, f"column {column!r} is empty", line=line)
    try:
        return file_beside(path, name, column)
    except ValueError as error:
        raise FormatError(path, str(error), line=line) from None


def _positive(path: Path, line: int, row: dict[str, str], column: str) -> int | None:
    text = row.get(column, "")
    if not text:
        return None
    if not is_whole(text) or int(text) == 0:
        raise FormatError(path, f"{column} {text!r} is no positive whole number of at most 18 digits", line=line)
    return int(text)


def write_manifest(path: str | Path, assemblies: Iterable[Assembly]) -> None:
    """Write assemblies as CSV with all columns; file names become relative to the manifest. Atomic.

    A column of `REPORTS` is written where an assembly has such a report.

    Raises:
        FormatError: an assembly given twice, or none.
    """
    path, seen, assemblies = Path(path), set(), list(assemblies)
    reports = [column for column in (*REPORTS, SAMPLE) if any(getattr(assembly, column) for assembly in assemblies)]
    with atomic_text(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*COLUMNS, *reports])
        for assembly in assemblies:
            if assembly.key in seen:
                raise FormatError(path, f"{assembly.key} is given twice")
            seen.add(assembly.key)
            writer.writerow([_text(path, assembly, column) for column in (*COLUMNS, *reports)])
        if not seen:
            raise FormatError(path, "no assembly to write")


def _text(path: Path, assembly: Assembly, column: str) -> str:
    value = getattr(assembly, column)
    if isinstance(value, Compartment):
        return value.value
    if isinstance(value, Path):
        return Path(os.path.relpath(value.absolute(), path.parent.absolute())).as_posix()
    return "" if value is None else str(value)

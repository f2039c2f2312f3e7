"""Taxonomic synonyms: a user's table of species names and the names that they are accepted under."""

from __future__ import annotations

from pathlib import Path

from plantgfm.formats.errors import FormatError
from plantgfm.formats.manifest import normalise_species
from plantgfm.formats.tables import read_rows, require_columns

COLUMNS = ("name", "accepted")


def read_synonyms(path: str | Path) -> dict[str, str]:
    """Accepted binomial of each synonym, both normalised; chains are followed to their end.

    Args:
        path: CSV or TSV with the columns `name` and `accepted`; further columns are left aside.

    Raises:
        FormatError: a missing column, a name that is no binomial or stands for two, names that lead in a circle.
    """
    path = Path(path)
    columns, rows = read_rows(path)
    require_columns(path, columns, COLUMNS, columns)
    direct: dict[str, str] = {}
    lines: dict[str, int] = {}
    for line, row in rows:
        try:
            name, accepted = (normalise_species(row[column]) for column in COLUMNS)
        except ValueError as error:
            raise FormatError(path, str(error), line=line) from None
        if direct.get(name, accepted) != accepted:
            raise FormatError(path, f"{name} stands already for {direct[name]} in line {lines[name]}", line=line)
        direct[name], lines[name] = accepted, lines.get(name, line)
    return {name: _end(path, name, direct, lines) for name in direct}


def _end(path: Path, name: str, direct: dict[str, str], lines: dict[str, int]) -> str:
    seen, place = {name}, direct[name]
    while place in direct and direct[place] != place:
        if place in seen:
            raise FormatError(path, f"synonyms of {name} lead in a circle", line=lines[name])
        seen.add(place)
        place = direct[place]
    return place

"""What is refused before a search: bases that are not those of the vectors, names that no table can hold."""

from __future__ import annotations

from collections.abc import Iterable

from plantgfm.formats.tables import fits_a_cell
from plantgfm.retrieval.targets import Targets
from plantgfm.schema import Record


def check_tiles(records: Iterable[Record], targets: Targets) -> None:
    """Refuse bases that lack a sequence of the windows or some of its bases, or have one twice.

    Raises:
        ValueError: with the sequence.
    """
    lengths_bp: dict[str, int] = {}
    for record in records:
        if record.name in lengths_bp:
            raise ValueError(f"--target has sequence {record.name!r} twice: give each file once")
        lengths_bp[record.name] = record.length_bp
    for name, end in targets.lengths_bp().items():
        if name not in lengths_bp:
            raise ValueError(f"--target lacks sequence {name!r} of the vectors: give the FASTA that was embedded")
        if end > lengths_bp[name]:
            raise ValueError(
                f"--target has {lengths_bp[name]:,} bp of {name!r}, the vectors go to {end:,}: "
                "give the FASTA that was embedded"
            )


def check_names(queries: Iterable[str], sequences: Iterable[str]) -> None:
    """Refuse names that no table holds, before the search and not after it.

    Raises:
        ValueError: with the name.
    """
    for kind, names in (("query", queries), ("sequence", sequences)):
        if wrong := [name for name in names if not fits_a_cell(name)]:
            raise ValueError(
                f"{kind} {wrong[0]!r} holds a tab or a line break, or begins with a quote, which no table can hold: "
                "rename it"
            )

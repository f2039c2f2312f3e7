"""What a new corpus changed since the last one of the same input: found, written beside it, shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plantgfm.corpus.compare import SpeciesChange, compare_records, summarise
from plantgfm.corpus.read import IDENTITY_FILE, Corpus, open_corpus, read_identity
from plantgfm.formats.streams import atomic_text
from plantgfm.identity import canonical_json, read_json
from plantgfm.report.table import Table

CHANGES_FILE = "changes.json"


def last_corpus(folder: Path, manifest: str) -> Corpus | None:
    """The newest corpus below a folder that was made from a manifest, however its path is written; None where none is.

    What is damaged or of another version is passed over: there is nothing in it to compare with.
    """
    written = sorted(folder.glob(f"[!.]*/{IDENTITY_FILE}"), key=lambda path: (path.stat().st_mtime_ns, path))
    for path in reversed(written):
        try:
            stored = read_identity(path.parent)["lineage"].get("manifest", "")
            if stored and Path(stored).resolve() == Path(manifest).resolve():
                return open_corpus(path.parent)
        except (ValueError, AttributeError, TypeError):
            continue
    return None


def write_changes(before: Corpus, after: Corpus) -> list[SpeciesChange]:
    """Compare a new corpus with the last one, and write beside it what changed, per species."""
    species = summarise(compare_records(before, after))
    stated = {"before": before.fingerprint, "after": after.fingerprint, "species": species}
    with atomic_text(after.path / CHANGES_FILE) as stream:
        stream.write(canonical_json(stated) + "\n")
    return species


def read_changes(corpus: Corpus) -> dict[str, Any] | None:
    """What `write_changes` left beside a corpus; None where it is the first of its input.

    Raises:
        ValueError: when it is damaged.
    """
    path = corpus.path / CHANGES_FILE
    return read_json(path, remedy="delete it: it only tells what changed") if path.is_file() else None


def changes_table(corpus: Corpus) -> Table | None:
    """What a corpus changed since the one before, a line a species that changed; None where it is the first."""
    stated = read_changes(corpus)
    if stated is None:
        return None
    columns = ("added_records", "added_bp", "removed_records", "removed_bp", "changed_records", "changed_bp")
    columns = ("species", *columns, "resplit_bp")
    rows = [[row[name] for name in columns] for row in stated["species"]]
    told = [row for row in rows if any(row[1:])]
    rows = [*told, ["all", *(sum(row[i] for row in rows) for i in range(1, len(columns)))]]
    titles = ("species", "added", "added bp", "removed", "removed bp", "changed", "changed bp", "other split bp")
    title = f"Since corpus {stated['before']} of the same input"
    note = f"unchanged species: {len(stated['species']) - len(told)}"
    return Table(title, titles, rows, note=note)

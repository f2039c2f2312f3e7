"""Two corpora side by side: content, decisions, settings, fingerprints; as tables and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from plantgfm.corpus.compare import Change, RecordChange, SpeciesChange, compare_records, summarise
from plantgfm.corpus.read import Corpus, open_corpus
from plantgfm.curation.compare import DecisionChange, SpeciesDecisions, compare_decisions, summarise_decisions
from plantgfm.formats.streams import atomic_text
from plantgfm.identity import plain
from plantgfm.report.table import Table
from plantgfm.training.run_folder import differences
from plantgfm.wiring.ledgers import Source, open_source

_SHOWN = 40


@dataclass(frozen=True)
class Comparison:
    """What differs from corpus A to corpus B."""

    paths: tuple[Path, Path]
    fingerprints: tuple[str, str]
    lineages: tuple[dict[str, Any], dict[str, Any]]
    species: list[SpeciesChange]
    records: list[RecordChange]  # all that are not the same, or lie in other splits
    species_decisions: list[SpeciesDecisions] | None  # None where one of the two has no ledger at hand
    decisions: list[DecisionChange]
    settings: dict[str, tuple[str, str]]  # dotted name: values in A and in B, as JSON; as far as both know them


def compare_corpora(a: Path, b: Path) -> Comparison:
    """Compare two corpora, each given as its folder or as a run on it.

    Raises:
        ValueError: when a path is neither, or a corpus is not there any more.
    """
    sources = [open_source(path) for path in (a, b)]
    before, after = (_corpus_of(source) for source in sources)
    changes = compare_records(before, after)
    ledgers = [source.ledger for source in sources if source.ledger]
    decisions = compare_decisions(*ledgers) if len(ledgers) == 2 else []
    return Comparison(
        paths=(a, b),
        fingerprints=(before.fingerprint, after.fingerprint),
        lineages=(before.lineage, after.lineage),
        species=summarise(changes),
        records=[change for change in changes if change.change is not Change.SAME or change.resplit_bp],
        species_decisions=summarise_decisions(*ledgers, decisions) if len(ledgers) == 2 else None,
        decisions=decisions,
        settings=_settings(sources, (before, after)),
    )


def _corpus_of(source: Source) -> Corpus:
    if source.corpus_path is None:
        raise ValueError(f"{source.path} has no corpus at hand: name the corpus folder, or train again to write it")
    return open_corpus(source.corpus_path)


def _settings(sources: list[Source], corpora: tuple[Corpus, Corpus]) -> dict[str, tuple[str, str]]:
    known = []
    for source, corpus in zip(sources, corpora):
        found = dict(source.settings) if all(one.settings for one in sources) else {}
        found["corpus"] = {**found.get("corpus", {}), "layout": plain(corpus.config)}
        known.append(found)
    return differences(*known)


def write_comparison(comparison: Comparison, out: Path) -> None:
    """Write everything as JSON, nothing left out."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_text(out) as stream:
        stream.write(json.dumps(plain(comparison), indent=2, ensure_ascii=False) + "\n")


def comparison_tables(comparison: Comparison) -> list[Table]:
    """For a terminal: what the two are, sums per species, then the records, decisions and settings that differ."""
    tables = [_identity_table(comparison), _species_table(comparison)]
    if comparison.species_decisions is not None:
        tables.append(_decisions_summary(comparison))
    if comparison.records:
        tables.append(_records_table(comparison))
    if comparison.decisions:
        tables.append(_decisions_table(comparison))
    if comparison.settings:
        rows = [(name, was, now) for name, (was, now) in comparison.settings.items()]
        tables.append(Table("Settings that differ", ("setting", "A", "B"), rows))
    return tables


def _identity_table(comparison: Comparison) -> Table:
    same = comparison.fingerprints[0] == comparison.fingerprints[1]
    names = sorted(set(comparison.lineages[0]) | set(comparison.lineages[1]))
    rows = [("path", *map(str, comparison.paths)), ("fingerprint", *comparison.fingerprints)]
    rows += [(f"lineage: {name}", *(str(one.get(name, "–")) for one in comparison.lineages)) for name in names]
    note = "the same corpus: bases, masks, clusters, splits and settings" if same else ""
    if (
        not same
        and not comparison.records
        and not any(name.startswith("corpus.layout") for name in comparison.settings)
    ):
        note = "the same bases, masks and splits; what differs is which windows count as near-duplicates"
    return Table("Corpora", ("", "A", "B"), rows, note=note)


def _species_table(comparison: Comparison) -> Table:
    rows = [asdict(row) for row in comparison.species]
    columns = ("species", "records_before", "records_after", "bp_before", "bp_after", "added_bp", "removed_bp")
    columns = (*columns, "changed_bp", "resplit_bp")
    cells = [[row[name] for name in columns] for row in rows]
    cells.append(["all", *(sum(row[name] for row in rows) for name in columns[1:])])
    counts = {kind: sum(c.change is kind for c in comparison.records) for kind in Change if kind is not Change.SAME}
    note = ", ".join(f"{kind.value}: {count:,} records" for kind, count in counts.items())
    titles = ("species", "records A", "records B", "bp A", "bp B", "added", "removed", "changed", "other split")
    return Table("Content, from A to B", titles, cells, note=note)


def _decisions_summary(comparison: Comparison) -> Table:
    rows = [list(asdict(row).values()) for row in comparison.species_decisions or []]
    rows.append(["all", *(sum(column) for column in list(zip(*rows))[1:])])
    titles = ("species", "input A", "input B", "input bp A", "input bp B", "kept bp A", "kept bp B")
    note = "input in records; otherwise: records in both whose outcome, reason or flags differ"
    return Table("Decisions, from A to B", (*titles, "otherwise", "otherwise bp"), rows, note=note)


def _records_table(comparison: Comparison) -> Table:
    rows = []
    for c in comparison.records[:_SHOWN]:
        what = "split changed" if c.change is Change.SAME else c.change.value
        what += f" (bases of {c.twin})" if c.twin else ""
        rows.append((c.species, c.cultivar, c.assembly, c.record, what, c.before_bp, c.after_bp, c.resplit_bp))
    titles = ("species", "cultivar", "assembly", "record", "change", "bp A", "bp B", "other split")
    return Table("Records that differ", titles, rows, note=_more(comparison.records))


def _decisions_table(comparison: Comparison) -> Table:
    first = sorted(comparison.decisions, key=lambda c: not (c.before and c.after))  # decided otherwise, then the others
    rows = [
        (c.assembly, c.record, c.length_bp, c.before or "not in the input", c.after or "not in the input")
        for c in first[:_SHOWN]
    ]
    titles = ("assembly", "record", "bp", "A", "B")
    return Table("Decisions that differ", titles, rows, note=_more(comparison.decisions))


def _more(rows: list) -> str:
    return f"{len(rows) - _SHOWN:,} more: --out writes all" if len(rows) > _SHOWN else ""

"""The ledger as tables for terminals and reports; apart from the other tables, for curation needs no JAX."""

from __future__ import annotations

from plantgfm.curation.ledger import Ledger
from plantgfm.report.table import Table
from plantgfm.schema import Outcome


def ledger_table(ledger: Ledger) -> Table:
    """What each stage decided: stage x reason with species, records, base pairs; the sum is the input."""
    rows = [(row.stage, row.species, row.outcome, row.reason, row.records, row.bp, row.cut_bp) for row in ledger.rows()]
    columns = ("stage", "species", "outcome", "reason", "records", "bp", "cut bp")
    if not any(row[-1] for row in rows):
        rows, columns = [row[:-1] for row in rows], columns[:-1]
    totals = ledger.totals()
    note = "; ".join(f"{name}: {records:,} records, {bp:,} bp" for name, (records, bp) in totals.items())
    given = f"input: {ledger.input_records:,} records, {ledger.input_bp:,} bp = kept + cut + rejected"
    note = f"{given}; {note}; out: {ledger.out_bp:,} bp"
    return Table("Curation ledger", columns, rows, note=note)


def evidence_table(ledger: Ledger, *, most: int = 60) -> Table:
    """One line a decision that is not simply `kept`: what was found, with its evidence."""
    told = [d for d in ledger.decisions if d.outcome is not Outcome.KEPT]
    rows = [(d.species, d.record or "(assembly)", d.outcome.value, d.reason, d.evidence) for d in told[:most]]
    note = f"{len(told) - most} more stand in ledger.parquet" if len(told) > most else ""
    return Table("Evidence", ("species", "record", "outcome", "reason", "evidence"), rows, note=note)

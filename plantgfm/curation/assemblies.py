"""What was measured of each assembly, as a table beside the ledger: contiguity, gaps, masks, score, marker genes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from plantgfm.curation.assembly_score import AssemblyMetrics
from plantgfm.formats.busco import GeneCompleteness
from plantgfm.formats.tables import write_tsv
from plantgfm.schema import Assembly

METRICS = tuple(field.name for field in fields(AssemblyMetrics))
GENES = ("tool", "lineage", "markers", "single", "duplicated", "fragmented", "missing")
COLUMNS = ("assembly", "species", "compartment", *METRICS, "score_version", *(f"genes_{name}" for name in GENES))


@dataclass(frozen=True)
class AssemblySummary:
    """One assembly: its metrics over the records that completeness and contamination left, and its marker genes."""

    assembly: Assembly
    metrics: AssemblyMetrics
    score_version: int
    genes: GeneCompleteness | None

    @classmethod
    def of(cls, assembly: Assembly, description: dict[str, Any]) -> AssemblySummary:
        """From what preparing the assembly stored."""
        genes = description["genes"]
        metrics = AssemblyMetrics(**description["metrics"])
        return cls(assembly, metrics, description["score_version"], GeneCompleteness(**genes) if genes else None)

    def row(self) -> dict[str, Any]:
        """The summary by `COLUMNS`; None where nothing is known."""
        one = self.assembly
        head = {"assembly": one.key, "species": one.species, "compartment": one.compartment.value}
        metrics = {name: getattr(self.metrics, name) for name in METRICS}
        genes = {f"genes_{name}": getattr(self.genes, name) if self.genes else None for name in GENES}
        return {**head, **metrics, "score_version": self.score_version, **genes}


def write_assemblies(path: Path, summaries: list[AssemblySummary]) -> None:
    """Write the table as TSV, a row an assembly, in their order. Atomic."""
    write_tsv(path, [summary.row() for summary in summaries], columns=COLUMNS)

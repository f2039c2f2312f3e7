"""What curation measured of records and assemblies, kept beside its decisions so that each can be retold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from plantgfm.schema import Assembly


@dataclass(frozen=True)
class RecordMeasures:
    """Figures of one record: as it was read, and as it was stored where no stage before the join rejected it."""

    assembly: str  # Assembly.key
    record: str
    length_bp: int
    unknown_bp: int  # as read
    gaps: int  # runs of at least 10 unknown bases
    terminal_unknown_bp: int  # unknown bases at its end
    stated: list[str]  # what other sources say of its length, each a clause
    truncation_signs: list[str]  # each a clause
    masked: list[list[int]]  # foreign and vector intervals (start, end), 0-based, half-open, set to unknown
    masked_bp: int  # bases that this made unknown, outside of cuts
    repeat_bp: int | None  # None where it was not stored
    repeat_source: str
    windows: int  # cluster windows; 0 where it was not accepted
    clustered_windows: int  # of these, with a near-duplicate elsewhere
    cut: list[list[int]] = field(default_factory=list)  # intervals (start, end) that were cut out of it, as above
    known_bp: int | None = None  # known bases that went on; None where it was not accepted (or in an older ledger)

    @property
    def cut_bp(self) -> int:
        """Length of what was cut out."""
        return sum(end - start for start, end in self.cut)


@dataclass(frozen=True)
class AssemblyMeasures:
    """Figures of one assembly, and what it claims to be."""

    assembly: str  # Assembly.key
    species: str
    cultivar: str
    name: str
    compartment: str
    accession: str
    expected_size_bp: int | None
    known_bp: int  # of the records that completeness left, each judged for itself
    records: int  # from here on over the records that contamination left
    unknown_bp: int
    length_bp: int
    n50_bp: int
    ng50_bp: int | None
    score: float | None
    verified: str  # what verified its cultivar label, "" where nothing did


@dataclass(frozen=True)
class Step:
    """What one step of one threshold would have done to one species; species "" says that it does nothing to any."""

    setting: str  # "completeness.min_record_bp"
    direction: str  # "stricter" or "looser"
    step: str  # how far it is: "x 2", "± 0.1"
    value: float  # as set
    moved_to: float  # the same where it is at its bound
    species: str
    lost_records: int  # kept or cut now, rejected then
    lost_bp: int
    gained_records: int  # rejected now; then kept, or passed on to the next stage
    gained_bp: int


@dataclass
class Accepted:
    """What is known of a record once it is accepted."""

    windows: int = 0
    clustered_windows: int = 0
    cut: list[list[int]] = field(default_factory=list)
    known_bp: int | None = None


def record_measures(assembly: str, description: dict[str, Any], accepted: dict[str, Accepted]) -> list[RecordMeasures]:
    """Measures of the records of a prepared assembly, in file order.

    Args:
        assembly: key of the assembly.
        description: what `prepare` stored of it.
        accepted: of each accepted record, what came of it.
    """
    stored = {row["name"]: row for row in description["kept"]}
    found = []
    for row in description["records"]:
        kept = stored.get(row["name"])
        end = accepted.get(row["name"], Accepted())
        figures = {name: value for name, value in row.items() if name != "name"}
        found.append(
            RecordMeasures(
                assembly=assembly,
                record=row["name"],
                **figures,
                repeat_bp=kept["repeat_bp"] if kept else None,
                repeat_source=description["repeat_source"] if kept else "",
                **vars(end),
            )
        )
    return found


def assembly_measures(assembly: Assembly, description: dict[str, Any], *, verified: str) -> AssemblyMeasures:
    """Measures of a prepared assembly; `verified` is what verified its label."""
    metrics = description["metrics"]
    names = ("records", "unknown_bp", "length_bp", "n50_bp", "ng50_bp", "score")
    return AssemblyMeasures(
        assembly=assembly.key,
        species=assembly.species,
        cultivar=assembly.cultivar,
        name=assembly.assembly,
        compartment=assembly.compartment.value,
        accession=assembly.accession,
        expected_size_bp=assembly.expected_size_bp,
        known_bp=description["known_bp"],
        **{name: metrics[name] for name in names},
        verified=verified,
    )

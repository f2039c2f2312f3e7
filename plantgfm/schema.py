"""Types that cross a stage: frozen dataclasses; each field says dims, dtype and unit.

Dimension letters: B windows, L tokens, P base pairs, S species, R regions, V vocabulary. Coordinates are 0-based and
half-open everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int8, Int32, Int64, UInt8

from plantgfm.sequence import Interval


class Compartment(Enum):
    """Where in the cell a sequence comes from."""

    NUCLEAR = "nuclear"
    PLASTID = "plastid"
    MITOCHONDRION = "mitochondrion"


class Outcome(Enum):
    """What curation decided on a record."""

    KEPT = "kept"
    CUT = "cut"  # kept in pieces: intervals were cut out
    FLAGGED = "flagged"
    REJECTED = "rejected"


class Split(IntEnum):
    """Which part of a corpus a region belongs to."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2


@dataclass(frozen=True)
class Assembly:
    """One row of a manifest: a FASTA file and what is said of it."""

    species: str  # normalised binomial, "Arabidopsis thaliana"
    cultivar: str
    assembly: str
    compartment: Compartment
    fasta: Path
    annotation: Path | None = None  # GFF3
    ploidy: int | None = None
    expected_size_bp: int | None = None  # None: the file is a piece, each record is judged for itself
    accession: str = ""  # ACCENUMB of its passport record, "" where none is claimed
    source: str = ""
    licence: str = ""
    fcs_gx: Path | None = None  # reports of other tools on the FASTA file, in their own formats
    fcs_adaptor: Path | None = None
    kraken2: Path | None = None
    kraken2_report: Path | None = None
    busco: Path | None = None  # of BUSCO or compleasm
    genotypes: Path | None = None  # VCF with a sample of the very plant that was assembled
    marker_genes: Path | None = None  # FASTA of single-copy genes that the assembly should hold
    sample: str = ""  # that sample's name

    @property
    def key(self) -> str:
        """A readable name that is unique in its manifest: species, cultivar, assembly, file name."""
        return "|".join((self.species, self.cultivar, self.assembly, self.fasta.name))


@dataclass(frozen=True)
class Record:
    """One sequence of a FASTA file."""

    name: str  # the header up to the first white space
    description: str  # the rest of the header
    codes: UInt8[np.ndarray, "P"]  # base codes 0..4
    soft_mask: Int64[np.ndarray, "runs 2"]  # lower-case runs (start, end), bp

    @property
    def length_bp(self) -> int:
        """Number of bases."""
        return int(self.codes.size)


@dataclass(frozen=True)
class Feature:
    """One line of a GFF3 file."""

    interval: Interval
    type: str  # Sequence Ontology term
    source: str = "."
    score: float | None = None
    phase: int | None = None  # 0, 1, 2 for CDS
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)  # decoded; several values a key


@dataclass(frozen=True)
class Decision:
    """What one stage of curation says of one record, which has one with `KEPT`, `CUT` or `REJECTED`, and any flags."""

    assembly: str  # Assembly.key
    species: str
    record: str
    length_bp: int
    outcome: Outcome
    stage: str  # completeness, contamination, assembly_score, duplicates, label; "accepted" where kept or cut
    reason: str  # a slug: "too_short", "near_duplicate"
    evidence: str  # one sentence with the numbers
    kept_assembly: str = ""  # of a duplicate: Assembly.key of what is kept in its place
    kept_record: str = ""  # and its record; "" where the whole assembly is
    cut_bp: int = 0  # of a cut record: how much of its length was cut out

    @property
    def out_bp(self) -> int:
        """Base pairs that go on to the corpus; 0 of a flag."""
        return self.length_bp - self.cut_bp if self.outcome in (Outcome.KEPT, Outcome.CUT) else 0


@dataclass(frozen=True)
class AcceptedRecord:
    """A record that curation kept, or a piece of one that parts were cut out of; where its bases lie, its clusters."""

    assembly: Assembly
    name: str
    bases: Path  # file of uint8, one byte a base: code 0..4, bit 3 set in repeats
    offset: int  # of its first base in that file, bytes = bp
    length_bp: int
    repeat_source: str  # "soft-mask", or "low-complexity+multiplicity"
    cluster_window_bp: int  # width of the windows that the next two arrays speak of
    cluster_id: Int64[np.ndarray, "windows"]  # near-duplicate cluster of each window, -1 alone
    cluster_size: Int32[np.ndarray, "windows"]  # number of windows in that cluster, 1 alone
    start: int = 0  # 0-based, in the record of the FASTA file; more than 0 only where something was cut out before it

    def load(self) -> UInt8[np.ndarray, "P"]:
        """The bases with their repeat bit, memory-mapped read-only."""
        return np.memmap(self.bases, dtype=np.uint8, mode="r", offset=self.offset, shape=(self.length_bp,))


@dataclass(frozen=True)
class Regions:
    """The regions of a corpus, one row each; a region lies within one record and one split."""

    offset: Int64[np.ndarray, "R"]  # of the region's first base in the corpus bases, bp
    length_bp: Int32[np.ndarray, "R"]
    species: Int32[np.ndarray, "R"]  # index into Corpus.species
    split: Int8[np.ndarray, "R"]  # Split
    record: Int32[np.ndarray, "R"]  # index into Corpus.records
    start: Int64[np.ndarray, "R"]  # 0-based, in its record, bp; in the FASTA file's: plus CorpusRecord.start


@dataclass(frozen=True)
class WindowPairs:
    """Windows of a step or of an evaluation: an upstream window and the downstream window to predict."""

    region: Int32[np.ndarray, "B"]
    species: Int32[np.ndarray, "B"]
    start: Int64[np.ndarray, "B"]  # leftmost base of the upstream window in the corpus bases
    next_start: Int64[np.ndarray, "B"]  # leftmost base of the downstream window in the corpus bases
    reverse: Bool[np.ndarray, "B"]  # True: both windows are read on the reverse strand
    distance_bp: Int32[np.ndarray, "B"]  # gap between the two windows

    def __len__(self) -> int:
        return int(self.region.size)


@dataclass(frozen=True)
class Batch:
    """What a step eats: upstream tokens, and the tokens of the region to predict."""

    tokens: Int32[np.ndarray, "B L"]  # [CLS] first, [PAD] at the end
    repeat_fraction: Float32[np.ndarray, "B L"]  # share of each token's bases that lie in repeats
    next_tokens: Int32[np.ndarray, "B L"]  # of the downstream window, same layout
    distance_bp: Int32[np.ndarray, "B"]
    species: Int32[np.ndarray, "B"]

"""Stage 2, contamination: vectors, foreign organisms, and organelle sequence under a nuclear label.

Vectors are found by scored local matches, organisms and organelles by k-mer hashes shared with references, at least
three distinct ones in an interval (single shared hashes are chance or conserved genes). A record that is mostly foreign
is rejected; a foreign interval in an otherwise clean record is masked and flagged. Organelle insertions into nuclear
chromosomes are natural: flagged only. A header that names another compartment than the manifest is evidence enough to
reject. Composition alone never counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8, UInt64

from plantgfm.curation.config import ContaminationConfig
from plantgfm.curation.facts import RecordFacts, Verdict, stated_compartment
from plantgfm.curation.references import HashIndex, ReferenceIndex
from plantgfm.curation.vectors import find_vectors
from plantgfm.schema import Compartment, Outcome
from plantgfm.sequence import mask_of, runs_of
from plantgfm.sketch import distinct, identity_of_containment

STAGE = "contamination"


@dataclass(frozen=True)
class Shared:
    """An interval of a record that shares hashes with one kind of reference."""

    start: int
    end: int
    shared: int  # distinct hashes found in a reference
    total: int  # hashes of the interval
    name: str  # the reference that most of them belong to

    def describe(self, k: int) -> str:
        """The interval with its numbers, as a clause."""
        identity = identity_of_containment(self.shared / max(1, self.total), k)
        return f"{self.start:,}-{self.end:,} like {self.name} ({self.shared} of {self.total} hashes, ~{identity:.1%})"


def judge_header(fact: RecordFacts, compartment: Compartment) -> list[Verdict]:
    """Rejects a record whose header names another compartment than the manifest does."""
    stated = stated_compartment(fact.name, fact.description)
    if stated is None or stated is compartment:
        return []
    header = f"{fact.name} {fact.description}".strip()
    text = f'the header "{header[:80]}" names the {stated.value}, the manifest says {compartment.value}'
    return [Verdict(fact.name, Outcome.REJECTED, STAGE, f"{stated.value}_under_{compartment.value}_label", text)]


def judge_record(
    fact: RecordFacts,
    codes: UInt8[np.ndarray, "P"],
    hashes: UInt64[np.ndarray, "hashes"],
    places: Int64[np.ndarray, "hashes"],
    *,
    compartment: Compartment,
    references: ReferenceIndex,
    config: ContaminationConfig,
) -> tuple[list[Verdict], Int64[np.ndarray, "runs 2"]]:
    """Verdicts on one record, and the intervals of it to mask: vector and foreign ones where it is not rejected."""
    if verdicts := judge_header(fact, compartment):
        return verdicts, np.empty((0, 2), dtype=np.int64)
    foreign = shared_intervals(hashes, places, references.foreign, config)
    foreign_verdicts, foreign_runs = _judge_intervals(
        fact, foreign, "foreign_organism", config.max_foreign_fraction, config
    )
    vector_verdicts, vector_runs = _judge_vectors(fact, codes, references, config)
    organelle = []
    if compartment is Compartment.NUCLEAR and not any(v.outcome is Outcome.REJECTED for v in foreign_verdicts):
        shared = shared_intervals(hashes, places, references.organelle, config)
        organelle = _judge_organelle(fact, shared, config)
    verdicts = _first_rejection([*foreign_verdicts, *vector_verdicts, *organelle])
    return verdicts, np.concatenate([foreign_runs, vector_runs])


def shared_intervals(
    hashes: UInt64[np.ndarray, "hashes"],
    places: Int64[np.ndarray, "hashes"],
    index: HashIndex,
    config: ContaminationConfig,
) -> list[Shared]:
    """Intervals of a record that share at least `min_shared_hashes` distinct hashes with a reference."""
    if not index.hashes.size or not hashes.size:
        return []
    at = np.minimum(np.searchsorted(index.hashes, hashes), index.hashes.size - 1)
    hits = np.flatnonzero(index.hashes[at] == hashes)
    if not hits.size:
        return []
    intervals = []
    for group in np.split(hits, np.flatnonzero(np.diff(places[hits]) > config.max_gap_bp) + 1):
        shared = int(np.unique(hashes[group]).size)
        if shared < config.min_shared_hashes:
            continue
        start, end = int(places[group[0]]), int(places[group[-1]]) + config.k
        total = int(group[-1] - group[0] + 1)
        owner = np.bincount(index.owner[at[group]], minlength=len(index.names))
        intervals.append(Shared(start, end, shared, max(shared, total), index.names[int(owner.argmax())]))
    return intervals


def _judge_intervals(
    fact: RecordFacts, intervals: list[Shared], reason: str, max_fraction: float, config: ContaminationConfig
) -> tuple[list[Verdict], np.ndarray]:
    runs = np.array([(part.start, part.end) for part in intervals], dtype=np.int64).reshape(-1, 2)
    if not intervals:
        return [], runs
    covered = int((runs[:, 1] - runs[:, 0]).sum())
    share = covered / max(1, fact.length_bp - fact.unknown_bp)
    text = f"{covered:,} of {fact.length_bp:,} bp ({share:.1%}) match references: {_list(intervals, config.k)}"
    if share > max_fraction:
        return [Verdict(fact.name, Outcome.REJECTED, STAGE, reason, text)], runs[:0]
    return [Verdict(fact.name, Outcome.FLAGGED, STAGE, f"{reason}_masked", f"{text}; masked as unknown")], runs


def _judge_vectors(
    fact: RecordFacts, codes: np.ndarray, references: ReferenceIndex, config: ContaminationConfig
) -> tuple[list[Verdict], np.ndarray]:
    matches = find_vectors(codes, references.vectors, config.min_vector_score)
    if not matches:
        return [], np.empty((0, 2), dtype=np.int64)
    runs = runs_of(mask_of(np.array([(start, end) for start, end, _, _ in matches]), codes.size))
    covered = int((runs[:, 1] - runs[:, 0]).sum())
    share = covered / max(1, fact.length_bp - fact.unknown_bp)
    best = max(matches, key=lambda match: (match[2], -match[0]))
    text = (
        f"{covered:,} of {fact.length_bp:,} bp ({share:.1%}) match vectors in {len(runs)} intervals, "
        f"best {best[3]} at {best[0]:,}-{best[1]:,} with score {best[2]} (strong from {config.min_vector_score})"
    )
    if share > config.max_vector_fraction:
        return [Verdict(fact.name, Outcome.REJECTED, STAGE, "vector", text)], runs[:0]
    return [Verdict(fact.name, Outcome.FLAGGED, STAGE, "vector_masked", f"{text}; masked as unknown")], runs


def _judge_organelle(fact: RecordFacts, intervals: list[Shared], config: ContaminationConfig) -> list[Verdict]:
    if not intervals:
        return []
    covered = sum(part.end - part.start for part in intervals)
    share = covered / max(1, fact.length_bp - fact.unknown_bp)
    text = f"{covered:,} of {fact.length_bp:,} bp ({share:.1%}) match organelles: {_list(intervals, config.k)}"
    if share >= config.min_organelle_fraction:
        return [Verdict(fact.name, Outcome.REJECTED, STAGE, "organelle_under_nuclear_label", text)]
    return [Verdict(fact.name, Outcome.FLAGGED, STAGE, "organelle_insertion", text)]


def _list(intervals: list[Shared], k: int) -> str:
    largest = sorted(intervals, key=lambda part: (part.start - part.end, part.start))
    rest = f" and {len(intervals) - 3} more" if len(intervals) > 3 else ""
    return "; ".join(part.describe(k) for part in largest[:3]) + rest


def _first_rejection(verdicts: list[Verdict]) -> list[Verdict]:
    rejected = [verdict for verdict in verdicts if verdict.outcome is Outcome.REJECTED]
    return rejected[:1] or verdicts


MIN_SAME_COMPARTMENT = 5


def compare_compartments(
    records: list[dict[str, UInt64[np.ndarray, "hashes"]]], labels: list[Compartment], config: ContaminationConfig
) -> list[list[Verdict]]:
    """Verdicts from comparing assemblies with each other, one list an assembly; no reference is needed.

    A record labelled nuclear is rejected where at least half of its hashes lie in assemblies labelled organelle; one
    labelled plastid or mitochondrion where it shares none with any of at least five others of that compartment
    (organelle genomes are conserved; nuclear ones need share nothing).

    Args:
        records: hashes by record name, for each assembly.
        labels: the stated compartment of each assembly.
        config: thresholds.
    """
    whole = [distinct(list(found.values())) for found in records]
    by_label = {label: [i for i, other in enumerate(labels) if other is label] for label in Compartment}
    verdicts: list[list[Verdict]] = [[] for _ in records]
    for label in (Compartment.PLASTID, Compartment.MITOCHONDRION):
        organelle = distinct([whole[i] for i in by_label[label]])
        for i in by_label[Compartment.NUCLEAR]:
            verdicts[i] += _fits_organelle(records[i], organelle, label, config)
        if len(by_label[label]) > MIN_SAME_COMPARTMENT:
            for i in by_label[label]:
                others = [whole[j] for j in by_label[label] if j != i]
                verdicts[i] += _fits_none(records[i], others, label)
    return verdicts


def _fits_organelle(
    records: dict[str, np.ndarray], organelle: np.ndarray, label: Compartment, config: ContaminationConfig
) -> list[Verdict]:
    verdicts = []
    for name, hashes in records.items():
        shared = int(np.intersect1d(hashes, organelle, assume_unique=True).size)
        if shared >= config.min_shared_hashes and shared >= config.min_organelle_fraction * hashes.size:
            text = f"{shared} of {hashes.size} hashes lie in assemblies labelled {label.value}, this one is nuclear"
            verdicts.append(Verdict(name, Outcome.REJECTED, STAGE, f"{label.value}_under_nuclear_label", text))
    return verdicts


def _fits_none(records: dict[str, np.ndarray], others: list[np.ndarray], label: Compartment) -> list[Verdict]:
    verdicts = []
    everything = distinct(others)
    for name, hashes in records.items():
        if hashes.size >= 100 and not np.intersect1d(hashes, everything, assume_unique=True).size:
            text = f"none of its {hashes.size} hashes lies in any of {len(others)} others labelled {label.value}"
            verdicts.append(Verdict(name, Outcome.REJECTED, STAGE, f"fits_no_other_{label.value}", text))
    return verdicts

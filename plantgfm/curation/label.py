"""Stage 5, cultivar-label verification: does an assembly agree with the passport of the accession it claims?

Two checks. Genetic: the sketch distance to the reference sequence that the passport names, next to the distances to the
references of all other accessions; a label falls when another accession's reference is clearly nearer, or when its own
is unrelated. Taxonomic: the passport's binomial, and whether an assembly is nearer to other species' than to its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt64

from plantgfm.curation.config import LabelConfig
from plantgfm.formats.passport import PassportRecord
from plantgfm.schema import Assembly, Outcome
from plantgfm.sketch import identity_of_containment

STAGE = "label"


@dataclass(frozen=True)
class AssemblyVerdict:
    """What this stage says of all remaining records of an assembly."""

    outcome: Outcome  # KEPT where verified
    reason: str
    evidence: str


def containment(a: UInt64[np.ndarray, "n"], b: UInt64[np.ndarray, "m"]) -> tuple[float, int]:
    """Share of the smaller of two sorted hash sets that lies in the other, and the number of shared hashes."""
    shared = int(np.intersect1d(a, b, assume_unique=True).size)
    return shared / max(1, min(a.size, b.size)), shared


def distance(a: UInt64[np.ndarray, "n"], b: UInt64[np.ndarray, "m"], k: int) -> tuple[float, int]:
    """Sketch distance, 1 - identity by containment, and the number of shared hashes."""
    share, shared = containment(a, b)
    return 1.0 - identity_of_containment(share, k), shared


def find_passport(assembly: Assembly, passport: list[PassportRecord]) -> PassportRecord | None:
    """The passport record that an assembly claims: by accession number, else by species and cultivar name."""
    if assembly.accession:
        found = [p for p in passport if assembly.accession in (p.accenumb, f"{p.instcode}:{p.accenumb}", p.doi)]
        found.sort(key=lambda p: (p.binomial.lower() != assembly.species.lower(), p.instcode))
        return found[0] if found else None
    named = _plain(assembly.cultivar)
    same = [p for p in passport if p.binomial.lower() == assembly.species.lower()]
    found = [p for p in same if named and named in {_plain(name) for name in p.names}]
    return found[0] if len(found) == 1 else None


def judge_label(
    assembly: Assembly,
    hashes: UInt64[np.ndarray, "n"],
    *,
    passport: list[PassportRecord],
    references: dict[tuple[str, str], UInt64[np.ndarray, "m"]],
    k: int,
    config: LabelConfig,
) -> list[AssemblyVerdict]:
    """Verdicts on one assembly; empty where it claims no accession.

    Args:
        assembly: what is claimed.
        hashes: sorted FracMinHash hashes of its remaining records.
        passport: all passport records.
        references: hashes of each accession's reference, by (INSTCODE, ACCENUMB).
        k: length of the k-mers.
        config: thresholds.
    """
    record = find_passport(assembly, passport)
    if record is None:
        if not assembly.accession:
            return []
        text = f"accession {assembly.accession} has none among {len(passport)} passport records"
        return [AssemblyVerdict(Outcome.FLAGGED, "no_passport_record", text)]
    verdicts = []
    if record.binomial and record.binomial.lower() != assembly.species.lower():
        text = f"the passport of {record.accenumb} says {record.binomial}, the manifest {assembly.species}"
        verdicts.append(AssemblyVerdict(Outcome.FLAGGED, "species_disagrees", text))
    own = references.get((record.instcode, record.accenumb))
    if own is None:
        text = f"the passport of {record.accenumb} names no reference to compare with"
        return [*verdicts, AssemblyVerdict(Outcome.FLAGGED, "unverified_label", text)]
    whole = assembly.expected_size_bp is not None
    return [*verdicts, _judge_genetics(record, hashes, own, references, whole=whole, k=k, config=config)]


def _judge_genetics(
    record: PassportRecord,
    hashes: np.ndarray,
    own: np.ndarray,
    references: dict,
    *,
    whole: bool,
    k: int,
    config: LabelConfig,
) -> AssemblyVerdict:
    to_own, shared = distance(hashes, own, k)
    others = [
        (*distance(hashes, other, k), number)
        for (institute, number), other in references.items()
        if (institute, number) != (record.instcode, record.accenumb)
    ]
    text = f"distance to the reference of {record.accenumb} is {to_own:.4f} ({shared:,} shared hashes)"
    if others:
        nearest, nearest_shared, number = min(others)
        text = f"{text}, to the nearest other, {number}, {nearest:.4f} ({nearest_shared:,})"
        if nearest < to_own - config.margin and nearest_shared >= config.min_shared_hashes:
            return AssemblyVerdict(Outcome.REJECTED, "label_mismatch", f"{text}: it is {number} rather")
    if shared < config.min_shared_hashes or to_own > config.max_distance:
        limit = f"{text}; at most {config.max_distance:g} and {config.min_shared_hashes} hashes are asked"
        if whole:
            return AssemblyVerdict(Outcome.REJECTED, "label_mismatch", limit)
        return AssemblyVerdict(Outcome.FLAGGED, "unverified_label", f"{limit}, but a piece may lie elsewhere")
    return AssemblyVerdict(Outcome.KEPT, "verified", text)


def judge_species(
    assembly: Assembly, hashes: UInt64[np.ndarray, "n"], others: list[tuple[Assembly, np.ndarray]], *, k: int
) -> list[AssemblyVerdict]:
    """Whether an assembly is one species' sequence under another's name: nearer to others than to its own.

    Rejected only where another assembly of its own name is at hand and clearly further (by 0.02) than one of another
    name that is nearly identical (within 0.03), among whole genomes; flagged where nothing of its own name is at hand.
    """
    near, far = [], []
    for other, other_hashes in others:
        if other.compartment is not assembly.compartment:
            continue
        gap, shared = distance(hashes, other_hashes, k)
        if shared >= 50:
            (far if other.species == assembly.species else near).append((gap, other.key, other.species))
    own_at_hand = any(other.species == assembly.species and other.expected_size_bp for other, _ in others)
    if not near or min(near)[0] > 0.03:
        return []
    gap, key, species = min(near)
    own = min(far)[0] if far else 1.0
    text = f"distance to {key} is {gap:.4f}"
    if own_at_hand and assembly.expected_size_bp and own > gap + 0.02:
        text = f"{text}, to the nearest {assembly.species} {own:.4f}: it is {species} rather"
        return [AssemblyVerdict(Outcome.REJECTED, "species_mismatch", text)]
    if not own_at_hand:
        text = f"{text}, and no other {assembly.species} is at hand to compare with"
        return [AssemblyVerdict(Outcome.FLAGGED, "close_to_other_species", text)]
    return []


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()

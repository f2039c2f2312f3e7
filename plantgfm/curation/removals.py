"""Duplicates among prepared assemblies: what is compared with what, and what the removals mean for each record."""

from __future__ import annotations

from typing import Any

import numpy as np

from plantgfm.curation import duplicates
from plantgfm.curation.config import CurationConfig
from plantgfm.curation.facts import Verdict
from plantgfm.curation.names import NamedRecord, NameIndex
from plantgfm.curation.prepared import Prepared
from plantgfm.identity import fingerprint
from plantgfm.schema import Compartment, Outcome
from plantgfm.sketch import distinct, ring_digest


def remove_duplicates(prepared: list[Prepared], config: CurationConfig) -> None:
    """Duplicates among assemblies, then among the records that are left; verdicts are added."""
    _remove_assemblies(prepared, config)
    _remove_records(prepared, config)


def _sequence(one: Prepared, rows: list[dict[str, Any]], config: CurationConfig, *, whole: bool) -> duplicates.Sequence:
    """A record, or all records that are left of an assembly, as duplicates are sought among them."""
    ring = one.assembly.compartment is not Compartment.NUCLEAR
    names, k = [row["name"] for row in rows], config.duplicates.k
    sides = [[row[side] for row in rows] for side in ("forward", "reverse")]
    contents = [ring_digest(one.bases(name), k=k) for name in names] if ring else [min(both) for both in zip(*sides)]
    forward, reverse, content = (
        fingerprint(sorted(digests)) if whole else digests[0] for digests in (*sides, contents)
    )
    return duplicates.Sequence(
        assembly=one.assembly.key,
        record="" if whole else names[0],
        species=one.species,
        named=one.assembly.species,
        length_bp=sum(row["length_bp"] for row in rows),
        known_bp=sum(row["length_bp"] - row["unknown_bp"] for row in rows),
        annotated=one.assembly.annotation is not None,
        n50_bp=one.description["metrics"]["n50_bp"],
        forward=forward,
        reverse=reverse,
        content=content,
        signature=np.minimum.reduce([one.arrays["signatures"][one.numbers[name]] for name in names]),
        hashes=distinct([one.hashes[name] for name in names]) if whole else one.hashes[names[0]],
        parts=lambda: [one.bases(name) for name in names],
        k=k,
        bins=config.duplicates.bins,
    )


def _find(prepared: list[Prepared], *, whole: bool, identity: float, config: CurationConfig) -> list:
    """Removals among whole assemblies, or among records; a plastid is no duplicate of its copy in a chromosome."""
    removals, settings = [], config.duplicates
    for compartment in Compartment:
        group = [(one, one.left()) for one in prepared if one.assembly.compartment is compartment]
        units = [(one, rows) for one, left in group for rows in ([left] if whole else [[row] for row in left]) if rows]
        candidates = [_sequence(one, rows, config, whole=whole) for one, rows in units]
        nuclear = compartment is Compartment.NUCLEAR
        across = settings.species_identity if nuclear else settings.organelle_species_identity
        removals += duplicates.find_duplicates(
            candidates, _names(group).fit, identity=identity, across=max(identity, across), config=settings
        )
    return removals


def _names(group: list[tuple[Prepared, list[dict[str, Any]]]]) -> NameIndex:
    records = [
        NamedRecord(
            one.assembly.key,
            row["name"],
            one.species,
            one.assembly.expected_size_bp is not None,
            one.hashes[row["name"]],
        )
        for one, left in group
        for row in left
    ]
    return NameIndex(records)


def _remove_assemblies(prepared: list[Prepared], config: CurationConfig) -> None:
    by_key = {one.assembly.key: one for one in prepared}
    removals = _find(prepared, whole=True, identity=config.duplicates.assembly_identity, config=config)
    for removal in removals:
        one = by_key[removal.removed.assembly]
        text = f"assembly {removal.evidence}"
        one.verdicts += [_rejection(row["name"], removal, text) for row in one.left()]
    for removal in removals:
        if removal.in_doubt:
            one, text = by_key[removal.kept.assembly], f"assembly: {removal.in_doubt}"
            one.verdicts += [_verdict(row["name"], Outcome.FLAGGED, "species_in_doubt", text) for row in one.left()]


def _remove_records(prepared: list[Prepared], config: CurationConfig) -> None:
    by_key = {one.assembly.key: one for one in prepared}
    for removal in _find(prepared, whole=False, identity=config.duplicates.record_identity, config=config):
        verdict = _rejection(removal.removed.record, removal, removal.evidence)
        by_key[removal.removed.assembly].verdicts.append(verdict)
        if removal.in_doubt:
            flag = _verdict(removal.kept.record, Outcome.FLAGGED, "species_in_doubt", removal.in_doubt)
            by_key[removal.kept.assembly].verdicts.append(flag)


def _verdict(record: str, outcome: Outcome, reason: str, evidence: str) -> Verdict:
    return Verdict(record, outcome, duplicates.STAGE, reason, evidence)


def _rejection(record: str, removal: duplicates.Removal, evidence: str) -> Verdict:
    kept = removal.kept
    return Verdict(record, Outcome.REJECTED, duplicates.STAGE, removal.reason, evidence, kept.assembly, kept.record)

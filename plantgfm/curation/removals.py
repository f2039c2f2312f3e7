"""Duplicates among prepared assemblies: what is compared with what, and what the removals mean for each record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from plantgfm.curation import chimeras, duplicates
from plantgfm.curation.config import ContaminationConfig, CurationConfig, IntervalAction
from plantgfm.curation.contamination import STAGE
from plantgfm.curation.facts import Verdict
from plantgfm.curation.findings import Finding, act
from plantgfm.curation.names import NamedRecord, NameIndex
from plantgfm.curation.prepared import Prepared
from plantgfm.curation.strays import find_strays
from plantgfm.curation.stretches import MIN_MARKS, lie_in
from plantgfm.identity import fingerprint
from plantgfm.schema import Compartment, Outcome
from plantgfm.sketch import distinct, ring_digest

Group = list[tuple[Prepared, list[dict[str, Any]]]]
"""Assemblies of one compartment, with the records that are left of each."""


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


def _groups(prepared: list[Prepared]) -> Iterator[tuple[Compartment, Group]]:
    """What is left, by compartment: a plastid is no duplicate of its copy in a chromosome."""
    for compartment in Compartment:
        yield compartment, [(one, _unique(one)) for one in prepared if one.assembly.compartment is compartment]


def _unique(one: Prepared) -> list[dict[str, Any]]:
    """The records that are left and are no duplicates so far, which matters where this stage only flags."""
    told = one.told(duplicates.STAGE)
    return [row for row in one.left() if row["name"] not in told]


def _find(
    compartment: Compartment, group: Group, config: CurationConfig, *, whole: bool, identity: float, names: NameIndex
) -> duplicates.Found:
    """Duplicates among whole assemblies, or among records."""
    units = [(one, rows) for one, left in group for rows in ([left] if whole else [[row] for row in left]) if rows]
    candidates = [_sequence(one, rows, config, whole=whole) for one, rows in units]
    settings, nuclear = config.duplicates, compartment is Compartment.NUCLEAR
    across = settings.species_identity if nuclear else settings.organelle_species_identity
    return duplicates.find_duplicates(
        candidates, names.fit, identity=identity, across=max(identity, across), config=settings
    )


def _names(group: Group) -> NameIndex:
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
    by_key, identity = {one.assembly.key: one for one in prepared}, config.duplicates.assembly_identity
    removals = [
        removal
        for compartment, group in _groups(prepared)
        for removal in _find(compartment, group, config, whole=True, identity=identity, names=_names(group)).removals
    ]
    for removal in removals:
        one = by_key[removal.removed.assembly]
        text = f"assembly {removal.evidence}"
        one.verdicts += [_rejection(row["name"], removal, text) for row in _unique(one)]
    for removal in removals:
        if removal.in_doubt:
            one, text = by_key[removal.kept.assembly], f"assembly: {removal.in_doubt}"
            names = [row["name"] for row in _unique(one) if _holds(one.hashes[row["name"]], removal.removed.hashes)]
            one.verdicts += [_verdict(name, Outcome.FLAGGED, duplicates.IN_DOUBT, text) for name in names]


def _holds(hashes: np.ndarray, removed: np.ndarray) -> bool:
    """Whether a record of the assembly that is kept has some of the one that is not: it may be the longer one."""
    return bool(lie_in(hashes, removed).sum() >= min(MIN_MARKS, hashes.size / 2))


def _remove_records(prepared: list[Prepared], config: CurationConfig) -> None:
    by_key, identity = {one.assembly.key: one for one in prepared}, config.duplicates.record_identity
    removals, parts, strays = [], [], []
    for compartment, group in _groups(prepared):
        names = _names(group)
        found = _find(compartment, group, config, whole=False, identity=identity, names=names)
        removals += found.removals
        if compartment is Compartment.NUCLEAR:  # organelles are alike by nature, in long parts
            genomes = {one.species for one, left in group if left and one.genome(hashed=False).whole}
            parts += chimeras.find_parts(found, names, genomes, config.contamination)
            strays += find_strays(found, names, config.contamination)
    for removal in removals:
        verdict = _rejection(removal.removed.record, removal, removal.evidence)
        by_key[removal.removed.assembly].verdicts.append(verdict)
        if removal.in_doubt:
            flag = _verdict(removal.kept.record, Outcome.FLAGGED, duplicates.IN_DOUBT, removal.in_doubt)
            by_key[removal.kept.assembly].verdicts.append(flag)
    for part in parts:
        _judge_part(by_key[part.sequence.assembly], part, config.contamination)
    told = {part.sequence.place for part in parts}
    for stray in strays:
        if stray.sequence.place not in told:
            flag = _verdict(stray.sequence.record, Outcome.FLAGGED, duplicates.IN_DOUBT, stray.evidence)
            by_key[stray.sequence.assembly].verdicts.append(flag)


def _judge_part(one: Prepared, part: chimeras.Part, config: ContaminationConfig) -> None:
    """What a part under another species' name means for its record: all of it, a mislabelled one, else a chimera."""
    record = part.sequence.record
    if record in one.rejected():  # by its likeness to a second species
        return
    if part.whole:
        outcome, reason = (
            (Outcome.REJECTED, duplicates.OTHER_SPECIES) if part.told else (Outcome.FLAGGED, duplicates.IN_DOUBT)
        )
        kept = part.other.place if part.told else ("", "")
        one.verdicts.append(Verdict(record, outcome, duplicates.STAGE, reason, part.evidence, *kept))
        return
    findings = [
        Finding(record, start, end, "chimera", part.other.named, "other assemblies", 0.0)
        for start, end in part.intervals
    ]
    action = config.chimeras if part.told else IntervalAction.FLAG
    reason = chimeras.REASON if part.told else chimeras.IN_DOUBT
    fact = one.fact(record)
    one.add(record, act(fact, findings, action, stage=STAGE, reason=reason, evidence=part.evidence), config)


def _verdict(record: str, outcome: Outcome, reason: str, evidence: str) -> Verdict:
    return Verdict(record, outcome, duplicates.STAGE, reason, evidence)


def _rejection(record: str, removal: duplicates.Removal, evidence: str) -> Verdict:
    kept = removal.kept
    return Verdict(record, Outcome.REJECTED, duplicates.STAGE, removal.reason, evidence, kept.assembly, kept.record)

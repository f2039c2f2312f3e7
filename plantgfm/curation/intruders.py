"""Contamination that only the comparison of assemblies shows: strangers, organelles, and their intervals."""

from __future__ import annotations

from typing import Any

from plantgfm.curation import chimeras, contamination, peers, strangers
from plantgfm.curation.config import ContaminationConfig, CurationConfig
from plantgfm.curation.facts import Verdict
from plantgfm.curation.findings import Finding, act
from plantgfm.curation.prepared import Prepared
from plantgfm.curation.references import HashIndex
from plantgfm.curation.stretches import lie_in
from plantgfm.schema import Compartment, Outcome
from plantgfm.sketch import fraction


def compare_screens(prepared: list[Prepared], config: CurationConfig) -> None:
    """What of contamination needs all assemblies; verdicts are added."""
    for one, verdicts in zip(prepared, _compartments(prepared, config)):
        one.verdicts += verdicts
    for compartment in Compartment:
        members = [one for one in prepared if one.assembly.compartment is compartment and one.left()]
        if len({one.species for one in members}) > peers.MIN_PEERS:
            _find_strangers(members, compartment, config.contamination)
    _find_insertions(prepared, config)


def _compartments(prepared: list[Prepared], config: CurationConfig) -> list[list[Verdict]]:
    left = [{row["name"]: one.hashes[row["name"]] for row in one.left()} for one in prepared]
    labels = [one.assembly.compartment for one in prepared]
    species = [one.species for one in prepared]
    return peers.compare_compartments(left, labels, species, config.contamination)


def _find_strangers(members: list[Prepared], compartment: Compartment, config: ContaminationConfig) -> None:
    """Records of one compartment that hold nothing of what unrelated species share, or in part; verdicts are added."""
    whole, species = [one.all_hashes() for one in members], [one.species for one in members]
    held, bound, group = peers.shared_by_strangers(whole, species, compartment, config.scaled)
    if len(set(group)) <= peers.MIN_PEERS:
        return
    known = strangers.Peers(held, bound, group, compartment.value)
    none, stage = f"fits_no_other_{compartment.value}", contamination.STAGE
    left = tuple((one.assembly.key, tuple(row["name"] for row in one.left())) for one in members)
    asked, answers = (left, config.k, config.scaled, config.min_chimera_bp), members[0].answers
    if asked not in answers:  # thresholds that are tried ask again
        answers[asked] = strangers.find_strangers(members, known, config)
    for one, record, stranger in answers[asked]:
        if record in one.told(stage):
            continue
        if stranger.whole:
            one.verdicts.append(Verdict(record, Outcome.REJECTED, stage, none, stranger.evidence))
            continue
        found = [Finding(record, stranger.start, stranger.end, "chimera", none, "other assemblies", 0.0)]
        text, action = stranger.evidence, config.chimeras
        acted = act(one.fact(record), found, action, stage=stage, reason=chimeras.REASON, evidence=text)
        one.add(record, acted, config)


def _find_insertions(prepared: list[Prepared], config: CurationConfig) -> None:
    """Intervals of nuclear records that lie in assemblies labelled organelle, where no reference told of them."""
    organelles = [one for one in prepared if one.assembly.compartment is not Compartment.NUCLEAR and one.left()]
    if not organelles:
        return
    whole = [one.all_hashes() for one in organelles]
    index = peers.organelle_index(whole, [one.assembly.key for one in organelles])
    for one in prepared:
        if one.assembly.compartment is Compartment.NUCLEAR:
            for row in one.left():
                if lie_in(one.hashes[row["name"]], index.hashes).sum() >= config.contamination.min_shared_hashes:
                    _add_insertions(one, row, index, config.contamination)


def _add_insertions(one: Prepared, row: dict[str, Any], index: HashIndex, config: ContaminationConfig) -> None:
    hashes, places = fraction(one.bases(row["name"]), k=config.k, scaled=config.scaled)
    told = tuple(found for found in one.findings if found.record == row["name"] and found.kind == "organelle")
    intervals = contamination.shared_intervals(hashes, places, index, config)
    fact = one.fact(row["name"])
    found = contamination.judge_organelle(fact, intervals, config, tool="other assemblies", told=told)
    one.add(row["name"], found, config)

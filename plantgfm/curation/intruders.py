"""Contamination that only the comparison of assemblies shows: strangers, organelles, and their intervals."""

from __future__ import annotations

from typing import Any

import numpy as np

from plantgfm.curation import contamination, peers
from plantgfm.curation.config import ContaminationConfig, CurationConfig
from plantgfm.curation.facts import Verdict
from plantgfm.curation.prepared import Prepared
from plantgfm.curation.references import HashIndex
from plantgfm.schema import Compartment
from plantgfm.sketch import fraction


def compare_screens(prepared: list[Prepared], config: CurationConfig) -> None:
    """What of contamination needs all assemblies; verdicts are added."""
    for one, verdicts in zip(prepared, _compartments(prepared, config)):
        one.verdicts += verdicts
    _find_insertions(prepared, config)


def _compartments(prepared: list[Prepared], config: CurationConfig) -> list[list[Verdict]]:
    left = [{row["name"]: one.hashes[row["name"]] for row in one.left()} for one in prepared]
    labels = [one.assembly.compartment for one in prepared]
    species = [one.species for one in prepared]
    return peers.compare_compartments(left, labels, species, config.contamination)


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
                found = np.intersect1d(one.hashes[row["name"]], index.hashes, assume_unique=True)
                if found.size >= config.contamination.min_shared_hashes:
                    _add_insertions(one, row, index, config.contamination)


def _add_insertions(one: Prepared, row: dict[str, Any], index: HashIndex, config: ContaminationConfig) -> None:
    hashes, places = fraction(one.bases(row["name"]), k=config.k, scaled=config.scaled)
    told = tuple(found for found in one.findings if found.record == row["name"] and found.kind == "organelle")
    intervals = contamination.shared_intervals(hashes, places, index, config)
    fact = one.fact(row["name"])
    found = contamination.judge_organelle(fact, intervals, config, tool="other assemblies", told=told)
    one.add(row["name"], found, config)

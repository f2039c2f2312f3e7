"""Tiny sequences with known kinship, and manifests made of them."""

from __future__ import annotations

import numpy as np

from plantgfm.curation.config import IntervalAction
from plantgfm.curation.facts import measure
from plantgfm.curation.findings import runs_with
from plantgfm.formats.fasta import write_fasta
from plantgfm.schema import Assembly, Compartment, Outcome


def random_codes(length_bp, seed=0):
    return np.random.default_rng(seed).integers(0, 4, length_bp).astype(np.uint8)


def mutated(codes, identity, seed=1):
    """Substitutions at a rate of 1 - identity."""
    rng = np.random.default_rng(seed)
    changed = codes.copy()
    places = rng.random(codes.size) > identity
    changed[places] = (changed[places] + rng.integers(1, 4, int(places.sum()))) % 4
    return changed.astype(np.uint8)


def facts_of(name="r", codes=None, description="", **lengths):
    return measure(name, description, random_codes(5_000) if codes is None else codes, lengths)


def write_assembly(folder, stem, records, *, species="Testus unus", compartment=Compartment.NUCLEAR, **more):
    """Write records (header, codes) and return the manifest row that speaks of them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.fa.gz"
    write_fasta(path, records)
    row = {"cultivar": "", "assembly": stem, **more}
    return Assembly(species=species, compartment=compartment, fasta=path, **row)


def told(screened, length_bp=100_000):
    """Verdicts on a record, and the runs of it that are masked; of a reject none are."""
    return screened.verdicts, runs_with(screened.findings, IntervalAction.MASK, length_bp)


def finals(curation):
    """(stage, reason) of each record's end, by (assembly name, record)."""
    return {
        (d.assembly.split("|")[2], d.record): (d.stage, d.reason)
        for d in curation.ledger.decisions
        if d.outcome is not Outcome.FLAGGED
    }


def flags(curation):
    """{(assembly name, record): reasons} of flags."""
    found = {}
    for d in curation.ledger.decisions:
        if d.outcome is Outcome.FLAGGED:
            found.setdefault((d.assembly.split("|")[2], d.record), set()).add(d.reason)
    return found

"""What needs all assemblies at once, stage by stage; then labels, window clusters and every decision."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64

from plantgfm.curation import label
from plantgfm.curation.config import CurationConfig
from plantgfm.curation.decisions import decisions_on
from plantgfm.curation.facts import Verdict, unknown_bp
from plantgfm.curation.intruders import compare_screens
from plantgfm.curation.measures import Accepted, assembly_measures, record_measures
from plantgfm.curation.prepared import Prepared
from plantgfm.curation.removals import remove_duplicates
from plantgfm.curation.species import judge_species
from plantgfm.curation.store import Artefact
from plantgfm.curation.windows import cluster_windows
from plantgfm.formats.errors import FormatError
from plantgfm.formats.fasta import read_fasta
from plantgfm.formats.genotypes import Genotypes, read_genotypes
from plantgfm.formats.passport import PassportRecord
from plantgfm.formats.taxonomy import read_synonyms
from plantgfm.identity import plain
from plantgfm.schema import Compartment, Outcome
from plantgfm.sketch import densify, distinct, fraction, jaccard_of_identity, verification_rows, window_sketches


@dataclass(frozen=True)
class Joined:
    """The outcome of the join, as it is stored."""

    decisions: list[dict[str, Any]]
    accepted: list[dict[str, Any]]
    input_records: int
    input_bp: int
    window_bp: int
    cluster_id: Int64[np.ndarray, "windows"]
    cluster_size: Int32[np.ndarray, "windows"]
    measures: list[dict[str, Any]] = field(default_factory=list)
    assemblies: list[dict[str, Any]] = field(default_factory=list)
    findings: list[dict[str, Any]] = field(default_factory=list)

    def save(self, artefact: Artefact) -> None:
        """Store it under its key."""
        arrays = {"cluster_id": self.cluster_id, "cluster_size": self.cluster_size}
        names = ("decisions", "accepted", "input_records", "input_bp", "window_bp", "measures", "assemblies")
        names = (*names, "findings")
        artefact.write({name: getattr(self, name) for name in names}, arrays)

    @classmethod
    def load(cls, artefact: Artefact) -> Joined:
        """Read what `save` stored."""
        description, arrays = artefact.read()
        return cls(**description, **arrays)


def join(prepared: list[Prepared], passport: list[PassportRecord], config: CurationConfig) -> Joined:
    """Run the stages that compare assemblies, in order, and decide on every record of the input."""
    compare_screens(prepared, config)
    remove_duplicates(prepared, config)
    verify_labels(prepared, passport, config, references=reference_hashes(passport, config))
    for one in prepared:
        one.release()
    accepted, cluster_id, cluster_size = _windows(prepared, config)
    records = [row for one in prepared for row in one.description["records"]]
    measures = [
        row
        for one in prepared
        for row in record_measures(one.assembly.key, one.description, _ends(one, accepted, cluster_size))
    ]
    return Joined(
        decisions=[plain(decision) for one in prepared for decision in decisions_on(one)],
        accepted=accepted,
        input_records=len(records),
        input_bp=sum(row["length_bp"] for row in records),
        window_bp=config.duplicates.window_bp,
        cluster_id=cluster_id,
        cluster_size=cluster_size,
        measures=[plain(row) for row in measures],
        assemblies=[plain(assembly_measures(one.assembly, one.description, verified=one.verified)) for one in prepared],
        findings=[plain(found) for one in prepared for found in one.findings],
    )


def _ends(one: Prepared, accepted: list[dict[str, Any]], cluster_size: np.ndarray) -> dict[str, Accepted]:
    """What came of the accepted records of an assembly, over all their pieces."""
    ends = {}
    for row in one.left():
        cuts = one.cuts(row)
        known = row["length_bp"] - row["unknown_bp"]
        if cuts:
            bases = one.bases(row["name"])
            known = sum(_known_bp(bases[start:end]) for start, end in one.pieces[row["name"]])
        ends[row["name"]] = Accepted(cut=[list(cut) for cut in cuts], known_bp=known)
    for piece in accepted:
        if piece["assembly"] == one.assembly.key:
            end, sizes = ends[piece["name"]], cluster_size[slice(*piece["windows"])]
            end.windows += int(sizes.size)
            end.clustered_windows += int(np.count_nonzero(sizes > 1))
    return ends


def _known_bp(bases: np.ndarray) -> int:
    return bases.size - unknown_bp(bases)


def reference_hashes(passport: list[PassportRecord], config: CurationConfig) -> dict[tuple[str, str], np.ndarray]:
    """FracMinHash of the reference of each passport record that names one, by (INSTCODE, ACCENUMB)."""
    k, scaled = config.contamination.k, config.contamination.scaled
    return {
        (record.instcode, record.accenumb): distinct(
            [fraction(r.codes, k=k, scaled=scaled)[0] for r in read_fasta(record.refsketch)]
        )
        for record in sorted(passport, key=lambda record: (record.instcode, record.accenumb))
        if record.refsketch
    }


def verify_labels(
    prepared: list[Prepared],
    passport: list[PassportRecord],
    config: CurationConfig,
    *,
    references: dict[tuple[str, str], np.ndarray],
) -> None:
    """Whether what is left agrees with its passport, and with its species; verdicts are added.

    Args:
        prepared: assemblies, as duplicates left them.
        passport: all passport records.
        config: thresholds.
        references: what `reference_hashes` says of the passport.
    """
    k = config.contamination.k
    synonyms = read_synonyms(config.label.synonyms) if config.label.synonyms else {}
    evidence = label.Evidence(passport, references, synonyms, k)
    genotypes = _genotypes(prepared)
    left = [one for one in prepared if one.left()]
    genomes = [one.genome() for one in left]
    # Organelles of sister species are alike by nature.
    nuclear = [genome for genome in genomes if genome.assembly.compartment is Compartment.NUCLEAR]
    verdicts = []
    for mine in genomes:
        known, row = genotypes.get(mine.assembly.genotypes), mine.assembly
        found = label.judge_label(row, mine.hashes, evidence=evidence, genotypes=known, config=config.label)
        others = [other for other in nuclear if other is not mine]
        found += judge_species(mine, others, k=k, config=config.label) if row.compartment is Compartment.NUCLEAR else []
        verdicts.append(found)
    for one, found in zip(left, verdicts):
        one.verified = "; ".join(verdict.evidence for verdict in found if verdict.outcome is Outcome.KEPT)
        rejections = [verdict for verdict in found if verdict.outcome is Outcome.REJECTED]
        for verdict in rejections[:1] or [v for v in found if v.outcome is Outcome.FLAGGED]:
            one.verdicts += [
                Verdict(row["name"], verdict.outcome, label.STAGE, verdict.reason, verdict.evidence)
                for row in one.left()
            ]


def _genotypes(prepared: list[Prepared]) -> dict[Path | None, Genotypes]:
    """The genotypes that assemblies name, each file read once; their samples must be there."""
    found = {path: read_genotypes(path) for path in {one.assembly.genotypes for one in prepared} if path}
    for one in prepared:
        path, sample = one.assembly.genotypes, one.assembly.sample
        if path and sample not in found[path].samples:
            near = ", ".join(difflib.get_close_matches(sample, found[path].samples, n=3)) or found[path].samples[0]
            raise FormatError(path, f"has no sample {sample!r}, of which the manifest speaks; it has {near} …")
    return found


def _windows(prepared: list[Prepared], config: CurationConfig) -> tuple[list[dict[str, Any]], np.ndarray, np.ndarray]:
    settings, accepted, sketches, records = config.duplicates, [], [], []
    count = 0
    for one in prepared:
        left, at = {row["name"] for row in one.left()}, 0
        rows = one.arrays["windows"].reshape(-1, settings.window_bins)
        for row in one.description["kept"]:
            stored = sum(_windows_of(end - start, settings.window_bp) for start, end in row["pieces"])
            if row["name"] in left:
                for start, end in one.pieces[row["name"]]:
                    windows = _windows_of(end - start, settings.window_bp)
                    accepted.append(_piece(one, row, start, end, windows=[count, count + windows]))
                    records.append((one, row["name"], start, end))
                    count += windows
                sketches.append(_window_sketches(one, row, rows[at : at + stored], config))
            at += stored
    ends = np.array([row["windows"][1] for row in accepted], dtype=np.int64)

    def verify(chosen: np.ndarray) -> np.ndarray:
        owner, large = np.searchsorted(ends, chosen, side="right"), []
        for number in np.unique(owner):
            one, name, start, end = records[number]
            starts = (chosen[owner == number] - accepted[number]["windows"][0]) * settings.window_bp
            sizes = {"k": settings.k, "bins": settings.bins, "window_bp": settings.window_bp}
            large.append(verification_rows(one.bases(name)[start:end], starts, **sizes))
        for one in prepared:
            one.release()
        return np.concatenate(large)

    index = jaccard_of_identity(settings.window_identity, settings.k)
    return accepted, *cluster_windows(sketches, verify, min_jaccard=index)


def _windows_of(length_bp: int, window_bp: int) -> int:
    return max(1, -(-length_bp // window_bp))


def _piece(one: Prepared, row: dict[str, Any], start: int, end: int, *, windows: list[int]) -> dict[str, Any]:
    place = {"offset": one.offsets[row["name"]] + start, "start": start, "length_bp": end - start}
    source = one.description["repeat_source"]
    named = {"assembly": one.assembly.key, "name": row["name"], "sha256": row["sha256"], "cut": bool(one.cuts(row))}
    return {**named, **place, "repeat_source": source, "windows": windows}


def _window_sketches(one: Prepared, row: dict[str, Any], stored: np.ndarray, config: CurationConfig) -> np.ndarray:
    """Sketches of a record's windows, made again where the join has cut it since they were stored."""
    pieces, settings = one.pieces[row["name"]], config.duplicates
    if pieces == [tuple(piece) for piece in row["pieces"]]:
        return stored
    bases, size = one.bases(row["name"]), {"bins": settings.window_bins, "window_bp": settings.window_bp}
    parts = [window_sketches(bases[start:end], k=settings.k, **size) for start, end in pieces]
    return densify(np.concatenate(parts))

"""What needs all assemblies at once: compartments, duplicates, labels, window clusters; then every decision."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64

from plantgfm.curation import contamination, duplicates, label, peers
from plantgfm.curation.config import ContaminationConfig, CurationConfig, IntervalAction
from plantgfm.curation.facts import Verdict, bare_facts, unknown_bp
from plantgfm.curation.findings import Finding, cuts_between, pieces_of
from plantgfm.curation.ledger import ACCEPTED, CUT, STAGES
from plantgfm.curation.measures import Accepted, assembly_measures, record_measures
from plantgfm.curation.names import NamedRecord, NameIndex
from plantgfm.curation.references import HashIndex
from plantgfm.curation.species import Genome, judge_species
from plantgfm.curation.store import Artefact
from plantgfm.curation.windows import cluster_windows
from plantgfm.formats.errors import FormatError
from plantgfm.formats.fasta import read_fasta
from plantgfm.formats.genotypes import Genotypes, read_genotypes
from plantgfm.formats.passport import PassportRecord
from plantgfm.formats.taxonomy import read_synonyms
from plantgfm.identity import fingerprint, plain
from plantgfm.schema import Assembly, Compartment, Decision, Outcome
from plantgfm.sketch import (
    densify,
    distinct,
    fraction,
    jaccard_of_identity,
    ring_digest,
    verification_rows,
    window_sketches,
)

_SHOWN = 3  # intervals named in an evidence


@dataclass
class Prepared:
    """One assembly after the first three stages; verdicts of later stages are added as they fall."""

    assembly: Assembly
    artefact: Artefact
    description: dict[str, Any]
    arrays: dict[str, np.ndarray]
    synonyms: InitVar[Mapping[str, str]] = MappingProxyType({})  # accepted binomials
    species: str = field(init=False)  # by its accepted name
    verdicts: list[Verdict] = field(init=False)
    offsets: dict[str, int] = field(init=False)  # of each surviving record in the bases
    numbers: dict[str, int] = field(init=False)  # and its row in the arrays
    hashes: dict[str, np.ndarray] = field(init=False)  # FracMinHash of each surviving record
    findings: list[Finding] = field(init=False)  # of screens; those of the join are added
    pieces: dict[str, list[tuple[int, int]]] = field(init=False)  # of each surviving record, what cuts leave of it
    verified: str = ""  # what verified its label

    def __post_init__(self, synonyms):
        self.species = synonyms.get(self.assembly.species, self.assembly.species)
        self.verdicts = [Verdict(**{**row, "outcome": Outcome(row["outcome"])}) for row in self.description["verdicts"]]
        kept = self.description["kept"]
        found = [Finding.restore(row) for row in self.description["findings"]]
        self.findings = [replace(one, assembly=self.assembly.key) for one in found]
        self.pieces = {row["name"]: [tuple(piece) for piece in row["pieces"]] for row in kept}
        starts = np.concatenate(([0], np.cumsum([row["length_bp"] for row in kept], dtype=np.int64)))
        self.offsets = {row["name"]: int(start) for row, start in zip(kept, starts)}
        self.numbers = {row["name"]: number for number, row in enumerate(kept)}
        ends = np.cumsum(self.arrays["hash_counts"])
        parts = np.split(self.arrays["hashes"], ends[:-1]) if kept else []
        self.hashes = {row["name"]: part for row, part in zip(kept, parts)}

    @cached_property
    def _whole(self) -> np.ndarray:
        return np.memmap(self.artefact.bases, dtype=np.uint8, mode="r")

    def release(self) -> None:
        """Let go of the mapped bases: what was read of them counts as this process's memory until then."""
        self.__dict__.pop("_whole", None)

    def rejected(self) -> set[str]:
        """Names of records that any stage has rejected so far."""
        return {verdict.record for verdict in self.verdicts if verdict.outcome is Outcome.REJECTED}

    def left(self) -> list[dict[str, Any]]:
        """Descriptions of the records that are not rejected, in file order."""
        rejected = self.rejected()
        return [row for row in self.description["kept"] if row["name"] not in rejected]

    def bases(self, record: str = "") -> np.ndarray:
        """Bases of a surviving record with the repeat bit; of all of them for ""."""
        whole = self._whole
        if not record:
            return whole
        length = self.description["kept"][self.numbers[record]]["length_bp"]
        return whole[self.offsets[record] : self.offsets[record] + length]

    def cuts(self, row: dict[str, Any]) -> list[tuple[int, int]]:
        """Intervals that were cut out of a surviving record, as (start, end)."""
        return cuts_between(self.pieces[row["name"]], row["length_bp"])

    def all_hashes(self) -> np.ndarray:
        """Sorted distinct hashes of the records that are left."""
        return distinct([self.hashes[row["name"]] for row in self.left()])

    def genome(self) -> Genome:
        """What is left of it, as species are told by it."""
        known_bp = sum(row["length_bp"] - row["unknown_bp"] for row in self.left())
        return Genome(self.assembly, self.species, known_bp, self.all_hashes())


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
        decisions=[plain(decision) for one in prepared for decision in _decisions(one)],
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


def compare_screens(prepared: list[Prepared], config: CurationConfig) -> None:
    """What of contamination needs all assemblies; verdicts are added."""
    for one, verdicts in zip(prepared, _compartments(prepared, config)):
        one.verdicts += verdicts
    _find_insertions(prepared, config)


def remove_duplicates(prepared: list[Prepared], config: CurationConfig) -> None:
    """Duplicates among assemblies, then among the records that are left; verdicts are added."""
    _remove_assemblies(prepared, config)
    _remove_records(prepared, config)


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
    figures = next(record for record in one.description["records"] if record["name"] == row["name"])
    fact = bare_facts(row["name"], figures["length_bp"], figures["unknown_bp"])
    found = contamination.judge_organelle(fact, intervals, config, tool="other assemblies", told=told)
    one.findings += [replace(finding, assembly=one.assembly.key) for finding in found.findings]
    one.verdicts += found.verdicts
    if cuts := [(f.start, f.end) for f in found.findings if f.action is IntervalAction.CUT]:
        runs = np.array([*cuts, *one.cuts(row)], dtype=np.int64)
        one.pieces[row["name"]] = pieces_of(runs, row["length_bp"], min_piece_bp=config.min_piece_bp)
        if not one.pieces[row["name"]]:
            one.verdicts.append(contamination.nothing_left(row["name"], len(runs), config))


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


def _decisions(one: Prepared) -> list[Decision]:
    by_record: dict[str, list[Verdict]] = {}
    for verdict in one.verdicts:
        by_record.setdefault(verdict.record, []).append(verdict)
    decisions, kept = [], {row["name"]: row for row in one.description["kept"]}
    for row in one.description["records"]:
        cut_bp = 0
        found = sorted(by_record.get(row["name"], []), key=lambda v: (STAGES.index(v.stage), v.reason, v.evidence))
        if not any(verdict.outcome is Outcome.REJECTED for verdict in found):
            flags = len(found)
            text = f"passed every stage with {flags} flag{'s' * (flags != 1)}" if flags else "passed every stage"
            text += f"; label verified: {one.verified}" if one.verified else ""
            end = Verdict(row["name"], Outcome.KEPT, ACCEPTED, ACCEPTED, text)
            if cuts := one.cuts(kept[row["name"]]):
                cut_bp = sum(end - start for start, end in cuts)
                text = f"{_describe_cuts(one, row, cuts, cut_bp)}; {text}"
                end = Verdict(row["name"], Outcome.CUT, ACCEPTED, CUT, text)
            found = [*found, end]
        who = (one.assembly.key, one.assembly.species, row["name"], row["length_bp"])
        decisions += [
            Decision(
                *who,
                outcome=v.outcome,
                stage=v.stage,
                reason=v.reason,
                evidence=v.evidence,
                kept_assembly=v.kept_assembly,
                kept_record=v.kept_record,
                cut_bp=cut_bp if v.outcome is Outcome.CUT else 0,
            )
            for v in found
        ]
    return decisions


def _describe_cuts(one: Prepared, row: dict[str, Any], cuts: list[tuple[int, int]], cut_bp: int) -> str:
    places = ", ".join(f"{start:,}-{end:,}" for start, end in cuts[:_SHOWN])
    more = f" and {len(cuts) - _SHOWN} more" if len(cuts) > _SHOWN else ""
    pieces, left = len(one.pieces[row["name"]]), row["length_bp"] - cut_bp
    return (
        f"{cut_bp:,} of {row['length_bp']:,} bp cut out in {len(cuts)} interval{'s' * (len(cuts) != 1)} "
        f"({places}{more}); {left:,} bp left in {pieces} piece{'s' * (pieces != 1)}"
    )

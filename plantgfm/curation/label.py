"""Stage 5, cultivar-label verification: does an assembly agree with the passport of the accession it claims?

The passport record is found by DOI, institute and number, name, or a similar name with its score. Two genetic checks
follow. The sketch distance to the reference sequence that the passport names, next to the distances to the references
of all other accessions: a label falls when another accession's reference is clearly nearer, or its own is unrelated.
And, where genotypes are given, the SNP identity of the assembled plant with samples of the same accession and of
others. The outcome is verified, synonym, ambiguous, mismatch, no record (or unverified: nothing to compare with); the
settings say what each means. The passport's binomial is asked, too; names that a table of synonyms joins are one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import UInt64

from plantgfm.curation.config import LabelConfig, LabelPolicy
from plantgfm.curation.passports import accepted_name, match_passport, plain_doi, plain_name
from plantgfm.formats.genotypes import Genotypes
from plantgfm.formats.passport import PassportRecord
from plantgfm.schema import Assembly, Outcome
from plantgfm.sketch import identity_of_containment

STAGE = "label"
MOST_COMPARED = 100_000  # hashes of two genomes: their identity is then known to 0.0001


@dataclass(frozen=True)
class AssemblyVerdict:
    """What this stage says of all remaining records of an assembly."""

    outcome: Outcome | None  # KEPT where verified; None where the settings say nothing of it
    reason: str
    evidence: str


def containment(
    a: UInt64[np.ndarray, "n"], b: UInt64[np.ndarray, "m"], *, most: int = MOST_COMPARED
) -> tuple[float, int]:
    """Share of the smaller of two sorted hash sets that lies in the other, and the number of shared hashes.

    Of a large set the `most` smallest hashes are looked up, a fair sample, and counted: two genomes cost milliseconds.
    """
    smaller, larger = sorted((a, b), key=len)
    asked = smaller[:most]
    at = np.searchsorted(larger, asked)
    shared = int(np.count_nonzero(larger[np.minimum(at, larger.size - 1)] == asked)) if larger.size else 0
    return shared / max(1, asked.size), shared


def distance(a: UInt64[np.ndarray, "n"], b: UInt64[np.ndarray, "m"], k: int) -> tuple[float, int]:
    """Sketch distance, 1 - identity by containment, and the number of shared hashes."""
    share, shared = containment(a, b)
    return 1.0 - identity_of_containment(share, k), shared


@dataclass(frozen=True)
class Evidence:
    """What labels are held against."""

    passport: list[PassportRecord]
    references: dict[tuple[str, str], UInt64[np.ndarray, "m"]]  # hashes of accessions, by (INSTCODE, ACCENUMB)
    synonyms: dict[str, str]  # accepted binomials
    k: int

    def accession_of(self, sample: str, links: list[str]) -> tuple[str, str] | None:
        """The accession that a sample is of: by its links, else by its name; None where none fits, or several names do.

        Args:
            sample: its name.
            links: what the header of the VCF file says of it: DOI, or number of an accession.
        """
        for claim in (*links, sample):
            doi = plain_doi(claim)
            found = {self._numbers.get(plain_name(claim)), self._dois.get(doi) if doi else None} - {None}
            if found:
                record = self.passport[min(found)]
                return record.instcode, record.accenumb
        named = self._names.get(plain_name(sample), [])
        return named[0] if len(named) == 1 else None

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """Places in the passport by number, and by institute and number; the first of each."""
        found: dict[str, int] = {}
        for place, record in enumerate(self.passport):
            for text in (record.accenumb, f"{record.instcode}:{record.accenumb}"):
                found.setdefault(plain_name(text), place)
        return found

    @cached_property
    def _dois(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for place, record in enumerate(self.passport):
            found.setdefault(plain_doi(record.doi), place)
        return found

    @cached_property
    def _names(self) -> dict[str, list[tuple[str, str]]]:
        found: dict[str, list[tuple[str, str]]] = {}
        for record in self.passport:
            for name in {plain_name(name) for name in record.names}:
                found.setdefault(name, []).append((record.instcode, record.accenumb))
        return found


def judge_label(
    assembly: Assembly,
    hashes: UInt64[np.ndarray, "n"],
    *,
    evidence: Evidence,
    genotypes: Genotypes | None,
    config: LabelConfig,
) -> list[AssemblyVerdict]:
    """Verdicts on one assembly; empty where it claims nothing that a passport could know.

    Args:
        assembly: what is claimed.
        hashes: sorted FracMinHash hashes of its remaining records.
        evidence: passports, references, synonyms.
        genotypes: with the assembly's own sample, None where it has none.
        config: thresholds and policies.
    """
    match = match_passport(assembly, evidence.passport, evidence.synonyms, config)
    if len(match.records) > 1:
        text = f"{len(match.records)} passport records fit {match.describe()}"
        return said(config.on_ambiguous, "ambiguous_label", text)
    if not match.records:
        return _no_record(assembly, evidence, config)
    record = match.records[0]
    verdicts = []
    names = [accepted_name(name, evidence.synonyms) for name in (record.binomial, assembly.species)]
    if record.binomial and names[0] != names[1]:
        text = f"the passport of {record.accenumb} says {record.binomial}, the manifest {assembly.species}"
        verdicts.append(AssemblyVerdict(Outcome.FLAGGED, "species_disagrees", text))
    how = "" if match.score == 100 and match.by != "name" else f"; passport found {match.describe()}"
    own = evidence.references.get((record.instcode, record.accenumb))
    parts = []
    if own is not None:
        whole = assembly.expected_size_bp is not None
        parts.append(_judge_genetics(record, hashes, own, evidence, whole=whole, config=config))
    if genotypes is not None:
        parts += _judge_genotypes(record, assembly, genotypes, evidence, config)
    if not parts:
        text = f"the passport of {record.accenumb} names no reference to compare with{how}"
        return [*verdicts, *said(config.on_unverified, "unverified_label", text)]
    return [*verdicts, *(replace(one, evidence=f"{one.evidence}{how}") for one in _settle(parts) if one.outcome)]


def _no_record(assembly: Assembly, evidence: Evidence, config: LabelConfig) -> list[AssemblyVerdict]:
    own = accepted_name(assembly.species, evidence.synonyms)
    known = any(accepted_name(record.binomial, evidence.synonyms) == own for record in evidence.passport)
    if assembly.accession:
        text = f"accession {assembly.accession} has none among {len(evidence.passport)} passport records"
    elif assembly.cultivar and known:
        text = f"cultivar {assembly.cultivar} is like no name of {assembly.species} in the passport table"
    else:
        return []
    return said(config.on_no_record, "no_passport_record", text)


def said(policy: LabelPolicy, reason: str, evidence: str) -> list[AssemblyVerdict]:
    """The verdict that a policy makes of an outcome; none where it keeps."""
    outcomes = {LabelPolicy.FLAG: Outcome.FLAGGED, LabelPolicy.REJECT: Outcome.REJECTED}
    return [AssemblyVerdict(outcomes[policy], reason, evidence)] if policy in outcomes else []


def _settle(parts: list[AssemblyVerdict]) -> list[AssemblyVerdict]:
    """Of several checks: a check that verifies silences one that could not tell, and no other."""
    if any(part.reason == "verified" for part in parts):
        return [part for part in parts if part.reason != "unverified_label"]
    return parts


def _judge_genetics(
    record: PassportRecord, hashes: np.ndarray, own: np.ndarray, evidence: Evidence, *, whole: bool, config: LabelConfig
) -> AssemblyVerdict:
    to_own, shared = distance(hashes, own, evidence.k)
    others = [
        (*distance(hashes, other, evidence.k), number)
        for (institute, number), other in evidence.references.items()
        if (institute, number) != (record.instcode, record.accenumb)
    ]
    text = f"distance to the reference of {record.accenumb} is {to_own:.4f} ({shared:,} shared hashes)"
    if others:
        nearest, nearest_shared, number = min(others)
        text = f"{text}, to the nearest other, {number}, {nearest:.4f} ({nearest_shared:,})"
        if nearest < to_own - config.margin and nearest_shared >= config.min_shared_hashes:
            return _mismatch(config, f"{text}: it is {number} rather")
    if shared < config.min_shared_hashes or to_own > config.max_distance:
        limit = f"{text}; at most {config.max_distance:g} and {config.min_shared_hashes} hashes are asked"
        if whole:
            return _mismatch(config, limit)
        found = said(config.on_unverified, "unverified_label", f"{limit}, but a piece may lie elsewhere")
        return found[0] if found else AssemblyVerdict(None, "unverified_label", limit)
    return AssemblyVerdict(Outcome.KEPT, "verified", text)


def _mismatch(config: LabelConfig, text: str) -> AssemblyVerdict:
    found = said(config.on_mismatch, "label_mismatch", text)
    return found[0] if found else AssemblyVerdict(None, "label_mismatch", text)


def _judge_genotypes(
    record: PassportRecord, assembly: Assembly, genotypes: Genotypes, evidence: Evidence, config: LabelConfig
) -> list[AssemblyVerdict]:
    """What SNP identity says: of samples of the same accession, and of the nearest one of another."""
    own = record.instcode, record.accenumb
    labels = [evidence.accession_of(sample, genotypes.links.get(sample, [])) for sample in genotypes.samples]
    identity, sites = genotypes.identity(assembly.sample)
    mine = genotypes.samples.index(assembly.sample)
    rows = [i for i in range(len(labels)) if i != mine and sites[i] >= config.min_common_sites]
    same = [(float(identity[i]), int(sites[i]), genotypes.samples[i]) for i in rows if labels[i] == own]
    other = [(float(identity[i]), int(sites[i]), genotypes.samples[i]) for i in rows if labels[i] not in (own, None)]
    found = []
    if labels[mine] not in (own, None):
        institute, accession = labels[mine]
        text = (
            f"its sample {assembly.sample} is, by its name or the links of the VCF header, of {institute}:{accession}"
        )
        found += said(config.on_ambiguous, "ambiguous_label", text)
    if same:
        share, number, name = min(same)
        text = f"SNP identity with {name}, of the same accession, is {share:.4f} over {number:,} sites"
        if share < config.same_label_identity:
            found.append(_mismatch(config, f"{text}; at least {config.same_label_identity:g} is asked"))
        else:
            found.append(AssemblyVerdict(Outcome.KEPT, "verified", text))
    if other and max(other)[0] > config.other_label_identity:
        share, number, name = max(other)
        text = f"SNP identity with {name}, of another accession, is {share:.4f} over {number:,} sites"
        text = f"{text}; above {config.other_label_identity:g} two labels stand for one genotype, or were mixed up"
        found += said(config.on_synonym, "label_synonym", text)
    return found

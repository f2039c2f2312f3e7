"""The story of one record: stage by stage what was measured, asked and decided, and what stands for it."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from plantgfm.curation.config import CurationConfig
from plantgfm.curation.decisions import ONLY_FLAGGED
from plantgfm.curation.duplicates import STAGE
from plantgfm.curation.ledger import ACCEPTED, STAGES, Ledger
from plantgfm.curation.measures import AssemblyMeasures, RecordMeasures
from plantgfm.schema import Decision, Outcome

_NEAREST = 5
_OF_ASSEMBLY = ("incomplete_assembly", "genes_missing")  # reasons of completeness that no record gave for itself


@dataclass(frozen=True)
class Check:
    """One thing that was measured, and what is asked of it."""

    what: str  # "length"
    found: str  # "374,927 bp"
    asked: str = ""  # "at least 1,000 bp", "" where nothing is asked
    met: bool = True


@dataclass(frozen=True)
class Chapter:
    """One stage of the story."""

    stage: str
    outcome: str  # "passed", "flagged", "rejected", "not reached"
    checks: list[Check]
    decisions: list[Decision]  # flags, then a rejection


@dataclass(frozen=True)
class Kin:
    """A record, or an assembly, that was found to be the same sequence as another."""

    assembly: str  # Assembly.key
    record: str  # "" for a whole assembly
    records: int
    length_bp: int
    kept_bp: int  # of its length, what curation kept
    reasons: list[str]  # why the rest was rejected


@dataclass(frozen=True)
class Story:
    """What became of one record."""

    final: Decision  # the one that kept or rejected it
    chapters: list[Chapter]  # one a stage, in order
    measures: RecordMeasures | None  # None in a ledger of older code
    assembly: AssemblyMeasures | None
    representatives: list[Kin]  # what was kept in its place; where that fell later, what was kept in that one's
    stands_for: list[Kin]  # duplicates in whose place it, or its assembly, was kept

    @property
    def out_bp(self) -> int:
        """Base pairs that went on to the corpus."""
        return self.final.out_bp


def find_records(ledger: Ledger, name: str, *, assembly: str = "") -> list[Decision]:
    """Final decisions on the records of a name, in order of assembly.

    Args:
        ledger: where to look.
        name: of the record.
        assembly: a part of the assembly's key, to choose where several assemblies have the name.

    Raises:
        ValueError: when there is none; it names the nearest.
    """
    finals = [d for d in ledger.decisions if d.outcome is not Outcome.FLAGGED]
    named = [d for d in finals if d.record == name]
    if not named:
        names = sorted({d.record for d in finals})
        near = [other for other in names if other.casefold() == name.casefold()]
        near += [n for n in difflib.get_close_matches(name, names, n=_NEAREST, cutoff=0.5) if n not in near]
        told = f"the nearest are {', '.join(near[:_NEAREST])}" if near else f"there are {', '.join(names[:_NEAREST])} …"
        raise ValueError(f"no record {name!r} among {len(finals):,} in the ledger; {told}")
    chosen = [d for d in named if assembly.casefold() in d.assembly.casefold()]
    if not chosen:
        told = "; ".join(sorted(d.assembly for d in named)[:_NEAREST])
        raise ValueError(f"no assembly of {assembly!r} has a record {name!r}; it lies in {told}")
    return sorted(chosen, key=lambda d: d.assembly)


def tell(ledger: Ledger, final: Decision, config: CurationConfig) -> Story:
    """The story of the record that a final decision speaks of.

    Args:
        ledger: all decisions and measures.
        final: its decision, as `find_records` gives it.
        config: the thresholds that the ledger was made with.
    """
    who = final.assembly, final.record
    decisions = ledger.of_record(*who)
    measures = next((m for m in ledger.measures if (m.assembly, m.record) == who), None)
    assembly = next((a for a in ledger.assemblies if a.assembly == final.assembly), None)
    ends = len(STAGES) if final.stage == ACCEPTED else STAGES.index(final.stage)
    chapters = []
    for number, (stage, checks_of) in enumerate(zip(STAGES[:-1], _CHECKS, strict=True)):
        mine = [d for d in decisions if d.stage == stage]
        known = number <= ends and measures is not None and assembly is not None
        checks = checks_of(measures, assembly, config, mine, ledger) if known else []
        chapters.append(Chapter(stage, _outcome(mine, reached=number <= ends), checks, mine))
    return Story(final, chapters, measures, assembly, *_kin(ledger, final))


def _outcome(decisions: list[Decision], *, reached: bool) -> str:
    if _rejects(decisions):
        return Outcome.REJECTED.value
    return Outcome.FLAGGED.value if decisions else "passed" if reached else "not reached"


def _rejects(decisions: list[Decision]) -> bool:
    return any(d.outcome is Outcome.REJECTED for d in decisions)


def _finds(decisions: list[Decision]) -> bool:
    """Whether a stage found what it rejects for, also where it only flags."""
    return _rejects(decisions) or any(f"; {ONLY_FLAGGED} " in d.evidence for d in decisions)


def _kin(ledger: Ledger, final: Decision) -> tuple[list[Kin], list[Kin]]:
    """What was kept in the place of a record, and what it was kept in the place of."""
    ends: dict[tuple[str, str], list[Decision]] = {}
    for d in ledger.decisions:
        if d.outcome is not Outcome.FLAGGED:
            ends.setdefault((d.assembly, d.record), []).append(d)
            ends.setdefault((d.assembly, ""), []).append(d)
    found: list[Kin] = []
    told, todo = {(final.assembly, final.record)}, [(final.kept_assembly, final.kept_record)]
    while todo:
        place = todo.pop(0)
        if place in ends and place not in told:
            told.add(place)
            found.append(_as_kin(*place, ends[place]))
            fell = not found[-1].kept_bp  # then something else was kept in its place, or nothing
            todo += sorted({(d.kept_assembly, d.kept_record) for d in ends[place]}) if fell else []
    whole = final.stage in STAGES[STAGES.index(STAGE) + 1 :]  # it was still part of its assembly when that was kept
    others: dict[tuple[str, str], list[Decision]] = {}
    for d in ledger.decisions:
        if d.kept_assembly == final.assembly and (whole if d.kept_record == "" else d.kept_record == final.record):
            others.setdefault((d.assembly, d.record if d.kept_record else ""), []).append(d)
    return found, [_as_kin(*place, ds) for place, ds in sorted(others.items())]


def _as_kin(assembly: str, record: str, ends: list[Decision]) -> Kin:
    kept_bp = sum(d.out_bp for d in ends)
    reasons = sorted({d.reason for d in ends if d.outcome is Outcome.REJECTED})
    return Kin(assembly, record, len(ends), sum(d.length_bp for d in ends), kept_bp, reasons)


def _completeness(
    record: RecordMeasures, assembly: AssemblyMeasures, config: CurationConfig, decisions: list[Decision], _: Ledger
) -> list[Check]:
    asked = config.completeness
    unknown = record.unknown_bp / record.length_bp if record.length_bp else 1.0
    signs = record.truncation_signs
    checks = [
        Check(
            "length",
            f"{record.length_bp:,} bp",
            f"at least {asked.min_record_bp:,}",
            record.length_bp >= asked.min_record_bp,
        ),
        Check(
            "unknown bases",
            f"{record.unknown_bp:,} bp ({unknown:.2%}), gaps: {record.gaps:,}",
            f"at most {asked.max_unknown_fraction:.0%}",
            unknown <= asked.max_unknown_fraction,
        ),
        Check("stated elsewhere", "; ".join(record.stated) or "no length"),
        Check("signs of truncation", "; ".join(signs) or "none", "fewer than 2", len(signs) < 2),
    ]
    if any(d.outcome is Outcome.REJECTED and d.reason not in _OF_ASSEMBLY for d in decisions):
        return checks  # its assembly was then judged without it
    if not assembly.expected_size_bp:
        return [*checks, Check("assembly", f"{assembly.known_bp:,} known bp, no genome size is stated")]
    ratio = assembly.known_bp / assembly.expected_size_bp
    found = f"{assembly.known_bp:,} known bp, {ratio:.2f} of the genome size of {assembly.expected_size_bp:,}"
    limits = f"{asked.min_size_fraction:g} to {asked.max_size_ratio:g} (above: flagged)"
    return [*checks, Check("assembly", found, limits, asked.min_size_fraction <= ratio <= asked.max_size_ratio)]


def _contamination(
    record: RecordMeasures, _: AssemblyMeasures, config: CurationConfig, decisions: list[Decision], ledger: Ledger
) -> list[Check]:
    asked = config.contamination
    names = ", ".join(ledger.references[:_NEAREST]) + (" …" if len(ledger.references) > _NEAREST else "")
    number = len(ledger.references)
    against = f"{number} reference{'s' * (number != 1)} ({names})" if number else "no references"
    limits = (
        f"at most {asked.max_foreign_fraction:.0%} foreign and {asked.max_vector_fraction:.0%} vector, "
        f"below {asked.min_organelle_fraction:.0%} organelle; from {asked.min_shared_hashes} shared hashes, "
        f"vector score {asked.min_vector_score}"
    )
    rejected = _finds(decisions)
    others = "header, labels of other assemblies, reports that the manifest names"
    found = f"{against}, {others}: {'see below' if decisions else 'nothing found'}"
    checks = [Check("screened against", found, limits, not rejected)]
    if record.masked_bp:
        runs = ", ".join(f"{start:,}-{end:,}" for start, end in record.masked[:_NEAREST])
        more = f" and {len(record.masked) - _NEAREST} more" if len(record.masked) > _NEAREST else ""
        checks.append(Check("masked (set to unknown)", f"{record.masked_bp:,} bp: {runs}{more}"))
    if record.cut:
        runs = ", ".join(f"{start:,}-{end:,}" for start, end in record.cut[:_NEAREST])
        more = f" and {len(record.cut) - _NEAREST} more" if len(record.cut) > _NEAREST else ""
        checks.append(Check("cut out", f"{record.cut_bp:,} bp: {runs}{more}"))
    return checks


def _assembly_score(
    _: RecordMeasures, assembly: AssemblyMeasures, config: CurationConfig, decisions: list[Decision], __: Ledger
) -> list[Check]:
    asked = config.assembly_score
    number = assembly.records
    whole = f"{number:,} record{'s' * (number != 1)}, {assembly.length_bp:,} bp, N50 {assembly.n50_bp:,} bp"
    if assembly.score is None or assembly.ng50_bp is None:
        return [Check("assembly", f"{whole}; no genome size is stated, so no score is asked")]
    unknown = assembly.unknown_bp / max(1, assembly.length_bp)
    return [
        Check("assembly", whole),
        Check(
            "NG50",
            f"{assembly.ng50_bp:,} bp",
            f"at least {asked.min_ng50_bp:,}",
            assembly.ng50_bp >= asked.min_ng50_bp,
        ),
        Check(
            "unknown bases",
            f"{unknown:.2%}",
            f"at most {asked.max_unknown_fraction:.0%}",
            unknown <= asked.max_unknown_fraction,
        ),
        Check("score", f"{assembly.score:.3f}", f"at least {asked.min_score:g}", assembly.score >= asked.min_score),
    ]


def _duplicates(
    record: RecordMeasures, _: AssemblyMeasures, config: CurationConfig, decisions: list[Decision], __: Ledger
) -> list[Check]:
    asked = config.duplicates
    rejected = _finds(decisions)
    found = "one was preferred to it" if rejected else "none was preferred to it"
    limits = f"none from {asked.record_identity:.1%} identity as a record, {asked.assembly_identity:.1%} as an assembly"
    checks = [Check("copies elsewhere", found, limits, not rejected)]
    if record.windows:
        text = f"{record.clustered_windows:,} of {record.windows:,} have a near-duplicate (kept; sampled less often)"
        checks.append(Check(f"windows of {asked.window_bp:,} bp", text))
    return checks


def _label(
    _: RecordMeasures, assembly: AssemblyMeasures, config: CurationConfig, decisions: list[Decision], __: Ledger
) -> list[Check]:
    claim = f"cultivar {assembly.cultivar or '(none)'}, accession {assembly.accession or '(none)'}"
    told = [f"verified: {assembly.verified}"] if assembly.verified else []
    told += ["see below"] if decisions else []
    found = "; ".join(told) or "no passport record to verify it with"
    limits = f"distance at most {config.label.max_distance:g}, no other accession nearer by {config.label.margin:g}"
    compared = bool(assembly.verified) or _finds(decisions)
    return [Check(claim, found, limits if compared else "", not _finds(decisions))]


_CHECKS: tuple[Callable[..., list[Check]], ...] = (
    _completeness,
    _contamination,
    _assembly_score,
    _duplicates,
    _label,
)  # in order of STAGES

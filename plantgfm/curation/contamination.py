"""Stage 2, contamination: vectors, foreign organisms, and organelle sequence under a nuclear label.

Vectors are found by scored local matches, organisms and organelles by k-mer hashes shared with references, at least
three distinct ones in an interval (single shared hashes are chance or conserved genes). A record that is mostly foreign
is rejected; a foreign or vector interval in an otherwise clean record is masked, or cut out, as the settings say.
Organelle and rDNA insertions into nuclear chromosomes are natural: flagged only, unless asked otherwise. A header that
names another compartment than the manifest is evidence enough to reject. Composition alone never counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8, UInt64

from plantgfm.curation.config import ContaminationConfig, IntervalAction
from plantgfm.curation.facts import RecordFacts, Verdict, stated_compartment
from plantgfm.curation.findings import Finding, Screened, act, coverage
from plantgfm.curation.references import HashIndex, ReferenceIndex
from plantgfm.curation.vectors import Match, Strength, screen_vectors, suspect_segments
from plantgfm.schema import Compartment, Outcome
from plantgfm.sequence import mask_of, runs_of
from plantgfm.sketch import identity_of_containment

STAGE = "contamination"


@dataclass(frozen=True)
class Shared:
    """An interval of a record that shares hashes with one kind of reference."""

    start: int
    end: int
    shared: int  # distinct hashes found in a reference
    total: int  # hashes of the interval
    name: str  # the reference that most of them belong to

    def finding(self, record: str, kind: str, tool: str = "hashes") -> Finding:
        """The same interval of a named record, ready to be acted upon."""
        return Finding(record, self.start, self.end, kind, self.name, tool, float(self.shared))

    def overlaps(self, other: Finding) -> bool:
        """Whether the interval and a finding on the same record have bases in common."""
        return self.start < other.end and other.start < self.end

    def describe(self, k: int) -> str:
        """The interval with its numbers, as a clause."""
        identity = identity_of_containment(self.shared / max(1, self.total), k)
        return f"{self.start:,}-{self.end:,} like {self.name} ({self.shared} of {self.total} hashes, ~{identity:.1%})"


def judge_header(fact: RecordFacts, compartment: Compartment) -> list[Verdict]:
    """Rejects a record whose header names another compartment than the manifest does."""
    stated = stated_compartment(fact.name, fact.description)
    if stated is None or stated is compartment:
        return []
    header = f"{fact.name} {fact.description}".strip()
    text = f'the header "{header[:80]}" names the {stated.value}, the manifest says {compartment.value}'
    return [Verdict(fact.name, Outcome.REJECTED, STAGE, f"{stated.value}_under_{compartment.value}_label", text)]


def judge_record(
    fact: RecordFacts,
    codes: UInt8[np.ndarray, "P"],
    hashes: UInt64[np.ndarray, "hashes"],
    places: Int64[np.ndarray, "hashes"],
    *,
    compartment: Compartment,
    references: ReferenceIndex,
    config: ContaminationConfig,
) -> Screened:
    """Verdicts on one record, and the intervals that they speak of; a record that is rejected has one verdict."""
    if verdicts := judge_header(fact, compartment):
        return Screened(verdicts, [])
    parts = [
        _judge_foreign(fact, shared_intervals(hashes, places, references.foreign, config), config),
        _judge_vectors(fact, codes, references, config),
    ]
    if compartment is Compartment.NUCLEAR and not _rejected(parts[0].verdicts):
        organelle = shared_intervals(hashes, places, references.organelle, config)
        rdna = shared_intervals(hashes, places, references.rdna, config)
        parts += [judge_organelle(fact, organelle, config), _judge_rdna(fact, rdna, config)]
    whole = sum(parts, Screened([], []))
    return Screened(_rejected(whole.verdicts)[:1] or whole.verdicts, whole.findings)


def shared_intervals(
    hashes: UInt64[np.ndarray, "hashes"],
    places: Int64[np.ndarray, "hashes"],
    index: HashIndex,
    config: ContaminationConfig,
) -> list[Shared]:
    """Intervals of a record that share at least `min_shared_hashes` distinct hashes with a reference."""
    hits, at = index.find(hashes)
    if not hits.size:
        return []
    intervals = []
    borders = np.flatnonzero(np.diff(places[hits]) > config.max_gap_bp) + 1
    for group, held in zip(np.split(hits, borders), np.split(at, borders)):
        shared = int(np.unique(hashes[group]).size)
        if shared < config.min_shared_hashes:
            continue
        start, end = int(places[group[0]]), int(places[group[-1]]) + config.k
        total = int(group[-1] - group[0] + 1)
        owner = np.bincount(index.owner[held], minlength=len(index.names))
        intervals.append(Shared(start, end, shared, max(shared, total), index.names[int(owner.argmax())]))
    return intervals


def _judge_foreign(fact: RecordFacts, intervals: list[Shared], config: ContaminationConfig) -> Screened:
    if not intervals:
        return Screened([], [])
    findings = [part.finding(fact.name, "foreign") for part in intervals]
    covered, share = coverage(fact, findings)
    action = IntervalAction.DROP if share > config.max_foreign_fraction else config.foreign_intervals
    text = f"{covered} match references: {_list(intervals, config.k)}"
    return act(fact, findings, action, stage=STAGE, reason="foreign_organism", evidence=text)


def _judge_vectors(
    fact: RecordFacts, codes: np.ndarray, references: ReferenceIndex, config: ContaminationConfig
) -> Screened:
    matches = screen_vectors(codes, references.vectors, config)
    by_class = {kind: [match for match in matches if match.strength is kind] for kind in Strength}
    weak = Screened([], [_vector_finding(fact, match) for match in by_class[Strength.WEAK]])
    moderate = [_vector_finding(fact, match) for match in by_class[Strength.MODERATE]]
    if moderate:
        text = f"{_describe_matches(by_class[Strength.MODERATE])}; {len(weak.findings)} weaker"
        more = act(fact, moderate, IntervalAction.FLAG, stage=STAGE, reason="vector_suspected", evidence=text)
        weak = weak + more
    strong = by_class[Strength.STRONG]
    if not strong:
        return weak
    findings = [_vector_finding(fact, match) for match in strong]
    runs = runs_of(mask_of(np.array([(match.start, match.end) for match in strong]), codes.size))
    findings += [
        Finding(fact.name, start, end, "vector", "segment of suspect origin", "VecScreen", 0.0)
        for start, end in suspect_segments([tuple(run) for run in runs.tolist()], codes.size, config.suspect_bp)
    ]
    covered, share = coverage(fact, findings)
    bars = f"strong from {config.min_vector_score}, at an end from {config.min_terminal_vector_score}"
    text = f"{covered} match vectors: {_describe_matches(strong)} ({bars})"
    action = IntervalAction.DROP if share > config.max_vector_fraction else config.vector_intervals
    return weak + act(fact, findings, action, stage=STAGE, reason="vector", evidence=text)


def _vector_finding(fact: RecordFacts, match: Match) -> Finding:
    name = f"{match.strength.value}{' terminal' if match.terminal else ''} {match.name}"
    return Finding(fact.name, match.start, match.end, "vector", name, "VecScreen", float(match.score))


def _describe_matches(matches: list[Match]) -> str:
    best = max(matches, key=lambda match: (match.score, -match.start))
    where = f"{best.start:,}-{best.end:,}{', at an end,' if best.terminal else ''}"
    kind = best.strength.value
    number = f"{len(matches)} {kind} match{'es' * (len(matches) != 1)}"
    return f"{number}, best {best.name} at {where} with score {best.score}"


def judge_organelle(
    fact: RecordFacts,
    intervals: list[Shared],
    config: ContaminationConfig,
    *,
    tool: str = "hashes",
    told: tuple[Finding, ...] = (),
) -> Screened:
    """An organelle under a nuclear label is rejected, an insertion into a chromosome dealt with as the settings say.

    Args:
        fact: a record labelled nuclear.
        intervals: where it shares hashes with organelles.
        config: thresholds.
        tool: what found them.
        told: findings that were dealt with before; insertions that overlap them are not told again.
    """
    findings = [part.finding(fact.name, "organelle", tool) for part in intervals]
    covered, share = coverage(fact, findings)
    if intervals and share >= config.min_organelle_fraction:
        text = f"{covered} match organelles: {_list(intervals, config.k)}"
        reason = "organelle_under_nuclear_label"
        return act(fact, findings, IntervalAction.DROP, stage=STAGE, reason=reason, evidence=text)
    new = [part for part in _insertions(intervals, config) if not any(part.overlaps(other) for other in told)]
    if not new:
        return Screened([], [])
    findings = [part.finding(fact.name, "organelle", tool) for part in new]
    text = f"{coverage(fact, findings)[0]} match organelles: {_list(new, config.k)}"
    reason, action = "organelle_insertion", config.organelle_insertions
    if share >= config.min_chimera_fraction and max(part.end - part.start for part in new) >= config.min_chimera_bp:
        text = f"{text}; insertions are shorter, or less of their record than {config.min_chimera_fraction:.0%}"
        reason, action = "organelle_chimera", config.chimeras if action is IntervalAction.FLAG else action
    return act(fact, findings, action, stage=STAGE, reason=reason, evidence=text)


def _insertions(intervals: list[Shared], config: ContaminationConfig) -> list[Shared]:
    return [part for part in intervals if part.end - part.start >= config.min_insertion_bp]


def nothing_left(record: str, cuts: int, config: ContaminationConfig) -> Verdict:
    """The rejection of a record that cuts leave no piece of."""
    text = f"nothing of at least {config.min_piece_bp:,} bp is left beside {cuts} intervals to cut"
    return Verdict(record, Outcome.REJECTED, STAGE, "nothing_left", text)


def _judge_rdna(fact: RecordFacts, intervals: list[Shared], config: ContaminationConfig) -> Screened:
    intervals = _insertions(intervals, config)
    if not intervals:
        return Screened([], [])
    findings = [part.finding(fact.name, "rdna") for part in intervals]
    text = f"{coverage(fact, findings)[0]} match rDNA: {_list(intervals, config.k)}"
    return act(fact, findings, config.rdna_insertions, stage=STAGE, reason="rdna_insertion", evidence=text)


def _list(intervals: list[Shared], k: int) -> str:
    largest = sorted(intervals, key=lambda part: (part.start - part.end, part.start))
    rest = f" and {len(intervals) - 3} more" if len(intervals) > 3 else ""
    return "; ".join(part.describe(k) for part in largest[:3]) + rest


def _rejected(verdicts: list[Verdict]) -> list[Verdict]:
    return [verdict for verdict in verdicts if verdict.outcome is Outcome.REJECTED]

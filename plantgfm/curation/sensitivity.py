"""What each threshold, moved by one step, would have changed: judged again from what is stored, one at a time.

Thresholds of completeness and of the assembly score are asked again of the stored facts of every record, by the same
functions, those of contamination of the intervals that were found; a record that would then pass is said to go on, for
no later stage has seen it. Thresholds of duplicates and labels are asked by running these stages again on the stored
sketches, so that their counts are of final outcomes.
What sets how a thing is measured (k-mers, sketch sizes, scores of matches) is no threshold here: it needs another run.
`UNTRIED` names all that is not moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from plantgfm.curation import assembly_score, completeness, contamination, duplicates, label
from plantgfm.curation.config import ContaminationConfig, CurationConfig, IntervalAction, LabelConfig, RepeatConfig
from plantgfm.curation.facts import RecordFacts, bare_facts
from plantgfm.curation.findings import Finding, coverage
from plantgfm.curation.intruders import compare_screens
from plantgfm.curation.join import reference_hashes, verify_labels
from plantgfm.curation.measures import Step
from plantgfm.curation.prepared import Prepared
from plantgfm.curation.removals import remove_duplicates
from plantgfm.curation.vectors import Strength
from plantgfm.formats.busco import GeneCompleteness
from plantgfm.formats.passport import PassportRecord
from plantgfm.schema import Compartment, Outcome

SENSITIVITY_VERSION = 4  # parts under another species' name, strangers by their loci
_OF_PEERS = ("min_organelle_fraction", "max_peer_fraction", "min_expected_shared")
_OF_SPECIES = ("max_species_distance", "species_margin")
_SUSPECTED = (Strength.MODERATE.value, Strength.WEAK.value)  # begin the names of matches that are flagged, or less
STRICTER, LOOSER = "stricter", "looser"

Names = set[tuple[str, str]]  # (Assembly.key, record)


@dataclass(frozen=True)
class Threshold:
    """A setting that decides on records, and how far one step of it is."""

    setting: str  # "completeness.min_record_bp"
    step: float
    stricter: int  # +1 where a higher value rejects more, -1 where a lower one does
    factor: bool = False  # multiplied and divided by the step, instead of added and subtracted
    low: float = 0.0
    high: float = 1e12

    def moved(self, value: float, direction: str) -> float:
        """The setting one step away, at most at its bound; counts stay whole."""
        sign = self.stricter if direction == STRICTER else -self.stricter
        new = value * self.step**sign if self.factor else value + sign * self.step
        new = min(max(new, self.low), self.high)
        return round(new) if isinstance(value, int) else round(new, 9)

    def describe(self) -> str:
        """The step, as text."""
        return f"x {self.step:g}" if self.factor else f"± {self.step:g}"


THRESHOLDS = (
    Threshold("completeness.min_record_bp", 2, +1, factor=True),
    Threshold("completeness.max_unknown_fraction", 0.1, -1, high=1),
    Threshold("completeness.truncation_fraction", 2, -1, factor=True),
    Threshold("completeness.min_size_fraction", 0.1, +1, high=1),
    Threshold("completeness.min_gene_fraction", 0.1, +1, high=1),
    Threshold("contamination.max_foreign_fraction", 0.1, -1, high=1),
    Threshold("contamination.max_vector_fraction", 0.1, -1, high=1),
    Threshold("contamination.min_organelle_fraction", 0.1, -1, high=1),
    Threshold("contamination.max_peer_fraction", 2, +1, factor=True, high=1),
    Threshold("contamination.min_expected_shared", 2, -1, factor=True, low=5),
    Threshold("assembly_score.min_ng50_bp", 2, +1, factor=True),
    Threshold("assembly_score.max_unknown_fraction", 0.1, -1, high=1),
    Threshold("assembly_score.min_score", 0.05, +1, high=1),
    Threshold("assembly_score.no_contiguity_ng50_bp", 2, +1, factor=True),
    Threshold("assembly_score.full_contiguity_ng50_bp", 2, +1, factor=True),
    Threshold("duplicates.assembly_identity", 0.005, -1, low=0.9, high=1),
    Threshold("duplicates.record_identity", 0.005, -1, low=0.9, high=1),
    Threshold("duplicates.species_identity", 0.002, -1, low=0.9, high=1),
    Threshold("duplicates.organelle_species_identity", 0.001, -1, low=0.9, high=1.0),
    Threshold("label.max_distance", 0.01, -1),
    Threshold("label.margin", 2, -1, factor=True),
    Threshold("label.max_species_distance", 0.01, +1, low=0.001, high=0.1),
    Threshold("label.species_margin", 0.01, -1, low=0.001, high=0.5),
    Threshold("label.min_shared_hashes", 2, +1, factor=True, low=1),
    Threshold("label.min_name_score", 5, +1, high=100),
    Threshold("label.name_margin", 2, +1, factor=True, high=100),
    Threshold("label.min_common_sites", 2, -1, factor=True, low=1),
    Threshold("label.same_label_identity", 0.01, +1, high=1),
    Threshold("label.other_label_identity", 0.005, -1, high=1),
)

UNTRIED = {
    "they set how things are measured, which takes another run": (
        "completeness.min_marker_containment",
        "contamination.k",
        "contamination.scaled",
        "contamination.min_shared_hashes",
        "contamination.max_gap_bp",
        "contamination.vector_seed_k",
        "contamination.min_vector_score",
        "contamination.min_terminal_vector_score",
        "contamination.moderate_vector_scores",
        "contamination.weak_vector_scores",
        "contamination.vector_end_bp",
        "contamination.suspect_bp",
        "contamination.min_piece_bp",
        "contamination.organelle_references",
        "contamination.shipped_sketches",
        "contamination.plant_lineage",
        "duplicates.k",
        "duplicates.seed",
        "duplicates.permutations",
        "duplicates.signature_scaled",
        "duplicates.bins",
        "duplicates.window_bp",
        "duplicates.window_bins",
        "label.synonyms",
    ),
    "they flag, mask or weigh, and reject no record": (
        "completeness.max_size_ratio",
        "contamination.min_insertion_bp",
        "contamination.min_chimera_bp",
        "contamination.min_chimera_fraction",
        "duplicates.window_identity",
        *(f"repeats.{item.name}" for item in fields(RepeatConfig)),
    ),
    "they are choices without a step": (
        "flag_only",
        *(f"contamination.{name}_intervals" for name in ("foreign", "vector")),
        *(f"contamination.{name}_insertions" for name in ("organelle", "rdna")),
        "contamination.chimeras",
        *(f"label.{item.name}" for item in fields(LabelConfig) if item.name.startswith("on_")),
    ),
}
"""Settings that are no thresholds here, by why not."""


def sensitivity(
    prepared: list[Prepared], passport: list[PassportRecord], config: CurationConfig, decisions: list[dict[str, Any]]
) -> list[Step]:
    """One row a threshold, direction and species that it touches; one with species "" where it touches none.

    Args:
        prepared: assemblies as `join` takes them, fresh from the store; their verdicts are changed.
        passport: as in `join`.
        config: the settings as they are.
        decisions: what `join` decided by them.
    """
    finals = {(d["assembly"], d["record"]): d for d in decisions if d["outcome"] != Outcome.FLAGGED.value}
    rejected = {name for name, d in finals.items() if d["outcome"] == Outcome.REJECTED.value}
    joined = _Joined(prepared, passport, config)
    rows: list[Step] = []
    for threshold in THRESHOLDS:
        stage, name = threshold.setting.split(".")
        value = asdict(config)[stage][name]
        for direction in (STRICTER, LOOSER):
            to = threshold.moved(value, direction)
            try:
                changed = replace(config, **{stage: replace(vars(config)[stage], **{name: to})})
            except ValueError:  # beyond another setting, as the two bounds of contiguity: there it ends
                to, changed = value, config
            idle = to == value or stage in config.flag_only
            lost, gained = (set(), set()) if idle else _REJUDGE[stage](joined, changed, finals, rejected)
            told = (threshold.setting, direction, threshold.describe(), value, to)
            rows += _by_species(told, lost, gained, finals)
    return rows


def _by_species(told: tuple, lost: Names, gained: Names, finals: dict) -> list[Step]:
    cells: dict[str, list[int]] = {}
    for at, names in ((0, lost), (2, gained)):
        for name in names:
            cell = cells.setdefault(finals[name]["species"], [0, 0, 0, 0])
            cell[at] += 1
            cell[at + 1] += finals[name]["length_bp"]
    return [Step(*told, species, *cells[species]) for species in sorted(cells)] or [Step(*told, "", 0, 0, 0, 0)]


class _Joined:
    """Prepared assemblies that can be taken back to where duplicates, or labels, begin."""

    def __init__(self, prepared: list[Prepared], passport: list[PassportRecord], config: CurationConfig):
        self.prepared, self.passport, self.config = prepared, passport, config
        self.own = [list(one.verdicts) for one in prepared]  # of the stages that see one assembly
        self._references = reference_hashes(passport, config)
        self._begun = self._state()
        compare_screens(prepared, config)
        self._screened = self._state()
        remove_duplicates(prepared, config)
        self._distinct = self._state()
        self._removed = self._rejected()

    def with_screens(self, config: CurationConfig, otherwise: Names) -> Names:
        """What is rejected in the end by other thresholds of the screens that compare assemblies."""
        self._restore(self._begun)
        compare_screens(self.prepared, config)
        return self._from_duplicates(config, otherwise)

    def with_duplicates(self, config: CurationConfig, otherwise: Names) -> Names:
        """What is rejected in the end by other thresholds of duplicates."""
        self._restore(self._screened)
        return self._from_duplicates(config, otherwise)

    def with_labels(self, config: CurationConfig, otherwise: Names) -> Names:
        """What is rejected in the end by other thresholds of labels."""
        of_species = any(getattr(config.label, name) != getattr(self.config.label, name) for name in _OF_SPECIES)
        if not (of_species or self.passport or any(one.assembly.genotypes for one in self.prepared)):
            return otherwise  # nothing to hold a label against
        self._restore(self._distinct)
        return self._verify(config)

    def _from_duplicates(self, config: CurationConfig, otherwise: Names) -> Names:
        remove_duplicates(self.prepared, config)
        # Where the same records are left, labels are judged as they were.
        return otherwise if self._rejected() == self._removed else self._verify(config)

    def _verify(self, config: CurationConfig) -> Names:
        verify_labels(self.prepared, self.passport, config, references=self._references)
        return self._rejected()

    def _rejected(self) -> Names:
        return {(one.assembly.key, name) for one in self.prepared for name in one.rejected()}

    def _state(self) -> list[tuple]:
        return [(list(one.verdicts), list(one.findings), dict(one.pieces)) for one in self.prepared]

    def _restore(self, state: list[tuple]) -> None:
        for one, (verdicts, findings, pieces) in zip(self.prepared, state):
            one.verdicts, one.findings, one.pieces = list(verdicts), list(findings), dict(pieces)


def _again_completeness(joined: _Joined, config: CurationConfig, finals: dict, rejected: Names) -> tuple[Names, Names]:
    lost, gained = set(), set()
    for one in joined.prepared:
        found = _incomplete(one, config.completeness)
        for record in one.description["records"]:
            name = one.assembly.key, record["name"]
            if record["name"] in found and name not in rejected:
                lost.add(name)
            elif record["name"] not in found and name in rejected and finals[name]["stage"] == completeness.STAGE:
                gained.add(name)
    return lost, gained


def _incomplete(one: Prepared, config: completeness.CompletenessConfig) -> set[str]:
    """Names of the records that completeness rejects."""
    facts = [RecordFacts(**row) for row in one.description["facts"]]
    expected, genes = one.assembly.expected_size_bp, one.description["genes"]
    marker_genes = GeneCompleteness(**genes) if genes else None
    gone: set[str] = set()
    for judge in (
        lambda left: completeness.judge_records(left, config),
        lambda left: completeness.judge_assembly(left, expected, config),
        lambda left: completeness.judge_genes(left, marker_genes, expected, config),
    ):
        left = [fact for fact in facts if fact.name not in gone]
        gone |= {verdict.record for verdict in judge(left) if verdict.outcome is Outcome.REJECTED}
    return gone


def _again_contamination(joined: _Joined, config: CurationConfig, finals: dict, rejected: Names) -> tuple[Names, Names]:
    lost, gained = set(), set()
    if any(getattr(config.contamination, name) != getattr(joined.config.contamination, name) for name in _OF_PEERS):
        lost, gained = _differences(joined.with_screens(config, rejected), rejected)
    for one in joined.prepared:
        before, after = (_contaminated(one, settings.contamination) for settings in (joined.config, config))
        for record in before.keys() | after.keys():
            name = one.assembly.key, record
            final, was, now = finals[name], before.get(record, set()), after.get(record, set())
            if now and name not in rejected:
                lost.add(name)
            # Evidence of further screens follows "also": the record would fall by them.
            elif {final["reason"]} == was and not now and "; also " not in final["evidence"]:
                gained.add(name)
    return lost, gained


def _contaminated(one: Prepared, config: ContaminationConfig) -> dict[str, set[str]]:
    """Reasons for which intervals that were found in its own records reject them, by record."""
    lengths = {row["name"]: row for row in one.description["facts"]}
    nuclear = one.assembly.compartment is Compartment.NUCLEAR
    found: dict[str, set[str]] = {}
    for kind, tool, reason, action in (
        ("foreign", "hashes", "foreign_organism", config.foreign_intervals),
        ("vector", "VecScreen", "vector", config.vector_intervals),
        ("organelle", "hashes", "organelle_under_nuclear_label", config.organelle_insertions),
    ):
        by_record: dict[str, list[Finding]] = {}
        for row in one.description["findings"]:
            if (row["kind"], row["tool"]) == (kind, tool) and (kind != "organelle" or nuclear):
                if kind == "vector" and row["name"].startswith(_SUSPECTED):
                    continue
                by_record.setdefault(row["record"], []).append(Finding.restore(row))
        for record, mine in by_record.items():
            facts = bare_facts(record, lengths[record]["length_bp"], lengths[record]["unknown_bp"])
            share = coverage(facts, mine)[1]
            over = {
                "foreign": share > config.max_foreign_fraction,
                "vector": share > config.max_vector_fraction,
                "organelle": share >= config.min_organelle_fraction,
            }[kind]
            if over or action is IntervalAction.DROP:
                found.setdefault(record, set()).add(reason)
    return found


def _again_score(joined: _Joined, config: CurationConfig, finals: dict, rejected: Names) -> tuple[Names, Names]:
    lost, gained = set(), set()
    for one, verdicts in zip(joined.prepared, joined.own):
        earlier = {v.record for v in verdicts if v.rejects((*config.flag_only, assembly_score.STAGE))}
        facts = [RecordFacts(**row) for row in one.description["facts"] if row["name"] not in earlier]
        found = assembly_score.judge_assembly(facts, one.assembly.expected_size_bp, config.assembly_score)
        names = {(one.assembly.key, fact.name) for fact in facts}
        before = {name for name in names & rejected if finals[name]["stage"] == assembly_score.STAGE}
        if found:
            lost |= names - rejected
        else:
            gained |= before
    return lost, gained


def _again_duplicates(joined: _Joined, config: CurationConfig, finals: dict, rejected: Names) -> tuple[Names, Names]:
    return _differences(joined.with_duplicates(config, rejected), rejected)


def _again_labels(joined: _Joined, config: CurationConfig, finals: dict, rejected: Names) -> tuple[Names, Names]:
    return _differences(joined.with_labels(config, rejected), rejected)


def _differences(found: Iterable[tuple[str, str]], rejected: Names) -> tuple[Names, Names]:
    return set(found) - rejected, rejected - set(found)


_REJUDGE: dict[str, Callable[[_Joined, CurationConfig, dict, Names], tuple[Names, Names]]] = {
    completeness.STAGE: _again_completeness,
    contamination.STAGE: _again_contamination,
    assembly_score.STAGE: _again_score,
    duplicates.STAGE: _again_duplicates,
    label.STAGE: _again_labels,
}

"""A ledger as sections of a report: funnel, reasons, duplicates, contamination, assemblies, what a step would do."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from plantgfm.curation import contamination, duplicates
from plantgfm.curation.config import IntervalAction
from plantgfm.curation.findings import Finding
from plantgfm.curation.ledger import LEDGER_FILE, STAGES, Ledger, read_ledger
from plantgfm.curation.measures import Step
from plantgfm.curation.sensitivity import LOOSER, STRICTER, UNTRIED
from plantgfm.formats.tables import read_rows
from plantgfm.identity import file_sha256, fingerprint
from plantgfm.report.page import Page, Picture, Section
from plantgfm.report.table import Table
from plantgfm.schema import Decision, Outcome
from plantgfm.wiring.ledger_tables import evidence_table, ledger_table

REPORT_FILE = "report.html"
ASSEMBLIES_FILE = "assemblies.tsv"
_VERSION = 1
_TRACKS = 40  # records drawn
_CLUSTERS = 60  # rows of the table
_INTERVALS = 60  # rows of the table
_HEAD_BYTES = 1 << 16
_DONE = {
    IntervalAction.FLAG: "flagged",
    IntervalAction.MASK: "masked",
    IntervalAction.CUT: "cut out",
    IntervalAction.DROP: "record rejected",
}


def write_curation_report(folder: Path, out: Path | None = None) -> Path:
    """Draw the report of a folder that a curation wrote, as one HTML file; one that is up to date is left as it is.

    Raises:
        ValueError: when the folder holds no ledger, or a damaged one.
    """
    path = out or folder / REPORT_FILE
    ledger = read_ledger(folder)
    parts = [file_sha256(part) for part in sorted(folder.glob("*")) if part.suffix in (".json", ".parquet", ".tsv")]
    stamp = f"State of the ledger: {fingerprint([_VERSION, parts])}."
    if path.is_file() and stamp.encode() in path.read_bytes()[:_HEAD_BYTES]:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    Page("Curation", f"{_summary(ledger)}\n\n{stamp}", curation_sections(ledger, folder)).write_html(path)
    return path


def curation_sections(ledger: Ledger, folder: Path) -> list[Section]:
    """All that a ledger tells, in the order in which one asks.

    Args:
        ledger: what `read_ledger` gives.
        folder: where it lies; `assemblies.tsv` beside it is shown where it is there.
    """
    sections = [
        _funnel_section(ledger),
        _reasons_section(ledger),
        _duplicates_section(ledger),
        _contamination_section(ledger),
        _assemblies_section(folder / ASSEMBLIES_FILE),
        _steps_section(ledger),
        Section("Evidence", tables=[evidence_table(ledger)]),
    ]
    return [section for section in sections if section is not None]


def _finals(ledger: Ledger) -> list[Decision]:
    return [d for d in ledger.decisions if d.outcome is not Outcome.FLAGGED]


def _summary(ledger: Ledger) -> str:
    clauses = [f"{name} {records:,} ({bp:,} bp)" for name, (records, bp) in ledger.totals().items()]
    told = ledger.settings.get("flag_only")
    only = f" Only flagged, not rejected, as flag_only says: what {', '.join(told)} found." if told else ""
    return f"Of {ledger.input_records:,} records ({ledger.input_bp:,} bp): {', '.join(clauses)}.{only}"


def funnel_counts(ledger: Ledger) -> tuple[list[str], dict[str, dict[str, list[float]]]]:
    """Mb by outcome, species and stage: what goes on after each stage, and what it rejects or cuts out."""
    stages = [stage for stage in STAGES if stage != STAGES[-1]]
    rejected: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(stages)))
    total: dict[str, float] = defaultdict(float)
    for d in _finals(ledger):
        total[d.species] += d.length_bp / 1e6
        if d.outcome is Outcome.REJECTED:
            rejected[d.species][stages.index(d.stage)] += d.length_bp / 1e6
        rejected[d.species][stages.index(contamination.STAGE)] += d.cut_bp / 1e6
    left = {name: list(total[name] - np.cumsum(rejected[name])) for name in sorted(total)}
    gone = {name: list(rejected[name]) for name in sorted(rejected) if rejected[name].any()}
    return stages, {"kept": left, **({"rejected": gone} if gone else {})}


def _funnel_section(ledger: Ledger) -> Section:
    from plantgfm.report import figures  # matplotlib: left alone where the page is up to date

    stages, counts = funnel_counts(ledger)
    picture = figures.funnel(stages, counts, xlabel="Mb after the stage (kept) or taken by it (rejected)")
    caption = "Curation funnel: what each stage passes on and what it takes, by species"
    return Section("Funnel", tables=[funnel_table(ledger)], figures=[Picture(caption, picture)])


def funnel_table(ledger: Ledger) -> Table:
    """A line a species: records and base pairs of the input, what is left after each stage, and the share kept."""
    stages, counts = funnel_counts(ledger)
    records: dict[str, int] = defaultdict(int)
    kept: dict[str, int] = defaultdict(int)
    for d in _finals(ledger):
        records[d.species] += 1
        kept[d.species] += d.outcome is not Outcome.REJECTED
    total = {name: sum(d.length_bp for d in _finals(ledger) if d.species == name) / 1e6 for name in records}
    rows = [
        (name, records[name], total[name], *counts["kept"][name], kept[name], counts["kept"][name][-1] / total[name])
        for name in sorted(records)
    ]
    columns = ("species", "records", "Mb", *(f"after {stage}" for stage in stages), "records kept", "share of bp kept")
    formats = {**dict.fromkeys(columns[2:-2], ".3f"), columns[-1]: ".1%"}
    return Table("Records and Mb that each stage leaves", columns, rows, formats=formats)


def _reasons_section(ledger: Ledger) -> Section:
    return Section("Reasons", tables=[reasons_table(ledger), ledger_table(ledger)])


def reasons_table(ledger: Ledger) -> Table:
    """A line a reason: stage, outcome, species, records, base pairs, and the first evidence of it."""
    found: dict[tuple[int, str, str], list[Decision]] = defaultdict(list)
    for d in ledger.decisions:
        if d.outcome is not Outcome.KEPT:
            found[STAGES.index(d.stage), d.outcome.value, d.reason].append(d)
    rows = []
    for (stage, outcome, reason), told in sorted(found.items()):
        records = {(d.assembly, d.record): d.length_bp for d in told}
        species, first = len({d.species for d in told}), f"{told[0].record}: {told[0].evidence}"
        rows.append((STAGES[stage], outcome, reason, species, len(records), sum(records.values()), first))
    columns = ("stage", "outcome", "reason", "species", "records", "bp", "the first of them")
    return Table("Why records were rejected, cut or flagged", columns, rows)


def _duplicates_section(ledger: Ledger) -> Section:
    table = clusters_table(ledger)
    text = "" if table.rows else "No record was found to be the same as another."
    return Section("Duplicate clusters", text, tables=[table] if table.rows else [])


def clusters_table(ledger: Ledger, *, most: int = _CLUSTERS) -> Table:
    """A line a sequence that was kept in the place of others: who represents whom, and why."""
    found: dict[tuple[str, str], list[Decision]] = defaultdict(list)
    for d in ledger.decisions:
        if d.stage == duplicates.STAGE and d.outcome is Outcome.REJECTED:
            found[d.kept_assembly, d.kept_record].append(d)
    ordered = sorted(found.items(), key=lambda item: (-sum(d.length_bp for d in item[1]), item[0]))
    rows = []
    for (assembly, record), gone in ordered[:most]:
        others = sorted({_whom(d) for d in gone})
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        reasons = ", ".join(sorted({d.reason for d in gone}))
        represents = "; ".join(others[:3]) + more
        bp = sum(d.length_bp for d in gone)
        rows.append((_name(assembly, record), represents, len(gone), bp, reasons, gone[0].evidence))
    note = f"{len(ordered) - most} more stand in ledger.parquet" if len(ordered) > most else ""
    columns = ("kept", "represents", "records", "bp", "reason", "evidence, and why this one")
    return Table("Who represents whom", columns, rows, note=note)


def _name(assembly: str, record: str) -> str:
    label = " ".join(part for part in assembly.split("|") if part)
    return f"{record} of {label}" if record else f"{label} as a whole"


def _whom(d: Decision) -> str:
    return _name(d.assembly, d.record if d.kept_record else "")


def _contamination_section(ledger: Ledger) -> Section:
    if not ledger.findings:
        return Section("Contamination", "No screen found anything in an interval of a record.")
    return Section("Contamination", tables=[findings_table(ledger.findings)], figures=[_tracks(ledger)])


def findings_table(findings: list[Finding], *, most: int = _INTERVALS) -> Table:
    """A line an interval in which a screen found something, the longest first."""
    ordered = sorted(findings, key=lambda f: (f.start - f.end, f.assembly, f.record, f.start))
    rows = [
        (_name(f.assembly, f.record), f.start, f.end, f.end - f.start, f.kind, _DONE[f.action], f.name, f.tool, f.score)
        for f in ordered[:most]
    ]
    note = "0-based and half-open; the score is the tool's: distinct shared hashes, alignment score, percent covered"
    note += f"; {len(ordered) - most} more stand in findings.parquet" if len(ordered) > most else ""
    columns = ("record", "start", "end", "bp", "kind", "what was done", "like", "found by", "score")
    return Table("Intervals in which something was found", columns, rows, note=note)


def _tracks(ledger: Ledger) -> Picture:
    from plantgfm.report import figures  # matplotlib: left alone where the page is up to date

    found: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in ledger.findings:
        found[finding.assembly, finding.record].append(finding)
    lengths = {(d.assembly, d.record): d.length_bp for d in ledger.decisions}
    order = sorted(found, key=lambda key: (-sum(f.end - f.start for f in found[key]), key))[:_TRACKS]
    labels = [f"{record}, {assembly.split('|')[0]} ({lengths[assembly, record]:,} bp)" for assembly, record in order]
    intervals = [
        (row, finding.start, finding.end, f"{finding.kind}, {_DONE[finding.action]}")
        for row, key in enumerate(order)
        for finding in found[key]
    ]
    intervals.sort(key=lambda interval: interval[3])  # so that a group has the same colour in every report of its kind
    picture = figures.tracks(labels, [lengths[key] for key in order], intervals, xlabel="position along the record, %")
    rest = f"; {len(found) - len(order)} more records are not drawn" if len(found) > len(order) else ""
    return Picture(f"Intervals along records in which a screen found something{rest}", picture)


def _assemblies_section(path: Path) -> Section | None:
    if not path.is_file():
        return None
    columns, found = read_rows(path)
    rows = [row for _, row in found]
    shown = [name for name in columns if any(row[name] for row in rows)]
    cells = [[_number(row[name]) for name in shown] for row in rows]
    formats = {name: ".2%" for name in shown if name.endswith("_fraction")}
    formats |= {name: ".3f" for name in shown if name == "score"} | {name: ",.0f" for name in shown if name == "aun_bp"}
    note = "over the records that completeness and contamination left; a score needs a stated genome size"
    titles = [name.replace("_", " ") for name in shown]
    return Section(
        "Assemblies",
        tables=[Table("Measures", titles, cells, note, {name.replace("_", " "): f for name, f in formats.items()})],
    )


def _number(text: str) -> str | int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None


def _steps_section(ledger: Ledger) -> Section:
    heading = "What one step of each threshold would have done"
    if not ledger.steps:
        return Section(heading, "Not computed: curate with --what-if, which is the default of `plantgfm curate`.")
    text = (
        "One threshold at a time is moved by one step, and the records are judged again from what is stored. Lost: "
        "kept now, and then rejected. Gained: rejected now; of duplicates and labels these would be kept, of the "
        f"stages before they would go on to the next one, which has not seen them. {_untried()}"
    )
    if not any(step.species for step in ledger.steps):
        return Section(heading, f"{text}\n\n{steps_note(ledger.steps)}.")
    return Section(heading, text, tables=[steps_table(ledger.steps)], figures=[_steps_picture(ledger.steps)])


def _untried() -> str:
    """A line: the settings that are not moved, and why."""
    return "Not tried: " + "; ".join(f"{', '.join(names)} ({why})" for why, names in UNTRIED.items()) + "."


def steps_table(steps: list[Step]) -> Table:
    """A line a threshold, direction and species that it would have touched; thresholds that touch none in the note."""
    touching = [step for step in steps if step.species]
    rows = [
        (s.setting, s.value, s.direction, s.moved_to, s.species)
        + (s.lost_records, s.lost_bp, s.gained_records, s.gained_bp)
        for s in touching
    ]
    columns = ("threshold", "now", "step", "then", "species", "records lost", "bp lost", "records gained", "bp gained")
    return Table("One step", columns, rows, note=steps_note(steps))


def steps_note(steps: list[Step]) -> str:
    """The steps that would have touched no record, and the thresholds that can't be moved."""
    idle = [f"{s.setting} {s.moved_to:g}" for s in steps if not s.species and s.moved_to != s.value]
    bound = [f"{s.setting} {s.value:g}" for s in steps if s.moved_to == s.value]
    told = [f"no record would change at {', '.join(idle)}"] if idle else []
    return "; ".join([*told, *([f"at the end of their range already: {', '.join(bound)}"] if bound else [])])


def _steps_picture(steps: list[Step]) -> Picture:
    from plantgfm.report import figures  # matplotlib: left alone where the page is up to date

    names = list(dict.fromkeys(step.setting for step in steps if step.species))

    def total(setting: str, direction: str, field: str) -> float:
        return sum(getattr(s, field) for s in steps if (s.setting, s.direction) == (setting, direction)) / 1e6

    left = {f"lost, {way}": [total(name, way, "lost_bp") for name in names] for way in (STRICTER, LOOSER)}
    right = {f"gained, {way}": [total(name, way, "gained_bp") for name in names] for way in (LOOSER, STRICTER)}
    left, right = ({name: values for name, values in side.items() if any(values)} for side in (left, right))
    steps_of = {step.setting: step.step for step in steps}
    labels = [f"{name} ({steps_of[name]})" for name in names]
    picture = figures.balance(labels, left, right, xlabel="Mb lost (left) and gained (right) by one step")
    return Picture("What one step of each threshold, stricter or looser, would have lost and gained", picture)


def holds_curation(folder: Path) -> bool:
    """Whether a folder is what `plantgfm curate --out` wrote."""
    return (folder / LEDGER_FILE).is_file()

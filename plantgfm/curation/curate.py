"""Curation from end to end: prepare each assembly, join them, settle every record in the ledger."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, as_completed
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from plantgfm.curation.assemblies import AssemblySummary, write_assemblies
from plantgfm.curation.config import CurationConfig
from plantgfm.curation.findings import Finding
from plantgfm.curation.join import Joined, join
from plantgfm.curation.ledger import Ledger
from plantgfm.curation.measures import AssemblyMeasures, RecordMeasures, Step
from plantgfm.curation.prepare import Task, artefact_key, prepare
from plantgfm.curation.prepared import Prepared
from plantgfm.curation.references import Reference, list_references, references_key
from plantgfm.curation.sensitivity import SENSITIVITY_VERSION, THRESHOLDS, sensitivity
from plantgfm.curation.store import Artefact, FileHashes, remove_leftovers
from plantgfm.formats.passport import PassportRecord, read_passport
from plantgfm.formats.streams import check_file
from plantgfm.formats.taxonomy import read_synonyms
from plantgfm.identity import fingerprint, plain
from plantgfm.schema import AcceptedRecord, Assembly, Decision, Outcome

JOIN_VERSION = 18  # of an assembly under two names, the records that both have are in doubt

Progress = Callable[[str, int, int], None]

_DEATH = "most often for want of memory: give it more, or fewer workers; what is done stays done"


class WorkerDied(ValueError):
    """A file on which worker processes die again and again."""


@dataclass(frozen=True)
class Curation:
    """What curation kept, and what became of everything."""

    accepted: list[AcceptedRecord]  # in order of assembly key and place in its file
    ledger: Ledger
    assemblies: list[AssemblySummary]  # in order of assembly key
    fingerprint: str  # of the accepted content: labels, bases, repeat masks, clusters; file paths are no part of it
    reused: int  # assemblies that were not processed again
    repaired: list[str]  # keys of those that were, because what was stored of them was damaged

    def write(self, folder: Path) -> None:
        """Write the ledger and `assemblies.tsv`, what was measured of each assembly."""
        self.ledger.write(folder)
        write_assemblies(folder / "assemblies.tsv", self.assemblies)


def curate(
    assemblies: list[Assembly],
    config: CurationConfig,
    *,
    store: Path,
    passport: Path | None = None,
    references: Path | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    what_if: bool = False,
) -> Curation:
    """Decide on every record of the assemblies; unchanged files, settings and versions cost nothing again.

    Args:
        assemblies: rows of a manifest, in any order.
        config: thresholds of all stages.
        store: folder for content-addressed artefacts; created where it is missing.
        passport: MCPD table; without one, labels are not verified.
        references: `references.tsv` (name, kind, path), or the folder that holds it.
        executor: runs one task an assembly file; None: one after another, here.
        progress: told (label, done, total).
        what_if: also find what each threshold, moved by one step, would have changed (once an input).

    Raises:
        FormatError: for input that is not what it should be.
        WorkerDied: for a file on which worker processes die again and again.
        ValueError: for two assemblies of the same key, or a record that the ledger would lose.
    """
    config = config.acting()
    accessions = read_passport(passport) if passport else []  # a wrong one is told before the long work
    remove_leftovers(store)
    hashes = FileHashes(store / "files.json")
    known_references = list_references(references, config.contamination)
    tasks = _plan(assemblies, config, known_references, store=store, hashes=hashes)
    pending = [task for task in tasks if not task.artefact.intact(hashes)]
    repaired = [task.assembly.key for task in pending if task.artefact.seal.is_file()]
    _run(pending, executor, progress)
    saved = _join_artefact(tasks, accessions, config, store=store, hashes=hashes)
    joined = _join_once(saved, tasks, accessions, config, hashes=hashes)
    steps = _steps_once(saved, joined, tasks, accessions, config, hashes=hashes) if what_if else []
    hashes.save()
    names = [f"{reference.name} ({reference.kind})" for reference in known_references]
    reused = len(tasks) - len(pending)
    found = _result(tasks, joined, reused=reused, config=config, references=names, steps=steps)
    return replace(found, repaired=repaired)


def prepare_part(
    assemblies: list[Assembly],
    config: CurationConfig,
    *,
    part: int,
    parts: int,
    store: Path,
    references: Path | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> tuple[int, int]:
    """The first half of `curate` on every `parts`-th assembly: prepared and stored, not yet compared. For array jobs.

    Args:
        assemblies: all rows of the manifest, in any order.
        config: as in `curate`, which later finds what is stored only under the same settings.
        part: which share, 1 to `parts`.
        parts: into how many the assemblies are dealt, in order of key.
        store: as in `curate`, shared by all parts.
        references: as in `curate`.
        executor: as in `curate`.
        progress: as in `curate`.

    Returns:
        Number of assemblies in this part, and how many of them were stored already.

    Raises:
        FormatError: for input that is not what it should be.
        ValueError: for a part that is none.
    """
    if not 1 <= part <= parts:
        raise ValueError(f"part {part} of {parts} is none: give I/N with I from 1 to N")
    config = config.acting()
    hashes = FileHashes(store / "files.json")
    known_references = list_references(references, config.contamination)
    mine = sorted(assemblies, key=lambda assembly: assembly.key)[part - 1 :: parts]
    tasks = _plan(mine, config, known_references, store=store, hashes=hashes) if mine else []
    pending = [task for task in tasks if not task.artefact.intact(hashes)]
    _run(pending, executor, progress)
    return len(tasks), len(tasks) - len(pending)


def _plan(
    assemblies: list[Assembly],
    config: CurationConfig,
    references: list[Reference],
    *,
    store: Path,
    hashes: FileHashes,
) -> list[Task]:
    """The work on each assembly, in order of key, and where its result belongs."""
    assemblies = sorted(assemblies, key=lambda assembly: assembly.key)
    _check_keys(assemblies)
    screen = references_key(references, config.contamination)
    folder = store / "assemblies"
    keys = [artefact_key(assembly, config, screen, hashes) for assembly in assemblies]
    hashes.save()
    return [Task(one, config, tuple(references), Artefact(folder, key)) for one, key in zip(assemblies, keys)]


def _check_keys(assemblies: list[Assembly]) -> None:
    if not assemblies:
        raise ValueError("there is no assembly to curate; a manifest needs at least one row")
    for first, second in zip(assemblies, assemblies[1:]):
        if first.key == second.key:
            raise ValueError(f"assembly {first.key!r} is given twice; give one of them another assembly name")


def _run(tasks: list[Task], executor: Executor | None, progress: Progress | None) -> None:
    distinct = list({task.artefact.key: task for task in tasks}.values())

    def tell(task: Task, done: int) -> None:
        if progress:
            progress(f"curate: {task.assembly.fasta.name} ({task.assembly.species})", done, len(distinct))

    if executor is None:
        for number, task in enumerate(distinct):
            tell(task, number)
            prepare(task)
            tell(task, number + 1)
        return
    futures = {executor.submit(prepare, _absolute(task)): task for task in distinct}
    try:
        for done, future in enumerate(as_completed(futures), start=1):
            task = futures[future]
            try:
                future.result()
            except BrokenExecutor as error:
                raise WorkerDied(f"{task.assembly.fasta}: {error}; {_DEATH}") from None
            tell(task, done)
    finally:
        for future in futures:
            future.cancel()  # after an error the rest need not begin


def _absolute(task: Task) -> Task:
    """The same task for a worker that may run in another folder."""

    def fixed(value: Any) -> Any:
        paths = {field.name: getattr(value, field.name) for field in fields(value)}
        return replace(value, **{name: path.absolute() for name, path in paths.items() if isinstance(path, Path)})

    references = tuple(fixed(reference) for reference in task.references)
    return replace(task, assembly=fixed(task.assembly), references=references, artefact=fixed(task.artefact))


def _join_artefact(
    tasks: list[Task], accessions: list[PassportRecord], config: CurationConfig, *, store: Path, hashes: FileHashes
) -> Artefact:
    """Where the join of these assemblies is stored."""
    claims = [plain(record) for record in accessions]
    sketches = [hashes.sha256(record.refsketch) if record.refsketch else "" for record in accessions]
    for claim in claims:
        claim.pop("refsketch")
    rows = [(t.artefact.key, t.assembly) for t in tasks]
    labels = [[key, row.key, row.accession, row.species, row.sample] for key, row in rows]
    names = ""
    if config.label.synonyms:
        check_file(Path(config.label.synonyms))
        names = hashes.sha256(Path(config.label.synonyms))
    return Artefact(store / "joins", fingerprint([JOIN_VERSION, labels, claims, sketches, names, _as_asked(config)]))


def _as_asked(config: CurationConfig) -> dict[str, Any]:
    settings = plain(config)
    if not config.flag_only:
        settings.pop("flag_only")  # joins from before there was one stay found
    return settings


def _load(tasks: list[Task], config: CurationConfig) -> list[Prepared]:
    synonyms = read_synonyms(config.label.synonyms) if config.label.synonyms else {}
    told = config.flag_only
    return [Prepared(task.assembly, task.artefact, *task.artefact.read(), synonyms, flag_only=told) for task in tasks]


def _join_once(
    saved: Artefact,
    tasks: list[Task],
    accessions: list[PassportRecord],
    config: CurationConfig,
    *,
    hashes: FileHashes,
) -> Joined:
    if saved.intact(hashes):
        return Joined.load(saved)
    joined = join(_load(tasks, config), accessions, config)
    joined.save(saved)
    return joined


def _steps_once(
    saved: Artefact,
    joined: Joined,
    tasks: list[Task],
    accessions: list[PassportRecord],
    config: CurationConfig,
    *,
    hashes: FileHashes,
) -> list[Step]:
    key = fingerprint([SENSITIVITY_VERSION, saved.key, list(THRESHOLDS)])
    found = Artefact(saved.folder.with_name("steps"), key)
    if not found.intact(hashes):
        steps = sensitivity(_load(tasks, config), accessions, config, joined.decisions)
        found.write({"steps": [plain(step) for step in steps]}, {})
    return [Step(**row) for row in found.describe()["steps"]]


def _result(
    tasks: list[Task],
    joined: Joined,
    *,
    reused: int,
    config: CurationConfig,
    references: list[str],
    steps: list[Step],
) -> Curation:
    by_key = {task.assembly.key: task for task in tasks}
    accepted, content = [], []
    for row in joined.accepted:
        task = by_key[row["assembly"]]
        start, end = row["windows"]
        clusters = joined.cluster_id[start:end], joined.cluster_size[start:end]
        accepted.append(
            AcceptedRecord(
                assembly=task.assembly,
                name=row["name"],
                bases=task.artefact.bases,
                offset=row["offset"],
                length_bp=row["length_bp"],
                repeat_source=row["repeat_source"],
                cluster_window_bp=joined.window_bp,
                cluster_id=clusters[0],
                cluster_size=clusters[1],
                start=row["start"],
            )
        )
        label = task.assembly
        claim = [label.species, label.cultivar, label.assembly, label.compartment, label.accession]
        place = [row["start"], row["length_bp"]] if row["cut"] else []
        content.append([claim, row["name"], row["sha256"], np.asarray(clusters[1]).tolist(), *place])
    decisions = [Decision(**{**d, "outcome": Outcome(d["outcome"])}) for d in joined.decisions]
    ledger = Ledger(
        decisions,
        joined.input_records,
        joined.input_bp,
        measures=[RecordMeasures(**row) for row in joined.measures],
        assemblies=[AssemblyMeasures(**row) for row in joined.assemblies],
        settings=plain(config),
        references=references,
        findings=[Finding.restore(row) for row in joined.findings],
        steps=steps,
    )
    summaries = [AssemblySummary.of(task.assembly, task.artefact.describe()) for task in tasks]
    return Curation(accepted, ledger, summaries, fingerprint([content, joined.window_bp]), reused, [])

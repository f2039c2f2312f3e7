"""Curation from end to end: prepare each assembly, join them, settle every record in the ledger."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plantgfm.curation.assemblies import AssemblySummary, write_assemblies
from plantgfm.curation.config import CurationConfig
from plantgfm.curation.findings import Finding
from plantgfm.curation.join import Joined, Prepared, join
from plantgfm.curation.ledger import Ledger
from plantgfm.curation.measures import AssemblyMeasures, RecordMeasures
from plantgfm.curation.prepare import Task, artefact_key, prepare
from plantgfm.curation.references import list_references, references_key
from plantgfm.curation.store import Artefact, FileHashes
from plantgfm.formats.passport import PassportRecord, read_passport
from plantgfm.formats.streams import check_file
from plantgfm.identity import fingerprint, plain
from plantgfm.schema import AcceptedRecord, Assembly, Decision, Outcome

JOIN_VERSION = 5

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Curation:
    """What curation kept, and what became of everything."""

    accepted: list[AcceptedRecord]  # in order of assembly key and place in its file
    ledger: Ledger
    assemblies: list[AssemblySummary]  # in order of assembly key
    fingerprint: str  # of the accepted content: labels, bases, repeat masks, clusters; file paths are no part of it
    reused: int  # assemblies that were not processed again

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

    Raises:
        FormatError: for input that is not what it should be.
        ValueError: for two assemblies of the same key, or a record that the ledger would lose.
    """
    assemblies = sorted(assemblies, key=lambda assembly: assembly.key)
    _check_keys(assemblies)
    hashes = FileHashes(store / "files.json")
    known_references = list_references(references, config.contamination.organelle_references)
    screen = references_key(known_references, config.contamination)
    folder, content = store / "assemblies", tuple(known_references)
    keys = [artefact_key(assembly, config, screen, hashes) for assembly in assemblies]
    tasks = [Task(assembly, config, content, Artefact(folder, key)) for assembly, key in zip(assemblies, keys)]
    hashes.save()
    pending = [task for task in tasks if not task.artefact.complete()]
    _run(pending, executor, progress)
    accessions = read_passport(passport) if passport else []
    joined = _join_once(tasks, accessions, config, store=store, hashes=hashes)
    hashes.save()
    names = [f"{reference.name} ({reference.kind})" for reference in known_references]
    return _result(tasks, joined, reused=len(tasks) - len(pending), config=config, references=names)


def _check_keys(assemblies: list[Assembly]) -> None:
    if not assemblies:
        raise ValueError("there is no assembly to curate; a manifest needs at least one row")
    for first, second in zip(assemblies, assemblies[1:]):
        if first.key == second.key:
            raise ValueError(f"assembly {first.key!r} is given twice; give one of them another assembly name")


def _run(tasks: list[Task], executor: Executor | None, progress: Progress | None) -> None:
    distinct = list({task.artefact.key: task for task in tasks}.values())
    if executor is None:
        for done, task in enumerate(distinct):
            if progress:
                progress(task.assembly.key, done, len(distinct))
            prepare(task)
    else:
        futures = {executor.submit(prepare, task): task for task in distinct}
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            if progress:
                progress(futures[future].assembly.key, done, len(distinct))
    if progress and distinct:
        progress("prepared", len(distinct), len(distinct))


def _join_once(
    tasks: list[Task], accessions: list[PassportRecord], config: CurationConfig, *, store: Path, hashes: FileHashes
) -> Joined:
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
    identity = fingerprint([JOIN_VERSION, labels, claims, sketches, names, config])
    saved = Artefact(store / "joins", identity)
    if saved.complete():
        return Joined.load(saved)
    prepared = [Prepared(task.assembly, task.artefact, *task.artefact.read()) for task in tasks]
    joined = join(prepared, accessions, config)
    joined.save(saved)
    return joined


def _result(
    tasks: list[Task], joined: Joined, *, reused: int, config: CurationConfig, references: list[str]
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
    )
    summaries = [AssemblySummary.of(task.assembly, task.artefact.describe()) for task in tasks]
    return Curation(accepted, ledger, summaries, fingerprint([content, joined.window_bp]), reused)

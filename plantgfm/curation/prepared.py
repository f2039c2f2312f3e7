"""One assembly as the join sees it: what was prepared of it, and verdicts that fall while assemblies are compared."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import InitVar, dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from plantgfm.curation.config import ContaminationConfig, IntervalAction
from plantgfm.curation.contamination import STAGE, nothing_left
from plantgfm.curation.facts import RecordFacts, Verdict, bare_facts
from plantgfm.curation.findings import Finding, Screened, as_told, cuts_between, pieces_of
from plantgfm.curation.species import Genome
from plantgfm.curation.store import Artefact
from plantgfm.schema import Assembly, Outcome
from plantgfm.sketch import distinct


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
    flag_only: Collection[str] = ()  # stages whose rejections only flag
    answers: dict[Any, Any] = field(default_factory=dict)  # of long comparisons that begin with it, by what was asked

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

    @cached_property
    def _figures(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in self.description["records"]}

    def release(self) -> None:
        """Let go of the mapped bases: what was read of them counts as this process's memory until then."""
        self.__dict__.pop("_whole", None)

    def rejected(self) -> set[str]:
        """Names of records that any stage has rejected so far."""
        return {verdict.record for verdict in self.verdicts if verdict.rejects(self.flag_only)}

    def told(self, stage: str) -> set[str]:
        """Names of records that a stage rejects, also where it only flags: it does not judge them again."""
        return {verdict.record for verdict in self.verdicts if verdict.rejects(()) and verdict.stage == stage}

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

    def fact(self, record: str) -> RecordFacts:
        """Name and lengths of a record, as it was read."""
        row = self._figures[record]
        return bare_facts(record, row["length_bp"], row["unknown_bp"])

    def add(self, record: str, found: Screened, config: ContaminationConfig) -> None:
        """Add what a screen says of a surviving record; what it cuts is gone from then on, of all, it is rejected."""
        found = as_told(found) if STAGE in self.flag_only else found
        self.findings += [replace(finding, assembly=self.assembly.key) for finding in found.findings]
        self.verdicts += found.verdicts
        if cuts := [(f.start, f.end) for f in found.findings if f.action is IntervalAction.CUT]:
            row = self.description["kept"][self.numbers[record]]
            runs = np.array([*cuts, *self.cuts(row)], dtype=np.int64)
            self.pieces[record] = pieces_of(runs, row["length_bp"], min_piece_bp=config.min_piece_bp)
            if not self.pieces[record]:
                self.verdicts.append(nothing_left(record, len(runs), config))

    def genome(self, *, hashed: bool = True) -> Genome:
        """What is left of it, as species are told by it; without its hashes where these are not asked for."""
        known_bp = sum(row["length_bp"] - row["unknown_bp"] for row in self.left())
        hashes = self.all_hashes() if hashed else np.empty(0, dtype=np.uint64)
        return Genome(self.assembly, self.species, known_bp, hashes)

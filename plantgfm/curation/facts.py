"""What the stages know of a record and of an assembly, and what a stage says: the types inside this room."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import no_type_check

import numpy as np
from jaxtyping import Int64, UInt8
from numba import njit

from plantgfm.schema import Compartment, Outcome
from plantgfm.sequence import BASE_MASK, UNKNOWN

GAP_BP = 10  # unknown bases that part two contigs, as in BUSCO and FCS-GX


_STEP = 64  # bases that are passed over at once where nothing begins or ends


@dataclass(frozen=True)
class Verdict:
    """What one stage says of one record; a record without a verdict passed the stage."""

    record: str
    outcome: Outcome  # FLAGGED or REJECTED
    stage: str
    reason: str
    evidence: str
    kept_assembly: str = ""  # of a duplicate: what is kept in its place, as in `Decision`
    kept_record: str = ""

    def rejects(self, flag_only: Collection[str]) -> bool:
        """Whether its record goes; a verdict of a stage in `flag_only` tells, and takes nothing out."""
        return self.outcome is Outcome.REJECTED and self.stage not in flag_only


@dataclass(frozen=True)
class RecordFacts:
    """Figures of one record, and what other sources say of its length."""

    name: str
    description: str
    length_bp: int
    unknown_bp: int
    gc_bp: int
    terminal_unknown_bp: int  # unknown bases at its end
    gaps: int  # runs of at least `GAP_BP` unknown bases
    stated_lengths: dict[str, int] = field(default_factory=dict)  # source ("header", ".fai", "annotation") -> bp
    gap_bp: int = 0  # in those runs
    contigs_bp: tuple[int, ...] = ()  # lengths of what lies between those runs, in order
    soft_mask_bp: int = 0  # lower case in the file
    low_complexity_bp: int = 0  # by symmetric DUST, with the settings of the repeat mask

    @property
    def unknown_fraction(self) -> float:
        """Share of unknown bases."""
        return self.unknown_bp / self.length_bp if self.length_bp else 1.0


_STATED_LENGTH = (
    re.compile(r"(?:^|[\s;|,\[(_])(?:length|len|LN|size)\s*[=:]\s*(\d+)", re.IGNORECASE),
    re.compile(r"(?:^|\s)(\d[\d,]*)\s*bp\b", re.IGNORECASE),
    re.compile(r"^NODE_\d+_length_(\d+)_cov_"),  # SPAdes
)
_STATED_RANGE = (
    re.compile(r"(?:^|[\s:|=])(\d+)\s*\.\.\s*(\d+)(?:\D|$)"),
    re.compile(r":(\d+):(\d+):-?1(?:\s|$)"),  # Ensembl: chromosome:AGPv3:3:1:36000:1
)


def stated_length(name: str, description: str) -> int | None:
    """Length in bp that a FASTA header states, None where it states none.

    Understood are `length=`, `len=`, `LN:`, `size=`, "n bp", SPAdes' names, "start..end" and Ensembl's location string.
    """
    header = f"{name} {description}"
    for pattern in _STATED_LENGTH:
        if found := pattern.search(header):
            return int(found.group(1).replace(",", ""))
    for pattern in _STATED_RANGE:
        if (found := pattern.search(header)) and int(found.group(2)) >= int(found.group(1)):
            return int(found.group(2)) - int(found.group(1)) + 1
    return None


@njit(cache=True, nogil=True)
@no_type_check
def _composition(codes):
    """Counts of G and C and of unknown bases, in vectors."""
    gc, unknown = 0, 0
    for code in codes:
        base = np.uint8(code & np.uint8(BASE_MASK))
        gc += np.uint8(base == 1) | np.uint8(base == 2)
        unknown += np.uint8(base == UNKNOWN)
    return gc, unknown


@njit(cache=True, nogil=True)
@no_type_check
def _unknown_runs(codes, shortest, runs):
    """Fills in runs of at least `shortest` unknown bases; returns how many there are, and the unknown at the end."""
    n, start, i = 0, -1, 0
    while i < codes.size:
        if i % _STEP == 0 and i + _STEP <= codes.size and _all(codes[i : i + _STEP], start >= 0):
            i += _STEP
            continue
        if codes[i] & BASE_MASK == UNKNOWN:
            if start < 0:
                start = i
        elif start >= 0:
            if i - start >= shortest:
                if n < runs.shape[0]:
                    runs[n, 0], runs[n, 1] = start, i
                n += 1
            start = -1
        i += 1
    if start >= 0 and codes.size - start >= shortest:
        if n < runs.shape[0]:
            runs[n, 0], runs[n, 1] = start, codes.size
        n += 1
    return n, codes.size - start if start >= 0 else 0


@njit(inline="always")
@no_type_check
def _all(codes, unknown):
    """Whether all of some bases are unknown, or none is."""
    differ = np.uint8(0)
    for code in codes:  # in vectors
        differ |= np.uint8(code ^ np.uint8(UNKNOWN if unknown else 0))
    return differ & np.uint8(UNKNOWN) == 0


def _gaps(codes: UInt8[np.ndarray, "P"]) -> tuple[Int64[np.ndarray, "gaps 2"], int]:
    room = 64
    while True:
        runs = np.empty((room, 2), dtype=np.int64)
        found, terminal = _unknown_runs(codes, GAP_BP, runs)
        if found <= room:
            return runs[:found], terminal
        room = found


def unknown_bp(codes: UInt8[np.ndarray, "P"]) -> int:
    """Unknown bases of a sequence."""
    return _composition(codes)[1]


def measure(name: str, description: str, codes: UInt8[np.ndarray, "P"], other_lengths: dict[str, int]) -> RecordFacts:
    """The facts of a record; `other_lengths` is what files beside it state, by source."""
    gc, unknown = _composition(codes)
    gaps, terminal = _gaps(codes) if unknown else (np.empty((0, 2), dtype=np.int64), 0)
    contigs = np.append(gaps[:, 0], codes.size) - np.append(0, gaps[:, 1])
    header = stated_length(name, description)
    lengths = {**({"header": header} if header is not None else {}), **other_lengths}
    return RecordFacts(
        name=name,
        description=description,
        length_bp=int(codes.size),
        unknown_bp=unknown,
        gc_bp=gc,
        terminal_unknown_bp=terminal,
        gaps=len(gaps),
        stated_lengths=dict(sorted(lengths.items())),
        gap_bp=int((gaps[:, 1] - gaps[:, 0]).sum()),
        contigs_bp=tuple(contigs[contigs > 0].tolist()),
    )


def bare_facts(name: str, length_bp: int, unknown_bp: int) -> RecordFacts:
    """The facts of a record of which no more than its length is at hand."""
    return RecordFacts(name, "", length_bp, unknown_bp, gc_bp=0, terminal_unknown_bp=0, gaps=0)


_PLASTID_NAME = re.compile(
    r"^(?:chr_?)?(?:pt|cp|pltd|chloroplast|plastid|plastome|ptdna|cpdna)$|^chr_?c$", re.IGNORECASE
)
_MITO_NAME = re.compile(r"^(?:chr_?)?(?:mt|mito|mitochondrion|mitochondria|mtdna)$|^chr_?m$", re.IGNORECASE)
_PLASTID_IN_NAME = re.compile(r"(?<![a-z])(?:chloroplast|plastid|plastome)(?![a-z])", re.IGNORECASE)
_MITO_IN_NAME = re.compile(r"(?<![a-z])mitochondri(?:on|al|a)(?![a-z])", re.IGNORECASE)  # "_" is no border of a word
_PLASTID_WORD = re.compile(r"\b(?:chloroplast|plastid|plastome)\b", re.IGNORECASE)
_MITO_WORD = re.compile(r"\bmitochondri(?:on|al|a)\b", re.IGNORECASE)
_NUCLEAR_WORD = re.compile(r"\bnuclear\b|\bgene for\b", re.IGNORECASE)


def stated_compartment(name: str, description: str) -> Compartment | None:
    """The compartment that a header says outright, else None.

    "ChrC", "Mt" and "B73_mitochondrion_1" do, and "... chloroplast, complete genome".
    """
    if _PLASTID_NAME.match(name):
        return Compartment.PLASTID
    if _MITO_NAME.match(name):
        return Compartment.MITOCHONDRION
    if _NUCLEAR_WORD.search(description):
        return None
    plastid = bool(_PLASTID_WORD.search(description) or _PLASTID_IN_NAME.search(name))
    mitochondrion = bool(_MITO_WORD.search(description) or _MITO_IN_NAME.search(name))
    if plastid == mitochondrion:
        return None
    return Compartment.PLASTID if plastid else Compartment.MITOCHONDRION

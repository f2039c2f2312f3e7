"""Parts of records that are another species': half of a scaffold, say, or a scaffold among those of another name.

Probes that a record shares with records of another species propose them. Where much of an interval lies there, and
little of what is left of the record does, the interval is located in the other record and compared with that place
alone: families of repeats, which relatives share, lie everywhere. Such an interval is one sequence under two names.
Which name is right is told as for duplicates, by the other sequence of both, the rest of the two records among it: its
own genome holds its repeats. Of relatives, which have repeats in common, that is not told, and a part is named only
where the other one's whole genome is at hand: of pieces it is chance which parts of a chromosome they have in common.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int64, UInt8, UInt64

from plantgfm.curation.config import ContaminationConfig
from plantgfm.curation.contained import Place
from plantgfm.curation.duplicates import Found, Sequence
from plantgfm.curation.names import Fit, NameIndex, fits_text
from plantgfm.curation.stretches import MIN_MARKS, beside, dense_runs, lie_in, scattered
from plantgfm.sketch import distinct, fraction

REASON = "chimera"
IN_DOUBT = "chimera_in_doubt"  # one of two records is; nothing says which

MIN_SHARE = 0.6
"""Of an interval's hashes that lie in the other species: 97.6 % identity at k = 21."""

MIN_IDENTITY = 0.97
"""Of an interval with its place there."""

_MOST_BESIDE = 0.25  # of the share inside: how much of the rest of the record may lie there, too
_WHOLE = 0.9  # of a record: what is left says nothing
_MIN_PROBES, _PROBED = 4, 0.05  # shared probes that propose: at least so many, and that share
_RELATED = 0.01  # of the rest of a species' hashes, in another: relatives
_STRAY = 0.25  # of a record's probes in another species, 93.6 % identity: it says nothing of how near the two are
_MOST_STRAYS = 0.5  # of that rest: where more lies in records that are the other's, the two are relatives
_TELLING, _MOST_TELLING = 200, 20_000  # hashes of that rest: fewer tell nothing, more are not asked
_BLOCKS, _BLOCK_BP = 64, 16_384  # that are looked at first, of a longer record


@dataclass(frozen=True)
class Part:
    """An interval of a record that is another species' sequence, too."""

    sequence: Sequence
    other: Sequence  # the record of the other species that shares most
    intervals: list[tuple[int, int]]  # (start, end) in the record
    whole: bool  # nothing to speak of is left beside it
    told: bool  # other sequence says that it is the other species'; else nothing says which
    evidence: str


@dataclass(frozen=True)
class Split:
    """The hashes of a record in order of place, and the runs of them that lie densely in other sequence."""

    hashes: UInt64[np.ndarray, "n"]
    places: Int64[np.ndarray, "n"]
    marks: Bool[np.ndarray, "n"]  # which lie there
    runs: list[tuple[int, int]]  # rows [first, end) of hashes

    @cached_property
    def inside(self) -> Bool[np.ndarray, "n"]:
        """Which hashes lie in a run."""
        found = np.zeros(self.hashes.size, dtype=bool)
        for first, end in self.runs:
            found[first:end] = True
        return found

    @property
    def scattered(self) -> UInt64[np.ndarray, "m"]:
        """Sorted distinct hashes that lie beside the runs, or in several of them."""
        return scattered(self.hashes, self.runs)

    @property
    def shares(self) -> tuple[float, float]:
        """Share of marked hashes inside runs, and beside them."""
        return float(self.marks[self.inside].mean()), float(
            self.marks[~self.inside].sum() / max(1, (~self.inside).sum())
        )

    @property
    def part(self) -> float:
        """Share of the hashes that lie in runs."""
        return float(self.inside.mean())

    @property
    def parts_ways(self) -> bool:
        """Whether the runs are nearly identical with the other sequence, and the rest has little of it."""
        if not self.runs:
            return False
        within, beside = self.shares
        return within >= MIN_SHARE and (self.part >= _WHOLE or beside <= _MOST_BESIDE * within)


def split(
    codes: UInt8[np.ndarray, "P"],
    theirs: UInt64[np.ndarray, "m"],
    *,
    config: ContaminationConfig,
    blocks: list[tuple[int, int]] | None = None,
) -> Split:
    """Where a record lies densely in sorted hashes of other sequence.

    Args:
        codes: its bases.
        theirs: the other sequence's hashes.
        config: how hashes are made, and how long a run must be.
        blocks: (start, end) of the bases to look at; None: all.
    """
    found = [
        (start, *fraction(codes[start:end], k=config.k, scaled=config.scaled))
        for start, end in blocks or [(0, codes.size)]
    ]
    hashes = np.concatenate([one for _, one, _ in found])
    places = np.concatenate([places + start for start, _, places in found])
    marks = lie_in(hashes, theirs)
    found = [(first, end, places[end - 1] + config.k - places[first]) for first, end in dense_runs(marks)]
    runs = [(a, b) for a, b, width in found if marks[a:b].sum() >= MIN_MARKS and width >= config.min_chimera_bp]
    return Split(hashes, places, marks, runs)


def find_parts(found: Found, index: NameIndex, genomes: set[str], config: ContaminationConfig) -> list[Part]:
    """Parts of records that are also another species', in order of record and species.

    Args:
        found: records, with what their probes say of each other.
        index: all records by species name.
        genomes: species of which a whole genome is at hand.
        config: how hashes are made, and how long a part must be.
    """
    gone = {removal.removed.place for removal in found.removals}
    parts, hits = [], hits_by_species(found)
    strays = _strays(found, hits)
    for (number, species), others in sorted(hits.items()):
        one, theirs = found.distinct[number], [found.distinct[other] for _, other in others]
        if one.place not in gone:
            mine = strays.get((one.species, species), [])
            part = _compare(one, theirs, index, mine, genome=species in genomes, config=config)
            parts += [part] if part else []
    return parts


def _strays(found: Found, hits: dict[tuple[int, str], list[tuple[int, int]]]) -> dict[tuple[str, str], list[Sequence]]:
    """Records much of which lies in another species, by both names."""
    strays = defaultdict(list)
    for (number, species), others in sorted(hits.items()):
        one = found.distinct[number]
        if sum(shared for shared, _ in others) >= _STRAY * found.shared.probes[number]:
            strays[one.species, species].append(one)
    return strays


def hits_by_species(found: Found) -> dict[tuple[int, str], list[tuple[int, int]]]:
    """Probes shared with records of another species, and the records, by number and their species; the best first."""
    names, pairs = [one.species for one in found.distinct], found.shared.pairs
    _, number = np.unique(np.array(names), return_inverse=True)
    rows: dict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)
    for i, j, shared in pairs[number[pairs[:, 0]] != number[pairs[:, 1]]].tolist():
        rows[i, names[j]].append((shared, j))
    asked = np.maximum(_MIN_PROBES, _PROBED * found.shared.probes)
    best = {key: sorted(hits, key=lambda hit: (-hit[0], hit[1])) for key, hits in rows.items()}
    return {key: hits for key, hits in best.items() if sum(shared for shared, _ in hits) >= asked[key[0]]}


def _rest(
    index: NameIndex, species: str, inside: UInt64[np.ndarray, "m"], strays: list[Sequence]
) -> tuple[UInt64[np.ndarray, "n"], list[Sequence]]:
    """Hashes of a species beside a part, by which relatives are told, and which records are left out of them.

    These are its strays: several records of another species in an assembly would pass for a relative's. Where they are
    most of what there is, a relative's they are.
    """
    rest = index.smallest(species, _MOST_TELLING)
    rest = rest[~lie_in(rest, inside)]
    own = rest[~lie_in(rest, distinct([one.hashes for one in strays]))]
    return (own, strays) if own.size >= (1 - _MOST_STRAYS) * rest.size else (rest, [])


def _compare(
    one: Sequence,
    others: list[Sequence],
    index: NameIndex,
    strays: list[Sequence],
    *,
    genome: bool,
    config: ContaminationConfig,
) -> Part | None:
    """The part of a record that lies in records of another species, where there is one and its name is not right."""
    ((codes,), species), theirs = (one.parts(), others[0].species), distinct([other.hashes for other in others])
    blocks = _blocks(codes.size)
    mine = split(codes, theirs, config=config, blocks=blocks)
    if not mine.parts_ways:
        return None
    if len(blocks) > 1:
        mine = split(codes, theirs, config=config)
        if not mine.parts_ways:
            return None
    inside = distinct([mine.hashes[mine.inside]])
    rest, aside = _rest(index, one.species, inside, strays)
    related = float(index.lies_in(rest, species, []).mean()) if rest.size >= _TELLING else 1.0
    if related >= _RELATED and (not genome or mine.part >= _WHOLE):
        return None
    intervals = [(int(mine.places[first]), int(mine.places[end - 1]) + config.k) for first, end in mine.runs]
    identity = Place([part for other in others for part in other.parts()], k=config.k).identity_of(
        [codes[start:end] for start, end in intervals]
    )
    if identity < MIN_IDENTITY:
        return None
    elsewhere = distinct(
        [beside(part, inside, k=config.k, scaled=config.scaled) for other in others for part in other.parts()]
    )
    held = {
        one.species: index.lies_in(inside, one.species, [one.place, *(other.place for other in aside)])
        | lie_in(inside, mine.scattered),
        species: index.lies_in(inside, species, [other.place for other in others]) | lie_in(inside, elsewhere),
    }
    fits = {name: Fit(int(found.sum()), inside.size, 1, whole=False, bearers=1) for name, found in held.items()}
    if fits[one.species].share >= MIN_SHARE:
        return None  # its own genome has it elsewhere, too
    told = related < _RELATED and fits[species].beats(fits[one.species])
    if related < _RELATED and fits[one.species].beats(fits[species]):
        return None
    text = _describe(one, others[0], mine, intervals, identity)
    text = f"{text}; {fits_text(fits)}: {f'it is {species} rather' if told else 'not enough says which name is right'}"
    return Part(one, others[0], intervals, mine.part >= _WHOLE, told, text)


def _describe(one: Sequence, other: Sequence, mine: Split, intervals: list[tuple[int, int]], identity: float) -> str:
    within, beside = mine.shares
    shown = ", ".join(f"{start:,}-{end:,}" for start, end in intervals[:3])
    more = f" and {len(intervals) - 3} more" if len(intervals) > 3 else ""
    covered = sum(end - start for start, end in intervals)
    return (
        f"{covered:,} of {one.length_bp:,} bp ({shown}{more}) are ~{identity:.2%} identical to a part of {other.name}, "
        f"named {other.named} ({within:.0%} of its hashes lie in it, {beside:.1%} of those beside)"
    )


def _blocks(length_bp: int) -> list[tuple[int, int]]:
    """Bases to look at first: all of a short record, else blocks that are spread over it."""
    if length_bp <= _BLOCKS * _BLOCK_BP:
        return [(0, length_bp)]
    starts = np.linspace(0, length_bp - _BLOCK_BP, _BLOCKS).astype(int).tolist()
    return [(start, start + _BLOCK_BP) for start in starts]

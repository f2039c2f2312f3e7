"""What differs between two corpora: records added, removed and changed by content, and bases that changed split."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from plantgfm.corpus.read import Corpus
from plantgfm.corpus.segments import CorpusRecord
from plantgfm.sequence import BASE_MASK


class Change(Enum):
    """How a record of one corpus stands to the other."""

    SAME = "same"
    ADDED = "added"
    REMOVED = "removed"
    BASES = "bases changed"
    MASK = "repeat mask changed"


@dataclass(frozen=True)
class RecordChange:
    """One record in two corpora; a record is known by species, cultivar, assembly, compartment and name."""

    species: str
    cultivar: str
    assembly: str
    compartment: str
    record: str  # name:start-end (0-based, half-open) for a piece that something was cut out before
    change: Change
    before_bp: int  # 0 where it was added
    after_bp: int  # 0 where it was removed
    resplit_bp: int  # bases in another split than before, of a record with the same bases
    twin: str  # of an added record: one of the same bases that was removed; "" where there is none


@dataclass(frozen=True)
class SpeciesChange:
    """Sums over the records of a species; a base pair of a changed record counts as changed."""

    species: str
    records_before: int
    records_after: int
    bp_before: int
    bp_after: int
    added_records: int
    added_bp: int
    removed_records: int
    removed_bp: int
    changed_records: int
    changed_bp: int  # length after
    resplit_bp: int


@dataclass(frozen=True)
class _Entry:
    index: int
    bases: str  # digest of the codes
    whole: str  # digest of codes and repeat mask


def compare_records(before: Corpus, after: Corpus) -> list[RecordChange]:
    """Every record of two corpora, once, in order of name; reads all bases of both."""
    known, found = _entries(before), _entries(after)
    pairs = []
    for key in sorted(known.keys() | found.keys()):
        pairs += _pair(known.get(key, []), found.get(key, []))
    gone = {old.bases: before.records[old.index] for old, new in pairs if old and not new}
    return [_change(before, after, old, new, gone) for old, new in pairs]


def summarise(changes: Sequence[RecordChange]) -> list[SpeciesChange]:
    """One row a species, in order of name."""
    rows = []
    for species in sorted({change.species for change in changes}):
        mine = [change for change in changes if change.species == species]
        kinds = {kind: [c for c in mine if c.change is kind] for kind in Change}
        changed = [*kinds[Change.BASES], *kinds[Change.MASK]]
        rows.append(
            SpeciesChange(
                species=species,
                records_before=len(mine) - len(kinds[Change.ADDED]),
                records_after=len(mine) - len(kinds[Change.REMOVED]),
                bp_before=sum(c.before_bp for c in mine),
                bp_after=sum(c.after_bp for c in mine),
                added_records=len(kinds[Change.ADDED]),
                added_bp=sum(c.after_bp for c in kinds[Change.ADDED]),
                removed_records=len(kinds[Change.REMOVED]),
                removed_bp=sum(c.before_bp for c in kinds[Change.REMOVED]),
                changed_records=len(changed),
                changed_bp=sum(c.after_bp for c in changed),
                resplit_bp=sum(c.resplit_bp for c in mine),
            )
        )
    return rows


def _entries(corpus: Corpus) -> dict[tuple[str, ...], list[_Entry]]:
    entries: dict[tuple[str, ...], list[_Entry]] = {}
    for index, record in enumerate(corpus.records):
        bases = corpus.bases[record.offset : record.offset + record.length_bp]
        whole = hashlib.sha256(np.ascontiguousarray(bases)).hexdigest()
        codes = hashlib.sha256(np.ascontiguousarray(bases & BASE_MASK)).hexdigest()
        entries.setdefault(_key(record), []).append(_Entry(index, codes, whole))
    return entries


def _key(record: CorpusRecord) -> tuple[str, ...]:
    end = record.start + record.length_bp
    name = f"{record.name}:{record.start}-{end}" if record.start else record.name
    return record.species, record.cultivar, record.assembly, record.compartment, name


def _pair(known: list[_Entry], found: list[_Entry]) -> list[tuple[_Entry | None, _Entry | None]]:
    """Pairs of the entries of one key: equal content first, then in order of content; what is left has no partner."""
    common = Counter(one.whole for one in known) & Counter(one.whole for one in found)
    sides = []
    for entries in (known, found):
        left, same, rest = common.copy(), [], []
        for one in sorted(entries, key=lambda one: (one.whole, one.index)):
            (same if left[one.whole] else rest).append(one)
            left[one.whole] -= left[one.whole] > 0
        sides.append((same, rest))
    (same_a, rest_a), (same_b, rest_b) = sides
    number = max(len(rest_a), len(rest_b))
    rest_a, rest_b = rest_a + [None] * (number - len(rest_a)), rest_b + [None] * (number - len(rest_b))
    return [*zip(same_a, same_b), *zip(rest_a, rest_b)]


def _change(
    before: Corpus, after: Corpus, old: _Entry | None, new: _Entry | None, gone: dict[str, CorpusRecord]
) -> RecordChange:
    was = before.records[old.index] if old else None
    now = after.records[new.index] if new else None
    kind, twin, resplit = Change.SAME, "", 0
    if old is None:
        kind = Change.ADDED
        twin = " ".join(part for part in _key(gone[new.bases]) if part) if new.bases in gone else ""
    elif new is None:
        kind = Change.REMOVED
    elif old.bases != new.bases:
        kind = Change.BASES
    else:
        kind = Change.SAME if old.whole == new.whole else Change.MASK
        resplit = _resplit_bp(before, old.index, after, new.index)
    return RecordChange(
        *_key(now or was),
        change=kind,
        before_bp=was.length_bp if was else 0,
        after_bp=now.length_bp if now else 0,
        resplit_bp=resplit,
        twin=twin,
    )


def _resplit_bp(before: Corpus, old: int, after: Corpus, new: int) -> int:
    """Bases of one record that lie in another split than before; regions need not have the same ends."""
    starts, splits = [], []
    for corpus, index in ((before, old), (after, new)):
        rows = corpus.regions.record == index
        starts.append(corpus.regions.start[rows])
        splits.append(corpus.regions.split[rows])
    cuts = np.union1d(*starts)
    lengths = np.diff(np.append(cuts, before.records[old].length_bp))
    a, b = (split[np.searchsorted(start, cuts, side="right") - 1] for start, split in zip(starts, splits))
    return int(lengths[a != b].sum())

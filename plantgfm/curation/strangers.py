"""Contamination, seen by what plants have in common: records, and stretches of records, without any of it.

`peers` asks how many hashes of a record others hold, of a sample that tells little of a short one. Here a record, or a
stretch of one, that holds suspiciously few is looked at again with many more hashes, in all other assemblies. Shared
hashes that lie close together are one locus (an exon, say), and loci are what chance draws. Where the rest
of its assembly leads to expect several and there is next to none, a record is a stranger; a stretch of a record that
holds loci beside it makes a chimera (half a chromosome, half a bacterium). What has repeats in common with the rest of
its assembly is no stranger in it, however few genes it has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int64, UInt8, UInt64

from plantgfm.curation.config import ContaminationConfig
from plantgfm.curation.prepared import Prepared
from plantgfm.sketch import distinct, fraction

SCALED = 4
"""One hash of this many is compared in the second look."""

LOCUS_BP = 1_000
"""Shared hashes in one stretch of this length, as a record is cut into them, are one locus."""

_WORST_CASE = 0.7  # of the expected loci: the poorest parts of a genome hold so many
_CHANCE = 1e-5  # that a plant holds so few
_PER_LOCUS = 4.0  # expected loci that one that is there outweighs, where a stretch ends
_SUSPECT = 2.5  # hashes expected where none, or next to none, are shared: worth a second look
_NEXT_TO_NONE = 0.1  # of what is expected
_WHOLE = 0.9  # of a record: what is left says nothing
_MIN_BESIDE = 3  # shared hashes beside a stretch
_OWN_SHARE = 0.01  # of a stretch's hashes, in the rest of its assembly
_BLOCK_BP = 16_384
_LOOKED_AT_BP, _CONTROL_BP, _HELD_BP = 1_048_576, 262_144, 2_097_152  # of a record, of an assembly, of others' records
_MIN_CONTROL_BP = 65_536
_USUAL = 0.25  # quantile of the rates of assemblies: a few strangers among them do not hide each other
_FILTER = np.uint64((1 << 24) - 1)


@dataclass(frozen=True)
class Stranger:
    """A record, or a stretch of one, in which next to nothing is shared."""

    start: int
    end: int
    whole: bool
    evidence: str = ""


@dataclass(frozen=True)
class Peers:
    """What the first look goes by."""

    held: UInt64[np.ndarray, "n"]  # sorted hashes that at least two groups of relatives hold
    bound: np.uint64  # greater hashes were left out
    group: list[int]  # of each assembly: relatives have one number
    label: str  # what their compartment is called


def find_strangers(
    members: list[Prepared], peers: Peers, config: ContaminationConfig
) -> list[tuple[Prepared, str, Stranger]]:
    """Strangers among the records of one compartment, and in them: assembly, record, stretch.

    Args:
        members: its assemblies, of more than `peers.MIN_PEERS` groups of relatives.
        peers: what they share.
        config: how hashes are made, and how long a chimera's part must be.
    """
    suspects = _suspects(members, peers, config)
    if not suspects:
        return []
    looks = [
        _Look.at(one, *_pieces(one, name, [(part.start, part.end)], _LOOKED_AT_BP), config)
        for one, name, part in suspects
    ]
    taken = {(one.assembly.key, name): part for one, name, part in suspects}
    controls = {one.assembly.key: _control(one, taken, config) for one, _, _ in suspects}
    if any(look.length_bp < _MIN_CONTROL_BP for look in controls.values()):  # then others say what is usual
        controls |= {
            one.assembly.key: _control(one, taken, config) for one in members if one.assembly.key not in controls
        }
    group = {one.assembly.key: number for one, number in zip(members, peers.group)}
    owners = _owners([*looks, *controls.values()], members, peers.group, config)
    rates = {key: owners.rate(look, group[key]) for key, look in controls.items()}
    known = [rates[key] for key, look in controls.items() if look.length_bp >= _MIN_CONTROL_BP]
    usual = float(np.quantile(known, _USUAL)) if known else 0.0
    found = []
    for (one, name, part), look in zip(suspects, looks):
        key = one.assembly.key
        control = controls[key].length_bp >= _MIN_CONTROL_BP
        stretch = _poorest(part, look, owners.loci(look, group[key]), rates[key] if control else usual)
        if stretch is None or stretch[0].end - stretch[0].start < config.min_chimera_bp:
            continue
        stranger, loci, expected = stretch
        if _native(one, name, stranger, config):
            continue
        source = "the rest of its assembly" if control else f"other {peers.label} assemblies"
        what = f"its {stranger.end:,} bp" if stranger.whole else f"{stranger.start:,}-{stranger.end:,} of it"
        groups = len(set(peers.group)) - 1
        text = f"{loci} loci of {what} lie in any {peers.label} assembly of {groups} unrelated groups of species"
        text = f"{text}; {expected:.0f} are expected from {source}"
        found.append((one, name, replace(stranger, evidence=text)))
    return found


def _poorest(
    part: Stranger, look: _Look, loci: Int64[np.ndarray, "loci"], rate: float
) -> tuple[Stranger, int, float] | None:
    """The likeliest stretch of what is suspected that no plant has by chance, its loci and what is expected of it.

    All of a record that is suspected as a whole, where that may be; else a stretch that leaves some loci beside it.
    """
    borders, number, best = np.concatenate(([-1], loci, [look.hashes.size])), look.hashes.size, None
    if part.whole and loci.size <= _allowed(rate * number):
        return part, loci.size, rate * number
    for inside in range(min(loci.size, _allowed(rate * number)) + 1):
        widths = borders[inside + 1 :] - borders[: -inside - 1] - 1
        at = int(widths.argmax())
        width = int(widths[at])
        likelihood = rate * width - _PER_LOCUS * inside
        if inside <= _allowed(rate * width) and (best is None or likelihood > best[0]):
            best = likelihood, int(borders[at]) + 1, int(borders[at + inside + 1]), inside
    if best is None or (part.whole and loci.size - best[3] < _MIN_BESIDE):
        return None
    _, first, end, inside = best
    start_bp = part.start if first == 0 else int(look.places[first])
    end_bp = part.end if end == number else int(look.places[end - 1])
    return Stranger(start_bp, end_bp, False), inside, rate * (end - first)


def _allowed(expected: float) -> int:
    """So many loci, at most, no plant has by chance where so many are expected; -1: it may have none."""
    from scipy.stats import poisson  # a second of import, and few runs come here

    tail = poisson.cdf(np.arange(int(expected) + 1), _WORST_CASE * expected)
    return min(int(np.count_nonzero(tail <= _CHANCE)) - 1, int(_NEXT_TO_NONE * expected))


def _suspects(
    members: list[Prepared], peers: Peers, config: ContaminationConfig
) -> list[tuple[Prepared, str, Stranger]]:
    """Records that share next to nothing, and the widest stretch of others where it is too wide for chance."""
    counts = []
    for one in members:
        few = {row["name"]: one.hashes[row["name"]] for row in one.left()}
        few = {name: hashes[hashes <= peers.bound] for name, hashes in few.items()}
        counts.append({name: (int(_among(hashes, peers.held).sum()), hashes.size) for name, hashes in few.items()})
    rates = [_share(list(found.values())) for found in counts if found]
    usual = float(np.quantile(rates, _USUAL))
    found = []
    for one, count in zip(members, counts):
        all_shared, all_sizes = (sum(number) for number in zip(*count.values())) if count else (0, 0)
        for row in one.left():
            shared, size = count[row["name"]]
            rest = all_shared - shared, all_sizes - size
            expected = (_share([rest]) if rest[1] else usual) * size
            if expected >= _SUSPECT and shared <= max(1, _NEXT_TO_NONE * expected):
                found.append((one, row["name"], Stranger(0, row["length_bp"], True)))
            elif shared >= _MIN_BESIDE and row["length_bp"] >= 2 * config.min_chimera_bp:
                part = _stretch(one, row["name"], rest, peers, config)
                found += [(one, row["name"], part)] if part else []
    return found


def _stretch(
    one: Prepared, name: str, rest: tuple[int, int], peers: Peers, config: ContaminationConfig
) -> Stranger | None:
    """The widest stretch of a record without shared hashes, where it is too wide for chance."""
    length = one.bases(name).size
    look = _Look.at(one, *_pieces(one, name, [(0, length)], _LOOKED_AT_BP), config, scaled=config.scaled)
    few = look.hashes <= peers.bound
    places, marks = look.places[few], np.flatnonzero(_among(look.hashes[few], peers.held))
    if marks.size < _MIN_BESIDE:
        return None
    borders = np.concatenate(([-1], marks, [places.size]))
    at = int(np.diff(borders).argmax())
    first, end = int(borders[at]) + 1, int(borders[at + 1])
    width = end - first
    beside = _share([rest, (marks.size, places.size - width)])
    if beside * width < _SUSPECT + np.log(marks.size + 1) or first == end:  # the widest of so many
        return None
    start_bp = 0 if first == 0 else int(places[first])
    end_bp = length if end == places.size else int(places[end - 1]) + config.k
    if end_bp - start_bp < config.min_chimera_bp or end_bp - start_bp > _WHOLE * length:
        return None
    return Stranger(start_bp, end_bp, False)


def _share(counts: list[tuple[int, int]]) -> float:
    return sum(shared for shared, _ in counts) / max(1, sum(size for _, size in counts))


def _among(hashes: np.ndarray, known: np.ndarray) -> Bool[np.ndarray, "n"]:
    if not known.size:
        return np.zeros(hashes.size, dtype=bool)
    return known[np.minimum(np.searchsorted(known, hashes), known.size - 1)] == hashes


def _pieces(
    one: Prepared, name: str, spans: list[tuple[int, int]], most_bp: int
) -> tuple[list[UInt8[np.ndarray, "P"]], list[int]]:
    """Bases of a record and where they start: all of the spans, or blocks that are spread over them."""
    bases, total = one.bases(name), sum(end - start for start, end in spans)
    parts, starts = [], []
    for start, end in spans:
        blocks = max(1, int(most_bp * (end - start) / max(1, total)) // _BLOCK_BP)
        if total <= most_bp:
            firsts, width = [start], end - start
        else:
            width = min(_BLOCK_BP, end - start)
            firsts = np.linspace(start, end - width, blocks).astype(int).tolist()
        parts += [bases[first : first + width] for first in firsts]
        starts += firsts
    return parts, starts


@dataclass(frozen=True)
class _Look:
    """Hashes of some bases of an assembly, in order of place."""

    hashes: UInt64[np.ndarray, "n"]
    places: Int64[np.ndarray, "n"]
    length_bp: int

    @classmethod
    def at(
        cls,
        one: Prepared,
        parts: list[np.ndarray],
        starts: list[int],
        config: ContaminationConfig,
        scaled: int = SCALED,
    ) -> _Look:
        """The hashes of parts of its bases; of equal ones the first, so that a microsatellite counts once."""
        found = [fraction(part, k=config.k, scaled=scaled) for part in parts]
        hashes = np.concatenate([np.empty(0, dtype=np.uint64), *(h for h, _ in found)])
        places = np.concatenate([np.empty(0, dtype=np.int64), *(p + start for (_, p), start in zip(found, starts))])
        one.release()
        first = np.sort(np.unique(hashes, return_index=True)[1])
        return cls(hashes[first], places[first], sum(part.size for part in parts))


def _control(one: Prepared, taken: dict[tuple[str, str], Stranger], config: ContaminationConfig) -> _Look:
    """A part of an assembly that nothing is suspected of, of its longest records."""
    parts, starts, left, offset = [], [], _CONTROL_BP, 0
    for row in sorted(one.left(), key=lambda row: (-row["length_bp"], row["name"])):
        length, part = row["length_bp"], taken.get((one.assembly.key, row["name"]))
        spans = [(0, length)] if part is None else [(0, part.start), (part.end, length)]
        spans = [(start, end) for start, end in spans if end - start >= _BLOCK_BP]
        if spans and left >= _BLOCK_BP:
            more, places = _pieces(one, row["name"], spans, left)
            parts, starts = [*parts, *more], [*starts, *(place + offset for place in places)]
            left -= sum(piece.size for piece in more)
        offset += length + LOCUS_BP
    return _Look.at(one, parts, starts, config)


@dataclass(frozen=True)
class _Owners:
    """Who holds the hashes that were looked at."""

    hashes: UInt64[np.ndarray, "n"]  # sorted
    owner: Int64[np.ndarray, "n"]  # number of a group; -1: none, -2: several

    def loci(self, look: _Look, group: int) -> Int64[np.ndarray, "loci"]:
        """Loci of a look that other groups hold, as numbers of the hashes that they begin with."""
        order = np.argsort(look.hashes)  # what is sought in order is found several times as fast
        owner = np.empty(order.size, dtype=np.int64)
        owner[order] = self.owner[np.searchsorted(self.hashes, look.hashes[order])]
        marked = np.flatnonzero((owner != -1) & (owner != group))
        return marked[np.unique(look.places[marked] // LOCUS_BP, return_index=True)[1]]

    def rate(self, look: _Look, group: int) -> float:
        """Loci a hash."""
        return self.loci(look, group).size / max(1, look.hashes.size)


def _owners(looks: list[_Look], members: list[Prepared], group: list[int], config: ContaminationConfig) -> _Owners:
    hashes = distinct([look.hashes for look in looks])
    asked, owner = np.zeros(int(_FILTER) + 1, dtype=bool), np.full(hashes.size, -1, dtype=np.int64)
    asked[hashes & _FILTER] = True
    for one, number in zip(members, group):
        for found in _all_hashes(one, config):
            near = np.sort(found[asked[found & _FILTER]])  # most are told from all here, at little cost
            at = np.minimum(np.searchsorted(hashes, near), hashes.size - 1)
            at = at[hashes[at] == near]
            owner[at] = np.where((owner[at] == -1) | (owner[at] == number), number, -2)
        one.release()
    return _Owners(hashes, owner)


def _all_hashes(one: Prepared, config: ContaminationConfig) -> Iterator[UInt64[np.ndarray, "n"]]:
    for row in one.left():
        for part in _pieces(one, row["name"], [(0, row["length_bp"])], _HELD_BP)[0]:
            yield fraction(part, k=config.k, scaled=SCALED)[0]


def _native(one: Prepared, name: str, part: Stranger, config: ContaminationConfig) -> bool:
    """Whether the rest of its assembly has some of a stretch: repeats of the genome."""
    bases = one.bases(name)
    inside, *beside = (
        fraction(piece, k=config.k, scaled=config.scaled)[0]
        for piece in (bases[part.start : part.end], bases[: part.start], bases[part.end :])
    )
    inside = distinct([inside])
    held = _among(inside, distinct(beside))
    for row in one.left():
        if row["name"] != name:
            held |= _among(inside, one.hashes[row["name"]])
    return held.sum() > _OWN_SHARE * inside.size

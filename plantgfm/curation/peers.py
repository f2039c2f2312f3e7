"""Contamination, seen by comparing assemblies with each other: which compartment and kingdom a record fits.

No reference is needed, only other assemblies of the same input and their labels. Two signs are taken, both of shared
FracMinHash hashes and none of composition: a record lies in assemblies of another compartment than its own label; or it
shares nothing with any of at least five other species of its stated compartment, where it should: a whole assembly as
much as unrelated species share with each other, a record as much as the rest of its assembly shares with them. What
cultivars and sister species share is far more and says nothing: each has genes and repeats of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt64

from plantgfm.curation.config import ContaminationConfig
from plantgfm.curation.contamination import STAGE
from plantgfm.curation.facts import Verdict
from plantgfm.curation.label import containment
from plantgfm.curation.references import HashIndex
from plantgfm.curation.stretches import lie_in
from plantgfm.schema import Compartment, Outcome
from plantgfm.sketch import distinct

MIN_PEERS = 5
MAX_HASHES = 20_000_000
"""Above this many hashes of one compartment, every second is left out, until there are no more: bounds memory."""

_ORGANELLES = (Compartment.PLASTID, Compartment.MITOCHONDRION)
_PEER_QUANTILE = 0.25  # of what peers share: a few strangers among them do not hide each other
_CHANCE_QUANTILE = 0.999
_KIN_SHARE = 0.05  # of hashes: genomes of 87 % identity and more share what no stranger would
_KIN_HASHES = 20_000  # that are compared for it
_KIN_SHARED = 10  # at least, of such hashes
_OWN_SHARE = 0.01  # of a record's hashes, in other records of its assembly: repeats of a genome are no strangers in it

Records = dict[str, UInt64[np.ndarray, "hashes"]]


def compare_compartments(
    records: list[Records], labels: list[Compartment], species: list[str], config: ContaminationConfig
) -> list[list[Verdict]]:
    """Verdicts from comparing assemblies with each other, one list an assembly; a record has one at most.

    A record is rejected where at least `min_organelle_fraction` of its hashes lie in assemblies labelled as another
    compartment, an organelle, and less than half of these in others of its own label, if that is an organelle. And it
    is rejected where it shares none with any other assembly of its compartment, of at least five other species: no more
    than chance gives (or than `max_peer_fraction` of what is expected), where at least `min_expected_shared` are
    expected.

    Args:
        records: hashes by record name, for each assembly.
        labels: the stated compartment of each assembly.
        species: of each assembly.
        config: thresholds.
    """
    verdicts: list[list[Verdict]] = [[] for _ in records]
    whole = [distinct(list(found.values())) for found in records]
    for label in _ORGANELLES:
        index = distinct([own for own, other in zip(whole, labels) if other is label])
        if not index.size:
            continue
        for i, own in enumerate(labels):
            if own is not label:
                peers = [w for j, w in enumerate(whole) if labels[j] is own and j != i] if own in _ORGANELLES else []
                verdicts[i] += _fits_other(records[i], index, distinct(peers), labels=(label, own), config=config)
    for label in Compartment:
        members = [i for i, other in enumerate(labels) if other is label]
        names = [species[i] for i in members]
        if len(set(names)) > MIN_PEERS:
            for i, found in zip(members, _fit_none([records[i] for i in members], names, label, config)):
                known = {verdict.record for verdict in verdicts[i]}
                verdicts[i] += [verdict for verdict in found if verdict.record not in known]
    return verdicts


def organelle_index(whole: list[UInt64[np.ndarray, "hashes"]], names: list[str]) -> HashIndex:
    """An index of the hashes of assemblies, each under its name."""
    owner = np.repeat(np.arange(len(whole), dtype=np.int32), [one.size for one in whole])
    hashes = np.concatenate([np.empty(0, dtype=np.uint64), *whole])
    unique, first = np.unique(hashes, return_index=True)
    return HashIndex(names, unique, owner[first])


def _fits_other(
    records: Records,
    organelle: np.ndarray,
    peers: np.ndarray,
    *,
    labels: tuple[Compartment, Compartment],
    config: ContaminationConfig,
) -> list[Verdict]:
    verdicts, (other, own) = [], labels
    for name, hashes in records.items():
        shared = _overlap(hashes, organelle)
        if shared < config.min_shared_hashes or shared < config.min_organelle_fraction * hashes.size:
            continue
        among = _overlap(hashes, peers)
        if 2 * among >= shared:
            continue
        text = f"{shared} of {hashes.size} hashes lie in assemblies labelled {other.value}, this one is {own.value}"
        text += f" ({among} lie in others labelled so)" if peers.size else ""
        reason = f"{other.value}_under_{own.value}_label"
        verdicts.append(Verdict(name, Outcome.REJECTED, STAGE, reason, text))
    return verdicts


@dataclass(frozen=True)
class _Peers:
    """Assemblies of one compartment: which hashes two of them hold, and how much of an assembly that is."""

    label: Compartment
    number: int  # of assemblies
    strangers: int  # species, kin counted as one
    common: UInt64[np.ndarray, "hashes"]  # held by at least two assemblies, sorted
    total: int  # distinct hashes of all
    space: float  # number of hashes that there could be
    held: UInt64[np.ndarray, "hashes"]  # by at least two strangers, sorted
    rate: float  # lower quartile over strangers of the share of hashes that another one holds

    def judge_assembly(self, records: Records, config: ContaminationConfig) -> list[Verdict]:
        """A verdict on each record where the whole assembly shares none; else on the records that share none."""
        whole = distinct(list(records.values()))
        of = "its assembly's" if len(records) > 1 else "its"
        expected = self.rate * whole.size, f"what {self.strangers} unrelated species share"
        if found := self._judge("", whole, of, expected, config):
            return [replace(found[0], record=name) for name in records]
        if len(records) < 2:
            return []
        shared = {name: _overlap(part, self.held) for name, part in records.items()}
        all_shared, all_hashes = sum(shared.values()), sum(part.size for part in records.values())
        repeated = _held_twice(list(records.values()))[0]
        verdicts = []
        for name, part in records.items():
            rest = all_shared - shared[name], all_hashes - part.size
            source = f"what the rest of its assembly shares with {self.strangers - 1} unrelated species"
            expected = part.size * rest[0] / max(1, rest[1]), source
            if _overlap(part, repeated) <= _OWN_SHARE * part.size:
                verdicts += self._judge(name, part, "its", expected, config)
        return verdicts

    def _judge(
        self, name: str, hashes: np.ndarray, what: str, expectation: tuple[float, str], config: ContaminationConfig
    ) -> list[Verdict]:
        expected, source = expectation
        if expected < config.min_expected_shared:
            return []
        shared = _overlap(hashes, self.common)
        from scipy.stats import poisson  # a second of import, and few runs come here

        chance = hashes.size * self.total / self.space
        allowed = max(int(poisson.ppf(_CHANCE_QUANTILE, chance)), int(config.max_peer_fraction * expected))
        if shared > allowed:
            return []
        told = "none" if shared == 0 else f"{shared:,}"
        text = (
            f"{told} of {what} {hashes.size:,} hashes {'lies' if shared < 2 else 'lie'} in any of {self.number - 1} "
            f"others labelled {self.label.value}; {expected:,.0f} are expected from {source}, "
            f"{chance:.1f} by chance, and up to {allowed} count as none"
        )
        return [Verdict(name, Outcome.REJECTED, STAGE, f"fits_no_other_{self.label.value}", text)]


def _fit_none(
    records: list[Records], species: list[str], label: Compartment, config: ContaminationConfig
) -> list[list[Verdict]]:
    step = max(1, -(-sum(part.size for one in records for part in one.values()) // MAX_HASHES))
    bound = np.uint64((1 << 64) // (config.scaled * step) - 1)
    thin = [{name: part[part <= bound] for name, part in one.items()} for one in records]
    whole = [distinct(list(one.values())) for one in thin]
    common, total = _held_twice(whole)
    strangers = [distinct([w for w, own in zip(whole, species) if own == name]) for name in sorted(set(species))]
    strangers = [one for one in strangers if one.size]
    if label is Compartment.NUCLEAR:  # organelles are alike by nature, however far apart their plants are
        strangers = _join_kin(strangers)
    if len(strangers) <= MIN_PEERS:
        return [[] for _ in records]
    held, _ = _held_twice(strangers)
    rate = float(np.quantile([_overlap(one, held) / max(1, one.size) for one in strangers], _PEER_QUANTILE))
    space = 4.0**config.k / 2 / (config.scaled * step)
    peers = _Peers(label, len(records), len(strangers), common, total, space, held, rate)
    return [peers.judge_assembly(one, config) for one in thin]


def relatives(sets: list[UInt64[np.ndarray, "hashes"]]) -> list[int]:
    """The group of each set: those that share as much as related genomes do have one number."""
    head = list(range(len(sets)))
    for i, one in enumerate(sets):
        for j in range(i):
            share, shared = containment(one, sets[j], most=_KIN_HASHES)
            if head[i] != head[j] and share >= _KIN_SHARE and shared >= _KIN_SHARED:
                head = [head[j] if of == head[i] else of for of in head]
    return head


def shared_by_strangers(
    whole: list[UInt64[np.ndarray, "hashes"]], species: list[str], label: Compartment, scaled: int
) -> tuple[UInt64[np.ndarray, "held"], np.uint64, list[int]]:
    """What unrelated assemblies of one compartment have in common.

    Args:
        whole: hashes of each assembly.
        species: of each.
        label: their compartment.
        scaled: of the hashes.

    Returns:
        Sorted hashes that at least two groups of relatives hold; the greatest hash that was compared (of many, a fair
        share is); the number of each assembly's group.
    """
    step = max(1, -(-sum(one.size for one in whole) // MAX_HASHES))
    bound = np.uint64((1 << 64) // (scaled * step) - 1)
    names = sorted(set(species))
    sets = [distinct([one[one <= bound] for one, own in zip(whole, species) if own == name]) for name in names]
    # Organelles are alike by nature, however far apart their plants are.
    head = relatives(sets) if label is Compartment.NUCLEAR else list(range(len(sets)))
    groups = [distinct([one for one, of in zip(sets, head) if of == number]) for number in sorted(set(head))]
    return _held_twice(groups)[0], bound, [head[names.index(own)] for own in species]


def _join_kin(sets: list[UInt64[np.ndarray, "hashes"]]) -> list[UInt64[np.ndarray, "hashes"]]:
    """The sets, those of relatives joined into one."""
    head = relatives(sets)
    return [distinct([one for one, of in zip(sets, head) if of == number]) for number in sorted(set(head))]


def _overlap(a: np.ndarray, b: np.ndarray) -> int:
    """How many hashes two sorted sets share; the smaller is looked up: of 100,000 contigs each costs its own length."""
    few, many = sorted((a, b), key=len)
    return int(np.count_nonzero(lie_in(few, many)))


def _held_twice(sets: list[np.ndarray]) -> tuple[np.ndarray, int]:
    """Hashes that at least two of the sets hold, and the number of distinct hashes of all."""
    unique, count = np.unique(np.concatenate(sets), return_counts=True)
    return unique[count > 1], int(unique.size)

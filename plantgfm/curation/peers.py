"""Contamination, seen by comparing assemblies with each other: which compartment and kingdom a record fits.

No reference is needed, only other assemblies of the same input and their labels. Two signs are taken, both of shared
FracMinHash hashes and none of composition: a record lies in assemblies of another compartment than its own label; or it
shares nothing with any of at least five other species of its stated compartment, where these do share with each other
(cultivars of one species share everything, which says nothing of others).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt64

from plantgfm.curation.config import ContaminationConfig
from plantgfm.curation.contamination import STAGE
from plantgfm.curation.facts import Verdict
from plantgfm.curation.references import HashIndex
from plantgfm.schema import Compartment, Outcome
from plantgfm.sketch import distinct

MIN_PEERS = 5
MAX_HASHES = 20_000_000
"""Above this many hashes of one compartment, every second is left out, until there are no more: bounds memory."""

_ORGANELLES = (Compartment.PLASTID, Compartment.MITOCHONDRION)
_PEER_QUANTILE = 0.25  # of what peers share: a few strangers among them do not hide each other
_CHANCE_QUANTILE = 0.999

Records = dict[str, UInt64[np.ndarray, "hashes"]]


def compare_compartments(
    records: list[Records], labels: list[Compartment], species: list[str], config: ContaminationConfig
) -> list[list[Verdict]]:
    """Verdicts from comparing assemblies with each other, one list an assembly; a record has one at most.

    A record is rejected where at least `min_organelle_fraction` of its hashes lie in assemblies labelled as another
    compartment, an organelle, and less than half of these in others of its own label, if that is an organelle. And it
    is rejected where it shares none with any other assembly of its compartment, of at least five other species: no more
    than chance gives (or than `max_peer_fraction` of what species share with others), where as many hashes of them
    share at least `min_expected_shared`.

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
        shared = int(np.intersect1d(hashes, organelle, assume_unique=True).size)
        if shared < config.min_shared_hashes or shared < config.min_organelle_fraction * hashes.size:
            continue
        among = int(np.intersect1d(hashes, peers, assume_unique=True).size)
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
    species: int
    common: UInt64[np.ndarray, "hashes"]  # held by at least two assemblies, sorted
    total: int  # distinct hashes of all
    space: float  # number of hashes that there could be
    rate: float  # lower quartile over species of the share of hashes that another species holds

    def judge(self, name: str, hashes: np.ndarray, what: str, config: ContaminationConfig) -> list[Verdict]:
        """Whether hashes of one assembly are in no other, where as many hashes of other species would share some."""
        expected = self.rate * hashes.size
        if expected < config.min_expected_shared:
            return []
        shared = int(np.intersect1d(hashes, self.common, assume_unique=True).size)
        from scipy.stats import poisson  # a second of import, and few runs come here

        chance = hashes.size * self.total / self.space
        allowed = max(int(poisson.ppf(_CHANCE_QUANTILE, chance)), int(config.max_peer_fraction * expected))
        if shared > allowed:
            return []
        told = "none" if shared == 0 else f"{shared:,}"
        text = (
            f"{told} of {what} {hashes.size:,} hashes {'lies' if shared < 2 else 'lie'} in any of {self.number - 1} "
            f"others labelled {self.label.value}; {expected:,.0f} are expected from what {self.species} species share, "
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
    by_species = [distinct([w for w, own in zip(whole, species) if own == name]) for name in sorted(set(species))]
    held, _ = _held_twice(by_species)
    shares = [np.intersect1d(one, held, assume_unique=True).size / max(1, one.size) for one in by_species]
    rate = float(np.quantile(shares, _PEER_QUANTILE))
    space = 4.0**config.k / 2 / (config.scaled * step)
    peers = _Peers(label, len(records), len(by_species), common, total, space, rate)
    verdicts = []
    for one, hashes in zip(thin, whole):
        if len(one) > 1 and (found := peers.judge("", hashes, "its assembly's", config)):
            verdicts.append([Verdict(name, *_rest(found[0])) for name in one])
        else:
            verdicts.append([v for name, part in one.items() for v in peers.judge(name, part, "its", config)])
    return verdicts


def _held_twice(sets: list[np.ndarray]) -> tuple[np.ndarray, int]:
    """Hashes that at least two of the sets hold, and the number of distinct hashes of all."""
    unique, count = np.unique(np.concatenate(sets), return_counts=True)
    return unique[count > 1], int(unique.size)


def _rest(verdict: Verdict) -> tuple[Outcome, str, str, str]:
    return verdict.outcome, verdict.stage, verdict.reason, verdict.evidence

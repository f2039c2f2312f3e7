"""Stage 4, duplicates: whole assemblies, then records, that are the same sequence at a nucleotide identity.

Candidates come from datasketch's LSH over permutation signatures (and from equal digests); each is verified by
one-permutation sketches; clusters are complete-linkage, so that every member matches every other. One member of a
cluster is kept, chosen by `rank`; which, and why, stands in the evidence of the others. Last goes what lies inside
a longer sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from datasketch import MinHashLSH
from jaxtyping import UInt8, UInt64

from plantgfm.curation.config import DuplicateConfig
from plantgfm.curation.contained import find_containers
from plantgfm.curation.windows import bands_and_rows
from plantgfm.sketch import (
    EMPTY,
    as_datasketch,
    fraction,
    identity_of_jaccard,
    jaccard,
    jaccard_of_identity,
    one_permutation,
)

STAGE = "duplicates"
MIN_LENGTH_RATIO = 0.8
"""Two records of the same satellite share all k-mers at any length; shorter ones than this are no duplicate."""

_STRAND_SAMPLES = 5_000


@dataclass(frozen=True)
class Sequence:
    """A record or a whole assembly, as duplicates are sought among them."""

    assembly: str  # Assembly.key
    record: str  # "" for a whole assembly
    species: str
    length_bp: int
    known_bp: int
    annotated: bool
    n50_bp: int  # of its assembly
    forward: str  # digest of the codes; of a whole assembly, of its records' digests
    reverse: str  # the same for the other strand
    signature: UInt64[np.ndarray, "slots"]
    hashes: UInt64[np.ndarray, "hashes"]  # FracMinHash
    codes: Callable[[], UInt8[np.ndarray, "P"]]  # reads the bases
    k: int
    bins: int

    @cached_property
    def sketch(self) -> UInt64[np.ndarray, "bins"]:
        """The one-permutation sketch, made when a candidate needs it."""
        return one_permutation(self.codes(), k=self.k, bins=self.bins)

    @property
    def name(self) -> str:
        """Assembly, and record where it is one."""
        return f"{self.assembly} {self.record}".strip()


@dataclass(frozen=True)
class Removal:
    """A member of a cluster that is not kept, and the one that is."""

    removed: Sequence
    kept: Sequence
    reason: str
    evidence: str
    in_doubt: bool  # two species names, and nothing says which is right


def find_duplicates(
    sequences: list[Sequence],
    support: Callable[[Sequence, list[Sequence]], float],
    *,
    identity: float,
    across: float,
    config: DuplicateConfig,
) -> list[Removal]:
    """What to remove from sequences, in order of name; the result does not depend on their order.

    Args:
        sequences: records, or whole assemblies.
        support: how well a sequence fits other sequence under its species name, 0 to 1, given its cluster.
        identity: nucleotide identity from which two sequences count as one.
        across: the same for two species names, at least `identity`.
        config: sizes of sketches.
    """
    sequences = sorted(sequences, key=lambda one: (one.assembly, one.record))
    threshold = jaccard_of_identity(identity, config.k)
    pairs = {(i, j) for i, j in candidate_pairs(sequences, threshold, config)}
    threshold_across = jaccard_of_identity(across, config.k)

    def similarity(i: int, j: int) -> float:
        index = _similarity(sequences[i], sequences[j])
        return index if index >= threshold_across or sequences[i].species == sequences[j].species else 0.0

    clusters = complete_linkage(len(sequences), pairs, similarity, threshold)
    removals, bars = [], {True: identity, False: across}
    for cluster in clusters:
        members = [sequences[number] for number in cluster]
        mixed = len({member.species for member in members}) > 1
        fits = [round(support(member, members), 2) if mixed else 0.0 for member in members]
        order = sorted(range(len(members)), key=lambda i: rank(members[i], fits[i]))
        kept = members[order[0]]
        rivals = [fits[i] for i in order[1:] if members[i].species != kept.species]
        doubt = bool(rivals) and fits[order[0]] - max(rivals) < 0.05
        removals += [
            _removal(members[i], kept, bars[members[i].species == kept.species], doubt, fits[order[0]])
            for i in order[1:]
        ]
    removed = {removal.removed.name for removal in removals}
    left = [one for one in sequences if one.name not in removed]
    removals += _remove_contained(left, support, identity=identity, across=across, k=config.k)
    return sorted(removals, key=lambda one: one.removed.name)


def _remove_contained(
    sequences: list[Sequence],
    support: Callable[[Sequence, list[Sequence]], float],
    *,
    identity: float,
    across: float,
    k: int,
) -> list[Removal]:
    removals = []

    def bar(i: int, j: int) -> float:
        return identity if sequences[i].species == sequences[j].species else across

    found = find_containers([one.hashes for one in sequences], bar, k=k)
    for inner, (outer, reached) in sorted(found.items()):
        removed, kept = sequences[inner], sequences[outer]
        text = f"~{reached:.2%} identical (threshold {bar(inner, outer):.1%}) to a part of {kept.name}"
        text = f"{text} ({removed.length_bp:,} of {kept.length_bp:,} bp)"
        doubt, reason = False, "near_duplicate"
        if removed.species != kept.species:
            inside, outside = (support(one, [removed, kept]) for one in (removed, kept))
            doubt, reason = outside < inside + 0.05, "same_sequence_two_species"
            text = (
                f"{text}; named {removed.species} here and {kept.species} there: {inside:.0%} and {outside:.0%} "
                "are found in others of that name"
            )
        removals.append(Removal(removed, kept, reason, text, doubt))
    return removals


def rank(sequence: Sequence, fit: float) -> tuple:
    """Sort key of cluster members, the one to keep first.

    Best fit to other sequence of its species; then annotated; most known bases; highest N50 of its assembly; last the
    order of names.
    """
    return (-fit, not sequence.annotated, -sequence.known_bp, -sequence.n50_bp, sequence.name)


def candidate_pairs(sequences: list[Sequence], min_jaccard: float, config: DuplicateConfig) -> list[tuple[int, int]]:
    """Pairs (i < j) that LSH or equal digests propose, sorted."""
    slots = config.permutations
    lsh = MinHashLSH(num_perm=slots, params=bands_and_rows(min_jaccard, slots))
    sketched = {
        i: as_datasketch(one.signature, seed=config.seed)
        for i, one in enumerate(sequences)
        if one.signature[0] != EMPTY
    }
    with lsh.insertion_session() as session:
        for i, signature in sketched.items():
            session.insert(i, signature)
    pairs = {(i, j) for i, signature in sketched.items() for j in lsh.query(signature) if i < j}
    by_digest: dict[str, list[int]] = {}
    for i, one in enumerate(sequences):
        by_digest.setdefault(min(one.forward, one.reverse), []).append(i)
    pairs.update(pair for group in by_digest.values() for pair in combinations(group, 2))
    return sorted(pairs)


def complete_linkage(
    n: int, pairs: set[tuple[int, int]], similarity: Callable[[int, int], float], threshold: float
) -> list[list[int]]:
    """Clusters of at least two, agglomerated from the most similar pair on; every two members reach the threshold."""
    known = {pair: similarity(*pair) for pair in pairs}
    cluster_of, members = list(range(n)), {i: [i] for i in range(n)}

    def matches(i: int, j: int) -> bool:
        pair = (min(i, j), max(i, j))
        if pair not in known:
            known[pair] = similarity(*pair)
        return known[pair] >= threshold

    for i, j in sorted(pairs, key=lambda pair: (-known[pair], pair)):
        a, b = cluster_of[i], cluster_of[j]
        if a == b or not all(matches(x, y) for x in members[a] for y in members[b]):
            continue
        members[min(a, b)] = sorted(members[a] + members[b])
        for moved in members.pop(max(a, b)):
            cluster_of[moved] = min(a, b)
    return [members[key] for key in sorted(members) if len(members[key]) > 1]


def strand(a: UInt8[np.ndarray, "P"], b: UInt8[np.ndarray, "Q"], k: int) -> str:
    """ "same", "other" or "both": on which strand of `a` the sequence `b` lies, by a vote of shared k-mers."""
    scaled = max(1, min(a.size, b.size) // _STRAND_SAMPLES)
    found = []
    for codes in (a, b):
        hashes, places = fraction(codes, k=k, scaled=scaled)
        unique, first = np.unique(hashes, return_index=True)
        found.append((unique, _reads_forward(codes, places[first], k)))
    _, at_a, at_b = np.intersect1d(found[0][0], found[1][0], assume_unique=True, return_indices=True)
    agree = float(np.mean(found[0][1][at_a] == found[1][1][at_b])) if at_a.size else 1.0
    return "same" if agree > 0.8 else "other" if agree < 0.2 else "both"


def _reads_forward(codes: np.ndarray, places: np.ndarray, k: int) -> np.ndarray:
    """Whether the k-mer at each place is its own canonical form: its first base from the outside in decides."""
    undecided, answer = np.ones(places.size, dtype=bool), np.ones(places.size, dtype=bool)
    for i in range(k):
        left, right = codes[places + i] & 7, 3 - (codes[places + k - 1 - i] & 7)
        decides = undecided & (left != right)
        answer[decides] = (left < right)[decides]
        undecided &= ~decides
    return answer


def _similarity(a: Sequence, b: Sequence) -> float:
    if a.forward in (b.forward, b.reverse):
        return 1.0
    shorter, longer = sorted((a.length_bp, b.length_bp))
    if shorter < MIN_LENGTH_RATIO * longer:
        return 0.0
    return jaccard(a.sketch, b.sketch)


def _removal(removed: Sequence, kept: Sequence, identity: float, doubt: bool, fit: float) -> Removal:
    exact = kept.forward in (removed.forward, removed.reverse)
    if removed.forward == kept.forward:
        side, reason = "same", "exact_duplicate"
    elif exact:
        side, reason = "other", "reverse_complement_twin"
    else:
        side, reason = strand(kept.codes(), removed.codes(), kept.k), "near_duplicate"
    found = 1.0 if exact else identity_of_jaccard(_similarity(removed, kept), kept.k)
    how = "identical to" if exact else f"~{found:.2%} identical (threshold {identity:.1%}) to"
    strands = {"same": "on the same strand", "other": "on the other strand", "both": "on both strands"}[side]
    text = f"{how} {kept.name} ({kept.length_bp:,} against {removed.length_bp:,} bp), {strands}"
    if removed.species != kept.species:
        reason = "same_sequence_two_species"
        why = "nothing says which name is right" if doubt else f"{fit:.0%} of it is found in others of that name"
        text = f"{text}; named {removed.species} here and {kept.species} there: {why}"
    else:
        text = f"{text}; that one is kept, for it {_preference(kept, removed)}"
    return Removal(removed, kept, reason, text, doubt and removed.species != kept.species)


def _preference(kept: Sequence, removed: Sequence) -> str:
    if kept.annotated != removed.annotated:
        return "has annotation"
    if kept.known_bp != removed.known_bp:
        return f"has more known bases ({kept.known_bp:,} against {removed.known_bp:,})"
    if kept.n50_bp != removed.n50_bp:
        return f"lies in the assembly of higher N50 ({kept.n50_bp:,} against {removed.n50_bp:,} bp)"
    return "comes first by name"

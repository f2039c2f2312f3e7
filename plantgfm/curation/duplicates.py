"""Stage 4, duplicates: whole assemblies, then records, that are the same sequence at a nucleotide identity.

Candidates share bands of their permutation signatures, or are equal by digest; each is verified by one-permutation
sketches; clusters are complete-linkage, so that every member matches every other. One member of a cluster is kept,
chosen by `rank`; which, and why, stands in the evidence of the others. Last goes what lies inside a longer sequence.
Under two species names, the other sequence of those names tells which is right, as far as it can.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Int64, UInt8, UInt64

from plantgfm.curation.candidates import candidate_pairs
from plantgfm.curation.config import DuplicateConfig
from plantgfm.curation.contained import Contents, Shared, find_containers, probe
from plantgfm.curation.linkage import MIN_LENGTH_RATIO, Matcher
from plantgfm.curation.names import Fit, FitOf, fits_text
from plantgfm.curation.stretches import beside, lie_in
from plantgfm.sketch import (
    EMPTY,
    distinct,
    fraction,
    identity_of_jaccard,
    jaccard,
    jaccard_of_identity,
    one_permutation,
)

STAGE = "duplicates"
EXACT = "exact_duplicate"
TWIN = "reverse_complement_twin"
NEAR = "near_duplicate"
TWO_NAMES = "same_sequence_two_species"  # and nothing, or not enough, says which name is right
IN_DOUBT = "species_in_doubt"  # what is kept of these
OTHER_SPECIES = "species_mismatch"  # the sequence of one species under the name of another

_STRAND_SAMPLES = 5_000
_REST_SCALED = 50


@dataclass(frozen=True)
class Sequence:
    """A record or a whole assembly, as duplicates are sought among them."""

    assembly: str  # Assembly.key
    record: str  # "" for a whole assembly
    species: str  # by its accepted name: synonyms are one species
    named: str  # as the manifest has it
    length_bp: int
    known_bp: int
    annotated: bool
    n50_bp: int  # of its assembly
    forward: str  # digest of the codes; of a whole assembly, of its records' digests
    reverse: str  # the same for the other strand
    content: str  # digest that does not depend on strand, nor on the order of records, nor on where a ring was cut
    signature: UInt64[np.ndarray, "slots"]
    hashes: UInt64[np.ndarray, "hashes"]  # FracMinHash
    parts: Callable[[], list[UInt8[np.ndarray, "P"]]]  # reads the bases, a part a record
    k: int
    bins: int

    @cached_property
    def sketch(self) -> UInt64[np.ndarray, "bins"]:
        """The one-permutation sketch, made when a candidate needs it."""
        empty = np.full(self.bins, EMPTY)
        return np.minimum.reduce([empty, *(one_permutation(part, k=self.k, bins=self.bins) for part in self.parts())])

    @property
    def name(self) -> str:
        """Assembly, and record where it is one."""
        return f"{self.assembly} {self.record}".strip()

    @property
    def place(self) -> tuple[str, str]:
        """Assembly and record."""
        return self.assembly, self.record


@dataclass(frozen=True)
class Removal:
    """A member of a cluster that is not kept, and the one that is."""

    removed: Sequence
    kept: Sequence
    reason: str
    evidence: str
    in_doubt: str = ""  # what to say of the one that is kept: two species names, and nothing says which is right


@dataclass(frozen=True)
class Bars:
    """What is asked of two sequences to count as one, as nucleotide identity."""

    within: float
    across: float  # of two species names, at least `within`; 1: the very same sequence

    def of(self, a: Sequence, b: Sequence) -> float:
        """The one that two sequences are held to."""
        return self.within if a.species == b.species else self.across

    def of_part(self, a: Sequence, b: Sequence) -> float:
        """The one for a part of a sequence; above 1, never: sister species have parts in which they don't differ."""
        bar = self.of(a, b)
        return bar if bar < 1 or a.species == b.species else 2.0


@dataclass(frozen=True)
class Found:
    """What came of a search for duplicates."""

    removals: list[Removal]  # in order of name
    distinct: list[Sequence]  # one of each cluster, in order of name; those inside longer ones are among them
    shared: Shared  # what their probes say of each other


def find_duplicates(
    sequences: list[Sequence], fit: FitOf, *, identity: float, across: float, config: DuplicateConfig
) -> Found:
    """What to remove from sequences; the result does not depend on their order.

    Args:
        sequences: records, or whole assemblies.
        fit: how a sequence fits other sequence under a species name.
        identity: nucleotide identity from which two sequences count as one.
        across: the same for two species names, at least `identity`.
        config: sizes of sketches.
    """
    sequences = sorted(sequences, key=lambda one: one.place)
    bars = Bars(identity, across)
    removals = []
    for cluster in _clusters(sequences, bars, config):
        removals += _settle([sequences[number] for number in cluster], fit, bars)
    removed = {removal.removed.place for removal in removals}
    left = [one for one in sequences if one.place not in removed]
    shared = probe([one.hashes for one in left])
    removals += _remove_contained(left, shared, fit, bars)
    return Found(sorted(removals, key=lambda one: one.removed.place), left, shared)


@dataclass
class _Node:
    """Sequences of one content under one species name: they are one cluster whatever else they match."""

    first: Sequence
    members: list[int] = field(default_factory=list)


def _clusters(sequences: list[Sequence], bars: Bars, config: DuplicateConfig) -> list[list[int]]:
    nodes: dict[tuple[str, str], _Node] = {}
    for number, one in enumerate(sequences):
        nodes.setdefault((one.content, one.species), _Node(one)).members.append(number)
    firsts = [node.first for node in nodes.values()]
    pairs = _node_pairs(firsts, jaccard_of_identity(bars.within, config.k), config)
    involved, renumbered = np.unique(pairs, return_inverse=True)
    chosen = [firsts[number] for number in involved.tolist()]
    grouped = _matcher(chosen, bars, config).clusters(renumbered.reshape(-1, 2)) if chosen else []
    members = [node.members for node in nodes.values()]
    grouped = [[int(involved[row]) for row in cluster] for cluster in grouped]
    alone = sorted(set(range(len(members))) - {number for cluster in grouped for number in cluster})
    joined = [sorted(m for number in cluster for m in members[number]) for cluster in [*grouped, *([n] for n in alone)]]
    return sorted(cluster for cluster in joined if len(cluster) > 1)


def _node_pairs(firsts: list[Sequence], min_jaccard: float, config: DuplicateConfig) -> Int64[np.ndarray, "pairs 2"]:
    signatures = np.array([one.signature for one in firsts], dtype=np.uint64).reshape(-1, config.permutations)
    pairs = candidate_pairs(signatures, min_jaccard, seed=config.seed)
    known = np.array([one.known_bp for one in firsts], dtype=np.int64)
    lengths = known[pairs]
    pairs = pairs[lengths.min(axis=1, initial=2**62) >= MIN_LENGTH_RATIO * lengths.max(axis=1, initial=0)]
    named: dict[str, list[int]] = {}
    for number, one in enumerate(firsts):
        named.setdefault(one.content, []).append(number)
    same = [(group[0], other) for group in named.values() for other in group[1:]]
    return np.unique(np.concatenate([pairs, np.array(same, dtype=np.int64).reshape(-1, 2)]), axis=0)


def _matcher(sequences: list[Sequence], bars: Bars, config: DuplicateConfig) -> Matcher:
    return Matcher(
        content=_numbered([one.content for one in sequences]),
        species=_numbered([one.species for one in sequences]),
        known_bp=np.array([one.known_bp for one in sequences], dtype=np.int64),
        sketches=np.stack([one.sketch for one in sequences]),
        within=jaccard_of_identity(bars.within, config.k),
        across=jaccard_of_identity(bars.across, config.k) if bars.across < 1 else 2.0,
    )


def _numbered(values: list[str]) -> Int64[np.ndarray, "n"]:
    return np.unique(np.array(values), return_inverse=True)[1].astype(np.int64)


def rank(sequence: Sequence, fit: Fit | None = None) -> tuple:
    """Sort key of cluster members, the one to keep first.

    Under several species names first the name that fits best; then annotated; most known bases; highest N50 of its
    assembly; last the order of names.
    """
    best = fit.rank if fit else ()
    return (*best, not sequence.annotated, -sequence.known_bp, -sequence.n50_bp, sequence.name)


def _settle(members: list[Sequence], fit: FitOf, bars: Bars) -> list[Removal]:
    """Removals of a cluster: all but one."""
    species = sorted({member.species for member in members})
    fits: dict[str, Fit] = {}
    if len(species) > 1:
        # One set of hashes for all names: a longer copy must not fit better for its length.
        hashes = min(members, key=lambda one: (one.hashes.size, one.place)).hashes
        fits = {name: fit(hashes, name, [member.place for member in members]) for name in species}
    kept, *others = sorted(members, key=lambda one: rank(one, fits.get(one.species)))
    return [_removal(removed, kept, bars, fits) for removed in others]


def _removal(removed: Sequence, kept: Sequence, bars: Bars, fits: dict[str, Fit]) -> Removal:
    reason, how = _likeness(removed, kept, bars)
    text = f"{how} {kept.name} ({kept.length_bp:,} against {removed.length_bp:,} bp)"
    text = f"{text}, {_strands(reason, removed, kept)}"
    if removed.species == kept.species:
        text = f"{text}{_synonyms(removed, kept)}; that one is kept, for it {_preference(kept, removed)}"
        return Removal(removed, kept, reason, text)
    return _two_names(removed, kept, text, fits)


def _synonyms(removed: Sequence, kept: Sequence) -> str:
    if removed.named == kept.named:
        return ""
    return f"; {removed.named} here and {kept.named} there are names of one species, {kept.species}"


def _likeness(removed: Sequence, kept: Sequence, bars: Bars) -> tuple[str, str]:
    if removed.content == kept.content:
        twin = removed.forward == kept.reverse and removed.forward != kept.forward
        return TWIN if twin else EXACT, "identical to"
    found = identity_of_jaccard(jaccard(removed.sketch, kept.sketch), kept.k)
    return NEAR, f"~{found:.2%} identical (threshold {bars.of(removed, kept):.2%}) to"


def _strands(reason: str, removed: Sequence, kept: Sequence) -> str:
    if reason == TWIN or removed.forward == kept.forward:
        side = "other" if reason == TWIN else "same"
    else:
        side = strand(kept.parts(), removed.parts(), kept.k)
    return {"same": "on the same strand", "other": "on the other strand", "both": "on both strands"}[side]


def _two_names(removed: Sequence, kept: Sequence, text: str, fits: dict[str, Fit]) -> Removal:
    """The removal of a sequence that stands under another species name as well."""
    loser, winner = fits[removed.species], fits[kept.species]
    known = fits_text({name: fits[name] for name in (removed.species, kept.species)})
    text = f"{text}; the same sequence under two species names, {removed.named} here and {kept.named} there"
    if not winner.beats(loser):
        doubt = f"the same sequence is named {removed.named} in {removed.name}; not enough says which is right: {known}"
        return Removal(removed, kept, TWO_NAMES, f"{text}: not enough says which is right ({known})", doubt)
    reason = OTHER_SPECIES if loser.at_hand else TWO_NAMES
    return Removal(removed, kept, reason, f"{text}: it is {kept.species} rather ({known})")


def _remove_contained(sequences: list[Sequence], shared: Shared, fit: FitOf, bars: Bars) -> list[Removal]:
    removals = []
    found = find_containers(
        [Contents(one.hashes, one.parts) for one in sequences],
        lambda i, j: bars.of_part(sequences[i], sequences[j]),
        k=sequences[0].k if sequences else 0,
        shared=shared,
    )
    for inner, (outer, reached) in sorted(found.items()):
        removed, kept = sequences[inner], sequences[outer]
        text = f"~{reached:.2%} identical (threshold {bars.of(removed, kept):.2%}) to a part of {kept.name}"
        text = f"{text} ({removed.length_bp:,} of {kept.length_bp:,} bp)"
        if removed.species == kept.species:
            removals.append(Removal(removed, kept, NEAR, f"{text}{_synonyms(removed, kept)}"))
            continue
        places = [removed.place, kept.place]
        fits = {one.species: fit(removed.hashes, one.species, places) for one in (removed, kept)}
        fits[kept.species] = _with_rest(fits[kept.species], removed, kept)
        removals.append(_two_names(removed, kept, text, fits))
    return removals


def _with_rest(fit: Fit, inner: Sequence, outer: Sequence) -> Fit:
    """How a sequence fits a name; what lies beside it, in the one that contains it, is other sequence of that name."""
    inside = distinct([fraction(part, k=inner.k, scaled=_REST_SCALED)[0] for part in inner.parts()])
    rest = distinct([beside(part, inside, k=inner.k, scaled=_REST_SCALED) for part in outer.parts()])
    found = round(fit.of * float(lie_in(inside, rest).mean())) if inside.size else 0
    return replace(fit, found=max(fit.found, found), at_hand=fit.at_hand + int(rest.size))


def strand(a: list[UInt8[np.ndarray, "P"]], b: list[UInt8[np.ndarray, "Q"]], k: int) -> str:
    """ "same", "other" or "both": on which strand of the parts `a` the parts `b` lie, by a vote of shared k-mers."""
    scaled = max(1, min(sum(part.size for part in parts) for parts in (a, b)) // _STRAND_SAMPLES)
    sides = [_strands_of_kmers(parts, k, scaled) for parts in (a, b)]
    _, at_a, at_b = np.intersect1d(sides[0][0], sides[1][0], assume_unique=True, return_indices=True)
    agree = float(np.mean(sides[0][1][at_a] == sides[1][1][at_b])) if at_a.size else 1.0
    return "same" if agree > 0.8 else "other" if agree < 0.2 else "both"


def _strands_of_kmers(parts: list[np.ndarray], k: int, scaled: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct hashes of a sequence, and for each whether its k-mer reads forward there."""
    hashes, forward = [np.empty(0, np.uint64)], [np.empty(0, bool)]
    for part in parts:
        found, places = fraction(part, k=k, scaled=scaled)
        hashes.append(found)
        forward.append(_reads_forward(part, places, k))
    unique, first = np.unique(np.concatenate(hashes), return_index=True)
    return unique, np.concatenate(forward)[first]


def _reads_forward(codes: np.ndarray, places: np.ndarray, k: int) -> np.ndarray:
    """Whether the k-mer at each place is its own canonical form: its first base from the outside in decides."""
    undecided, answer = np.ones(places.size, dtype=bool), np.ones(places.size, dtype=bool)
    for i in range(k):
        left, right = codes[places + i] & 7, 3 - (codes[places + k - 1 - i] & 7)
        decides = undecided & (left != right)
        answer[decides] = (left < right)[decides]
        undecided &= ~decides
    return answer


def _preference(kept: Sequence, removed: Sequence) -> str:
    if kept.annotated != removed.annotated:
        return "has annotation"
    if kept.known_bp != removed.known_bp:
        return f"has more known bases ({kept.known_bp:,} against {removed.known_bp:,})"
    if kept.n50_bp != removed.n50_bp:
        return f"lies in the assembly of higher N50 ({kept.n50_bp:,} against {removed.n50_bp:,} bp)"
    return "comes first by name"

"""Planted defects: extra records and extra assemblies that curation must catch, or must keep, and the list of them.

Every kind is planted once, in different species where there are enough. Reasons are the slugs that curation gives.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

from plantgfm.sequence import BASE_MASK, REPEAT_BIT, UNKNOWN, reverse_complement
from plantgfm.simulate.change import mutate_codes
from plantgfm.simulate.config import WorldConfig
from plantgfm.simulate.screens import Screens, strain

DEFECT_COLUMNS = ("assembly", "record", "kind", "expected_stage", "expected_reason")
ACCEPTED = ("accepted", "accepted")
CONTIG_BP = (1_100, 4_000)  # of the fragmented assembly: long enough to pass as records
UNKNOWN_SHARE = 0.62  # of the N-rich scaffold
TRUNCATED_SHARE = 0.55  # of what the header states
TAIL_BP = 60  # unknown bases in which the truncated scaffold breaks off
EXTRA_FRACTION = 0.06  # of genome_size_bp: length of planted records

Records = list[tuple[str, UInt8[np.ndarray, "P"]]]


@dataclass
class Draft:
    """An assembly before it is written: header texts with base codes and repeat bits."""

    species: str
    cultivar: str
    name: str  # of the assembly
    file: str  # stem of its FASTA file
    records: Records
    accession: str = ""
    expected_size_bp: int | None = None
    annotated: bool = False


@dataclass(frozen=True)
class Defect:
    """One planted defect and what curation should say of it."""

    draft: Draft
    record: str  # "" for the whole assembly
    kind: str
    stage: str
    reason: str


@dataclass
class Planting:
    """The drafts of a world with the defects planted so far."""

    drafts: list[Draft]
    defects: list[Defect] = field(default_factory=list)
    extra: list[Draft] = field(default_factory=list)
    references: dict[str, Records] = field(default_factory=dict)  # of further accessions, by name


def changed(rng: np.random.Generator, codes: UInt8[np.ndarray, "P"], difference: float, *, kappa: float) -> np.ndarray:
    """Sequence with its repeat bits at `difference` substitutions a site, and one indel for each eight of them."""
    bits = codes & REPEAT_BIT
    out = mutate_codes(rng, codes & BASE_MASK, distance=difference, gc=0.42, kappa=kappa) | bits
    doomed = rng.random(out.size) < difference / 8 / 3
    spread = doomed | np.roll(doomed, 1) | np.roll(doomed, 2)
    return out[~spread]


def plant(drafts: list[Draft], *, screens: Screens, config: WorldConfig, rng: np.random.Generator) -> Planting:
    """Plant every kind of defect into drafts of the training species, which are changed in place."""
    planting = Planting(drafts)
    plans = (
        _near_duplicate, _twin, _near_miss, _bacterium, _vector, _plastid, _truncated, _unknown, _fragmented, _swapped,
        _header_only,
    )  # fmt: skip
    for number, plan in enumerate(plans):
        plan(planting, drafts[number % len(drafts)], screens=screens, config=config, rng=rng)
    return planting


def _add_record(planting: Planting, draft: Draft, name: str, codes: np.ndarray, kind: str, verdict: tuple) -> None:
    header = name if " " in name else f"{name} length={codes.size}"
    draft.records.append((header, codes.astype(np.uint8)))
    planting.defects.append(Defect(draft, name.split()[0], kind, *verdict))


def _scaffold(draft: Draft) -> np.ndarray:
    """The shortest sound record of an assembly, where extra records are copied from."""
    return draft.records[_chromosomes(draft) - 1][1]


def _chromosomes(draft: Draft) -> int:
    return sum(header.startswith(("chr", "scaffold_")) for header, _ in draft.records)


def _extra_bp(config: WorldConfig) -> int:
    return max(14_000, int(EXTRA_FRACTION * config.genome_size_bp))


def _slice(rng: np.random.Generator, codes: np.ndarray, length_bp: int) -> np.ndarray:
    length_bp = min(length_bp, codes.size)
    start = int(rng.integers(0, codes.size - length_bp + 1))
    return codes[start : start + length_bp]


def _near_duplicate(planting: Planting, draft: Draft, *, screens, config: WorldConfig, rng) -> None:
    """The same genome again under another assembly name: other strand, other order, 0.2 % different, one more break."""
    records = []
    for number, (_, codes) in enumerate(draft.records[::-1]):
        codes = changed(rng, reverse_complement(codes), config.near_duplicate_difference, kappa=config.kappa)
        halves = np.array_split(codes, 2) if number == len(draft.records) - 1 else [codes]
        records += [(f"ctg{len(records) + i + 1} length={half.size}", half) for i, half in enumerate(halves)]
    extra = Draft(
        draft.species, draft.cultivar, f"{draft.name.rsplit(' ', 1)[0]} v2-draft", f"{draft.file}_again", records,
        draft.accession, draft.expected_size_bp,
    )  # fmt: skip
    planting.extra.append(extra)
    planting.defects.append(Defect(extra, "", "near_duplicate_other_strand", "duplicates", "near_duplicate"))


def _twin(planting: Planting, draft: Draft, *, screens, config: WorldConfig, rng) -> None:
    verdict = ("duplicates", "reverse_complement_twin")
    _add_record(
        planting, draft, "unplaced_91", reverse_complement(_scaffold(draft)), "reverse_complement_twin", verdict
    )


def _near_miss(planting: Planting, draft: Draft, *, screens, config: WorldConfig, rng) -> None:
    codes = changed(rng, _scaffold(draft), config.near_miss_difference, kappa=config.kappa)
    _add_record(planting, draft, "unplaced_92", codes, "near_miss_duplicate", ACCEPTED)


def _bacterium(planting: Planting, draft: Draft, *, screens: Screens, config: WorldConfig, rng) -> None:
    source = next(iter(screens.foreign.values()))
    codes = strain(rng, _slice(rng, source, _extra_bp(config)), config.strain_difference)
    _add_record(planting, draft, "unplaced_93", codes, "bacterial_contamination", ("contamination", "foreign_organism"))


def _vector(planting: Planting, draft: Draft, *, screens: Screens, config: WorldConfig, rng) -> None:
    vector = strain(rng, next(iter(screens.vector.values())), config.strain_difference)
    flank = _slice(rng, _scaffold(draft), vector.size)
    half = flank.size // 2
    codes = np.concatenate([flank[:half], vector, flank[half:]])
    _add_record(planting, draft, "unplaced_94", codes, "vector_contamination", ("contamination", "vector"))


def _plastid(planting: Planting, draft: Draft, *, screens: Screens, config: WorldConfig, rng) -> None:
    source = next(iter(screens.organelle.values()))
    codes = strain(rng, _slice(rng, source, _extra_bp(config)), config.strain_difference)
    verdict = ("contamination", "organelle_under_nuclear_label")
    _add_record(planting, draft, "unplaced_95", codes, "plastid_under_nuclear_label", verdict)


def _truncated(planting: Planting, draft: Draft, *, screens, config: WorldConfig, rng) -> None:
    """Two independent signs: the header states more than there is, and the sequence breaks off inside unknown bases."""
    whole = changed(rng, _slice(rng, draft.records[0][1], _extra_bp(config)), 0.08, kappa=config.kappa)
    cut = whole[: int(whole.size * TRUNCATED_SHARE)].copy()
    cut[-TAIL_BP:] = UNKNOWN
    _add_record(planting, draft, f"unplaced_96 length={whole.size}", cut, "truncated", ("completeness", "truncated"))


def _unknown(planting: Planting, draft: Draft, *, screens, config: WorldConfig, rng) -> None:
    codes = changed(rng, _slice(rng, draft.records[0][1], _extra_bp(config)), 0.08, kappa=config.kappa)
    blocks = np.array_split(np.arange(codes.size), 40)
    for block in rng.permutation(40)[: int(40 * UNKNOWN_SHARE) + 1].tolist():
        codes[blocks[block]] = UNKNOWN
    _add_record(planting, draft, "unplaced_97", codes, "n_rich", ("completeness", "n_rich"))


def _fragmented(planting: Planting, draft: Draft, *, screens, config: WorldConfig, rng) -> None:
    """Another cultivar in contigs of 1 to 4 kb, though the size of its genome is stated."""
    contigs: Records = []
    for _, codes in draft.records[: _chromosomes(draft)]:
        codes = changed(rng, codes, 1.5 * config.cultivar_difference, kappa=config.kappa)
        cuts = np.cumsum(rng.integers(*CONTIG_BP, codes.size // CONTIG_BP[0]))
        pieces = [part for part in np.split(codes, cuts[cuts < codes.size]) if part.size >= CONTIG_BP[0]]
        contigs += [(f"contig_{len(contigs) + i + 1:05d}", part) for i, part in enumerate(pieces)]
    size = sum(codes.size for _, codes in draft.records)
    extra = Draft(
        draft.species, f"{draft.cultivar}-landrace", f"{draft.name.rsplit(' ', 1)[0]} short reads",
        f"{draft.file}_fragments", contigs, "", int(round(size, -3)),
    )  # fmt: skip
    planting.extra.append(extra)
    planting.defects.append(Defect(extra, "", "fragmented_assembly", "assembly_score", "fragmented_assembly"))


def _swapped(planting: Planting, draft: Draft, *, screens, config: WorldConfig, rng) -> None:
    """The genome of a second cultivar under the first one's label; the passport knows both."""
    whole = draft.records[: _chromosomes(draft)]
    records = [
        (f"seq{i + 1} length={codes.size}", codes)
        for i, codes in enumerate(changed(rng, c, config.cultivar_difference, kappa=config.kappa) for _, c in whole)
    ]
    extra = Draft(
        draft.species, draft.cultivar, f"{draft.name.rsplit(' ', 1)[0]} second", f"{draft.file}_second", records,
        draft.accession, draft.expected_size_bp,
    )  # fmt: skip
    planting.extra.append(extra)
    planting.references[f"{draft.cultivar} Bis"] = records
    planting.defects.append(Defect(extra, "", "swapped_cultivar_label", "label", "label_mismatch"))


def _header_only(planting: Planting, draft: Draft, *, screens, config: WorldConfig, rng) -> None:
    """A header that states another length is no defect of the sequence by itself."""
    header, codes = draft.records[0]
    name = header.split()[0]
    draft.records[0] = (f"{name} length={codes.size + codes.size // 4}", codes)
    planting.defects.append(Defect(draft, name, "header_states_another_length", *ACCEPTED))

"""Repeat families and their elements: LTR retrotransposons, DNA transposons, MITEs, satellites, simple repeats."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8

from plantgfm.sequence import encode, reverse_complement
from plantgfm.simulate import codons
from plantgfm.simulate.background import Background

# Sequence Ontology terms, and bp of the duplicated target site (Wicker et al. 2007, doi:10.1038/nrg2165).
TERMS = {
    "Gypsy": ("Gypsy_LTR_retrotransposon", 5),
    "Copia": ("Copia_LTR_retrotransposon", 5),
    "hAT": ("terminal_inverted_repeat_element", 8),
    "CACTA": ("terminal_inverted_repeat_element", 3),
    "MITE": ("MITE", 3),
    "Satellite": ("satellite_DNA", 0),
    "Microsatellite": ("microsatellite", 0),
    "Minisatellite": ("minisatellite", 0),
    "Telomere": ("telomeric_repeat", 0),
}
SIMPLE_UNITS = ("A", "AT", "AG", "AAG", "AAT", "ATC", "AAAT", "AAAG", "ACC", "CCG")


@dataclass(frozen=True)
class Family:
    """A repeat family as one lineage carries it: the master sequence that new copies are made from."""

    name: str
    order: str  # a key of TERMS
    ltr_bp: int  # length of each long terminal repeat, 0 for other orders
    master: UInt8[np.ndarray, "P"]  # of LTR elements: one LTR, then the internal part

    def with_master(self, master: UInt8[np.ndarray, "P"]) -> Family:
        """The same family with its master changed."""
        return replace(self, master=master)

    def full(self) -> UInt8[np.ndarray, "P"]:
        """A complete new copy; both LTRs of a retrotransposon are identical at insertion."""
        return np.concatenate([self.master, self.master[: self.ltr_bp]]) if self.ltr_bp else self.master


def make_family(rng: np.random.Generator, name: str, order: str, *, background: Background, gc: float) -> Family:
    """A new family of the given order, its master at about the given GC."""
    if order in ("Gypsy", "Copia"):
        return _retrotransposon(rng, name, order, background=background, gc=gc)
    if order == "Satellite":
        return Family(name, order, 0, background.draw(rng, int(rng.integers(155, 181)), gc))
    length, terminal = {"hAT": (2200, 16), "CACTA": (3000, 24), "MITE": (240, 18)}[order]
    length = int(length * rng.uniform(0.75, 1.25))
    body = background.draw(rng, length, gc - 0.06 if order == "MITE" else gc)
    if order != "MITE":
        _open_frame(rng, body, background, start=300, codons_count=length // 6, gc=gc)
    if order == "CACTA":
        body[:5] = encode("CACTA")
    body[-terminal:] = reverse_complement(body[:terminal])
    return Family(name, order, 0, body)


def _retrotransposon(rng: np.random.Generator, name: str, order: str, *, background: Background, gc: float) -> Family:
    ltr_bp = int(rng.integers(450, 950) if order == "Gypsy" else rng.integers(200, 450))
    inner_bp = int(rng.integers(4200, 5600) if order == "Gypsy" else rng.integers(3600, 4300))
    ltr, inner = background.draw(rng, ltr_bp, gc), background.draw(rng, inner_bp, gc)
    ltr[:2], ltr[-2:] = encode("TG"), encode("CA")
    ltr[ltr_bp // 2 : ltr_bp // 2 + 7] = encode("TATATAA")
    inner[2:16] = encode("TGGTATCAGAGCCA")  # primer binding site, complement of the initiator tRNA
    inner[-14:] = encode("AAGGGGGAGAATGT")  # polypurine tract
    _open_frame(rng, inner, background, start=150, codons_count=(inner_bp - 300) // 3, gc=gc)
    return Family(name, order, ltr_bp, np.concatenate([ltr, inner]))


def _open_frame(rng, body: np.ndarray, background: Background, *, start: int, codons_count: int, gc: float) -> None:
    residues = codons.protein(rng, codons_count)
    body[start : start + 3 * codons_count] = codons.coding_sequence(rng, residues, gc, background)


def element(
    rng: np.random.Generator, family: Family, *, full_fraction: float, solo_fraction: float
) -> UInt8[np.ndarray, "P"]:
    """One new insertion: full, solo LTR (retrotransposons only) or truncated."""
    full, draw = family.full(), rng.random()
    if draw < full_fraction or full.size < 400:
        return full
    if draw < full_fraction + solo_fraction:
        return family.master[: family.ltr_bp] if family.ltr_bp else full
    length = int(full.size * rng.uniform(0.2, 0.8))
    start = int(rng.integers(0, full.size - length))
    return full[start : start + length]


def array(
    rng: np.random.Generator, monomer: UInt8[np.ndarray, "M"], length_bp: int, *, divergence: float
) -> UInt8[np.ndarray, "P"]:
    """A tandem array of about `length_bp`: monomers are copied from neighbours, so variants stand in local blocks."""
    count = max(3, length_bp // monomer.size)
    founders = [_mutated(rng, monomer, divergence) for _ in range(min(6, count))]
    monomers = list(founders)
    while len(monomers) < count:
        block = monomers[-int(rng.integers(1, len(founders) + 1)) :]
        monomers += [_mutated(rng, unit, divergence / 10) for unit in block]
    return np.concatenate(monomers[:count])


def _mutated(rng: np.random.Generator, codes: np.ndarray, share: float) -> np.ndarray:
    hit = rng.random(codes.size) < share
    return np.where(hit, (codes + rng.integers(1, 4, codes.size)) % 4, codes).astype(np.uint8)


def simple_repeat(rng: np.random.Generator, *, mini: bool) -> UInt8[np.ndarray, "P"]:
    """A microsatellite of 15 to 80 bp, or a minisatellite of 5 to 20 units."""
    if mini:
        unit = rng.integers(0, 4, int(rng.integers(10, 61))).astype(np.uint8)
        return np.tile(unit, int(rng.integers(5, 21)))
    weight = np.array([3, 3, 3, 2, 2, 1, 1, 1, 0.7, 0.7])
    unit = encode(SIMPLE_UNITS[int(rng.choice(len(SIMPLE_UNITS), p=weight / weight.sum()))])
    length = 15 + int(rng.exponential(14))
    return np.tile(unit, length // unit.size + 1)[: min(length, 80)]

"""The genetic code, invented proteins and their coding sequence."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, UInt8

from plantgfm.sequence import AMINO
from plantgfm.simulate.background import WORD_BP, Background

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
# Composition of UniProtKB/Swiss-Prot, release statistics, per cent, in the order of LETTERS.
_COMPOSITION = (8.25, 1.38, 5.46, 6.72, 3.86, 7.07, 2.27, 5.91, 5.80, 9.65, 2.41, 4.06, 4.74, 3.93, 5.53, 6.65, 5.36)
_COMPOSITION += (6.86, 1.10, 2.92)
SWEEPS = 4  # over synonymous codons
STOPS = ("TAA", "TAG", "TGA")

AMINO_INDEX = np.array(["*ACDEFGHIKLMNPQRSTVWY".index(letter) for letter in AMINO], dtype=np.int8)
"""int8 [64]: number of the amino acid of each codon, 0 for stop."""


def protein(rng: np.random.Generator, length_aa: int) -> np.ndarray:
    """A random protein, as indices into LETTERS, int64 [length_aa]."""
    weight = np.array(_COMPOSITION)
    return rng.choice(len(LETTERS), size=length_aa, p=weight / weight.sum())


def varied(rng: np.random.Generator, domain: np.ndarray, share: float) -> np.ndarray:
    """A domain with a share of its residues drawn anew."""
    return np.where(rng.random(domain.size) < share, protein(rng, domain.size), domain)


def usage(gc3: float) -> Float64[np.ndarray, "20 64"]:
    """Cumulative probability of codons for each amino acid of LETTERS when third positions have this GC."""
    third = np.array([1 - gc3, gc3, gc3, 1 - gc3])[np.arange(64) % 4]
    weight = np.array([[amino == letter for amino in AMINO] for letter in LETTERS]) * third
    return np.cumsum(weight / weight.sum(axis=1, keepdims=True), axis=1)


def coding_sequence(
    rng: np.random.Generator, residues: np.ndarray, gc3: float, background: Background
) -> UInt8[np.ndarray, "P"]:
    """Codons of a protein, without start and stop: base codes, three for each residue.

    Among synonymous codons those are preferred that make the words of the background.
    """
    cumulative = usage(gc3)[residues]
    codon = (rng.random(residues.size)[:, None] >= cumulative).sum(axis=1).clip(max=63)
    codes = np.stack([codon // 16, codon // 4 % 4, codon % 4], axis=1).astype(np.uint8).ravel()
    for sweep in range(2 * SWEEPS):
        _settle(rng, codes, gc3, background, first=sweep % 2)
    return codes


def _settle(rng: np.random.Generator, codes: np.ndarray, gc3: float, background: Background, *, first: int) -> None:
    """Offer every second codon another third base in place; synonymous ones are taken by Barker's rule."""
    if codes.size < 2 * WORD_BP:
        return
    at = np.arange(3 * first + 2, codes.size, 6)
    new = rng.choice(4, size=at.size, p=np.array([1 - gc3, gc3, gc3, 1 - gc3]) / 2).astype(np.uint8)
    stem = codes[at - 2].astype(np.int64) * 16 + codes[at - 1].astype(np.int64) * 4
    synonymous = AMINO_INDEX[stem + new] == AMINO_INDEX[stem + codes[at]]
    taken = synonymous & (rng.random(at.size) < 1 / (1 + np.exp(-background.preference(codes, at, new))))
    codes[at[taken]] = new[taken]

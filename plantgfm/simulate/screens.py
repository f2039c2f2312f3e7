"""What may not stand in a nuclear corpus: invented bacteria, vectors and plastids, references and other strains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from plantgfm.simulate import codons
from plantgfm.simulate.background import Background, make_background
from plantgfm.simulate.change import mutate_codes

# GC of soil bacteria such as Pseudomonas is about 0.6, of plastomes 0.37 with inverted repeats (Daniell et al. 2016,
# doi:10.1186/s13059-016-1004-2); cloning vectors of the pUC kind have 2.7 to 5 kb and about 0.5.
BACTERIA = {"Fictobacter solani": 0.62, "Pseudofictum radicis": 0.57}
VECTORS = ("pFIC19", "pFBAC1")
PLASTIDS = ("Fictaria vulgaris", "Herbarium typicum")
BACTERIUM_FRACTION = 0.12  # of genome_size_bp
PLASTID_FRACTION = 0.10
VECTOR_BP = 4_200


@dataclass(frozen=True)
class Screens:
    """References to screen against, by name: base codes, uint8 [P]."""

    foreign: dict[str, UInt8[np.ndarray, "P"]]
    vector: dict[str, UInt8[np.ndarray, "P"]]
    organelle: dict[str, UInt8[np.ndarray, "P"]]

    def by_kind(self) -> list[tuple[str, str, UInt8[np.ndarray, "P"]]]:
        """(kind, name, codes) of every reference, in the kinds of `references.tsv`."""
        kinds = {"foreign": self.foreign, "vector": self.vector, "organelle": self.organelle}
        return [(kind, name, codes) for kind, group in kinds.items() for name, codes in group.items()]


def make_screens(rng: np.random.Generator, *, genome_size_bp: int) -> Screens:
    """References of a world of the given size; the two plastids are relatives, at 4 %."""
    microbial, plastid = make_background(rng), make_background(rng)
    bacterium_bp = max(30_000, int(BACTERIUM_FRACTION * genome_size_bp))
    plastid_bp = max(24_000, int(PLASTID_FRACTION * genome_size_bp))
    first = _gene_dense(rng, plastid, plastid_bp, gc=0.37)
    second = mutate_codes(rng, first, distance=0.04, gc=0.37, kappa=2.0)
    return Screens(
        foreign={name: _gene_dense(rng, microbial, bacterium_bp, gc=gc) for name, gc in BACTERIA.items()},
        vector={name: _gene_dense(rng, microbial, VECTOR_BP, gc=0.5) for name in VECTORS},
        organelle=dict(zip(PLASTIDS, (first, second))),
    )


def strain(rng: np.random.Generator, reference: UInt8[np.ndarray, "P"], difference: float) -> UInt8[np.ndarray, "P"]:
    """Another strain of a reference, at this many substitutions a site."""
    return mutate_codes(rng, reference, distance=difference, gc=0.5, kappa=2.0)


def _gene_dense(rng: np.random.Generator, background: Background, length_bp: int, *, gc: float) -> np.ndarray:
    """Sequence nine tenths of which is genes without introns, on both strands."""
    parts, total = [], 0
    while total < length_bp:
        residues = codons.protein(rng, int(rng.integers(120, 480)))
        frame = codons.coding_sequence(rng, residues, min(0.9, gc + 0.08), background)
        gene = frame if rng.random() < 0.5 else (3 - frame[::-1]).astype(np.uint8)
        parts += [gene, background.draw(rng, int(rng.integers(30, 160)), gc)]
        total += parts[-1].size + parts[-2].size
    return np.concatenate(parts)[:length_bp]

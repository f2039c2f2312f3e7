"""Genes of the root: promoter, untranslated regions, exons and introns, in the reading direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from plantgfm.sequence import encode
from plantgfm.simulate import codons
from plantgfm.simulate.background import Background
from plantgfm.simulate.columns import Kind
from plantgfm.simulate.config import WorldConfig
from plantgfm.simulate.species import ROOT_GC, ROOT_GC3

DOMAINS = 24  # protein domains that genes share; the first is the auxin family's
DOMAIN_VARIATION = 0.3
INTRON_GC = 0.33  # introns of plants are rich in U (Goodall & Filipowicz 1989, Cell 58:473)
UTR_GC = 0.37
DOWNSTREAM_BP = 90
MIN_INTRON_BP = 75
BRANCH_POINTS = ("CTAAC", "CTGAC", "TTAAT", "CTAAT")  # CURAY, 20 to 40 bp before the acceptor (Simpson et al. 2002)
POLYA_VARIANTS = ("AATAAT", "AATGAA", "AAGAAA", "ATAAAA", "AATATA", "CATAAA")


@dataclass(frozen=True)
class Gene:
    """A gene with its promoter, in the reading direction."""

    code: UInt8[np.ndarray, "P"]
    kind: UInt8[np.ndarray, "P"]  # Kind
    auxin: bool  # of the auxin-response family


class _Strip:
    """A growing sequence with what each base is for."""

    def __init__(self):
        self.codes: list[np.ndarray] = []
        self.kinds: list[np.ndarray] = []

    def add(self, codes: np.ndarray, kind: Kind | np.ndarray) -> None:
        self.codes.append(codes)
        self.kinds.append(np.broadcast_to(np.asarray(kind, dtype=np.uint8), codes.shape))

    def paste(self, text: str, at: int, kind: Kind) -> None:
        """Write a motif over the last part, `at` counted from its start."""
        codes, kinds = self.codes[-1].copy(), self.kinds[-1].copy()
        codes[at : at + len(text)] = encode(text)
        kinds[at : at + len(text)] = kind
        self.codes[-1], self.kinds[-1] = codes, kinds


def make_domains(rng: np.random.Generator) -> list[np.ndarray]:
    """Protein domains that the genes of the root are built from."""
    return [codons.protein(rng, int(rng.integers(50, 111))) for _ in range(DOMAINS)]


def make_gene(
    rng: np.random.Generator, config: WorldConfig, *, background: Background, domains: list[np.ndarray], auxin: bool
) -> Gene:
    """One gene of the root."""
    strip = _Strip()
    _promoter(strip, rng, config, background=background, auxin=auxin)
    length = max(25, int(rng.gamma(3.0, config.mean_utr5_bp / 3)))
    strip.add(background.draw(rng, length, UTR_GC), Kind.UTR5)
    strip.paste("AACA", length - 4, Kind.UTR5)  # context of the start codon, AACAATGGC (Joshi 1987)
    _coding(strip, rng, config, background=background, residues=_protein(rng, config, domains, auxin=auxin))
    _trailer(strip, rng, config, background=background)
    return Gene(np.concatenate(strip.codes), np.concatenate(strip.kinds), auxin)


def _protein(rng: np.random.Generator, config: WorldConfig, domains: list[np.ndarray], *, auxin: bool) -> np.ndarray:
    length = int(np.clip(rng.lognormal(np.log(config.median_protein_aa), 0.45), 110, 800))
    chosen = [0] if auxin else rng.integers(1, len(domains), size=int(rng.integers(0, 3))).tolist()
    parts = [codons.protein(rng, max(20, length // (len(chosen) + 1)))]
    for index in chosen:
        parts += [codons.varied(rng, domains[index], DOMAIN_VARIATION), codons.protein(rng, int(rng.integers(10, 40)))]
    return np.concatenate(parts)


def _promoter(strip: _Strip, rng: np.random.Generator, config: WorldConfig, *, background: Background, auxin: bool):
    """Upstream of the transcription start: TATA box, Y patch, boxes, and AuxRE where the gene answers to auxin."""
    length = config.promoter_bp
    strip.add(background.draw(rng, length, ROOT_GC - 0.06), Kind.PROMOTER)
    if auxin:  # composite elements: TGTCTC beside a coupling box (Ulmasov et al. 1995, PMC161020)
        for place in rng.permutation(np.arange(90, length - 40, 35))[: int(rng.integers(2, 5))]:
            strip.paste("CCTCGTGTCTC", length - int(place) - 11, Kind.AUXRE)
    elif rng.random() < 0.3:
        strip.paste("CACGTG", length - int(rng.integers(110, 220)), Kind.BOX)  # G box
    if rng.random() < 0.4:
        strip.paste("CCAAT", length - int(rng.integers(70, 86)), Kind.BOX)
    if rng.random() < config.tata_fraction:
        strip.paste("TCACTATATATAG", length - int(rng.integers(34, 41)), Kind.TATA)
    if rng.random() < config.y_patch_fraction:
        strip.paste("CTCTTCTC", length - int(rng.integers(16, 21)), Kind.BOX)
    strip.paste("CA", length - 2, Kind.BOX)  # YR rule at the start (Yamamoto et al. 2007)


def _coding(strip: _Strip, rng: np.random.Generator, config: WorldConfig, *, background: Background, residues) -> None:
    body = codons.coding_sequence(rng, residues, ROOT_GC3, background)
    stop = encode(codons.STOPS[int(rng.choice(3, p=[0.4, 0.2, 0.4]))])
    codes = np.concatenate([encode("ATG"), body, stop])
    kinds = np.concatenate(
        [[Kind.START] * 3, np.tile([Kind.CDS1, Kind.CDS2, Kind.CDS3], residues.size), [Kind.STOP] * 3]
    ).astype(np.uint8)
    count = min(int(rng.poisson(config.mean_introns)), body.size // 120)
    cuts = np.sort(rng.choice(np.arange(40, body.size - 40, 30), size=count, replace=False)) + rng.integers(
        0, 30, count
    )
    last = 0
    for cut in cuts.tolist():
        strip.add(codes[last:cut], kinds[last:cut])
        _intron(strip, rng, config, background=background)
        last = cut
    strip.add(codes[last:], kinds[last:])


def _intron(strip: _Strip, rng: np.random.Generator, config: WorldConfig, *, background: Background) -> None:
    length = MIN_INTRON_BP + int(rng.exponential(config.mean_intron_bp - MIN_INTRON_BP))
    codes = background.draw(rng, length, INTRON_GC)
    codes[(codes == 0) & (rng.random(length) < 0.25)] = 3
    strip.add(codes, Kind.INTRON)
    strip.paste("AAGT" if rng.random() < 0.5 else "GAAT", 2, Kind.BRANCH)
    strip.paste(BRANCH_POINTS[int(rng.integers(len(BRANCH_POINTS)))], length - int(rng.integers(28, 38)), Kind.BRANCH)
    tract = np.where(rng.random(14) < 0.75, "T", np.where(rng.random(14) < 0.5, "C", "A"))
    strip.paste("".join(tract) + "GC"[int(rng.integers(2))] + "C", length - 18, Kind.BRANCH)
    strip.paste("GT", 0, Kind.SPLICE)
    strip.paste("AG", length - 2, Kind.SPLICE)


def _trailer(strip: _Strip, rng: np.random.Generator, config: WorldConfig, *, background: Background) -> None:
    length = max(60, int(rng.gamma(3.0, config.mean_utr3_bp / 3)))
    strip.add(background.draw(rng, length, UTR_GC - 0.03), Kind.UTR3)
    canonical = rng.random() < config.canonical_polya_fraction
    signal = "AATAAA" if canonical else POLYA_VARIANTS[int(rng.integers(len(POLYA_VARIANTS)))]
    strip.paste(signal, length - int(rng.integers(18, 29)), Kind.POLYA)
    strip.paste("TTGTTT", length - int(rng.integers(42, 50)), Kind.UTR3)  # far upstream element, rich in U
    strip.add(background.draw(rng, DOWNSTREAM_BP, UTR_GC - 0.05), Kind.PROMOTER)

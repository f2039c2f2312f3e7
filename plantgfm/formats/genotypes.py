"""SNP genotypes of a VCF file as dosages, and what its header says of each sample.

Format: VCF 4.1 to 4.4 (https://samtools.github.io/hts-specs/VCFv4.4.pdf). `##SAMPLE=<ID=...,DOI=...,EXT_ID=...>` lines
link samples to genebanks (Beier et al. 2022, doi:10.12688/f1000research.109080.2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int8, Int64, UInt8

from plantgfm.formats.errors import FormatError
from plantgfm.formats.numbers import is_whole
from plantgfm.formats.streams import text_lines
from plantgfm.sequence import encode

MISSING = -1
_FIXED = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT")


@dataclass(frozen=True)
class Genotypes:
    """Biallelic SNPs of a set of samples."""

    samples: list[str]
    dosages: Int8[np.ndarray, "sites samples"]  # alternative alleles of two: 0, 1, 2; -1 missing
    links: dict[str, list[str]] = field(default_factory=dict)  # sample -> DOI and EXT_ID values of its ##SAMPLE line
    skipped: int = 0  # sites that are no biallelic SNP
    sequence: list[str] = field(default_factory=list)  # of each site
    start: Int64[np.ndarray, "sites"] = field(default_factory=lambda: np.zeros(0, np.int64))  # 0-based
    ref: UInt8[np.ndarray, "sites"] = field(default_factory=lambda: np.zeros(0, np.uint8))  # base code
    alt: UInt8[np.ndarray, "sites"] = field(default_factory=lambda: np.zeros(0, np.uint8))

    def identity(self, sample: str) -> tuple[np.ndarray, np.ndarray]:
        """Identity by state of one sample with each, float [samples], and the sites that both have, int [samples]."""
        own = self.dosages[:, self.samples.index(sample)]
        known = own >= 0
        others = self.dosages[known].astype(np.int16)
        called = others >= 0
        apart = np.abs(others - own[known, None].astype(np.int16)) * called
        sites = called.sum(axis=0)
        return 1.0 - apart.sum(axis=0) / np.maximum(1, 2 * sites), sites


def read_genotypes(path: str | Path) -> Genotypes:
    """The biallelic SNPs of a VCF file, plain or compressed; other sites are counted and left out.

    A haploid call counts twice. A call with more than two alleles, or of no allele, is missing.

    Raises:
        FormatError: no VCF, no samples, a sample twice, a line with another number of columns, a bad position or
            genotype.
    """
    path = Path(path)
    samples: list[str] = []
    links: dict[str, list[str]] = {}
    rows, skipped = [], 0
    places: list[tuple[str, int, str, str]] = []
    codes: dict[str, int] = {}
    for number, line in text_lines(path):
        if line.startswith("##"):
            _add_link(line, links)
        elif line.startswith("#CHROM"):
            samples = _samples(path, line, number)
        elif line.strip():
            if not samples:
                raise FormatError(path, "a line of genotypes before the header #CHROM", line=number)
            cells = line.split("\t")
            if len(cells) != len(_FIXED) + len(samples):
                text = f"{len(cells)} columns where the header has {len(_FIXED) + len(samples)}"
                raise FormatError(path, text, line=number)
            if not (len(cells[3]) == 1 and cells[3].upper() in "ACGT" and cells[4].upper() in ("A", "C", "G", "T")):
                skipped += 1
                continue
            if not is_whole(cells[1]) or int(cells[1]) < 1:
                raise FormatError(path, f"POS {cells[1]!r} is no whole number from 1 on", line=number)
            places.append((cells[0], int(cells[1]) - 1, cells[3], cells[4]))
            rows.append(_dosages(path, cells, number, codes))
    if not samples:
        raise FormatError(path, "is no VCF with samples: it has no line #CHROM")
    table = np.array(rows, dtype=np.int8).reshape(-1, len(samples))
    sequence, start, ref, alt = zip(*places) if places else ((), (), (), ())
    bases = [encode("".join(letters)) for letters in (ref, alt)]
    return Genotypes(samples, table, links, skipped, list(sequence), np.array(start, np.int64), *bases)


def _samples(path: Path, line: str, number: int) -> list[str]:
    cells = line.split("\t")
    if tuple(cells[: len(_FIXED)]) != _FIXED:
        raise FormatError(path, f"the header is no {' '.join(_FIXED)} with samples, tab-separated", line=number)
    samples = [cell.strip() for cell in cells[len(_FIXED) :]]
    if not samples or len(set(samples)) < len(samples):
        raise FormatError(path, "has no samples, or one of them twice", line=number)
    return samples


def _add_link(line: str, links: dict[str, list[str]]) -> None:
    found = re.fullmatch(r"##SAMPLE=<(.*)>", line.strip())
    if not found:
        return
    pairs = re.findall(r'(\w+)=("[^"]*"|[^,]*)', found.group(1))
    values = {key: value.strip('"') for key, value in pairs}
    links[values.get("ID", "")] = [values[key] for key in ("DOI", "EXT_ID") if values.get(key)]


def _dosages(path: Path, cells: list[str], number: int, codes: dict[str, int]) -> list[int]:
    if cells[8].split(":")[0] != "GT":
        raise FormatError(path, f"FORMAT {cells[8]!r} does not begin with GT", line=number)
    row = []
    for cell in cells[len(_FIXED) :]:
        call = cell.split(":", 1)[0]
        if call not in codes:
            codes[call] = _dosage(path, call, number)
        row.append(codes[call])
    return row


def _dosage(path: Path, call: str, number: int) -> int:
    if not re.fullmatch(r"(\.|[0-9]+)([/|](\.|[0-9]+))*", call):
        raise FormatError(path, f"genotype {call!r} is no allele numbers with / or | between", line=number)
    alleles = re.split(r"[/|]", call)
    if len(alleles) > 2 or not set(alleles) <= {"0", "1"}:
        return MISSING
    return sum(map(int, alleles)) * (2 // len(alleles))

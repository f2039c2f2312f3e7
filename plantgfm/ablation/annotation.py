"""What annotation says of the bases of a corpus: coding, intron, intergenic; kinds of repeats; how far genes are.

Records of assemblies without annotation, and those that their annotation does not mention, are left out: nothing is
known of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from plantgfm.corpus.segments import CorpusRecord
from plantgfm.formats.gff3 import read_gff3
from plantgfm.schema import Assembly, Feature

INTERGENIC, OTHER, INTRON, CODING = range(4)
GENE_CLASSES = {CODING: "coding", INTRON: "intron", INTERGENIC: "intergenic"}
"""Classes that are probed; what is neither (untranslated, pseudogenes, RNA genes) is `OTHER`."""
LTR, DNA, TANDEM = 1, 2, 3
REPEAT_CLASSES = {0: "no repeat", LTR: "LTR retrotransposon", DNA: "DNA transposon", TANDEM: "tandem repeat"}
_UNNAMED = 4  # a repeat of another kind
_KINDS = {"LTR": LTR, "TIR": DNA, "MITE": DNA, "terminal_inverted": DNA, "satellite": TANDEM, "telomer": TANDEM}
_WHOLE = {"region", "chromosome", "contig", "scaffold", "supercontig", "sequence", "biological_region"}
_UNTRANSLATED = {"exon", "five_prime_UTR", "three_prime_UTR", "UTR"}
_GENE = "gene"


class Annotation:
    """The GFF3 files of a corpus' assemblies, each read when a record of it is first asked for."""

    def __init__(self, assemblies: list[Assembly], *, repeats: Mapping[Path, Path] | None = None):
        """Match files to records by species, cultivar and assembly.

        Args:
            assemblies: of the manifest.
            repeats: GFF3 of repeats by the FASTA file that it annotates.
        """
        named = [((one.species, one.cultivar, one.assembly), one) for one in assemblies]
        self._genes = {key: one.annotation for key, one in named if one.annotation is not None}
        repeats = repeats or {}
        self._repeats = {key: repeats[one.fasta] for key, one in named if one.fasta in repeats}
        self._read: dict[Path, dict[str, list[Feature]]] = {}
        self._painted: dict[tuple, UInt8[np.ndarray, "P"] | None] = {}

    @property
    def has_genes(self) -> bool:
        """Whether any assembly has a file of genes."""
        return bool(self._genes)

    @property
    def has_repeats(self) -> bool:
        """Whether any assembly has a file of repeats."""
        return bool(self._repeats)

    def _features(self, files: dict[tuple, Path], record: CorpusRecord) -> list[Feature]:
        path = files.get((record.species, record.cultivar, record.assembly))
        if path is None:
            return []
        if path not in self._read:
            by_sequence: dict[str, list[Feature]] = defaultdict(list)
            for feature in read_gff3(path):
                by_sequence[feature.interval.sequence].append(feature)
            self._read[path] = by_sequence
        return [one for one in self._read[path].get(record.name, []) if one.type not in _WHOLE]

    def genes(self, record: CorpusRecord) -> UInt8[np.ndarray, "P"] | None:
        """The class of every base by `GENE_CLASSES` and `OTHER`; None for a record without a gene."""
        key = ("genes", record.offset)
        if key not in self._painted:
            features = self._features(self._genes, record)
            known = any(feature.type == _GENE for feature in features)
            self._painted[key] = paint_genes(features, record) if known else None
        return self._painted[key]

    def repeats(self, record: CorpusRecord) -> UInt8[np.ndarray, "P"] | None:
        """The class of every base by `REPEAT_CLASSES`, 4 in repeats of other kinds; None for a record without any."""
        key = ("repeats", record.offset)
        if key not in self._painted:
            features = self._features(self._repeats, record)
            self._painted[key] = paint_repeats(features, record) if features else None
        return self._painted[key]

    def gene_spans(self, record: CorpusRecord) -> Int64[np.ndarray, "G 2"]:
        """Starts and ends of the record's genes in the record, in order, those that overlap merged; none: [0, 2]."""
        spans = [one.interval for one in self._features(self._genes, record) if one.type == _GENE]
        merged: list[list[int]] = []
        for start, end in sorted((span.start - record.start, span.end - record.start) for span in spans):
            if merged and start <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([start, end])
        return np.array(merged, np.int64).reshape(-1, 2)


def _within(feature: Feature, record: CorpusRecord) -> slice:
    """The feature's place in a record that may be a piece of a sequence."""
    start, end = (at - record.start for at in (feature.interval.start, feature.interval.end))
    return slice(max(start, 0), max(end, 0))


def paint_genes(features: list[Feature], record: CorpusRecord) -> UInt8[np.ndarray, "P"]:
    """Classes of bases: an intron lies between coding parts of a transcript and is neither exon nor coding anywhere.

    What lies in a gene before its first coding part or after its last is untranslated or not known, so `OTHER`.
    """
    painted = np.full(record.length_bp, INTERGENIC, np.uint8)
    coding: dict[str, list[Feature]] = defaultdict(list)
    for feature in features:
        painted[_within(feature, record)] = OTHER
        if feature.type == "CDS":
            for parent in feature.attributes.get("Parent", ()):
                coding[parent].append(feature)
    for parts in coding.values():
        first, last = min(p.interval.start for p in parts), max(p.interval.end for p in parts)
        painted[max(first - record.start, 0) : max(last - record.start, 0)] = INTRON
    for kinds, number in ((_UNTRANSLATED, OTHER), ({"CDS"}, CODING)):
        for feature in features:
            if feature.type in kinds:
                painted[_within(feature, record)] = number
    return painted


def repeat_class(kind: str) -> int:
    """The class of a feature type: a term of the Sequence Ontology, or one that EDTA writes."""
    return next((number for word, number in _KINDS.items() if word in kind), _UNNAMED)


def paint_repeats(features: list[Feature], record: CorpusRecord) -> UInt8[np.ndarray, "P"]:
    """Classes of bases; of repeats in repeats the later in the file wins."""
    painted = np.zeros(record.length_bp, np.uint8)
    for feature in features:
        painted[_within(feature, record)] = repeat_class(feature.type)
    return painted


def gene_distance_bp(positions: Int64[np.ndarray, "N"], spans: Int64[np.ndarray, "G 2"]) -> Int64[np.ndarray, "N"]:
    """Base pairs from each position to the nearest gene, 0 inside one; spans are in order and apart."""
    after = np.searchsorted(spans[:, 0], positions, side="right")
    before = np.where(after > 0, positions - spans[np.maximum(after - 1, 0), 1] + 1, np.iinfo(np.int64).max)
    ahead = np.where(
        after < len(spans), spans[np.minimum(after, len(spans) - 1), 0] - positions, np.iinfo(np.int64).max
    )
    return np.maximum(np.minimum(before, ahead), 0)

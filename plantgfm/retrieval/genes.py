"""Genes of an annotated genome as queries: whole, their coding sequence, or their promoter. No label passes here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from plantgfm.formats.errors import FormatError
from plantgfm.formats.fasta import read_fasta
from plantgfm.formats.gff3 import read_gff3
from plantgfm.formats.streams import text_lines
from plantgfm.retrieval.config import QueryPart
from plantgfm.schema import Feature, Record
from plantgfm.sequence import Interval, reverse_complement

_ENSEMBL_PREFIX = "gene:"  # Ensembl writes ID=gene:AT5G20730; its tables of orthologs say AT5G20730


@dataclass(frozen=True)
class CutGenes:
    """What was cut out of a genome, and which genes have no such part."""

    records: list[Record]
    without: list[str]  # genes that nobody asked for by name and that have no coding sequence, or lie on both strands


def read_gene_ids(path: Path) -> list[str]:
    """Gene ids in their order: one a line, or the column `gene` of a table, as of trait, pathway and gene.

    A table is what has a tab in its first line. A gene that stands in it for several traits or pathways is taken once;
    what the other columns say is not kept.

    Raises:
        FormatError: for a file that holds none, a table without that column, or a row without a gene.
    """
    lines = [(number, line.rstrip("\r\n")) for number, line in text_lines(path) if line.strip()]
    if not lines:
        raise FormatError(path, "holds no gene id: give one a line")
    header = [name.strip().lower() for name in lines[0][1].rstrip().split("\t")]
    if len(header) == 1:
        return [line.strip() for _, line in lines]
    if "gene" not in header:
        raise FormatError(path, "is a table without a column 'gene': name it so", line=lines[0][0])
    ids, column = {}, header.index("gene")
    for number, line in lines[1:]:
        gene = (line.split("\t") + [""] * len(header))[column].strip()
        if not gene:
            raise FormatError(path, "row without a gene: remove it", line=number)
        ids[gene] = None
    if not ids:
        raise FormatError(path, "holds no gene below its header: give one a row")
    return list(ids)


def cut_genes(
    genome: Path,
    annotation: Path,
    *,
    gene_ids: Iterable[str] | None = None,
    part: QueryPart = QueryPart.GENE,
    flank_bp: int = 0,
    upstream_bp: int = 2000,
    downstream_bp: int = 300,
) -> CutGenes:
    """Genes of an annotated genome, on their own strand, in the order asked for; all of them for None.

    An id is that of a feature of type `gene`, with or without Ensembl's prefix `gene:`.

    Args:
        genome: FASTA.
        annotation: GFF3 of that genome.
        gene_ids: which genes, by ID.
        part: all of the gene, its longest coding sequence, or from upstream to downstream of its start.
        flank_bp: added on both sides of a whole gene.
        upstream_bp: of a promoter; less where the sequence ends before.
        downstream_bp: of a promoter.

    Raises:
        ValueError: for an id that no gene of the annotation has, a sequence that the genome lacks, coordinates past its
            end, a gene that was asked for and has no coding sequence, or a promoter of a gene without a strand.
    """
    records = {record.name: record for record in read_fasta(genome)}
    features = read_gff3(annotation, lengths={name: record.length_bp for name, record in records.items()})
    genes = _genes(features)
    wanted = list(genes if gene_ids is None else dict.fromkeys(gene_ids))
    if not wanted:
        raise ValueError(f"{annotation} has no feature of type gene with an ID: there is nothing to look for")
    unknown = [name for name in wanted if name.removeprefix(_ENSEMBL_PREFIX) not in genes]
    if unknown:
        raise ValueError(f"{annotation} has no gene {unknown[0]!r} ({len(unknown)} of {len(wanted)} ids are unknown)")
    coding = _coding_spans(features) if part is QueryPart.CDS else {}
    cut, without = [], []
    for name in wanted:
        lines = genes[name.removeprefix(_ENSEMBL_PREFIX)]
        where, codes = _whole(lines), records[lines[0].interval.sequence].codes
        if where is None:
            spans = []
        elif part is QueryPart.PROMOTER:
            span = promoter_of(where, name=name, upstream_bp=upstream_bp, downstream_bp=downstream_bp)
            spans = [(span.start, span.end)]
        elif part is QueryPart.CDS:
            spans = coding.get(lines[0].attributes["ID"][0], [])
        else:
            spans = _apart((one.interval.start, one.interval.end) for one in lines)
            spans[0] = spans[0][0] - flank_bp, spans[0][1]
            spans[-1] = spans[-1][0], spans[-1][1] + flank_bp
        if spans:
            cut.append(_record(name, where, codes, spans))
        else:
            without.append(name)
    if without and (gene_ids is not None or not cut):
        if part is QueryPart.CDS:
            raise ValueError(f"{annotation} has no CDS of gene {without[0]!r}: look for the whole gene")
        raise ValueError(f"gene {without[0]!r} of {annotation} lies on several strands or sequences: leave it out")
    return CutGenes(cut, without)


def promoter_of(gene: Interval, *, name: str, upstream_bp: int, downstream_bp: int) -> Interval:
    """From upstream to downstream of the start of transcription, on the strand of the gene.

    The start is the first base of the gene on its strand; the span is cut at the start of the sequence, and at its end
    by whoever reads the bases.

    Raises:
        ValueError: when the gene has no strand.
    """
    if gene.strand not in ("+", "-"):
        raise ValueError(f"gene {name} has strand {gene.strand!r}: its promoter could lie at either end")
    if gene.strand == "+":
        first, last = gene.start - upstream_bp, gene.start + downstream_bp
    else:
        first, last = gene.end - downstream_bp, gene.end + upstream_bp
    return Interval(gene.sequence, max(first, 0), max(last, 0), gene.strand)


def _genes(features: list[Feature]) -> dict[str, list[Feature]]:
    """The lines of each gene: several where it is told in parts, as GenBank's joined locations are."""
    genes: dict[str, list[Feature]] = defaultdict(list)
    for feature in features:
        if feature.type == "gene" and "ID" in feature.attributes:
            genes[feature.attributes["ID"][0].removeprefix(_ENSEMBL_PREFIX)].append(feature)
    return dict(genes)


def _apart(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in their order, those that overlap or touch as one."""
    out: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = out[-1][0], max(out[-1][1], end)
        else:
            out.append((start, end))
    return out


def _whole(lines: list[Feature]) -> Interval | None:
    """From the first to the last base of a feature; None where it lies on several strands (trans-spliced genes)."""
    places = [one.interval for one in lines]
    if len({(one.sequence, one.strand) for one in places}) > 1:
        return None
    return replace(places[0], start=min(one.start for one in places), end=max(one.end for one in places))


def _coding_spans(features: list[Feature]) -> dict[str, list[tuple[int, int]]]:
    """By gene ID the CDS spans of its transcript with most coding bases; of equals, the first in the file.

    A CDS without a parent, as in conversions of GenBank's tables, belongs to the gene of its name that it overlaps.
    """
    parents = {f.attributes["ID"][0]: f.attributes.get("Parent", ()) for f in features if "ID" in f.attributes}
    by_transcript: dict[str, list[tuple[int, int]]] = defaultdict(list)
    orphans: dict[str, list[Feature]] = defaultdict(list)
    for feature in features:
        if feature.type == "CDS":
            for parent in feature.attributes.get("Parent", ()):
                by_transcript[parent].append((feature.interval.start, feature.interval.end))
            if "Parent" not in feature.attributes and {"ID", "Name"} <= feature.attributes.keys():
                orphans[feature.attributes["ID"][0]].append(feature)
    best: dict[str, list[tuple[int, int]]] = {}
    for transcript, spans in by_transcript.items():
        for gene in parents.get(transcript, ()) or (transcript,):
            if _bases(spans) > _bases(best.get(gene, [])):
                best[gene] = sorted(spans)
    for gene, spans in _adopted(list(orphans.values()), features):
        if _bases(spans) > _bases(best.get(gene, [])):
            best[gene] = sorted(spans)
    return best


def _adopted(orphans: list[list[Feature]], features: list[Feature]) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Each CDS that a gene has, with the ID of the gene."""
    named: dict[str, list[tuple[str, Interval]]] = defaultdict(list)
    for lines in _genes(features).values():
        if "Name" in lines[0].attributes and (where := _whole(lines)) is not None:
            named[lines[0].attributes["Name"][0]].append((lines[0].attributes["ID"][0], where))
    for parts in orphans:
        where = _whole(parts)
        for gene, place in named.get(parts[0].attributes["Name"][0], []):
            same = where is not None and (place.sequence, place.strand) == (where.sequence, where.strand)
            if same and place.start < where.end and where.start < place.end:
                yield gene, [(one.interval.start, one.interval.end) for one in parts]
                break


def _bases(spans: list[tuple[int, int]]) -> int:
    return sum(end - start for start, end in spans)


def _record(name: str, gene: Interval, codes: UInt8[np.ndarray, "P"], spans: list[tuple[int, int]]) -> Record:
    cut = np.concatenate([codes[max(start, 0) : end] for start, end in spans])
    if cut.size == 0:
        raise ValueError(f"no base of {gene.sequence} lies in the part of gene {name} that is asked for")
    oriented = reverse_complement(cut) if gene.strand == "-" else cut
    where = ",".join(f"{max(start, 0)}-{min(end, codes.size)}" for start, end in spans)
    return Record(name, f"{gene.sequence}:{where}({gene.strand})", oriented, np.zeros((0, 2), np.int64))

"""Queries: sequences to look for, from FASTA or cut out of an annotated genome. No label passes here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from plantgfm.embedding.tiles import tile_record
from plantgfm.formats.fasta import read_fasta
from plantgfm.formats.gff3 import read_gff3
from plantgfm.schema import Record
from plantgfm.sequence import UNKNOWN, reverse_complement


@dataclass(frozen=True)
class Query:
    """A sequence to look for, cut into windows no longer than the target's."""

    name: str
    length_bp: int
    windows: list[UInt8[np.ndarray, "_"]]  # base codes


def query_of(record: Record, *, window_bp: int) -> Query:
    """A query from one record: windows of `window_bp` that overlap by half.

    Raises:
        ValueError: when the record holds no known base.
    """
    if not np.any(record.codes != UNKNOWN):
        raise ValueError(f"query {record.name} holds no known base (A, C, G, T): remove it")
    tiles = tile_record(record, window_bp=window_bp, stride_bp=max(window_bp // 2, 1))
    return Query(record.name, record.length_bp, [tile.bases & 7 for tile in tiles])


def fasta_queries(path: Path, *, window_bp: int) -> list[Query]:
    """Every record of a FASTA file as a query."""
    return [query_of(record, window_bp=window_bp) for record in read_fasta(path)]


def cut_genes(
    genome: Path, annotation: Path, *, gene_ids: Iterable[str] | None = None, flank_bp: int = 0
) -> list[Record]:
    """Genes of an annotated genome, on their own strand, with flanks, in the order asked for; all of them for None.

    Raises:
        ValueError: for an id that no `gene` of the annotation has, a sequence that the genome lacks, or coordinates
            past its end.
    """
    records = {record.name: record for record in read_fasta(genome)}
    lengths = {name: record.length_bp for name, record in records.items()}
    genes = [f for f in read_gff3(annotation, lengths=lengths) if f.type == "gene" and "ID" in f.attributes]
    features = {gene.attributes["ID"][0]: gene for gene in genes}
    wanted = list(features if gene_ids is None else dict.fromkeys(gene_ids))
    if not wanted:
        raise ValueError(f"{annotation} has no feature of type gene with an ID: there is nothing to look for")
    unknown = [gene for gene in wanted if gene not in features]
    if unknown:
        raise ValueError(f"{annotation} has no gene {unknown[0]!r} ({len(unknown)} of {len(wanted)} ids are unknown)")
    return [_cut(features[gene].interval, records, name=gene, flank_bp=flank_bp, genome=genome) for gene in wanted]


def _cut(interval, records: dict[str, Record], *, name: str, flank_bp: int, genome: Path) -> Record:
    if interval.sequence not in records:
        raise ValueError(f"{genome} has no sequence {interval.sequence!r}, on which gene {name} lies")
    codes = records[interval.sequence].codes
    cut = codes[max(0, interval.start - flank_bp) : interval.end + flank_bp]
    oriented = reverse_complement(cut) if interval.strand == "-" else cut
    return Record(name, f"{interval.sequence}:{interval.start}-{interval.end}", oriented, np.zeros((0, 2), np.int64))

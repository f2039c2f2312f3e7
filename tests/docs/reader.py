"""The folder of somebody who reads the pages: the files that their commands name, small, and real to the commands."""

import gzip
import tarfile
from pathlib import Path

import numpy as np

from plantgfm.embedding.config import EmbeddingConfig
from plantgfm.export.bundle import FORMAT_VERSION
from plantgfm.formats.bed import BedRow, write_bed
from plantgfm.formats.fasta import write_fasta
from plantgfm.formats.gff3 import write_gff3
from plantgfm.formats.manifest import write_manifest
from plantgfm.schema import Feature
from plantgfm.sequence import BASES, Interval, reverse_complement
from plantgfm.wiring.downstream import embed_files
from tests.curation.small import make_world
from tests.export.test_golden_bundles import GOLDEN
from tests.fixtures import random_codes, record

CHR1_BP = 3_000
GENES = [("gene1", 300, "+"), ("gene2", 800, "-"), ("gene3", 1_300, "+"), ("gene4", 1_800, "-"), ("gene5", 2_300, "+")]
GENE_BP = 200


def make_reader(folder: Path) -> None:
    """Write genomes, annotation, variants, a bundle and its vectors."""
    codes = random_codes(CHR1_BP, seed=2)
    write_fasta(folder / "genome.fa.gz", [record("chr1", codes), record("chr2", random_codes(400, seed=3))])
    features, queries, truth = [], [], ["query\tchr\tstart\tend\tstrand"]
    for name, start, strand in GENES:
        where = Interval("chr1", start, start + GENE_BP, strand)
        features += _gene(name, where)
        piece = codes[start : start + GENE_BP].copy()
        piece[::9] = (piece[::9] + 1) % 4
        queries.append(record(name, reverse_complement(piece) if strand == "-" else piece))
        truth.append(f"{name}\tchr1\t{start}\t{start + GENE_BP}\t{strand}")
    write_gff3(folder / "genome.gff3.gz", features)
    write_fasta(folder / "genes.fa", queries)
    (folder / "truth.tsv").write_text("\n".join(truth) + "\n")
    (folder / "ids.txt").write_text("gene1\ngene3\n")
    write_bed(folder / "regions.bed", [BedRow(Interval("chr1", 300, 500, "+"), "promoter1")])
    _write_variants(folder, codes)
    with tarfile.open(GOLDEN / f"format_{FORMAT_VERSION}.tar.gz") as archive:
        archive.extractall(folder / "runs/mine", filter="data")
    windows = EmbeddingConfig(window_bp=120, batch_windows=8)
    target = {"fasta": folder / "genome.fa.gz", "manifest": None, "config": windows}
    embed_files(folder / "runs/mine/bundle", folder / "vectors.parquet", **target)
    (folder / "empty.fa").write_text("")
    (folder / "protein.fa").write_text(">p\n" + "MKLVINGKTLKG" * 9 + "\n")
    (folder / "unknown.fa").write_text(">n\n" + "N" * 900 + "\n")


def add_genomes(folder: Path) -> None:
    """Write what curation reads: a manifest with one record for each way that a story can go."""
    (folder / "genomes").mkdir()
    rows = make_world(folder / "genomes")
    write_manifest(folder / "genomes/manifest.csv", rows)


def _gene(name: str, where: Interval) -> list[Feature]:
    parent = {"Parent": (f"{name}.1",)}
    return [
        Feature(where, "gene", attributes={"ID": (name,)}),
        Feature(where, "mRNA", attributes={"ID": (f"{name}.1",), "Parent": (name,)}),
        Feature(where, "CDS", phase=0, attributes=parent),
    ]


def _write_variants(folder: Path, codes: np.ndarray) -> None:
    head = "##fileformat=VCFv4.2\n##contig=<ID=chr1>\n"
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
    sites = [(at + 1, BASES[codes[at]], BASES[3 - codes[at]]) for at in (310, 1_000)]
    rows = [f"chr1\t{pos}\t.\t{ref}\t{alt}\t.\tPASS\t." for pos, ref, alt in sites]
    panel = [f"{row}\tGT\t{calls}" for row, calls in zip(rows, ("1/1\t0/0", "0/0\t1/1"))]
    wrong = f"chr1\t5\t.\t{BASES[3 - codes[4]]}\t{BASES[codes[4]]}\t.\tPASS\t."
    for name, header, lines in (
        ("calls", columns, rows),
        ("other_assembly", columns, [wrong]),
        ("lines", f"{columns}\tFORMAT\tCol-0\tLer-0", panel),
    ):
        text = head + "\n".join([header, *lines]) + "\n"
        (folder / f"{name}.vcf.gz").write_bytes(gzip.compress(text.encode()))

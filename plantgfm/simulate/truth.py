"""What is true of a grown genome, read back from its columns: records, genes, repeats, orthologs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8

from plantgfm.schema import Feature
from plantgfm.sequence import REPEAT_BIT, UNKNOWN, Interval, runs_of
from plantgfm.simulate.columns import CODING, COPIES, EXONIC, Columns, Kind
from plantgfm.simulate.repeats import TERMS
from plantgfm.simulate.species import shares_duplication
from plantgfm.simulate.transpose import Registry

SOURCE = "plantgfm"
GAP_BP = 100
GAPS_PER_MB = 5.0
MOTIFS = {Kind.TATA: "TATA_box", Kind.AUXRE: "AuxRE", Kind.POLYA: "polyA_signal_sequence"}
ORTHOLOG_COLUMNS = (
    "gene_id", "query_species", "query_chr", "query_start", "query_end", "query_strand",
    "species", "chr", "start", "end", "strand", "identity",
)  # fmt: skip


@dataclass(frozen=True)
class Genome:
    """A finished species: its columns with chromosomes by falling length, and their names."""

    species: str
    code_name: str  # four letters that open its gene names
    columns: Columns
    names: list[str]  # of the chromosomes, in order
    bounds: list[tuple[int, int]]  # of each chromosome in the columns

    def records(self) -> list[tuple[str, UInt8[np.ndarray, "P"]]]:
        """(name, base codes with repeat bit) of each chromosome."""
        bits = np.where(self.columns.copy >= 0, REPEAT_BIT, 0).astype(np.uint8)
        return [(name, (self.columns.code | bits)[a:b]) for name, (a, b) in zip(self.names, self.bounds)]

    def place(self, position: int) -> tuple[int, int]:
        """(number of the chromosome, position in it) of a column."""
        number = next(i for i, (_, end) in enumerate(self.bounds) if position < end)
        return number, position - self.bounds[number][0]

    def interval(self, start: int, end: int, strand: int) -> Interval:
        """The span of columns as an interval of its chromosome."""
        number, first = self.place(start)
        return Interval(self.names[number], first, first + end - start, {1: "+", -1: "-", 0: "."}[strand])


def finish(columns: Columns, species: str, rng: np.random.Generator) -> Genome:
    """Sort and name chromosomes, and put a few sequencing gaps of 100 unknown bases between genes."""
    spans = sorted(columns.spans(), key=lambda span: (span[1] - span[2], span[0]))
    columns = columns.take(np.concatenate([np.arange(start, end) for _, start, end in spans]))
    ends = np.cumsum([end - start for _, start, end in spans]).tolist()
    bounds = list(zip([0, *ends[:-1]], ends))
    names = [f"chr{i + 1}" for i in range(len(bounds) - 1)] + [f"scaffold_{len(bounds)}"]
    free = np.flatnonzero(columns.gene[:-GAP_BP] < 0)
    count = min(int(rng.poisson(GAPS_PER_MB * len(columns) / 1e6)), 50)
    for at in rng.choice(free, size=count).tolist():
        inside = next((a, b) for a, b in bounds if at < b)
        if at > inside[0] + 1000 and at + GAP_BP < inside[1] - 1000 and (columns.gene[at : at + GAP_BP] < 0).all():
            columns.code[at : at + GAP_BP] = UNKNOWN
    genus, epithet = species.split()
    return Genome(species, (genus[:2] + epithet[:2]).title(), columns, names, bounds)


def gene_name(genome: Genome, gene: int) -> str:
    """Name of a gene copy: species, number of the root gene, copy."""
    return f"{genome.code_name}{gene // COPIES:05d}{'ab'[gene % COPIES]}"


def gene_spans(genome: Genome) -> dict[int, tuple[int, int, int]]:
    """(start, end, strand) in columns of each transcribed gene, by copy id."""
    flags = np.zeros(len(Kind), dtype=bool)
    flags[list(EXONIC)] = True
    at = np.flatnonzero(flags[genome.columns.kind])
    genes, first, counts = np.unique(genome.columns.gene[at], return_index=True, return_counts=True)
    order = np.argsort(first)
    spans = {}
    for i in order.tolist():
        members = at[genome.columns.gene[at] == genes[i]] if counts[i] else at[:0]
        strand = int(genome.columns.strand[members[0]])
        spans[int(genes[i])] = (int(members[0]), int(members[-1]) + 1, strand)
    return spans


def annotation(genome: Genome, auxin: np.ndarray) -> list[Feature]:
    """GFF3 features of all genes, in order of position: gene, mRNA, UTRs, exons, CDS."""
    features = []
    for gene, span in sorted(gene_spans(genome).items(), key=lambda item: item[1]):
        features += _gene_features(genome, gene, span, auxin=bool(auxin[gene // COPIES]))
    return features


def _gene_features(genome: Genome, gene: int, span: tuple[int, int, int], *, auxin: bool) -> list[Feature]:
    name = gene_name(genome, gene)
    start, end, strand = span
    whole = Feature(genome.interval(start, end, strand), "gene", SOURCE, attributes={"ID": (name,), "Name": (name,)})
    if auxin:
        whole = replace(whole, attributes={**whole.attributes, "Note": ("auxin response",)})
    transcript = f"{name}.1"
    features = [whole, replace(whole, type="mRNA", attributes={"ID": (transcript,), "Parent": (name,)})]
    parts = (
        ("five_prime_UTR", (Kind.UTR5,)), ("exon", EXONIC), ("CDS", CODING),
        ("three_prime_UTR", (Kind.UTR3, Kind.POLYA)),
    )  # fmt: skip
    kind = np.where(genome.columns.gene[start:end] == gene, genome.columns.kind[start:end], Kind.INTERGENIC)
    for term, kinds in parts:
        runs = runs_of(np.isin(kind, kinds)) + start
        phases = _phases(runs, strand) if term == "CDS" else [None] * len(runs)
        for number, ((a, b), phase) in enumerate(zip(runs.tolist(), phases), 1):
            attributes = {"ID": (f"{transcript}.{term}{number}",), "Parent": (transcript,)}
            features.append(Feature(genome.interval(a, b, strand), term, SOURCE, phase=phase, attributes=attributes))
    return features


def _phases(runs: np.ndarray, strand: int) -> list[int]:
    """GFF3 phase of each coding run, in order of position."""
    lengths = (runs[:, 1] - runs[:, 0])[::strand]
    before = np.cumsum(lengths) - lengths
    return (-before % 3)[::strand].tolist()


def motifs(genome: Genome) -> list[Feature]:
    """GFF3 features of the planted motifs: TATA boxes, auxin response elements, poly-A signals."""
    features = []
    for kind, term in MOTIFS.items():
        for start, end in runs_of(genome.columns.kind == kind).tolist():
            strand, gene = int(genome.columns.strand[start]), int(genome.columns.gene[start])
            attributes = {"ID": (f"{genome.code_name}_{term}_{start}",), "gene": (gene_name(genome, gene),)}
            where = genome.interval(start, end, strand)
            kind_term = "TF_binding_site" if term == "AuxRE" else term
            features.append(Feature(where, kind_term, SOURCE, attributes={**attributes, "Name": (term,)}))
    return sorted(features, key=lambda one: (genome.names.index(one.interval.sequence), one.interval.start))


def repeats(genome: Genome, registry: Registry, *, depth: float) -> list[Feature]:
    """GFF3 features of all repeats; a copy that a later insertion splits is one feature for each fragment.

    Attribute `age` is the neutral distance since insertion, substitutions a site; `element` names the copy.
    """
    copy = genome.columns.copy
    starts = {start for start, _ in genome.bounds}
    edges = np.flatnonzero(np.concatenate(([True], copy[1:] != copy[:-1], [True])))
    edges = np.unique(np.concatenate([edges, sorted(starts), [len(copy)]]))
    features, fragments = [], {}
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist()):
        number = int(copy[start])
        if number < 0:
            continue
        fragments[number] = fragments.get(number, 0) + 1
        element = f"{genome.code_name}_R{number:06d}"
        attributes = {
            "ID": (f"{element}.{fragments[number]}",), "Name": (registry.family[number],), "element": (element,),
            "order": (registry.order[number],), "age": (f"{depth - registry.age[number]:.4f}",),
        }  # fmt: skip
        where = genome.interval(start, end, int(genome.columns.strand[start]))
        features.append(Feature(where, TERMS[registry.order[number]][0], SOURCE, attributes=attributes))
    return features


def orthologs(queries: list[Genome], target: Genome) -> list[dict[str, object]]:
    """Rows of the ortholog table: genes of the query species and their orthologs in the target.

    Where the target alone doubled its genome, both copies are orthologs; where both did together, only the same copy.
    Identity is that of homologous sites present in both transcribed regions, introns included.
    """
    rows = []
    target_spans = gene_spans(target)
    for query in queries:
        same_copy = shares_duplication(query.species, target.species)
        for gene, span in sorted(gene_spans(query).items()):
            copies = [gene] if same_copy else [gene // COPIES * COPIES + i for i in range(COPIES)]
            rows += [
                _ortholog_row(query, gene, span, target, copy, target_spans[copy])
                for copy in copies
                if copy in target_spans
            ]
    return rows


def _ortholog_row(query: Genome, gene: int, span: tuple, target: Genome, copy: int, target_span: tuple) -> dict:
    identity = _identity(_sites(query, gene, span), _sites(target, copy, target_span))
    one, two = query.interval(*span), target.interval(*target_span)
    values = (
        gene_name(query, gene), query.species, one.sequence, one.start, one.end, one.strand,
        target.species, two.sequence, two.start, two.end, two.strand, f"{identity:.4f}",
    )  # fmt: skip
    return dict(zip(ORTHOLOG_COLUMNS, values))


def _sites(genome: Genome, gene: int, span: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    start, end, strand = span
    columns = genome.columns
    ours = (columns.gene[start:end] == gene) & (columns.site[start:end] >= 0) & (columns.copy[start:end] < 0)
    code = columns.code[start:end][ours].astype(np.int64)
    return columns.site[start:end][ours], code if strand > 0 else 3 - code


def _identity(one: tuple[np.ndarray, np.ndarray], two: tuple[np.ndarray, np.ndarray]) -> float:
    shared, i, j = np.intersect1d(one[0], two[0], return_indices=True)
    return float((one[1][i] == two[1][j]).mean()) if shared.size else 0.0

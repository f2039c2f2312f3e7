"""Marker genes by k-mers: genes are found through introns and some divergence, and a genome that lacks them falls."""

import numpy as np
import pytest

from plantgfm.curation.config import CompletenessConfig, ContaminationConfig, CurationConfig
from plantgfm.curation.curate import curate
from plantgfm.curation.markers import MarkerSearch
from plantgfm.formats.errors import FormatError
from plantgfm.formats.fasta import write_fasta
from plantgfm.sequence import reverse_complement
from plantgfm.sketch import fraction
from tests.curation.planted import finals, flags, mutated, random_codes, write_assembly
from tests.formats import reports

SKETCHING = ContaminationConfig()
GENES = [random_codes(1_800, 700 + i) for i in range(10)]


def genes_file(folder, genes=GENES):
    folder.mkdir(parents=True, exist_ok=True)
    write_fasta(folder / "genes.fa", [(f"g{i}", codes) for i, codes in enumerate(genes)])
    return folder / "genes.fa"


def genome(genes, *, spacer_bp=3_000):
    parts = [part for i, gene in enumerate(genes) for part in (random_codes(spacer_bp, 800 + i), gene)]
    return np.concatenate([*parts, random_codes(spacer_bp, 850)])


def count(folder, codes, genes=GENES, **asked):
    search = MarkerSearch(genes_file(folder, genes), SKETCHING)
    for part in np.array_split(codes, [20_000]):  # as two records
        search.add(fraction(part, k=21, scaled=50)[0])
    return search.count(CompletenessConfig(**asked))


def test_genes_are_found_on_either_strand_and_through_introns(tmp_path):
    split = [np.concatenate([g[:700], random_codes(400, 720 + i), g[700:]]) for i, g in enumerate(GENES[:3])]
    there = [*split, *(np.ascontiguousarray(reverse_complement(g)) for g in GENES[3:6])]
    found = count(tmp_path, genome(there))
    assert (found.tool, found.lineage, found.markers) == ("k-mer containment", "genes.fa", 10)
    assert (found.complete, found.fragmented, found.missing) == (0.6, 0.0, 0.4)
    assert "C:60.0%" in found.describe() and "M:40.0%" in found.describe()


def test_a_part_of_a_gene_is_a_fragment_and_divergence_ends_it(tmp_path):
    assert count(tmp_path, genome([g[:450] for g in GENES])).fragmented == 1.0
    assert count(tmp_path, genome([mutated(g, 0.995, i) for i, g in enumerate(GENES)])).complete == 1.0
    assert count(tmp_path, genome([mutated(g, 0.90, i) for i, g in enumerate(GENES)])).complete == 0.0
    assert count(tmp_path, genome([g[:450] for g in GENES]), min_marker_containment=0.1).complete == 1.0


def test_short_genes_are_left_out_and_a_file_of_them_is_refused(tmp_path):
    assert count(tmp_path, genome(GENES), [*GENES, random_codes(60, 730)]).markers == 10
    with pytest.raises(FormatError, match="about 250 bp are needed"):
        count(tmp_path, genome(GENES), [random_codes(60, 730)])
    with pytest.raises(ValueError, match="min_marker_containment = 0"):
        CompletenessConfig(min_marker_containment=0)


def test_a_genome_without_its_genes_falls_a_piece_is_flagged_and_a_summary_comes_first(tmp_path):
    genes = genes_file(tmp_path)

    def run(name, codes, **more):
        row = write_assembly(tmp_path / name, name, [("r", codes)], marker_genes=genes, **more)
        return curate([row], CurationConfig(), store=tmp_path / "store")

    half, whole = genome(GENES[:4]), genome(GENES)
    lacking = run("lacking", half, expected_size_bp=half.size)
    assert finals(lacking) == {("lacking", "r"): ("completeness", "genes_missing")}
    (final,) = lacking.ledger.decisions
    assert "k-mer containment against genes.fa finds C:40.0%" in final.evidence
    assert flags(run("piece", half)) == {("piece", "r"): {"genes_missing"}}
    assert finals(run("fine", whole, expected_size_bp=whole.size)) == {("fine", "r"): ("accepted", "accepted")}
    (tmp_path / "summary.txt").write_text(reports.COMPLEASM)
    told = run("told", half, expected_size_bp=half.size, busco=tmp_path / "summary.txt")
    assert finals(told) == {("told", "r"): ("accepted", "accepted")}

"""Assembly score: N50 and its kin against hand counts; only whole genomes are judged."""

import math

import numpy as np
import pytest

from plantgfm.curation import assembly_score
from plantgfm.curation.assemblies import COLUMNS
from plantgfm.curation.config import AssemblyScoreConfig, CurationConfig
from plantgfm.curation.curate import curate
from plantgfm.curation.facts import RecordFacts
from plantgfm.formats.tables import read_tsv
from plantgfm.schema import Outcome, Record
from plantgfm.sequence import reverse_complement
from plantgfm.sketch import fraction
from tests.curation.planted import facts_of, random_codes, write_assembly
from tests.formats.reports import COMPLEASM

CONFIG = AssemblyScoreConfig()


def facts(*lengths, unknown=0.0):
    return [
        RecordFacts(f"r{i}", "", bp, int(unknown * bp), int(0.4 * (1 - unknown) * bp), 0, 0)
        for i, bp in enumerate(lengths)
    ]


def test_metrics_equal_hand_counts():
    found = assembly_score.assembly_metrics(facts(50, 30, 20), 200, CONFIG)
    assert (found.records, found.length_bp, found.n50_bp, found.l50) == (3, 100, 50, 1)
    assert found.ng50_bp == 20
    assert found.aun_bp == pytest.approx((2500 + 900 + 400) / 100)
    assert found.gc_fraction == pytest.approx(0.4)
    assert assembly_score.assembly_metrics(facts(50, 30, 20), 300, CONFIG).ng50_bp == 0
    assert assembly_score.assembly_metrics(facts(10, 10, 10, 10), None, CONFIG).l50 == 2


def test_metrics_of_nothing_are_zero():
    found = assembly_score.assembly_metrics([], 100, CONFIG)
    assert (found.length_bp, found.n50_bp, found.ng50_bp, found.score) == (0, 0, 0, None)


def test_score_is_the_declared_function():
    found = assembly_score.assembly_metrics(facts(100_000, 100_000, unknown=0.1), 400_000, CONFIG)
    assert found.ng50_bp == 100_000
    assert found.score == pytest.approx(math.log10(100) / 3 * 0.9 * 180_000 / 400_000)
    assert assembly_score.assembly_metrics(facts(10**8), 10**8, CONFIG).score == 1.0
    assert assembly_score.assembly_metrics(facts(10**8), None, CONFIG).score is None


def test_fragmented_assembly_is_rejected_and_its_near_miss_kept():
    broken = assembly_score.judge_assembly(facts(*[19_999] * 60), 1_200_000, CONFIG)
    assert len(broken) == 60
    assert {(v.outcome, v.stage, v.reason) for v in broken} == {
        (Outcome.REJECTED, "assembly_score", "fragmented_assembly")
    }
    assert "19,999" in broken[0].evidence and "60 records" in broken[0].evidence
    assert assembly_score.judge_assembly(facts(*[20_000] * 60), 1_200_000, CONFIG) == []


def test_a_piece_is_never_judged():
    assert assembly_score.judge_assembly(facts(*[1_000] * 60), None, CONFIG) == []


def test_empty_and_badly_scored_assemblies_are_rejected():
    assert assembly_score.judge_assembly(facts(10**6, unknown=0.39), 10**6, CONFIG) == []
    unknown = assembly_score.judge_assembly(facts(10**6, unknown=0.41), 10**6, CONFIG)
    assert [v.reason for v in unknown] == ["unknown_assembly"]
    strict = AssemblyScoreConfig(min_score=0.99)
    assert [v.reason for v in assembly_score.judge_assembly(facts(500_000), 600_000, strict)] == ["low_score"]


def test_bounds_of_contiguity_are_settings():
    config = AssemblyScoreConfig(no_contiguity_ng50_bp=10_000, full_contiguity_ng50_bp=100_000)
    assert assembly_score.assembly_metrics(facts(100_000), 100_000, config).score == 1.0
    assert assembly_score.assembly_metrics(facts(31_623), 31_623, config).score == pytest.approx(0.5, abs=1e-5)
    assert assembly_score.assembly_metrics(facts(10_000), 10_000, config).score == 0.0
    with pytest.raises(ValueError, match="no_contiguity_ng50_bp = 5 must lie"):
        AssemblyScoreConfig(no_contiguity_ng50_bp=5, full_contiguity_ng50_bp=5)
    with pytest.raises(ValueError, match="min_score = 2"):
        AssemblyScoreConfig(min_score=2)


def gapped(*parts):
    """Contigs (positive bp) and gaps (negative)."""
    codes = [random_codes(bp, i) if bp > 0 else np.full(-bp, 4, np.uint8) for i, bp in enumerate(parts)]
    return facts_of("g", np.concatenate(codes))


def test_contigs_are_what_gaps_leave():
    fact = gapped(-15, 100, -9, 50, -10, 30, -40)
    assert fact.contigs_bp == (159, 30) and (fact.gaps, fact.gap_bp) == (3, 65)
    assert gapped(70).contigs_bp == (70,) and gapped(-70).contigs_bp == ()
    found = assembly_score.assembly_metrics([fact, gapped(100)], None, CONFIG)
    assert (found.records, found.contigs, found.contig_n50_bp, found.n50_bp) == (2, 3, 159, 254)
    assert found.gap_fraction == pytest.approx(65 / 354) and found.unknown_fraction == pytest.approx(74 / 354)


def test_everything_measured_is_recorded_beside_the_ledger(tmp_path):
    low = np.tile(np.array([0, 3], dtype=np.uint8), 500)
    codes = np.concatenate([random_codes(20_000, 1), low, random_codes(9_000, 2)])
    masked = Record("m", "", codes, np.array([(0, 6_000)], dtype=np.int64))
    gap = np.concatenate([random_codes(10_000, 3), np.full(1_000, 4, np.uint8), random_codes(9_000, 4)])
    (tmp_path / "summary.txt").write_text(COMPLEASM)
    more = {"expected_size_bp": 50_000, "busco": tmp_path / "summary.txt"}
    records = [masked, ("g", gap), ("short", random_codes(500, 5))]
    rows = [write_assembly(tmp_path, "x", records, **more), write_assembly(tmp_path, "y", [("r", random_codes(5_000))])]
    found = curate(rows, CurationConfig(), store=tmp_path / "s")
    found.write(tmp_path / "out")
    assert (tmp_path / "out" / "ledger.json").is_file()
    x, y = read_tsv(tmp_path / "out" / "assemblies.tsv", required=COLUMNS)
    assert [x["assembly"], x["species"]] == [rows[0].key, "Testus unus"]
    counts = [int(x[name]) for name in ("records", "contigs", "length_bp", "gaps", "n50_bp", "l50", "ng50_bp")]
    assert counts == [2, 3, 50_000, 1, 30_000, 1, 30_000], "the short record is not among them"
    assert float(x["soft_mask_fraction"]) == pytest.approx(6_000 / 50_000)
    assert float(x["low_complexity_fraction"]) == pytest.approx(1_000 / 50_000, rel=0.1)
    assert float(x["gap_fraction"]) == float(x["unknown_fraction"]) == 0.02
    assert 1.0 <= float(x["kmer_multiplicity"]) < 1.1 and float(x["repeated_kmer_fraction"]) < 0.05
    assert float(x["score"]) == pytest.approx(math.log10(30) / 3 * 0.98 * 0.98) and x["score_version"] == "1"
    assert (x["genes_tool"], x["genes_lineage"]) == ("compleasm", "eudicots_odb10")
    assert (y["score"], y["ng50_bp"], y["genes_markers"]) == ("", "", "")
    again = curate(rows, CurationConfig(), store=tmp_path / "s")
    assert again.reused == 2 and again.assemblies == found.assemblies


def test_multiplicity_counts_occurrences_on_either_strand():
    once, thrice = random_codes(60_000, 31), random_codes(20_000, 32)
    copies = [thrice, reverse_complement(thrice), thrice]
    hashes = [fraction(codes, k=21, scaled=10)[0] for codes in (once, *copies)]

    def figures(min_count, **more):
        counter = assembly_score.KmerMultiplicity(**more)
        for part in hashes:
            counter.add(part)
        return counter.figures(min_count)

    assert figures(3)["kmer_multiplicity"] == pytest.approx(120 / 80, rel=0.03)
    assert figures(3)["repeated_kmer_fraction"] == pytest.approx(60 / 120, rel=0.05)
    assert figures(4)["repeated_kmer_fraction"] == 0.0
    few = figures(3, limit=2_000)
    assert few != figures(3) and few["kmer_multiplicity"] == pytest.approx(120 / 80, rel=0.1)
    nothing = assembly_score.KmerMultiplicity().figures(3)
    assert nothing == {"kmer_multiplicity": 0.0, "repeated_kmer_fraction": 0.0}

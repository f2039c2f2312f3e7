"""Assembly score: N50 and its kin against hand counts; only whole genomes are judged."""

import math

import pytest

from plantgfm.curation import assembly_score
from plantgfm.curation.config import AssemblyScoreConfig
from plantgfm.curation.facts import RecordFacts
from plantgfm.schema import Outcome

CONFIG = AssemblyScoreConfig()


def facts(*lengths, unknown=0.0):
    return [
        RecordFacts(f"r{i}", "", bp, int(unknown * bp), int(0.4 * (1 - unknown) * bp), 0, 0)
        for i, bp in enumerate(lengths)
    ]


def test_metrics_equal_hand_counts():
    found = assembly_score.assembly_metrics(facts(50, 30, 20), 200)
    assert (found.records, found.length_bp, found.n50_bp, found.l50) == (3, 100, 50, 1)
    assert found.ng50_bp == 20
    assert found.aun_bp == pytest.approx((2500 + 900 + 400) / 100)
    assert found.gc_fraction == pytest.approx(0.4)
    assert assembly_score.assembly_metrics(facts(50, 30, 20), 300).ng50_bp == 0
    assert assembly_score.assembly_metrics(facts(10, 10, 10, 10), None).l50 == 2


def test_metrics_of_nothing_are_zero():
    found = assembly_score.assembly_metrics([], 100)
    assert (found.length_bp, found.n50_bp, found.ng50_bp, found.score) == (0, 0, 0, None)


def test_score_is_the_declared_function():
    found = assembly_score.assembly_metrics(facts(100_000, 100_000, unknown=0.1), 400_000)
    assert found.ng50_bp == 100_000
    assert found.score == pytest.approx(math.log10(100) / 3 * 0.9 * 180_000 / 400_000)
    assert assembly_score.assembly_metrics(facts(10**8), 10**8).score == 1.0
    assert assembly_score.assembly_metrics(facts(10**8), None).score is None


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

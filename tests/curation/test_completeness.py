"""Completeness: each rejection beside its near miss; a stated length alone never rejects."""

import numpy as np
import pytest

from plantgfm.curation import completeness
from plantgfm.curation.config import CompletenessConfig
from plantgfm.curation.facts import stated_length
from plantgfm.formats.busco import GeneCompleteness
from plantgfm.schema import Outcome
from tests.curation.planted import facts_of, random_codes

CONFIG = CompletenessConfig()


def verdicts(fact):
    return [(v.outcome, v.reason) for v in completeness.judge_records([fact], CONFIG)]


def with_unknown(length_bp, unknown_bp, start=0):
    codes = random_codes(length_bp)
    codes[start : start + unknown_bp] = 4
    return codes


@pytest.mark.parametrize(
    ("header", "length"),
    [
        (("Chr1", "1..304277"), 304277),
        (("chromosome:AGPv3:3:1:36000:1", ""), 36000),
        (("x", "length=1200"), 1200),
        (("x", "len: 77 sequence"), 77),
        (("NODE_1_length_500", ""), None),
        (("NODE_12_length_500_cov_31.2", ""), 500),
        (("x", "1,234,567 bp"), 1234567),
        (("x", "5001..6000 region"), 1000),
        (("Scaffold_31", ""), None),
        (("x", "version 3.1 of 2020"), None),
    ],
)
def test_length_stated_by_a_header(header, length):
    assert stated_length(*header) == length


def test_short_record_is_rejected_and_one_at_the_limit_is_kept():
    assert verdicts(facts_of(codes=random_codes(999))) == [(Outcome.REJECTED, "too_short")]
    assert verdicts(facts_of(codes=random_codes(1_000))) == []


def test_n_rich_record_is_rejected_and_one_below_is_kept():
    assert verdicts(facts_of(codes=with_unknown(10_000, 5_001))) == [(Outcome.REJECTED, "n_rich")]
    assert verdicts(facts_of(codes=with_unknown(10_000, 5_000))) == []


def test_truncation_takes_two_independent_signs():
    one = facts_of(description="length=10000")
    assert verdicts(one) == [(Outcome.FLAGGED, "length_disagrees")]
    cut = with_unknown(5_000, 60, 4_940)
    assert verdicts(facts_of(codes=cut)) == [(Outcome.FLAGGED, "ends_unknown")]
    assert verdicts(facts_of(codes=cut, description="length=10000")) == [(Outcome.REJECTED, "truncated")]
    assert verdicts(facts_of(description="length=10000", **{".fai": 10_000})) == [(Outcome.REJECTED, "truncated")]
    assert verdicts(facts_of(description="length=10000 partial")) == [(Outcome.REJECTED, "truncated")]
    assert verdicts(facts_of(annotation=9_000, description="1..9000")) == [(Outcome.REJECTED, "truncated")]


def test_off_by_one_and_shorter_statements_are_flags_even_together():
    fact = facts_of(description="1..5001", **{".fai": 5_001})
    assert verdicts(fact) == [(Outcome.FLAGGED, "length_disagrees")] * 2
    assert verdicts(facts_of(description="length=100", **{".fai": 100}))[0][0] is Outcome.FLAGGED
    assert verdicts(facts_of(annotation=4_000)) == []


def test_evidence_states_the_numbers():
    (found,) = completeness.judge_records([facts_of(codes=random_codes(10))], CONFIG)
    assert "10 bp" in found.evidence and "1,000" in found.evidence and found.stage == "completeness"


def test_assembly_is_judged_by_size_only_where_one_is_expected():
    facts = [facts_of("a"), facts_of("b", random_codes(5_000, 2))]
    assert completeness.judge_assembly(facts, None, CONFIG) == []
    assert completeness.judge_assembly(facts, 20_000, CONFIG) == []  # exactly one half
    found = completeness.judge_assembly(facts, 20_001, CONFIG)
    assert [(v.record, v.outcome, v.reason) for v in found] == [
        (name, Outcome.REJECTED, "incomplete_assembly") for name in "ab"
    ]
    assert {v.reason for v in completeness.judge_assembly(facts, 5_000, CONFIG)} == {"oversized_assembly"}


def test_records_that_the_index_names_and_the_file_lacks_are_a_flag():
    facts = [facts_of("a"), facts_of("b")]
    assert completeness.judge_index(facts, {}) == []
    found = completeness.judge_index(facts, {f"chr{i}": 1_000 for i in range(5)})
    assert [(v.record, v.outcome, v.reason) for v in found] == [(n, Outcome.FLAGGED, "records_missing") for n in "ab"]
    assert "5 records of 5,000 bp that the file lacks (chr0, chr1, chr2 …)" in found[0].evidence


@pytest.mark.parametrize("name", ["min_record_bp", "truncation_fraction"])
def test_thresholds_below_zero_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} = -1 can't be negative"):
        CompletenessConfig(**{name: -1})


def test_unknown_bases_do_not_count_towards_the_size():
    half = facts_of(codes=with_unknown(10_000, 4_000))
    assert completeness.judge_assembly([half], 15_000, CONFIG)[0].reason == "incomplete_assembly"


def test_facts_count_what_is_there():
    codes = np.concatenate([random_codes(100), np.full(20, 4, np.uint8), random_codes(100, 2), np.full(9, 4, np.uint8)])
    fact = facts_of(codes=codes)
    assert (fact.length_bp, fact.unknown_bp, fact.gaps, fact.terminal_unknown_bp) == (229, 29, 1, 9)
    assert fact.gc_bp == int(np.isin(codes, (1, 2)).sum())


def genes(complete):
    single = complete - 0.1
    return GeneCompleteness("BUSCO", "embryophyta_odb10", "genome", 1_000, single, 0.1, 0.05, 0.95 - complete)


@pytest.mark.parametrize("seed", range(8))
def test_gaps_are_the_long_runs_of_unknown_bases(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.choice([1, 5, 9, 10, 11, 63, 64, 65, 128, 200], 40)
    parts = [np.full(n, 4, np.uint8) if i % 2 else random_codes(int(n), seed + i) for i, n in enumerate(lengths)]
    fact = facts_of(codes=np.concatenate(parts[seed % 2 : 40 - seed // 4]) | np.uint8(8))
    runs = lengths[seed % 2 : 40 - seed // 4][1 - seed % 2 :: 2]
    assert (fact.gaps, fact.gap_bp) == ((runs >= 10).sum(), runs[runs >= 10].sum())
    assert (
        fact.terminal_unknown_bp == (runs[-1] if seed < 4 else 0)
        and sum(fact.contigs_bp) == fact.length_bp - fact.gap_bp
    )


def test_a_genome_without_its_genes_is_rejected_and_a_piece_only_flagged():
    facts = [facts_of("a"), facts_of("b", random_codes(5_000, 2))]
    assert completeness.judge_genes(facts, genes(0.5), 10_000, CONFIG) == []
    assert completeness.judge_genes(facts, None, 10_000, CONFIG) == []
    found = completeness.judge_genes(facts, genes(0.49), 10_000, CONFIG)
    assert [(v.record, v.outcome, v.stage, v.reason) for v in found] == [
        (name, Outcome.REJECTED, "completeness", "genes_missing") for name in "ab"
    ]
    assert "C:49.0%[S:39.0%,D:10.0%]" in found[0].evidence and "at least 50%" in found[0].evidence
    piece = completeness.judge_genes(facts, genes(0.01), None, CONFIG)
    assert {v.outcome for v in piece} == {Outcome.FLAGGED} and len(piece) == 2


def test_the_share_of_genes_is_a_setting():
    strict = CompletenessConfig(min_gene_fraction=0.95)
    assert completeness.judge_genes([facts_of()], genes(0.94), 10_000, strict)[0].outcome is Outcome.REJECTED
    with pytest.raises(ValueError, match="min_gene_fraction"):
        CompletenessConfig(min_gene_fraction=95)

"""Tables and the report: what they say of results made by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest

from plantgfm.bench import __main__ as bench
from plantgfm.cli.progress import progress_bars
from plantgfm.corpus.config import CorpusConfig
from plantgfm.corpus.write import write_corpus
from plantgfm.curation.ledger import Ledger
from plantgfm.evaluation.result import EvaluationResult
from plantgfm.formats.orthologs import Ortholog
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.evaluate import Truth, evaluate_retrieval
from plantgfm.retrieval.places import TOLERANCES_BP, Accuracy, Correlation, PlaceEvaluation, Spread
from plantgfm.schema import Decision, Outcome
from plantgfm.sequence import Interval
from plantgfm.wiring import curation_report, ledger_tables, report, tables
from tests.corpus.worlds import accepted, random_bases, species_name
from tests.retrieval.worlds import ranking_of, windows


def ledger():
    def decision(record, outcome, stage, reason, bp):
        return Decision("a|b|c|d.fa", "Fictus primus", record, bp, outcome, stage, reason, f"{bp} bp")

    decisions = [
        decision("chr1", Outcome.KEPT, "accepted", "accepted", 3_000_000),
        decision("chr1", Outcome.FLAGGED, "completeness", "length_disagrees", 3_000_000),
        decision("chr2", Outcome.REJECTED, "contamination", "vector", 1_000_000),
    ]
    return Ledger(decisions, 2, 4_000_000)


SUMMARY = {"test_windows": 4.0, "test_regions": 2.0, "scored_tokens": 10.0}


def evaluation():
    def row(kind, group, metric, predictor, value):
        found = {"kind": kind, "group": group, "metric": metric, "predictor": predictor}
        return {**found, "value": value, "low": value - 0.1, "high": value + 0.1, "tokens": 10, "bases": 60}

    rows = [
        row("all", "all", "masked_bits_per_base", "model", 1.8),
        row("all", "all", "masked_bits_per_base", "markov pooled forward 2", 1.9),
        row("all", "all", "masked_bits_per_base", "markov pooled forward 3", 1.85),
        row("species", "Fictus primus", "masked_bits_per_base", "model", 1.7),
        row("species", "Fictus primus", "masked_bits_per_base", "markov pooled forward 3", 1.75),
    ]
    return EvaluationResult(rows, SUMMARY, {"markov pooled": "markov pooled forward 3"}, {})


def test_the_ledger_table_states_the_sum_of_the_input():
    table = ledger_tables.ledger_table(ledger())
    assert "input: 2 records, 4,000,000 bp = kept + cut + rejected" in table.note
    assert ("contamination", "Fictus primus", "rejected", "vector", 1, 1_000_000) in table.rows
    told = ledger_tables.evidence_table(ledger())
    assert [row[3] for row in told.rows] == ["length_disagrees", "vector"]
    assert "1 more" in ledger_tables.evidence_table(ledger(), most=1).note


def test_the_funnel_counts_what_is_left_and_what_is_taken():
    stages, counts = curation_report.funnel_counts(ledger())
    assert stages[:2] == ["completeness", "contamination"]
    assert counts["kept"]["Fictus primus"] == [4.0, 3.0, 3.0, 3.0, 3.0]
    assert counts["rejected"]["Fictus primus"] == [0.0, 1.0, 0.0, 0.0, 0.0]


def test_the_headline_shows_the_best_markov_order_only_and_the_orders_all():
    headline, orders, groups = tables.evaluation_tables(evaluation())
    assert [row[1] for row in headline.rows] == ["model", "markov pooled forward 3"]
    assert "dropped" not in headline.note
    counted = replace(evaluation(), summary={**SUMMARY, "near_duplicate_windows": 1.0, "candidate_windows": 5.0})
    assert "1 of 5 window pairs dropped for a near-duplicate in training" in tables.headline_table(counted).note
    assert [(row[0], row[1]) for row in orders.rows] == [(2, 1.9), (3, 1.85)]
    assert groups.rows == [("species", "Fictus primus", 1.7, 1.75)]


def test_near_duplicate_windows_are_counted_per_species_with_what_thinning_keeps(tmp_path):
    ids = np.array([-1, 4, 4, 4, 4, 9])
    sizes = np.array([1, 4, 4, 4, 4, 25], dtype=np.int32)
    bases = random_bases(np.random.default_rng(0), 6 * 6_144)
    records = [
        accepted(tmp_path, species_name(0), "chr1", bases, cluster_id=ids, cluster_size=sizes),
        accepted(tmp_path, species_name(1), "chr1", random_bases(np.random.default_rng(1), 20_000)),
    ]
    corpus = write_corpus(records, CorpusConfig(region_bp=8_192, segment_bp=32_768), out=tmp_path / "c", lineage={})
    table = tables.near_duplicates_table(corpus, alpha=0.5)
    kept = (1 + 4 / 2 + 1 / 5) / 6
    assert [tuple(row) for row in table.rows] == [
        (species_name(0), 6, 5, 2, 25, pytest.approx(kept)),
        (species_name(1), 4, 0, 0, 0, 1.0),
    ]
    assert "^-0.5" in table.note and "53.3%" in table.to_text()


def test_the_retrieval_table_is_sorted_and_its_title_says_which_single_source_wins():
    tiles = windows([Interval("c", 10 * i, 10 * i + 10) for i in range(30)])
    names = [f"q{i}" for i in range(6)]
    truth = Truth({name: [Ortholog(name, tiles.interval(i))] for i, name in enumerate(names)}, elsewhere=3)
    perfect, nothing = (ranking_of(scores, tiles) for scores in (np.eye(6, 30), np.zeros((6, 30))))
    methods = {"fused": nothing, "model": nothing, "other": perfect, "untrained model": perfect}
    found = evaluate_retrieval(methods, names, targets=tiles, truth=truth, config=RetrievalConfig(permutations=3))
    table = tables.retrieval_table(found)
    assert table.rows[0][0] == "other" and table.rows[0][1] == 1.0
    assert table.to_text().startswith("Retrieval: of single sources other is best, MRR 1.000; fused minus other -0.")
    assert "trained minus untrained MRR -" in table.note and "6 queries: fewer than 20" in table.note
    assert "3 labels on sequences that were not processed left out" in table.note
    alone = evaluate_retrieval({"model": perfect}, names, targets=tiles, truth=truth, config=RetrievalConfig())
    assert tables.retrieval_verdict(alone) == "of single sources model is best, MRR 1.000"


def test_places_are_told_in_four_tables():
    spread = Spread("windows", "gap", 6, 1234.0, None, None, None, None)
    within = {"0": 0.5, "10000": 0.75}
    null = {"null": "shifted hits", "draws": 9, "median_gap_bp": None, "within": within, "median_p": 0.1}
    places = PlaceEvaluation(
        [Accuracy("windows", "queries", "gap", bp, number / 8, 0.25, 0.75) for number, bp in enumerate(TOLERANCES_BP)],
        [spread],
        [Correlation("windows", 12, 0.5, 0.1, 0.9)],
        [{**null, "queries_at_p_5_percent": 0.25}],
    )
    accuracy, distance, rho, chance = (table.to_text() for table in tables.place_tables(places))
    assert "0.000     0.125     0.250      0.375" in accuracy and "1,234" in distance and "+0.500" in rho
    assert "shifted hits" in chance and "0.750" in chance


def test_curves_skip_what_a_line_does_not_say(tmp_path):
    rows = [{"step": 1, "loss": 2.0}, {"step": 2}, {"step": 3, "loss": None}, {"step": 4, "loss": 1.0}]
    assert report._curve(rows, "loss") == ([1, 4], [2.0, 1.0])
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    section = report._training_section(tmp_path)
    assert section.heading == "Training" and not section.figures
    assert "No step" in report._training_section(tmp_path / "absent").text


def test_progress_on_a_pipe_is_one_line_a_label(capsys):
    with progress_bars() as progress:
        for done in (1, 2, 2):
            progress("curate", done, 2)
        progress("embed", 1, 3)
    assert capsys.readouterr().err == "curate: 2/2\n"


def test_bench_refuses_an_unknown_name(capsys):
    assert bench.main(["speed"]) == 2
    assert "no bench 'speed'; there are tokenizer, sampling, curation, curation_scale, " in capsys.readouterr().err

import dataclasses

import numpy as np
import pytest

from plantgfm.sequence import REPEAT_BIT
from plantgfm.tokenization import report as r
from plantgfm.tokenization import segmenters
from plantgfm.tokenization.choose import build_vocabulary
from plantgfm.tokenization.compartments import Compartment
from plantgfm.tokenization.config import VocabularyConfig

SIZE = 240_000


@pytest.fixture(scope="module")
def built():
    """Two species; in the second an array of a 37-bp unit and copies of one element, both soft-masked."""
    rng = np.random.default_rng(0)
    bases = rng.choice(4, size=SIZE, p=[0.32, 0.18, 0.18, 0.32]).astype(np.uint8)
    unit, element = rng.integers(0, 4, 37), rng.integers(0, 4, 2_000)
    for start in range(SIZE // 2, SIZE, 12_000):
        array = np.resize(unit, 3_000)
        hits = rng.random(array.size) < 0.03
        array[hits] = (array[hits] + 1) % 4
        bases[start : start + 3_000] = array | REPEAT_BIT
        bases[start + 5_000 : start + 7_000] = element | REPEAT_BIT
    return build_vocabulary(
        bases,
        offsets=np.array([0, SIZE // 2]),
        lengths=np.array([SIZE // 2, SIZE // 2]),
        species=np.array([0, 1]),
        species_names=["Alpha beta", "Gamma delta"],
        config=VocabularyConfig(eight_mers=512, window_bp=510, repeat_strata=2, sample_bp=SIZE),
    )


@pytest.fixture(scope="module")
def report(built):
    return r.tokenizer_report(*built)


def rows(report, compartment):
    return {row.tokenizer: row for row in report.repeats if row.compartment == compartment}


def test_strata_rows_say_what_the_tokenizer_does_on_held_back_windows(built, report):
    vocabulary, strata = built
    segment = segmenters.kmer_segmenter(vocabulary)
    for row, stratum in zip(report.strata, strata):
        assert (row.stratum, row.windows) == (stratum.name, len(stratum.held_back))
        assert row.tokens_per_base == segment(stratum.held_back).ids.size / stratum.held_back.size
        assert row.tokens_per_base_six_mers == pytest.approx(1 / 6)
        assert 0 < row.eight_mer_share < 1 and row.unknown_share == 0
    assert report.strata[-1].tokens_per_base < 0.95 / 6  # the repeats are where the 8-mers are


def test_repeat_rows_cover_all_bases_under_every_tokenizer(built, report):
    total = sum(stratum.held_back.size for stratum in built[1])
    for name in (r.HYBRID, r.PLAIN, r.BPE):
        mine = [row for row in report.repeats if row.tokenizer == name]
        assert [row.compartment for row in mine] == ["unique", "interspersed", "tandem"]
        assert sum(row.bases for row in mine) == total
        assert mine[0].relative_to_unique == 1


def test_bpe_merges_a_repeat_that_it_was_trained_on_and_kmers_cannot(report):
    tandem, unique = rows(report, "tandem"), rows(report, "unique")
    assert tandem[r.BPE].relative_to_unique > 2 and tandem[r.BPE].long_token_share > 0.5
    assert tandem[r.HYBRID].bases_per_token <= 8 and tandem[r.HYBRID].long_token_share == 0
    # A frame of 6 never moves by a substitution: one changed token, a little more where two fall together.
    assert 5 < unique[r.PLAIN].changed_bp_per_substitution <= 6
    assert tandem[r.PLAIN].distinct_spellings == pytest.approx(6 / 12)


def test_the_claim_is_four_statements_with_verdicts_that_follow_their_intervals(report):
    assert len(report.claims) == 4
    for claim in report.claims:
        assert claim.low <= claim.high
        expected = "shown" if claim.low > 0 else "refuted" if claim.high < 0 else "open"
        assert claim.verdict == expected
    assert report.claims[0].verdict == "shown"


def test_a_tokenizer_beside_itself_shows_nothing(report):
    draws = {r.HYBRID: np.arange(5.0), r.BPE: np.arange(5.0)}
    assert r._claim("", "", draws, sign=1).verdict == "open"
    assert r._claim("", "", {**draws, r.BPE: np.arange(5.0) + 1}, sign=1).verdict == "refuted"
    assert r._claim("", "", {**draws, r.BPE: np.arange(5.0) + 1}, sign=-1).verdict == "shown"
    assert r._claim("", "", {r.HYBRID: np.full(1, np.nan), r.BPE: np.full(1, np.nan)}, sign=1).verdict == "open"


def test_tables_are_plain_rows(report):
    tables = report.tables()
    assert set(tables) == {"strata", "repeats", "claims"}
    for table in tables.values():
        for row in table:
            assert all(value is None or type(value) in (str, int, float) for value in row.values()), row


def test_the_report_is_deterministic(built, report):
    assert r.tokenizer_report(*built).tables() == report.tables()


def test_labels_from_the_truth_take_the_place_of_found_ones(built):
    vocabulary, strata = built
    windows = np.concatenate([stratum.held_back for stratum in strata])
    labels = np.full(windows.shape, Compartment.INTERSPERSED, dtype=np.uint8)
    report = r.tokenizer_report(vocabulary, strata, labels=labels)
    assert rows(report, "interspersed")[r.HYBRID].bases == windows.size
    assert rows(report, "tandem")[r.HYBRID].bases == 0 and np.isnan(rows(report, "tandem")[r.BPE].bases_per_token)
    assert report.claims[0].verdict == "open"


def test_a_sample_without_held_back_windows_is_refused(built):
    vocabulary, strata = built
    empty = [dataclasses.replace(stratum, held_back=stratum.held_back[:0]) for stratum in strata]
    with pytest.raises(ValueError, match="no windows were held back"):
        r.tokenizer_report(vocabulary, empty)

"""Vectors and adaptors: VecScreen's classes to the base, gaps, and what is done with each class."""

import numpy as np
import pytest

from plantgfm.curation.config import ContaminationConfig, IntervalAction
from plantgfm.curation.contamination import judge_record
from plantgfm.curation.references import HashIndex, ReferenceIndex
from plantgfm.curation.vectors import Strength, find_vectors, index_vectors, screen_vectors, suspect_segments
from plantgfm.schema import Compartment, Outcome
from plantgfm.sequence import reverse_complement
from tests.curation.planted import facts_of, random_codes

CONFIG = ContaminationConfig()
VECTOR = random_codes(600, 601)
INDEX = index_vectors([("pTest", VECTOR)], CONFIG.vector_seed_k)
NO_HASHES = HashIndex([], np.empty(0, np.uint64), np.empty(0, np.int32))


def planted(length, *, at=1_000, record_bp=3_000, other_strand=False):
    """A record with so many bases of the vector at a place, and a mismatch on either side of them."""
    record = random_codes(record_bp, 602)
    piece = reverse_complement(VECTOR) if other_strand else VECTOR
    first = 100
    record[at : at + length] = piece[first : first + length]
    for place, source in ((at - 1, first - 1), (at + length, first + length)):
        if 0 <= place < record_bp:
            record[place] = (piece[source] + 1) % 4
    return record


@pytest.mark.parametrize("other_strand", [False, True])
@pytest.mark.parametrize(
    ("length", "inside", "terminal"),
    [
        (15, None, None),
        (16, None, Strength.WEAK),
        (18, None, Strength.WEAK),
        (19, None, Strength.MODERATE),
        (22, None, Strength.MODERATE),
        (23, Strength.WEAK, Strength.MODERATE),
        (24, Strength.WEAK, Strength.STRONG),
        (25, Strength.MODERATE, Strength.STRONG),
        (29, Strength.MODERATE, Strength.STRONG),
        (30, Strength.STRONG, Strength.STRONG),
    ],
)
def test_classes_are_those_of_vecscreen_inside_and_at_either_end(length, inside, terminal, other_strand):
    ends = (24, inside, terminal), (3_000 - 24 - length, inside, terminal)
    for at, expected in ((1_000, inside), *((at, terminal) for at, _, _ in ends), (25, inside)):
        found = screen_vectors(planted(length, at=at, other_strand=other_strand), INDEX, CONFIG)
        assert [(m.start, m.end, m.score, m.strength) for m in found] == (
            [(at, at + length, length, expected)] if expected else []
        )
        assert all(match.terminal == (at != 1_000 and at != 25) for match in found)


def local_score(query, subject):
    """Best local alignment score by Gotoh's recurrence, cell by cell."""
    best, above = 0, [0] * (subject.size + 1)
    down = [-(10**6)] * (subject.size + 1)
    for a in query:
        row, across = [0], -(10**6)
        for j, b in enumerate(subject, start=1):
            down[j] = max(above[j] - 3, down[j]) - 3
            across = max(row[j - 1] - 3, across) - 3
            row.append(max(0, above[j - 1] + (1 if a == b else -5), down[j], across))
        best, above = max(best, *row), row
    return best


@pytest.mark.parametrize("seed", range(6))
def test_gapped_scores_are_those_of_a_slow_alignment(seed):
    rng = np.random.default_rng(seed)
    piece = list(VECTOR[200:280])
    for _ in range(3):
        place = int(rng.integers(22, 58))
        if rng.random() < 0.5:
            del piece[place : place + int(rng.integers(1, 4))]
        else:
            piece.insert(place, int(rng.integers(0, 4)))
    record = np.concatenate([random_codes(40, 610 + seed), np.array(piece, np.uint8), random_codes(40, 620 + seed)])
    found = find_vectors(record, INDEX, 16)
    assert max(score for _, _, score, _ in found) == local_score(record, VECTOR[150:330])


def test_an_indel_does_not_hide_a_strong_match():
    record = planted(40)
    gone = np.delete(record, 1_020)
    ((match),) = screen_vectors(gone, INDEX, CONFIG)
    assert (match.start, match.end, match.score, match.strength) == (1_000, 1_039, 39 - 6, Strength.STRONG)


def judge(codes, **asked):
    references = ReferenceIndex(INDEX, NO_HASHES, NO_HASHES, NO_HASHES)
    none = np.empty(0, np.uint64), np.empty(0, np.int64)
    config = ContaminationConfig(**asked)
    fact = facts_of("r", codes)
    return judge_record(fact, codes, *none, compartment=Compartment.NUCLEAR, references=references, config=config)


def test_strong_is_dealt_with_moderate_is_flagged_and_weak_is_only_told():
    for length, verdicts, action in (
        (30, [(Outcome.FLAGGED, "vector_masked")], IntervalAction.MASK),
        (26, [(Outcome.FLAGGED, "vector_suspected")], IntervalAction.FLAG),
        (23, [], IntervalAction.FLAG),
    ):
        found = judge(planted(length))
        assert [(v.outcome, v.reason) for v in found.verdicts] == verdicts
        assert [(f.start, f.end, f.action) for f in found.findings] == [(1_000, 1_000 + length, action)]
    text = judge(planted(26)).verdicts[0].evidence
    assert text == "1 moderate match, best pTest at 1,000-1,026 with score 26; 0 weaker"
    (strong,) = judge(planted(30, at=4), vector_intervals=IntervalAction.CUT).verdicts
    assert strong.evidence.startswith(
        "34 of 3,000 bp (1.1%) match vectors: 1 strong match, best pTest at 4-34, at an end,"
    )
    assert strong.evidence.endswith("(strong from 30, at an end from 24); cut out")


def test_short_segments_beside_strong_matches_are_of_suspect_origin():
    record = planted(30, at=20)
    record[99:130] = planted(30, at=99)[99:130]
    found = judge(record, vector_intervals=IntervalAction.CUT)
    assert sorted((f.start, f.end) for f in found.findings) == [(0, 20), (20, 50), (50, 99), (99, 129)]
    apart = judge(record, suspect_bp=20)
    assert sorted((f.start, f.end) for f in apart.findings) == [(20, 50), (99, 129)]


@pytest.mark.parametrize(
    ("runs", "found"),
    [
        ([], []),
        ([(0, 30)], []),
        ([(49, 80)], [(0, 49)]),
        ([(50, 80)], []),
        ([(100, 130), (170, 951)], [(130, 170), (951, 1_000)]),
    ],
)
def test_suspect_segments_are_short_and_beside_a_match(runs, found):
    assert suspect_segments(runs, 1_000, 50) == found


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"min_vector_score": 24}, "inside are [24, 25, 23]: they must fall"),
        ({"weak_vector_scores": [23, 20]}, "at an end are [24, 19, 20]"),
        ({"weak_vector_scores": [23, 14]}, "to vector_seed_k = 15 at least"),
        ({"moderate_vector_scores": [25]}, "two numbers each"),
        ({"suspect_bp": -1}, "none is negative"),
    ],
)
def test_scores_that_can_not_be_are_refused(asked, message):
    with pytest.raises(ValueError) as caught:
        ContaminationConfig(**asked)
    assert message in str(caught.value)

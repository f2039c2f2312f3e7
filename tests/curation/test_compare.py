"""Two ledgers side by side: records that came, went, or were decided otherwise."""

from plantgfm.curation.compare import compare_decisions, summarise_decisions
from plantgfm.curation.ledger import Ledger
from plantgfm.schema import Decision, Outcome


def decision(record, outcome=Outcome.KEPT, stage="accepted", reason="accepted", bp=100, species="Testus unus"):
    return Decision("a", species, record, bp, outcome, stage, reason, f"{record} {reason}")


def rejected(record, stage="completeness", reason="n_rich", **more):
    return decision(record, Outcome.REJECTED, stage, reason, **more)


def flag(record, reason):
    return decision(record, Outcome.FLAGGED, "completeness", reason)


BEFORE = Ledger([decision("x"), decision("y"), rejected("z"), decision("gone", bp=70)], 4, 370)
AFTER = Ledger(
    [
        decision("x"),
        flag("x", "length_disagrees"),
        rejected("y", "duplicates", "near_duplicate"),
        rejected("z", bp=100),
        rejected("new", bp=30, species="Alter duo"),
    ],
    4,
    330,
)


def test_the_same_ledger_has_nothing_to_tell():
    assert compare_decisions(BEFORE, BEFORE) == []


def test_changes_are_told_with_what_was_and_what_is():
    found = {c.record: (c.before, c.after, c.length_bp, c.evidence) for c in compare_decisions(BEFORE, AFTER)}
    assert found == {
        "x": ("accepted", "accepted [length_disagrees]", 100, "x accepted"),
        "y": ("accepted", "duplicates: near_duplicate", 100, "y near_duplicate"),
        "gone": ("accepted", "", 70, "gone accepted"),
        "new": ("", "completeness: n_rich", 30, "new n_rich"),
    }


def test_order_and_repetition_of_flags_change_nothing():
    one = Ledger([decision("x"), flag("x", "b"), flag("x", "a")], 1, 100)
    other = Ledger([flag("x", "a"), flag("x", "b"), flag("x", "a"), decision("x")], 1, 100)
    assert compare_decisions(one, other) == []


def test_sums_per_species_are_those_of_the_ledgers():
    changes = compare_decisions(BEFORE, AFTER)
    alter, testus = summarise_decisions(BEFORE, AFTER, changes)
    assert (alter.input_before, alter.input_after, alter.input_bp_after, alter.kept_bp_after) == (0, 1, 30, 0)
    assert (testus.input_before, testus.input_after) == (4, 3)
    assert (testus.kept_bp_before, testus.kept_bp_after) == (270, 100)
    assert (testus.decided_otherwise, testus.decided_otherwise_bp) == (2, 200)
    assert testus.input_bp_before + alter.input_bp_before == BEFORE.input_bp
    assert testus.input_bp_after + alter.input_bp_after == AFTER.input_bp

"""Stages that judge and tell, but take nothing out: every record goes on, and is flagged with what would have been."""

import numpy as np
import pytest

from plantgfm.curation.config import STAGES, ContaminationConfig, CurationConfig, IntervalAction
from plantgfm.curation.curate import curate
from plantgfm.curation.story import tell
from plantgfm.formats.fasta import read_fasta
from plantgfm.schema import Outcome
from plantgfm.sequence import BASE_MASK
from tests.curation.planted import random_codes, write_assembly
from tests.curation.test_curate import finals, flags, run, world

__all__ = ["world"]


def told(curation, stage):
    """Records that a stage says something of; of twins of two records only one of both reasons is told."""
    return {d.record for d in curation.ledger.decisions if d.stage == stage}


@pytest.fixture(scope="module")
def usual(world, tmp_path_factory):
    return run(world, tmp_path_factory.mktemp("usual"))


@pytest.fixture(scope="module")
def nothing(world, tmp_path_factory):
    """All stages only flag."""
    cutting = ContaminationConfig(chimeras=IntervalAction.CUT)
    config = CurationConfig(contamination=cutting, flag_only=[*reversed(STAGES)])
    return run(world, tmp_path_factory.mktemp("nothing"), config=config, what_if=True)


def test_where_all_stages_only_flag_every_record_is_kept_as_it_is(world, nothing):
    assert {end for end in finals(nothing).values()} == {("accepted", "accepted")}
    assert len(nothing.accepted) == nothing.ledger.input_records == 46
    _, rows = world
    there = {(row.assembly, r.name): r.codes for row in rows for r in read_fasta(row.fasta)}
    for record in nothing.accepted:
        assert np.array_equal(record.load() & BASE_MASK, there[record.assembly.assembly, record.name])


def test_flags_say_what_would_have_been(nothing):
    said = flags(nothing)
    for name, reason in (
        (("first", "cut"), "truncated"),
        (("first", "empty"), "n_rich"),
        (("first", "short"), "too_short"),
        (("first", "bacterium"), "foreign_organism"),
        (("first", "chimera"), "foreign_organism"),
        (("first", "ChrC"), "plastid_under_nuclear_label"),
        (("again", "c0"), "near_duplicate"),
        (("wrong", "w"), "label_mismatch"),
        (("part", "p"), "incomplete_assembly"),
        (("crumbs", "k7"), "fragmented_assembly"),
    ):
        assert reason in said[name], name
    assert {found.action for found in nothing.ledger.findings} == {IntervalAction.FLAG}
    (evidence,) = [d.evidence for d in nothing.ledger.decisions if d.reason == "n_rich"]
    assert evidence.endswith("; only flagged, as flag_only says of completeness")
    assert not any(d.kept_assembly for d in nothing.ledger.decisions), "nothing was kept in another's place"


def test_no_threshold_of_a_stage_that_only_flags_changes_an_outcome(nothing):
    assert nothing.ledger.steps
    assert all(step.species == "" for step in nothing.ledger.steps)


@pytest.mark.parametrize("stage", STAGES)
def test_the_other_stages_reject_as_ever(world, usual, tmp_path, stage):
    found = run(world, tmp_path, config=CurationConfig(flag_only=[stage]))
    assert not any(d.outcome is Outcome.REJECTED and d.stage == stage for d in found.ledger.decisions)
    assert told(usual, stage) <= told(found, stage)
    for name, end in finals(usual).items():
        if end[0] != stage:
            assert finals(found)[name] == end, name


def test_it_is_another_curation_and_the_old_one_is_found_again(world, tmp_path):
    run(world, tmp_path)
    joins = set((tmp_path / "joins").glob("*.json"))
    run(world, tmp_path, config=CurationConfig(flag_only=["duplicates"]))
    assert len(set((tmp_path / "joins").glob("*.json")) - joins) == 1
    again = run(world, tmp_path, config=CurationConfig(flag_only=["duplicates"]))
    assert again.reused == len(world[1])  # what one assembly tells of itself needs no other preparing
    screened = run(world, tmp_path, config=CurationConfig(flag_only=["contamination"]))
    assert screened.reused == 0


def test_a_stage_that_only_flags_tells_of_a_duplicate_once(tmp_path):
    """All of one assembly is in another: its records are not compared again, and the twins are kept in silence."""
    codes = [random_codes(40_000, 1), random_codes(30_000, 2)]
    rows = [
        write_assembly(tmp_path, "x", [("a", codes[0]), ("b", codes[1])]),
        write_assembly(tmp_path, "y", [("a2", codes[0]), ("b2", codes[1])]),
    ]
    told, usual = (
        curate(rows, CurationConfig(flag_only=stages), store=tmp_path / "s").ledger for stages in (["duplicates"], [])
    )
    flagged = {d.record for d in told.decisions if d.stage == "duplicates"}
    assert flagged == {d.record for d in usual.decisions if d.outcome is Outcome.REJECTED} and len(flagged) == 2
    (row,) = [row for row in told.rows() if row.stage == "duplicates"]
    assert (row.outcome, row.records, row.bp) == ("flagged", 2, 70_000)
    lines = tell(
        told, next(d for d in told.decisions if d.record in flagged and d.stage == "accepted"), CurationConfig()
    )
    (check,) = [check for chapter in lines.chapters for check in chapter.checks if check.what == "copies elsewhere"]
    assert (check.found, check.met) == ("one was preferred to it", False)


def test_order_and_repeats_are_no_other_setting():
    assert CurationConfig(flag_only=["label", "duplicates", "label"]) == CurationConfig(
        flag_only=["duplicates", "label"]
    )


def test_an_unknown_stage_is_refused():
    with pytest.raises(ValueError, match="flag_only names 'dedup': stages are completeness, contamination"):
        CurationConfig(flag_only=["dedup"])

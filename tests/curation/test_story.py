"""The story of a record: what was measured is what was planted; who stands for whom is followed to its end."""

import pytest

from plantgfm.curation.config import CurationConfig
from plantgfm.curation.ledger import STAGES, Ledger
from plantgfm.curation.story import find_records, tell
from plantgfm.schema import Decision, Outcome
from tests.curation.small import curate_world, make_world


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    return curate_world(folder, make_world(folder)).ledger


def story_of(ledger, name, assembly=""):
    (final,) = find_records(ledger, name, assembly=assembly)
    return tell(ledger, final, CurationConfig())


def checks_of(story, stage):
    return {check.what: check for check in story.chapters[STAGES.index(stage)].checks}


def test_every_record_and_assembly_of_the_input_is_measured(ledger):
    finals = {(d.assembly, d.record, d.length_bp) for d in ledger.decisions if d.outcome is not Outcome.FLAGGED}
    assert {(m.assembly, m.record, m.length_bp) for m in ledger.measures} == finals and len(finals) == 11
    assert len(ledger.measures) == 11 and {a.assembly for a in ledger.assemblies} == {a for a, _, _ in finals}
    assert ledger.settings["completeness"]["min_record_bp"] == 1_000
    assert ledger.references == ["Some bacterium (foreign)", "shipped plastids (organelle)"]


def test_a_kept_record_tells_every_stage_in_order(ledger):
    story = story_of(ledger, "chr1", "first")
    assert [chapter.stage for chapter in story.chapters] == list(STAGES[:-1])
    assert [chapter.outcome for chapter in story.chapters] == ["flagged", "passed", "passed", "passed", "passed"]
    found = checks_of(story, "completeness")
    assert found["length"].found == "60,000 bp" and found["length"].asked == "at least 1,000" and found["length"].met
    assert found["stated elsewhere"].found == "header states 60,001 bp"
    assert (
        "2 references (Some bacterium (foreign), shipped plastids (organelle))"
        in checks_of(story, "contamination")["screened against"].found
    )
    assert "no genome size is stated" in checks_of(story, "assembly_score")["assembly"].found
    assert checks_of(story, "duplicates")["windows of 6,144 bp"].found.startswith("0 of 10 ")
    (flag,) = story.chapters[0].decisions
    assert flag.reason == "length_disagrees" and "60,001" in flag.evidence
    assert story.out_bp == 60_000


def test_what_was_masked_is_told_to_the_base(ledger):
    story = story_of(ledger, "chimera")
    cut = checks_of(story, "contamination")["masked (set to unknown)"].found
    ((start, end),) = story.measures.masked
    assert cut == f"{story.measures.masked_bp:,} bp: {start:,}-{end:,}" and story.measures.masked_bp == end - start
    assert 20_000 <= start < 20_300 and 22_700 < end <= 23_000
    assert story.chapters[1].outcome == "flagged"


def test_a_rejected_record_shows_what_it_did_not_meet_and_stops_there(ledger):
    story = story_of(ledger, "cut")
    found = checks_of(story, "completeness")
    assert not found["signs of truncation"].met and found["length"].met and "assembly" not in found
    assert [chapter.outcome for chapter in story.chapters] == ["rejected", *["not reached"] * 4]
    assert not any(chapter.checks for chapter in story.chapters[1:]) and story.out_bp == 0
    assert not checks_of(story_of(ledger, "short"), "completeness")["length"].met


def test_duplicates_name_each_other(ledger):
    twin, chr2 = story_of(ledger, "twin"), story_of(ledger, "chr2")
    ((kept,), gone) = twin.representatives, twin.stands_for
    assert (kept.record, kept.kept_bp, kept.records, gone) == ("chr2", 40_000, 1, [])
    found = [(kin.assembly.split("|")[2], kin.record, kin.records, kin.reasons) for kin in chr2.stands_for]
    assert found == [("again", "", 3, ["near_duplicate"]), ("first", "twin", 1, ["reverse_complement_twin"])]
    assert story_of(ledger, "cut").stands_for == [], "it fell before duplicates were sought"
    assert not checks_of(twin, "duplicates")["copies elsewhere"].met


def test_label_is_verified_or_refuted_with_its_distances(ledger):
    verified = checks_of(story_of(ledger, "chr1", "other"), "label")["cultivar Tres, accession A1"]
    assert verified.met and verified.found.startswith("verified: distance to the reference of A1")
    wrong = story_of(ledger, "w")
    assert not checks_of(wrong, "label")["cultivar (none), accession A1"].met
    assert wrong.chapters[-1].decisions[0].reason == "label_mismatch"
    assert "1.00 of the genome size" in checks_of(wrong, "completeness")["assembly"].found
    assert checks_of(wrong, "assembly_score")["NG50"].found == "50,000 bp"
    none = checks_of(story_of(ledger, "chr2"), "label")["cultivar (none), accession (none)"]
    assert none.found.startswith("no passport record") and none.asked == "", "nothing was compared, so nothing was met"


def rejected(assembly, record, kept, stage="duplicates", reason="near_duplicate"):
    return Decision(assembly, "Testus unus", record, 100, Outcome.REJECTED, stage, reason, "because", *kept)


def kept(assembly, record):
    return Decision(assembly, "Testus unus", record, 100, Outcome.KEPT, "accepted", "accepted", "passed")


def test_a_representative_that_fell_itself_is_followed_to_what_is_kept():
    decisions = [
        rejected("a", "x", ("b", "y")),
        rejected("b", "y", ("c", "")),
        kept("c", "z1"),
        rejected("c", "z2", ("d", "v")),
        kept("d", "v"),
    ]
    ledger = Ledger(decisions, 5, 500)
    story = tell(ledger, decisions[0], CurationConfig())
    found = [(kin.assembly, kin.record, kin.records, kin.kept_bp) for kin in story.representatives]
    assert found == [("b", "y", 1, 0), ("c", "", 2, 100)], "of c something was kept: it is the end of the story"
    standing = tell(ledger, decisions[2], CurationConfig()).stands_for
    assert [(kin.assembly, kin.record, kin.reasons) for kin in standing] == [("b", "", ["near_duplicate"])]


def test_a_circle_of_representatives_ends():
    decisions = [rejected("a", "x", ("b", "y")), rejected("b", "y", ("a", "x"))]
    story = tell(Ledger(decisions, 2, 200), decisions[0], CurationConfig())
    assert [kin.assembly for kin in story.representatives] == ["b"]


def test_a_ledger_without_measures_still_tells_its_decisions():
    decisions = [rejected("a", "x", (), "completeness", "too_short")]
    story = tell(Ledger(decisions, 1, 100), decisions[0], CurationConfig())
    assert story.measures is None and story.chapters[0].outcome == "rejected" and not story.chapters[0].checks


def test_a_name_is_found_in_every_assembly_or_chosen(ledger):
    assert [d.species for d in find_records(ledger, "chr1")] == ["Tertius tres", "Testus unus"]
    assert [d.species for d in find_records(ledger, "chr1", assembly="TERTIUS")] == ["Tertius tres"]


@pytest.mark.parametrize(
    ("name", "assembly", "said"),
    [
        ("chr11", "", "the nearest are chr1, chr2"),
        ("CHIMERA", "", "the nearest are chimera"),
        ("zzzzzz", "", "there are c1, c2, c3, chimera, chr1 …"),
        ("chr1", "nowhere", "no assembly of 'nowhere' has a record 'chr1'; it lies in T"),
    ],
)
def test_an_unknown_name_is_an_error_with_the_nearest(ledger, name, assembly, said):
    with pytest.raises(ValueError) as error:
        find_records(ledger, name, assembly=assembly)
    assert said in str(error.value)

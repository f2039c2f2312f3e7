"""What screens find is masked, cut out or dropped as asked; pieces keep their place, and the ledger still sums."""

from dataclasses import replace

import numpy as np
import pytest

from plantgfm.config import settings
from plantgfm.corpus.config import CorpusConfig
from plantgfm.corpus.write import write_corpus
from plantgfm.curation.config import ContaminationConfig, CurationConfig, IntervalAction
from plantgfm.curation.curate import curate
from plantgfm.curation.findings import Finding, coverage, cuts_between, pieces_of, write_intervals
from plantgfm.curation.ledger import read_ledger
from plantgfm.curation.references import KINDS
from plantgfm.curation.story import tell
from plantgfm.formats.bed import read_bed
from plantgfm.formats.fasta import write_fasta
from plantgfm.formats.tables import write_tsv
from plantgfm.schema import Outcome
from plantgfm.sequence import BASE_MASK
from plantgfm.wiring.explain import _lines as explain_lines
from tests.curation.planted import facts_of, finals, flags, random_codes, write_assembly

FOREIGN, VECTOR = random_codes(20_000, 201), random_codes(3_000, 202)
PLASTID, RDNA = random_codes(30_000, 203), random_codes(9_000, 204)
HOST = [random_codes(40_000, 210 + i) for i in range(6)]


def parts(*codes):
    return np.concatenate(codes)


RECORDS = [
    ("two", parts(HOST[0], FOREIGN[:3_000], HOST[1], VECTOR[:800], HOST[2][:20_000])),  # a bacterium and a vector
    ("end", parts(VECTOR[:600], HOST[3][:30_000])),  # a vector where it begins
    ("short", parts(HOST[4][:20_000], FOREIGN[4_000:6_000], HOST[5][:2_500], FOREIGN[7_000:9_000], HOST[5][20_000:])),
    ("numt", parts(HOST[3][10_000:40_000], PLASTID[:4_000], HOST[4][20_000:])),
    ("rdna", parts(HOST[0][:20_000], RDNA[:6_000], HOST[2][20_000:])),
    ("clean", random_codes(30_000, 220)),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cuts")
    rows = []
    for kind, codes in zip(KINDS, (FOREIGN, VECTOR, PLASTID, RDNA), strict=True):
        write_fasta(folder / f"{kind}.fa", [(kind, codes)])
        rows.append({"name": f"Some {kind}", "kind": kind, "path": f"{kind}.fa"})
    write_tsv(folder / "references.tsv", rows, columns=["name", "kind", "path"])
    return folder, [write_assembly(folder, "x", RECORDS)]


def run(world, *asked):
    folder, rows = world
    config = settings(CurationConfig, asked)
    config.duplicates.window_bp = 5_000
    return curate(rows, config, store=folder / "store", references=folder / "references.tsv")


CUT = ("contamination.foreign_intervals=CUT", "contamination.vector_intervals=CUT")


@pytest.fixture(scope="module")
def cut(world):
    return run(world, *CUT)


def of(curation, name):
    (final,) = [d for d in curation.ledger.decisions if d.record == name and d.outcome is not Outcome.FLAGGED]
    (measures,) = [m for m in curation.ledger.measures if m.record == name]
    return final, measures, [a for a in curation.accepted if a.name == name]


def test_intervals_are_cut_out_and_pieces_are_the_file_where_they_say(cut):
    sequences = dict(RECORDS)
    for record in cut.accepted:
        end = record.start + record.length_bp
        assert np.array_equal(record.load() & BASE_MASK, sequences[record.name][record.start : end]), record.name
        assert record.cluster_id.size == -(-record.length_bp // 5_000)
    _, _, pieces = of(cut, "two")
    assert [abs(p.start - at) < 300 for p, at in zip(pieces, (0, 43_000, 83_800), strict=True)] == [True] * 3
    assert [abs(p.start + p.length_bp - at) < 300 for p, at in zip(pieces, (40_000, 83_000, 103_800))] == [True] * 3
    assert [a.start > 500 for a in of(cut, "end")[2]] == [True], "a vector at the end leaves one piece"


def test_a_cut_record_ends_as_cut_with_its_intervals_and_base_pairs(cut):
    final, measures, pieces = of(cut, "two")
    assert (final.outcome, final.stage, final.reason) == (Outcome.CUT, "accepted", "cut")
    assert final.cut_bp == measures.cut_bp == final.length_bp - sum(p.length_bp for p in pieces)
    assert measures.known_bp == final.out_bp and measures.masked == [] and measures.masked_bp == 0
    assert measures.windows == sum(p.cluster_id.size for p in pieces)
    (first, last) = measures.cut
    assert (
        f"{final.cut_bp:,} of {final.length_bp:,} bp cut out in 2 intervals ({first[0]:,}-{first[1]:,}, "
        in final.evidence
    )
    assert f"{final.out_bp:,} bp left in 3 pieces; passed every stage with 2 flags" in final.evidence
    assert flags(cut)["x", "two"] == {"foreign_organism_cut", "vector_cut"} and last[1] > 83_000
    assert cut.ledger.out_bp == sum(record.length_bp for record in cut.accepted)
    assert cut.ledger.input_bp == sum(codes.size for _, codes in RECORDS)
    assert finals(cut)["x", "clean"] == ("accepted", "accepted")


def test_pieces_too_short_to_learn_from_are_cut_as_well(world, cut):
    whole, measures, pieces = of(cut, "short")
    assert len(pieces) == 3 and len(measures.cut) == 2
    final, measures, pieces = of(run(world, *CUT, "contamination.min_piece_bp=3000"), "short")
    assert [p.start == 0 or p.start > 26_000 for p in pieces] == [True, True] and len(measures.cut) == 1
    assert 2_400 < final.cut_bp - whole.cut_bp < 2_800
    longer = run(world, *CUT, "contamination.min_piece_bp=25000")
    assert finals(longer)["x", "short"] == ("contamination", "nothing_left")
    assert "nothing of at least 25,000 bp is left beside 2 intervals" in of(longer, "short")[0].evidence


def test_masking_is_the_default_and_dropping_rejects_for_any_interval(world):
    masked = run(world)
    assert {d.outcome for d in masked.ledger.decisions} == {Outcome.KEPT, Outcome.FLAGGED}
    assert flags(masked)["x", "two"] == {"foreign_organism_masked", "vector_masked"}
    _, measures, (record,) = of(masked, "two")
    unknown = (record.load() & BASE_MASK) == 4
    assert unknown.sum() == measures.masked_bp == measures.length_bp - measures.known_bp and measures.cut == []
    dropped = run(world, "contamination.foreign_intervals=DROP")
    assert finals(dropped)["x", "two"] == ("contamination", "foreign_organism")
    assert finals(dropped)["x", "end"] == ("accepted", "accepted") and flags(dropped)["x", "end"] == {"vector_masked"}
    found = [one for one in dropped.ledger.findings if one.record == "two"]
    assert {one.action for one in found} == {IntervalAction.DROP} and {one.kind for one in found} == {
        "foreign",
        "vector",
    }


def test_insertions_are_flagged_with_intervals_and_cut_or_dropped_only_if_asked(world, cut, tmp_path):
    assert flags(cut)["x", "numt"] == {"organelle_insertion"} and flags(cut)["x", "rdna"] == {"rdna_insertion"}
    assert all(len(of(cut, name)[2]) == 1 for name in ("numt", "rdna"))
    cut.write(tmp_path)
    (file,) = (tmp_path / "intervals").iterdir()
    rows = {row.interval.sequence: row for row in read_bed(file, lengths={n: c.size for n, c in RECORDS})}
    for name, (start, end), what in (("numt", (30_000, 34_000), "organelle"), ("rdna", (20_000, 26_000), "rdna")):
        where = rows[name].interval
        assert 0 <= where.start - start < 300 and 0 <= end - where.end < 300
        assert rows[name].name == f"{what}|flag|hashes|Some {what}" and rows[name].score >= 3
    asked = run(world, "contamination.organelle_insertions=CUT", "contamination.rdna_insertions=DROP")
    assert of(asked, "numt")[0].outcome is Outcome.CUT and len(of(asked, "numt")[2]) == 2
    assert finals(asked)["x", "rdna"] == ("contamination", "rdna_insertion")


def test_pieces_reach_the_corpus_with_their_coordinates_and_no_region_spans_a_cut(cut, tmp_path):
    layout = CorpusConfig(region_bp=8_192, segment_bp=32_768, min_region_bp=1_024)
    corpus = write_corpus(cut.accepted, layout, out=tmp_path / "corpus", lineage={})
    sequences = dict(RECORDS)
    assert sum(record.name == "two" for record in corpus.records) == 3
    for row in range(corpus.regions.offset.size):
        record = corpus.records[corpus.regions.record[row]]
        start, length = record.start + corpus.regions.start[row], corpus.regions.length_bp[row]
        bases = corpus.bases[corpus.regions.offset[row] : corpus.regions.offset[row] + length] & BASE_MASK
        assert np.array_equal(bases, sequences[record.name][start : start + length])


def test_what_is_done_is_content_and_findings_are_read_back(world, cut, tmp_path):
    assert run(world).fingerprint != cut.fingerprint == run(world, *CUT).fingerprint
    cut.write(tmp_path)
    cut.write(tmp_path)
    assert read_ledger(tmp_path).findings == cut.ledger.findings
    assert len(list((tmp_path / "intervals").iterdir())) == 1 and {one.kind for one in cut.ledger.findings} == set(
        KINDS
    )


def test_bed_files_are_named_by_assembly_and_stale_ones_go(tmp_path):
    one = Finding("chr1", 5, 9, "vector", "a\tname", "VecScreen", 30.0, IntervalAction.CUT, "A b|c|d|e.fa")
    write_intervals(tmp_path / "intervals", [one, replace(one, assembly="A b|c d|e.fa"), replace(one, start=1)])
    names = sorted(path.name for path in (tmp_path / "intervals").iterdir())
    assert names == ["A_b_c_d_e.fa.bed", "A_b_c_d_e.fa_2.bed"]
    rows = read_bed(tmp_path / "intervals" / "A_b_c_d_e.fa_2.bed")
    assert [(row.interval.start, row.name, row.score) for row in rows] == [
        (1, "vector|cut|VecScreen|a name", 30.0),
        (5, "vector|cut|VecScreen|a name", 30.0),
    ]
    write_intervals(tmp_path / "intervals", [])
    assert not (tmp_path / "intervals").exists()


@pytest.mark.parametrize(
    ("cut_runs", "pieces"),
    [
        ([], [(0, 100)]),
        ([(0, 10)], [(10, 100)]),
        ([(40, 50), (55, 90)], [(0, 40), (90, 100)]),
        ([(0, 100)], []),
        ([(5, 98)], []),
    ],
)
def test_pieces_and_cuts_are_complements(cut_runs, pieces):
    found = pieces_of(np.array(cut_runs, dtype=np.int64).reshape(-1, 2), 100, min_piece_bp=10)
    assert found == pieces
    gaps = cuts_between(found, 100)
    covered = sorted([*found, *gaps])
    assert covered[0][0] == 0 and covered[-1][1] == 100
    assert all(a[1] == b[0] for a, b in zip(covered, covered[1:]))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"organelle_insertions": IntervalAction.MASK}, "FLAG, CUT or DROP"),
        ({"rdna_insertions": IntervalAction.MASK}, "FLAG, CUT or DROP"),
        ({"min_piece_bp": 20}, "at least k = 21"),
        ({"max_foreign_fraction": 1.5}, "between 0 and 1"),
    ],
)
def test_settings_that_can_not_be_are_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        ContaminationConfig(**asked)


@pytest.mark.parametrize("name", ["foreign_intervals", "vector_intervals"])
def test_contamination_is_left_in_only_where_the_stage_is_said_to_flag(name):
    left_in = ContaminationConfig(**{name: IntervalAction.FLAG})
    with pytest.raises(ValueError, match=f"{name} = FLAG would keep contamination"):
        CurationConfig(contamination=left_in, flag_only=["duplicates"])
    CurationConfig(contamination=left_in, flag_only=["contamination"])


def test_the_story_of_a_cut_record_tells_what_went_and_what_is_left(cut):
    final, measures, _ = of(cut, "two")
    story = tell(cut.ledger, final, settings(CurationConfig, CUT))
    assert story.out_bp == final.out_bp and story.chapters[1].outcome == "flagged"
    (said,) = [check.found for check in story.chapters[1].checks if check.what == "cut out"]
    assert said == f"{final.cut_bp:,} bp: " + ", ".join(f"{start:,}-{end:,}" for start, end in measures.cut)
    lines = list(explain_lines(story, None, at_hand=False))
    assert lines[1].startswith("kept in pieces with 2 flags: 103,800 bp in, ")
    assert f", {final.cut_bp:,} bp cut out, {measures.known_bp:,} of them known, 0 set to unknown" in lines[1]


def test_what_intervals_cover_counts_overlaps_once():
    def at(start, end):
        return Finding("r", start, end, "foreign", "x", "hashes", 0.0)

    fact = facts_of(codes=random_codes(1_000))
    assert coverage(fact, []) == ("0 of 1,000 bp (0.0%)", 0.0)
    text, share = coverage(fact, [at(500, 600), at(0, 100), at(550, 580), at(90, 120), at(600, 610)])
    assert (text, share) == ("230 of 1,000 bp (23.0%)", 0.23)

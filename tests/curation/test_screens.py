"""Reports of other tools as evidence: each action has its verdict, and a report of another file is an error."""

import numpy as np
import pytest

from plantgfm.curation import screens
from plantgfm.curation.config import ContaminationConfig, CurationConfig
from plantgfm.curation.curate import curate
from plantgfm.curation.prepare import artefact_key
from plantgfm.curation.store import FileHashes
from plantgfm.formats.errors import FormatError
from plantgfm.formats.manifest import REPORTS
from plantgfm.schema import Compartment, Outcome
from plantgfm.sequence import BASE_MASK
from tests.curation.planted import facts_of, finals, flags, random_codes, told, write_assembly
from tests.formats import reports

CONFIG = ContaminationConfig()
LENGTHS = {"a": 5_000, "b": 10_000, "c": 5_000}


@pytest.fixture
def judge(tmp_path):
    """Judges record `a` of 5,000 bp, or another, by the reports given as text."""

    def of(name="a", compartment=Compartment.NUCLEAR, **texts):
        paths = {column: tmp_path / f"{column}.txt" for column in texts}
        for column, path in paths.items():
            path.write_text(texts[column])
        assembly = write_assembly(tmp_path, "x", [("a", random_codes(100))], **paths)
        found = screens.read_screens(assembly, LENGTHS, CONFIG)
        return told(screens.judge_record(facts_of(name, random_codes(LENGTHS[name])), found, compartment, CONFIG))

    return of


def gx(*rows):
    return reports.GX_HEADER + "".join(f"{row}\tprok:firmicutes\t97\tBacillus sp.\n" for row in rows)


def adaptor(*rows):
    return reports.ADAPTOR_HEADER + "".join(f"{row}\t{reports.PRIMER}\n" for row in rows)


def outcomes(found):
    return [(verdict.outcome, verdict.reason) for verdict in found[0]]


def test_excluded_records_are_rejected_with_the_tool_as_evidence(judge):
    found = judge(fcs_gx=gx("a\t1\t5000\t5000\tEXCLUDE"))
    assert outcomes(found) == [(Outcome.REJECTED, "foreign_by_fcs_gx")] and found[1].size == 0
    assert found[0][0].stage == "contamination"
    assert "FCS-GX says EXCLUDE 0-5,000 (prok:firmicutes, Bacillus sp., 97 % covered)" in found[0][0].evidence
    found = judge(fcs_adaptor=adaptor("a\t5000\tACTION_EXCLUDE\t"))
    assert outcomes(found) == [(Outcome.REJECTED, "vector_by_fcs_adaptor")]
    assert judge("c", fcs_gx=gx("a\t1\t5000\t5000\tEXCLUDE"))[0] == [], "other records are not touched"


@pytest.mark.parametrize("said", ["lcl|a", "A", "LCL|A"])
def test_names_are_known_as_fcs_changes_them_and_only_where_one_can_be_meant(judge, said, monkeypatch):
    (verdict,), runs = judge(fcs_adaptor=adaptor(f"{said}\t5000\tACTION_TRIM\t1..90"))
    assert (verdict.record, verdict.reason) == ("a", "vector_by_fcs_adaptor_masked") and runs.tolist() == [[0, 90]]
    (verdict,), _ = judge(fcs_gx=gx(f"{said}\t1\t5000\t5000\tEXCLUDE"))
    assert (verdict.record, verdict.outcome) == ("a", Outcome.REJECTED)
    for other in ("A", "lcl|A"):
        monkeypatch.setitem(LENGTHS, other, 5_000)
    if said not in LENGTHS:
        with pytest.raises(FormatError, match="no such record"):
            judge(fcs_gx=gx(f"{said}\t1\t5000\t5000\tEXCLUDE"))


@pytest.mark.parametrize("action", ["TRIM", "FIX"])
def test_intervals_are_masked_and_flagged_up_to_the_share_of_the_stage(judge, action):
    found, runs = judge(fcs_gx=gx(f"a\t1\t1000\t5000\t{action}", f"a\t901\t1250\t5000\t{action}"))
    assert [(v.outcome, v.reason) for v in found] == [(Outcome.FLAGGED, "foreign_by_fcs_gx_masked")]
    assert runs.tolist() == [[0, 1_250]] and "1,250 of 5,000 bp (25.0%)" in found[0].evidence
    found, runs = judge(fcs_gx=gx(f"a\t1\t1251\t5000\t{action}"))
    assert [(v.outcome, v.reason) for v in found] == [(Outcome.REJECTED, "foreign_by_fcs_gx")] and runs.size == 0
    found, runs = judge(fcs_adaptor=adaptor("a\t5000\tACTION_TRIM\t1..58,4001..4033"))
    assert [(v.outcome, v.reason) for v in found] == [(Outcome.FLAGGED, "vector_by_fcs_adaptor_masked")]
    assert runs.tolist() == [[0, 58], [4_000, 4_033]]


@pytest.mark.parametrize("action", ["REVIEW", "REVIEW_RARE", "INFO", "PLASTID", "MITOCHONDRION", "PLASMID"])
def test_what_asks_for_a_look_is_a_flag(judge, action):
    found = judge(fcs_gx=gx(f"a\t1\t5000\t5000\t{action}"))
    assert outcomes(found) == [(Outcome.FLAGGED, f"{action.lower()}_by_fcs_gx")] and found[1].size == 0


def test_an_organelle_in_its_own_file_is_no_finding(judge):
    text = gx("a\t1\t5000\t5000\tPLASTID")
    assert judge(compartment=Compartment.PLASTID, fcs_gx=text)[0] == []
    assert len(judge(compartment=Compartment.MITOCHONDRION, fcs_gx=text)[0]) == 1


def kraken(taxon, hits):
    return {"kraken2": f"C\ta\t{taxon}\t5000\t{hits}\n", "kraken2_report": reports.KRAKEN_REPORT}


@pytest.mark.parametrize(
    ("taxon", "hits", "expected"),
    [
        (562, "562:200 561:60 0:740", [(Outcome.REJECTED, "foreign_by_kraken2")]),
        (562, "562:250 0:750", [(Outcome.FLAGGED, "review_by_kraken2")]),  # no more than a quarter
        (562, "562:300 33090:310 0:200", [(Outcome.FLAGGED, "review_by_kraken2")]),  # more of plants
        (562, "562:300 77:290 0:200", [(Outcome.REJECTED, "foreign_by_kraken2")]),  # 77 is not listed
        (562, "562:300 33090:20 77:290 0:200", [(Outcome.FLAGGED, "review_by_kraken2")]),
        (33_090, "33090:100 562:400", []),
        (2_759, "2759:900 562:90", []),  # eukaryotes hold plants
        (131_567, "131567:900", []),
    ],
)
def test_kraken2_rejects_what_is_foreign_by_its_kmers(judge, taxon, hits, expected):
    found = judge(**kraken(taxon, hits))
    assert outcomes(found) == expected and found[1].size == 0
    if expected:
        assert f"Escherichia coli (taxon {taxon})" in found[0][0].evidence


def test_several_tools_agree_in_one_rejection(judge):
    found, _ = judge(fcs_gx=gx("a\t1\t5000\t5000\tEXCLUDE"), **kraken(562, "562:900"))
    assert len(found) == 2
    (one,) = screens.settle(found)
    assert one.reason == "foreign_by_fcs_gx" and "; also Kraken 2 says" in one.evidence
    assert screens.settle([]) == []


@pytest.mark.parametrize(
    ("texts", "words", "line"),
    [
        ({"fcs_gx": gx("z\t1\t9\t5000\tTRIM")}, "no such record", 3),
        ({"fcs_gx": gx("a\t1\t9\t5001\tTRIM")}, "states 5,001 bp, the FASTA file has 5,000", 3),
        ({"fcs_adaptor": adaptor("a\t4999\tACTION_TRIM\t1..9")}, "states 4,999 bp", 2),
        (kraken(77, "562:9"), "taxon 77 is not in .*kraken2_report.txt; give output", 1),
        ({**kraken(562, "562:9"), "kraken2": "U\tb\t0\t5000\t0:9\n"}, "has 10,000", 1),
    ],
)
def test_a_report_of_another_file_or_run_is_an_error(judge, texts, words, line):
    with pytest.raises(FormatError, match=words) as caught:
        judge(**texts)
    assert caught.value.line == line


RECORDS = [(name, random_codes(20_000, seed)) for seed, name in enumerate(("clean", "dirty", "cut", "odd"), 40)]


def reported(folder, **texts):
    folder.mkdir(exist_ok=True)
    for column, text in texts.items():
        (folder / f"{column}.txt").write_text(text)
    return write_assembly(folder, "x", RECORDS, **{column: folder / f"{column}.txt" for column in texts})


def test_reports_work_from_end_to_end(tmp_path):
    rows = ("dirty\t1\t20000\t20000\tEXCLUDE", "cut\t1001\t2000\t20000\tFIX", "odd\t1\t20000\t20000\tREVIEW")
    found = curate([reported(tmp_path, fcs_gx=gx(*rows))], CurationConfig(), store=tmp_path / "s")
    assert finals(found) == {
        ("x", "clean"): ("accepted", "accepted"),
        ("x", "dirty"): ("contamination", "foreign_by_fcs_gx"),
        ("x", "cut"): ("accepted", "accepted"),
        ("x", "odd"): ("accepted", "accepted"),
    }
    assert flags(found) == {("x", "cut"): {"foreign_by_fcs_gx_masked"}, ("x", "odd"): {"review_by_fcs_gx"}}
    (cut,) = [one.load() & BASE_MASK for one in found.accepted if one.name == "cut"]
    assert np.flatnonzero(cut == 4).tolist() == list(range(1_000, 2_000))


def test_a_changed_report_prepares_its_assembly_alone_again(tmp_path):
    first = reported(tmp_path / "one", fcs_gx=gx(), busco=reports.BUSCO_TEXT)
    other = write_assembly(tmp_path / "two", "y", [("r", random_codes(20_000, 50))], species="Alter duo")
    plain = write_assembly(tmp_path / "one", "x", RECORDS)
    store = tmp_path / "s"
    before = curate([first, other], CurationConfig(), store=store)
    assert curate([first, other], CurationConfig(), store=store).reused == 2
    assert before.fingerprint == curate([plain, other], CurationConfig(), store=store).fingerprint, "clean is clean"
    reported(tmp_path / "one", fcs_gx=gx("dirty\t1\t20000\t20000\tEXCLUDE"))
    after = curate([first, other], CurationConfig(), store=store)
    assert after.reused == 1 and after.fingerprint != before.fingerprint
    assert finals(after)["x", "dirty"] == ("contamination", "foreign_by_fcs_gx")


def test_a_summary_of_genes_is_of_the_assembly(tmp_path):
    few = reports.COMPLEASM.replace("S:97.03%, 2257", "S:1.00%, 1").replace("M:0.82%, 19", "M:96.9%, 2275")
    whole = reported(tmp_path / "whole", busco=few)
    whole = write_assembly(tmp_path / "whole", "x", RECORDS, busco=whole.busco, expected_size_bp=80_000)
    found = curate([whole], CurationConfig(), store=tmp_path / "s")
    assert set(finals(found).values()) == {("completeness", "genes_missing")}
    piece = curate([reported(tmp_path / "piece", busco=few)], CurationConfig(), store=tmp_path / "s")
    assert {stage for stage, _ in finals(piece).values()} == {"accepted"}
    assert set(map(frozenset, flags(piece).values())) == {frozenset({"genes_missing"})}
    proteins = reported(tmp_path / "proteins", busco=reports.BUSCO_TEXT.replace("euk_genome_min", "proteins"))
    with pytest.raises(FormatError, match="mode 'proteins'"):
        curate([proteins], CurationConfig(), store=tmp_path / "s")


def test_own_screen_and_reports_end_a_record_once(tmp_path):
    row = write_assembly(tmp_path, "x", [("ChrC", random_codes(20_000, 51))], compartment=Compartment.NUCLEAR)
    (tmp_path / "gx.txt").write_text(gx("ChrC\t1\t20000\t20000\tEXCLUDE"))
    row = write_assembly(tmp_path, "x", [("ChrC", random_codes(20_000, 51))], fcs_gx=tmp_path / "gx.txt")
    found = curate([row], CurationConfig(), store=tmp_path / "s")
    (decision,) = found.ledger.decisions
    assert decision.reason == "plastid_under_nuclear_label" and "; also FCS-GX says EXCLUDE" in decision.evidence


@pytest.mark.parametrize("column", REPORTS)
def test_every_report_counts_in_the_key_of_an_artefact(tmp_path, column):
    def key():
        row = write_assembly(tmp_path, "x", [("r", random_codes(100))], **{column: tmp_path / "report"})
        return artefact_key(row, CurationConfig(), "", FileHashes(tmp_path / "no.json"))

    (tmp_path / "report").write_text("one")
    first = key()
    (tmp_path / "report").write_text("other")
    assert key() != first

"""Aligners: found or not, run, read, and turned into rankings and confirmations."""

import shutil
import stat

import numpy as np
import pytest

from plantgfm.retrieval import tools
from plantgfm.retrieval.aligned import WindowIndex, confirm, ranking_of
from plantgfm.retrieval.tools import Aligned, align, chosen_tools, plain_target, protein_of
from plantgfm.sequence import Interval, encode, reverse_complement, translate
from tests.fixtures import random_codes, record
from tests.retrieval.worlds import windows


@pytest.fixture
def path(tmp_path, monkeypatch):
    """An empty PATH, but for what a test puts on it, and no mappy."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("cat", "sh", "cp"):
        (folder / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(tools, "mappy", lambda: None)
    return folder


def install(folder, name, *, said="", script=None):
    """A program that notes how it was called and with which files, and writes a table where it is told to."""
    (folder / f"{name}.said").write_text(said)
    out = f'cat "{folder}/{name}.said"'
    body = script or f'echo "$@" > "{folder}/{name}.called"\n{out}\n'
    program = folder / name
    program.write_text(f"#!/bin/sh\n{body}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def blast(folder, name, said):
    """As BLAST does: the table goes to the file behind -out, which stands last."""
    script = f'echo "$@" > "{folder}/{name}.called"\nfor last; do :; done\ncat "{folder}/{name}.said" > "$last"\n'
    install(folder, name, said=said, script=script)


def found(tool, *, queries=1, proteins=None, places=None):
    codes = [random_codes(60, seed=n) for n in range(queries)]
    places = places or [
        (Interval("chr1", 0, 1_000), random_codes(1_000)),
        (Interval("chr2", 500, 900), random_codes(400)),
    ]
    with plain_target(places) as target:
        return align(tool, codes, proteins or {}, target)


def test_what_is_not_installed_is_told_and_refused_by_name(path):
    chosen, absent = chosen_tools("auto")
    assert chosen == [] and set(absent) == set(tools.TOOLS)
    assert absent["tblastn"] == "not on the PATH" and "pip install mappy" in absent["minimap2"]
    install(path, "mmseqs")
    assert chosen_tools("auto")[0] == ["MMseqs2"] and chosen_tools("mmseqs2") == (["MMseqs2"], {})
    assert chosen_tools("none") == ([], {})
    with pytest.raises(ValueError, match="tblastx is not on the PATH"):
        chosen_tools("MMseqs2,tblastx")
    with pytest.raises(ValueError, match="'lastz' is none of minimap2, "):
        chosen_tools("lastz")


def test_minimap2_s_paf_is_read_as_the_manual_has_it(path):
    line = "q1\t60\t4\t58\t-\tt1\t400\t100\t154\t50\t54\t60\ttp:A:P\tcm:i:5\ts1:i:49"
    install(path, "minimap2", said=line + "\n")
    (one,) = found("minimap2", queries=2)
    assert one == Aligned(1, Interval("chr2", 600, 654, "-"), (4, 58), 50 / 54, 50.0)
    assert "-k13 -w5" in (path / "minimap2.called").read_text()


def test_miniprot_gets_proteins_alone_and_unplaced_ones_are_passed_over(path):
    install(
        path,
        "miniprot",
        said="q0\t20\t0\t20\t+\tt0\t1000\t10\t70\t57\t60\t0\tAS:i:90\nq0\t20\t0\t0\t*\t*\t0\t0\t0\t0\t0\t0\n",
    )
    assert found("miniprot") == []
    assert not (path / "miniprot.called").exists()
    assert found("miniprot", proteins={0: "MKV"}) == [Aligned(0, Interval("chr1", 10, 70, "+"), (0, 20), 0.95, 57.0)]


def test_tables_of_blast_are_one_based_and_turn_where_the_strand_does(path):
    """Query forward and subject backward is the minus strand; both backward is the plus strand."""
    rows = [
        "q0\tt1\t80.0\t1\t30\t130\t41\t55.5",
        "q0\tt0\t50.000\t30\t1\t99\t10\t30",
        "q0\tt0\t50.000\t30\t1\t10\t99\t30",
    ]
    blast(path, "tblastx", "\n".join(rows) + "\n")
    assert found("tblastx") == [
        Aligned(0, Interval("chr2", 540, 630, "-"), (0, 30), 0.8, 55.5),
        Aligned(0, Interval("chr1", 9, 99, "+"), (0, 30), 0.5, 30.0),
        Aligned(0, Interval("chr1", 9, 99, "-"), (0, 30), 0.5, 30.0),
    ]
    called = (path / "tblastx.called").read_text()
    assert "-outfmt 6 qseqid sseqid pident qstart qend sstart send bitscore" in called


def test_mmseqs_writes_to_its_third_argument(path):
    script = f'echo "$@" > "{path}/called"\ncat "{path}/mmseqs.said" > "$4"\n'
    install(path, "mmseqs", said="q0\tt0\t75.0\t3\t50\t21\t68\t77\n", script=script)
    assert found("MMseqs2") == [Aligned(0, Interval("chr1", 20, 68, "+"), (2, 50), 0.75, 77.0)]
    assert "--search-type 2" in (path / "called").read_text()


def test_a_tool_that_fails_or_says_nonsense_is_one_line(path):
    install(path, "minimap2", script="echo bad index >&2; exit 3\n")
    with pytest.raises(ValueError, match="minimap2 ended with status 3: bad index; --tools none"):
        found("minimap2")
    install(path, "minimap2", said="q0\tnothing\n")
    with pytest.raises(ValueError, match="minimap2 wrote a line that is not PAF"):
        found("minimap2")
    blast(path, "tblastx", "q0\tt0\tmuch\t1\t2\t3\t4\t5\n")
    with pytest.raises(ValueError, match="tblastx wrote a line that is not in the table asked for"):
        found("tblastx")


def test_a_protein_is_read_where_no_stop_interrupts():
    codes = encode("ATGGCTGCAGCTGCTGCTGCTGCTGCTGCTAAATAA")
    assert translate(codes) == "MAAAAAAAAAK*" and protein_of(codes) == "MAAAAAAAAAK"
    assert translate(encode("ATGNCT")) == "MX"
    assert protein_of(codes[:-1]) is None  # no whole codons
    assert protein_of(encode("ATGTAA" + "GCT" * 10)) is None
    assert protein_of(encode("ATG" * 9)) is None  # shorter than 10 residues


def test_windows_over_a_place_are_those_that_share_a_base_with_it():
    places = [Interval("a", 0, 100), Interval("a", 50, 150), Interval("b", 0, 100), Interval("a", 100, 130)]
    index = WindowIndex(windows(places))
    rows, shared = index.over(Interval("a", 90, 110))
    assert dict(zip(rows.tolist(), shared.tolist())) == {0: 10, 1: 20, 3: 10}
    assert index.over(Interval("a", 150, 160))[0].size == 0 and index.over(Interval("c", 0, 9))[0].size == 0


def test_windows_rank_by_how_much_of_the_alignments_they_hold():
    """Two exons of 30 bits beat one alignment of 50 of which half lies outside; a window without any has no rank."""
    targets = windows([Interval("a", start, start + 100) for start in (0, 100, 200, 300)])
    hits = [
        Aligned(0, Interval("a", 10, 40), (0, 30), 0.9, 30.0),
        Aligned(0, Interval("a", 60, 90), (30, 60), 0.9, 30.0),
        Aligned(0, Interval("a", 150, 250), (0, 60), 0.9, 50.0),
    ]
    ranking = ranking_of(hits, targets, pools=[range(len(targets))] * 2, top_k=50)
    assert ranking.rows[0].tolist() == [0, 1, 2] and ranking.scores[0].tolist() == [60.0, 25.0, 25.0]
    assert ranking.rows[1].size == 0


def test_a_place_is_confirmed_by_the_best_alignment_in_its_own_band(path):
    """The first tool goes before the second, whose bits are not of its kind; bands that touch are searched once."""
    paf = "q0\t60\t0\t60\t+\tt0\t600\t{}\t{}\t{}\t60\t60\n"
    install(path, "minimap2", said=paf.format(110, 170, 45) + paf.format(300, 360, 54) + paf.format(540, 600, 59))
    blast(path, "tblastx", "q0\tt0\t90.0\t1\t30\t1\t30\t999\nq1\tt0\t90.0\t1\t30\t1\t30\t9\n")
    places = [(0, Interval("a", 200, 400)), (0, Interval("a", 400, 600)), (1, Interval("a", 200, 400))]
    codes, records = [random_codes(60)] * 2, [record("b", random_codes(50)), record("a", random_codes(700))]
    said = confirm(["minimap2", "tblastx"], codes, {}, places, records, margin_bp=100)
    assert [(one.tool, one.where.start, one.identity) for one in said] == [
        ("minimap2", 400, 0.9),  # t0 begins at 100; the one at 640 lies outside this band
        ("minimap2", 640, 59 / 60),
        ("tblastx", 100, 0.9),
    ]
    assert confirm(["minimap2"], codes, {}, [], records, margin_bp=10) == []
    assert confirm(["minimap2"], codes, {}, places[2:], records, margin_bp=100) == [None]


def test_mappy_finds_a_diverged_piece_on_the_other_strand():
    pytest.importorskip("mappy", reason="mappy is optional: pip install mappy needs a C compiler")
    target = random_codes(20_000, seed=3)
    piece = reverse_complement(target[5_000:5_600]).copy()
    piece[::31] = (piece[::31] + 1) % 4
    with plain_target([(Interval("chr1", 100, 20_100), target)]) as where:
        (one,) = align("minimap2", [random_codes(300, seed=9), piece], {}, where)
    assert one.query == 1 and one.where.strand == "-"
    assert abs(one.where.start - 5_100) < 20 and abs(one.where.end - 5_700) < 20
    assert one.identity == pytest.approx(30 / 31, abs=0.02) and one.score == pytest.approx(600 * 30 / 31, abs=20)
    assert np.ptp(one.query_span) > 560

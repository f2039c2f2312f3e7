"""A record's story in words: from a run, from a curation alone, and from a ledger of older code."""

import json
import shutil

import pytest
from click.testing import CliRunner

from plantgfm.cli import commands
from plantgfm.curation.assemblies import COLUMNS
from plantgfm.curation.config import CurationConfig
from plantgfm.curation.curate import curate
from plantgfm.curation.ledger import read_ledger
from plantgfm.formats.tables import read_tsv
from plantgfm.wiring.explain import explain
from tests.curation.planted import random_codes, write_assembly
from tests.curation.small import make_world
from tests.formats import reports
from tests.wiring.runs import curated_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    _, corpus = curated_run(folder / "run", make_world(folder), folder)
    return folder / "run", corpus


def test_a_kept_record_accounts_for_every_base(run):
    (text,) = explain(run[0], "chimera")
    head = text.splitlines()[1]
    masked = int(head.split(" set to unknown")[0].split()[-1].replace(",", ""))
    assert 2_400 < masked <= 3_000
    assert head.startswith(
        f"kept with 1 flag: 43,000 bp in, 43,000 bp out, {43_000 - masked:,} of them known, {masked:,} set to unknown"
    )
    stages = [line for line in text.splitlines() if line[:1].isdigit()]
    assert stages == [
        "1. completeness: passed",
        "2. contamination: flagged",
        "3. assembly_score: passed",
        "4. duplicates: passed",
        "5. label: passed",
    ]
    assert "   length: 43,000 bp   [at least 1,000: met]" in text
    assert "   flagged foreign_organism_masked: " in text and "like Some bacterium" in text


def test_split_regions_are_those_of_the_corpus_and_sum_to_the_record(run):
    path, corpus = run
    (text,) = explain(path, "chr1", assembly="testus")
    lines = text.split(f"corpus {corpus.fingerprint}: 60,000 bp\n")[1].splitlines()
    (index,) = [i for i, r in enumerate(corpus.records) if (r.species, r.name) == ("Testus unus", "chr1")]
    regions, total = corpus.regions, 0
    for split, line in enumerate(lines):
        mine = (regions.record == index) & (regions.split == split)
        total += int(regions.length_bp[mine].sum())
        assert f": {mine.sum()} region{'' if mine.sum() == 1 else 's'}, {regions.length_bp[mine].sum():,} bp" in line
        if split and mine.any():
            start, length = int(regions.start[mine][0]), int(regions.length_bp[mine][0])
            assert f"{start:,}-{start + length:,}" in line
    assert len(lines) == 3 and total == 60_000


def test_a_duplicate_names_what_was_kept(run):
    (twin,) = explain(run[0], "twin")
    assert "rejected by duplicates (reverse_complement_twin): 40,000 bp in, 0 bp out" in twin
    assert "   kept in its place: chr2 of Testus unus||first|first.fa.gz, 40,000 of its 40,000 bp kept" in twin
    assert "NOT MET" in twin and "5. label: not reached" in twin and twin.endswith("corpus: nothing of it")
    (chr2,) = explain(run[0], "chr2")
    assert "   kept in the place of Testus unus||again|again.fa.gz as a whole (3 records)" in chr2
    assert "   kept in the place of twin of Testus unus||first|first.fa.gz, 0 of its 40,000 bp kept, rejected: " in chr2


def test_a_name_of_several_assemblies_is_told_for_each(run):
    result = CliRunner().invoke(commands, ["explain", str(run[0]), "chr1"])
    assert result.exit_code == 0
    assert result.output.startswith("chr1 lies in 2 assemblies; --assembly chooses\n\nchr1 of Tertius tres | Tres |")
    assert "\n\nchr1 of Testus unus | – | first | first.fa.gz\n" in result.output
    assert "verified: distance to the reference of A1" in result.output


def test_a_curation_alone_and_a_corpus_named_or_gone(run, tmp_path):
    path, corpus = run
    assert explain(path / "ledger", "chr2")[0].endswith("name it with --corpus to see its split regions")
    assert explain(path / "ledger", "chr2", corpus=corpus.path) == explain(path, "chr2")
    assert explain(path / "ledger", "chr2", corpus=path) == explain(path, "chr2")
    shutil.copytree(path / "ledger", tmp_path / "run" / "ledger")
    stored = json.loads((path / "settings.json").read_text())
    (tmp_path / "run" / "settings.json").write_text(json.dumps({**stored, "corpus": str(tmp_path / "gone")}))
    assert "corpus: not at hand" in explain(tmp_path / "run", "chr2")[0]


def test_a_record_of_another_curation_is_said_not_to_be_in_the_corpus(run, tmp_path):
    world = tmp_path / "world"
    rows = make_world(world)
    _, other = curated_run(tmp_path / "other", rows[2:], world)
    (text,) = explain(run[0], "chr2", corpus=other.path)
    assert f"corpus {other.fingerprint}: this record is not in it" in text


def test_a_corpus_that_is_named_wrongly_is_an_error_even_where_nothing_is_asked_of_it(run, tmp_path):
    with pytest.raises(ValueError, match="is no corpus"):
        explain(run[0], "cut", corpus=tmp_path)


def test_a_ledger_of_older_code_says_that_figures_are_missing(run, tmp_path):
    folder = tmp_path / "ledger"
    shutil.copytree(run[0] / "ledger", folder)
    stated = json.loads((folder / "ledger.json").read_text())
    (folder / "ledger.json").write_text(json.dumps({k: stated[k] for k in ("input", "totals", "rows")}))
    (text,) = explain(folder, "cut")
    assert "before figures were kept: curate again" in text and "rejected truncated: 5,000 bp, but" in text


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"completeness": 3}, "settings of 'completeness' are damaged"), ({"old": {}}, "'old', which CurationConfig")],
)
def test_thresholds_that_cannot_be_read_are_one_clear_error(run, tmp_path, settings, said):
    shutil.copytree(run[0] / "ledger", tmp_path / "ledger")
    stated = json.loads((tmp_path / "ledger" / "ledger.json").read_text())
    (tmp_path / "ledger" / "ledger.json").write_text(json.dumps({**stated, "settings": settings}))
    with pytest.raises(ValueError, match=said):
        explain(tmp_path / "ledger", "chr2")


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda folder: folder / "absent", "absent is no folder"),
        (lambda folder: folder, "holds none of these files"),
        (lambda folder: (folder / "ledger.json").write_text("{") and folder, "holds a damaged ledger"),
        (lambda folder: (folder / "settings.json").write_text("{") and folder, "settings.json is no JSON"),
        (lambda folder: (folder / "settings.json").write_text("{}") and folder, "settings.json lacks 'config'"),
        (lambda folder: (folder / "settings.json").write_text("[]") and folder, "settings.json holds list"),
        (
            lambda folder: (
                (folder / "settings.json").write_text('{"config":{"corpus":{},"curation":{}},"corpus":"c"}') and folder
            ),
            "ledger holds no ledger",
        ),
        (lambda folder: (folder / "corpus.json").write_text("{}") and folder, "its ledger lies with the run"),
    ],
)
def test_a_wrong_folder_is_one_clear_error(tmp_path, prepare, said):
    with pytest.raises(ValueError) as error:
        explain(prepare(tmp_path), "chr1")
    assert said in str(error.value) and str(tmp_path) in str(error.value)


def reported(folder, **more):
    """The ledger of an assembly on which FCS-GX, Kraken 2 and compleasm have reports, each with a finding."""
    source = "20000\t{}\tprok:firmicutes\t97\tBacillus sp.\n"
    rows = (("dirty\t1\t20000", "EXCLUDE"), ("cut\t1001\t2000", "FIX"), ("both\t1001\t2000", "FIX"))
    texts = {
        "fcs_gx": reports.GX_HEADER + "".join(f"{place}\t{source.format(action)}" for place, action in rows),
        "kraken2": "C\tboth\t562\t20000\t562:900\n",
        "kraken2_report": reports.KRAKEN_REPORT,
        "busco": reports.COMPLEASM.replace("S:97.03%, 2257", "S:1.00%, 1").replace("M:0.82%, 19", "M:96.9%, 2275"),
    }
    for column, text in texts.items():
        (folder / column).write_text(text)
    records = [(name, random_codes(20_000, seed)) for seed, name in enumerate(("clean", "dirty", "cut", "both"), 190)]
    row = write_assembly(folder, "x", records, **{column: folder / column for column in texts}, **more)
    curate([row], CurationConfig(), store=folder / "store").write(folder / "ledger")
    return folder / "ledger"


def test_reports_of_other_tools_are_part_of_the_story(tmp_path):
    folder = reported(tmp_path)
    (clean,), (dirty,), (cut,), (both,) = (explain(folder, name) for name in ("clean", "dirty", "cut", "both"))
    assert clean.splitlines()[1].startswith("kept with 1 flag: 20,000 bp in, 20,000 bp out, 20,000 of them known")
    assert "   flagged genes_missing: compleasm against eudicots_odb10 finds C:" in clean
    assert "reports that the manifest names: nothing found" in clean
    assert "rejected by contamination (foreign_by_fcs_gx): 20,000 bp in, 0 bp out" in dirty
    assert "   rejected foreign_by_fcs_gx: FCS-GX says EXCLUDE 0-20,000 (prok:firmicutes, " in dirty
    assert "20,000 bp out, 19,000 of them known, 1,000 set to unknown by curation" in cut
    assert "   masked (set to unknown): 1,000 bp: 1,000-2,000\n   flagged foreign_by_fcs_gx_masked: FCS-GX " in cut
    assert "   rejected foreign_by_kraken2: Kraken 2 says Escherichia coli" in both and "masked (" not in both
    (measures,) = [m for m in read_ledger(folder).measures if m.record == "both"]
    assert (measures.masked, measures.masked_bp) == ([], 0), "of what is rejected nothing is masked"


def test_a_genome_rejected_for_its_genes_still_tells_its_size(tmp_path):
    (text,) = explain(reported(tmp_path, expected_size_bp=80_000), "clean")
    assert "rejected by completeness (genes_missing): 20,000 bp in, 0 bp out" in text
    assert "   assembly: 80,000 known bp, 1.00 of the genome size of 80,000   [0.5 to 1.8 (above: " in text
    assert "2. contamination: not reached" in text


def test_the_ledger_and_the_table_of_assemblies_say_the_same(run):
    tabled = {row["assembly"]: row for row in read_tsv(run[0] / "ledger" / "assemblies.tsv", required=COLUMNS)}
    stated = read_ledger(run[0] / "ledger").assemblies
    assert len(stated) == len(tabled) == 4
    for one in stated:
        figures = {name: getattr(one, name) for name in ("records", "length_bp", "unknown_bp", "n50_bp", "ng50_bp")}
        told = {name: tabled[one.assembly][name] for name in figures}
        assert told == {name: "" if value is None else str(value) for name, value in figures.items()}

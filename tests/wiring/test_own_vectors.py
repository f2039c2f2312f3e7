"""A search of a target that comes without vectors: they are made of its parts, beside the hits."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from plantgfm.cli import commands
from plantgfm.embedding.config import Storage
from plantgfm.embedding.store import open_vectors, read_origin
from plantgfm.formats.fasta import read_fasta, write_fasta
from plantgfm.retrieval import localize
from plantgfm.retrieval.config import RankBy, RetrievalConfig
from plantgfm.wiring import retrieval as module
from plantgfm.wiring import retrieval_evaluation as evaluation
from plantgfm.wiring.downstream import embed_files
from plantgfm.wiring.retrieval import PARTS, TARGET_VECTORS, retrieve_files
from tests.fixtures import random_codes, record

CONFIG = RetrievalConfig(null_queries=3, resamples=20, permutations=2)


@pytest.fixture(scope="module")
def made(bundle, search, tmp_path_factory):
    """A folder of hits, and what was found, with no vectors at hand."""
    out = tmp_path_factory.mktemp("made") / "hits"
    return out, retrieve_files(bundle, out, replace(search, vectors=None), CONFIG)


def tables(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != TARGET_VECTORS}


def test_parts_of_the_target_are_embedded_and_found_by(made, bundle, search, tmp_path):
    out, outcome = made
    settings = read_origin(out / TARGET_VECTORS)["settings"]
    assert (settings["part_bp"], settings["layer"], settings["storage"]) == (96, 0, "int8")
    methods = {one.method: one.mean_reciprocal_rank for one in outcome.evaluation.methods}
    assert methods["fused"] == 1.0 and methods["model"] > methods["chance, closed form"]
    assert "untrained model" in methods
    assert str(out / TARGET_VECTORS) in outcome.found.notes()[0]
    embed_files(bundle, tmp_path / "v.parquet", fasta=search.target, manifest=None, config=PARTS)
    given = retrieve_files(bundle, tmp_path / "given", replace(search, vectors=tmp_path / "v.parquet"), CONFIG)
    assert tables(tmp_path / "given") == tables(out) and len(given.found.notes()) == len(outcome.found.notes()) - 1


def test_a_fine_scan_holds_no_more_parts_than_its_windows(bundle, search, tmp_path, monkeypatch):
    widths, plain = [], localize._scored
    monkeypatch.setattr(
        localize, "_scored", lambda f, scan, *rest: widths.append(scan.vectors.shape) or plain(f, scan, *rest)
    )
    config = replace(CONFIG, localize_hits=2, scan_window_bp=100)
    outcome = retrieve_files(bundle, tmp_path / "hits", replace(search, vectors=None), config)
    ((n, width),) = widths
    own, given = outcome.found.embedding.queries.width, outcome.found.targets.origin["settings"]["window_bp"]
    assert width == 2 * own and given > 150 and n  # 100 bp have two parts of 96
    first = {span.query: span.where for span in outcome.spans if span.rank == 1}
    assert len(first) == 6 and all(where.length_bp < given for where in first.values())


def test_a_second_search_reads_the_vectors_again_and_writes_the_same(made, bundle, search):
    out, _ = made
    before, written = tables(out), (out / TARGET_VECTORS).stat().st_mtime_ns
    retrieve_files(bundle, out, replace(search, vectors=None), CONFIG)
    assert tables(out) == before and (out / TARGET_VECTORS).stat().st_mtime_ns == written


def test_vectors_of_another_target_take_the_place_of_those_that_are_there(made, bundle, search, tmp_path):
    write_fasta(tmp_path / "a.fa", [*read_fasta(search.target[0])])
    write_fasta(tmp_path / "b.fa", [record("chr2", random_codes(900, seed=5))])
    both, alone = (tmp_path / "a.fa", tmp_path / "b.fa"), replace(CONFIG, rank_by=RankBy.EMBEDDING)
    plain = replace(search, vectors=None, truth=None, untrained=None)
    for target, names in ((both, ["chr1", "chr2"]), (both[:1], ["chr1"])):
        outcome = retrieve_files(bundle, tmp_path / "hits", replace(plain, target=target), alone)
        assert outcome.found.targets.names == names
        assert outcome.found.notes()[1:] == ["ranked by the embedding alone"]  # --target is there already
        stored = read_origin(tmp_path / "hits" / TARGET_VECTORS)["inputs"]
        assert [one["file"] for one in stored] == [path.name for path in target]


def test_untrained_vectors_are_rounded_as_the_trained_ones_are(made, bundle, search, tmp_path, monkeypatch):
    seen = []
    write = evaluation.write_vectors

    def spy(path, blocks, **options):
        counts = write(path, blocks, **options)
        seen.append(open_vectors(path).storage)
        return counts

    monkeypatch.setattr(evaluation, "write_vectors", spy)
    retrieve_files(bundle, tmp_path / "o", replace(search, vectors=made[0] / TARGET_VECTORS), CONFIG)
    assert seen == [Storage.INT8]


def test_what_lies_among_unknown_bases_is_told_not_to_be_searched(bundle, search, tmp_path):
    codes = random_codes(1_500, seed=6)
    codes[:400] = 4
    write_fasta(tmp_path / "n.fa", [record("chr2", codes)])
    plain = replace(search, vectors=None, truth=None, untrained=None, target=(*search.target, tmp_path / "n.fa"))
    for _ in range(2):  # made, and read again
        outcome = retrieve_files(bundle, tmp_path / "hits", plain, replace(CONFIG, rank_by=RankBy.EMBEDDING))
        first = int(outcome.found.targets.start[outcome.found.targets.sequence == 1].min())
        assert 300 < first < 600
        assert outcome.found.notes()[1] == (
            f"{first} of 7,500 bp of the target were not searched: windows with more than a tenth of N are left out"
        )


def test_a_target_of_unknown_bases_alone_is_told_and_leaves_nothing(bundle, search, tmp_path):
    codes = random_codes(1_500, seed=6)
    codes[:] = 4
    write_fasta(tmp_path / "n.fa", [record("chr2", codes)])
    plain = replace(search, vectors=None, truth=None, untrained=None, target=(tmp_path / "n.fa",))
    with pytest.raises(ValueError, match="no window was left to embed"):
        retrieve_files(bundle, tmp_path / "hits", plain, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["n.fa"]


def test_wrong_input_is_told_before_the_target_is_embedded(bundle, search, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "embed_files", lambda *args, **options: pytest.fail("the target was embedded"))
    plain = replace(search, vectors=None)
    wrong = tmp_path / "wrong.tsv"
    wrong.write_text("query\tchr\tstart\tend\nq0\tchr9\t1\t5\n")
    write_fasta(tmp_path / "long.fa", [record("long", random_codes(6_001))])
    for changed, settings, said in (
        ({"truth": wrong}, {}, "1 labels lie on sequences that were not processed"),
        ({"queries": tmp_path / "none.fa"}, {}, "none.fa"),
        ({"queries": tmp_path / "long.fa", "truth": None, "untrained": None}, {}, "query and target may have changed"),
        ({"target": search.target * 2}, {}, "--target has sequence 'chr1' twice: give each file once"),
        ({"untrained": tmp_path / "none"}, {}, "none is no bundle"),
        ({}, {"csls": 3}, "csls=3 is of cosines of whole windows.*: leave it out, or give --vectors"),
        ({}, {"motifs": "none.meme"}, "none.meme"),
        ({}, {"localize_hits": 2, "scan_window_bp": 5_000}, "scan_window_bp=5000 is wider"),
    ):
        with pytest.raises((ValueError, OSError), match=said):
            retrieve_files(bundle, tmp_path / "hits", replace(plain, **changed), replace(CONFIG, **settings))
    monkeypatch.setattr(module, "open_encoder", lambda path: SimpleNamespace(window_bp=0))  # of transformers
    with pytest.raises(ValueError, match="embed the target with `plantgfm embed --window-bp`, and give --vectors"):
        retrieve_files(bundle, tmp_path / "hits", plain, CONFIG)
    assert not (tmp_path / "hits").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "give --target, the FASTA to search, or --vectors"),
        (["--target", "t.fa", "--reranker", "r.json", "--target-species", "A b"], "--reranker needs --vectors"),
        (["--target", "t.fa", "--projection", "p.json", "--target-species", "A b"], "--projection needs --vectors"),
    ],
)
def test_what_needs_vectors_says_so(bundle, tmp_path, options, said):
    asked = ["retrieve", str(bundle), "--queries", "q.fa", *options, "--out", str(tmp_path)]
    told = CliRunner().invoke(commands, asked)
    assert told.exit_code != 0 and said in str(told.exception or told.output)


def test_cosines_of_parts_that_find_no_room_are_told(made, bundle, search, monkeypatch, tmp_path):
    out, _ = made
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1_000})())
    with pytest.raises(ValueError, match="TMPDIR to a larger disk, give fewer queries, or --vectors"):
        retrieve_files(bundle, tmp_path / "hits", replace(search, vectors=out / TARGET_VECTORS), CONFIG)

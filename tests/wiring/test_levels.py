"""Queries much shorter than a window: windows of their own, made once, and tables that hold both levels."""

import os
from dataclasses import replace
from threading import Thread

import pytest

from plantgfm.embedding.config import EmbeddingConfig
from plantgfm.embedding.embed import Embedder
from plantgfm.embedding.encoders import open_encoder
from plantgfm.formats import bigwig
from plantgfm.formats.fasta import write_fasta
from plantgfm.formats.staging import hold
from plantgfm.formats.tables import read_tsv
from plantgfm.identity import read_json
from plantgfm.retrieval import levels as levels_module
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.queries import query_of
from plantgfm.retrieval.targets import Targets
from plantgfm.sequence import Interval
from plantgfm.wiring import levels as module
from plantgfm.wiring.downstream import embed_files
from plantgfm.wiring.retrieval import RetrievalInputs, retrieve_files
from plantgfm.wiring.retrieval_report import write_retrieval_report
from tests.fixtures import random_codes, record, write_small_bundle

CONFIG = RetrievalConfig(null_queries=3, resamples=20, permutations=2, localize_hits=1, tools="none")
LONG, SHORT = [f"long{n}" for n in range(3)], [f"short{n}" for n in range(6)]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Three queries of a window's length and six of a fifth of it, in turn; half of a hole of N in the target."""
    folder = tmp_path_factory.mktemp("levels")
    target = random_codes(5_000, seed=5)
    target[2_000:2_500] = 4
    write_fasta(folder / "t.fa", [record("chr1", target)])
    config = EmbeddingConfig(window_bp=480, batch_windows=4)
    bundle = write_small_bundle(folder / "bundle")
    embed_files(bundle, folder / "v.parquet", fasta=folder / "t.fa", manifest=None, config=config)
    places = {name: (2_700 + 600 * n, 480) for n, name in enumerate(LONG)}
    places |= {name: (100 + 310 * n, 96 if n else 95) for n, name in enumerate(SHORT)}
    order = sorted(places, key=lambda name: name[-1])
    write_fasta(folder / "q.fa", [record(name, target[places[name][0] :][: places[name][1]]) for name in order])
    rows = [f"{name}\tchr1\t{at}\t{at + size}\t+" for name, (at, size) in places.items()]
    (folder / "truth.tsv").write_text("\n".join(["query\tchr\tstart\tend\tstrand", *rows]) + "\n")
    files = {name: folder / f"{file}" for name, file in (("queries", "q.fa"), ("truth", "truth.tsv"))}
    inputs = RetrievalInputs(vectors=folder / "v.parquet", target=(folder / "t.fa",), **files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels_module, "LEAST_BP", 40)
        outcome = retrieve_files(bundle, folder / "hits", inputs, CONFIG)
        yield bundle, inputs, folder, outcome, order


def test_each_query_is_ranked_among_windows_of_its_level(mixed):
    _, _, folder, outcome, order = mixed
    hits = read_tsv(folder / "hits/hits.tsv")
    assert list(dict.fromkeys(hit["query_id"] for hit in hits)) == order
    widths = {
        name: {int(h["target_end"]) - int(h["target_start"]) for h in hits if h["query_id"] == name} for name in order
    }
    assert all(max(widths[name]) == 480 for name in LONG) and all(max(widths[name]) == 96 for name in SHORT)
    ranks = outcome.evaluation.ranks
    assert outcome.evaluation.queries == order and ranks["fused"].tolist() == [[1] * 9]
    assert set(map(len, ranks["model"])) == {9} and ranks["4-mer cosine"].all()
    spans = read_tsv(folder / "hits/spans.tsv")
    assert list(dict.fromkeys(span["query_id"] for span in spans)) == order
    said = {name: int(s["peak_end"]) - int(s["peak_start"]) for s in spans if (name := s["query_id"])}
    assert {said[name] for name in SHORT} == {32} and {said[name] for name in LONG} == {160}
    (note,) = [note for note in outcome.found.notes() if "quarter" in note]
    assert note == (
        "6 of 9 queries are a quarter of the target's windows (480 bp) or less, and are ranked among windows of their "
        "own, 96 bp every 48"
    )
    levels = read_json(folder / "hits/retrieval.json", remedy="")["levels"]
    assert [(one["queries"], one["target"]["settings"]["window_bp"]) for one in levels] == [(LONG, 480), (SHORT, 96)]
    tracks = [
        (folder / "hits" / name).read_text().splitlines() for name in ("best_z.bedgraph", "best_z_short.bedgraph")
    ]
    assert len(tracks[1]) > 3 * len(tracks[0]) > 0
    assert "Top-K curves" in write_retrieval_report(folder / "hits", folder / "r.html").read_text()


def test_windows_of_their_own_are_those_of_a_search_by_itself_and_are_made_once(mixed, tmp_path, monkeypatch):
    bundle, inputs, folder, outcome, order = mixed
    (kept,) = folder.glob("v.parquet.96bp-*.parquet")
    monkeypatch.setattr(Embedder, "embed_tiles", lambda *args, **kwargs: pytest.fail("they are there already"))
    retrieve_files(bundle, tmp_path / "again", replace(inputs, truth=None), CONFIG)
    assert {"hits.tsv", "spans.tsv", "best_z_short.bedgraph"} <= {file.name for file in (tmp_path / "again").iterdir()}
    for file in (tmp_path / "again").iterdir():
        assert file.read_bytes() == (folder / "hits" / file.name).read_bytes(), file.name
    records = [record(q.name, q.bases()) for q in outcome.found.queries if q.name in SHORT]
    write_fasta(tmp_path / "short.fa", records)
    alone = replace(inputs, queries=tmp_path / "short.fa", vectors=kept, truth=None)
    retrieve_files(bundle, tmp_path / "alone", alone, CONFIG)
    both = [hit for hit in read_tsv(folder / "hits/hits.tsv") if hit["query_id"] in SHORT]
    for name in ("score", "z", "z_alignments", "margin", "p", "target_start", "rank"):
        assert [hit[name] for hit in both] == [hit[name] for hit in read_tsv(tmp_path / "alone/hits.tsv")], name
    first = [float(hit["q"]) for hit in read_tsv(folder / "hits/hits.tsv") if hit["rank"] == "1"]
    assert len(first) == 9 and len(set(first)) == 1  # over the queries of both levels


def test_tracks_are_written_as_bigwig_too(mixed, tmp_path):
    pybigtools = pytest.importorskip("pybigtools", reason="bigWig is an extra")
    _, _, folder, outcome, _ = mixed
    outcome.found.write(tmp_path, bigwig={"chr1": 5_000})
    for name in ("best_z", "best_z_short"):
        rows = [line.split("\t") for line in (folder / "hits" / f"{name}.bedgraph").read_text().splitlines()[1:]]
        with pybigtools.open(str(tmp_path / f"{name}.bw")) as found:
            values = list(found.records("chr1"))
        assert [(int(row[1]), int(row[2])) for row in rows] == [(start, end) for start, end, _ in values]
        assert [float(row[3]) for row in rows] == pytest.approx([value for *_, value in values], rel=1e-4)
    with pybigtools.open(str(tmp_path / "hits.bw")) as found:
        assert max(value for *_, value in found.records("chr1")) == pytest.approx(
            max(h.score for h in outcome.found.hits)
        )


def test_without_its_package_bigwig_is_refused_before_the_search(mixed, tmp_path, monkeypatch):
    bundle, inputs, _, _, _ = mixed
    monkeypatch.setattr(bigwig.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'plantgfm\[bigwig\]', or leave --bigwig out"):
        retrieve_files(bundle, tmp_path / "hits", replace(inputs, bigwig=True), CONFIG)
    assert not (tmp_path / "hits").exists()


def made(inputs, bundle, vectors):
    """Levels of queries that are all short, beside a copy of the given vectors."""
    vectors.write_bytes(inputs.vectors.read_bytes())
    embedder = Embedder(open_encoder(bundle), EmbeddingConfig(window_bp=480))
    queries = [query_of(record("a", random_codes(96)), window_bp=480)]
    targets = Targets.open(inputs.vectors, fasta=inputs.target)
    short = module.short_queries(queries, targets, CONFIG, window_bp=480)
    return module.levels_of(embedder, queries, targets, short, vectors=vectors)


def test_stopped_vectors_go_on_where_they_were(mixed, tmp_path, monkeypatch):
    bundle, inputs, folder, _, _ = mixed
    (kept,) = folder.glob("v.parquet.96bp-*.parquet")
    embedded, blocks = Embedder._embedded, []

    def stopped(self, tiles, skipped):
        blocks.append(len(tiles))
        if len(blocks) == 2:
            raise KeyboardInterrupt
        return embedded(self, tiles, skipped)

    monkeypatch.setattr(Embedder, "_embedded", stopped)
    monkeypatch.setattr(Embedder, "_block_windows", lambda self: 32)
    with pytest.raises(KeyboardInterrupt):
        made(inputs, bundle, tmp_path / "v.parquet")
    assert len(list(tmp_path.glob(".v.parquet.96bp-*/*.parquet"))) == 1
    (level,) = made(inputs, bundle, tmp_path / "v.parquet")
    assert level.targets.source.name == kept.name and not list(tmp_path.glob(".v*"))
    assert len(blocks) == 2 + len(level.targets) // 32  # the first block was not made again
    old, new = (Targets.open(path) for path in (kept, level.targets.source))
    assert (old.start.tolist(), old.end.tolist()) == (new.start.tolist(), new.end.tolist())
    assert old.covered() == [Interval("chr1", 0, 1_920), Interval("chr1", 2_640, 5_000)]  # as the given


def test_two_searches_at_once_make_them_once(mixed, tmp_path, monkeypatch):
    bundle, inputs, folder, _, _ = mixed
    (kept,) = folder.glob("v.parquet.96bp-*.parquet")
    monkeypatch.setattr(Embedder, "embed_tiles", lambda *args, **kwargs: pytest.fail("they are made elsewhere"))
    found, work = [], tmp_path / f".{kept.name}.parts"
    held = hold(work, wait=False)  # by the other search
    thread = Thread(target=lambda: found.extend(made(inputs, bundle, tmp_path / "v.parquet")))
    thread.start()
    thread.join(0.5)
    assert thread.is_alive() and not found
    (tmp_path / kept.name).write_bytes(kept.read_bytes())
    os.close(held)
    thread.join(30)
    assert [level.targets.source for level in found] == [tmp_path / kept.name] and not work.exists()


def test_who_is_too_short_and_what_is_said_of_them(mixed):
    _, inputs, _, outcome, _ = mixed
    queries = outcome.found.queries
    targets = Targets.open(inputs.vectors, fasta=inputs.target)

    def said(targets, **changes):
        found = module.short_queries(queries, targets, replace(CONFIG, **changes), window_bp=480)
        return found.own, len(found.queries), found.remark.split("or less, ")[-1]

    assert said(targets) == (True, 6, "and are ranked among windows of their own, 96 bp every 48")
    bare = "whose mean says little of them: give --target, or embed the target with --window-bp 96 for them"
    assert said(replace(targets, fasta=())) == (False, 6, bare)
    assert said(targets, short_tiles=False) == (False, 0, "")
    in_parts = {"settings": {**targets.origin["settings"], "part_bp": 96}}
    assert said(replace(targets, origin=targets.origin | in_parts)) == (False, 0, "")
    hubs = "and are ranked among these: retrieval.csls=4 needs more queries of a kind"
    assert said(targets, csls=4) == (False, 6, hubs)
    lengths = [([100, 120, 121], 480, (2, 120)), ([40, 60, 60], 480, (3, 60)), ([200], 480, (0, 0)), ([9], 80, (1, 40))]
    for sizes, window_bp, expected in lengths:
        ones = [query_of(record(f"{n}", random_codes(size)), window_bp=window_bp) for n, size in enumerate(sizes)]
        found, own_bp = levels_module.own_window_bp(ones, window_bp=window_bp)
        assert (len(found), own_bp) == expected
    assert levels_module.own_window_bp(ones, window_bp=79) == ([], 0)  # no narrower than half of it


def test_where_nothing_can_be_kept_it_is_said(mixed, tmp_path, monkeypatch):
    bundle, inputs, _, _, _ = mixed

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "Parts", full)
    told = "beside --vectors, and .* can't be written .No space left on device.: make room"
    with pytest.raises(ValueError, match=told):
        made(inputs, bundle, tmp_path / "v.parquet")

"""The bench of retrieval on a target of a few windows: it searches what it wrote, and names what it measured."""

from plantgfm.bench import retrieval as bench
from plantgfm.retrieval.targets import Targets


def test_a_target_is_written_and_searched(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "_QUERIES", 2)
    found = []
    search = bench.search
    monkeypatch.setattr(bench, "search", lambda *args, **named: found.append(search(*args, **named)))
    bench._write(tmp_path, contigs=2, contig_bp=20_000)
    bench._searched(tmp_path)
    targets = Targets.open(tmp_path / "v.parquet")
    assert targets.names == ["c0", "c1"] and len(targets) == 2 * 25
    assert set(found[0].rankings) == {"fused", "model", "6-mer cosine", "weighted 11-mers", "alignments"}


def test_what_is_measured_stands_beside_the_code_alone(monkeypatch):
    peaks = iter([(100.0, 1.0), (0.0, 0.0), (150.0, 2.0), (0.0, 0.0), (160.0, 7.0)])
    monkeypatch.setattr(bench, "alone", lambda work, folder: next(peaks))
    rows = {row["name"]: row["value"] for row in bench.run()}
    assert rows["search of 15 Mb, 20 queries: memory above the code's"] == 50.0
    assert rows["search of 60 Mb, 20 queries: time"] == 7.0 and rows["memory, 60 Mb against 15 Mb"] == 1.2

import numpy as np
import pytest

from plantgfm.bench import curation


def test_rows_name_the_speeds_with_their_bars(monkeypatch):
    monkeypatch.delenv("PLANTGFM_BENCH_MANIFEST", raising=False)
    monkeypatch.setattr(curation, "_SIMULATED_BP", 60_000)
    monkeypatch.setattr(curation, "_BASES", 1)
    monkeypatch.setattr(curation, "_BATCH_KMERS", 4_000)
    rows = curation.run()
    assert all(set(row) == {"name", "value", "unit", "bar"} and row["value"] > 0 for row in rows)
    assert [row["bar"] for row in rows if row["bar"]] == [150.0, 60.0, 35.0, 10.0, 2.0]


def test_a_synthetic_assembly_is_streamed_and_windows_are_banded(tmp_path):
    assert curation.stream(2, 200_000, tmp_path)["mbp_per_second"] > 0
    found = curation.band(3_000, 1, tmp_path)
    assert 2_400 < found["components"] < 2_500  # a fifth lies in families of 31 numbers


def test_a_fresh_process_tells_its_figures_and_its_peak(tmp_path):
    found = curation._fresh("band", 2_000, 0, str(tmp_path))
    assert found["seconds"] > 0 and 0.05 < found["peak_gb"] < 8


def test_windows_are_the_same_whenever_they_are_read():
    rows = curation._Windows(500, 128, 0)
    assert np.array_equal(rows[100:200], rows[100:200]) and len(rows[400:900]) == 100 and rows.seconds > 0
    assert (rows[100:200][0] == rows[100:200][30]).sum() == 96, "of one family: every sixth member"
    assert (rows[100:200][0] == rows[100:200][5]).sum() == 0


@pytest.mark.realdata
def test_files_of_a_manifest_are_taken(monkeypatch, tmp_path, real_data):
    monkeypatch.setenv("PLANTGFM_BENCH_MANIFEST", str(real_data / "genomes" / "manifest.csv"))
    assert {one.fasta.name for one in curation._assemblies(tmp_path)} >= {"theobroma_cacao.fa.gz"}

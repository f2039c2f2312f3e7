"""The benches of memory and of stored vectors: what they run on, and the rows that they give."""

import numpy as np
import pytest

from plantgfm.bench import vectors as bench
from plantgfm.bench.alone import alone, peak_mib
from plantgfm.embedding.config import Storage
from plantgfm.embedding.embed import Embedded
from plantgfm.embedding.store import read_vectors, write_vectors
from plantgfm.embedding.tiles import tile_record
from tests.fixtures import random_codes, record


def test_genomes_are_embedded_whole_and_growth_stands_last(monkeypatch, tmp_path):
    pytest.importorskip("zarr", reason="Zarr is an extra")
    peaks, ends = iter(np.repeat([100.0, 110, 120], 3).tolist()), {}

    def here(work, folder):
        if work.func is bench._written or (folder / "genome.fa").stat().st_size > 50_000:
            work(folder)
        ends.update({path.suffix: read_vectors(path).intervals[-1].end for path in folder.glob("v.*")})
        return next(peaks), 2.0

    monkeypatch.setattr(bench, "alone", here)
    monkeypatch.setattr(bench, "MEGABASES", (0.03, 0.05))
    rows = {row["name"]: row["value"] for row in bench.run_memory()}
    assert ends == {".parquet": 50_000, ".zarr": 50_000}
    assert rows["embed to parquet, 0.05 Mb: peak memory"] == 120
    assert rows["embed to zarr, 0.03 Mb: peak memory"] == 110
    assert rows["embed to zarr: memory, 0.05 Mb against 0.03 Mb"] == pytest.approx(120 / 110)


def test_a_peak_is_that_of_the_process(tmp_path):
    assert 20 < alone(np.zeros_like, tmp_path)[0] < peak_mib()


def table(path, n=40, storage=Storage.FLOAT32):
    vectors = np.random.default_rng(0).normal(size=(n, 8)).astype(np.float32) + 3
    tiles = list(tile_record(record("c", random_codes(n)), window_bp=1, stride_bp=1))
    origin = {"settings": {"storage": storage.value}}
    write_vectors(path, [Embedded(tiles, vectors, 0)], width=8, origin=origin, storage=storage)
    return path


def test_errors_of_cosines_grow_as_numbers_shrink(monkeypatch, tmp_path):
    monkeypatch.setenv(bench.VECTORS_VARIABLE, str(table(tmp_path / "v.parquet")))
    rows = {row["name"]: row["value"] for row in bench.run_storage()}
    assert [rows[f"{one.value}: bytes of a vector of 8 dimensions"] for one in Storage] == [32, 16, 12]
    for way in ("as embedded", "as searched"):
        errors = [rows[f"{one.value}: greatest error of a cosine {way}"] for one in Storage]
        assert errors[0] == 0 < errors[1] < 50_000 and 0 < errors[2] < 50_000
    assert (
        rows["vectors as embedded: mean cosine of two of 40"]
        > 0.5
        > rows["vectors as searched: mean cosine of two of 40"]
    )


@pytest.mark.parametrize(("n", "storage", "said"), [(9, Storage.INT8, "holds int8"), (1, Storage.FLOAT32, "needs two")])
def test_a_file_that_tells_nothing_of_rounding_is_refused(monkeypatch, tmp_path, n, storage, said):
    monkeypatch.setenv(bench.VECTORS_VARIABLE, str(table(tmp_path / "v.parquet", n, storage)))
    with pytest.raises(ValueError, match=said):
        bench.run_storage()


def test_without_a_file_an_untrained_model_gives_vectors(monkeypatch):
    monkeypatch.delenv(bench.VECTORS_VARIABLE, raising=False)
    monkeypatch.setattr(bench, "_WINDOWS", 3)
    monkeypatch.setattr(bench, "model_size", lambda size, **more: bench.ModelConfig(**bench._SMALL))
    found = bench._vectors()
    assert found.shape == (3, 16) and np.ptp(found) > 0

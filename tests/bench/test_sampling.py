from plantgfm.bench import sampling


def test_the_bench_gives_a_row_a_figure(monkeypatch):
    monkeypatch.setattr(sampling, "_SPECIES", 8)
    monkeypatch.setattr(sampling, "_SPECIES_BP", 200_000)
    monkeypatch.setattr(sampling, "_STEPS", 4)
    monkeypatch.setattr(sampling, "_ROUNDS", 2)
    rows = sampling.run()
    assert [set(row) for row in rows] == [{"name", "value", "unit", "bar"}] * 3
    assert all(row["value"] > 0 for row in rows)
    assert rows[0]["bar"] == 1e6

import importlib.util

from plantgfm.bench import embedding
from plantgfm.model.config import ModelConfig


def test_the_bench_gives_our_rows_and_says_when_there_is_no_peer(monkeypatch):
    small = ModelConfig(d_model=16, n_layers=1, n_heads=2, d_ff=16, max_tokens=512)
    monkeypatch.setattr(embedding, "model_size", lambda size, **more: small)
    monkeypatch.setattr(embedding, "_WINDOWS", 2)
    monkeypatch.setattr(embedding, "_ROUNDS", 1)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    rows = embedding.run()
    assert [row["unit"] for row in rows] == ["bp/s", "bp/s", "-"]
    assert all(row["value"] > 0 for row in rows[:2])
    assert "not installed" in rows[2]["name"]

import importlib.util

from plantgfm.bench import train_step
from plantgfm.model.config import ModelConfig


def test_the_bench_gives_our_row_and_says_when_there_is_no_peer(monkeypatch):
    monkeypatch.setattr(train_step, "_SIZE", ModelConfig(d_model=16, n_layers=1, n_heads=2, d_ff=16))
    monkeypatch.setattr(train_step, "_WINDOWS", 2)
    monkeypatch.setattr(train_step, "_TOKENS", 24)
    monkeypatch.setattr(train_step, "_ROUNDS", 2)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    rows = train_step.run()
    assert [set(row) for row in rows] == [{"name", "value", "unit", "bar"}] * 2
    assert rows[0]["value"] > 0
    assert "not installed" in rows[1]["name"]


def test_the_vocabulary_of_the_bench_has_the_default_size():
    assert train_step.eight_mers().size == 8201

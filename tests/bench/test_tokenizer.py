import numpy as np

from plantgfm.bench import tokenizer


def test_rows_name_the_ratios_with_their_bars(monkeypatch):
    monkeypatch.setattr(tokenizer, "_BASES", 400_000)
    monkeypatch.setattr(tokenizer, "_ROUNDS", 1)
    rows = tokenizer.run()
    assert all(set(row) == {"name", "value", "unit", "bar"} and np.isfinite(row["value"]) for row in rows)
    bars = {row["name"]: row["bar"] for row in rows if row["bar"] is not None}
    assert bars == {"tokenizer: kernel / rolling loop": 0.5, "tokenizer: kernel / tokenizers": 50.0}


def test_the_bare_loop_reads_every_base():
    bases = np.array([0, 1, 2, 3, 0, 1, 2, 3], dtype=np.uint8)
    for i in range(bases.size):
        changed = bases.copy()
        changed[i] ^= 1
        assert tokenizer._rolling_loop(changed) != tokenizer._rolling_loop(bases)

import jax.numpy as jnp

from plantgfm.bench import depth
from plantgfm.model.config import ModelConfig, Size


def test_the_bench_sets_orders_and_policies_side_by_side(monkeypatch, quick_compilation):
    def small(size, **settings):
        return ModelConfig(**{"d_model": 16, "n_layers": 3, "n_heads": 2, "d_ff": 24, **settings})

    def light(network, params, batch, key, objective):
        return jnp.sum(network.states(params, batch.tokens, ends=True)[-1].astype(jnp.float32)), {}

    monkeypatch.setattr(depth, "model_size", small)
    monkeypatch.setattr(depth, "loss", light)
    monkeypatch.setattr(depth, "_ROUNDS", 1)
    monkeypatch.setattr(depth, "_VOCABULARY", 64)
    monkeypatch.setattr(depth, "_TIMED", {Size.TINY: (2, 24)})
    monkeypatch.setattr(depth, "_PLANNED", {Size.BASE: (2, 512)})
    rows = {row["name"]: row["value"] for row in depth.run()}
    assert rows["depth: tiny, 2 x 24 tokens: speed of scanned over unrolled"] > 0
    kinds = ("none", "full")
    memory = [rows[f"depth: base, 2 x 512 tokens, bfloat16: remat {kind}, temporary memory"] for kind in kinds]
    assert memory[0] > memory[1] > 0
    assert len(rows) == 3 + 6

import jax
import jax.numpy as jnp
import numpy as np

from plantgfm.model.build import build
from plantgfm.model.config import AttentionKind, ModelConfig, Size, model_size
from plantgfm.model.flops import count_parameters, forward_flops, step_flops


def test_the_count_agrees_with_what_the_compiler_counts():
    network = build(ModelConfig(n_layers=2, attention=AttentionKind.XLA), 1000)
    params = jax.eval_shape(network.init, jax.random.key(0))

    def forward(params, tokens):
        states = network.states(params, tokens)
        following = network.next_region_logits(params, states, tokens, tokens[:, 0])
        return network.masked_logits(params, states[-1][:, :20]), following

    cost = jax.jit(forward).lower(params, jnp.zeros((1, 128), jnp.int32)).cost_analysis()
    ours = forward_flops(network, tokens=128, slots=20)
    assert 0.85 * cost["flops"] < ours <= cost["flops"]
    assert step_flops(network, tokens=128, slots=20) == 3 * ours


def test_parameters_of_the_named_sizes_are_as_named():
    counts = {}
    for size in Size:
        network = build(model_size(size), 8201)
        counts[size] = count_parameters(jax.eval_shape(network.init, jax.random.key(0)))
    assert list(counts.values()) == sorted(counts.values())
    assert 0.9e9 < counts[Size.ONE_B] < 1.2e9
    assert model_size(Size.BASE).d_model == 512
    assert all(model_size(size).head_width == 64 for size in Size)
    assert count_parameters({"a": np.zeros((2, 3)), "b": np.zeros(4)}) == 10

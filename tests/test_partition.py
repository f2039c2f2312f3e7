from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from plantgfm import partition
from plantgfm.model.build import build
from plantgfm.model.config import ModelConfig
from plantgfm.objectives.config import ObjectiveConfig
from plantgfm.objectives.joint import loss
from plantgfm.schema import Batch
from tests.fixtures import QUICK, fresh

V = 90


def tiny_network():
    features = np.random.default_rng(1).normal(size=(V, 12)).astype(np.float32)
    return build(ModelConfig(d_model=32, n_layers=2, n_heads=2, d_ff=32), V, features=features)


def arrays(batch=8, length=24):
    rng = np.random.default_rng(0)
    tokens, following = rng.integers(5, V, (2, batch, length)).astype(np.int32)
    tokens[:, 0] = following[:, 0] = 1
    tokens[1, 15:] = 0
    repeat = rng.random((batch, length)).astype(np.float32)
    return tokens, repeat, following, np.arange(batch, dtype=np.int32) * 100, np.arange(batch, dtype=np.int32)


def gradients(network):
    def total(params, *columns):
        return loss(network, params, Batch(*columns), jax.random.key(3), ObjectiveConfig())

    return jax.value_and_grad(total, has_aux=True)


@pytest.mark.parametrize("shape", [{"data": 2, "fsdp": 2, "tensor": 2}])
def test_a_loss_and_its_gradient_on_eight_devices_equal_those_on_one(shape):
    network, quick = tiny_network(), partial(jax.jit, compiler_options=QUICK)
    params = fresh(network)
    (expected, _), expected_gradient = quick(gradients(network))(params, *arrays())
    mesh = partition.make_mesh(**shape)
    shardings = partition.param_shardings(mesh, partition.model_rules(params), params)
    split_params = jax.device_put(params, shardings)
    split_batch = jax.device_put(arrays(), partition.batch_sharding(mesh))
    (value, _), gradient = quick(gradients(network))(split_params, *split_batch)
    assert len(gradient["layers"]["0"]["mlp"]["Wi"]["kernel"].sharding.device_set) == 8
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5), gradient, expected_gradient)


def _drawn_and_added(params, rows, key):
    """Noise on every row, a sum over a count of all rows, and an array that is large enough to travel by itself."""
    noise = partition.drawn_rows(lambda shape: jax.random.normal(key, shape), rows.shape)
    count = partition.total(jnp.sum(rows > 0).astype(jnp.float32))
    large = jnp.zeros(partition._TRAVELS_ALONE).at[0].set(jnp.sum(rows))
    return {"mean": jnp.sum((rows + noise) @ params) / count, "large": large, "kinds": jnp.sum(rows > 0, axis=0)}


def test_what_devices_compute_of_their_own_rows_adds_up_to_the_whole():
    rows = np.random.default_rng(4).normal(size=(16, 3)).astype(np.float32)
    arrays = (jnp.asarray([1.0, 2.0, 3.0]), rows, jax.random.key(5))
    expected = jax.jit(_drawn_and_added)(*arrays)
    mesh = partition.make_mesh(data=8)
    split = jax.jit(partition.traced_on(mesh, partition.by_device(mesh, _drawn_and_added)))
    found = split(arrays[0], jax.device_put(rows, partition.batch_sharding(mesh)), arrays[2])
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(found))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, expected)


def test_only_copies_on_processors_with_equal_windows_go_by_device():
    asked = {"windows": 16, "micro_batches": 2}
    assert partition.can_go_by_device(partition.make_mesh(data=8), **asked)
    assert not partition.can_go_by_device(None, **asked)
    assert not partition.can_go_by_device(partition.make_mesh(), **asked)
    assert not partition.can_go_by_device(partition.make_mesh(data=4, fsdp=2), **asked)
    assert not partition.can_go_by_device(partition.make_mesh(data=8), windows=24, micro_batches=2)


def test_parameters_are_split_by_the_first_rule_that_matches():
    mesh = partition.make_mesh(fsdp=2, tensor=2)
    params = fresh(tiny_network())
    shardings = partition.param_shardings(mesh, partition.model_rules(params), params)
    assert shardings["embeddings"]["table"].spec == P(("tensor", "fsdp"))
    assert shardings["layers"]["1"]["attn"]["Wo"]["kernel"].spec == P("tensor", "fsdp")
    assert shardings["final_norm"]["scale"].spec == P()


def test_an_idle_rule_and_a_parameter_without_a_rule_are_errors():
    params = {"a": {"kernel": np.zeros((4, 4))}, "b": np.zeros(3)}
    rules = ((r"kernel$", P("fsdp", None)), (r"^b$", P()))
    assert partition.match_rules(rules, params) == {"a": {"kernel": P("fsdp", None)}, "b": P()}
    with pytest.raises(ValueError, match="absent"):
        partition.match_rules((*rules, ("absent", P())), params)
    with pytest.raises(ValueError, match="parameter b"):
        partition.match_rules(rules[:1], params)
    with pytest.raises(ValueError, match="more axes"):
        partition.match_rules(((r"kernel$", P()), (r"^b$", P("fsdp", None))), params)


def test_folded_parameters_need_no_rule_for_features():
    network = tiny_network()
    params = network.fold(fresh(network))
    assert partition.match_rules(partition.model_rules(params), params)


def test_an_axis_that_does_not_divide_a_dimension_is_left_out():
    mesh = partition.make_mesh(fsdp=4, tensor=2)
    assert partition.fitting(mesh, P("fsdp", "tensor"), (6, 6)) == P(None, "tensor")


def test_a_mesh_takes_what_is_left_and_refuses_too_much():
    assert partition.make_mesh(data=0, tensor=2).shape == {"data": 4, "fsdp": 1, "tensor": 2}
    assert partition.make_mesh().size == 1
    with pytest.raises(ValueError, match="16"):
        partition.make_mesh(data=16)
    assert jnp.zeros(3).sharding.device_set == set(jax.devices()[:1])

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from plantgfm.training.checksum import checksums

TREE = {
    "w": jnp.arange(48, dtype=jnp.float32).reshape(8, 6),
    "half": jnp.ones(5, jnp.bfloat16),
    "count": jnp.int32(7),
    "flags": jnp.array([True, False]),
}


def test_a_sum_per_leaf_by_path():
    assert set(checksums(TREE)) == {"['w']", "['half']", "['count']", "['flags']"}
    # MurmurHash3's finaliser of 0 is 0, of 1 is 0x514e28b7
    assert checksums([jnp.int32(0), jnp.int32(1)]) == {"[0]": 0, "[1]": 0x514E28B7}


@pytest.mark.parametrize("bit", range(0, 32, 5))
def test_every_flipped_bit_is_seen(bit):
    array = np.asarray(TREE["w"]).copy()
    array.view(np.uint32)[3, 4] ^= np.uint32(1 << bit)
    assert checksums({"w": jnp.asarray(array)}) != checksums({"w": TREE["w"]})


def test_swapped_rows_and_signs_of_zero_are_seen():
    w = TREE["w"]
    assert checksums(w[::-1]) != checksums(w)
    assert checksums(jnp.zeros(2)) != checksums(-jnp.zeros(2))


def test_the_sum_does_not_depend_on_how_an_array_is_sharded():
    mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("a", "b"))
    sharded = jax.device_put(TREE["w"], NamedSharding(mesh, PartitionSpec("a", "b")))
    assert checksums(sharded) == checksums(TREE["w"])

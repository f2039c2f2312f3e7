"""Sequences to vectors: pooling, strands, padding, layers."""

import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.embedding.config import EmbeddingConfig, Pooling, StrandUse
from plantgfm.embedding.embed import Embedder
from plantgfm.embedding.encoders import BundleEncoder, pool_counted
from plantgfm.embedding.tiles import tile_record
from plantgfm.sequence import encode, reverse_complement
from tests.fixtures import random_codes, record, small_bundle

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return small_bundle(tmp_path_factory.mktemp("bundle") / "b")


def test_pooling_by_hand_leaves_out_cls_and_pad():
    states = jnp.array([[[100.0], [1.0], [3.0], [50.0]]])
    counted = jnp.array([[False, True, True, False]])
    assert pool_counted(states, counted, pooling=Pooling.MEAN)[0, 0] == 2.0
    assert pool_counted(states, counted, pooling=Pooling.MAX)[0, 0] == 3.0
    assert pool_counted(states, counted, pooling=Pooling.CLS)[0, 0] == 100.0


def test_the_mean_leaves_out_cls_and_pad(bundle):
    tokens = jnp.array([[1, 9, 10, 11, 0, 0]], jnp.int32)
    states = bundle.network.hidden(bundle.params, tokens)
    found = BundleEncoder(bundle).vectors(np.asarray(tokens), layer=-1, pooling=Pooling.MEAN)
    np.testing.assert_allclose(found[0], np.mean(states[0, 1:4], axis=0), rtol=0, atol=1e-5)


def test_a_vector_does_not_depend_on_its_company_or_padding(bundle):
    embedder = Embedder(bundle, EmbeddingConfig(batch_windows=4))
    sequences = [random_codes(n, seed=n) for n in (30, 300, 100, 31, 60)]
    together = embedder.embed(sequences)
    alone = np.concatenate([embedder.embed([codes]) for codes in sequences])
    np.testing.assert_allclose(together, alone, atol=TOLERANCE)
    assert together.shape == (5, embedder.width) and np.isfinite(together).all()


def test_reverse_strand_is_the_forward_strand_of_the_reverse_complement(bundle):
    codes = random_codes(200)
    forward = Embedder(bundle, EmbeddingConfig(strand=StrandUse.FORWARD))
    reverse = Embedder(bundle, EmbeddingConfig(strand=StrandUse.REVERSE))
    both = Embedder(bundle, EmbeddingConfig(strand=StrandUse.BOTH))
    np.testing.assert_allclose(reverse.embed([codes]), forward.embed([reverse_complement(codes)]), atol=TOLERANCE)
    mean = (forward.embed([codes]) + reverse.embed([codes])) / 2
    np.testing.assert_allclose(both.embed([codes]), mean, atol=TOLERANCE)
    assert not np.allclose(forward.embed([codes]), reverse.embed([codes]), atol=1e-3)


def test_layers_differ_and_the_last_one_is_the_default(bundle):
    codes = [random_codes(120)]
    vectors = {layer: Embedder(bundle, EmbeddingConfig(layer=layer)).embed(codes) for layer in (-1, 0, 1, 2)}
    np.testing.assert_allclose(vectors[-1], vectors[2], atol=TOLERANCE)
    assert not np.allclose(vectors[0], vectors[1], atol=1e-3)


def test_wrong_settings_and_empty_sequences_are_refused(bundle):
    with pytest.raises(ValueError, match="layer=3 does not exist"):
        Embedder(bundle, EmbeddingConfig(layer=3))
    with pytest.raises(ValueError, match="leaves gaps"):
        Embedder(bundle, EmbeddingConfig(window_bp=100, stride_bp=200))
    with pytest.raises(ValueError, match="batch_windows=0"):
        EmbeddingConfig(batch_windows=0)
    with pytest.raises(ValueError, match="sequence 1 is empty"):
        Embedder(bundle, EmbeddingConfig()).embed([random_codes(10), random_codes(0)])


def test_windows_rich_in_unknown_bases_are_left_out_and_counted(bundle):
    embedder = Embedder(bundle, EmbeddingConfig(window_bp=60, stride_bp=60))
    codes = np.concatenate([random_codes(60), encode("N" * 60), random_codes(60, seed=1)])
    done = []
    tiles = tile_record(record("r", codes), window_bp=60, stride_bp=60)
    (block,) = embedder.embed_tiles(tiles, progress=done.append)
    assert [tile.interval.start for tile in block.tiles] == [0, 120]
    assert block.skipped == 1 and done == [180]


def test_unset_window_and_stride_follow_the_model(bundle):
    embedder = Embedder(bundle, EmbeddingConfig())
    assert (embedder.config.window_bp, embedder.config.stride_bp) == (378, 189)


def test_nothing_is_compiled_again_after_each_length_was_met(bundle):
    embedder = Embedder(bundle, EmbeddingConfig(batch_windows=4))
    embedder.embed([random_codes(n, seed=n) for n in (300, 60)])  # one of 64 tokens, as both fit
    warm = embedder.encoder.compiled._cache_size()
    for n in (6, 37, 120, 301, 361):
        embedder.embed([random_codes(n, seed=n)] * 3)
    assert embedder.encoder.compiled._cache_size() == warm == 1
    embedder.embed([random_codes(600)])
    assert embedder.encoder.compiled._cache_size() == 2


def test_blocks_that_are_on_disk_are_passed_over(bundle):
    embedder = Embedder(bundle, EmbeddingConfig(window_bp=30, stride_bp=30, batch_windows=1))
    tiles = list(tile_record(record("r", random_codes(600)), window_bp=30, stride_bp=30))
    whole, done = list(embedder.embed_tiles(tiles)), []
    rest = list(embedder.embed_tiles(tiles, first_block=1, progress=done.append))
    assert [len(block.tiles) for block in whole] == [8, 8, 4] and len(rest) == 2
    np.testing.assert_array_equal(rest[0].vectors, whole[1].vectors)
    assert done == [240, 480, 600]

"""Sequences to vectors: pooling, strands, padding, layers."""

import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.embedding.config import EmbeddingConfig, Pooling, StrandUse
from plantgfm.embedding.embed import Embedder, told
from plantgfm.embedding.encoders import BundleEncoder, pool_counted, programs
from plantgfm.embedding.tiles import tile_record
from plantgfm.model.build import build
from plantgfm.sequence import encode, reverse_complement
from plantgfm.tokenization.encode import encode as encode_tokens
from plantgfm.tokenization.vocabulary import CLS
from tests.fixtures import random_codes, record, small_bundle, small_model, states_and_logits

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


def test_bundles_of_one_network_share_what_is_compiled_and_others_do_not(bundle, tmp_path):
    one, other = BundleEncoder(bundle), BundleEncoder(small_bundle(tmp_path / "other", seed=1))
    assert one.compiled is other.compiled is programs(build(small_model(), bundle.vocabulary.size))[0]
    assert one.compiled is not programs(build(small_model(d_ff=40), bundle.vocabulary.size))[0]
    tokens, asked = np.array([[1, 9, 10, 11, 0, 0]], np.int32), {"layer": -1, "pooling": Pooling.MEAN}
    assert np.abs(one.vectors(tokens, **asked) - other.vectors(tokens, **asked)).max() > 1e-3  # of its parameters


def test_nothing_is_compiled_again_after_each_length_was_met(bundle):
    programs.cache_clear()  # of other tests
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


def states_of(bundle, codes, layer=-1):
    """Ids without [CLS], and the states of one sequence computed alone."""
    ids = encode_tokens(bundle.vocabulary, codes)
    states, _ = states_and_logits(bundle, [CLS, *ids])
    return ids, states[layer, 1:]


@pytest.mark.parametrize("layer", [-1, 1])
def test_a_token_has_its_own_state_and_a_base_that_of_its_token(bundle, layer):
    sequences = [encode("ACGTACGTNACG"), random_codes(100)]
    places, tokens = Embedder(bundle, EmbeddingConfig(pooling=Pooling.TOKEN, layer=layer)).embed_places(sequences)
    each, bases = Embedder(bundle, EmbeddingConfig(pooling=Pooling.BASE, layer=layer)).embed_places(sequences)
    assert places[0].tolist() == [[0, 8], [8, 9], [9, 10], [10, 11], [11, 12]]
    for i, codes in enumerate(sequences):
        ids, states = states_of(bundle, codes, layer)
        np.testing.assert_allclose(tokens[i], states, atol=TOLERANCE)
        np.testing.assert_allclose(bases[i], np.repeat(states, bundle.vocabulary.token_bp[ids], axis=0), atol=TOLERANCE)
        assert each[i].tolist() == [[at, at + 1] for at in range(codes.size)]


def test_places_of_the_reverse_strand_are_told_in_the_order_of_the_sequence(bundle):
    codes = encode("ACGTTGCANACG")
    reverse = EmbeddingConfig(pooling=Pooling.TOKEN, strand=StrandUse.REVERSE)
    (places,), (vectors,) = Embedder(bundle, reverse).embed_places([codes])
    _, states = states_of(bundle, reverse_complement(codes))
    assert places.tolist() == [[0, 1], [1, 2], [2, 8], [8, 9], [9, 10], [10, 11], [11, 12]]
    np.testing.assert_allclose(vectors, states[::-1], atol=TOLERANCE)
    kinds = {strand: EmbeddingConfig(pooling=Pooling.BASE, strand=strand) for strand in StrandUse}
    forward, back, both = (Embedder(bundle, kinds[s]).embed_places([codes])[1][0] for s in StrandUse)
    np.testing.assert_allclose(both, (forward + back) / 2, atol=1e-5)
    np.testing.assert_allclose(back[11], states[0], atol=TOLERANCE)


def test_pooling_that_gives_several_vectors_is_refused_where_one_is_needed(bundle):
    with pytest.raises(ValueError, match="pooling=token has no mean of both strands"):
        EmbeddingConfig(pooling=Pooling.TOKEN, strand=StrandUse.BOTH)
    with pytest.raises(ValueError, match="pooling=base gives several vectors a sequence"):
        Embedder(bundle, EmbeddingConfig(pooling=Pooling.BASE)).embed([random_codes(10)])


@pytest.mark.parametrize("stride", [60, 30])
def test_every_base_of_a_genome_has_one_row_whatever_the_overlap(bundle, stride):
    config = EmbeddingConfig(window_bp=60, stride_bp=stride, batch_windows=2, pooling=Pooling.BASE)
    embedder, codes = Embedder(bundle, config), random_codes(200)
    blocks = list(embedder.embed_tiles(tile_record(record("r", codes), window_bp=60, stride_bp=stride)))
    columns = [block.columns() for block in blocks]
    assert np.concatenate([one["start"] for one in columns]).tolist() == list(range(200))
    assert np.concatenate([one["end"] for one in columns]).tolist() == list(range(1, 201))
    vectors = np.concatenate([block.vectors for block in blocks])
    ids, states = states_of(bundle, codes[stride : stride + 60])  # the second window
    at = stride + (60 - stride) // 2 + 6
    inside = np.repeat(states, bundle.vocabulary.token_bp[ids], axis=0)
    np.testing.assert_allclose(vectors[at], inside[at - stride], atol=TOLERANCE)


def test_places_are_compiled_once_a_length_too(bundle):
    embedder = Embedder(bundle, EmbeddingConfig(batch_windows=4, pooling=Pooling.BASE))
    embedder.embed_places([random_codes(300)])
    warm = embedder.encoder.compiled._cache_size()
    for n in (6, 37, 301):
        embedder.embed_places([random_codes(n, seed=n)] * 3)
    assert embedder.encoder.compiled._cache_size() == warm


def test_parts_of_a_window_are_means_of_the_tokens_whose_middle_they_hold(bundle):
    codes = random_codes(200, seed=2)
    embedder = Embedder(bundle, EmbeddingConfig(window_bp=240, part_bp=48))
    found = embedder.embed([codes, codes[:30], codes[:20]])
    assert embedder.parts == 9 and found.shape == (3, embedder.width) and embedder.width == 9 * embedder.encoder.width
    (places,), (states,) = Embedder(bundle, EmbeddingConfig(pooling=Pooling.TOKEN)).embed_places([codes])
    middles = places.mean(axis=1)
    for part, own in enumerate(found[0].reshape(9, -1)):
        inside = (middles >= 24 * part) & (middles < 24 * (part + 2))
        expected = states[inside].mean(axis=0) if part < 8 else np.zeros(embedder.encoder.width)
        np.testing.assert_allclose(own, expected, atol=TOLERANCE)  # 200 bp have 9 halves, and so 8 parts
    for short in found[1:]:  # what a short sequence lacks is null; all of it is one part
        assert not short.reshape(9, -1)[1:].any() and short.any()
    reverse = Embedder(bundle, EmbeddingConfig(window_bp=240, part_bp=48, strand=StrandUse.REVERSE))
    np.testing.assert_allclose(reverse.embed([reverse_complement(codes)]), found[:1], atol=TOLERANCE)
    with pytest.raises(ValueError, match="250 bp has more parts of 48 bp than a window of 240"):
        embedder.embed([random_codes(250)])


def test_parts_need_the_mean_of_one_strand():
    for other in ({"pooling": Pooling.CLS}, {"strand": StrandUse.BOTH}):
        with pytest.raises(ValueError, match="embedding.part_bp=48 .* does not go with"):
            EmbeddingConfig(part_bp=48, **other)
    for width, said in ((-2, "is negative"), (8, "needs to be even and at least 16"), (49, "needs to be even")):
        with pytest.raises(ValueError, match=f"embedding.part_bp={width} {said}"):
            EmbeddingConfig(part_bp=width)


def test_files_from_before_parts_are_known_by_their_settings():
    assert "part_bp" not in told(EmbeddingConfig()) and told(EmbeddingConfig(part_bp=48))["part_bp"] == 48

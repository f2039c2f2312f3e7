"""The whole evaluation on networks whose score is known in advance."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.evaluation.bootstrap import Estimate
from plantgfm.evaluation.evaluate import evaluate
from plantgfm.evaluation.floor import floor_nats, floor_violation
from plantgfm.evaluation.held_out import Scorer, compartments_of, prepare
from plantgfm.evaluation.masked import MODEL
from plantgfm.evaluation.next_region import UNIGRAM, next_baselines, next_groups
from plantgfm.evaluation.result import EvaluationResult
from plantgfm.evaluation.unigram import fit_unigram
from plantgfm.evaluation.watch import VALUES, ValidationEvaluator
from plantgfm.model.build import build
from plantgfm.model.config import ModelConfig
from plantgfm.objectives.masking import slot_count
from plantgfm.partition import make_mesh, model_rules, param_shardings
from plantgfm.schema import Split
from plantgfm.tokenization.vocabulary import CLS, FIRST_BASE, FIRST_SIX, MASK
from tests.fixtures import fresh

TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class Fixed:
    """A network that says the same everywhere: `params` is the logit of each token, for both heads."""

    vocabulary_size: int

    def fold(self, params):
        return params

    def states(self, params, tokens):
        return [jnp.zeros((*tokens.shape, 2))]

    def masked_logits(self, params, hidden):
        return jnp.broadcast_to(params.reshape(1, 1, -1), (*hidden.shape[:2], params.size))

    def next_region_logits(self, params, states, tokens, distance_bp):
        return jnp.broadcast_to(params.reshape(1, -1), (len(tokens), params.size))


@dataclass(frozen=True, eq=False)
class Oracle(Fixed):
    """A network that is told the true tokens: params is [B, M], the targets of every window, in order of the batch."""

    def states(self, params, tokens):
        return [jnp.tile(jnp.arange(tokens.shape[0], dtype=jnp.float32)[:, None, None], (1, tokens.shape[1], 2))]

    def masked_logits(self, params, hidden):
        return 1e4 * jax.nn.one_hot(params[: hidden.shape[0]], self.vocabulary_size)

    def next_region_logits(self, params, states, tokens, distance_bp):
        return jnp.zeros((len(tokens), self.vocabulary_size))


@pytest.fixture(scope="module")
def parts(corpus, vocabulary, config, sampler, objective):
    return {"corpus": corpus, "vocabulary": vocabulary, "config": config, "sampler": sampler, "objective": objective}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def uniform(parts, vocabulary, cache):
    return evaluate(Fixed(vocabulary.size), jnp.zeros(vocabulary.size), cache=cache, **parts)


@pytest.fixture(scope="module")
def held_out(corpus, vocabulary, config, sampler, objective):
    return prepare(
        corpus,
        vocabulary,
        Split.TEST,
        sampler=sampler,
        objective=objective,
        config=config,
        max_windows=config.max_windows,
    )


@pytest.fixture(scope="module")
def small(vocabulary, sampler):
    """A real network and its parameters; what is compiled for it is shared by the tests."""
    shape = ModelConfig(d_model=16, n_layers=1, n_heads=2, d_ff=16, max_tokens=sampler.window_tokens)
    network = build(shape, vocabulary.size)
    return network, fresh(network)


def test_the_share_that_is_hidden_is_that_of_the_evaluation(corpus, vocabulary, held_out, sampler, config, objective):
    shared = {"sampler": sampler, "max_windows": config.max_windows}
    trained = replace(objective, masked_fraction=0.4)
    same = prepare(corpus, vocabulary, Split.TEST, objective=trained, config=config, **shared)
    np.testing.assert_array_equal(same.slots, held_out.slots)
    half = replace(config, masked_fraction=0.5)
    more = prepare(corpus, vocabulary, Split.TEST, objective=trained, config=half, **shared)
    assert more.slots.shape[1] == slot_count(sampler.window_tokens, 0.5)


def test_every_chosen_position_is_hidden_and_nothing_else_changes(held_out, sampler):
    rows = np.arange(len(held_out.slots))[:, None]
    assert held_out.slots.shape[1] == slot_count(sampler.window_tokens, 0.15)
    assert (held_out.inputs[rows, held_out.slots][held_out.slot_valid] == MASK).all()
    assert ((held_out.inputs == MASK).sum(axis=1) == held_out.slot_valid.sum(axis=1)).all()
    same = held_out.inputs != MASK
    assert (held_out.inputs[same] == held_out.batch.tokens[same]).all()
    assert (held_out.inputs[:, 0] == CLS).all()
    at = held_out.positions
    assert (held_out.targets[at.window, at.slot] == at.token).all() and (at.token >= FIRST_SIX).all()
    assert len(at) + at.left_out == held_out.slot_valid.sum()


def test_a_uniform_predictor_pays_the_logarithm_of_the_vocabulary(uniform, vocabulary):
    s = uniform.summary
    expected = np.log2(vocabulary.size) * s["scored_tokens"] / s["scored_bases"]
    assert s["masked_bits_per_base"] == pytest.approx(expected, rel=TOLERANCE)
    assert 1.9 < expected < 2.3
    assert s["next_region_gain_over_unigram"] < 0


def test_a_perfect_predictor_pays_nothing(held_out, vocabulary):
    n = len(held_out.pairs)
    scores = Scorer(Oracle(vocabulary.size), batch_windows=n)(jnp.asarray(held_out.targets), held_out)
    assert scores.nats.sum() == pytest.approx(0.0, abs=TOLERANCE)
    assert scores.correct.all()


def test_a_model_that_says_the_unigram_scores_as_the_unigram(parts, corpus, vocabulary, config, cache):
    unigram = fit_unigram(corpus, vocabulary, shrinkages=config.shrinkages)
    logits = np.where(unigram.pooled > 0, np.log(np.maximum(unigram.pooled, 1e-300)), -1e9)
    result = evaluate(Fixed(vocabulary.size), jnp.asarray(logits, jnp.float32), cache=cache, **parts)
    difference = result.one(kind="all", metric="model_minus_baseline_bits_per_base", predictor="unigram pooled")
    assert [difference[name] for name in ("value", "low", "high")] == pytest.approx([0, 0, 0], abs=TOLERANCE)
    # Species differ in composition, so their own frequencies and the Markov chains do better.
    s = result.summary
    assert s["unigram_species_bits_per_base"] < s["unigram_pooled_bits_per_base"]
    assert s["markov_species_bits_per_base"] < s["unigram_species_bits_per_base"]
    assert s["model_minus_markov_species_low"] > 0
    assert s["next_region_gain_over_unigram_high"] < 0


def test_the_chains_find_the_order_of_the_source(uniform):
    # The source copies the base two before: order 2 is the least that knows it.
    bits = {row["predictor"]: row["value"] for row in uniform.select(kind="all", metric="masked_bits_per_base")}
    assert bits["markov species forward 2"] < bits["markov species forward 1"] - 0.02
    assert bits["markov species two-sided 2"] < min(bits["markov species forward 2"], bits["markov species backward 2"])
    assert bits["markov species forward 2"] < bits["markov pooled forward 2"]
    assert uniform.summary["markov_pooled_order"] >= 2
    names = {
        f"markov {kind} {way} {k}" for kind in ("pooled", "species") for way in ("forward", "backward") for k in (1, 4)
    }
    assert names <= set(bits)


@pytest.mark.parametrize("kind", ["species", "compartment", "repeats"])
def test_groups_partition_the_sums(uniform, kind):
    for metric, unit in (("masked_bits_per_base", "bases"), ("masked_accuracy", "tokens")):
        whole = uniform.one(kind="all", metric=metric, predictor=MODEL)
        parts = uniform.select(kind=kind, metric=metric, predictor=MODEL)
        assert len(parts) == {"species": 3, "compartment": 2, "repeats": 2}[kind]
        assert sum(row[unit] for row in parts) == whole[unit]
        total = sum(row["value"] * row[unit] for row in parts)
        assert total == pytest.approx(whole["value"] * whole[unit], rel=1e-9)


def test_a_compartment_is_that_of_the_record_and_one_alone_is_no_group(uniform, corpus):
    metric = {"metric": "masked_bits_per_base", "predictor": MODEL}
    plastid, third = uniform.one(group="plastid", **metric), uniform.one(group=corpus.species[2], **metric)
    assert {**plastid, "kind": "", "group": ""} == {**third, "kind": "", "group": ""}
    regions = np.flatnonzero(corpus.regions.species != 2).astype(np.int32)
    assert [name for _, name, member in compartments_of(corpus, regions) if member.any()] == ["nuclear"]
    alone = replace(corpus, records=tuple(replace(record, compartment="nuclear") for record in corpus.records))
    assert not list(compartments_of(alone, regions))


def test_the_next_region_is_held_against_the_unigram_of_windows(uniform, held_out, corpus, vocabulary, config, sampler):
    windows = fit_unigram(corpus, vocabulary, shrinkages=config.shrinkages, window_bp=sampler.window_bp)
    expected = next_baselines(held_out, windows, histogram_mass=1.0).unigram.mean()
    row = uniform.one(kind="all", metric="next_region_nats_per_token", predictor=UNIGRAM)
    assert row["value"] == pytest.approx(expected)


def test_accuracy_stands_beside_the_likeliest_token(uniform, held_out, corpus, vocabulary, config):
    unigram = fit_unigram(corpus, vocabulary, shrinkages=config.shrinkages)
    row = uniform.one(kind="all", metric="masked_accuracy", predictor="unigram pooled")
    assert row["value"] == pytest.approx(np.mean(held_out.positions.token == np.argmax(unigram.pooled)))
    assert uniform.summary["masked_accuracy"] == 0.0  # the likeliest of equals is [PAD]


def test_the_best_chains_are_the_smallest_of_their_kind(uniform):
    bits = {row["predictor"]: row["value"] for row in uniform.select(kind="all", metric="masked_bits_per_base")}
    for kind in ("markov pooled", "markov species"):
        two_sided = {name for name in bits if name.startswith(f"{kind} two-sided")}
        one_sided = {name for name in bits if name.startswith(kind)} - two_sided
        assert bits[uniform.best[kind]] == min(bits[name] for name in one_sided)
        assert bits[uniform.best[f"{kind} two-sided"]] == min(bits[name] for name in two_sided)
    assert uniform.summary["markov_pooled_two_sided_bits_per_base"] < uniform.summary["markov_pooled_bits_per_base"]


def test_distance_bins_and_species_tile_the_pairs(corpus, held_out, config):
    for wanted in ("species", "compartment", "distance"):
        members = [member for kind, _, member in next_groups(corpus, held_out, config) if kind == wanted]
        assert np.array_equal(np.sum(members, axis=0), np.ones(len(held_out.pairs)))
        assert min(member.sum() for member in members) >= len(held_out.pairs) // 4


def test_a_second_evaluation_is_the_same_with_and_without_the_cache(uniform, parts, vocabulary, cache):
    network, params = Fixed(vocabulary.size), jnp.zeros(vocabulary.size)
    assert len(list(cache.glob("markov-*.npz"))) == 1
    assert evaluate(network, params, cache=cache, **parts) == uniform
    seen = []
    again = evaluate(network, params, **parts, progress=lambda *step: seen.append(step))
    assert again == uniform
    assert ("fit Markov baselines", 4, 4) in seen and ("score held-out windows", 30, 30) in seen


def test_other_masks_are_not_read_from_the_cache(parts, config, vocabulary, cache):
    other = {**parts, "config": replace(config, seed=config.seed + 1)}
    result = evaluate(Fixed(vocabulary.size), jnp.zeros(vocabulary.size), cache=cache, **other)
    assert len(list(cache.glob("markov-*.npz"))) == 2
    assert result.summary["scored_bases"] > 0


def test_the_result_survives_its_file(uniform, tmp_path):
    path = uniform.write(tmp_path / "run")
    assert EvaluationResult.read(tmp_path / "run") == uniform
    assert [p.name for p in path.parent.iterdir()] == ["evaluation.json"]
    path.write_text("{}")
    with pytest.raises(ValueError, match="is no plantgfm evaluation"):
        EvaluationResult.read(tmp_path / "run")
    with pytest.raises(ValueError, match="0 rows"):
        uniform.one(kind="nothing")


def test_a_network_of_another_size_is_refused(parts, vocabulary):
    with pytest.raises(ValueError, match="vocabulary of the checkpoint"):
        evaluate(Fixed(vocabulary.size + 1), jnp.zeros(vocabulary.size + 1), **parts)


def test_the_watcher_scores_a_real_network_the_same_twice(parts, small):
    network, params = small
    watcher = ValidationEvaluator(network, every_steps=5, **parts)
    values = watcher.run(params)
    assert values == watcher.run(params)
    assert (watcher.name, watcher.every_steps) == ("validation", 5)
    assert tuple(values) == VALUES
    assert 1.9 < values["masked_bits_per_base"] < 2.4
    assert values["next_region_gain"] < 0


def test_batching_does_not_change_what_a_network_says(held_out, config, small):
    network, params = small
    whole = Scorer(network, batch_windows=len(held_out.pairs))(params, held_out)
    parts = Scorer(network, batch_windows=config.batch_windows)(params, held_out)
    np.testing.assert_allclose(whole.nats, parts.nats, atol=1e-4)
    np.testing.assert_allclose(whole.next_nats, parts.next_nats, atol=1e-4)
    assert whole.next_nats.shape == (len(held_out.pairs),)
    assert FIRST_BASE < FIRST_SIX


def test_parameters_on_a_mesh_score_as_on_one_device(held_out, small):
    network, params = small
    scorer = Scorer(network, batch_windows=8)
    alone = scorer(params, held_out)
    mesh = make_mesh(data=4, tensor=2)
    split = scorer(jax.device_put(params, param_shardings(mesh, model_rules(params), params)), held_out)
    np.testing.assert_allclose(split.nats, alone.nats, rtol=0, atol=1e-4)
    np.testing.assert_allclose(split.next_nats, alone.next_nats, rtol=0, atol=1e-4)


def test_only_a_whole_interval_below_the_entropy_violates_the_floor():
    assert floor_violation(Estimate(1.95, 1.93, 1.97), 1.96) == 0.0
    assert floor_violation(Estimate(1.90, 1.88, 1.92), 1.96) == pytest.approx(0.04)


def test_the_floor_knows_the_strand_and_lies_below_the_chains_of_both(uniform, corpus, vocabulary, held_out):
    nats = floor_nats(corpus, vocabulary, held_out, order=2)
    bits = nats.sum() / held_out.positions.bp.sum() / np.log(2)
    mixed = uniform.one(kind="all", metric="masked_bits_per_base", predictor="markov species two-sided 2")
    assert np.isfinite(nats).all()
    assert bits < mixed["value"] - 0.005
    # Read on the wrong strand, the same windows cost more.
    flipped = replace(held_out, pairs=replace(held_out.pairs, reverse=~held_out.pairs.reverse))
    assert floor_nats(corpus, vocabulary, flipped, order=2).sum() > 1.01 * nats.sum()

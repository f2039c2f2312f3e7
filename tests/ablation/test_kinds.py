"""Arms of other vocabularies: trained, measured on the bases of the base arm, used, told what they cannot do."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plantgfm.ablation.definition import open_experiment
from plantgfm.ablation.jobs import jobs_of
from plantgfm.ablation.measure import Arm, hide
from plantgfm.ablation.sweep import metrics_path, read_metrics, run_sweep
from plantgfm.embedding.opened import load
from plantgfm.export.bundle import load_bundle, write_bundle
from plantgfm.export.exchange import write_exchange
from plantgfm.model.build import build
from plantgfm.objectives.config import ObjectiveConfig
from plantgfm.objectives.joint import loss
from plantgfm.sampling.batches import Batches
from plantgfm.sampling.config import SamplerConfig
from plantgfm.sampling.plan import build_plan
from plantgfm.tokenization.features import kmer_features
from plantgfm.tokenization.vocabulary import Vocabulary
from plantgfm.wiring.data import prepare_vocabulary
from plantgfm.wiring.runs import export_run, open_run_folder
from plantgfm.wiring.scores import evaluate_run
from tests.ablation.folders import write_experiment
from tests.ablation.test_sweep import SMALLEST
from tests.conftest import quickly_compiled
from tests.evaluation.conftest import corpus  # noqa: F401
from tests.fixtures import QUICK, fresh, small_model
from tests.tokenization.test_kinds import learnt

DEFINITION = """question: Which vocabulary?
base: hybrid
arms: [hybrid, bases]
seeds: [0, 1]
windows: 6
resamples: 100
metric: IN_TURN
in_turn: true
"""
HYBRID = "# @package _global_\nsampler: {window_tokens: 21}\nmodel: {max_tokens: 21}\n"
BASES = (
    "# @package _global_\ntokenizer: {kind: BASES}\nsampler: {window_tokens: 121, width_bp: 120}\n"
    "model: {max_tokens: 121}\n"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The arm of single bases, one seed: (experiment, job, folder)."""
    folder = tmp_path_factory.mktemp("kinds")
    shared = [text for text in SMALLEST if "_tokens=" not in text]
    written = write_experiment(folder, definition=DEFINITION, hybrid=HYBRID, bases=BASES)
    experiment = open_experiment(written, [*shared, f"corpus.path={folder / 'world'}"])
    job = next(job for job in jobs_of(experiment, folder) if (job.arm, job.seed) == ("bases", 0))
    with quickly_compiled():
        run_sweep(experiment, [job], folder, command="plantgfm ablate", write=lambda line: None)
    return experiment, job, folder


def test_single_bases_are_trained_and_scored_on_the_bases_of_the_base_arm(trained):
    experiment, job, folder = trained
    stored = read_metrics(metrics_path(folder, experiment.name, job))
    run = open_run_folder(folder / job.config.run.name)
    base = experiment.base
    hybrid = Arm(prepare_vocabulary(base, run.corpus()), base.sampler.window_tokens)
    held_out, _ = hide(run.corpus(), hybrid, base.sampler, experiment.definition)
    at = held_out.positions
    assert stored["windows"]["bases"] == np.bincount(at.window, weights=at.bp, minlength=6).tolist()
    assert run.vocabulary == Vocabulary.of_bases() and stored["cut_bp"] == 0
    # The null world has next to nothing to be known beyond what the frequencies tell.
    for name in ("masked_bits_per_base", "masked_bits_per_base_in_turn"):
        assert 1.8 < stored["values"][name] < 2.2


def test_a_run_of_single_bases_gives_a_bundle_that_embeds_and_tells_bases(trained, tmp_path):
    _, job, folder = trained
    run = folder / job.config.run.name
    bundle = export_run(run, tmp_path / "bundle")
    assert "9 tokens (single bases, N)" in (bundle / "README.md").read_text()
    model = load(bundle)
    assert model.encoder.window_bp == 120
    assert model.embed(["ACGTACGGCATTACGATT", "TTGACCA"]).shape == (2, 16)
    assert model.per_base_probabilities(["ACGTTGCA"])[0].sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert set(model.fill("ACGTNACGT").sequence) <= set("ACGT")
    with pytest.raises(ValueError, match="an evaluation beside Markov models works with 6- and 8-mers only"):
        evaluate_run(run)


def test_a_bundle_of_byte_pairs_embeds_and_what_it_cannot_do_is_told(tmp_path):
    vocabulary, config = learnt(), small_model()
    network = build(config, vocabulary.size, features=kmer_features(vocabulary))
    parts = {"network": network, "params": fresh(network), "model_config": config}
    folder = write_bundle(tmp_path / "bundle", vocabulary=vocabulary, lineage={"window_bp": 252}, **parts)
    assert "vocabulary of 300 tokens (byte-pair encoding, N)" in (folder / "README.md").read_text()
    model = load(folder)
    assert model.encoder.window_bp == 252 and load_bundle(folder).vocabulary == vocabulary
    assert np.isfinite(model.embed(["ACGTACGGCATTACGATTNN"])).all()
    with pytest.raises(ValueError, match="reads byte pairs"):
        model.fill("ACGTNACGT")
    with pytest.raises(ValueError, match="the tokenizer for Hugging Face works with 6- and 8-mers only"):
        write_exchange(tmp_path / "hf", load_bundle(folder))
    assert not (tmp_path / "hf").exists()


def test_the_loss_of_byte_pairs_falls_on_batches_that_any_position_gives_again(corpus):  # noqa: F811
    vocabulary = learnt()
    sampler = SamplerConfig(window_tokens=64, width_bp=180, batch_windows=3, min_species=3, distance_max_bp=1024)
    batches = Batches(build_plan(corpus, sampler), corpus, vocabulary, sampler)
    fourth = next(iter(batches.iterate(3)))
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, fourth, batches.batch(3))))
    network = build(small_model(n_layers=1), vocabulary.size, features=kmer_features(vocabulary))
    optimizer, key = optax.adam(0.01), jax.random.key(1)
    batch = jax.tree.map(jnp.asarray, fourth)

    @partial(jax.jit, compiler_options=QUICK)
    def step(params, state):
        value, gradient = jax.value_and_grad(lambda p: loss(network, p, batch, key, ObjectiveConfig())[0])(params)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    params = fresh(network)
    state, values = optimizer.init(params), []
    for _ in range(12):
        params, state, value = step(params, state)
        values.append(float(value))
    assert values[-1] < values[0] - 1.0

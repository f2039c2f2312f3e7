import jax

from plantgfm.config import Config, RunConfig
from plantgfm.model.build import build
from plantgfm.model.config import ModelConfig
from plantgfm.model.flops import step_flops
from plantgfm.objectives.config import ObjectiveConfig
from plantgfm.sampling.config import SamplerConfig
from plantgfm.wiring.training import SILENT, loss_of, work_of
from tests.fixtures import small_vocabulary
from tests.training.toy import SPECIES, batch_of


def test_the_work_of_a_step_is_that_of_its_windows_with_the_head_at_masked_slots():
    config = Config(
        model=ModelConfig(d_model=16, n_layers=1, n_heads=2, d_ff=24, max_tokens=40),
        sampler=SamplerConfig(window_tokens=40, batch_windows=8),
        objective=ObjectiveConfig(masked_fraction=0.2),
    )
    network = build(config.model, 100)
    work = work_of(config, network)
    assert (work.tokens, work.bp) == (320, 8 * 6 * 39)
    assert work.flops == 8 * step_flops(network, tokens=40, slots=8)


def test_settings_that_shape_no_result_exist():
    assert set(vars(RunConfig())) >= SILENT


def test_the_loss_of_a_run_is_told_the_species_and_the_bases_of_tokens():
    config = Config(
        model=ModelConfig(d_model=16, n_layers=1, n_heads=2, d_ff=24, max_tokens=16),
        sampler=SamplerConfig(window_tokens=16),
        objective=ObjectiveConfig(nucleotide_weight=1.0),
    )
    vocabulary = small_vocabulary()
    network = build(config.model, vocabulary.size)
    loss = loss_of(config, network, vocabulary, n_species=len(SPECIES))
    shapes = jax.eval_shape(loss, jax.eval_shape(network.init, jax.random.key(0)), batch_of(0), jax.random.key(0))
    assert shapes[1]["species_nats"].shape == (len(SPECIES),) and "nucleotide_nats" in shapes[1]

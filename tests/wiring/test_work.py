from plantgfm.config import Config, RunConfig
from plantgfm.model.build import build
from plantgfm.model.config import ModelConfig
from plantgfm.model.flops import step_flops
from plantgfm.objectives.config import ObjectiveConfig
from plantgfm.sampling.config import SamplerConfig
from plantgfm.wiring.training import SILENT, work_of


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

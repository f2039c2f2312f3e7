"""Mixed window lengths: stages from settings, what is refused, and what of a run is of which stage."""

from dataclasses import replace

import jax
import pytest

from plantgfm.config import Config, RunConfig
from plantgfm.model.config import ModelConfig
from plantgfm.model.flops import step_flops
from plantgfm.sampling.config import SamplerConfig
from plantgfm.sampling.plan import Plan
from plantgfm.wiring import training
from plantgfm.wiring.mesh import activation_bytes, demand_of
from plantgfm.wiring.stages import stages_line, stages_of
from plantgfm.wiring.training import build_network, identity_of, loss_of, plan_of, work_of
from tests.conftest import composed
from tests.fixtures import small_vocabulary
from tests.training.toy import SPECIES, batch_of

SHAPE = {"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 24, "max_tokens": 16, "kmer_features": False}
SHORT = {"short_tokens": [4, 8], "short_steps": [3, 5], "short_rope_thetas": [100.0, 1000.0]}


def config_of(**run):
    sampler = SamplerConfig(window_tokens=16, batch_windows=8)
    return Config(model=ModelConfig(**SHAPE), sampler=sampler, run=RunConfig(steps=20, **run))


def test_a_run_without_short_windows_has_one_stage_which_is_itself():
    config = config_of()
    (stage,) = stages_of(config)
    assert stage.first_step == 0 and stage.config is config


def test_every_stage_has_its_length_its_rotary_base_and_the_tokens_of_the_last():
    stages = stages_of(config_of(**SHORT))
    bases = [stage.config.model.rope_theta_full for stage in stages]
    assert [(stage.first_step, stage.tokens, stage.windows) for stage in stages] == [(0, 4, 32), (3, 8, 16), (8, 16, 8)]
    assert bases == [100.0, 1000.0, 160_000.0]
    assert stages_line(stages) == (
        "stages: 32 windows of 4 tokens from step 1 to 3 (rotary base 100); 16 windows of 8 tokens from step 4 to 8 "
        "(rotary base 1,000); 8 windows of 16 tokens from step 9 on (rotary base 160,000)"
    )
    same = stages_of(config_of(**{**SHORT, "short_rope_thetas": []}))
    assert {stage.config.model.rope_theta_full for stage in same} == {160_000.0}


def test_a_stated_width_of_windows_shrinks_with_their_slots():
    config = config_of(**SHORT)
    assert {stage.config.sampler.width_bp for stage in stages_of(config)} == {0}
    stated = replace(config, sampler=replace(config.sampler, width_bp=80))
    assert [stage.config.sampler.window_bp for stage in stages_of(stated)] == [16, 37, 80]


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ({"short_tokens": [8]}, "needs as many run.short_steps, which are \\[\\]"),
        ({"short_steps": [8]}, "run.short_tokens=\\[\\] needs as many"),
        ({"short_tokens": [8], "short_steps": [2], "short_rope_thetas": [1.0, 2.0]}, "run.short_rope_thetas or none"),
        ({"short_tokens": [8, 4], "short_steps": [2, 2]}, "\\[8, 4\\] must grow"),
        ({"short_tokens": [8, 8], "short_steps": [2, 2]}, "\\[8, 8\\] must grow"),
        ({"short_tokens": [8], "short_steps": [20]}, "together leave some of run.steps=20"),
        ({"short_tokens": [8], "short_steps": [0]}, "must be 1 or more each"),
        ({"short_tokens": [8], "short_steps": [2], "short_rope_thetas": [0.0]}, "thetas=\\[0.0\\] must be above 0"),
        ({"short_tokens": [8], "short_steps": [2], "spike_deviations": 6.0}, "spike_deviations=6.0 can't tell a spike"),
        ({"short_tokens": [16], "short_steps": [2]}, "has 16: .* less than sampler.window_tokens=16"),
        ({"short_tokens": [6], "short_steps": [2]}, "has 6: .* divide it"),
        ({"short_tokens": [1], "short_steps": [2]}, "has 1: it must be 2 or more"),
    ],
)
def test_lengths_that_make_no_sense_are_refused(run, reason):
    with pytest.raises(ValueError, match=reason):
        config_of(**run)


def test_stages_are_overrides_of_the_main_job():
    config = composed("run.short_tokens=[64,128]", "run.short_steps=[200,100]", "run.short_rope_thetas=[1e4,4e4]")
    assert [stage.windows for stage in stages_of(config)] == [128, 64, 32]
    with pytest.raises(ValueError, match="run.short_steps=\\[600\\] must be 1 or more each, and together leave"):
        composed("run.short_tokens=[64]", "run.short_steps=[600]")


def test_the_loss_of_a_batch_is_computed_with_the_rotary_base_of_its_length(monkeypatch):
    config, vocabulary, seen = config_of(**SHORT), small_vocabulary(), []
    network = build_network(config, vocabulary)
    monkeypatch.setattr(training, "loss", lambda network, *rest, **told: seen.append(network.config.rope_theta_full))
    loss = loss_of(config, network, vocabulary, n_species=len(SPECIES))
    for length in (4, 8, 16):
        loss(None, batch_of(0, length=length), jax.random.key(0))
    assert seen == [100.0, 1000.0, 160_000.0]


def test_plan_work_memory_and_identity_know_the_stages(monkeypatch):
    monkeypatch.setattr(training, "build_plan", lambda corpus, sampler: sampler)
    config, vocabulary = config_of(**SHORT), small_vocabulary()
    plan = plan_of(config, None)
    assert [plan.at(step)[0].window_tokens for step in (0, 2, 3, 7, 8, 19)] == [4, 4, 8, 8, 16, 16]
    assert [plan.at(step)[1] for step in (0, 2, 3, 7, 8, 19)] == [0, 2, 0, 4, 0, 11]
    assert plan_of(config_of(), None) == config_of().sampler and hasattr(Plan, "at")
    network = build_network(config, vocabulary)
    work = work_of(config, network)
    assert work.over(0, 3).flops == 32 * step_flops(network, tokens=4, slots=1)
    assert (
        work.over(3, 8).bp == 16 * 6 * 7 and work.over(8, 20).flops == work.flops == work_of(config_of(), network).flops
    )
    most = demand_of(config, network, None).activation_bytes(2.0, 1)
    shortest = activation_bytes(stages_of(config)[0].config, network, windows=8.0, tensor=1)
    assert most == max(shortest, activation_bytes(config, network, windows=2.0, tensor=1)) == shortest

    class Known:
        fingerprint = "c0"

    identities = [identity_of(each, corpus=Known, vocabulary=vocabulary)["run"] for each in (config, config_of())]
    assert identities[0] == identities[1] | SHORT != identities[1]
    moved = replace(config, run=replace(config.run, short_steps=[4, 4]))
    assert identity_of(moved, corpus=Known, vocabulary=vocabulary)["run"] != identities[0]

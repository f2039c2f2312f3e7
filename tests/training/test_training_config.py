import dataclasses

import pytest

from plantgfm.training.config import OptimizerConfig, TrainingConfig


def test_defaults_are_valid_and_can_be_set_field_by_field():
    config = TrainingConfig()
    config.steps = 5  # Hydra fills a structured config so: it must not be frozen
    assert dataclasses.replace(config).steps == 5
    assert OptimizerConfig() == OptimizerConfig()


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        (OptimizerConfig, "peak_learning_rate", 0.0),
        (OptimizerConfig, "peak_learning_rate", float("nan")),
        (OptimizerConfig, "muon_learning_rate", 0.0),
        (OptimizerConfig, "muon_learning_rate", float("nan")),
        (OptimizerConfig, "muon_momentum", -0.1),
        (OptimizerConfig, "muon_momentum", 1.0),
        (OptimizerConfig, "weight_decay", -0.1),
        (OptimizerConfig, "weight_decay", float("nan")),
        (OptimizerConfig, "warmup_steps", -1),
        (OptimizerConfig, "decay_fraction", 0.0),
        (OptimizerConfig, "floor_fraction", 1.5),
        (OptimizerConfig, "clip_norm", -1.0),
        (OptimizerConfig, "b2", 1.0),
        (TrainingConfig, "steps", 0),
        (TrainingConfig, "micro_batches", 0),
        (TrainingConfig, "log_every_steps", 0),
        (TrainingConfig, "checkpoint_every_steps", 0),
        (TrainingConfig, "keep_last", 0),
        (TrainingConfig, "evaluate_every_steps", -1),
        (TrainingConfig, "best_metric", "bits"),
    ],
)
def test_a_value_out_of_range_is_named(config, field, value):
    with pytest.raises(ValueError, match=f"{field}.*{value}"):
        config(**{field: value})

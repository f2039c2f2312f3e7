import json
import math

import numpy as np
import pytest

from plantgfm.training.metrics import Averages, MetricsFile, TensorBoard, read_metrics


def step_metrics(loss, *, nats=(4.0, 0.0), tokens=(2.0, 0.0)):
    return {
        "loss": np.float32(loss),
        "gradient_norm": np.float32(1.0),
        "learning_rate": np.float32(loss / 10),
        "masked_nats": np.float32(sum(nats)),
        "masked_tokens": np.float32(sum(tokens)),
        "masked_correct": np.float32(1.0),
        "next_nats": np.float32(6.0),
        "next_windows": np.float32(2.0),
        "species_nats": np.array(nats, np.float32),
        "species_tokens": np.array(tokens, np.float32),
    }


def test_averages_weigh_by_counts_per_objective_and_species():
    averages = Averages()
    averages.add(step_metrics(1.0))
    averages.add(step_metrics(3.0, nats=(6.0, 12.0), tokens=(2.0, 4.0)))
    row = averages.take(["Zea mays", "Oryza sativa"])
    assert row["loss"] == 2.0
    assert row["learning_rate"] == pytest.approx(0.3)  # the latest
    assert row["masked_nats_per_token"] == 22.0 / 8.0
    assert row["masked_accuracy"] == 0.25
    assert row["next_nats_per_token"] == 3.0
    assert row["species/Zea mays"] == 10.0 / 4.0
    assert row["species/Oryza sativa"] == 3.0
    assert averages.take([]) == {}


def test_the_step_that_saw_the_fewest_species_is_told():
    averages = Averages()
    for tokens in ((2.0, 1.0), (0.0, 3.0), (1.0, 1.0)):
        averages.add(step_metrics(1.0, tokens=tokens))
    assert averages.take([])["species_seen"] == 1.0
    averages.add(step_metrics(1.0, tokens=(1.0, 1.0)))
    assert averages.take([])["species_seen"] == 2.0


def test_losses_by_repeats_and_gradient_norms_by_block():
    averages = Averages()
    for nats, norms in (([3.0, 0.0], [1.0, 2.0]), ([9.0, 2.0], [3.0, 4.0])):
        more = {"repeat_nats": np.array(nats), "repeat_tokens": np.array([2.0, 0.5]), "block_gradient_norms": norms}
        averages.add({**step_metrics(1.0), **more})
    row = averages.take([], ["embeddings", "layers/0"])
    assert (row["repeats/outside"], row["repeats/inside"]) == (3.0, 2.0)
    assert (row["gradient_norm/embeddings"], row["gradient_norm/layers/0"]) == (2.0, 3.0)
    averages.add({**step_metrics(1.0), "repeat_nats": np.array([3.0, 0.0]), "repeat_tokens": np.array([2.0, 0.0])})
    assert "repeats/inside" not in averages.take([])


def test_a_species_without_tokens_has_no_loss():
    averages = Averages()
    averages.add(step_metrics(1.0))
    assert "species/Oryza sativa" not in averages.take(["Zea mays", "Oryza sativa"])


def test_averages_go_through_json_to_the_last_bit():
    one = Averages()
    one.add(step_metrics(math.pi))
    other = Averages(json.loads(json.dumps(one.save())))
    for averages in (one, other):
        averages.add(step_metrics(math.e))
    assert one.take(["a", "b"]) == other.take(["a", "b"])


def lines_of(path):
    return [row["step"] for row in read_metrics(path)]


def test_lines_beyond_the_restored_step_and_torn_lines_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    first = MetricsFile(path, step=0)
    for step in range(1, 6):
        first.write({"step": step, "loss": 0.1})
    first.sync()
    first.close()
    with path.open("a") as stream:
        stream.write('{"step": 6, "lo')
    assert lines_of(path) == [1, 2, 3, 4, 5]
    second = MetricsFile(path, step=3)
    second.write({"step": 4, "loss": 0.2})
    second.close()
    assert lines_of(path) == [1, 2, 3, 4]
    assert [item.name for item in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_each_line_can_be_read_at_once_and_is_strict_json(tmp_path):
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path, step=0)
    file.write({"step": 1, "loss": math.nan, "norm": math.inf})
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {"step": 1, "loss": None, "norm": None}
    file.close()


def test_tensorboard_writes_events(tmp_path):
    board = TensorBoard(tmp_path, step=4)
    board.write({"step": 5, "loss": 1.5, "note": "text is left out"})
    board.sync()
    board.close()
    (events,) = tmp_path.iterdir()
    assert b"loss" in events.read_bytes()
    assert b"note" not in events.read_bytes()


def test_tensorboard_is_optional(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    board = TensorBoard(tmp_path / "none", step=0)
    board.write({"step": 1, "loss": 1.0})
    board.sync()
    board.close()
    assert not (tmp_path / "none").exists()

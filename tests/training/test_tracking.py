"""Weights & Biases, by a stand-in for its client: what is handed on, and that it is never left out in silence."""

import importlib
import json
import math
import sys

import pytest

from plantgfm.training import tracking
from plantgfm.training.config import OnBadStep, TrainingConfig
from plantgfm.training.tracking import TrackingError, WeightsAndBiases, require_tracking

from .quadratic import train_point

CLIENT = """
import types

calls = []
refuse = ""


class Error(Exception):
    pass


errors = types.SimpleNamespace(Error=Error)


def Settings(**fields):
    return fields


class Run:
    def __getattr__(self, name):
        return lambda *arguments, **more: calls.append((name, arguments, more))


def init(**fields):
    if refuse:
        raise Error(refuse)
    calls.append(("init", (), fields))
    return Run()
"""


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A module `wandb` that notes its calls."""
    (tmp_path / "client").mkdir()
    (tmp_path / "client" / "wandb.py").write_text(CLIENT)
    monkeypatch.syspath_prepend(tmp_path / "client")
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    yield importlib.import_module("wandb")
    sys.modules.pop("wandb")


def logged(client):
    return [arguments[0] for name, arguments, _ in client.calls if name == "log"]


def test_a_run_is_handed_on_line_by_line_under_one_id(client, tmp_path):
    run, settings = tmp_path / "run", {"wandb_project": "plants", "wandb_offline": True}
    train_point(run, stop_at=4, **settings)
    train_point(run, **settings)
    first, second = (fields for name, _, fields in client.calls if name == "init")
    assert first == second  # the same id: one run there
    assert (first["project"], first["name"], first["mode"], first["resume"]) == ("plants", "run", "offline", None)
    assert first["dir"] == str(run) and first["config"] == json.loads((run / "run.json").read_text())["identity"]
    assert [row["step"] for row in logged(client)] == list(range(1, 13))
    assert {"loss", "gradient_norm", "gradient_norm/kernel", "learning_rate"} <= set(logged(client)[0])
    assert ("define_metric", ("*",), {"step_metric": "step"}) in client.calls
    assert [name for name, *_ in client.calls].count("finish") == 2


def test_online_it_resumes_and_another_run_has_another_id(client, tmp_path):
    for name, changes in (("a", {}), ("b", {}), ("c", {"wandb_offline": True})):
        config = TrainingConfig(wandb_project="plants", **changes)
        WeightsAndBiases(tmp_path / name, config=config, run_id=f"id-{name}", identity={}).close()
    fields = [fields for name, _, fields in client.calls if name == "init"]
    assert [(each["id"], each["mode"], each["resume"]) for each in fields] == [
        ("id-a", "online", "allow"),
        ("id-b", "online", "allow"),
        ("id-c", "offline", None),
    ]


def test_rolling_back_goes_on_in_the_same_run(client, tmp_path):
    policy = {"on_bad_step": OnBadStep.ROLL_BACK, "checkpoint_every_steps": 2}
    train_point(tmp_path / "run", poison={5: math.nan}, wandb_project="plants", **policy)
    names = [name for name, *_ in client.calls]
    assert (names.count("init"), names.count("finish")) == (1, 1)
    steps = [row["step"] for row in logged(client)]
    assert steps[-1] == 12 and steps != sorted(set(steps))  # what was rolled back stands there twice


def test_text_and_what_is_no_number_stays_here(client, tmp_path):
    there = WeightsAndBiases(tmp_path, config=TrainingConfig(wandb_project="p"), run_id="x", identity={})
    there.write({"step": 3, "loss": 1.5, "note": "text"})
    there.sync()
    assert logged(client) == [{"step": 3, "loss": 1.5}]


def test_a_client_that_refuses_is_one_line_and_nothing_was_trained(client, tmp_path):
    client.refuse = "api_key not configured (no-tty). call wandb.login\nmore"
    with pytest.raises(TrackingError, match=r"wandb_project=plants: the client refuses \(api_key not .*wandb login"):
        train_point(tmp_path / "run", wandb_project="plants", batches=pytest.fail)


def test_without_the_client_it_is_refused_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TrackingError, match=r"wandb_project=plants needs .* pip install 'plantgfm\[tracking\]'"):
        train_point(tmp_path / "run", wandb_project="plants")
    assert not (tmp_path / "run").exists()
    require_tracking(TrainingConfig())
    with pytest.raises(ValueError, match="wandb_offline=True needs wandb_project"):
        TrainingConfig(wandb_offline=True)

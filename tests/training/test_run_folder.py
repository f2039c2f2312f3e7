import enum
import fcntl
import json
import subprocess
import sys

import pytest

from plantgfm.training.run_folder import (
    RunBusy,
    RunMismatch,
    RunStatus,
    differences,
    known_identities,
    locked,
    open_run,
    read_json,
    write_json,
)


class Colour(enum.Enum):
    RED = "red"


IDENTITY = {"model": {"width": 8, "colour": Colour.RED}, "corpus": {"fingerprint": "aa"}, "steps": 10}


def changed(**over):
    return {**IDENTITY, **over}


def test_new_then_continue_then_done(tmp_path):
    run = tmp_path / "deep" / "run"
    assert open_run(run, IDENTITY) is RunStatus.NEW
    assert open_run(run, IDENTITY) is RunStatus.CONTINUE
    write_json(run / "result.json", {"step": 10})
    assert open_run(run, IDENTITY) is RunStatus.DONE


def test_another_identity_is_refused_key_by_key_and_changes_nothing(tmp_path):
    open_run(tmp_path, IDENTITY)
    before = (tmp_path / "run.json").read_bytes()
    other = {"model": {"width": 16, "colour": Colour.RED}, "corpus": {"fingerprint": "aa"}, "steps": 12, "new": None}
    with pytest.raises(RunMismatch) as caught:
        open_run(tmp_path, other)
    text = str(caught.value)
    assert "model.width: 8 there, 16 here" in text
    assert "steps: 10 there, 12 here" in text
    assert "new: absent there, null here" in text
    assert "\n" not in text and text.startswith(f"{tmp_path} belongs to a run with other settings: ")
    assert text.endswith("'run.accept=[model.width,new,steps]'")
    assert "corpus" not in text and "colour" not in text
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_change_accepted_by_name_is_recorded(tmp_path):
    open_run(tmp_path, IDENTITY)
    write_json(tmp_path / "result.json", {})
    other = changed(corpus={"fingerprint": "bb"})
    with pytest.raises(RunMismatch, match="corpus.fingerprint"):
        open_run(tmp_path, other, accept=["corp", "steps"])
    assert open_run(tmp_path, other, accept=["corpus"]) is RunStatus.CONTINUE  # no longer done
    assert [known["corpus"]["fingerprint"] for known in known_identities(tmp_path)] == ["bb", "aa"]
    assert open_run(tmp_path, other) is RunStatus.CONTINUE
    with pytest.raises(RunMismatch):
        open_run(tmp_path, IDENTITY)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="no run folder"):
        open_run(tmp_path, IDENTITY)
    assert [item.name for item in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_claim_cut_short_by_a_crash_can_be_made_again(tmp_path):
    (tmp_path / "run.json.part").write_text("{")
    (tmp_path / ".lock").touch()
    assert open_run(tmp_path, IDENTITY) is RunStatus.NEW


def test_differences_see_types_order_and_empty_dicts():
    assert differences({"a": 1, "b": {}}, {"a": 1, "b": {}}) == {}
    assert differences({"a": 1}, {"a": True}) == {"a": ("1", "true")}
    assert differences({"a": [1, 2]}, {"a": [2, 1]}) == {"a": ("[1, 2]", "[2, 1]")}
    assert differences({"a": {}}, {"a": {"b": 1}}) == {"a": ("{}", "absent"), "a.b": ("absent", "1")}


def test_only_one_process_holds_a_run(tmp_path):
    program = "import sys; from pathlib import Path; from plantgfm.training.run_folder import locked\n"
    program += "with locked(Path(sys.argv[1])): print('held')"
    command = [sys.executable, "-c", program, str(tmp_path)]
    with locked(tmp_path):
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
        with pytest.raises(RunBusy), locked(tmp_path):
            pass
    assert refused.returncode != 0 and "RunBusy" in refused.stderr
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "held\n"


def test_json_is_written_whole_and_read_with_its_path(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"b": Colour.RED})
    assert json.loads(path.read_text()) == {"b": "red"}
    assert [item.name for item in tmp_path.iterdir()] == ["x.json"]
    path.write_text("{")
    with pytest.raises(ValueError, match="x.json is no JSON"):
        read_json(path)


def test_of_two_processes_that_claim_a_folder_at_once_one_wins(tmp_path, monkeypatch):
    run, flock = tmp_path / "run", fcntl.flock

    def late(stream, how):  # the other one is done between our look and our claim
        monkeypatch.setattr(fcntl, "flock", flock)
        assert open_run(run, changed(seed=99)) is RunStatus.NEW
        flock(stream, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(RunMismatch, match="seed: 99 there, 1 here"):
        open_run(run, changed(seed=1))
    assert open_run(run, changed(seed=99)) is RunStatus.CONTINUE
    assert [item.name for item in run.iterdir() if not item.name.startswith(".")] == ["run.json"]

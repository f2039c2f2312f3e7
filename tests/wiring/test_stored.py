"""Settings that older code stored: what they lack means what the code did then, and no changed default slips in."""

from pathlib import Path

import pytest

from plantgfm.config import Config
from plantgfm.identity import plain
from plantgfm.training.run_folder import RunMismatch, RunStatus, differences, open_run
from plantgfm.wiring import stored
from plantgfm.wiring.stored import as_known, completed, without_added

NAMES = Path(__file__).with_name("settings_of_first_sweeps.txt")
SETTING = "model.norm_eps"


def _without(settings, *dotted):
    """A copy of nested settings that lacks some."""
    lacking = {name: 1 for name in dotted}
    return {
        room: {name: value for name, value in values.items() if f"{room}.{name}" not in lacking}
        for room, values in settings.items()
        if room not in lacking
    }


def test_every_setting_that_came_later_says_what_its_absence_means():
    first = set(NAMES.read_text().split())
    now = dict(stored._leaves(plain(Config())))
    unsaid = {name: now[name] for name in sorted(set(now) - first - set(stored.ADDED))}
    assert not unsaid, (
        f"new settings: stored sweeps and runs lack them. Put what the code did before in `ADDED` of {stored.__file__}"
        f", for instance {unsaid}; a later change of the default must leave that entry as it is"
    )
    assert not set(stored.ADDED) & first, "ADDED is of settings that came later"


def test_what_is_absent_is_what_the_code_did_then(monkeypatch):
    now = plain(Config())
    older = _without(now, SETTING, "optimizer")
    assert completed(older) == now
    assert completed({"model": older["model"]}, rooms=("model",)) == {"model": now["model"]}
    monkeypatch.setattr(stored, "ADDED", {SETTING: 0.25})  # as if the default had been another then
    assert differences(completed(older), now) == {SETTING: ("0.25", "1e-05")}
    assert differences(completed(now), now) == {}


def test_fingerprints_leave_out_what_changes_nothing(monkeypatch):
    now = plain(Config())
    older = _without(now, SETTING, "mesh")
    assert without_added(now) == _without(now, *stored.ADDED)
    monkeypatch.setattr(stored, "ADDED", {})
    assert without_added(now) == now
    mesh = {f"mesh.{name}": value for name, value in now["mesh"].items()}
    monkeypatch.setattr(stored, "ADDED", {SETTING: now["model"]["norm_eps"], **mesh})
    assert without_added(now) == older
    used = now | {"model": now["model"] | {"norm_eps": 1e-3}}
    assert without_added(used)["model"]["norm_eps"] == 1e-3


def test_a_run_of_before_goes_on_unless_the_new_setting_is_used(tmp_path, monkeypatch):
    identity = {"corpus": "aa", "heads": 2, **{room: plain(Config())[room] for room in ("model", "optimizer")}}
    older = _without({room: identity[room] for room in ("model", "optimizer")}, SETTING)
    older |= {"corpus": "aa", "heads": 2}
    assert open_run(tmp_path, older) is RunStatus.NEW
    with pytest.raises(RunMismatch, match=f"{SETTING}: absent there"):
        open_run(tmp_path, identity)
    assert as_known(identity, []) == identity
    assert as_known(identity, [older]) == older
    assert open_run(tmp_path, as_known(identity, [older])) is RunStatus.CONTINUE
    used = identity | {"model": identity["model"] | {"norm_eps": 1e-3}}
    with pytest.raises(RunMismatch, match=f"{SETTING}: absent there, 0.001 here"):
        open_run(tmp_path, as_known(used, [older]))
    monkeypatch.setattr(stored, "ADDED", {SETTING: 0.25})
    with pytest.raises(RunMismatch, match=SETTING):  # the default is another one by now
        open_run(tmp_path, as_known(identity, [older]))
    assert "heads" in as_known(identity, [{"corpus": "aa"}])  # no setting: its absence is a difference

"""Files that belong together: all of them take their places or none, one process at a time."""

import os
from threading import Event, Thread

import pytest

from plantgfm.formats.staging import check_folder, hold, staging


def listed(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_files_take_their_places_together_and_others_stay(tmp_path):
    out = tmp_path / "new" / "out"
    with staging(out) as stage:
        (stage.work / "a").write_text("1")
        assert not out.exists()
        stage.publish()
        (stage.work / "b").write_text("1")
        assert listed(out) == {"a": "1"}
        stage.publish()
    (out / "mine").write_text("m")
    with staging(out) as stage:
        (stage.work / "a").write_text("2")
        stage.publish(stale=("b", "never"))
    assert listed(out) == {"a": "2", "mine": "m"} and [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_error_leaves_the_folder_as_it_was(tmp_path, error):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").write_text("1")
    with pytest.raises(type(error)), staging(out) as stage:
        (stage.work / "a").write_text("half")
        raise error
    assert listed(out) == {"a": "1"} and [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    left = tmp_path / ".out.part"
    (left / "folder").mkdir(parents=True)
    (left / "old").write_text("half")
    with staging(tmp_path / "out") as stage:
        (stage.work / "a").write_text("1")
        stage.publish()
    assert listed(tmp_path / "out") == {"a": "1"} and not left.exists()


def test_one_writes_while_another_waits_and_all_files_are_of_the_last(tmp_path):
    out, begun, entered = tmp_path / "out", Event(), Event()

    def second():
        begun.set()
        with staging(out) as stage:
            entered.set()
            (stage.work / "a").write_text("2")
            (stage.work / "b").write_text("2")
            stage.publish()

    thread = Thread(target=second)
    with staging(out) as stage:
        thread.start()
        begun.wait(5)
        for name in "ab":
            (stage.work / name).write_text("1")
            stage.publish()
            assert not entered.wait(0.02)
        assert listed(out) == {"a": "1", "b": "1"}
    thread.join(5)
    assert listed(out) == {"a": "2", "b": "2"} and not (tmp_path / ".out.part").exists()


def test_who_does_not_wait_is_told_at_once(tmp_path):
    first = hold(tmp_path / "x", wait=False)
    assert hold(tmp_path / "x", wait=False) is None
    os.close(first)
    again = hold(tmp_path / "x", wait=False)
    assert again is not None
    os.close(again)


def test_a_folder_that_can_not_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    check_folder(tmp_path / "new" / "deep")
    check_folder(tmp_path)
    for wrong in ("file", "file/below/it"):
        with pytest.raises(ValueError, match=r"can't be a folder: .*/file is a file; name another one"):
            check_folder(tmp_path / wrong)

"""A world is made once, also where several want it at the same time."""

import threading

from plantgfm.simulate.folder import build_once


def test_a_world_that_another_one_is_making_is_waited_for_and_not_made_again(tmp_path):
    out, began, may_end, made = tmp_path / "world", threading.Event(), threading.Event(), []

    def build(part):
        (part / "genome.fa").write_text(">a\nACGT\n")
        made.append(part)
        began.set()
        assert may_end.wait(20)

    def ask():
        build_once(out, {"seed": 1}, kind="null", version=1, build=build)

    first = threading.Thread(target=ask)
    first.start()
    assert began.wait(20)
    others = [threading.Thread(target=ask) for _ in range(3)]
    for other in others:
        other.start()
        other.join(0.1)
        assert other.is_alive() and made[0].is_dir()
    may_end.set()
    for thread in (first, *others):
        thread.join(20)
        assert not thread.is_alive()
    assert len(made) == 1 and {path.name for path in out.iterdir()} == {"genome.fa", "world.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["world"]


def test_what_a_killed_process_left_is_no_part_of_the_world(tmp_path):
    def fail(part):
        raise KeyboardInterrupt

    def leave(part):
        left.append(part)
        (part / "whole.fa").write_text(">a\nACGT\n")

    left: list = []
    for build in (fail, leave):
        try:
            build_once(tmp_path / "world", {"seed": 1}, kind="null", version=1, build=build)
        except KeyboardInterrupt:
            assert list(tmp_path.iterdir()) == []
    (tmp_path / "world").rename(left[0])  # as a kill leaves the folder of the work
    (left[0] / "world.json").unlink()
    (left[0] / "half.fa").write_text(">b\nAC")
    build_once(tmp_path / "world", {"seed": 1}, kind="null", version=1, build=leave)
    assert {path.name for path in (tmp_path / "world").iterdir()} == {"whole.fa", "world.json"}

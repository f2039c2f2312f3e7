"""Streams: lines are the same wherever a block ends, padding is no damage, writing is all or nothing."""

import gzip

import pytest

from plantgfm.formats import paths, streams
from plantgfm.formats.errors import FormatError
from plantgfm.formats.streams import atomic_text, blocks, raw_lines, text_lines

TEXT = b"one\r\n\r\ntwo\nthree \rfour\n" + "Größe\n".encode() + b"last"
LINES = [(1, b"one"), (2, b""), (3, b"two"), (4, b"three \rfour"), (5, "Größe".encode()), (6, b"last")]


@pytest.mark.parametrize("block", range(1, 12))
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_lines_do_not_depend_on_blocks(tmp_path, monkeypatch, block, end):
    monkeypatch.setattr(streams, "BLOCK_BYTES", block)
    monkeypatch.setattr(streams, "_COMPRESSED_BYTES", block + 17)  # the gzip header stands in the first read
    for name, content in (("a.txt", TEXT + end), ("a.gz", gzip.compress(TEXT[:9]) + gzip.compress(TEXT[9:] + end))):
        (tmp_path / name).write_bytes(content)
        assert list(raw_lines(tmp_path / name)) == LINES


def test_text_is_utf8_and_a_byte_order_mark_is_dropped(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + TEXT)
    assert list(text_lines(tmp_path / "a.txt"))[0] == (1, "one")
    assert list(text_lines(tmp_path / "a.txt"))[4] == (5, "Größe")


def test_zero_bytes_after_the_last_member_are_padding(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"a\n") + bytes(1024))
    assert b"".join(blocks(tmp_path / "a.gz")) == b"a\n"
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"a\n") + bytes(9) + b"x")
    with pytest.raises(FormatError, match="corrupt|truncated"):
        list(blocks(tmp_path / "b.gz"))


def test_a_written_file_appears_at_the_end_only(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_text(path) as stream:
        stream.write("x\r\ny\n")
        assert not path.exists()
    assert path.read_bytes() == b"x\r\ny\n"
    with pytest.raises(KeyboardInterrupt), atomic_text(path) as stream:
        stream.write("half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"x\r\ny\n" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_an_unreadable_file_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("x")
    monkeypatch.setattr(paths.os, "access", lambda *_: False)  # root reads everything
    with pytest.raises(FormatError, match="permissions"):
        next(blocks(tmp_path / "a.txt"))

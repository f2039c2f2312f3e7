"""Streams: lines are the same wherever a block ends, padding is no damage, writing is all or nothing."""

import gzip
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from isal import isal_zlib

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


def _outcome(read):
    try:
        return b"".join(read)
    except FormatError as error:
        return str(error)


def _damaged():
    text = np.random.default_rng(0).choice(np.frombuffer(b"ACGTN\n", dtype=np.uint8), 700).tobytes()
    head = b"\x1f\x8b\x08\x12\0\0\0\0\0\xff" + b"comment\0"
    body, end = zlib.compress(text)[2:-4], struct.pack("<II", zlib.crc32(text), len(text))
    checked = head + struct.pack("<H", zlib.crc32(head) & 0xFFFF) + body + end
    two = gzip.compress(text[:99], mtime=0) + gzip.compress(text[99:], 0, mtime=0)
    for whole in (checked, two):
        places = [*range(2, 40), *range(40, len(whole) - 9, 11), *range(len(whole) - 9, len(whole))]
        yield from (whole[:cut] for cut in (*places, len(whole)))
        yield from (whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1 :] for at in places for bits in (0xA5, 0x20))
        yield from (whole + after for after in (bytes(3), b"\n", b"\x1f", b"\x1f\x8b\x08", bytes(9) + checked))


@pytest.mark.parametrize("block", [7, 1 << 18])
def test_damage_is_told_as_zlib_tells_it(monkeypatch, block):
    path, kinds = Path("a.gz"), set()
    monkeypatch.setattr(streams, "_COMPRESSED_BYTES", block)
    for content in _damaged():
        found = _outcome(streams._inflated(path, io.BytesIO(content)))
        assert found == _outcome(streams._members(path, io.BytesIO(content), zlib.decompressobj)), content
        kinds.add(type(found) if isinstance(found, bytes) else found.split("; fetch")[0].split("data: ")[-1].strip(")"))
    assert kinds > {bytes, "unknown header flags set", "header crc mismatch", "incorrect data check"}


def test_what_isal_alone_refuses_is_read_to_its_end(tmp_path, monkeypatch):
    text, inflator = b"ACGT\n" * 300_000, isal_zlib.decompressobj

    def refusing(wbits):
        member = inflator(wbits=wbits)
        calls = iter(range(9))

        class Refusing:
            eof, unused_data = False, b""

            def decompress(self, data):
                if next(calls) == 2:
                    raise isal_zlib.error("so it says")
                return member.decompress(data)

        return Refusing()

    (tmp_path / "a.gz").write_bytes(gzip.compress(text))
    monkeypatch.setattr(streams, "_COMPRESSED_BYTES", 1_000)
    monkeypatch.setattr(isal_zlib, "decompressobj", refusing)
    found = list(blocks(tmp_path / "a.gz"))
    assert b"".join(found) == text and len(found) > 2

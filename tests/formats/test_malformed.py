"""Every kind of malformed file gets the one error, with path, record and line, and nothing after it is handed out."""

import gzip
import os
import pickle
import socket
from pathlib import Path

import pytest

from plantgfm.formats import streams
from plantgfm.formats.bed import read_bed
from plantgfm.formats.errors import FormatError
from plantgfm.formats.fasta import read_fasta
from plantgfm.formats.gff3 import read_gff3
from plantgfm.formats.passport import read_passport
from plantgfm.formats.tables import read_tsv
from tests.formats.malformed import BED_CASES, FASTA_CASES, GFF3_CASES, bgzf_cases

READERS = {
    "fasta": lambda path: list(read_fasta(path)),
    "gff3": lambda path: read_gff3(path, lengths={"chr1": 100}),
    "bed": lambda path: read_bed(path, lengths={"chr1": 100}),
    "passport": read_passport,
    "table": read_tsv,
}
CASES = [
    (reader, kind, *case)
    for reader, cases in (("fasta", FASTA_CASES), ("gff3", GFF3_CASES), ("bed", BED_CASES))
    for kind, case in cases.items()
]


def test_there_are_enough_kinds():
    assert len(FASTA_CASES) >= 30 and len(CASES) >= 60


@pytest.mark.parametrize(
    ("reader", "kind", "content", "words", "record", "line"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES]
)
def test_malformed_content_is_named(tmp_path, capfd, reader, kind, content, words, record, line):
    path = tmp_path / "file with space.txt"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=words) as caught:
        READERS[reader](path)
    error = caught.value
    assert (error.record, error.line) == (record, line), f"{kind}: {error}"
    assert str(error).startswith(str(path))
    assert f"line {line}" in str(error) or line is None
    assert capfd.readouterr().err == "", "the library below must not speak to the user"


def test_damaged_bgzip(tmp_path):
    for kind, content in bgzf_cases(tmp_path).items():
        path = tmp_path / "cut.fa.gz"
        path.write_bytes(content)
        with pytest.raises(FormatError, match="truncated|corrupt"):
            pytest.fail(f"{kind}: {list(read_fasta(path))}")


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file(tmp_path, monkeypatch, reader):
    monkeypatch.chdir(tmp_path)  # the path of a socket may have 108 bytes
    os.mkfifo("pipe")
    Path("dangling").symlink_to("gone")
    Path("circle").symlink_to("circle")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        for name, words in {
            ".": "directory",
            "no": "does not exist$",
            "pipe": "no regular file but a pipe",
            "socket": "no regular file but a socket",
            "/dev/null": "no regular file but a device",
            "dangling": "link to 'gone', and nothing is there",
            "circle": "Too many levels of symbolic links",
            "pipe/below": "Not a directory",
            "n" * 300: "File name too long",
            "nul\0": "null (byte|character)",
        }.items():
            with pytest.raises(FormatError, match=words):
                READERS[reader](Path(name))


NAMES = (
    "-",
    "file:x",
    "data:,>x%0AGGGG",
    "a b,[1]{2}.fa",
    "~",
    "~nobody.fa",
    "x##idx##y",
    "http:",
    "%s",
    "Größe",
    "l\nb",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_name_whatever_it_looks_like(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(">one\nACGT\n")
    assert [record.name for record in read_fasta(name)] == ["one"]


def test_a_disk_that_fails_while_reading_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.fa").write_text(">one\nACGT\n")

    def fail(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(streams, "_check_text", fail)
    with pytest.raises(FormatError, match=r"a\.fa: could not be read to its end \(Input/output error\)"):
        list(read_fasta(tmp_path / "a.fa"))


def test_records_before_a_fault_are_read_and_the_fault_is_raised(tmp_path):
    (tmp_path / "a.fa").write_bytes(b">one\nACGT\n@two\nACGT\n")
    records = read_fasta(tmp_path / "a.fa")
    with pytest.raises(FormatError, match="line 3"):
        next(records)
    (tmp_path / "b.fa").write_bytes(b">one\nACGT\n>two\n@two\nACGT\n")
    records = read_fasta(tmp_path / "b.fa")
    assert next(records).name == "one"
    with pytest.raises(FormatError, match="line 4"):
        next(records)


def test_damaged_compression_is_named_before_the_text_that_it_garbled(tmp_path):
    packed = bytearray(gzip.compress(b">one\n" + b"ACGT" * 200 + b"\n!\n", compresslevel=0))
    packed[packed.index(b"ACGT") + 40] = ord("*")
    (tmp_path / "a.fa.gz").write_bytes(packed)
    with pytest.raises(FormatError, match="corrupt"):
        list(read_fasta(tmp_path / "a.fa.gz"))


@pytest.mark.parametrize("size", [(1 << 20) - 6, (1 << 20) - 5, (1 << 20) - 4, (1 << 20) + 1])
def test_lines_are_counted_across_blocks(tmp_path, size):
    content = b">one\n" + b"A" * size + b"\n+\n"
    (tmp_path / "a.fa").write_bytes(content)
    with pytest.raises(FormatError) as caught:
        list(read_fasta(tmp_path / "a.fa"))
    assert caught.value.line == 3


def test_error_survives_a_process_boundary():
    error = FormatError("a.fa", "is empty", "chr1", 3)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "a.fa, record chr1, line 3: is empty"
    assert (again.path, again.record, again.line) == (error.path, "chr1", 3)


def test_an_error_is_one_line_whatever_the_file_holds():
    error = FormatError("a\nb.fa", f"value {'x' * 10_000!r} with\r\nbreaks\x1b[31m; do this", "r\u2028" * 1000, 7)
    text = str(error)
    assert text.isprintable() and len(text) < 800
    assert text.startswith("a\\nb.fa, record r\\u2028r") and text.endswith("breaks\\x1b[31m; do this")
    assert str(pickle.loads(pickle.dumps(error))) == text

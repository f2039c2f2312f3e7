"""FASTA: what is written is read, whatever the dress; the codes and the soft mask are right to the letter."""

import gzip

import numpy as np
import pytest

from plantgfm.formats.errors import FormatError
from plantgfm.formats.fasta import fasta_lengths, read_fasta, write_fasta
from plantgfm.schema import Record


def read_text(folder, text: bytes, name="a.fa"):
    (folder / name).write_bytes(text)
    return list(read_fasta(folder / name))


def test_codes_mask_and_header_of_a_literal(tmp_path):
    first, second = read_text(tmp_path, b">one two  three\nACgt\nN\n\nry\n>two\nuU\n")
    assert (first.name, first.description) == ("one", "two  three")
    assert first.codes.tolist() == [0, 1, 2, 3, 4, 4, 4]
    assert first.soft_mask.tolist() == [[2, 4], [5, 7]]
    assert second.codes.tolist() == [3, 3] and second.soft_mask.tolist() == [[0, 1]]


@pytest.mark.parametrize("suffix", ["fa", "fa.gz"])
def test_written_is_read(tmp_path, suffix):
    record = Record("r", "of plants", np.array([0, 1, 2, 3, 4, 0], np.uint8), np.array([[1, 3]], np.int64))
    path = tmp_path / f"a.{suffix}"
    write_fasta(path, [record, ("s", np.array([0 | 8, 3], np.uint8))], width=4)
    back, other = read_fasta(path)
    assert back.codes.tolist() == record.codes.tolist() and back.soft_mask.tolist() == [[1, 3]]
    assert back.description == "of plants"
    assert other.codes.tolist() == [0, 3] and other.soft_mask.tolist() == [[0, 1]]


def test_same_records_give_the_same_bytes(tmp_path):
    for name in ("a.fa.gz", "b.fa.gz"):
        write_fasta(tmp_path / name, [("x", np.zeros(1000, np.uint8))])
    one, two = ((tmp_path / name).read_bytes() for name in ("a.fa.gz", "b.fa.gz"))
    assert one == two and one[3] == 0 and one[4:8] == b"\0\0\0\0"


def test_nothing_stays_behind_a_failed_write(tmp_path):
    with pytest.raises(FormatError, match="twice"):
        write_fasta(tmp_path / "a.fa", [("x", np.zeros(3, np.uint8))] * 2)
    assert list(tmp_path.iterdir()) == []


def test_members_of_a_gzip_file_are_joined(tmp_path):
    (tmp_path / "a.fa.gz").write_bytes(gzip.compress(b">a\nAC") + gzip.compress(b"GT\n>b\nAA\n"))
    assert fasta_lengths(tmp_path / "a.fa.gz") == {"a": 4, "b": 2}

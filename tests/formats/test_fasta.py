"""FASTA: what is written is read, whatever the dress; the codes and the soft mask are right to the letter."""

import gzip

import numpy as np
import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from plantgfm.formats.errors import FormatError
from plantgfm.formats.fasta import fasta_lengths, read_fasta, read_fasta_pieces, write_fasta
from plantgfm.formats.streams import BLOCK_BYTES
from plantgfm.schema import Record
from plantgfm.sequence import decode, encode, mask_of, runs_of


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


def test_leading_empty_lines_crlf_and_unicode_descriptions(tmp_path):
    (record,) = read_text(tmp_path, "\r\n\n>a Müller's\r\n\r\nAC\r\n\r\ngt".encode())
    assert record.description == "Müller's" and record.codes.tolist() == [0, 1, 2, 3]
    assert record.soft_mask.tolist() == [[2, 4]]


def test_every_iupac_code_is_read_as_unknown(tmp_path):
    (record,) = read_text(tmp_path, b">a\nACGTUNRYSWKMBDHVacgtunryswkmbdhv\n")
    assert record.codes.tolist() == ([0, 1, 2, 3, 3] + [4] * 11) * 2
    assert record.soft_mask.tolist() == [[16, 32]]


def test_unknown_bases_alone_are_no_protein(tmp_path):
    (record,) = read_text(tmp_path, b">a\n" + b"N" * 900 + b"RYK" + b"A" * 90 + b"\n")
    assert int((record.codes == 4).sum()) == 903


def test_bgzip_is_read_like_plain(tmp_path):
    with pysam.BGZFile(str(tmp_path / "a.fa.gz"), "wb") as stream:
        stream.write(b">a\n" + b"ACGT" * 50_000 + b"\n")
    assert fasta_lengths(tmp_path / "a.fa.gz") == {"a": 200_000}


def test_ambiguity_codes_are_counted_beside_lines_of_unknown_bases(tmp_path):
    lines = [b"N" * 60] * 15 + [b"ACGT"] * 5 + [b"RYKSWM" * 10]
    with pytest.raises(FormatError, match="60 of 80 letters are ambiguity codes"):
        read_text(tmp_path, b">a\n" + b"\n".join(lines) + b"\n")


def test_codes_can_be_changed_by_their_owner(tmp_path):
    (record,) = read_text(tmp_path, b">a\nACGT\n")
    record.codes[0] = 4
    assert record.codes[0] == 4


DRESSES = st.tuples(st.integers(1, 90), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
RECORDS = st.lists(st.text("ACGTNacgtn", min_size=1, max_size=300), min_size=1, max_size=4)


@settings(max_examples=100, deadline=None)
@given(RECORDS, DRESSES)
def test_the_dress_of_a_file_changes_no_record(tmp_path_factory, texts, dress):
    width, end, zipped, last = dress
    body = ""
    for index, text in enumerate(texts):
        body += f">r{index} of {width}{end}"
        body += "".join(text[start : start + width] + end for start in range(0, len(text), width))
    data = (body if last else body.removesuffix(end)).encode()
    path = tmp_path_factory.mktemp("f") / "a.fa"
    path.write_bytes(gzip.compress(data) if zipped else data)
    for text, record in zip(texts, read_fasta(path), strict=True):
        assert decode(record.codes) == text.upper()
        assert runs_of(np.array([c.islower() for c in text])).tolist() == record.soft_mask.tolist()


LINES = st.lists(
    st.tuples(st.integers(1, 70), st.sampled_from(["ACGT", "ACGTN", "acgtn", "acgt", "ACGTacgt", "ACGTACGTACGTRYK"])),
    min_size=1,
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(LINES, st.sampled_from([0, 60]), st.integers(0, 2**32 - 1))
def test_lines_of_one_case_and_others_are_read_alike(tmp_path_factory, lines, width, seed):
    rng = np.random.default_rng(seed)
    texts = ["".join(rng.choice(list(letters), width or own)) for own, letters in lines]
    path = tmp_path_factory.mktemp("l") / "a.fa"
    path.write_text(">a\n" + "\n".join(texts))
    (record,) = read_fasta(path)
    whole = "".join(texts)
    assert decode(record.codes) == "".join("N" if letter in "RYK" else letter for letter in whole.upper())
    assert runs_of(np.array([c.islower() for c in whole])).tolist() == record.soft_mask.tolist()


def test_a_record_longer_than_a_block_is_read_whole(tmp_path):
    text = "".join(np.random.default_rng(0).choice(list("ACGTacgtN"), 2_500_000))
    for start in (1_000_000, 2_000_000):  # where one block ends and the next begins
        text = text[:start] + text[start : start + 100_000].lower() + text[start + 100_000 :]
    for name, wrapped in (("one", text), ("many", "\r\n".join(text[i : i + 61] for i in range(0, len(text), 61)))):
        (tmp_path / name).write_text(f">{name}\n{wrapped}\n>last\nA", newline="")
        record, last = read_fasta(tmp_path / name)
        assert np.array_equal(record.codes, encode(text)) and last.length_bp == 1
        lower = np.char.islower(np.array(list(text)))
        assert np.array_equal(mask_of(record.soft_mask, len(text)), lower)
        pieces = list(read_fasta_pieces(tmp_path / name))
        assert len(pieces) > 3 and max(piece.bases.size for piece in pieces) <= BLOCK_BYTES
        assert [(piece.name, piece.last) for piece in pieces if piece.last] == [(name, True), ("last", True)]
        own = [piece for piece in pieces if piece.name == name]
        assert np.array_equal(np.concatenate([piece.bases for piece in own]), encode(text) | (lower * np.uint8(8)))
        assert [piece.start for piece in own] == np.cumsum([0, *(p.bases.size for p in own)])[:-1].tolist()
        assert sum(piece.bases.size for piece in pieces) == len(text) + 1


def test_what_a_whole_record_tells_is_told_at_its_last_piece(tmp_path):
    (tmp_path / "a.fa").write_text(">a\nACGT\n>b\n>c\nA\n")
    pieces = read_fasta_pieces(tmp_path / "a.fa")
    assert next(pieces).bases.tolist() == [0, 1, 2, 3]
    with pytest.raises(FormatError, match="record b, line 3: record without sequence"):
        list(pieces)
    (tmp_path / "a.fa").write_text(">a\n" + "MKVRSW" * 20 + "\n")
    with pytest.raises(FormatError, match="looks like protein"):
        list(read_fasta_pieces(tmp_path / "a.fa"))


codes = hnp.arrays(np.uint8, st.integers(1, 400), elements=st.sampled_from([0, 1, 2, 3, 4, 8, 9, 10, 11, 12]))


@settings(max_examples=100, deadline=None)
@given(st.lists(codes, min_size=1, max_size=4), st.integers(1, 100), st.sampled_from(["a.fa", "a.fa.gz"]))
def test_records_survive_writing_and_reading_twice(tmp_path_factory, arrays, width, name):
    path = tmp_path_factory.mktemp("w") / name
    write_fasta(path, [(f"r{i}  d é", array) for i, array in enumerate(arrays)], width=width)
    first = list(read_fasta(path))
    for array, record in zip(arrays, first, strict=True):
        assert np.array_equal(record.codes, array & 7)
        assert np.array_equal(mask_of(record.soft_mask, array.size), array >= 8)
    pieces = [(piece.name, piece.bases.tolist()) for piece in read_fasta_pieces(path) if piece.bases.size]
    # The letter of an unknown base keeps its case.
    assert pieces == [(f"r{i}", array.tolist()) for i, array in enumerate(arrays)]
    before = path.read_bytes()
    write_fasta(path, first, width=width)
    assert path.read_bytes() == before.replace(b"  d", b" d") or name.endswith("gz")


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (("", np.zeros(1, np.uint8)), "needs a name"),
        ((" a", np.zeros(1, np.uint8)), "needs a name"),
        (("a\nb", np.zeros(1, np.uint8)), "line break"),
        (("a", np.zeros(0, np.uint8)), "without sequence"),
        (("a", np.array([5], np.uint8)), "0..4"),
        (("a", np.array([16], np.uint8)), "0..4"),
    ],
)
def test_what_fasta_cannot_say_is_refused_and_leaves_nothing(tmp_path, record, words):
    with pytest.raises(FormatError, match=words):
        write_fasta(tmp_path / "a.fa", [("x", np.zeros(3, np.uint8)), record])
    with pytest.raises(FormatError, match="no record"):
        write_fasta(tmp_path / "a.fa", [])
    with pytest.raises(ValueError, match="width 0"):
        write_fasta(tmp_path / "a.fa", [], width=0)
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_survives_a_failed_write(tmp_path):
    write_fasta(tmp_path / "a.fa", [("x", np.zeros(3, np.uint8))])
    with pytest.raises(FormatError):
        write_fasta(tmp_path / "a.fa", [("y", np.zeros(0, np.uint8))])
    assert fasta_lengths(tmp_path / "a.fa") == {"x": 3}

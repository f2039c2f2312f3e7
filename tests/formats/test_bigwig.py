"""bigWig: what is written is read back, the same each time; what is wrong leaves no file."""

import pytest

from plantgfm.formats.bigwig import write_bigwig
from plantgfm.formats.errors import FormatError
from plantgfm.sequence import Interval

LENGTHS = {"d": 9, "chr 1|x": 100, "c": 30}
ROWS = [
    (Interval("c", 0, 7), 1.0),
    (Interval("c", 7, 14), -1.5),
    (Interval("c", 20, 30), 2.0),
    (Interval("d", 5, 9), 3),
]


@pytest.fixture(scope="module")
def pybigtools():
    return pytest.importorskip("pybigtools", reason="bigWig is an extra")


def test_rows_are_read_back_and_two_files_are_the_same(pybigtools, tmp_path):
    for name in ("a.bw", "b.bw"):
        write_bigwig(tmp_path / name, iter(ROWS), lengths=LENGTHS)
    assert (tmp_path / "a.bw").read_bytes() == (tmp_path / "b.bw").read_bytes()
    with pybigtools.open(str(tmp_path / "a.bw")) as found:
        assert found.chroms() == {"c": 30, "d": 9}  # sequences without a value are left out by the writer
        read = [(Interval(name, s, e), value) for name in found.chroms() for s, e, value in found.records(name)]
    assert read == ROWS and sorted(path.name for path in tmp_path.iterdir()) == ["a.bw", "b.bw"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([ROWS[1], ROWS[0]], "not sorted"),
        ([ROWS[3], ROWS[0]], "not sorted"),
        ([(Interval("c", 0, 8), 1.0), ROWS[1]], "overlap"),
        ([(Interval("c", 20, 31), 1.0)], "no place of the sequence: 20-31"),
        ([(Interval("e", 0, 1), 1.0)], "no place of the sequence"),
        ([], "could not be written"),
    ],
)
def test_what_is_wrong_is_told_and_leaves_no_file(pybigtools, tmp_path, rows, said):
    with pytest.raises(FormatError, match=said):
        write_bigwig(tmp_path / "a.bw", rows, lengths=LENGTHS)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_whole_is_found_out(pybigtools, tmp_path, monkeypatch):
    class Silent:
        def write(self, lengths, rows):
            list(rows)

    opened = pybigtools.open
    monkeypatch.setattr(pybigtools, "open", lambda path, mode="r": Silent() if mode == "w" else opened(path, mode))
    with pytest.raises(FormatError, match="could not be written"):
        write_bigwig(tmp_path / "a.bw", ROWS, lengths=LENGTHS)
    assert not list(tmp_path.iterdir())

"""Small tables: what is written is read, and what TSV cannot hold is refused."""

import pytest

from plantgfm.formats.errors import FormatError
from plantgfm.formats.tables import read_tsv, write_tsv


def test_written_is_read(tmp_path):
    rows = [{"a": "x y", "b": "1"}, {"a": "", "b": ""}]
    write_tsv(tmp_path / "t.tsv.gz", [rows[0], {"b": None, "a": ""}], columns=["a", "b"])
    assert read_tsv(tmp_path / "t.tsv.gz", required=["b"]) == rows


@pytest.mark.parametrize("row", [{"a": "x\ty", "b": 1}, {"a": "x\n", "b": 1}, {"a": '"x', "b": 1}, {"a": 1}])
def test_what_does_not_fit_is_refused_and_leaves_nothing(tmp_path, row):
    with pytest.raises(FormatError, match="line 2"):
        write_tsv(tmp_path / "t.tsv", [row], columns=["a", "b"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("\n\n", "without a header", None),
        ("a\tb\n1\n", "1 cells", 2),
        ("a\ta\n", "twice", 1),
        ("a\tc\n", "'b' is missing", 1),
        ('a\tb\n"1\t2\n', "quotes", 2),
        ('a,b\n"x\ny",1\n"1"2,3\n', "quotes", 4),
    ],
)
def test_bad_tables_are_named_by_line(tmp_path, text, words, line):
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(FormatError, match=words) as caught:
        read_tsv(tmp_path / "t.tsv", required=["b"])
    assert caught.value.line == line

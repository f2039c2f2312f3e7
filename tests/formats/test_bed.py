"""BED: half-open as it stands, and what is written is read."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plantgfm.formats.bed import BedRow, read_bed, write_bed
from plantgfm.formats.errors import FormatError
from plantgfm.sequence import Interval


def test_a_literal_file(tmp_path):
    text = "browser hide all\ntrack name=x\n#c\nchr1\t0\t5\nchr1 2 2 n\r\n\nchr2\t1\t9\t.\t7\t-\t1\t9\t0\t1\t8\t0\n"
    (tmp_path / "a.bed").write_text(text)
    assert read_bed(tmp_path / "a.bed") == [
        BedRow(Interval("chr1", 0, 5)),
        BedRow(Interval("chr1", 2, 2), "n"),
        BedRow(Interval("chr2", 1, 9, "-"), "", 7.0),
    ]


words = st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=9).filter(
    lambda text: text not in (".", "track", "browser") and not text.startswith("#") and "\ufeff" not in text
)
rows = st.builds(
    lambda name, start, length, strand, label, score: BedRow(
        Interval(name, start, start + length, strand), label, score
    ),
    words,
    st.integers(0, 10**9),
    st.integers(0, 10**6),
    st.sampled_from("+-."),
    st.just("") | words,
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(rows, max_size=5))
def test_written_is_read(tmp_path_factory, some):
    path = tmp_path_factory.mktemp("b") / "a.bed.gz"
    write_bed(path, some)
    assert read_bed(path) == some


@pytest.mark.parametrize(
    "row",
    [
        BedRow(Interval("", 0, 1)),
        BedRow(Interval("#c", 0, 1)),
        BedRow(Interval("track", 0, 1)),
        BedRow(Interval("c", 0, 1, "?")),
        BedRow(Interval("c", 0, 1), "a\tb"),
        BedRow(Interval("c", 0, 1), "", float("nan")),
        BedRow(Interval("c", 0, 11)),
        BedRow(Interval("d", 0, 1)),
    ],
)
def test_what_bed_cannot_say_is_refused_and_leaves_nothing(tmp_path, row):
    with pytest.raises(FormatError, match="line 2"):
        write_bed(tmp_path / "a.bed", [row], lengths={"c": 10, "track": 10, "": 1, "#c": 1})
    assert list(tmp_path.iterdir()) == []

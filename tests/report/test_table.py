"""Tables: one set of cells in three dresses, aligned and escaped."""

from html.parser import HTMLParser

import numpy as np
import pytest

from plantgfm.report.table import Table, format_cell, table_of, text_width

TABLE = Table(
    "Held out",
    ["species", "regions", "bits"],
    [["Zea mays", 12345, 1.9], ["Rosa × alba", None, float("nan")]],
    note="95 % intervals",
    formats={"bits": ".3f"},
)


class Cells(HTMLParser):
    """The text of every cell, and the tags that were opened and closed."""

    def __init__(self, text: str):
        super().__init__()
        self.cells, self.open, self.inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def test_text_is_aligned():
    assert TABLE.to_text().splitlines() == [
        "Held out",
        "species      regions   bits",
        "───────────  ───────  ─────",
        "Zea mays      12,345  1.900",
        "Rosa × alba        –      –",
        "95 % intervals",
    ]


def test_wide_and_combining_letters_keep_the_columns():
    table = Table("", ["a", "b"], [["水稻", "x"], ["e\u0301", "y"]])
    assert [text_width(line) for line in table.to_text().splitlines()] == [7, 7, 7, 7]


def test_markdown_has_one_rule_and_no_broken_cell():
    table = Table("a_b", ["x|y", "n"], [["<b>\n*c*", 3]], note="1 < 2")
    assert table.to_markdown().splitlines() == [
        "**a\\_b**",
        "",
        "| x\\|y | n |",
        "| --- | ---: |",
        "| &lt;b&gt; \\*c\\* | 3 |",
        "",
        "*1 &lt; 2*",
    ]


def test_html_is_well_formed_and_escaped():
    table = Table("<i>", ["<x>", "n"], [["<script>&", -2]], note="</table>")
    page = Cells(table.to_html())
    assert page.cells == ["<x>", "n", "<script>&", "-2"] and page.open == []
    assert "<script>" not in table.to_html() and table.to_html().count("</table>") == 1
    assert '<td class="number">-2</td>' in table.to_html()


@pytest.mark.parametrize(
    ("value", "specification", "expected"),
    [
        (1234567, "", "1,234,567"),
        (np.int64(1234567), "", "1,234,567"),
        (0.123456, "", "0.1235"),
        (np.float32(0.5), ".2f", "0.50"),
        (1.0, "", "1"),
        (0.051, ".1%", "5.1%"),
        (True, "", "yes"),
        (np.bool_(False), "", "no"),
        (None, ".1f", "–"),
        (np.float64("nan"), ".1f", "–"),
        ("n/a", ".1f", "n/a"),
        ("two\nlines", "", "two lines"),
    ],
)
def test_cells_by_kind(value, specification, expected):
    assert format_cell(value, specification) == expected


def test_a_table_without_rows_still_has_a_head():
    table = Table("", ["a", "b"], [])
    assert table.to_text().splitlines()[0] == "a  b"
    assert "<thead>" in table.to_html() and table.to_markdown().count("\n") == 1


def test_mistakes_are_named_at_construction():
    with pytest.raises(ValueError, match="row 2 has 1 cells, not 2"):
        Table("t", ["a", "b"], [[1, 2], [3]])
    with pytest.raises(ValueError, match="not there: \\['c'\\]"):
        Table("t", ["a"], [], formats={"c": ".1f"})


def test_rows_by_name():
    table = table_of("t", [{"b": 1, "a": 2}, {"a": 3, "b": 4}])
    assert list(table.columns) == ["b", "a"] and table.rows == [[1, 2], [4, 3]]
    with pytest.raises(ValueError, match="row 2"):
        table_of("t", [{"a": 1}, {"b": 1}])
    with pytest.raises(ValueError, match="at least one row"):
        table_of("t", [])

"""Pages: one HTML file that needs nothing else, the same as Markdown, everything escaped."""

import base64
import re
from html.parser import HTMLParser

import pytest

from plantgfm.report.figures import lines
from plantgfm.report.page import Page, Picture, Section, paragraphs
from plantgfm.report.table import Table

EVIL = '<script>alert("1")</script> & *b*'
VOID = {"meta", "img", "br", "link"}


@pytest.fixture(scope="module")
def png():
    return lines({"a": ([1, 2], [3, 4])}, xlabel="x", ylabel="y")


@pytest.fixture
def page(png):
    table = Table("Numbers", ["a"], [[1]])
    sections = [
        Section("First", "One.\n\nTwo\nlines.", [table], [Picture("a curve", png)]),
        Section("Second", figures=[Picture("the same", png)]),
    ]
    return Page("Run <demo>", "It ran.", sections)


class Document(HTMLParser):
    """Open tags must close; what would be fetched, and all text, is kept."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.fetched, self.text, self.tags = [], [], "", []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_html_needs_nothing_else(page, png):
    document = Document(page.to_html())
    assert all(target.startswith(("data:image/png;base64,", "#")) for target in document.fetched)
    pictures = [target for target in document.fetched if target.startswith("data:")]
    assert [base64.b64decode(target.split(",")[1]) for target in pictures] == [png, png]
    assert not re.search(r"@import|url\(|https?:", page.to_html())
    assert "script" not in document.tags


def test_html_holds_what_was_given(page):
    document = Document(page.to_html())
    for words in ("Run <demo>", "It ran.", "First", "One.", "Two lines.", "Numbers", "a curve", "Second"):
        assert words in document.text, words
    anchors = [target for target in document.fetched if target.startswith("#")]
    assert anchors == ["#section-1", "#section-2"]
    assert all(f'id="{anchor[1:]}"' in page.to_html() for anchor in anchors)


def test_html_has_a_dark_and_a_printed_dress(page):
    assert "prefers-color-scheme: dark" in page.to_html() and "@media print" in page.to_html()


def test_everything_is_escaped(png):
    table = Table(EVIL, [EVIL], [[EVIL]], note=EVIL)
    page = Page(EVIL, EVIL, [Section(EVIL, EVIL, [table], [Picture(EVIL, png)])] * 2)
    document = Document(page.to_html())
    assert "script" not in document.tags
    assert document.text.count(EVIL) == 2 + 1 + 2 * (1 + 1 + 1 + 4 + 1)  # title twice; contents; per section
    markdown = page.to_markdown(folder="f")
    assert "<script" not in markdown and " *b*" not in markdown


def test_same_page_gives_the_same_bytes(page):
    assert page.to_html() == page.to_html()


def test_markdown_links_or_embeds(page, png):
    linked = page.to_markdown(folder="pictures")
    assert "![a curve](pictures/figure-1.png)" in linked and "(pictures/figure-2.png)" in linked
    assert linked.startswith("# Run &lt;demo&gt;\n\nIt ran.\n\n## First\n\nOne.\n\nTwo lines.\n\n**Numbers**")
    assert f"![a curve]({Picture('', png).data_uri})" in page.to_markdown()


def test_written_pages_find_their_pictures(page, png, tmp_path):
    page.write_html(tmp_path / "report.html")
    page.write_markdown(tmp_path / "my report.md")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page.to_html()
    text = (tmp_path / "my report.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\((.*?)\)", text)
    assert len(targets) == 2 and all((tmp_path / target).read_bytes() == png for target in targets)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"report.html", "my report.md", "my_report_figures"}


def test_a_failed_write_leaves_nothing(page, tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError):
        page.write_html(tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_page_without_sections_is_a_page():
    assert "Empty" in Document(Page("Empty").to_html()).text
    assert Page("Empty").to_markdown() == "# Empty\n"


def test_only_png_is_a_picture():
    with pytest.raises(ValueError, match="no PNG"):
        Picture("x", b"GIF89a")


def test_paragraphs():
    assert paragraphs("a\nb\n\n \n c \n") == ["a b", "c"] and paragraphs("") == []

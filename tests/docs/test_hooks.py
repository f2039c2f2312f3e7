"""What the site's build refuses, without building it: MkDocs is no part of the tests' set-up."""

from types import SimpleNamespace

import pytest

from tests.docs.tables import load

hooks = load("hooks")


def site_of(folder, **files):
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return {"site_dir": str(folder)}


def test_a_page_gets_its_tables():
    text = hooks.on_page_markdown("Before.\n\n<!-- table: options runs -->\n\nBehind.\n", page=None)
    assert text.startswith("Before.\n\n| option |") and "`[FOLDER]`" in text and text.endswith("|\n\nBehind.\n")


def test_a_page_that_asks_for_a_table_that_there_is_not_is_named():
    page = SimpleNamespace(file=SimpleNamespace(src_uri="flow.md"))
    with pytest.raises(SystemExit, match="error: flow.md: no command 'embde': there are"):
        hooks.on_page_markdown("<!-- table: options embde -->\n", page=page)


@pytest.mark.parametrize(
    "loaded",
    [
        '<script src="https://unpkg.com/x.js"></script>',
        '<link rel="stylesheet" href="https://fonts.example/css?a">',
        "<img alt='a' src=//cdn.example/a.png>",
        "<style>@import 'https://fonts.example/b';</style>",
        '<p style="background: url(https://x.example/c.png)">',
    ],
)
def test_a_page_that_loads_something_from_elsewhere_is_refused(tmp_path, loaded):
    with pytest.raises(SystemExit, match=r"page\.html loads (https:)?//\S+: the site has to open without a network"):
        hooks.on_post_build(site_of(tmp_path, page_html=f"<html>{loaded}</html>"))


def test_links_that_a_reader_clicks_and_files_of_the_site_are_no_part_of_it(tmp_path):
    page = '<a href="https://arxiv.org">a</a><script src="assets/a.js"></script><link rel="canonical" href="https://b">'
    config = site_of(tmp_path, page_html=page, own_css="@import 'a.css'; p { background: url(b.png) }")
    assert hooks.on_post_build(config) is None


def test_an_address_in_a_style_sheet_is_found(tmp_path):
    site_of(tmp_path, own_css="@font-face { src: url('https://fonts.example/a.woff2') }")
    assert hooks.fetched(tmp_path) == [(tmp_path / "own.css", "https://fonts.example/a.woff2")]

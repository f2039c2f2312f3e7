"""The pages name what there is: every command, its options and settings, the columns of the formats."""

import dataclasses
import re
from functools import cache

import pyarrow as pa
import pytest
import yaml

from plantgfm import api
from plantgfm.corpus.dataset import features
from plantgfm.curation.findings import Finding
from plantgfm.curation.references import _COLUMNS as REFERENCE_COLUMNS
from plantgfm.embedding import rows
from plantgfm.embedding.config import Storage
from plantgfm.export import bundle
from plantgfm.formats import manifest
from plantgfm.retrieval import divergence, localize, places, retrieve
from plantgfm.schema import Decision
from tests.conftest import ROOT
from tests.docs.snippets import PAGES
from tests.docs.tables import OF_SET, tables

DOCS = [page for page in PAGES if page.name != "README.md"]
HOW_TOS = [page for page in DOCS if page.parent.name == "commands" and page.stem not in ("index", "train")]
SECTIONS = ("When", "Example", "What it writes", "Errors")
OTHERS = {"--cfg", "--help", "--nodes", "--array", "--partition", "--gpus", "--output", "--report", "--tokens-times"}
"""Options of other programs: Hydra, sbatch, kraken2, and the `run.py` of a packed sweep."""
OF_HYDRA = "Could not override"
FILES = {"json", "jsonl", "safetensors", "parquet", "tsv", "md", "py"}
"""Behind the dot of a file's name."""


def prose_of(text):
    """A page without its fenced blocks, which `test_snippets` reads."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def codes_in(text):
    """The texts between backquotes."""
    return re.findall(r"`([^`\n]+)`", prose_of(text))


def columns_of(title, *, page="formats.md"):
    """The first cells of the first table behind a heading, or behind a line that begins with it."""
    text = (ROOT / "docs" / page).read_text()
    rows = re.search(r"(?:^\|[^\n]*\n)+", text[text.index(f"\n{title}") :], re.MULTILINE)[0].splitlines()
    return [cell for row in rows[2:] for cell in re.findall(r"`([^`]+)`", row.split("|")[1])]


@cache
def options_known(name):
    return {text for option in tables.options_of(name) for text in option.names}


def test_every_command_has_its_how_to_and_every_how_to_its_command():
    wanted = {tables.page_of(name) for name in tables.leaf_commands()}
    assert wanted == set(HOW_TOS), "a command lacks docs/commands/NAME.md, or a page its command"


@pytest.mark.parametrize("page", HOW_TOS, ids=lambda page: page.stem)
def test_a_how_to_tells_all_that_it_should(page):
    text = page.read_text()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert not [name for name in SECTIONS if name not in headings]
    mine = [name for name in tables.leaf_commands() if tables.page_of(name) == page]
    for name in mine:
        assert f"<!-- table: options {name} -->" in text and f"plantgfm {name}" in text
        if name in OF_SET:
            assert "../settings.md#" in text


def test_every_command_that_takes_settings_is_known_with_its_settings():
    takes = {name for name in tables.leaf_commands() if name not in tables.BENCHES and "--set" in options_known(name)}
    assert takes == set(OF_SET)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_no_option_that_there_is_not(page):
    everywhere = {name: options_known(name) for name in tables.leaf_commands()}
    mine = [name for name in everywhere if tables.page_of(name) == page] or list(everywhere)
    for code in codes_in(page.read_text()):
        said = code.removeprefix("plantgfm ")
        named = [name for name in everywhere if f"{said} ".startswith(f"{name} ")] or mine
        found = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", code)) - OTHERS
        known = set().union(*(everywhere[name] for name in named))
        assert found <= known, f"{page.name}: `{code}` names {sorted(found - known)}"


def test_a_page_names_no_setting_that_there_is_not():
    rooms = {room: {one.name for one in tables.settings_of(tables.settings_class(room))} for room in tables.SETTINGS}
    rooms["corpus"] |= {"world", "null", "layout"}
    rooms |= {name.split(".")[0]: rooms["curation"] for name in rooms["curation"]}
    for page in PAGES:
        for code in codes_in(page.read_text()):
            room, _, rest = code.partition("=")[0].partition(".")
            if room in rooms and re.fullmatch(r"[a-z_.]+", rest) and rest not in FILES:
                assert {rest, f"{room}.{rest}"} & rooms[room], f"{page.name}: `{code}` names no setting"


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_every_table_that_a_page_asks_for_can_be_drawn(page):
    text = tables.expand(page.read_text())
    assert "<!-- table:" not in text


def test_settings_stand_on_their_page_with_what_is_said_of_them():
    text = (ROOT / "docs" / "settings.md").read_text()
    assert sorted(re.findall(r"<!-- table: settings (\w+) -->", text)) == sorted(tables.SETTINGS)
    drawn = tables.table("settings embedding")
    assert "| `window_bp` | whole number | `0` | width of a window; 0: as long as the model was trained on |" in drawn
    assert (
        "`MEAN` | How token states become vectors. |" in drawn
        and "`MEAN`, `CLS`" in drawn
        and "duplicates.record_identity" in tables.table("settings curation")
    )


def test_tables_are_what_the_commands_say():
    drawn = tables.table("options embed")
    assert "| `--out` | path | required | " in drawn
    assert "| `--layer` | integer | `-1` | -1: after the final norm; 0: the embedding. |" in drawn
    assert "| `--pooling` | `mean`, `cls`, `max`, `token`, `base` | `mean` |" in drawn
    assert "`--whiten` `--no-whiten`" in tables.table("options retrieve")
    assert "| `--step-tokens` | STEP_TOKENS | `8192` |" in tables.table("options bench train")
    assert "[`plantgfm bench train`](bench.md)" in tables.table("commands")
    fields = tables.table("fields plantgfm.embedding.store.VectorTable")
    assert "| `vectors` | `Float32[np.ndarray, 'B D']` |" in fields and "| what made them |" in fields
    assert "| `BUNDLE` | argument |" in drawn
    assert "| `model` | `1b`, `base`, `large`, `small`, `tiny` |" in tables.table("groups")
    for wrong in ("options nothing", "settings nothing", "weather"):
        with pytest.raises(ValueError, match="no (table|command) '"):
            tables.table(wrong)


def names_of(kind):
    return [field.name for field in dataclasses.fields(kind)]


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("### Manifest", [*manifest.COLUMNS, *manifest.REPORTS, manifest.SAMPLE]),
        ("### References", list(REFERENCE_COLUMNS)),
        ("## Vectors", rows.schema_of(1, {}, Storage.INT8).names),
        ("## Bundle", ["bundle.json", *bundle._PARTS]),
        ("An example of the dataset", list(features())),
        ("`ledger.parquet`:", names_of(Decision)),
        ("`findings.parquet`:", names_of(Finding)),
        ("`hits.tsv`,", [*retrieve.ALL_COLUMNS]),
        ("`spans.tsv`", list(localize.SPAN_COLUMNS)),
        ("`distances.tsv`", list(places.ROW_COLUMNS)),
        ("`divergence.tsv`", list(divergence.DIVERGENCE_COLUMNS)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_columns_of_a_format_are_those_that_are_written(title, names):
    assert sorted(columns_of(title)) == sorted(names)


def test_reasons_and_messages_that_pages_quote_are_in_the_code():
    curation = "".join(path.read_text() for path in (ROOT / "plantgfm/curation").glob("*.py"))
    table = (ROOT / "docs/commands/curate.md").read_text().split("## The five stages")[1].split("\n\n")[1]
    reasons = [one for row in table.splitlines()[2:] for one in re.findall(r"`([a-z_]+)`", row.split("|")[3])]
    assert len(reasons) >= 10 and not [one for one in reasons if f'"{one}"' not in curation]
    code = re.sub(r'"\s*f?"', "", "".join(path.read_text() for path in (ROOT / "plantgfm").rglob("*.py")))
    table = (ROOT / "docs/commands/train.md").read_text().split("## Errors")[1]
    quoted = [re.match(r"\| `([^`]+)`", row)[1] for row in table.splitlines() if row.startswith("| `")]
    for message in quoted:
        fixed = max(re.split(r"runs/mine|''|'[a-z_.]+'|: run\..*|sampler\.|nan|…", message), key=len).strip(" :")
        assert fixed in code or fixed in OF_HYDRA, f"nothing says {fixed!r}"


def test_types_of_columns_are_those_that_are_written():
    text = (ROOT / "docs" / "formats.md").read_text()
    said = {"text": pa.string(), "int64": pa.int64(), "float32": pa.float32(), "bool": pa.bool_()}
    for field in rows.schema_of(4, {}):
        if field.name != "vector":
            assert said[re.search(rf"^\| `{field.name}` \| (\w+) \|", text, re.MULTILINE)[1]] == field.type, field.name


def test_every_name_of_the_python_face_is_in_the_reference():
    text = (ROOT / "docs/python/reference.md").read_text()
    asked = re.findall(r"^::: (plantgfm\S+)$", text, re.MULTILINE)
    by_name = {}
    for path in asked:
        module, _, name = path.rpartition(".")
        by_name[name] = getattr(__import__(module, fromlist=[name]), name)
    assert not [name for name in api.__all__ if by_name.get(name) is not getattr(api, name)]


def test_every_page_is_in_the_navigation_once():
    def leaves(node):
        if isinstance(node, str):
            return [node]
        children = node.values() if isinstance(node, dict) else node
        return [leaf for child in children for leaf in leaves(child)]

    stated = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in DOCS]
    assert sorted(leaves(stated["nav"])) == sorted(pages) and stated["strict"] and stated["theme"]["font"] is False

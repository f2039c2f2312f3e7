"""A report page: sections of text, tables and figures, as one HTML file that needs nothing else, or as Markdown."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
from markupsafe import Markup

from plantgfm.report.table import Table, escape_markdown

_TEMPLATES = Path(__file__).parent / "templates"
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A figure and what it shows; the caption is its text for who cannot see it.

    Raises:
        ValueError: bytes that are no PNG.
    """

    caption: str
    png: bytes

    def __post_init__(self):
        if not self.png.startswith(_PNG_MAGIC):
            raise ValueError(f"picture {self.caption!r} is no PNG: starts with {self.png[:8]!r}")

    @property
    def data_uri(self) -> str:
        """The picture as a `data:` address, base64."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it: text (empty lines part paragraphs), tables, figures."""

    heading: str
    text: str = ""
    tables: Sequence[Table] = ()
    figures: Sequence[Picture] = ()


@dataclass(frozen=True)
class Page:
    """A report: title, a summary in a few sentences, sections."""

    title: str
    summary: str = ""
    sections: Sequence[Section] = field(default_factory=list)

    def to_html(self) -> str:
        """One self-contained HTML document; all text is escaped."""
        loader = jinja2.FileSystemLoader(_TEMPLATES)
        environment = jinja2.Environment(
            loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        style = Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8"))
        sections = [
            {
                "anchor": f"section-{number}",
                "heading": section.heading,
                "paragraphs": paragraphs(section.text),
                "tables": [Markup(table.to_html()) for table in section.tables],
                "figures": section.figures,
            }
            for number, section in enumerate(self.sections, 1)
        ]
        template = environment.get_template("page.html")
        return template.render(title=self.title, summary=paragraphs(self.summary), sections=sections, style=style)

    def to_markdown(self, *, folder: str = "") -> str:
        """Markdown; pictures are links to `folder/figure-N.png`, or are embedded where no folder is named."""
        parts = [f"# {escape_markdown(self.title)}", *map(escape_markdown, paragraphs(self.summary))]
        number = 0
        for section in self.sections:
            parts += [f"## {escape_markdown(section.heading)}", *map(escape_markdown, paragraphs(section.text))]
            parts += [table.to_markdown() for table in section.tables]
            for picture in section.figures:
                number += 1
                target = f"{folder}/{_picture_name(number)}" if folder else picture.data_uri
                parts.append(f"![{escape_markdown(picture.caption)}]({target})")
        return "\n\n".join(parts) + "\n"

    def write_html(self, path: Path) -> None:
        """Write the HTML document. Atomic."""
        _write(path, self.to_html().encode("utf-8"))

    def write_markdown(self, path: Path) -> None:
        """Write Markdown, and its pictures to the folder `<name>_figures` beside it. Each file is atomic."""
        folder = path.parent / f"{path.stem.replace(' ', '_')}_figures"
        pictures = [picture for section in self.sections for picture in section.figures]
        if pictures:
            folder.mkdir(exist_ok=True)
        for number, picture in enumerate(pictures, 1):
            _write(folder / _picture_name(number), picture.png)
        _write(path, self.to_markdown(folder=folder.name).encode("utf-8"))


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a text: parted by empty lines, each on one line."""
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]


def _picture_name(number: int) -> str:
    return f"figure-{number}.png"


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)

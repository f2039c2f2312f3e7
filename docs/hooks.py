"""What MkDocs calls as it builds the site: tables come from the code, and no page may load anything from elsewhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # MkDocs runs hooks by their path, not as a package

from tables import expand

_FETCHED = (
    re.compile(r"<(?:script|img|iframe|source|audio|video)\b[^>]*?\bsrc\s*=\s*[\"']?((?:https?:)?//[^\"'\s>]+)", re.I),
    re.compile(r"<link\b(?![^>]*rel=[\"']?canonical)[^>]*?\bhref\s*=\s*[\"']?((?:https?:)?//[^\"'\s>]+)", re.I),
    re.compile(r"@import\s+(?:url\()?[\"']?((?:https?:)?//[^\"')\s]+)", re.I),
    re.compile(r"\burl\([\"']?((?:https?:)?//[^\"')\s]+)", re.I),
)
"""What a browser loads without being asked; links that a reader clicks are no part of it."""


def on_page_markdown(markdown: str, page, **_) -> str:
    """Put the tables in."""
    try:
        return expand(markdown)
    except ValueError as error:
        raise SystemExit(f"error: {page.file.src_uri}: {error}") from None


def on_post_build(config, **_) -> None:
    """Refuse pages that load anything from elsewhere."""
    if found := fetched(Path(config["site_dir"])):
        path, address = found[0]
        raise SystemExit(f"error: {path} loads {address}: the site has to open without a network")


def fetched(site: Path) -> list[tuple[Path, str]]:
    """What pages and style sheets of a built site load from elsewhere: (file, address)."""
    files = sorted(path for path in site.rglob("*") if path.suffix in (".html", ".css"))
    return [
        (path, address)
        for path in files
        for pattern in _FETCHED
        for address in pattern.findall(path.read_text(encoding="utf-8"))
    ]

"""The error that this room raises when a file cannot be had."""

from __future__ import annotations

from plantgfm.formats.errors import one_line, shortened


class FetchError(ValueError):
    """A download that is refused or has failed for good: says which, why, and the way out."""


def said(text: object) -> str:
    """What a server or the system said, as one line that may stand on a terminal."""
    return shortened(one_line(" ".join(str(text).split())), 200)

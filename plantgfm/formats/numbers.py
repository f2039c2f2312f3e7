"""Numbers in cells: ASCII digits of a bounded length, and nothing that only Python takes for a number."""

from __future__ import annotations

import math
import re

_WHOLE = re.compile(r"[0-9]{1,18}")  # fits int64; Python's own limit is 4,300 digits, and its message no remedy
_DECIMAL = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")


def is_whole(text: str) -> bool:
    """True for 1 to 18 digits: what `int` takes beside them (signs, `_`, other scripts) stands in no table."""
    return _WHOLE.fullmatch(text) is not None


def whole(text: str, name: str) -> int:
    """A whole number, 0 or more; ValueError, with the name of the cell, where the text is none."""
    if not is_whole(text):
        raise ValueError(f"{name} {text!r} is no whole number of at most 18 digits")
    return int(text)


def decimal(text: str, name: str) -> float:
    """A finite number; ValueError, with the name of the cell, where the text is none."""
    try:
        value = float(text)
    except ValueError:
        value = None
    if value is not None and not math.isfinite(value):
        raise ValueError(f"{name} {text!r} is not finite")
    if value is None or not _DECIMAL.fullmatch(text):
        raise ValueError(f"{name} {text!r} is no number")
    return value

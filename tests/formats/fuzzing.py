"""Damage at random: valid content with bytes flipped, cut, repeated, moved, and cells made of what breaks parsers."""

import os
import re

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("PLANTGFM_FUZZ_EXAMPLES", "0"))
"""Examples a reader; 0: a few, always the same. `PLANTGFM_FUZZ_EXAMPLES=20000 pytest -k fuzz` draws new ones."""


def fuzzed(examples: int):
    """Settings of one fuzz test: so many examples in the suite, the same in every run."""
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=not EXAMPLES,
        database=None,
        deadline=60_000,  # milliseconds for one small file: a busy machine is no fault, a reader of cubic cost is
        suppress_health_check=list(HealthCheck),
    )


NASTY = (
    *(b"", b" ", b"\t", b"\n", b"\r", b"\r\n", b"\0", b"\x0b", b"\x0c", b"\x1a", b"\x1c", b"\x7f", b"\xe9"),
    *("\u0085", "\u2028", "\ufeff", "\u0663", "\U0001f33d", "e\u0301", b"\xed\xa0\x80", b"\xc3", b"\xff\xfe"),
    *(b"\xf8\x88\x80\x80\x80", b"\x1f\x8b\x08", b"PK\x03\x04", b"BZh9"),
    *("0", "-0", "-1", "+1", "1.0", "1e3", "1e999", "1_0", "0x10", "NaN", "inf", "null", "true", "NA", "9" * 19),
    *("9" * 5000, "1" + "0" * 400, "x" * 300, "a/" * 3000, "../", "/", "/dev/zero", "~", "~nobody", ".", ".."),
    *('"', "'", '""', ",", ";", ":", "=", "|", "&", "%", "%zz", "%00", "%E9", "\\", "`", "$(x)", "{}", "{0}"),
    *("[", "[" * 3000, "]", "{", '{"a":' * 2000, "}", "[1]", ">", ">\n", "@", "+", "#", "##", "##FASTA", "-", "*"),
    *(
        "http://[",
        "{assembly!r:>9}",
        "md5:",
        "Q",
        "A",
        "C",
        "U",
        "(taxid 1)",
        "\t\t",
        "\n\n",
        "\n>",
        "\n@r\n+\n",
        "ID=",
    ),
)
_NASTY = [text if isinstance(text, bytes) else text.encode() for text in NASTY]
_SEPARATORS = re.compile(rb"([\t\n,;=: ]+)")
_where = st.integers(0, 1 << 16)
_KINDS = ("flip", "cut", "drop", "insert", "replace", "cell", "double", "move", "line")
_step = st.tuples(st.sampled_from(_KINDS), _where, _where, _where)


def damaged(*valid: bytes) -> st.SearchStrategy[bytes]:
    """Content that was valid before up to five steps of damage."""
    return st.builds(_damage, st.sampled_from(valid), st.lists(_step, min_size=1, max_size=5))


def _damage(data: bytes, steps: list[tuple[str, int, int, int]]) -> bytes:
    for kind, first, second, what in steps:
        size = len(data)
        start = first % (size + 1)
        end = min(size, start + second % 17)
        nasty = _NASTY[what % len(_NASTY)]
        if kind == "flip" and start < size:
            data = data[:start] + bytes([data[start] ^ 1 << what % 8]) + data[start + 1 :]
        elif kind == "cut":
            data = data[:start]
        elif kind == "drop":
            data = data[:start] + data[end:]
        elif kind == "insert":
            data = data[:start] + nasty + data[start:]
        elif kind == "replace":
            data = data[:start] + nasty + data[end:]
        elif kind == "cell":
            cells = _SEPARATORS.split(data)
            cells[first % len(cells)] = nasty
            data = b"".join(cells)
        elif kind == "double":
            data = data[:end] + data[start:]
        elif kind in ("move", "line"):
            lines = data.splitlines(keepends=True) or [b""]
            line = lines.pop(first % len(lines))
            lines.insert(second % (len(lines) + 1), line if kind == "move" else line.strip() + nasty + b"\n")
            data = b"".join(lines)
    return data

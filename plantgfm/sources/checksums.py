"""Checksums as the sources publish them: MD5 and SHA-256 lists, and Ensembl's `CHECKSUMS` of BSD `sum`."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numba import njit

_BLOCK_BYTES = 1 << 20
_SUM_BLOCK_BYTES = 1024  # `sum` reports the size in blocks of 1 KiB
_HEX_LENGTH = {"md5": 32, "sha256": 64}
_HEX_LINE = re.compile(r"\\?([0-9a-fA-F]{32}|[0-9a-fA-F]{64})\s+\*?(\S.*)")
_SUM_LINE = re.compile(r"([0-9]{1,5})\s+([0-9]+)\s+(\S.*)")


@dataclass(frozen=True)
class Checksum:
    """What the bytes of a file must give."""

    kind: str  # "md5", "sha256" or "sum" (BSD sum and size in KiB: Ensembl's CHECKSUMS)
    value: str  # lower-case hexadecimal, or "12345 678"

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


def parse_checksum(text: str) -> Checksum:
    """A checksum from "md5:HEX", "sha256:HEX" or "sum:NUMBER BLOCKS".

    Raises:
        ValueError: another kind, or a value that does not have its form.
    """
    kind, _, value = text.partition(":")
    value = value.strip().lower()
    if kind in _HEX_LENGTH and re.fullmatch(rf"[0-9a-f]{{{_HEX_LENGTH[kind]}}}", value):
        return Checksum(kind, value)
    if kind == "sum" and (match := re.fullmatch(r"([0-9]{1,5})\s+([0-9]+)", value)):
        return Checksum("sum", f"{int(match[1])} {int(match[2])}")
    raise ValueError(f"checksum {text!r} is none of md5:<32 hex>, sha256:<64 hex>, sum:<number> <blocks>")


def find_checksum(listing: str, name: str) -> Checksum:
    """The checksum of the file `name` in a published list.

    Lines are those of `md5sum` or `sha256sum` (NCBI's md5checksums.txt) or of BSD `sum` (Ensembl's CHECKSUMS); folders
    before the name are left out of the comparison.

    Raises:
        ValueError: the list does not name the file, or names it with two values.
    """
    found = set()
    for line in listing.splitlines():
        if match := _HEX_LINE.fullmatch(line.strip()):
            kind = "md5" if len(match[1]) == _HEX_LENGTH["md5"] else "sha256"
            entry, path = Checksum(kind, match[1].lower()), match[2]
        elif match := _SUM_LINE.fullmatch(line.strip()):
            entry, path = Checksum("sum", f"{int(match[1])} {int(match[2])}"), match[3]
        else:
            continue
        if PurePosixPath(path).name == name:
            found.add(entry)
    if len(found) != 1:
        raise ValueError(f"names {name!r} with {len(found)} different checksums, needs exactly one")
    return found.pop()


def file_checksum(path: Path, kind: str) -> Checksum:
    """The checksum of a file, of the kind asked for."""
    with path.open("rb") as stream:
        if kind == "sum":
            state = size_bytes = 0
            while block := stream.read(_BLOCK_BYTES):
                state = _bsd_sum(np.frombuffer(block, np.uint8), state)
                size_bytes += len(block)
            return Checksum("sum", f"{state} {-(-size_bytes // _SUM_BLOCK_BYTES)}")
        return Checksum(kind, hashlib.file_digest(stream, kind).hexdigest())


@njit(cache=True, nogil=True)
def _bsd_sum(block, state):
    """BSD `sum`: rotate 16 bits right by one, add the byte (GNU coreutils, sum.c)."""
    for byte in block:
        state = ((state >> 1) + ((state & 1) << 15) + byte) & 0xFFFF
    return state

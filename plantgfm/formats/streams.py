"""Bytes and lines of plain, gzip and bgzip files behind checks; atomic and deterministic writing."""

from __future__ import annotations

import gzip
import io
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from plantgfm.formats.errors import FormatError
from plantgfm.formats.paths import check_file

BLOCK_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
_COMPRESSED_BYTES = 1 << 18
_GZIP_WBITS = 31  # window of 32 KiB, gzip wrapper with its CRC
_FLAGS_AT, _KNOWN_FLAGS = 3, b"\x1f"  # in a member's header, and the highest byte of flags that mean something
_EXTRA_FIELD = 4  # flag of a gzip header; bgzip writes its block size there, in a subfield BC (SAM specification 4.1)
_FOREIGN_MAGIC = {
    b"PK\x03\x04": "a zip archive, or an Excel workbook; unpack it, or save its sheet as CSV",
    b"BZh": "bzip2-compressed; recompress it with gzip or bgzip",
    b"\xfd7zXZ\x00": "xz-compressed; recompress it with gzip or bgzip",
    b"\x28\xb5\x2f\xfd": "zstd-compressed; recompress it with gzip or bgzip",
    b"CRAM": "a CRAM file, not text",
    b"BAM\x01": "a BAM file, not text",
    b"%PDF": "a PDF document, not text",
    b"\x1a\x41\x27\x43": "a 2bit file; convert it with twoBitToFa",
    b"\x43\x27\x41\x1a": "a 2bit file; convert it with twoBitToFa",
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
}


def is_gzip(path: Path) -> bool:
    """True where the file starts with the gzip magic (bgzip is gzip too)."""
    with path.open("rb") as stream:
        return stream.read(2) == GZIP_MAGIC


def blocks(path: Path) -> Iterator[bytes]:
    """The decompressed content in blocks of at least one byte.

    Raises:
        FormatError: no file, a foreign magic number, NUL bytes, corrupt or truncated gzip, nothing inside.
    """
    check_file(path)
    total = 0
    try:
        with path.open("rb") as stream:
            for block in _inflated(path, stream) if is_gzip(path) else iter(partial(stream.read, BLOCK_BYTES), b""):
                _check_text(block, path, first=total == 0)
                total += len(block)
                yield block
    except OSError as error:  # the disk, or the server behind it
        raise FormatError(path, f"could not be read to its end ({error.strerror}); try again") from None
    if total == 0:
        raise FormatError(path, "is empty inside its compression")


def _inflated(path: Path, stream: BinaryIO) -> Iterator[bytes]:
    """Content of a gzip file of one or many members (bgzip: one a block), each checked to its end and checksum.

    ISA-L inflates, three times as fast as zlib. Where it finds fault zlib reads again: the last word, and what is said,
    are zlib's.
    """
    from isal import isal_zlib  # not needed to train, where it may be absent

    done = 0
    try:
        for block in _members(path, stream, isal_zlib.decompressobj):
            done += len(block)
            yield block
        return
    except _Fault:
        stream.seek(0)
    for block in _members(path, stream, zlib.decompressobj):
        if len(block) > done:
            yield block[done:]
        done = max(0, done - len(block))


class _Fault(FormatError):
    """A gzip stream that is none, or not whole."""


def _members(path: Path, stream: BinaryIO, inflator: Callable[..., Any]) -> Iterator[bytes]:
    from isal import isal_zlib

    data = stream.read(_COMPRESSED_BYTES)
    blocked = data[12:14] == b"BC" and data[_FLAGS_AT] & _EXTRA_FIELD
    while data:
        if len(data) <= _FLAGS_AT:
            data += stream.read(_COMPRESSED_BYTES)
        strange = data[_FLAGS_AT : _FLAGS_AT + 1] > _KNOWN_FLAGS  # ISA-L does not look
        member = (zlib.decompressobj if strange else inflator)(wbits=_GZIP_WBITS)
        block = b""
        while not member.eof:
            data = data or stream.read(_COMPRESSED_BYTES)
            if not data:
                raise _Fault(path, "gzip stream is truncated; fetch the file again")
            try:
                block = member.decompress(data)
            except (zlib.error, isal_zlib.error) as error:
                raise _Fault(path, f"gzip stream is corrupt ({error}); fetch the file again") from None
            data = b""
            if block:
                yield block
        data = member.unused_data or stream.read(_COMPRESSED_BYTES)
        if data.startswith(b"\0"):  # tape padding, allowed after the last member (RFC 1952 leaves it to the reader)
            data = data.lstrip(b"\0")
    if blocked and block:
        raise _Fault(path, "bgzip stream lacks its end-of-file block: truncated; fetch the file again")


def _check_text(block: bytes, path: Path, *, first: bool) -> None:
    if first:
        for magic, what in _FOREIGN_MAGIC.items():
            if block.startswith(magic):
                raise FormatError(path, f"is {what}")
        if block.startswith(GZIP_MAGIC):
            raise FormatError(path, "is compressed twice; decompress it once")
    if b"\0" in block:
        raise FormatError(path, "is binary (holds NUL bytes), not text")


def raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(1-based number, line without its LF or CRLF) of the decompressed text."""
    begun: list[bytes] = []  # of the line that the blocks so far leave open: a chromosome may stand on one line
    number = 0
    for block in blocks(path):
        first, *others = block.split(b"\n")
        begun.append(first)
        for after in others:
            number += 1
            yield number, b"".join(begun).removesuffix(b"\r")
            begun = [after]
    if last := b"".join(begun):
        yield number + 1, last.removesuffix(b"\r")


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(1-based number, line) of UTF-8 text; a byte-order mark at the start is dropped.

    Raises:
        FormatError: as `blocks`, and for bytes that are no UTF-8, with their line.
    """
    for number, line in raw_lines(path):
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            byte = line[error.start]
            raise FormatError(path, f"byte 0x{byte:02x} is no UTF-8; save the file as UTF-8", line=number) from None


@contextmanager
def atomic_binary(path: Path) -> Iterator[BinaryIO]:
    """A stream whose content takes the name `path` only when the block ends without an error.

    A name that ends in `.gz` is compressed, with no time and no name inside: same content, same bytes. Any other stream
    can be read back and written over while it is open.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with part.open("x+b") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as stream:
                    yield stream
            else:
                yield raw
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def atomic_text(path: Path) -> Iterator[TextIO]:
    """As `atomic_binary`, for UTF-8 text with LF line ends."""
    with atomic_binary(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=False)
        try:
            yield text
            text.flush()
        finally:
            text.detach()

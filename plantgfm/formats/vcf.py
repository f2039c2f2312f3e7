"""Variants of a VCF file, one row an alternative allele, and the same file with further INFO fields.

Format: VCF 4.1 to 4.4 (https://samtools.github.io/hts-specs/VCFv4.4.pdf), with or without samples; 1-based in the
file, 0-based here. A name that ends in `.gz` is written as BGZF (SAM specification, section 4.1), which tabix and
bcftools index.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Int32, Int64

from plantgfm.formats.errors import FormatError
from plantgfm.formats.numbers import is_whole
from plantgfm.formats.streams import atomic_binary, text_lines

MISSING = "."
_FIXED = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")
_SEQUENCE, _POS, _ID, _REF, _ALT, _INFO = 0, 1, 2, 3, 4, 7
_BLOCK_BYTES = 65_280  # of a BGZF block before compression, as htslib has it
_BLOCK_HEAD = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0"
_END_OF_FILE = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


@dataclass(frozen=True)
class Variants:
    """The alternative alleles of a VCF file in file order; a line without any has one row, its `alt` is "."."""

    path: Path
    names: list[str]  # sequences, in order of appearance
    sequence: Int32[np.ndarray, "N"]  # index into `names`
    start: Int64[np.ndarray, "N"]  # 0-based, of the first base of `ref`; -1 where POS is 0 (a telomere)
    id: list[str]
    ref: list[str]  # upper case
    alt: list[str]  # upper case where it is made of bases
    line: Int64[np.ndarray, "N"]  # 1-based

    def __len__(self) -> int:
        return len(self.ref)


@dataclass(frozen=True)
class InfoField:
    """A line `##INFO` of the header; one value an alternative allele (`Number=A`)."""

    name: str
    kind: str  # Float or String
    description: str


def read_variants(path: str | Path) -> Variants:
    """All alternative alleles of a VCF file, plain or compressed; samples are left aside.

    Raises:
        FormatError: no line #CHROM, a line with another number of columns, a bad position, no bases in REF.
    """
    path = Path(path)
    names: dict[str, int] = {}
    rows: list[tuple[int, int, str, str, str, int]] = []
    for number, cells in _lines(path):
        if cells is None:
            continue
        start, ref, alts = _site(path, cells, number)
        index = names.setdefault(cells[_SEQUENCE], len(names))
        rows += [(index, start, cells[_ID], ref, alt, number) for alt in alts]
    columns = list(zip(*rows)) if rows else [()] * 6
    return Variants(
        path,
        names=list(names),
        sequence=np.array(columns[0], np.int32),
        start=np.array(columns[1], np.int64),
        id=list(columns[2]),
        ref=list(columns[3]),
        alt=list(columns[4]),
        line=np.array(columns[5], np.int64),
    )


def _lines(path: Path) -> Iterator[tuple[int, list[str] | None]]:
    """(1-based number, cells) of each variant; None for the lines of the header."""
    columns = 0
    for number, line in text_lines(path):
        if line.startswith("#CHROM"):
            columns = _check_header(path, line, number)
            yield number, None
        elif line.startswith("#"):
            yield number, None
        elif line.strip():
            if not columns:
                raise FormatError(path, "a variant before the header #CHROM: is it a VCF?", line=number)
            cells = line.split("\t")
            if len(cells) != columns:
                raise FormatError(path, f"{len(cells)} columns where the header has {columns}", line=number)
            yield number, cells
    if not columns:
        raise FormatError(path, "is no VCF: it has no line #CHROM")


def _check_header(path: Path, line: str, number: int) -> int:
    cells = line.split("\t")
    if tuple(cells[: len(_FIXED)]) != _FIXED or len(cells) == len(_FIXED) + 1:
        raise FormatError(path, f"the header is no {' '.join(_FIXED)}, tab-separated", line=number)
    return len(cells)


def _site(path: Path, cells: list[str], number: int) -> tuple[int, str, list[str]]:
    if not cells[_SEQUENCE]:
        raise FormatError(path, "a variant without the name of a sequence", line=number)
    if not is_whole(cells[_POS]):
        raise FormatError(path, f"POS {cells[_POS]!r} is no whole number of at most 18 digits", line=number)
    ref = cells[_REF].upper()
    if not re.fullmatch("[ACGTN]+", ref):
        raise FormatError(path, f"REF {cells[_REF]!r} is not made of A, C, G, T and N", line=number)
    alts = cells[_ALT].split(",")
    if "" in alts:
        raise FormatError(path, f"ALT {cells[_ALT]!r} holds an empty allele", line=number)
    return int(cells[_POS]) - 1, ref, [alt.upper() if re.fullmatch("[A-Za-z]+", alt) else alt for alt in alts]


def write_with_info(
    out: str | Path,
    path: str | Path,
    fields: Mapping[InfoField, Sequence[str]],
    *,
    header: Sequence[str] = (),
) -> None:
    """The lines of a VCF file with more INFO fields, samples and all else as they are. Atomic.

    Args:
        out: `.gz` for BGZF.
        path: the file that `read_variants` read.
        fields: the values of each field, one a row of `Variants`, "." where there is none.
        header: lines `##key=value` to add.

    Raises:
        FormatError: when the file has one of the fields already, or changed since it was read.
    """
    out, path, row, total = Path(out), Path(path), 0, len(next(iter(fields.values())))
    declared = [
        f'##INFO=<ID={field.name},Number=A,Type={field.kind},Description="{field.description}">' for field in fields
    ]
    with _sink(out) as write:
        for number, line in text_lines(path):
            for field in fields:
                if line.startswith(f"##INFO=<ID={field.name},"):
                    raise FormatError(path, f"has {field.name} already: give the file without it", line=number)
            if line.startswith("#CHROM"):
                write("".join(f"{text}\n" for text in (*header, *declared)))
            if line.startswith("#"):
                write(f"{line}\n")
            elif line.strip():
                cells = line.split("\t")
                end = row + cells[_ALT].count(",") + 1
                added = [f"{field.name}={','.join(values[row:end])}" for field, values in fields.items()]
                told = [] if cells[_INFO] in (MISSING, "") else [cells[_INFO]]
                cells[_INFO] = ";".join([*told, *added])
                write("\t".join(cells) + "\n")
                row = end
        if row != total:
            raise FormatError(path, f"has {row} alternative alleles, {total} when it was read: it was changed")


@contextmanager
def _sink(path: Path):
    """A function that writes text to a file which appears whole; BGZF where it is called `.gz`."""
    if path.suffix != ".gz":
        with atomic_binary(path) as stream:
            yield lambda text: stream.write(text.encode())
        return
    # Under another suffix, as `atomic_binary` would compress in its own way.
    part = path.with_name(f".{path.name}.bgzf")
    waiting = bytearray()

    def write(stream: BinaryIO, text: str) -> None:
        waiting.extend(text.encode())
        while len(waiting) >= _BLOCK_BYTES:
            stream.write(bgzf_block(bytes(waiting[:_BLOCK_BYTES])))
            del waiting[:_BLOCK_BYTES]

    try:
        with atomic_binary(part) as stream:
            yield lambda text: write(stream, text)
            if waiting:
                stream.write(bgzf_block(bytes(waiting)))
            stream.write(_END_OF_FILE)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def bgzf_block(data: bytes) -> bytes:
    """One block of BGZF: a gzip member that states its own size, with no time and no name inside.

    Raises:
        ValueError: for more than 65,280 bytes, which might not fit when they do not compress.
    """
    if len(data) > _BLOCK_BYTES:
        raise ValueError(f"{len(data)} bytes are more than a block's {_BLOCK_BYTES}")
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    body = packer.compress(data) + packer.flush()
    size = len(_BLOCK_HEAD) + 2 + len(body) + 8
    return _BLOCK_HEAD + struct.pack("<H", size - 1) + body + struct.pack("<II", zlib.crc32(data), len(data))

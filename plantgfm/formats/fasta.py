"""FASTA: plain, gzip or bgzip, any line width, LF or CRLF, either case, IUPAC codes.

The file is inflated and parsed once, block by block, by a compiled kernel that checks as it goes: a reader that hands
on what it does not understand (pysam's yields nothing for plain text and turns to FASTQ at a line that starts with `+`
or `@`) would need a reading of its own for the checks. Memory is bounded by the largest record.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import no_type_check

import numpy as np
from jaxtyping import UInt8
from numba import njit

from plantgfm.formats.errors import FormatError
from plantgfm.formats.paths import check_file
from plantgfm.formats.streams import BLOCK_BYTES, atomic_binary, blocks, raw_lines
from plantgfm.schema import Record
from plantgfm.sequence import BASE_MASK, CODE_OF_BYTE, INVALID, REPEAT_BIT, UNKNOWN, mask_of

PROTEIN_MIN_LETTERS = 50
PROTEIN_AMBIGUOUS_FRACTION = 0.5

_LETTER_OF_CODE = np.frombuffer(b"ACGTNNNNacgtnnnn", dtype=np.uint8)
_AMBIGUOUS, _LETTERS = 16, 32  # a bit of codes other than N that say unknown; what is below the second is a base
_LINE_FEED, _CARRIAGE_RETURN, _HEADER, _FASTQ = range(_LETTERS, _LETTERS + 4)


def _meaning_table() -> np.ndarray:
    """uint8 [256]: a byte's base code, with the repeat bit for lower case, or what else it is."""
    meaning = CODE_OF_BYTE.copy()
    for lower in range(ord("a"), ord("z") + 1):
        if meaning[lower] != INVALID:
            meaning[lower] |= REPEAT_BIT
    for letter in "RYSWKMBDHV":
        meaning[ord(letter)] |= _AMBIGUOUS
        meaning[ord(letter.lower())] |= _AMBIGUOUS
    others = {"\n": _LINE_FEED, "\r": _CARRIAGE_RETURN, ">": _HEADER, "@": _FASTQ, "+": _FASTQ}
    for letter, what in others.items():
        meaning[ord(letter)] = what
    return meaning


_MEANING = _meaning_table()
_WHITE_SPACE = re.compile(r"[ \t\n\v\f\r]")  # what ends a name (`isspace` of C)
_NEW_LINE = 10
_B = np.uint8
_GOES_ON, _AT_HEADER, _AT_FASTQ, _AT_INVALID = range(4)


def read_fasta(path: str | Path) -> Iterator[Record]:
    """The records of a FASTA file, in file order, each checked as it is handed out: read to the end before you trust.

    U is read as T, every ambiguity code as unknown, lower case as soft mask.

    Raises:
        FormatError: for anything that is no nucleotide FASTA, with path, record and line.
    """
    path = Path(path)
    check_file(path)
    return _or_damage(path, _records(path))


def _or_damage(path: Path, records: Iterator[Record]) -> Iterator[Record]:
    try:
        yield from records
    except FormatError:
        for _ in blocks(path):  # text that damaged compression garbled is no fault of the text: say what is
            pass
        raise


def fasta_lengths(path: str | Path) -> dict[str, int]:
    """Length in bp of each record, by name, in file order."""
    return {record.name: record.length_bp for record in read_fasta(path)}


def _check_first(path: Path, text: bytes, line: int) -> None:
    if text.startswith(b">"):
        return
    if text.startswith(b"@"):
        raise FormatError(path, "is FASTQ (starts with '@'); convert it to FASTA", line=line)
    if text.startswith(b"\xef\xbb\xbf"):
        raise FormatError(path, "starts with a byte-order mark; save it as plain ASCII", line=line)
    shown = text[:20].split(b"\n")[0].decode("ascii", "replace")
    raise FormatError(path, f"is no FASTA: text before the first header ('>'): {shown!r}", line=line)


@njit(inline="always")
@no_type_check
def _plain_line(letters, codes):
    """Codes of a line of A, C, G, T and N, in vectors: how many are N, and the case of all; -1 for any other line."""
    strange, lower, upper, unknown = _B(0), _B(0), _B(0), 0
    for j in range(letters.size):
        letter = letters[j]
        capital = _B(letter & _B(0xDF))
        two_bits = _B((capital >> _B(1)) & _B(3))  # A 0, C 1, T 2, G 3
        is_n = _B(capital == _B(0x4E))
        base = _B(capital == _B(0x41)) | _B(capital == _B(0x43)) | _B(capital == _B(0x47)) | _B(capital == _B(0x54))
        strange = _B(strange | ((base | is_n) ^ _B(1)))
        lower, upper = _B(lower | (letter & _B(32))), _B(upper | (~letter & _B(32)))
        codes[j] = _B((two_bits ^ (two_bits >> _B(1))) & _B(is_n - _B(1))) | _B(is_n << _B(2))
        unknown += is_n
    if strange or (lower and upper):
        return -1, 0
    return unknown, _B(lower >> _B(2))


@njit(cache=True, nogil=True)
@no_type_check
def _parse(letters, meaning, state, codes, edges):
    """Bases of a piece of text up to the next header; returns why it stopped and the bytes read, codes and edges found.

    `state` holds what goes on from piece to piece: whether a line begins, whether a CR waits for its LF, the line, the
    case (the repeat bit), bases of the record so far, unknown ones and ambiguous ones among them.
    """
    begins, waits, line, case, before, unknown, ambiguous = state
    n, turns, why, i, width, since, slow = 0, 0, _GOES_ON, 0, 0, 0, 0
    while i < letters.size:
        if begins and width and i >= slow and i + width < letters.size and letters[i + width] == _NEW_LINE:
            plain, its_case = _plain_line(letters[i : i + width], codes[n : n + width])
            if plain >= 0 and its_case == case and not waits:
                unknown, n, i, line = unknown + plain, n + width, i + width + 1, line + 1
                since = i
                continue
            slow = i + width
        what = meaning[letters[i]]
        if waits and what != _LINE_FEED:
            why = _AT_INVALID
            break
        if what < _LETTERS:
            codes[n] = what & BASE_MASK
            if what & REPEAT_BIT != case:
                case = REPEAT_BIT - case
                edges[turns] = before + n
                turns += 1
            unknown += (what >> 2) & 1
            ambiguous += what >> 4
            n += 1
            begins = 0
        elif what == _LINE_FEED:
            begins, waits, line, width, since = 1, 0, line + 1, i - since, i + 1
        elif what == _CARRIAGE_RETURN:
            waits = 1
        else:
            why = _AT_HEADER if begins and what == _HEADER else _AT_FASTQ if begins and what == _FASTQ else _AT_INVALID
            break
        i += 1
    state[:] = begins, waits, line, case, before + n, unknown, ambiguous
    return why, i, n, turns


@dataclass
class _Open:
    """A record that is being read."""

    name: str
    description: str
    line: int  # of its header


@dataclass(frozen=True)
class _Stretch:
    """Bases of a record as one call of the kernel found them; its arrays are used again for the next one."""

    record: _Open
    codes: np.ndarray  # uint8
    edges: np.ndarray  # int64, bp in the record: where the case turns
    start: int  # bp in the record
    case: int  # of its first base, as far as no edge turns it: 0 or the repeat bit
    last: bool


@dataclass(frozen=True)
class Piece:
    """Bases of a record that follow one another; every record has a last piece, which may be empty."""

    name: str
    start: int  # 0-based
    bases: UInt8[np.ndarray, "P"]  # code | repeat bit in lower case
    last: bool  # of its record


def read_fasta_pieces(path: str | Path) -> Iterator[Piece]:
    """The bases of `read_fasta` in pieces of at most 1 Mb, in file order: memory does not grow with the record.

    What can only be said of a whole record (no sequence, protein of nucleotide letters) is said at its end.

    Raises:
        FormatError: as `read_fasta`.
    """
    path = Path(path)
    check_file(path)
    return _or_damage(path, map(_piece, _stretches(path)))


def _piece(stretch: _Stretch) -> Piece:
    turns = np.zeros(stretch.codes.size + 1, dtype=np.uint8)
    turns[stretch.edges - stretch.start] = REPEAT_BIT
    turns[0] ^= stretch.case
    repeat = np.bitwise_xor.accumulate(turns)[:-1]
    return Piece(stretch.record.name, stretch.start, stretch.codes | repeat, stretch.last)


def _records(path: Path) -> Iterator[Record]:
    codes, edges = bytearray(), []
    for stretch in _stretches(path):
        codes += memoryview(stretch.codes)
        edges.append(stretch.edges.copy())
        if not stretch.last:
            continue
        turns = np.concatenate(edges)
        if turns.size % 2:
            turns = np.append(turns, len(codes))
        name, description = stretch.record.name, stretch.record.description.strip()
        yield Record(name, description, np.frombuffer(codes, dtype=np.uint8), turns.reshape(-1, 2))
        codes, edges = bytearray(), []


def _stretches(path: Path) -> Iterator[_Stretch]:
    seen: set[str] = set()
    codes, edges = np.empty(BLOCK_BYTES, dtype=np.uint8), np.empty(BLOCK_BYTES + 1, dtype=np.int64)
    state = np.array([1, 0, 1, 0, 0, 0, 0], dtype=np.int64)
    record, header = None, None  # header: the bytes of one that no LF has ended yet
    for piece in _pieces(path, state):
        at = 0
        while at < len(piece):
            if header is not None:
                end = piece.find(b"\n", at)
                header += piece[at : end if end >= 0 else len(piece)]
                at = end + 1 if end >= 0 else len(piece)
                if end >= 0:
                    record, header = _begin(path, header, state, seen), None
                continue
            letters, case, start = np.frombuffer(piece, dtype=np.uint8)[at:], int(state[3]), int(state[4])
            why, used, n, turns = _parse(letters, _MEANING, state, codes, edges)
            at += used
            if why == _AT_FASTQ:
                text = f"line starts with {chr(letters[used])!r}: FASTQ inside FASTA"
                raise FormatError(path, text, line=int(state[2]))
            if why == _AT_INVALID:
                raise _invalid_character(path, record.name, len(seen) - 1)
            if record is not None:
                if why == _AT_HEADER:
                    _check_whole(path, record, state)
                yield _Stretch(record, codes[:n], edges[:turns], start, case, why == _AT_HEADER)
            if why == _AT_HEADER:
                record, header, at = None, bytearray(), at + 1
    if header is not None:
        record = _begin(path, header, state, seen)
    _check_whole(path, record, state)
    yield _Stretch(record, codes[:0], edges[:0], int(state[4]), int(state[3]), True)


def _pieces(path: Path, state: np.ndarray) -> Iterator[bytes]:
    """The text from its first header on, in pieces of at most `BLOCK_BYTES`; counts the empty lines before it."""
    begun = False
    for block in blocks(path):
        if not begun:
            text = block.lstrip(b"\r\n")
            state[2] += block.count(b"\n", 0, len(block) - len(text))
            if not text:
                continue
            _check_first(path, text, int(state[2]))
            block, begun = text, True
        if len(block) <= BLOCK_BYTES:
            yield block
        else:
            yield from (block[start : start + BLOCK_BYTES] for start in range(0, len(block), BLOCK_BYTES))
    if not begun:
        raise FormatError(path, "holds empty lines only")


def _begin(path: Path, header: bytearray, state: np.ndarray, seen: set[str]) -> _Open:
    line = int(state[2])
    try:
        text = header.decode("utf-8")
    except UnicodeDecodeError:
        name = header.decode("utf-8", "backslashreplace")
        raise FormatError(path, "header is no UTF-8; write names in ASCII", name, line) from None
    parts = _WHITE_SPACE.split(text, maxsplit=1)
    name, description = parts[0], parts[1] if len(parts) > 1 else ""
    if not name:
        raise FormatError(path, "header without a name", line=line)
    if name in seen:
        raise FormatError(path, "name is used twice; make names unique", name, line)
    if "\r" in text.rstrip("\r"):  # sequence would be taken for description
        raise FormatError(path, "header holds a CR: its lines end with CR alone, convert them to LF", name, line)
    seen.add(name)
    state[:] = 1, 0, line + 1, 0, 0, 0, 0
    return _Open(name, description.removesuffix("\r"), line)


def _check_whole(path: Path, record: _Open, state: np.ndarray) -> None:
    length, unknown, ambiguous = (int(state[i]) for i in range(4, 7))
    if not length:
        raise FormatError(path, "record without sequence", record.name, record.line)
    letters = length - (unknown - ambiguous)
    if letters >= PROTEIN_MIN_LETTERS and ambiguous > PROTEIN_AMBIGUOUS_FRACTION * letters:
        # A protein that happens to use letters of the nucleotide alphabet only.
        message = f"{ambiguous} of {letters} letters are ambiguity codes: looks like protein, give nucleotides"
        raise FormatError(path, message, record.name, record.line)


def _header_line(path: Path, index: int) -> int | None:
    """1-based line of header number `index`, by a second reading in plain Python."""
    for number, line in raw_lines(path):
        if line.startswith(b">"):
            if index == 0:
                return number
            index -= 1
    return None


def _invalid_character(path: Path, name: str, index: int) -> FormatError:
    """The error for the first character of record `index` that is no nucleotide, by a second reading."""
    current = -1
    for number, line in raw_lines(path):
        if line.startswith(b">"):
            current += 1
        elif current == index:
            bad = np.flatnonzero(CODE_OF_BYTE[np.frombuffer(line, dtype=np.uint8)] == INVALID)
            if bad.size:
                return FormatError(path, _describe(line, int(bad[0])), name, number)
    return FormatError(path, "record without sequence", name, _header_line(path, index))


def _describe(line: bytes, column: int) -> str:
    letter = line[column : column + 1]
    message = f"character {letter.decode('ascii', 'replace')!r} in column {column + 1} is no IUPAC nucleotide"
    if letter.upper() in (b"E", b"F", b"I", b"L", b"P", b"Q", b"Z", b"X", b"*", b"J", b"O"):
        return message + "; looks like protein, give nucleotides"
    if letter in (b"-", b"."):
        return message + "; looks like an alignment, remove the gaps"
    if letter.isspace():
        return message + "; remove white space from the sequence"
    return message


def write_fasta(
    path: str | Path, records: Iterable[Record | tuple[str, UInt8[np.ndarray, "P"]]], *, width: int = 60
) -> None:
    """Write records; lower case where soft-masked (of a pair: where the repeat bit is set). Atomic.

    Args:
        path: ends in `.gz` for gzip with no time inside: same records, same bytes.
        records: `Record`s, or pairs of name (after white space a description) and codes, uint8 [P], with or without
            the repeat bit.
        width: bases a line.

    Raises:
        FormatError: an empty or repeated name, an empty record, codes outside the alphabet, no record at all.
    """
    path, seen = Path(path), set()
    if width < 1:
        raise ValueError(f"width {width} must be at least 1")
    with atomic_binary(path) as stream:
        for record in records:
            header, name, codes = _parts(record)
            _check_output(path, header, name, codes, seen)
            seen.add(name)
            stream.write(b">" + header.encode("utf-8") + b"\n")
            stream.write(_wrap(_LETTER_OF_CODE[codes], width))
        if not seen:
            raise FormatError(path, "no record to write")


def _parts(record: Record | tuple[str, UInt8[np.ndarray, "P"]]) -> tuple[str, str, np.ndarray]:
    if isinstance(record, Record):
        masked = mask_of(record.soft_mask, record.length_bp).astype(np.uint8) * np.uint8(REPEAT_BIT)
        header = f"{record.name} {record.description}".strip() if record.description else record.name
        return header, record.name, record.codes | masked
    header, codes = record
    return header, _WHITE_SPACE.split(header, maxsplit=1)[0], np.asarray(codes, dtype=np.uint8)


def _check_output(path: Path, header: str, name: str, codes: np.ndarray, seen: set[str]) -> None:
    if not name or _WHITE_SPACE.search(name) or not header.startswith(name) or "\n" in header or "\r" in header:
        raise FormatError(path, f"header {header!r} needs a name without white space and no line break")
    if name in seen:
        raise FormatError(path, "name is used twice; make names unique", name)
    if codes.size == 0:
        raise FormatError(path, "record without sequence", name)
    if (codes & ~np.uint8(REPEAT_BIT)).max() > UNKNOWN:
        raise FormatError(path, "codes must be 0..4, with or without the repeat bit", name)


def _wrap(letters: np.ndarray, width: int) -> bytes:
    full = letters.size // width
    body = np.full((full, width + 1), ord("\n"), dtype=np.uint8)
    body[:, :width] = letters[: full * width].reshape(full, width)
    tail = letters[full * width :].tobytes()
    return body.tobytes() + (tail + b"\n" if tail else b"")

"""FASTA: plain, gzip or bgzip, any line width, LF or CRLF, either case, IUPAC codes.

pysam parses; everything it lets pass in silence is checked before (its reader crashes on a directory, yields nothing
for plain text, turns to FASTQ at a line that starts with `+` or `@`, and knows no line numbers).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pysam
from jaxtyping import UInt8

from plantgfm.formats.errors import FormatError
from plantgfm.formats.streams import atomic_binary, blocks, raw_lines
from plantgfm.schema import Record
from plantgfm.sequence import CODE_OF_BYTE, INVALID, REPEAT_BIT, UNKNOWN, mask_of, runs_of

PROTEIN_MIN_LETTERS = 50
PROTEIN_AMBIGUOUS_FRACTION = 0.5

_LETTER_OF_CODE = np.frombuffer(b"ACGTNNNNacgtnnnn", dtype=np.uint8)
_CODES = CODE_OF_BYTE.tobytes()
_WHITE_SPACE = re.compile(r"[ \t\n\v\f\r]")  # what ends a name (`isspace` of C)
_FIRST_LOWER = ord("a")
_LINE_FEED = ord("\n")


def read_fasta(path: str | Path) -> Iterator[Record]:
    """The records of a FASTA file, in file order; the whole file is checked before the first is handed out.

    U is read as T, every ambiguity code as unknown, lower case as soft mask.

    Raises:
        FormatError: for anything that is no nucleotide FASTA, with path, record and line.
    """
    path = Path(path)
    headers = _check_structure(path)
    return _records(path, headers)


def fasta_lengths(path: str | Path) -> dict[str, int]:
    """Length in bp of each record, by name, in file order."""
    return {record.name: record.length_bp for record in read_fasta(path)}


def _check_structure(path: Path) -> int:
    """Number of headers; FormatError where the text is no FASTA or the compression is damaged."""
    headers, line, begun, at_start = 0, 1, False, True
    for block in blocks(path):
        if not begun and (text := block.lstrip(b"\r\n")):
            _check_first(path, text, line + block.count(b"\n", 0, len(block) - len(text)))
            begun = True
        letters = np.frombuffer(block, dtype=np.uint8)
        ends = np.flatnonzero(letters == _LINE_FEED)
        starts = ends[: ends.size - block.endswith(b"\n")] + 1
        first = np.concatenate((letters[: int(at_start)], letters[starts]))
        fastq = np.flatnonzero((first == ord("@")) | (first == ord("+")))
        if fastq.size:
            where = line + int(fastq[0]) + (not at_start)
            raise FormatError(path, f"line starts with {chr(first[fastq[0]])!r}: FASTQ inside FASTA", line=where)
        headers += int(np.count_nonzero(first == ord(">")))
        line += ends.size
        at_start = block.endswith(b"\n")
    if not begun:
        raise FormatError(path, "holds empty lines only")
    return headers


def _check_first(path: Path, text: bytes, line: int) -> None:
    if text.startswith(b">"):
        return
    if text.startswith(b"@"):
        raise FormatError(path, "is FASTQ (starts with '@'); convert it to FASTA", line=line)
    if text.startswith(b"\xef\xbb\xbf"):
        raise FormatError(path, "starts with a byte-order mark; save it as plain ASCII", line=line)
    shown = text[:20].split(b"\n")[0].decode("ascii", "replace")
    raise FormatError(path, f"is no FASTA: text before the first header ('>'): {shown!r}", line=line)


def _records(path: Path, headers: int) -> Iterator[Record]:
    seen: set[str] = set()
    # htslib reads a name like "file:x", "data:,x" or "-" as an address; one that starts with "/" is a file.
    with pysam.FastxFile(str(path.absolute()), persist=False) as entries:
        while (parts := _next_parts(path, entries, len(seen))) is not None:
            name, description, sequence = parts
            _check_entry(path, name, description, sequence, index=len(seen), seen=seen)
            yield _record(path, name, description, sequence, index=len(seen))
            seen.add(name)
    if len(seen) != headers:
        raise FormatError(path, f"holds {headers} headers, but {len(seen)} records could be read")


def _next_parts(path: Path, entries: pysam.FastxFile, index: int) -> tuple[str, str, str] | None:
    """Name, description and sequence as pysam reads them; None at the end."""
    try:
        entry = next(entries, None)
        return entry and (entry.name or "", entry.comment or "", entry.sequence or "")
    except UnicodeDecodeError:
        raise _undecodable(path, index) from None
    except (ValueError, OSError) as error:
        raise FormatError(path, f"pysam could not read it: {error}") from None


def _check_entry(path: Path, name: str, description: str, sequence: str, *, index: int, seen: set[str]) -> None:
    if not name:
        raise FormatError(path, "header without a name", line=_header_line(path, index))
    if name in seen:
        raise FormatError(path, "name is used twice; make names unique", name, _header_line(path, index))
    if "\r" in description.strip():  # sequence would be taken for description
        message = "header holds a CR: its lines end with CR alone, convert them to LF"
        raise FormatError(path, message, name, _header_line(path, index))
    if not sequence:
        raise FormatError(path, "record without sequence", name, _header_line(path, index))


def _record(path: Path, name: str, description: str, sequence: str, *, index: int) -> Record:
    # pysam leaves the CR of an empty CRLF line that follows the header.
    text = bytearray(sequence.removeprefix("\r"), "utf-8")
    raw, codes = (np.frombuffer(letters, dtype=np.uint8) for letters in (text, text.translate(_CODES)))
    highest = codes.max(initial=0)
    if highest == INVALID or codes.size == 0:
        raise _invalid_character(path, name, index)
    if highest == UNKNOWN:
        _check_composition(path, name, raw, codes, index=index)
    lower = raw >= _FIRST_LOWER  # of letters, as all are here
    runs = runs_of(lower) if lower.any() else np.empty((0, 2), dtype=np.int64)
    return Record(name=name, description=description.strip(), codes=codes, soft_mask=runs)


def _check_composition(path: Path, name: str, raw: np.ndarray, codes: np.ndarray, *, index: int) -> None:
    """Refuse a protein that happens to use letters of the nucleotide alphabet only."""
    plain_n = sum(int(np.count_nonzero(raw == ord(letter))) for letter in "Nn")
    letters, ambiguous = codes.size - plain_n, int(np.count_nonzero(codes == UNKNOWN)) - plain_n
    if letters >= PROTEIN_MIN_LETTERS and ambiguous > PROTEIN_AMBIGUOUS_FRACTION * letters:
        message = f"{ambiguous} of {letters} letters are ambiguity codes: looks like protein, give nucleotides"
        raise FormatError(path, message, name, _header_line(path, index))


def _header_line(path: Path, index: int) -> int | None:
    """1-based line of header number `index`, by a second reading in plain Python."""
    for number, line in raw_lines(path):
        if line.startswith(b">"):
            if index == 0:
                return number
            index -= 1
    return None


def _undecodable(path: Path, index: int) -> FormatError:
    """The error for record `index` with bytes that are no UTF-8: in its header, else in its sequence."""
    header = _header_line(path, index)
    text = next((line for number, line in raw_lines(path) if number == header), b">")
    name = text[1:].decode("utf-8", "backslashreplace")
    if not text.isascii():
        return FormatError(path, "header is no UTF-8; write names in ASCII", name, header)
    return _invalid_character(path, (name.split() or [""])[0], index)


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

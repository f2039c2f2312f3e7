"""Malformed files by kind: how each is made, and what the one error must say of it."""

import gzip
import os
from pathlib import Path

import pysam

FASTA = b">one first\nACGTACGT\nACGT\n>two\nGGGG\n"


def _bgzf(path: Path, content: bytes) -> bytes:
    with pysam.BGZFile(str(path), "wb") as stream:
        for start in range(0, len(content), 500):
            stream.write(content[start : start + 500])
            stream.flush()
    return path.read_bytes()


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


PROTEIN_OF_BASE_LETTERS = b"MKVSTRAAHDGNWYKRSVMDKHAGTSRVYSKMDHWVSNKRDYSVAKMGTHS" * 2
LONG = b">one\n" + b"ACGT" * 1000 + b"\n"

# kind: (content, words of the message, record, line)
FASTA_CASES = {
    "empty": (b"", "is empty", None, None),
    "empty lines": (b"\n\r\n\n", "empty lines only", None, None),
    "plain text": (b"hello world\nACGT\n", "before the first header", None, 1),
    "sequence without header": (b"ACGTACGT\n", "before the first header", None, 1),
    "text before the first header": (b"\nsome words\n>one\nACGT\n", "before the first header", None, 2),
    "indented header": (b" >one\nACGT\n", "before the first header", None, 1),
    "FASTQ": (b"@r\nACGT\n+\nIIII\n", "FASTQ", None, 1),
    "FASTQ inside": (FASTA + b"@r\nACGT\n+\nIIII\n", "FASTQ inside", None, 6),
    "line of plus": (b">one\nACGT\n+\nACGT\n", "FASTQ inside", None, 3),
    "line of at": (b">one\nACGT\n@two\nACGT\n", "FASTQ inside", None, 3),
    "protein": (b">p1\nMKLVINGKTLKGEITVEA\n", "protein", "p1", 2),
    "protein of nucleotide letters": (b">p2\n" + PROTEIN_OF_BASE_LETTERS, "protein", "p2", 1),
    "stop sign": (b">one\nACGT\nACG*\n", "'\\*' in column 4", "one", 3),
    "alignment": (b">one\nACGT\n>two\nAC--GT\n", "gaps", "two", 4),
    "digit": (b">one\nACGT\nAC1T\n", "'1' in column 3", "one", 3),
    "space in the sequence": (b">one\nACGT\nAC GT\n", "white space", "one", 3),
    "trailing tab": (b">one\nACGT\t\nACGT\n", "white space", "one", 2),
    "header inside a line": (b">one\nACGT>two\nACGT\n", "'>' in column 5", "one", 2),
    "name twice": (FASTA + b">one\nAC\n", "twice", "one", 6),
    "name twice after CRLF": (b">one\r\nAC\r\n>one x\r\nAC\r\n", "twice", "one", 3),
    "header without a name": (b">one\nAC\n>\nACGT\n", "without a name", None, 3),
    "header that starts with space": (b"> one\nACGT\n", "without a name", None, 1),
    "record without sequence": (b">one\n>two\nACGT\n", "without sequence", "one", 1),
    "last record without sequence": (FASTA + b">three\n", "without sequence", "three", 6),
    "record of empty lines": (b">one\r\n\r\n>two\r\nACGT\r\n", "without sequence", "one", 1),
    "header alone": (b">one", "without sequence", "one", 1),
    "CR line ends": (b">one\rACGT\r>two\rACGT\r", "CR alone", "one", 1),
    "CR line ends of one record": (b">one\rACGT\r", "CR alone", "one", 1),
    "CR after a header alone": (b">one first\rACGT\nACGT\n>two\nAC\n", "header holds a CR", "one", 1),
    "CR inside a line": (b">one\nAC\rGT\n", "white space", "one", 2),
    "NUL bytes": (b">one\nAC\0GT\n", "binary", None, None),
    "binary": (bytes(range(256)) * 4, "binary", None, None),
    "Latin-1 header": (b">one caf\xe9\nACGT\n", "UTF-8", "one caf\\xe9", 1),
    "byte above ASCII": (b">one\nACGT\nAC\xe9T\n", "column 3", "one", 3),
    "byte-order mark": (b"\xef\xbb\xbf" + FASTA, "byte-order mark", None, 1),
    "UTF-16": (FASTA.decode().encode("utf-16"), "UTF-16", None, None),
    "zip": (b"PK\x03\x04" + FASTA, "zip", None, None),
    "bzip2": (b"BZh9" + FASTA, "bzip2", None, None),
    "xz": (b"\xfd7zXZ\x00" + FASTA, "xz", None, None),
    "zstd": (b"\x28\xb5\x2f\xfd" + FASTA, "zstd", None, None),
    "empty gzip": (gzip.compress(b""), "empty inside", None, None),
    "gzip of plain text": (gzip.compress(b"hello\n"), "before the first header", None, 1),
    "gzip twice": (gzip.compress(gzip.compress(FASTA)), "compressed twice", None, None),
    "gzip magic alone": (b"\x1f\x8b", "truncated", None, None),
    "gzip cut in the middle": (gzip.compress(LONG)[:-20], "truncated", None, None),
    "gzip cut by one byte": (gzip.compress(FASTA)[:-1], "truncated", None, None),
    "gzip cut in its second member": ((gzip.compress(FASTA) + gzip.compress(LONG))[:-9], "truncated", None, None),
    "gzip with a flipped byte": (_flip(gzip.compress(os.urandom(500).hex().encode())), "corrupt", None, None),
    "gzip with a tail of text": (gzip.compress(FASTA) + b"more", "corrupt", None, None),
}


def bgzf_cases(folder: Path) -> dict[str, bytes]:
    """Damaged bgzip files; each must be called truncated or corrupt."""
    whole = _bgzf(folder / "whole.fa.gz", LONG)
    return {"without its end block": whole[:-28], "cut in a block": whole[: len(whole) // 2], "by a byte": whole[:-1]}


GFF3_ROW = b"chr1\t.\tgene\t1\t9\t.\t+\t.\tID=g\n"
# kind: (content, words of the message, record, line); sequences are chr1 of 100 bp
GFF3_CASES = {
    "empty": (b"", "is empty", None, None),
    "FASTA": (b">chr1\nACGT\n", "FASTA", None, 1),
    "eight columns": (GFF3_ROW + b"chr1\t.\tgene\t1\t9\t.\t+\t.\n", "8 columns", None, 2),
    "spaces for tabs": (b"chr1 . gene 1 9 . + . ID=g\n", "1 columns", None, 1),
    "no name": (b"\t.\tgene\t1\t9\t.\t+\t.\tID=g\n", "without a sequence name", None, 1),
    "start after end": (GFF3_ROW.replace(b"\t1\t9", b"\t9\t1"), "after end", "chr1", 1),
    "start of zero": (GFF3_ROW.replace(b"\t1\t", b"\t0\t"), "counts from 1", "chr1", 1),
    "negative start": (GFF3_ROW.replace(b"\t1\t", b"\t-1\t"), "whole numbers", "chr1", 1),
    "start of text": (GFF3_ROW.replace(b"\t1\t", b"\tx\t"), "whole numbers", "chr1", 1),
    "strand": (b"# first\n" + GFF3_ROW.replace(b"+", b"plus"), "strand 'plus'", "chr1", 2),
    "phase": (GFF3_ROW.replace(b".\tID", b"3\tID"), "phase '3'", "chr1", 1),
    "score": (GFF3_ROW.replace(b".\t+", b"high\t+"), "score 'high'", "chr1", 1),
    "score that is no number": (GFF3_ROW.replace(b".\t+", b"nan\t+"), "not finite", "chr1", 1),
    "start beyond any sequence": (GFF3_ROW.replace(b"\t9\t", b"\t" + b"9" * 5000 + b"\t"), "18 digits", "chr1", 1),
    "digits of another script": (GFF3_ROW.replace(b"\t9\t", "\t٩\t".encode()), "whole numbers", "chr1", 1),
    "score with an underscore": (GFF3_ROW.replace(b".\t+", b"1_0\t+"), "score '1_0'", "chr1", 1),
    "open quote": (GFF3_ROW.replace(b"ID=g", b'Gene "g; Note x'), "quote that is not closed", "chr1", 1),
    "value without a key": (GFF3_ROW.replace(b"ID=g", b'Gene g; "x"'), "value without a name", "chr1", 1),
    "attribute without a name": (GFF3_ROW.replace(b"ID=g", b"ID=g;=x"), "'=x' has no name", "chr1", 1),
    "its own parent": (GFF3_ROW + GFF3_ROW.replace(b"=g", b"=h;Parent=h") + GFF3_ROW, "back to itself", "h", 2),
    "parents in a circle": (
        b"".join(GFF3_ROW.replace(b"=g", b"=%c;Parent=%c" % tuple(pair)) for pair in (b"ab", b"bc", b"cd", b"db")),
        "back to itself",
        "b",
        2,
    ),
    "past the end": (GFF3_ROW.replace(b"\t9\t", b"\t101\t"), "past the sequence's end, 100", "chr1", 1),
    "unknown sequence": (GFF3_ROW.replace(b"chr1", b"chr2"), "not in the FASTA", "chr2", 1),
    "Latin-1": (GFF3_ROW + GFF3_ROW.replace(b"=g", b"=\xe9"), "no UTF-8", None, 2),
    "binary": (GFF3_ROW + b"\0\0", "binary", None, None),
    "truncated gzip": (gzip.compress(GFF3_ROW * 9)[:-3], "truncated", None, None),
}

BED_CASES = {
    "two columns": (b"chr1\t1\n", "2 columns", "chr1", 1),
    "thirteen columns": (b"chr1\t1\t2" + b"\tx" * 10, "13 columns", "chr1", 1),
    "negative start": (b"chr1\t0\t2\nchr1\t-1\t2\n", "0 or more", "chr1", 2),
    "start after end": (b"#c\nchr1\t5\t2\n", "after end", "chr1", 2),
    "text for a number": (b"chr1\ta\t2\n", "whole numbers", "chr1", 1),
    "fraction": (b"chr1\t1.0\t2\n", "whole numbers", "chr1", 1),
    "start of 30 digits": (b"chr1\t" + b"1" * 30 + b"\t" + b"2" * 30 + b"\n", "18 digits", "chr1", 1),
    "infinite score": (b"chr1\t1\t2\tn\t1e999\n", "not finite", "chr1", 1),
    "Latin-1": (b"chr1\t1\t2\tcaf\xe9\n", "no UTF-8", None, 1),
    "UTF-16": ("chr1\t1\t2\n".encode("utf-16"), "UTF-16", None, None),
    "score": (b"chr1\t1\t2\tn\tbest\n", "score 'best'", "chr1", 1),
    "strand": (b"chr1\t1\t2\tn\t0\t*\n", "strand '\\*'", "chr1", 1),
    "past the end": (b"chr1\t90\t101\n", "past the sequence's end", "chr1", 1),
    "unknown sequence": (b"chr2\t1\t2\n", "not in the FASTA", "chr2", 1),
    "no name": (b"\t1\t2\n", "without a sequence name", None, 1),
}

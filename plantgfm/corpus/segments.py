"""Segments: what one stored record of the dataset holds, packed and unpacked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, UInt8

from plantgfm.schema import Regions
from plantgfm.sequence import BASE_MASK, REPEAT_BIT, UNKNOWN, mask_of, runs_of


@dataclass(frozen=True)
class CorpusRecord:
    """One sequence of a corpus, a FASTA record or a piece of one: where it comes from and where its bases lie."""

    species: str
    cultivar: str
    assembly: str
    name: str
    compartment: str  # a value of Compartment
    length_bp: int
    offset: int  # of its first base in the corpus bases, bp
    repeat_source: str  # provenance of the repeat mask
    cluster_window_bp: int  # width of the windows of cluster ids; window i starts at i x this width
    cluster_offset: int  # of its first window in the corpus' cluster arrays
    start: int = 0  # of a piece in the record of the FASTA file, 0-based; 0 where nothing was cut out before it

    @property
    def cluster_windows(self) -> int:
        """Number of cluster windows: the last one may be shorter."""
        return -(-self.length_bp // self.cluster_window_bp)


@dataclass(frozen=True)
class Segment:
    """Neighbouring regions of one record and one split: rows `first` to `last` (exclusive) of the region table."""

    record: int
    split: int
    start: int  # 0-based, in its record
    length_bp: int
    first: int
    last: int


def merge_regions(regions: Regions, segment_bp: int) -> list[Segment]:
    """Merge consecutive regions of one record and one split into segments of at most `segment_bp`.

    The table is sorted by record and start; a region longer than `segment_bp` is refused by the configuration.
    """
    segments: list[Segment] = []
    for row in range(regions.offset.size):
        record, split, length = int(regions.record[row]), int(regions.split[row]), int(regions.length_bp[row])
        last = segments[-1] if segments else None
        if last and (last.record, last.split) == (record, split) and last.length_bp + length <= segment_bp:
            segments[-1] = Segment(record, split, last.start, last.length_bp + length, last.first, row + 1)
        else:
            segments.append(Segment(record, split, int(regions.start[row]), length, row, row + 1))
    return segments


def pack(codes: UInt8[np.ndarray, "P"]) -> bytes:
    """Two bits a base, the first base in the low bits, unknown bases as A; padded to whole bytes with A."""
    two_bit = np.zeros(-(-codes.size // 4) * 4, dtype=np.uint8)
    two_bit[: codes.size] = np.where(codes == UNKNOWN, 0, codes)
    quads = two_bit.reshape(-1, 4)
    return (quads[:, 0] | quads[:, 1] << 2 | quads[:, 2] << 4 | quads[:, 3] << 6).tobytes()


def unpack(packed: bytes, length_bp: int) -> UInt8[np.ndarray, "P"]:
    """Base codes 0 to 3 of packed bases.

    Raises:
        ValueError: when there are fewer bytes than the length needs.
    """
    if len(packed) != -(-length_bp // 4):
        raise ValueError(f"{len(packed)} packed bytes can't be {length_bp} bp: the dataset is damaged, write it again")
    raw = np.frombuffer(packed, dtype=np.uint8)
    return np.stack([(raw >> shift) & 3 for shift in (0, 2, 4, 6)], axis=1).reshape(-1)[:length_bp]


def bases_to_fields(bases: UInt8[np.ndarray, "P"]) -> dict[str, bytes | np.ndarray]:
    """Packed bases, and runs of unknown bases and of repeats as int32 rows (start, end)."""
    codes = bases & BASE_MASK
    return {
        "packed": pack(codes),
        "unknown_runs": runs_of(codes == UNKNOWN).astype(np.int32),
        "repeat_runs": runs_of((bases & REPEAT_BIT) > 0).astype(np.int32),
    }


def fields_to_bases(fields: dict, length_bp: int) -> UInt8[np.ndarray, "P"]:
    """Bases with their repeat bit: the inverse of `bases_to_fields`."""
    bases = unpack(fields["packed"], length_bp)
    for start, end in fields["unknown_runs"]:
        bases[start:end] = UNKNOWN
    bases[mask_of(fields["repeat_runs"], length_bp)] |= REPEAT_BIT
    return bases


def cluster_slice(record: CorpusRecord, start: int, end: int) -> slice:
    """Rows of the corpus' cluster arrays whose windows overlap start to end of a record."""
    width = record.cluster_window_bp
    return slice(record.cluster_offset + start // width, record.cluster_offset + -(-end // width))


def fit_clusters(values: np.ndarray, windows: int, *, owner: str) -> Int32[np.ndarray, "windows"] | np.ndarray:
    """Values of the cluster windows of a record, one for each of `windows`.

    Windows that only count full widths leave a tail: it belongs to the last window's cluster. No values at all means
    that nothing is duplicated, which the caller states as such.

    Raises:
        ValueError: when there are more values than windows, or less than all full windows.
    """
    if not windows - 1 <= values.size <= windows:
        raise ValueError(f"{owner} has {values.size} cluster windows where its length makes {windows}: curate it again")
    return values if values.size == windows else np.append(values, values[-1:])

"""Tables of a corpus: records, regions and duplicate clusters, from accepted records or from stored segments."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, Int64, UInt8

from plantgfm import identity
from plantgfm.corpus.config import CorpusConfig
from plantgfm.corpus.segments import CorpusRecord, cluster_slice, fit_clusters
from plantgfm.corpus.splits import region_hash, split_regions, tile_record
from plantgfm.schema import AcceptedRecord, Regions
from plantgfm.sequence import BASE_MASK, UNKNOWN

FORMAT_VERSION = 1
MAX_HELD_OUT_UNKNOWN_FRACTION = 0.5

BasesOf = Callable[[int], UInt8[np.ndarray, "P"]]


@dataclass(frozen=True)
class Tables:
    """Everything of a corpus but its bases."""

    species: tuple[str, ...]  # sorted
    records: tuple[CorpusRecord, ...]  # sorted by species, assembly, name, start
    regions: Regions  # sorted by record and start
    cluster_id: Int64[np.ndarray, "windows"]  # of all records, one after the other; -1 alone
    cluster_size: Int32[np.ndarray, "windows"]  # 1 alone


def sort_records(records: Iterable[AcceptedRecord]) -> list[AcceptedRecord]:
    """Records by species, assembly, name (then cultivar, file, start), so that the order of input does not matter."""

    def key(record: AcceptedRecord) -> tuple[str | int, ...]:
        origin = record.assembly
        return origin.species, origin.assembly, record.name, origin.cultivar, origin.fasta.name, record.start

    return sorted(records, key=key)


def tables_of_records(accepted: list[AcceptedRecord], config: CorpusConfig) -> Tables:
    """Tables of sorted accepted records, with the splits of their regions drawn."""
    records = _lay_out(accepted)
    species = tuple(sorted({record.species for record in records}))
    clusters = [_clusters(source, record) for source, record in zip(accepted, records)]
    pieces = [tile_record(record.length_bp, config.region_bp) for record in records]
    columns = _region_columns(records, species, pieces)
    unknown = np.concatenate([_unknown_bp(source, lengths) for source, lengths in zip(accepted, pieces)])
    eligible = columns["length_bp"] >= config.min_region_bp
    eligible &= unknown <= MAX_HELD_OUT_UNKNOWN_FRACTION * columns["length_bp"]
    hashes = [
        region_hash(config.seed, owner.species, owner.cultivar, owner.assembly, owner.name, owner.start + int(start))
        for row, start in zip(columns["record"], columns["start"])
        for owner in (records[row],)
    ]
    split = split_regions(columns["species"], hashes, eligible, config)
    return Tables(
        species=species,
        records=tuple(records),
        regions=Regions(**columns, split=split),
        cluster_id=np.concatenate([ids for ids, _ in clusters]),
        cluster_size=np.concatenate([sizes for _, sizes in clusters]),
    )


def tables_of_examples(examples: Iterable[dict]) -> Tables:
    """Tables of stored segments, which may come in any order; the bases of the examples are not needed.

    Raises:
        ValueError: when segments are missing or overlap.
    """
    ordered = sorted(examples, key=lambda example: (int(example["record_index"]), int(example["start"])))
    firsts = [example for example in ordered if int(example["start"]) == 0]
    if not firsts or [int(example["record_index"]) for example in firsts] != list(range(len(firsts))):
        raise ValueError("the dataset lacks records: it is damaged, write the corpus again")
    records = _lay_out_examples(firsts)
    species = tuple(sorted({record.species for record in records}))
    pieces = [np.zeros(0, dtype=np.int64) for _ in records]
    splits = []
    total = records[-1].cluster_offset + records[-1].cluster_windows
    ids, sizes = np.full(total, -1, dtype=np.int64), np.ones(total, dtype=np.int32)
    for example in ordered:
        index, start, lengths = int(example["record_index"]), int(example["start"]), example["region_bp"]
        if start != pieces[index].sum() or lengths.sum() != example["length_bp"]:
            raise ValueError(f"record {records[index].name} lacks segments before {start}: write the corpus again")
        pieces[index] = np.concatenate((pieces[index], lengths.astype(np.int64)))
        splits.append(np.full(lengths.size, int(example["split"]), dtype=np.int8))
        rows = cluster_slice(records[index], start, start + int(example["length_bp"]))
        ids[rows], sizes[rows] = example["cluster_id"], example["cluster_size"]
    if any(lengths.sum() != record.length_bp for lengths, record in zip(pieces, records)):
        raise ValueError("the dataset lacks the last segments of a record: write the corpus again")
    columns = _region_columns(records, species, pieces)
    return Tables(species, tuple(records), Regions(**columns, split=np.concatenate(splits)), ids, sizes)


def content_fingerprint(tables: Tables, bases_of: BasesOf, config: CorpusConfig) -> str:
    """Fingerprint of what a corpus says: bases, masks, clusters, names, splits and settings; no paths.

    Args:
        tables: the tables.
        bases_of: gives the bases (with their repeat bit) of the record of an index.
        config: the settings.
    """
    arrays = [getattr(tables.regions, field.name) for field in dataclasses.fields(Regions)]
    digests = [_sha256(array) for array in (*arrays, tables.cluster_id, tables.cluster_size)]
    bases = [_sha256(bases_of(index)) for index in range(len(tables.records))]
    records = [_claim(record) for record in tables.records]
    return identity.fingerprint(
        {"version": FORMAT_VERSION, "config": config, "records": records, "tables": digests, "bases": bases}
    )


def _claim(record: CorpusRecord) -> dict:
    """What a record says of itself; a start of 0 goes without saying, as in corpora from before pieces were known."""
    said = identity.plain(record)
    return said if record.start else {name: value for name, value in said.items() if name != "start"}


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def _lay_out(accepted: list[AcceptedRecord]) -> list[CorpusRecord]:
    records, offset, cluster_offset = [], 0, 0
    for source in accepted:
        origin = source.assembly
        record = CorpusRecord(
            species=origin.species,
            cultivar=origin.cultivar,
            assembly=origin.assembly,
            name=source.name,
            compartment=origin.compartment.value,
            length_bp=source.length_bp,
            offset=offset,
            repeat_source=source.repeat_source,
            cluster_window_bp=source.cluster_window_bp,
            cluster_offset=cluster_offset,
            start=source.start,
        )
        records.append(record)
        offset, cluster_offset = offset + record.length_bp, cluster_offset + record.cluster_windows
    return records


def _lay_out_examples(firsts: list[dict]) -> list[CorpusRecord]:
    records, offset, cluster_offset = [], 0, 0
    text = ("species", "cultivar", "assembly", "compartment", "repeat_source")
    for example in firsts:
        record = CorpusRecord(
            **{name: example[name] for name in text},
            name=example["record"],
            length_bp=int(example["record_length_bp"]),
            cluster_window_bp=int(example["cluster_window_bp"]),
            offset=offset,
            cluster_offset=cluster_offset,
            start=int(example["record_start"]) if "record_start" in example else 0,  # older datasets have no pieces
        )
        records.append(record)
        offset, cluster_offset = offset + record.length_bp, cluster_offset + record.cluster_windows
    return records


def _region_columns(records: list[CorpusRecord], species: tuple[str, ...], pieces: list[np.ndarray]) -> dict:
    """Columns of the region table but the split."""
    counts = [lengths.size for lengths in pieces]
    record = np.repeat(np.arange(len(records), dtype=np.int32), counts)
    start = np.concatenate([np.cumsum(lengths) - lengths for lengths in pieces])
    place = {name: index for index, name in enumerate(species)}
    return {
        "offset": start + np.array([owner.offset for owner in records], dtype=np.int64)[record],
        "length_bp": np.concatenate(pieces).astype(np.int32),
        "species": np.array([place[owner.species] for owner in records], dtype=np.int32)[record],
        "record": record,
        "start": start,
    }


def _clusters(source: AcceptedRecord, record: CorpusRecord) -> tuple[np.ndarray, np.ndarray]:
    windows, owner = record.cluster_windows, f"{record.species} {record.name}"
    if source.cluster_id.size == 0:
        return np.full(windows, -1, dtype=np.int64), np.ones(windows, dtype=np.int32)
    ids = fit_clusters(source.cluster_id, windows, owner=owner)
    sizes = fit_clusters(source.cluster_size, windows, owner=owner)
    return ids.astype(np.int64), sizes.astype(np.int32)


def _unknown_bp(source: AcceptedRecord, lengths: np.ndarray) -> np.ndarray:
    bases, ends = source.load(), np.cumsum(lengths)
    return np.array([_count_unknown(bases[end - n : end]) for n, end in zip(lengths, ends)], dtype=np.int64)


def _count_unknown(bases: np.ndarray) -> int:
    return int(np.count_nonzero((bases & BASE_MASK) == UNKNOWN))

"""Write a corpus: accepted records in, a folder with a dataset, its cache and its identity out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from plantgfm.corpus import cache
from plantgfm.corpus.config import CorpusConfig
from plantgfm.corpus.read import IDENTITY_FILE, KIND, Corpus, CorpusVersionError, open_corpus, read_identity
from plantgfm.corpus.segments import Segment, bases_to_fields, cluster_slice, merge_regions
from plantgfm.corpus.tables import FORMAT_VERSION, Tables, content_fingerprint, sort_records, tables_of_records
from plantgfm.identity import canonical_json
from plantgfm.schema import AcceptedRecord, Split

Progress = Callable[[str, int, int], None]


def write_corpus(
    records: list[AcceptedRecord],
    config: CorpusConfig,
    *,
    out: str | Path,
    lineage: dict,
    progress: Progress | None = None,
) -> Corpus:
    """Write records as a corpus and open it; the order of the records does not matter.

    A corpus of the same content that is already there is kept, only its lineage is renewed; another corpus is replaced
    in one move. Nothing half-written stays when an error stops the writing.

    Args:
        records: what curation kept.
        config: the settings.
        out: the folder to write.
        lineage: what the records were made from, as JSON.
        progress: told ("corpus", segments done, segments in all).

    Raises:
        ValueError: when there are no records, or `out` holds something that is no corpus.
    """
    out = Path(out)
    if not records:
        raise ValueError("no records to write a corpus of: curation kept none, read its ledger for the reasons")
    _check_place(out)
    accepted = sort_records(records)
    tables = tables_of_records(accepted, config)
    fingerprint = content_fingerprint(tables, lambda index: accepted[index].load(), config)
    stated = {
        "kind": KIND,
        "version": FORMAT_VERSION,
        "fingerprint": fingerprint,
        "config": config,
        "lineage": lineage,
    }
    kept = _reopen(out, stated)
    if kept:
        return kept
    draft = out.with_name(f".{out.name}.partial-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        _write_segments(draft, accepted, tables, config=config, progress=progress)
        cache.build(draft, config, fingerprint=fingerprint)
        _write_identity(draft, stated)
        _move_into_place(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return open_corpus(out)


def _check_place(out: Path) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        read_identity(out)
    except CorpusVersionError:
        return
    except ValueError as error:
        raise ValueError(f"{error}; nothing was overwritten, name a new or empty folder") from None


def _reopen(out: Path, stated: dict) -> Corpus | None:
    """The corpus that is already there, its lineage renewed; None where there is none of this content, whole."""
    try:
        if read_identity(out)["fingerprint"] != stated["fingerprint"]:
            return None
        open_corpus(out)
    except ValueError:
        return None
    _write_identity(out, stated)
    return open_corpus(out)


def _write_identity(folder: Path, stated: dict) -> None:
    draft = folder / f".{IDENTITY_FILE}.partial-{os.getpid()}"
    draft.write_text(canonical_json(stated))
    draft.replace(folder / IDENTITY_FILE)


def _write_segments(
    folder: Path, accepted: list[AcceptedRecord], tables: Tables, *, config: CorpusConfig, progress: Progress | None
) -> None:
    from plantgfm.corpus import dataset  # TFDS is needed only here

    segments = merge_regions(tables.regions, config.segment_bp)
    done = 0

    def examples(split: Split) -> Iterator[dict]:
        nonlocal done
        for segment in segments:
            if segment.split == int(split):
                yield _example(segment, accepted, tables)
                done += 1
                if progress:
                    progress("corpus", done, len(segments))

    present = [split for split in Split if any(segment.split == int(split) for segment in segments)]
    dataset.write_dataset(folder, {split: partial(examples, split) for split in present})


def _example(segment: Segment, accepted: list[AcceptedRecord], tables: Tables) -> dict:
    record, end = tables.records[segment.record], segment.start + segment.length_bp
    rows = cluster_slice(record, segment.start, end)
    return {
        "species": record.species,
        "cultivar": record.cultivar,
        "assembly": record.assembly,
        "record": record.name,
        "compartment": record.compartment,
        "record_index": segment.record,
        "record_length_bp": record.length_bp,
        "record_start": record.start,
        "start": segment.start,
        "length_bp": segment.length_bp,
        "split": segment.split,
        "region_bp": tables.regions.length_bp[segment.first : segment.last],
        **bases_to_fields(accepted[segment.record].load()[segment.start : end]),
        "repeat_source": record.repeat_source,
        "cluster_window_bp": record.cluster_window_bp,
        "cluster_id": tables.cluster_id[rows],
        "cluster_size": tables.cluster_size[rows],
    }


def _move_into_place(draft: Path, out: Path) -> None:
    old = out.with_name(f".{out.name}.old-{os.getpid()}")
    if out.exists():
        out.rename(old)
    draft.rename(out)
    shutil.rmtree(old, ignore_errors=True)

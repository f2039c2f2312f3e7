"""The fine scan: narrow windows inside the hits, and where in them the best score stands. It sees no label."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from plantgfm.embedding.embed import Embedder
from plantgfm.embedding.store import VectorTable
from plantgfm.formats.gff3 import write_gff3
from plantgfm.formats.streams import atomic_binary
from plantgfm.formats.tables import write_tsv
from plantgfm.retrieval.aligned import Confirmed, merged
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.late import embedding_source
from plantgfm.retrieval.queries import rewindowed
from plantgfm.retrieval.retrieve import ALIGNED_COLUMNS, Retrieval, aligned_cells
from plantgfm.retrieval.search import backgrounds_of, fused_z
from plantgfm.retrieval.sources import ALIGNMENT, EMBEDDING, FirstQueries, QueryVectors, Source, embed_queries
from plantgfm.retrieval.targets import Targets
from plantgfm.schema import Feature, Record
from plantgfm.sequence import Interval

SPAN_FILES = ("spans.tsv", "spans.parquet", "spans.gff3", "scan.tsv")
SCAN_COLUMNS = ("query_id", "target_id", "middle", "score")
SPAN_COLUMNS = {
    "query_id": pa.string(),
    "rank": pa.int64(),
    "target_id": pa.string(),
    "span_start": pa.int64(),
    "span_end": pa.int64(),
    "peak_start": pa.int64(),
    "peak_end": pa.int64(),
    "candidate_start": pa.int64(),
    "candidate_end": pa.int64(),
    "strand": pa.string(),
    "score": pa.float64(),
    "z": pa.float64(),
    "cosine": pa.float64(),
    **ALIGNED_COLUMNS,
}


@dataclass(frozen=True)
class Span:
    """Where a query is said to lie: one a candidate, that is, a stretch of hits of the query that touch."""

    query: str
    rank: int  # from 1, by the score of the peak
    where: Interval  # the windows around the peak that reach half its height, each by its middle; strand of the query
    peak: Interval  # the window that scored best
    candidate: Interval
    score: float  # fused, of the peak, against all windows scanned for any query
    z: float  # of that score, against all windows scanned for this query
    cosine: float  # of the peak
    profile: tuple[tuple[int, float], ...] = ()  # middle and score of every window of the candidate
    confirmed: Confirmed | None = None  # None: no aligner was asked, or none found it here


@dataclass(frozen=True)
class Scan:
    """The narrow windows of all candidates of all queries, each embedded once."""

    windows: list[Interval]  # as they lie on the target
    vectors: Float32[np.ndarray, "N D"]


def scan_widths(config: RetrievalConfig, *, target_window_bp: int) -> tuple[int, int]:
    """Width and stride of the fine scan in bp, with the defaults filled.

    Raises:
        ValueError: when its windows are wider than the target's, or leave gaps.
    """
    window_bp = config.scan_window_bp or max(target_window_bp // 3, 1)
    stride_bp = config.scan_stride_bp or max(window_bp // 8, 1)
    if window_bp > target_window_bp:
        raise ValueError(
            f"retrieval.scan_window_bp={window_bp} is wider than the target's windows, {target_window_bp} bp: lower it"
        )
    if stride_bp > window_bp:
        raise ValueError(
            f"retrieval.scan_stride_bp={stride_bp} leaves gaps between windows of {window_bp} bp: lower it"
        )
    return window_bp, stride_bp


def scan_grid(region: Interval, *, window_bp: int, stride_bp: int) -> list[Interval]:
    """Windows over a region; the last one ends with it, and one covers a region that is shorter than a window."""
    last = max(region.length_bp - window_bp, 0)
    starts = [*range(0, last, stride_bp), last]
    return [
        Interval(region.sequence, region.start + start, min(region.start + start + window_bp, region.end))
        for start in starts
    ]


def scan_regions(
    records: Iterable[Record],
    regions: list[Interval],
    embed: Callable[[list[UInt8[np.ndarray, "_"]]], Float32[np.ndarray, "N D"]],
    *,
    window_bp: int,
    stride_bp: int,
) -> Scan:
    """Embed the narrow windows of merged regions, record by record."""
    windows: list[Interval] = []
    vectors: list[np.ndarray] = []
    for record in records:
        here = [
            window
            for region in regions
            if region.sequence == record.name
            for window in scan_grid(region, window_bp=window_bp, stride_bp=stride_bp)
        ]
        if here:
            windows += here
            vectors.append(embed([record.codes[window.start : window.end] for window in here]))
    return Scan(windows, np.concatenate(vectors))


class ScanIndex:
    """Which scanned windows lie in a candidate; windows stand together by sequence, and ascend in it."""

    def __init__(self, windows: list[Interval]):
        self._of: dict[str, tuple[int, np.ndarray, np.ndarray]] = {}
        for name, group in groupby(enumerate(windows), key=lambda pair: pair[1].sequence):
            rows = list(group)
            starts, ends = ([getattr(window, side) for _, window in rows] for side in ("start", "end"))
            self._of[name] = rows[0][0], np.array(starts), np.array(ends)

    def rows(self, candidate: Interval) -> Int64[np.ndarray, "M"]:
        """Windows inside the candidate; where none fits, the one whose middle is nearest to its own."""
        offset, starts, ends = self._of[candidate.sequence]
        first, last = np.searchsorted(starts, candidate.start), np.searchsorted(ends, candidate.end, side="right")
        if first >= last:
            first = int(np.abs(starts + ends - candidate.start - candidate.end).argmin())
            last = first + 1
        return np.arange(offset + first, offset + last)


def spans_of(
    query: str,
    candidates: list[tuple[Interval, list[Interval]]],
    values: Float64[np.ndarray, "N"],
    cosines: Float64[np.ndarray, "N"],
    reverse: Bool[np.ndarray, "N"],
    *,
    stride_bp: int,
) -> list[Span]:
    """The peak of every candidate of one query, best first; equal ones as they lie on the target.

    Half height lies midway between the peak and the median of all windows scanned for this query.

    Args:
        query: its name.
        candidates: merged hits of the query, each with its windows as they lie on the target.
        values: score of each window, candidate by candidate.
        cosines: likewise.
        reverse: the reverse strand of the query scored best there.
        stride_bp: from window to window.
    """
    base, mean, spread = float(np.median(values)), float(values.mean()), float(values.std()) or 1.0
    spans, offset = [], 0
    for candidate, windows in candidates:
        part = slice(offset, offset + len(windows))
        here, strands, offset = values[part], reverse[part], part.stop
        first = last = peak = int(here.argmax())
        half = (here[peak] + base) / 2
        while first > 0 and here[first - 1] >= half:
            first -= 1
        while last + 1 < len(windows) and here[last + 1] >= half:
            last += 1
        middles = [(windows[i].start + windows[i].end) // 2 for i in (first, last)]
        start, end = max(middles[0] - stride_bp // 2, candidate.start), middles[1] + max(stride_bp // 2, 1)
        where = Interval(candidate.sequence, start, min(end, candidate.end), "-" if strands[peak] else "+")
        value = float(here[peak])
        z, cosine = (value - mean) / spread, float(cosines[part][peak])
        profile = tuple(((w.start + w.end) // 2, float(score)) for w, score in zip(windows, here))
        spans.append(Span(query, 0, where, windows[peak], candidate, value, z, cosine, profile))
    ordered = sorted(spans, key=lambda span: (-span.score, span.candidate))
    return [replace(span, rank=rank) for rank, span in enumerate(ordered, start=1)]


def localize(found: Retrieval, embedder: Embedder, records: Iterable[Record]) -> list[Span]:
    """Scan the first `localize_hits` hits of every query with narrow windows, on both strands of the query.

    Every window is embedded once, whichever queries share it; the correction and the sources of evidence are those of
    the search, their mean and spread are taken over all windows that were scanned.

    Args:
        found: the search.
        embedder: of its model.
        records: of the target; all that hold a hit.

    Raises:
        ValueError: for widths that do not fit the target's windows.
    """
    config = found.config
    window_bp, stride_bp = scan_widths(config, target_window_bp=embedder.config.window_bp)
    targets: dict[str, list[Interval]] = defaultdict(list)
    for hit in found.hits:
        if hit.rank <= config.localize_hits:
            targets[hit.query].append(hit.target)
    narrow = Embedder(embedder.encoder, replace(embedder.config, window_bp=window_bp, stride_bp=stride_bp))
    regions = merged(target for hits in targets.values() for target in hits)
    scan = scan_regions(records, regions, narrow.embed, window_bp=window_bp, stride_bp=stride_bp)
    index = ScanIndex(scan.windows)
    candidates = [merged(targets[query.name]) for query in found.queries]
    rows = [[index.rows(candidate) for candidate in own] for own in candidates]
    queries = embed_queries(narrow, [rewindowed(query, window_bp=window_bp) for query in found.queries], config)
    scored = _scored(found, scan, queries, [np.concatenate(own) for own in rows])
    spans: list[Span] = []
    for query, own, inside, scores in zip(found.queries, candidates, rows, scored):
        places = [(one, [scan.windows[i] for i in windows]) for one, windows in zip(own, inside)]
        spans += spans_of(query.name, places, *scores, stride_bp=stride_bp)
    return spans


def _scored(
    found: Retrieval, scan: Scan, queries: QueryVectors, rows: list[Int64[np.ndarray, "_"]]
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Fused score, cosine, and whether the reverse strand fits better, of every query at its own windows."""
    n, weights = len(found.queries), found.search.weights
    table = VectorTable(scan.windows, scan.vectors, np.zeros(0), np.zeros(len(scan.windows)), found.targets.origin)
    windows = Targets.of(table, fasta=found.targets.fasta)
    sources = {name: FirstQueries(source, n) for name, source in found.sources.items() if name in weights}
    sources[EMBEDDING] = embedding = embedding_source(queries, found.config, debias=found.embedding.debias)
    with tempfile.TemporaryFile() as file, embedding.keeping(file):
        return _scored_at(found, windows, sources, queries, rows)


def _scored_at(
    found: Retrieval,
    windows: Targets,
    sources: Mapping[str, Source],
    queries: QueryVectors,
    rows: list[Int64[np.ndarray, "_"]],
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    n, weights, embedding = len(found.queries), found.search.weights, sources[EMBEDDING]
    bases = any(source.needs_bases for source in sources.values())
    embedding.settle(windows.blocks())
    backgrounds = backgrounds_of(windows.blocks(bases=bases), sources, n_queries=n)
    out = [(np.empty(own.size), np.empty(own.size), np.empty(own.size, bool)) for own in rows]
    for block in windows.blocks(bases=bases):
        fused = fused_z({name: sources[name].scores(block) for name in weights}, backgrounds, weights)
        strands = np.stack([np.maximum.reduceat(side, queries.starts, axis=0) for side in embedding.cosines(block)])
        reverse = strands[1] > strands[0]
        if ALIGNMENT in sources:
            forward, backward = found.sources[ALIGNMENT].by_strand(block)[:, :n]
            reverse = np.where(forward == backward, reverse, backward > forward)
        for query, own in enumerate(rows):
            here = np.flatnonzero((own >= block.rows[0]) & (own <= block.rows[-1]))
            columns = own[here] - block.rows[0]
            for values, scores in zip(out[query], (fused, strands.max(axis=0), reverse)):
                values[here] = scores[query, columns]
    return out


def write_spans(out: Path, spans: list[Span]) -> None:
    """Write spans.tsv, spans.parquet, spans.gff3 and scan.tsv into a folder, each whole or not at all.

    `scan.tsv` holds the scores along the candidate of each query's first span.
    """
    rows = []
    for span in spans:
        where, peak, candidate = span.where, span.peak, span.candidate
        places = (where.start, where.end, peak.start, peak.end, candidate.start, candidate.end)
        values = (span.query, span.rank, where.sequence, *places, where.strand)
        scores = round(span.score, 4), round(span.z, 4), round(span.cosine, 6)
        rows.append(dict(zip(SPAN_COLUMNS, (*values, *scores))) | aligned_cells(span.confirmed))
    write_tsv(out / "spans.tsv", rows, columns=tuple(SPAN_COLUMNS))
    with atomic_binary(out / "spans.parquet") as stream:
        pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(list(SPAN_COLUMNS.items()))), stream)
    profiles = (
        dict(zip(SCAN_COLUMNS, (span.query, span.where.sequence, middle, round(score, 4))))
        for span in spans
        if span.rank == 1
        for middle, score in span.profile
    )
    write_tsv(out / "scan.tsv", profiles, columns=SCAN_COLUMNS)
    ordered = sorted(spans, key=lambda span: (span.where, span.query))
    write_gff3(out / "spans.gff3", [_feature(span) for span in ordered])


def _feature(span: Span) -> Feature:
    names = {"ID": (f"{span.query}:{span.rank}",), "Name": (span.query,), "rank": (str(span.rank),)}
    names["z"], names["peak"] = (f"{span.z:.4f}",), (f"{span.peak.start + 1}-{span.peak.end}",)
    return Feature(span.where, "match", "plantgfm", round(span.score, 4), None, names)

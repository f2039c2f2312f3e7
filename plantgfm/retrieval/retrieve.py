"""The retrieval stream: queries and target vectors in, ranked hits out. It sees no label."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float64

from plantgfm.embedding.config import StrandUse
from plantgfm.embedding.embed import Embedder
from plantgfm.embedding.encoders import Encoder
from plantgfm.embedding.store import VectorTable
from plantgfm.formats.bed import write_bed, write_bedgraph
from plantgfm.formats.gff3 import write_gff3
from plantgfm.formats.streams import atomic_binary, atomic_text
from plantgfm.formats.tables import write_tsv
from plantgfm.identity import plain
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.null import benjamini_hochberg, best_z, empirical_p, shuffled_queries
from plantgfm.retrieval.queries import Query
from plantgfm.retrieval.search import Hit, QueryVectors, Scores, embed_queries, hits_of, score_queries
from plantgfm.retrieval.tracks import bed_rows, best_z_track, gff3_rows

HIT_COLUMNS = (
    "query_id",
    "query_span",
    "query_length_bp",
    "target_id",
    "target_span",
    "target_start",
    "target_end",
    "strand",
    "rank",
    "cosine",
    "z",
    "p",
    "q",
)
_TEXT, _NUMBER = ("query_id", "query_span", "target_id", "target_span", "strand"), ("cosine", "z", "p", "q")
_SCHEMA = pa.schema(
    [(c, pa.string() if c in _TEXT else pa.float64() if c in _NUMBER else pa.int64()) for c in HIT_COLUMNS]
)


@dataclass(frozen=True)
class Retrieval:
    """Hits of every query, and the score matrix that evaluation may want."""

    hits: list[Hit]
    scores: Scores
    queries: list[Query]
    query_vectors: QueryVectors
    targets: VectorTable
    config: RetrievalConfig
    bundle: str  # fingerprint
    without: list[str] = field(default_factory=list)  # genes that have no such part, and so are no query

    def notes(self) -> list[str]:
        """What a reader of the hits has to know of the queries, a line each."""
        said = []
        if self.without:
            said.append(f"{len(self.without)} genes have no CDS and were left out, {self.without[0]} first")
        trimmed = [query for query in self.queries if query.trimmed_bp]
        if trimmed:
            one = trimmed[0]
            said.append(
                f"{len(trimmed)} queries were trimmed at their end to retrieval.max_query_tokens, {one.name} first "
                f"({one.length_bp - one.trimmed_bp:,} of {one.length_bp:,} bp kept)"
            )
        return said

    def rows(self) -> list[dict[str, object]]:
        """The hits as table rows; coordinates are 0-based and half-open."""
        lengths = {query.name: query.length_bp for query in self.queries}
        values = (
            (
                hit.query,
                "{}-{}".format(*hit.query_span),
                lengths[hit.query],
                hit.target.sequence,
                f"{hit.target.start}-{hit.target.end}",
                hit.target.start,
                hit.target.end,
                hit.strand,
                hit.rank,
                round(hit.cosine, 6),
                round(hit.z, 4),
                None if hit.p is None else round(hit.p, 6),
                None if hit.q is None else round(hit.q, 6),
            )
            for hit in self.hits
        )
        return [dict(zip(HIT_COLUMNS, row)) for row in values]

    def manifest(self) -> dict[str, object]:
        """What made the hits: model, target, settings, and what was left out."""
        return {
            "bundle": self.bundle,
            "target": self.targets.origin,
            "settings": plain(self.config),
            "queries": [query.name for query in self.queries],
            "trimmed_bp": {query.name: query.trimmed_bp for query in self.queries if query.trimmed_bp},
            "genes_without_cds": self.without,
        }

    def write(self, out: Path) -> None:
        """Write the hits into a folder as tables and tracks, and what made them; each file whole or not at all."""
        out.mkdir(parents=True, exist_ok=True)
        rows = self.rows()
        write_tsv(out / "hits.tsv", rows, columns=HIT_COLUMNS)
        with atomic_binary(out / "hits.parquet") as stream:
            pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), stream)
        write_bed(out / "hits.bed", bed_rows(self.hits))
        write_gff3(out / "hits.gff3", gff3_rows(self.hits))
        write_bedgraph(out / "best_z.bedgraph", best_z_track(self.scores.best, self.targets.intervals))
        with atomic_text(out / "retrieval.json") as stream:
            stream.write(json.dumps(self.manifest(), indent=2, sort_keys=True) + "\n")


def check_origin(targets: VectorTable, encoder: Encoder) -> None:
    """Refuse target vectors that another model made, or that are not of the forward strand.

    Raises:
        ValueError: naming both fingerprints, or the strand.
    """
    made_by, here = targets.origin.get("bundle"), encoder.fingerprint
    if made_by != here:
        raise ValueError(
            f"the target vectors were made by bundle {made_by}, this is bundle {here}: embed the target again"
        )
    strand = targets.origin["settings"]["strand"]
    if strand != StrandUse.FORWARD.value:
        raise ValueError(
            f"the target vectors have strand={strand!r}: embed the target with --strand forward, both strands of a "
            "query are searched"
        )


def _check_settings(targets: VectorTable, embedder: Embedder) -> None:
    settings = targets.origin["settings"]
    for name, value in (("pooling", embedder.config.pooling.value), ("layer", embedder.config.layer)):
        if settings.get(name) != value:
            raise ValueError(
                f"the target vectors have {name}={settings.get(name)!r}, the queries {value!r}: make them equal"
            )


def _check_lengths(queries: list[Query], targets: VectorTable) -> None:
    ends: dict[str, int] = {}
    for tile in targets.intervals:
        ends[tile.sequence] = max(ends.get(tile.sequence, 0), tile.end)
    target_bp = sum(ends.values())
    longest = max(queries, key=lambda query: query.length_bp)
    if longest.length_bp > target_bp:
        raise ValueError(
            f"query {longest.name} has {longest.length_bp:,} bp, the target {target_bp:,}: query and target may have "
            "changed places"
        )


def retrieve(
    embedder: Embedder,
    queries: list[Query],
    targets: VectorTable,
    *,
    config: RetrievalConfig,
    progress: Callable[[str, int, int], None] | None = None,
) -> Retrieval:
    """Rank target windows for every query by debiased cosine.

    Args:
        embedder: compiled bundle; the targets must come from the same one.
        queries: what to look for.
        targets: vectors of the target windows.
        config: how many hits, and what is done against bias.
        progress: called with (label, done, total).

    Raises:
        ValueError: when targets and model do not belong together, or there is nothing to search.
    """
    if not queries:
        raise ValueError("there is no query: give a FASTA file with at least one record, or gene ids")
    check_origin(targets, embedder.encoder)
    _check_settings(targets, embedder)
    _check_lengths(queries, targets)
    vectors = embed_queries(embedder, queries)
    scores = score_queries(vectors, targets.vectors, config)
    hits: list[Hit] = []
    for row in range(len(queries)):
        hits += hits_of(
            queries,
            vectors,
            targets.vectors,
            scores=scores,
            intervals=targets.intervals,
            row=row,
            top_k=config.top_k,
        )
        if progress is not None:
            progress("search", row + 1, len(queries))
    if config.null_queries:
        shuffled = embed_queries(embedder, shuffled_queries(queries, count=config.null_queries, seed=config.seed))
        null = score_queries(shuffled, targets.vectors, config, debias=scores.debias)
        hits = with_significance(hits, best_z(null.best))
    return Retrieval(hits, scores, queries, vectors, targets, config, embedder.encoder.fingerprint)


def with_significance(hits: list[Hit], null: Float64[np.ndarray, "M"]) -> list[Hit]:
    """Hits with p, against the best z of shuffled queries, and q, over the queries at the same rank.

    The null is one for all queries, as z is in standard deviations of each query's own scores. Lower ranks are compared
    with best hits too, and so err on the safe side.
    """
    rated = [replace(hit, p=empirical_p(hit.z, null)) for hit in hits]
    for rank in {hit.rank for hit in hits}:
        at = [index for index, hit in enumerate(rated) if hit.rank == rank]
        for index, q in zip(at, benjamini_hochberg(rated[index].p for index in at)):
            rated[index] = replace(rated[index], q=float(q))
    return rated

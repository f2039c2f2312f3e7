"""The retrieval stream: queries and target windows in, ranked hits out. It sees no label."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float64, Int64

from plantgfm.embedding.embed import Embedder
from plantgfm.embedding.store import VectorTable
from plantgfm.formats.bed import write_bed, write_bedgraph
from plantgfm.formats.bigwig import write_bigwig
from plantgfm.formats.gff3 import write_gff3
from plantgfm.formats.meme import Motif
from plantgfm.formats.streams import atomic_binary, atomic_text
from plantgfm.formats.tables import write_tsv
from plantgfm.identity import fingerprint, plain
from plantgfm.retrieval.aligned import Confirmed
from plantgfm.retrieval.approximate import asks_for_index, search_by_embedding
from plantgfm.retrieval.checks import check_origin, check_search, check_settings
from plantgfm.retrieval.config import FitOn, QueryPart, RankBy, RetrievalConfig
from plantgfm.retrieval.debias import no_debias
from plantgfm.retrieval.hits import Hit, hits_of
from plantgfm.retrieval.late import embedding_source
from plantgfm.retrieval.motifs import MOTIFS, MotifSource, motifs_of
from plantgfm.retrieval.null import benjamini_hochberg, empirical_p, shuffled_queries
from plantgfm.retrieval.projection import Projection
from plantgfm.retrieval.queries import Query
from plantgfm.retrieval.reranker import Reranker, features_of
from plantgfm.retrieval.search import FUSED, Search, search
from plantgfm.retrieval.sources import (
    ALIGNMENT,
    COMPOSITION,
    CONTAINMENT,
    EMBEDDING,
    AlignmentSource,
    CompositionSource,
    ContainmentSource,
    EmbeddingSource,
    Source,
    Weighing,
    cosine_histogram,
    embed_queries,
)
from plantgfm.retrieval.targets import Targets
from plantgfm.retrieval.tracks import bed_rows, best_z_track, gff3_rows, hit_track

ALIGNED_COLUMNS = {
    "aligned_by": pa.string(),
    "identity": pa.float64(),
    "aligned_start": pa.int64(),
    "aligned_end": pa.int64(),
    "aligned_strand": pa.string(),
    "aligned_query_span": pa.string(),
}
_LATER_COLUMNS = {"z_motifs": pa.float64(), "shortlisted": pa.int64(), **ALIGNED_COLUMNS}
_COLUMNS = {
    "query_id": pa.string(),
    "query_span": pa.string(),
    "query_length_bp": pa.int64(),
    "target_id": pa.string(),
    "target_span": pa.string(),
    "target_start": pa.int64(),
    "target_end": pa.int64(),
    "strand": pa.string(),
    "rank": pa.int64(),
    "score": pa.float64(),
    "margin": pa.float64(),
    "cosine": pa.float64(),
    "z": pa.float64(),
    "z_6mers": pa.float64(),
    "z_11mers": pa.float64(),
    "z_alignments": pa.float64(),
    "strands_agree": pa.int64(),
    "repeat_fraction": pa.float64(),
    "gc": pa.float64(),
    "p": pa.float64(),
    "q": pa.float64(),
    "probability": pa.float64(),
    "searched_rank": pa.int64(),
}
HIT_COLUMNS = tuple(_COLUMNS)
"""Those that every table of hits has."""
ALL_COLUMNS = (*HIT_COLUMNS, *_LATER_COLUMNS)
_PARTS = {"z": EMBEDDING, "z_6mers": COMPOSITION, "z_11mers": CONTAINMENT, "z_alignments": ALIGNMENT}
COSINE_COLUMNS = ("from", "to", "before", "after")
HUB_AT = 10
_EVERY, _SAMPLED = 16, 512  # windows that cosines of parts are counted of: every 16th, or about so many
_TRACKS = ("best_z", "best_z_short")
"""The best score along the target: over the windows that were given, and over those of short queries beside them."""
HITS_BIGWIG = "hits.bw"
TRACK_FILES = (HITS_BIGWIG, *(f"{name}{kind}" for name in _TRACKS for kind in (".bedgraph", ".bw")))


@dataclass(frozen=True)
class Retrieval:
    """Hits of every query, and what they were found with."""

    hits: list[Hit]
    search: Search  # rows of its rankings beyond the queries are those of the null
    sources: dict[str, Source]
    queries: list[Query]
    targets: Targets
    config: RetrievalConfig
    bundle: str  # fingerprint
    without: list[str] = field(default_factory=list)  # genes that have no such part, and so are no query
    reranker: Reranker | None = None  # that the hits were put in order by, after the search
    levels: tuple[Retrieval, ...] = ()  # that this was put together from: then sources and backgrounds are theirs
    remarks: tuple[str, ...] = ()  # on the windows that were searched

    @property
    def by_level(self) -> tuple[Retrieval, ...]:
        """The searches behind it, each over windows of one width."""
        return self.levels or (self,)

    def pools(self) -> list[range]:
        """The rows of the target that each query was ranked among."""
        part_of = {query.name: part for part, level in enumerate(self.by_level) for query in level.queries}
        rows = [self.targets.rows_of(part) for part in range(len(self.by_level))]
        return [rows[part_of[query.name]] for query in self.queries]

    @property
    def embedding(self) -> EmbeddingSource:
        """The source that knows the vectors."""
        return self.sources[EMBEDDING]

    @property
    def projection(self) -> Projection | None:
        """The head that the vectors of all levels passed."""
        return self.by_level[0].embedding.projection

    def notes(self) -> list[str]:
        """What a reader of the hits has to know of the queries, a line each."""
        said = []
        said += self.remarks
        if len(self.search.weights) == 1:
            more = "" if self.targets.fasta else "; --target adds evidence from the sequences themselves"
            said.append(f"ranked by the embedding alone{more}")
        said += [level.search.note() for level in self.by_level if level.search.note()]
        if self.without:
            lack = "have no CDS" if self.config.query_part is QueryPart.CDS else "lie on several strands"
            said.append(f"{len(self.without)} genes {lack} and were left out, {self.without[0]} first")
        if self.config.shortlist_recall and self.reranker is not None:
            listed = sum(bool(hit.shortlisted) for hit in self.hits) / len(self.queries)
            said.append(
                f"shortlist of {listed:.1f} hits a query, made to hold a near one of "
                f"{self.config.shortlist_recall:.0%} of queries like those that the reranker was trained on"
            )
        if (head := self.projection) is not None:
            said.append(f"vectors passed the projection {fingerprint(head)}, trained on {', '.join(head.species())}")
        trimmed = [query for query in self.queries if query.trimmed_bp]
        if trimmed:
            one = trimmed[0]
            said.append(
                f"{len(trimmed)} queries were trimmed at their end to retrieval.max_query_tokens, {one.name} first "
                f"({one.length_bp - one.trimmed_bp:,} of {one.length_bp:,} bp kept)"
            )
        return said

    def reranked(self, model: Reranker) -> Retrieval:
        """The hits of every query by their probability, of equals as they were ranked; a shortlist where asked for."""
        least = model.threshold(self.config.shortlist_recall) if self.config.shortlist_recall else None
        rated = [
            replace(hit, probability=float(probability), searched_rank=hit.rank)
            for hit, probability in zip(self.hits, model.probabilities(features_of(self.rows())))
        ]
        hits: list[Hit] = []
        for _, own in groupby(rated, key=lambda hit: hit.query):
            ordered = sorted(own, key=lambda hit: (-hit.probability, hit.rank))
            hits += [
                replace(hit, rank=rank, shortlisted=None if least is None else hit.probability >= least)
                for rank, hit in enumerate(ordered, start=1)
            ]
        return replace(self, hits=hits, reranker=model)

    def rows(self) -> list[dict[str, object]]:
        """The hits as table rows; coordinates are 0-based and half-open."""
        lengths = {query.name: query.length_bp for query in self.queries}
        rows = []
        for hit in self.hits:
            where, parts = hit.target, {name: hit.parts.get(part) for name, part in _PARTS.items()}
            row = {
                "query_id": hit.query,
                "query_span": "{}-{}".format(*hit.query_span),
                "query_length_bp": lengths[hit.query],
                "target_id": where.sequence,
                "target_span": f"{where.start}-{where.end}",
                "target_start": where.start,
                "target_end": where.end,
                "strand": hit.strand,
                "rank": hit.rank,
                "score": round(hit.score, 4),
                "margin": None if hit.margin is None else round(hit.margin, 4),
                "cosine": round(hit.cosine, 6),
                **{name: None if value is None else round(value, 4) for name, value in parts.items()},
                "strands_agree": None if hit.agree is None else int(hit.agree),
                "repeat_fraction": round(hit.repeat_fraction, 4),
                "gc": None if hit.gc is None else round(hit.gc, 4),
                "p": None if hit.p is None else round(hit.p, 6),
                "q": None if hit.q is None else round(hit.q, 6),
                "probability": None if hit.probability is None else round(hit.probability, 6),
                "searched_rank": hit.searched_rank,
            }
            motifs = hit.parts.get(MOTIFS)
            row["z_motifs"] = None if motifs is None else round(motifs, 4)
            row["shortlisted"] = None if hit.shortlisted is None else int(hit.shortlisted)
            rows.append(row | aligned_cells(hit.confirmed))
        return rows

    def cosine_rows(self) -> list[dict[str, object]]:
        """The distribution of all cosines before and after the correction, a line a bin.

        Where an index searched, it is that of windows that lie evenly over the target.
        Of parts, which take long, it is that of every 16th window, or of 512 where there are more.
        """
        before, after = (sum(counts) for counts in zip(*(level._cosine_counts() for level in self.by_level)))
        edges = np.linspace(-1, 1, before.size + 1)
        return [
            dict(zip(COSINE_COLUMNS, (round(float(low), 2), round(float(high), 2), int(b), int(a))))
            for low, high, b, a in zip(edges[:-1], edges[1:], before, after)
        ]

    def _cosine_counts(self) -> list[Int64[np.ndarray, "bins"]]:
        queries = self.embedding.queries
        raw = embedding_source(queries, self.config, debias=no_debias(queries.width))
        seen = self.targets if self.search.approximation is None else self.search.approximation.sample
        step = max(_EVERY, len(self.targets) // _SAMPLED) if queries.parts > 1 else 1
        sizes = {"n_queries": len(self.queries), "step": step}
        return [cosine_histogram(source, seen.blocks(), **sizes) for source in (raw, self.embedding)]

    def hubs(self) -> dict[str, object]:
        """How often one window is among the first hits of queries: 1 where each query finds its own.

        Of every source, too, with the skewness of these counts over all windows (Radovanovic et al. 2010, JMLR).
        """
        counts: dict[tuple[str, int, int], int] = {}
        for hit in self.hits:
            if hit.rank <= HUB_AT:
                place = hit.target.sequence, hit.target.start, hit.target.end
                counts[place] = counts.get(place, 0) + 1
        (sequence, start, _), most = max(counts.items(), key=lambda pair: (pair[1], pair[0]))
        first = {"among_first": HUB_AT, "queries_of_largest": most, "largest": f"{sequence}:{start}"}
        return first | {"by_source": {name: self._hubs_of(name) for name in self.search.rankings}}

    def _hubs_of(self, name: str) -> dict[str, object]:
        rows = np.concatenate([found[:HUB_AT] for found in self.search.rankings[name].rows[: len(self.queries)]])
        times = np.bincount(rows, minlength=len(self.targets))
        moved = times - times.mean()
        spread = float(np.sqrt(np.mean(moved**2)))
        skewness = float(np.mean(moved**3)) / spread**3 if spread else 0.0
        return {
            "queries_of_largest": int(times.max()),
            "windows": int(np.sum(times > 0)),
            "skewness": round(skewness, 4),
        }

    def manifest(self) -> dict[str, object]:
        """What made the hits: model, target, settings, and what was left out."""
        return {
            "bundle": self.bundle,
            "target": self.targets.origin,
            "levels": [
                {
                    "target": level.targets.origin,
                    "queries": [query.name for query in level.queries],
                    "debias_fitted_on": level._fitted_on(),
                    "search": level.search.told(),
                }
                for level in self.by_level
            ],
            "settings": plain(self.config),
            "ranked_by": self.search.weights,
            "projected_by": None if self.projection is None else fingerprint(self.projection),
            "reranked_by": None if self.reranker is None else fingerprint(self.reranker),
            "queries": [query.name for query in self.queries],
            "trimmed_bp": {query.name: query.trimmed_bp for query in self.queries if query.trimmed_bp},
            "genes_without_cds": self.without,
            "target_sequences_bp": self.targets.lengths_bp(),
            "hubs": self.hubs(),
            "debias_fitted_on": self._fitted_on(),
        }

    def _fitted_on(self) -> dict[str, int]:
        both = self.config.fit_on is FitOn.BOTH
        asked = sum(len(query.windows) for query in self.queries) if both else 0
        return {"target_windows": len(self.targets), "query_windows": asked}

    def write(self, out: Path, *, bigwig: Mapping[str, int] | None = None) -> None:
        """Write the hits into a folder as tables and tracks, and what made them; each file whole or not at all.

        Args:
            out: folder.
            bigwig: lengths of the target's sequences, bp, for tracks as bigWig, too.
        """
        out.mkdir(parents=True, exist_ok=True)
        rows = self.rows()
        schema = pa.schema(list((_COLUMNS | _LATER_COLUMNS).items()))
        write_tsv(out / "hits.tsv", rows, columns=tuple(schema.names))
        with atomic_binary(out / "hits.parquet") as stream:
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), stream)
        write_bed(out / "hits.bed", bed_rows(self.hits))
        write_gff3(out / "hits.gff3", gff3_rows(self.hits))
        for level, name in zip(self.by_level, _TRACKS):
            write_bedgraph(out / f"{name}.bedgraph", best_z_track(level.search.best_z, level.targets))
            if bigwig is not None:
                rows = best_z_track(level.search.best_z, level.targets)
                write_bigwig(out / f"{name}.bw", rows, lengths=bigwig)
        if bigwig is not None:
            write_bigwig(out / HITS_BIGWIG, hit_track(self.hits), lengths=bigwig)
        write_tsv(out / "cosines.tsv", self.cosine_rows(), columns=COSINE_COLUMNS)
        with atomic_text(out / "retrieval.json") as stream:
            stream.write(json.dumps(self.manifest(), indent=2, sort_keys=True) + "\n")


def aligned_cells(confirmed: Confirmed | None) -> dict[str, object]:
    """What an aligner said of a place, as cells of its row; empty where none was asked or found anything."""
    if confirmed is None:
        return dict.fromkeys(ALIGNED_COLUMNS)
    where, span = confirmed.where, "{}-{}".format(*confirmed.query_span)
    values = (confirmed.tool, round(confirmed.identity, 4), where.start, where.end, where.strand, span)
    return dict(zip(ALIGNED_COLUMNS, values))


def weights_of(config: RetrievalConfig, *, bases: bool) -> dict[str, float]:
    """What the windows are ranked by: sources with a weight above 0.

    Args:
        config: rank_by and the weights.
        bases: the bases of the target are at hand.

    Raises:
        ValueError: for a sum without bases.
    """
    if config.rank_by is RankBy.FUSED and not bases:
        raise ValueError("retrieval.rank_by=fused reads the bases of the target: give --target")
    if config.motifs and (config.rank_by is RankBy.EMBEDDING or not bases):
        raise ValueError(
            f"retrieval.motifs={config.motifs} is looked for in the target: give --target, and no --rank-by"
        )
    if config.rank_by is RankBy.EMBEDDING or not bases:
        if not config.share_votes:
            raise ValueError(
                "retrieval.share_votes=false is of 11-mers and alignments: give --target, and no --rank-by embedding"
            )
        return {EMBEDDING: 1.0}
    weights = {
        EMBEDDING: config.weight_embedding,
        COMPOSITION: config.weight_composition,
        CONTAINMENT: config.weight_containment,
        ALIGNMENT: config.weight_alignment,
        **({MOTIFS: config.weight_motifs} if config.motifs else {}),
    }
    return {name: weight for name, weight in weights.items() if weight}


def sequence_sources(
    queries: list[Query], names: Mapping[str, float], motifs: Sequence[Motif] = (), *, votes: bool = True
) -> dict[str, Source]:
    """The sources of evidence that need no model, by their names.

    Args:
        queries: what is looked for.
        names: which sources.
        motifs: of the prior.
        votes: 11-mers and aligned bases that many windows hold share one vote; otherwise alignments count in full.
    """
    weighing = Weighing.VOTES if votes else Weighing.RARITY
    kinds = {
        COMPOSITION: lambda: CompositionSource(queries, k=6),
        CONTAINMENT: lambda: ContainmentSource(queries, weighing=weighing),
        ALIGNMENT: lambda: AlignmentSource(queries, weighed=votes),
        MOTIFS: lambda: MotifSource(list(motifs), n_queries=len(queries)),
    }
    return {name: make() for name, make in kinds.items() if name in names}


def retrieve(
    embedder: Embedder,
    queries: list[Query],
    targets: Targets | VectorTable,
    *,
    config: RetrievalConfig,
    projection: Projection | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Retrieval:
    """Rank target windows for every query by debiased cosine, summed with sequence evidence where bases are at hand.

    Args:
        embedder: compiled bundle; the targets must come from the same one.
        queries: what to look for.
        targets: the target windows; with `fasta`, their bases too.
        config: how many hits, what is done against bias, and what is summed.
        projection: of debiased vectors, on both sides; whether it saw this target is for `check_unseen` to ask.
        progress: called with (label, done, total).

    Returns:
        Hits by query and rank. Scores are in standard deviations above the mean of a query's windows, spans 0-based and
        half-open in bp; p and q are None without `null_queries`. `write` leaves tables and tracks.

    Raises:
        ValueError: when targets and model do not belong together, or there is nothing to search.
    """
    targets = Targets.of(targets) if isinstance(targets, VectorTable) else targets
    check_origin(targets, embedder.encoder)
    check_settings(targets, embedder)
    check_search(queries, config, lengths_bp=targets.lengths_bp(), parts=embedder.parts)
    if projection is not None:
        made_by = {"bundle": embedder.encoder.fingerprint, "settings": targets.origin["settings"]}
        projection.check_made_for(**made_by, config=config)
    weights = weights_of(config, bases=bool(targets.fasta))
    part_bp = targets.origin["settings"].get("part_bp", 0)
    by_index = asks_for_index(config, weights, len(targets), projected=projection is not None, part_bp=part_bp)
    motifs = motifs_of(config.motifs) if config.motifs else []
    asked = [*queries, *shuffled_queries(queries, count=config.null_queries, seed=config.seed)]
    vectors = embed_queries(embedder, asked, config)
    sources: dict[str, Source] = {
        EMBEDDING: embedding_source(vectors, config, n_real=len(queries), projection=projection)
    }
    sources |= sequence_sources(asked, weights, motifs, votes=config.share_votes)
    sizes = {"n_queries": len(asked), "n_counted": len(queries), "top_k": config.deepest_rank}
    if by_index:
        found = search_by_embedding(targets, sources[EMBEDDING], config, progress=progress, **sizes)
    else:
        found = search(targets, sources, weights=weights, progress=progress, **sizes)
    hits = hits_of(queries, found, sources, targets=targets, top_k=config.top_k)
    if config.null_queries:
        best = [scores[0] for scores in found.rankings[FUSED].scores[len(queries) :]]
        hits = with_significance(hits, np.array(best))
    return Retrieval(hits, found, sources, queries, targets, config, embedder.encoder.fingerprint)


def with_significance(hits: list[Hit], null: Float64[np.ndarray, "M"]) -> list[Hit]:
    """Hits with p, against the best score of shuffled queries, and q, over the queries at the same rank.

    The null is one for all queries, as scores are in standard deviations of each query's own. Lower ranks are compared
    with best hits too, and so err on the safe side.
    """
    return with_false_discovery([replace(hit, p=empirical_p(hit.score, null)) for hit in hits])


def with_false_discovery(hits: list[Hit]) -> list[Hit]:
    """Hits with q, over all queries at the same rank; as they are where they have no p."""
    rated = list(hits)
    for rank in {hit.rank for hit in hits if hit.p is not None}:
        at = [index for index, hit in enumerate(rated) if hit.rank == rank]
        for index, q in zip(at, benjamini_hochberg(rated[index].p for index in at)):
            rated[index] = replace(rated[index], q=float(q))
    return rated
